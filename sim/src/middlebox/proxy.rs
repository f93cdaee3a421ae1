//! Acknowledges data before its receiver does.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use mptcp_core::wire::KIND as MPTCP;
use tcp_adapter::{Frame, Instant};

use super::build::rest;
use super::connections::{Connection, Connections};
use super::options::{SACK, TIMESTAMPS, erase, is_meant, ranges};
use super::segment::{ACK, PSH, RST, SYN, Segment, before};
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::scenario::{DirectionChoice, OptionChoice};

/// Bytes of one direction of a connection that it answers for at most.
const MOST_BYTES: usize = 1 << 20;

/// Wait before what a receiver has not acknowledged is sent again; it doubles each time (RFC 6298 section 2), up to a bound: nobody but the proxy has the data, and
/// it should try often before hosts give up.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(4);
const TRIES: u32 = 20;

/// Repeated acknowledgements that mean a loss (RFC 5681 section 3.2).
const DUPLICATES: u32 = 3;

/// Kind of the window scale option (RFC 7323 section 2.2).
const WINDOW_SCALE: u8 = 3;

/// Acknowledges data in order as soon as it passes, with a copy of the receiver's latest acknowledgement: what the
/// sender learns of the subflow is then no longer what the receiver has (RFC 8684 section 3.3.2 has data
/// acknowledgements because of such proxies). As the sender forgets that data, the proxy repeats what gets lost behind
/// it, with what the sender says by then: a segment with an acknowledgement that is long out of date would not be taken (RFC
/// 5961 section 5.2).
#[derive(Debug)]
pub(super) struct ProxyAck {
    direction: DirectionChoice,
    connections: Connections<State>,
    timers: BTreeSet<(Instant, Connection, Direction)>,
}

#[derive(Debug, Default)]
struct State {
    /// The number that each side began with, up and down.
    began: [Option<u32>; 2],
    /// Window scale in the SYN of each side.
    scales: [Option<u8>; 2],
    /// What flows up and what flows down.
    sides: [Side; 2],
}

/// What a sender says besides its data.
#[derive(Clone, Copy, Debug)]
struct Said {
    ack: u32,
    window: u16,
    /// TSval and TSecr (RFC 7323 section 3.2).
    timestamps: Option<(u32, u32)>,
}

/// The data of one direction.
#[derive(Debug, Default)]
struct Side {
    /// What the sender has last said.
    said: Option<Said>,
    /// What the receiver has last said without data; nothing is acknowledged for it before.
    template: Option<Frame>,
    /// Next sequence number of the receiver's own.
    next: u32,
    /// What the sender has been told, and what the receiver has acknowledged.
    acked: u32,
    received: u32,
    /// End of the window that the receiver has opened.
    edge: u32,
    /// What lies between the two: where each segment ends.
    copies: VecDeque<(u32, Packet)>,
    bytes: usize,
    duplicates: u32,
    /// Everything before this was sent when a loss was noticed.
    recover: Option<u32>,
    tries: u32,
    deadline: Option<Instant>,
}

impl ProxyAck {
    pub(super) fn new(direction: DirectionChoice) -> Self {
        Self { direction, connections: Connections::default(), timers: BTreeSet::new() }
    }

    fn schedule(&mut self, connection: Connection, direction: Direction, before: Option<Instant>) {
        let after = self.connections.of(connection).sides[direction as usize].deadline;
        if before != after {
            before.map(|at| self.timers.remove(&(at, connection, direction)));
            after.map(|at| self.timers.insert((at, connection, direction)));
        }
    }

    fn deadlines(&mut self, connection: Connection) -> [Option<Instant>; 2] {
        self.connections.of(connection).sides.each_ref().map(|side| side.deadline)
    }
}

