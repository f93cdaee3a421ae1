//! Which packets are lost on a link, besides those for which a queue has no room.

use std::sync::Arc;

use tcp_adapter::Instant;

use super::burst::{Burst, LossUnit};
use super::chance::{Chance, Dice, Probability, draw};
use super::{DropReason, LinkError, TraceError};
use crate::packet::Packet;
use crate::random::Stream;

/// Most entries of a trace of losses.
const MAX_ENTRIES: usize = 10_000_000;

/// A pattern of loss. Where a link has several, each sees every packet, and any of them can take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossModel {
    /// Independent, or correlated as netem understands it.
    Random(Chance),
    /// A channel that is good or bad.
    GilbertElliott(GilbertElliott),
    /// netem's four-state channel.
    FourState(FourState),
    /// Regular.
    Periodic(Periodic),
    /// These packets, see [`LossList`].
    List(LossList),
    /// As written down.
    Trace(LossTrace),
}

impl LossModel {
    /// Independent losses of this probability.
    pub const fn random(probability: Probability) -> Self {
        Self::Random(Chance::independent(probability))
    }

    /// What is recorded for a packet that this model takes.
    pub(super) const fn reason(&self) -> DropReason {
        match self {
            Self::Random(_) => DropReason::Random,
            Self::GilbertElliott(_) => DropReason::GilbertElliott,
            Self::FourState(_) => DropReason::FourState,
            Self::Periodic(_) => DropReason::Periodic,
            Self::List(_) => DropReason::Listed,
            Self::Trace(_) => DropReason::Traced,
        }
    }
}

/// The Gilbert-Elliott channel in netem's parameters: `loss gemodel p r 1-h 1-k`. It begins in the good state. For
/// each packet it first decides whether to change its state, and then whether the packet is lost in the state
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilbertElliott {
    /// p: from good to bad.
    pub to_bad: Probability,
    /// r: from bad to good.
    pub to_good: Probability,
    /// 1-h: loss in the bad state.
    pub loss_in_bad: Probability,
    /// 1-k: loss in the good state.
    pub loss_in_good: Probability,
}

impl GilbertElliott {
    /// The simple Gilbert channel: everything is lost in the bad state and nothing in the good one. The share of lost
    /// packets is p / (p + r), and a burst of losses has 1 / r packets on average.
    pub const fn simple(to_bad: Probability, to_good: Probability) -> Self {
        Self { to_bad, to_good, loss_in_bad: Probability::ALWAYS, loss_in_good: Probability::NEVER }
    }
}

/// netem's four-state channel: `loss state p13 p31 p32 p23 p14`. The states are those of netem: 1 received in a gap
/// period, 2 received in a burst period, 3 lost in a burst period, 4 lost in a gap period. It begins in state 1, and
/// always goes from 4 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FourState {
    p13: Probability,
    p31: Probability,
    p32: Probability,
    p23: Probability,
    p14: Probability,
}

impl FourState {
    /// The channel with these probabilities of changing from the first to the second state.
    ///
    /// # Errors
    /// Those of leaving one state sum to more than 1.
    pub fn new(
        p13: Probability,
        p31: Probability,
        p32: Probability,
        p23: Probability,
        p14: Probability,
    ) -> Result<Self, LinkError> {
        for (state, one, other) in [("first", p13, p14), ("third", p31, p32)] {
            if one > other.complement() {
                return Err(LinkError::Transitions(state));
            }
        }
        Ok(Self { p13, p31, p32, p23, p14 })
    }
}

/// Some packets of every so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periodic {
    period: u64,
    length: u64,
    first: u64,
}

impl Periodic {
    /// Loses `length` packets of every `period`, the first time from packet number `first` on, counted from 1.
    ///
    /// # Errors
    /// The length is not from 1 to the period, or `first` is 0.
    pub const fn new(period: u64, length: u64, first: u64) -> Result<Self, LinkError> {
        if length == 0 || length > period || first == 0 {
            Err(LinkError::Period)
        } else {
            Ok(Self { period, length, first })
        }
    }

    const fn takes(self, number: u64) -> bool {
        number >= self.first && (number - self.first) % self.period < self.length
    }
}

/// Numbers of packets that are lost, counted from 1 in the order in which they are offered. What MTU or a link that is
/// down takes is not counted. Where the unit is a burst, bursts are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossList {
    numbers: Arc<[u64]>,
}

impl LossList {
    /// These numbers, each greater than the one before.
    ///
    /// # Errors
    /// Otherwise.
    pub fn new(numbers: &[u64]) -> Result<Self, LinkError> {
        if numbers.first() == Some(&0) || numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(LinkError::LossList);
        }
        Ok(Self { numbers: numbers.into() })
    }
}

/// The fate of each packet; after the last the trace begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossTrace {
    lost: Arc<[bool]>,
}

impl LossTrace {
    /// True for each packet that is lost.
    ///
    /// # Errors
    /// There are none.
    pub fn new(lost: &[bool]) -> Result<Self, LinkError> {
        if lost.is_empty() { Err(LinkError::Empty) } else { Ok(Self { lost: lost.into() }) }
    }

