//! What happens to a direction of a link, in the order of time.

use std::time::Duration;

use tcp_adapter::Instant;

use super::convert::{self, Losses};
use super::{ConditionsError, Link};
use crate::link::{
    BitRate, Chance, Change, DelayModel, Framing, LinkState, LossModel, PipeConfig, QueueConfig, RateModel, Reorder,
};
use crate::random::{Stream, Streams};
use crate::scenario::{Action, DirectionChoice, Draw, Event, Probability, Rate, Steps, Timing};

/// Changes of one direction of a link, each with its time, in order. It may have no end.
///
/// An event covers what it changes, whatever is beneath, until it ends or another event covers the same. The latest
/// lies on top. What is drawn anew from time to time lies beneath all events. So each event may end at any time, and
/// the link is as the others leave it.
#[derive(Debug)]
pub struct Timetable {
    /// What events cover.
    base: PipeConfig,
    shown: (LinkState, PipeConfig),
    covers: Vec<Cover>,
    /// Indices of the covers that hold, the uppermost last.
    active: Vec<usize>,
    steps: Option<Drawing>,
}

impl Timetable {
    pub(super) fn new(link: &Link, up: bool, streams: Streams) -> Result<Self, ConditionsError> {
        let base = link.pipe(up)?;
        let spec = if up { &link.up } else { &link.down };
        let other_way = if up { DirectionChoice::Down } else { DirectionChoice::Up };
        let events = link.events.iter().filter(|event| event.direction != other_way);
        let covers = events.map(|event| Cover::new(link, event)).collect::<Result<Vec<_>, _>>()?;
        for cover in &covers {
            let mut shown = (LinkState::Up, base.clone());
            cover.patch.apply(&mut shown);
            shown.1.validate().map_err(|error| link.wrong(error))?;
        }
        let steps = spec.steps.clone().map(|steps| Drawing::new(steps, &link.name, streams));
        Ok(Self { shown: (LinkState::Up, base.clone()), base, covers, active: Vec::new(), steps })
    }

    /// When the next change is.
    pub fn next_at(&self) -> Option<Instant> {
        let covers = self.covers.iter().flat_map(|cover| [cover.begins, cover.ends]);
        covers.chain([self.steps.as_ref().map(|steps| steps.next)]).flatten().min()
    }

    fn happen(&mut self, now: Instant) {
        if let Some(steps) = self.steps.as_mut().filter(|steps| steps.next == now) {
            steps.draw(&mut self.base);
        }
        for (index, cover) in self.covers.iter_mut().enumerate() {
            if cover.ends == Some(now) {
                cover.ends = None;
                self.active.retain(|active| *active != index);
            }
        }
        for (index, cover) in self.covers.iter_mut().enumerate() {
            if cover.begins == Some(now) {
                cover.begin(now);
                self.active.retain(|active| *active != index);
                self.active.push(index);
            }
        }
    }
}

/// The time of a moment at which something happens, and what is different after it: nothing, if what happens lies
/// beneath what another event has set.
impl Iterator for Timetable {
    type Item = (Instant, Vec<Change>);

    fn next(&mut self) -> Option<Self::Item> {
        let now = self.next_at()?;
        self.happen(now);
        let mut shown = (LinkState::Up, self.base.clone());
        for index in &self.active {
            self.covers[*index].patch.apply(&mut shown);
        }
        let changes = differences(&self.shown, &shown);
        self.shown = shown;
        Some((now, changes))
    }
}