impl Behave for ProxyAck {
    fn handle(&mut self, now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let id = packet.id;
        let Some(mut segment) = Segment::open(&mut packet.frame) else { return passage.forward(packet, direction) };
        let connection = segment.connection(direction);
        let old = self.deadlines(connection);
        let state = self.connections.of(connection);
        let mut again = None;
        let mut data = None;
        if segment.has(SYN) {
            // One that comes again or late says nothing new.
            let began = state.began[direction as usize].replace(segment.seq());
            if began != Some(segment.seq()) {
                state.sides = Default::default();
                state.scales[direction as usize] = window_scale(&segment);
            }
        } else if segment.has(RST) {
            *state = State::default();
        } else {
            // A scale counts only if both sides have one (RFC 7323 section 2.2).
            let shift = state.scales[0].and(state.scales[1]).and(state.scales[direction as usize]).unwrap_or(0);
            again = state.sides[direction.opposite() as usize].acknowledged(now, &mut segment, shift);
            state.sides[direction as usize].listen(&segment);
            if direction.is_in(self.direction) && !segment.payload().is_empty() {
                // A payload is shorter than 2^16 bytes.
                data = Some((segment.seq(), segment.seq().wrapping_add(segment.payload().len() as u32)));
            }
        }
        let answer = data.and_then(|(seq, end)| {
            let shift = state.scales[0].and(state.scales[1]).and(state.scales[direction.opposite() as usize]);
            let side = &mut state.sides[direction as usize];
            side.takes(now, seq, end, &packet).then(|| side.answer(shift.unwrap_or(0))).flatten()
        });
        passage.forward(packet, direction);
        if let Some(frame) = answer {
            passage.make(Packet::new(id, frame, now), direction.opposite());
        }
        if let Some(again) = again {
            passage.make(again, direction.opposite());
        }
        self.schedule(connection, Direction::Up, old[0]);
        self.schedule(connection, Direction::Down, old[1]);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, ..)| *at)
    }

    fn handle_timeout(&mut self, now: Instant, passage: &mut Passage<'_>) {
        while let Some((at, connection, direction)) = self.timers.first().copied().filter(|(at, ..)| *at <= now) {
            self.timers.pop_first();
            let side = &mut self.connections.of(connection).sides[direction as usize];
            if side.deadline != Some(at) {
                continue;
            }
            if let Some(packet) = side.expired(now) {
                passage.make(packet, direction);
            }
            self.schedule(connection, direction, None);
        }
    }

    fn sees_both(&self) -> bool {
        true
    }
}

impl Side {
    /// A segment of the receiver, which then says what the sender has been told already. Returns what must be
    /// repeated.
    fn acknowledged(&mut self, now: Instant, segment: &mut Segment<'_>, shift: u8) -> Option<Packet> {
        if !segment.has(ACK) {
            return None;
        }
        let (ack, next) = (segment.ack(), segment.seq().wrapping_add(segment.seq_len()));
        let is_plain = segment.payload().is_empty() && segment.flags() & !PSH == ACK && !is_handshake(segment);
        let edge = ack.wrapping_add(u32::from(segment.window()) << shift);
        if self.template.is_none() {
            if !is_plain {
                return None;
            }
            (self.received, self.acked, self.edge, self.next) = (ack, ack, edge, next);
        }
        let again = self.progress(now, ack, is_plain);
        self.edge = if before(self.edge, edge) { edge } else { self.edge };
        self.next = if before(self.next, next) { next } else { self.next };
        if is_plain {
            self.template = Some(Frame::from(segment.bytes()));
        }
        if before(ack, self.acked) {
            self.speak_for_receiver(segment, shift);
        }
        again
    }

    /// Does what a sender does when it is acknowledged (RFC 5681, RFC 6582).
    fn progress(&mut self, now: Instant, ack: u32, is_plain: bool) -> Option<Packet> {
        let progress = before(self.received, ack);
        if progress {
            self.received = ack;
            self.acked = if before(self.acked, ack) { ack } else { self.acked };
            while let Some((end, _)) = self.copies.front()
                && !before(ack, *end)
            {
                self.bytes -= self.copies.pop_front().map_or(0, |(_, packet)| packet.len());
            }
            (self.duplicates, self.tries) = (0, 0);
            self.deadline = (!self.copies.is_empty()).then(|| now + TIMEOUT);
            self.recover = self.recover.filter(|recover| before(ack, *recover));
        } else if is_plain && ack == self.received && !self.copies.is_empty() {
            self.duplicates += 1;
        }
        let lost = self.duplicates == DUPLICATES && self.recover.is_none();
        if lost {
            self.recover = self.copies.back().map(|(end, _)| *end);
        }
        let again = lost || progress && self.recover.is_some();
        if again { self.repeat() } else { None }
    }

    /// A segment of the sender as it goes on to the receiver.
    fn listen(&mut self, segment: &Segment<'_>) {
        let mut new = Said::in_segment(segment);
        // Segments may lose their timestamps on the way here, but what was said with one stays said.
        new.timestamps = new.timestamps.or(self.said.and_then(|old| old.timestamps));
        if segment.has(ACK) && self.said.is_none_or(|old| !new.is_before(old)) {
            self.said = Some(new);
        }
    }

    /// The first that the receiver lacks, with what the sender says now. Not what it has of that: a queue behind it that is too short for all of a large
    /// segment's pieces would drop the same ones each time.
    fn repeat(&self) -> Option<Packet> {
        let (_, packet) = self.copies.front()?;
        let mut packet = packet.clone();
        if let Some(segment) = Segment::open(&mut packet.frame) {
            let had = self.received.wrapping_sub(segment.seq()) as usize;
            if before(segment.seq(), self.received) && had < segment.payload().len() {
                let frame = rest(&segment, had);
                packet = packet.with_frame(frame);
            }
        }
        if let (Some(said), Some(mut segment)) = (self.said, Segment::open(&mut packet.frame)) {
            said.write(&mut segment);
        }
        Some(packet)
    }