    /// Reads a trace: a 1 for each packet that is lost and a 0 for each that is not, with or without white space
    /// between. What follows a `#` is a comment.
    ///
    /// # Errors
    /// [`TraceError`] names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lost = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let fates = content.split('#').next().unwrap_or_default();
            for fate in fates.chars().filter(|fate| !fate.is_whitespace()) {
                if lost.len() == MAX_ENTRIES {
                    return Err(TraceError::TooLong { line, limit: MAX_ENTRIES });
                }
                match fate {
                    '0' => lost.push(false),
                    '1' => lost.push(true),
                    _ => return Err(TraceError::syntax(line, "0 or 1 for each packet", content)),
                }
            }
        }
        if lost.is_empty() { Err(TraceError::Empty) } else { Ok(Self { lost: lost.into() }) }
    }
}

/// All losses of a link.
#[derive(Debug)]
pub(super) struct Losses {
    processes: Vec<LossProcess>,
    unit: LossUnit,
    burst: Option<(Burst, Option<DropReason>)>,
}

impl Losses {
    /// The models, each with the stream that it draws from.
    pub(super) fn new(models: Vec<(LossModel, Stream)>, unit: LossUnit) -> Self {
        let processes = models.into_iter().map(|(model, stream)| LossProcess::new(model, stream)).collect();
        Self { processes, unit, burst: None }
    }

    pub(super) fn set_unit(&mut self, unit: LossUnit) {
        self.unit = unit;
        self.burst = None;
    }

    /// Whether the next packet is lost, and by which model.
    pub(super) fn next(&mut self, now: Instant, packet: &Packet) -> Option<DropReason> {
        if self.processes.is_empty() {
            return None;
        }
        let LossUnit::Gso { cap, gap } = self.unit else { return self.roll() };
        if let Some((burst, fate)) = &mut self.burst
            && burst.admits(now, &packet.frame, cap, gap)
        {
            return *fate;
        }
        let fate = self.roll();
        self.burst = Burst::starting(now, &packet.frame).map(|burst| (burst, fate));
        fate
    }

    fn roll(&mut self) -> Option<DropReason> {
        // Every model sees every packet, so that one does not disturb another's pattern.
        self.processes.iter_mut().fold(None, |fate, process| {
            let lost = process.next().then_some(process.reason);
            fate.or(lost)
        })
    }
}

/// A model and where it stands.
#[derive(Debug)]
struct LossProcess {
    reason: DropReason,
    kind: Process,
}

#[derive(Debug)]
enum Process {
    Random(Dice),
    GilbertElliott {
        model: GilbertElliott,
        bad: bool,
        stream: Stream,
    },
    FourState {
        model: FourState,
        state: State,
        stream: Stream,
    },
    Periodic {
        model: Periodic,
        number: u64,
    },
    /// `passed` entries of the list lie behind.
    List {
        list: LossList,
        number: u64,
        passed: usize,
    },
    Trace {
        trace: LossTrace,
        next: usize,
    },
}

/// States of netem's four-state channel, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    GapReceived,
    BurstReceived,
    BurstLost,
    GapLost,
}

impl LossProcess {
    fn new(model: LossModel, stream: Stream) -> Self {
        let reason = model.reason();
        let kind = match model {
            LossModel::Random(chance) => Process::Random(Dice::new(chance, stream)),
            LossModel::GilbertElliott(model) => Process::GilbertElliott { model, bad: false, stream },
            LossModel::FourState(model) => Process::FourState { model, state: State::GapReceived, stream },
            LossModel::Periodic(model) => Process::Periodic { model, number: 0 },
            LossModel::List(list) => Process::List { list, number: 0, passed: 0 },
            LossModel::Trace(trace) => Process::Trace { trace, next: 0 },
        };
        Self { reason, kind }
    }

    /// Whether the next packet is lost.
    fn next(&mut self) -> bool {
        match &mut self.kind {
            Process::Random(dice) => dice.roll(),
            Process::GilbertElliott { model, bad, stream } => {
                let (change, loss) =
                    if *bad { (model.to_good, model.loss_in_bad) } else { (model.to_bad, model.loss_in_good) };
                *bad ^= change.hits(draw(stream));
                loss.hits(draw(stream))
            }
            Process::FourState { model, state, stream } => {
                *state = model.after(*state, draw(stream));
                matches!(state, State::BurstLost | State::GapLost)
            }
            Process::Periodic { model, number } => {
                *number += 1;
                model.takes(*number)
            }
            Process::List { list, number, passed } => {
                *number += 1;
                let lost = list.numbers.get(*passed) == Some(&*number);
                *passed += usize::from(lost);
                lost
            }
            Process::Trace { trace, next } => {
                let lost = trace.lost[*next];
                *next = (*next + 1) % trace.lost.len();
                lost
            }
        }
    }
}

impl FourState {
    fn after(&self, state: State, draw: u64) -> State {
        let either = |one: Probability, other: Probability| Probability::from_bits(one.bits() + other.bits());
        match state {
            State::GapReceived if self.p14.hits(draw) => State::GapLost,
            State::GapReceived if either(self.p14, self.p13).hits(draw) => State::BurstLost,
            State::GapReceived | State::GapLost => State::GapReceived,
            State::BurstLost if self.p32.hits(draw) => State::BurstReceived,
            State::BurstLost if either(self.p32, self.p31).hits(draw) => State::GapReceived,
            State::BurstLost => State::BurstLost,
            State::BurstReceived if self.p23.hits(draw) => State::BurstLost,
            State::BurstReceived => State::BurstReceived,
        }
    }
}

#[cfg(test)]
mod tests;