/// What makes of one state the other, the state of the link last: a link that comes up has its new conditions.
fn differences(old: &(LinkState, PipeConfig), new: &(LinkState, PipeConfig)) -> Vec<Change> {
    let ((old_state, old), (new_state, new)) = (old, new);
    let state = match new_state {
        LinkState::Up => Change::Up,
        LinkState::Down => Change::Down,
        LinkState::Blackhole => Change::Blackhole,
    };
    [
        (old.rate != new.rate).then(|| Change::Rate(new.rate.clone())),
        (old.framing != new.framing).then_some(Change::Framing(new.framing)),
        (old.delay != new.delay).then(|| Change::Delay(new.delay.clone())),
        (old.loss != new.loss).then(|| Change::Loss(new.loss.clone())),
        (old.loss_unit != new.loss_unit).then_some(Change::LossUnit(new.loss_unit)),
        (old.loss_ecn != new.loss_ecn).then_some(Change::LossEcn(new.loss_ecn)),
        (old.duplicate != new.duplicate).then_some(Change::Duplicate(new.duplicate)),
        (old.corrupt != new.corrupt).then_some(Change::Corrupt(new.corrupt)),
        (old.reorder != new.reorder).then_some(Change::Reorder(new.reorder)),
        (old.mtu != new.mtu).then_some(Change::Mtu(new.mtu)),
        (old.queue != new.queue).then(|| Change::Queue(new.queue.clone())),
        (old_state != new_state).then_some(state),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An event and when it begins and ends next.
#[derive(Debug)]
struct Cover {
    patch: Patch,
    begins: Option<Instant>,
    ends: Option<Instant>,
    lasts: Option<Duration>,
    every: Option<Duration>,
    /// Beginnings that are still to come; without a number there is no end.
    left: Option<u64>,
}

impl Cover {
    fn new(link: &Link, event: &Event) -> Result<Self, ConditionsError> {
        Ok(Self {
            patch: Patch::new(link, &event.action)?,
            begins: Some(Instant::ZERO + event.at),
            ends: None,
            lasts: event.lasts,
            every: event.every,
            left: event.times,
        })
    }

    fn begin(&mut self, now: Instant) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        let again = self.every.filter(|_| self.left != Some(0)).map(|every| now + every);
        // At the end of time additions stand still.
        self.begins = again.filter(|again| *again > now);
        self.ends = self.lasts.map(|lasts| now + lasts).filter(|end| *end > now);
    }
}

/// What an event sets.
#[derive(Debug, Default)]
struct Patch {
    state: Option<LinkState>,
    rate: Option<Option<RateModel>>,
    framing: Option<Framing>,
    delay: Option<Duration>,
    /// Everything of a delay but its middle.
    jitter: Option<DelayModel>,
    losses: Option<Losses>,
    duplicate: Option<Chance>,
    corrupt: Option<Chance>,
    reorder: Option<Reorder>,
    mtu: Option<usize>,
    queue: Option<QueueConfig>,
}

impl Patch {
    fn new(link: &Link, action: &Action) -> Result<Self, ConditionsError> {
        let state = |state| Ok(Self { state: Some(state), ..Self::default() });
        let change = match action {
            Action::Down => return state(LinkState::Down),
            Action::Up => return state(LinkState::Up),
            Action::Blackhole => return state(LinkState::Blackhole),
            Action::Set(change) => change,
        };
        Ok(Self {
            state: None,
            rate: change.rate.as_ref().map(|rate| convert::rate(link, rate)).transpose()?,
            framing: change.overhead.map(convert::framing),
            delay: change.delay,
            jitter: change.jitter.as_ref().map(|jitter| convert::jitter(jitter.as_ref())).transpose()?,
            losses: change.loss.as_ref().map(|loss| convert::losses(link, loss.as_ref())).transpose()?,
            duplicate: change.duplicate.map(convert::chance),
            corrupt: change.corrupt.map(convert::chance),
            reorder: change.reorder.map(convert::reorder),
            mtu: change.mtu.map(usize::from),
            queue: change.queue.map(convert::queue),
        })
    }

    fn apply(&self, (state, config): &mut (LinkState, PipeConfig)) {
        if let Some(new) = self.state {
            *state = new;
        }
        if let Some(rate) = &self.rate {
            config.rate.clone_from(rate);
        }
        if let Some(framing) = self.framing {
            config.framing = framing;
        }
        if let Some(jitter) = &self.jitter {
            config.delay = DelayModel { base: config.delay.base, ..jitter.clone() };
        }
        if let Some(delay) = self.delay {
            config.delay.base = delay;
        }
        if let Some(Losses { models, unit, ecn }) = &self.losses {
            config.loss.clone_from(models);
            (config.loss_unit, config.loss_ecn) = (*unit, *ecn);
        }
        config.duplicate = self.duplicate.unwrap_or(config.duplicate);
        config.corrupt = self.corrupt.unwrap_or(config.corrupt);
        config.reorder = self.reorder.unwrap_or(config.reorder);
        config.mtu = self.mtu.or(config.mtu);
        if let Some(queue) = &self.queue {
            config.queue = queue.clone();
        }
    }
}

/// Conditions that are drawn anew from time to time. Both directions of a link draw the same numbers, each from a
/// stream of its own, so that what both have in common changes alike and at the same time.
#[derive(Debug)]
struct Drawing {
    steps: Steps,
    next: Instant,
    times: Stream,
    rates: Stream,
    delays: Stream,
    losses: Stream,
}

impl Drawing {
    fn new(steps: Steps, link: &str, streams: Streams) -> Self {
        let stream = |purpose: &str| streams.stream(&format!("link.{link}.steps.{purpose}"));
        let mut drawing = Self {
            steps,
            next: Instant::ZERO,
            times: stream("times"),
            rates: stream("rates"),
            delays: stream("delays"),
            losses: stream("losses"),
        };
        drawing.advance();
        drawing
    }

    fn advance(&mut self) {
        let wait = match self.steps.timing {
            Timing::Fixed => self.steps.every,
            Timing::Exponential => self.times.exponential(self.steps.every),
        };
        // Two changes at the same time would be one.
        self.next += wait.max(Duration::from_nanos(1));
    }

    fn draw(&mut self, base: &mut PipeConfig) {
        if let Some(rates) = &self.steps.rates {
            let Rate(rate) = pick(rates, &mut self.rates, |rate| rate.0, Rate);
            // The scenario has no rates of zero here.
            base.rate = BitRate::new(rate).ok().map(RateModel::Constant);
        }
        if let Some(delays) = &self.steps.delays {
            let nanos = |delay: Duration| u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
            base.delay.base = pick(delays, &mut self.delays, nanos, Duration::from_nanos);
        }
        if let Some(losses) = &self.steps.losses {
            let p = pick(losses, &mut self.losses, |p| p.0, Probability);
            base.loss = vec![LossModel::random(convert::probability(p))];
        }
        self.advance();
    }
}

fn pick<T: Copy>(from: &Draw<T>, stream: &mut Stream, number: impl Fn(T) -> u64, value: impl Fn(u64) -> T) -> T {
    match from {
        Draw::Between(min, max) => {
            let (min, max) = (number(*min), number(*max));
            value(min + stream.below((max - min).saturating_add(1)))
        }
        // There is at least one, and an index below a length fits.
        Draw::OneOf(values) => values[stream.below(values.len() as u64) as usize],
    }
}
