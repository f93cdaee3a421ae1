//! One direction of a link, from the packets that are offered to those that arrive.

use std::time::Duration;

use tcp_adapter::Instant;

use super::chance::{Dice, Probability};
use super::config::{Change, Composition, LinkState, PipeConfig, Reorder};
use super::delay::DelaySampler;
use super::headers::{Damage, damage, longest_ip_packet, mark_congestion, wire_len};
use super::line::DelayLine;
use super::loss::Losses;
use super::queue::{Outlet, Queue, QueueConfig};
use super::rate::RateModel;
use super::serializer::{ETHERNET_HEADER, Framing, Serializer};
use super::stats::{Count, Fates, Output, PipeStats};
use super::{DropReason, LinkError};
use crate::deadline::earlier;
use crate::packet::Packet;
use crate::random::{Stream, Streams};

/// One direction of a link, without I/O and without a clock.
///
/// The order of things is that of netem: a packet may be duplicated, lost, and damaged; then it is refused if there is
/// no room for it; then it waits, is sent, and travels, or overtakes. See [`Composition`] for how the last three
/// are put together.
///
/// Any number of senders may offer packets. The caller passes time on: it calls [`Pipe::handle_timeout`] at the time that
/// [`Pipe::poll_timeout`] names, and asks again after every call. What is due at the same instant at which a packet
/// is offered happens first, so that a packet that leaves makes room for the one that comes.
///
/// What nobody outside can see, such as the end of a transmission, need not be waited for: it happens in the next call, as
/// of its own time. So books and queue are those of the last call, and who wants to see them as they are at a time calls
/// [`Pipe::handle_timeout`] first.
#[derive(Debug)]
pub struct Pipe {
    config: PipeConfig,
    name: String,
    streams: Streams,
    /// How many changes have needed new streams.
    generation: u32,
    state: LinkState,
    /// The latest time that has been handed in or that something was due at.
    clock: Instant,
    acted_at: Instant,
    losses: Losses,
    duplicate: Dice,
    corrupt: Dice,
    damage: Stream,
    reorder: Reordering,
    queue: Box<dyn Queue>,
    serializer: Serializer,
    sending: Option<Sending>,
    /// When the transmitter, if it is free, takes up what waits; none if nothing does.
    opportunity: Option<Instant>,
    /// When something happens next inside.
    due: Option<Instant>,
    delay: DelaySampler,
    /// How long every packet travels, if that is known and the queue does not drop what it has taken: then nothing comes out before
    /// what is being sent has travelled, or another packet arrives.
    transit: Option<Duration>,
    line: DelayLine,
    /// Latest arrival of a packet that did not overtake.
    last_arrival: Instant,
    stats: PipeStats,
    /// Times in which neither its rate nor its state was changed; the last one is now.
    eras: Vec<Era>,
}

/// A time with the same rate and state.
#[derive(Debug)]
struct Era {
    from: Instant,
    /// What the link could have carried before, in bits.
    before: u128,
    rate: Option<RateModel>,
    /// When the rate took effect.
    rate_from: Instant,
    state: LinkState,
}

impl Era {
    /// Bits that the link could have carried by `at`: none while it was down.
    fn capacity(&self, at: Instant) -> u128 {
        if self.state != LinkState::Up {
            return self.before;
        }
        let serializer = Serializer::new(self.rate.clone(), Framing::default(), self.rate_from);
        self.before + serializer.capacity(self.from, at)
    }
}

/// The packet that the transmitter is busy with.
#[derive(Debug)]
struct Sending {
    packet: Packet,
    until: Instant,
}