    /// Whether it answers for data from `seq` to `end`; then it keeps a copy.
    fn takes(&mut self, now: Instant, seq: u32, end: u32, packet: &Packet) -> bool {
        let in_order = !before(self.acked, seq) && before(self.acked, end);
        let fits = !before(self.edge, end) && self.bytes + packet.len() <= MOST_BYTES;
        if self.template.is_none() || !in_order || !fits {
            return false;
        }
        self.acked = end;
        self.bytes += packet.len();
        self.copies.push_back((end, packet.clone()));
        self.deadline = self.deadline.or(Some(now + TIMEOUT));
        true
    }

    /// The receiver's latest acknowledgement, of all that has passed.
    fn answer(&self, shift: u8) -> Option<Frame> {
        let mut frame = self.template.clone()?;
        let mut segment = Segment::open(&mut frame)?;
        segment.set_seq(self.next);
        for option in ranges(&segment) {
            let option_bytes = &segment.bytes()[option.clone()];
            // All but the data acknowledgement is said once only.
            if option_bytes[0] == MPTCP && !is_meant(OptionChoice::Dss, option_bytes) {
                erase(&mut segment, &option);
            }
        }
        // An echo of long ago would say that the data had arrived before it was sent again (RFC 4015 section 3.2).
        let echo = self.said.and_then(|said| said.timestamps);
        if let (Some(at), Some((value, _))) = (timestamps(&segment), echo) {
            segment.write(at + 4, &value.to_be_bytes());
        }
        self.speak_for_receiver(&mut segment, shift);
        Some(frame)
    }

    /// Acknowledges what has passed, within the window that the receiver has opened.
    fn speak_for_receiver(&self, segment: &mut Segment<'_>, shift: u8) {
        segment.set_ack(self.acked);
        let left = if before(self.edge, self.acked) { 0 } else { self.edge.wrapping_sub(self.acked) };
        segment.set_window(u16::try_from(left >> shift).unwrap_or(u16::MAX));
        // What has been received out of order is nothing to a sender that thinks it has arrived.
        for option in ranges(segment) {
            if segment.bytes()[option.start] == SACK {
                erase(segment, &option);
            }
        }
    }

    /// The receiver has been silent: repeats the first that it lacks, but not for ever.
    fn expired(&mut self, now: Instant) -> Option<Packet> {
        self.tries += 1;
        if self.tries > TRIES {
            self.copies.clear();
            (self.bytes, self.deadline) = (0, None);
            return None;
        }
        self.deadline = Some(now + (TIMEOUT * (1 << self.tries)).min(MAX_TIMEOUT));
        self.recover = self.copies.back().map(|(end, _)| *end);
        self.repeat()
    }
}

impl Said {
    fn in_segment(segment: &Segment<'_>) -> Self {
        let timestamps = timestamps(segment).map(|at| (segment.u32(at), segment.u32(at + 4)));
        Self { ack: segment.ack(), window: segment.window(), timestamps }
    }

    fn is_before(self, other: Self) -> bool {
        let times = self.timestamps.zip(other.timestamps);
        before(self.ack, other.ack) || times.is_some_and(|((own, _), (other, _))| before(own, other))
    }

    fn write(self, segment: &mut Segment<'_>) {
        segment.set_ack(self.ack);
        segment.set_window(self.window);
        if let (Some(at), Some((value, echo))) = (timestamps(segment), self.timestamps) {
            segment.write(at, &value.to_be_bytes());
            segment.write(at + 4, &echo.to_be_bytes());
        }
    }
}

/// Where the values of the timestamps option are (RFC 7323 section 3.2).
fn timestamps(segment: &Segment<'_>) -> Option<usize> {
    let option = ranges(segment).into_iter().find(|option| segment.bytes()[option.start] == TIMESTAMPS)?;
    (option.len() == 10).then_some(option.start + 2)
}

/// Whether it has options of RFC 8684, but no data acknowledgement: the last segment of a handshake. Whoever is acknowledged
/// data with no more than that falls back to TCP (section 3.7), of which the other end would know nothing.
fn is_handshake(segment: &Segment<'_>) -> bool {
    let mut multipath = false;
    for option in ranges(segment) {
        let option = &segment.bytes()[option];
        if is_meant(OptionChoice::Dss, option) {
            return false;
        }
        multipath |= option[0] == MPTCP;
    }
    multipath
}

fn window_scale(segment: &Segment<'_>) -> Option<u8> {
    let option = ranges(segment).into_iter().find(|option| segment.bytes()[option.start] == WINDOW_SCALE)?;
    // At most 14 (RFC 7323 section 2.3).
    segment.bytes()[option].get(2).map(|shift| (*shift).min(14))
}

#[cfg(test)]
mod tests;