impl Pipe {
    /// A link that is up and empty. Its random streams begin with `name`, which no other pipe of the run may have.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: PipeConfig, name: &str, streams: &Streams) -> Result<Self, LinkError> {
        config.validate()?;
        let stream = |purpose: &str| streams.stream(&format!("{name}.{purpose}"));
        let mut pipe = Self {
            name: name.to_owned(),
            streams: *streams,
            generation: 0,
            state: LinkState::Up,
            clock: Instant::ZERO,
            acted_at: Instant::ZERO,
            losses: Losses::new(Vec::new(), config.loss_unit),
            duplicate: Dice::new(config.duplicate, stream("duplicate")),
            corrupt: Dice::new(config.corrupt, stream("corrupt")),
            damage: stream("damage"),
            reorder: Reordering::new(config.reorder, stream("reorder")),
            queue: config.queue.build(Instant::ZERO, stream("queue"), outlet(&config)),
            serializer: Serializer::new(config.rate.clone(), config.framing, Instant::ZERO),
            sending: None,
            opportunity: None,
            due: None,
            delay: DelaySampler::new(config.delay.clone(), stream("delay")),
            transit: None,
            line: DelayLine::default(),
            last_arrival: Instant::ZERO,
            stats: PipeStats::default(),
            eras: vec![Era {
                from: Instant::ZERO,
                before: 0,
                rate: config.rate.clone(),
                rate_from: Instant::ZERO,
                state: LinkState::Up,
            }],
            config,
        };
        pipe.renew_losses();
        pipe.find_transit();
        Ok(pipe)
    }

    /// A packet enters. Times must not go backwards from call to call.
    pub fn offer(&mut self, now: Instant, mut packet: Packet, out: &mut Output) {
        self.advance(now, out);
        packet.offered_at = now;
        packet.offered_len = packet.len();
        packet.wire_len = wire_len(&packet);
        self.stats.offered.add(&packet);
        let too_large = self.config.mtu.is_some_and(|mtu| is_too_large(&packet, mtu));
        let refused = match self.state {
            LinkState::Down => Some(DropReason::Down),
            LinkState::Blackhole => Some(DropReason::Blackhole),
            LinkState::Up => too_large.then_some(DropReason::TooLarge),
        };
        match refused {
            Some(reason) => self.fates(out).drop(packet, reason),
            None => self.impair(now, packet, out),
        }
        self.advance(now, out);
    }

    /// When [`Pipe::handle_timeout`] may have something to say; never if the pipe is empty.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (&self.sending, self.transit) {
            (Some(sending), Some(transit)) => earlier(Some(sending.until + transit), self.line.next()),
            _ => self.due,
        }
    }

    /// Does everything that is due at `now` or before.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Output) {
        self.advance(now, out);
    }

    /// Changes the link at `now`.
    ///
    /// # Errors
    /// The change contradicts the rest of the configuration; then the link is as before.
    pub fn apply(&mut self, now: Instant, change: &Change, out: &mut Output) -> Result<(), LinkError> {
        let new = self.config.changed(change);
        new.validate()?;
        self.advance(now, out);
        self.config = new;
        match change {
            Change::Up => self.state = LinkState::Up,
            Change::Blackhole => self.state = LinkState::Blackhole,
            Change::Down => {
                self.state = LinkState::Down;
                self.lose_everything(now, out);
            }
            Change::Rate(rate) => {
                let len = self.sending.as_ref().map(|sending| sending.packet.wire_len);
                let until = self.serializer.change(now, rate.clone(), len);
                if let Some((sending, until)) = self.sending.as_mut().zip(until) {
                    sending.until = until;
                }
            }
            Change::Framing(framing) => self.serializer.set_framing(*framing),
            Change::Delay(delay) => self.delay.change(now, delay.clone()),
            Change::Loss(_) => self.renew_losses(),
            Change::LossUnit(unit) => self.losses.set_unit(*unit),
            Change::Duplicate(chance) => self.duplicate.chance = *chance,
            Change::Corrupt(chance) => self.corrupt.chance = *chance,
            Change::Reorder(reorder) => self.reorder.change(*reorder),
            Change::Queue(queue) => self.replace_queue(now, queue, out),
            // Read from the configuration whenever a packet is offered.
            Change::LossEcn(_) | Change::Mtu(_) => {}
        }
        self.note_era(now, matches!(change, Change::Rate(_)));
        self.find_transit();
        self.look_ahead();
        self.advance(now, out);
        Ok(())
    }

    /// The books, up to the last call.
    pub fn stats(&self) -> PipeStats {
        let sending = self.sending.as_ref().map(|sending| sending.packet.offered_len);
        let packets = self.queue.packets() + self.line.packets() + usize::from(sending.is_some());
        let bytes = self.queue.bytes() + self.line.bytes() + sending.unwrap_or(0);
        let mut stats = self.stats;
        stats.in_flight = Count { packets: packets as u64, bytes: bytes as u64 };
        stats
    }

    /// Packets and bytes that wait: on a [`Composition::Netem`] link, all that have not left.
    pub fn queue_len(&self) -> (usize, usize) {
        match self.config.composition {
            Composition::Wire => (self.queue.packets(), self.queue.bytes()),
            Composition::Netem => (self.line.packets(), self.line.bytes()),
        }
    }

    /// When a packet last moved inside it by itself.
    pub(crate) const fn acted_at(&self) -> Instant {
        self.acted_at
    }

    /// Bits that its rate would have let through by `at`, be that in the past: none while it was down or a black hole. `None` if it has no rate.
    pub fn capacity(&self, at: Instant) -> Option<u64> {
        let later = self.eras.partition_point(|era| era.from <= at);
        let bits = self.eras.get(later.saturating_sub(1)).map_or(0, |era| era.capacity(at));
        self.serializer.is_limited().then(|| u64::try_from(bits).unwrap_or(u64::MAX))
    }

    /// Forgets what rates and states there were before the present ones: [`Self::capacity`] counts from the last change on. For who runs without end.
    pub(crate) fn forget_eras(&mut self) {
        self.eras.drain(..self.eras.len().saturating_sub(1));
    }

    /// Notes that another rate, or state, begins.
    fn note_era(&mut self, now: Instant, is_new_rate: bool) {
        let Some(last) = self.eras.last_mut() else { return };
        if !is_new_rate && last.state == self.state {
            return;
        }
        let rate_from = if is_new_rate { now } else { last.rate_from };
        let new =
            Era { from: now, before: last.capacity(now), rate: self.config.rate.clone(), rate_from, state: self.state };
        // Of several changes at a time the last one counts.
        if last.from == now {
            *last = new;
        } else {
            self.eras.push(new);
        }
    }

    /// Whether it forwards.
    pub const fn state(&self) -> LinkState {
        self.state
    }

    /// The configuration with all changes so far.
    pub const fn config(&self) -> &PipeConfig {
        &self.config
    }

    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// netem's decisions on a packet, in netem's order: duplicate, lose, damage.
    fn impair(&mut self, now: Instant, mut packet: Packet, out: &mut Output) {
        let twice = self.duplicate.roll();
        let lost = self.lose(now, &mut packet);
        if twice {
            self.stats.duplicated.add(&packet);
            let mut copy = packet.clone();
            // Lost of two leaves one, which has no copy any more.
            match lost.or_else(|| self.lose(now, &mut copy)) {
                Some(reason) => self.fates(out).drop(copy, reason),
                None => self.damage_and_enter(now, copy, out),
            }
        } else if let Some(reason) = lost {
            self.fates(out).drop(packet, reason);
            return;
        }
        self.damage_and_enter(now, packet, out);
    }

    /// Why a packet is lost, if it is and is not marked instead.
    fn lose(&mut self, now: Instant, packet: &mut Packet) -> Option<DropReason> {
        let reason = self.losses.next(now, packet)?;
        if self.config.loss_ecn && mark_congestion(&mut packet.frame) {
            self.stats.marked += 1;
            return None;
        }
        Some(reason)
    }

    fn damage_and_enter(&mut self, now: Instant, mut packet: Packet, out: &mut Output) {
        if self.corrupt.roll() {
            match damage(&mut packet.frame, &mut self.damage) {
                Damage::Flipped => self.stats.corrupted += 1,
                Damage::Undetectable => {
                    self.fates(out).drop(packet, DropReason::Damaged);
                    return;
                }
                Damage::Nothing => {}
            }
        }
        match self.config.composition {
            Composition::Wire => {
                let Self { queue, stats, .. } = self;
                queue.enqueue(now, packet, &mut Fates { stats, out });
                self.stats.longest_queue = self.stats.longest_queue.max(self.queue.packets() as u64);
                // What is being sent ends when it did before.
                if self.sending.is_none() {
                    self.look_ahead();
                }
            }
            Composition::Netem => {
                self.enter_netem(now, packet, out);
                self.look_ahead();
            }
        }
    }

    /// netem's limit check, reordering, delay and rate.
    fn enter_netem(&mut self, now: Instant, packet: Packet, out: &mut Output) {
        let QueueConfig::DropTail(limit) = self.config.queue else { return };
        if !limit.admits(self.line.packets(), self.line.bytes(), packet.offered_len) {
            self.fates(out).drop(packet, DropReason::QueueFull);
            return;
        }
        if self.reorder.overtakes() {
            self.stats.reordered += 1;
            self.line.push(now, packet);
        } else {
            let mut at = now + self.delay.sample(now);
            if self.serializer.is_limited() {
                let start = at.max(self.last_arrival);
                self.stats.longest_wait = self.stats.longest_wait.max(start - at);
                at = self.serializer.send(start, packet.wire_len);
            }
            self.travel(at, packet);
        }
        self.stats.longest_queue = self.stats.longest_queue.max(self.line.packets() as u64);
    }

    /// Puts a packet on its way, to arrive at `at`, or later if it must not overtake.
    fn travel(&mut self, at: Instant, packet: Packet) {
        let keeps_order = self.delay.keeps_order(self.serializer.is_limited());
        let at = if keeps_order { at.max(self.last_arrival) } else { at };
        self.last_arrival = self.last_arrival.max(at);
        self.line.push(at, packet);
    }

    /// When the transmitter does something next: ends a transmission, or begins one.
    fn transmitter_due(&self) -> Option<Instant> {
        match &self.sending {
            Some(sending) => Some(sending.until),
            None => self.opportunity,
        }
    }

    /// Notes when the transmitter, which is free, takes up what waits.
    fn find_opportunity(&mut self) {
        self.opportunity = (self.queue.packets() > 0).then(|| self.serializer.ready(self.clock));
    }

    /// Notes how long every packet travels, after what decides it has changed.
    fn find_transit(&mut self) {
        let all_travel = !self.queue.drops_late() && !self.reorder.is_possible();
        self.transit = self.delay.constant().filter(|_| all_travel);
    }

    /// Notes when something happens next, after what decides it has changed from outside.
    fn look_ahead(&mut self) {
        if self.sending.is_none() {
            self.find_opportunity();
        }
        self.due = earlier(self.transmitter_due(), self.line.next());
    }

    /// Does what is due until `now`, each thing at its own time.
    #[inline]
    fn advance(&mut self, now: Instant, out: &mut Output) {
        if self.due.is_some_and(|due| due <= now) {
            self.act(now, out);
        }
        self.clock = self.clock.max(now);
    }

    /// [`advance`](Self::advance) when there is something to do, which at two calls of three there is not. Of things at the
    /// same time the transmitter's come first.
    #[inline(never)]
    fn act(&mut self, now: Instant, out: &mut Output) {
        loop {
            let transmitter = self.transmitter_due();
            self.due = earlier(transmitter, self.line.next());
            let Some(at) = self.due.filter(|due| *due <= now) else { return };
            self.clock = self.clock.max(at);
            self.acted_at = at;
            if transmitter == Some(at) {
                match self.sending.take() {
                    Some(Sending { packet, .. }) => self.end_transmission(at, packet, out),
                    None => self.begin_sending(at, out),
                }
            } else if let Some(packet) = self.line.pop() {
                self.fates(out).deliver(packet);
            }
        }
    }

    /// Ends a transmission, and begins the next one if it follows at once.
    fn end_transmission(&mut self, now: Instant, packet: Packet, out: &mut Output) {
        self.finish_sending(now, packet);
        self.find_opportunity();
        match self.opportunity {
            None => self.queue.idle(now),
            Some(next) if next == now => self.begin_sending(now, out),
            Some(_) => {}
        }
    }

    fn begin_sending(&mut self, now: Instant, out: &mut Output) {
        let Self { queue, stats, .. } = self;
        let Some(packet) = queue.dequeue(now, &mut Fates { stats, out }) else {
            self.find_opportunity();
            return;
        };
        self.stats.longest_wait = self.stats.longest_wait.max(now - packet.offered_at);
        let until = self.serializer.send(now, packet.wire_len);
        self.sending = Some(Sending { packet, until });
    }

    fn finish_sending(&mut self, now: Instant, packet: Packet) {
        if self.reorder.overtakes() {
            self.stats.reordered += 1;
            self.line.push(now, packet);
        } else {
            let at = now + self.delay.sample(now);
            self.travel(at, packet);
        }
    }

    fn lose_everything(&mut self, now: Instant, out: &mut Output) {
        let mut packets: Vec<Packet> = std::iter::from_fn(|| self.line.pop()).collect();
        packets.extend(self.sending.take().map(|sending| sending.packet));
        packets.extend(self.queue.drain());
        let mut fates = self.fates(out);
        packets.into_iter().for_each(|packet| fates.drop(packet, DropReason::Down));
        self.last_arrival = now;
        let stream = self.new_stream("queue");
        self.queue = self.config.queue.build(now, stream, outlet(&self.config));
        // A trace or steps go on while the link is down, but a transmission does not.
        self.serializer.abort();
    }

    fn replace_queue(&mut self, now: Instant, config: &QueueConfig, out: &mut Output) {
        let waiting = self.queue.drain();
        let stream = self.new_stream("queue");
        self.queue = config.build(now, stream, outlet(&self.config));
        let Self { queue, stats, .. } = self;
        let mut fates = Fates { stats, out };
        waiting.into_iter().for_each(|packet| queue.enqueue(now, packet, &mut fates));
    }

    fn renew_losses(&mut self) {
        let models = self.config.loss.clone().into_iter().enumerate();
        let models: Vec<_> = models.map(|(index, model)| (model, self.new_stream(&format!("loss.{index}")))).collect();
        self.losses = Losses::new(models, self.config.loss_unit);
    }

    /// A stream that this pipe has not used yet.
    fn new_stream(&mut self, purpose: &str) -> Stream {
        self.generation += 1;
        self.streams.stream(&format!("{}.{purpose}.{}", self.name, self.generation))
    }

    fn fates<'a>(&'a mut self, out: &'a mut Output) -> Fates<'a> {
        Fates { stats: &mut self.stats, out }
    }
}

/// Whether an IP packet of it is longer than `mtu` bytes: none is longer than the frame.
fn is_too_large(packet: &Packet, mtu: usize) -> bool {
    packet.offered_len.saturating_sub(ETHERNET_HEADER) > mtu && longest_ip_packet(&packet.frame) > mtu
}

/// What a queue is told of the link behind it.
fn outlet(config: &PipeConfig) -> Outlet {
    /// Of links without an MTU or without a rate.
    const IP_PACKET: usize = 1500;
    const GIGABIT: u128 = 1_000_000_000;
    /// Time for which a rate that changes is averaged, and how often it is doubled until something is sent in it.
    const WHILE: Duration = Duration::from_secs(60);
    const DOUBLED: u32 = 12;
    let longest = ETHERNET_HEADER + config.mtu.unwrap_or(IP_PACKET);
    let serializer = Serializer::new(config.rate.clone(), config.framing, Instant::ZERO);
    let rate = |time: Duration| serializer.capacity(Instant::ZERO, Instant::ZERO + time) / u128::from(time.as_secs());
    let rate = (0..=DOUBLED).map(|times| rate(WHILE * (1 << times))).find(|rate| *rate > 0).unwrap_or(GIGABIT);
    let nanos = (config.framing.apply(longest) as u128 * 8 * 1_000_000_000 / rate).max(1);
    Outlet { longest, packet_time: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)) }
}

/// Decides which packets overtake.
#[derive(Debug)]
struct Reordering {
    dice: Dice,
    gap: u32,
    /// Packets that were delayed since one overtook.
    delayed: u32,
}

impl Reordering {
    fn new(config: Reorder, stream: Stream) -> Self {
        Self { dice: Dice::new(config.chance, stream), gap: config.gap, delayed: 0 }
    }

    fn change(&mut self, config: Reorder) {
        self.dice.chance = config.chance;
        self.gap = config.gap;
    }

    fn is_possible(&self) -> bool {
        self.dice.chance.probability != Probability::NEVER
    }

    fn overtakes(&mut self) -> bool {
        let overtakes = self.delayed >= self.gap - 1 && self.dice.roll();
        self.delayed = if overtakes { 0 } else { self.delayed.saturating_add(1) };
        overtakes
    }
}

#[cfg(test)]
mod tests;
