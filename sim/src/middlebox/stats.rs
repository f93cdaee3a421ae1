//! What becomes of packets in a middlebox.

use std::sync::Arc;

use super::Direction;
use crate::packet::Packet;

/// What a call into a middlebox produced, in order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Packets that go on to the link's `to`.
    pub up: Vec<Packet>,
    /// Packets that go on to the link's `from`: they enter the way down.
    pub down: Vec<Packet>,
    /// Packets that ended here.
    pub dropped: Vec<Dropped>,
}

impl Output {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.up.clear();
        self.down.clear();
        self.dropped.clear();
    }
}

/// A packet that a middlebox dropped.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// The packet.
    pub packet: Packet,
    /// Why.
    pub reason: DropReason,
    /// Name of the middlebox.
    pub by: Arc<str>,
}

/// Why a middlebox dropped a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// A SYN with the option that is not let through.
    SynWithOption,
    /// Nobody inside has sent anything to which it could belong.
    Unsolicited,
    /// All ports of the translator are taken.
    NoPort,
    /// Its connection has been reset.
    Reset,
}

impl DropReason {
    /// A short name for reports, in lower case with dashes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SynWithOption => "syn-with-option",
            Self::Unsolicited => "unsolicited",
            Self::NoPort => "no-port",
            Self::Reset => "reset",
        }
    }
}

/// The books of a middlebox, in packets. After every call, received + made = forwarded + dropped + absorbed + held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MiddleboxStats {
    /// Packets that arrived from either side.
    pub received: u64,
    /// Packets that it made: the pieces of a segment beyond the first, acknowledgements, resets, repetitions. They
    /// bear the number of the packet that caused them.
    pub made: u64,
    /// Packets that went on.
    pub forwarded: u64,
    /// Packets that ended here.
    pub dropped: u64,
    /// Packets whose payload went on in another one.
    pub absorbed: u64,
    /// Packets that wait here.
    pub held: u64,
}

impl MiddleboxStats {
    /// Whether every packet is accounted for.
    pub const fn balance(&self) -> bool {
        self.received + self.made == self.forwarded + self.dropped + self.absorbed + self.held
    }
}

/// Writes down where a packet goes, and counts it.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    pub(super) by: &'a Arc<str>,
    pub(super) stats: &'a mut MiddleboxStats,
    pub(super) out: &'a mut Output,
}

impl Passage<'_> {
    /// A packet that was received goes on.
    pub(super) fn forward(&mut self, packet: Packet, direction: Direction) {
        self.stats.forwarded += 1;
        match direction {
            Direction::Up => self.out.up.push(packet),
            Direction::Down => self.out.down.push(packet),
        }
    }

    /// A packet comes into being and goes.
    pub(super) fn make(&mut self, packet: Packet, direction: Direction) {
        self.stats.made += 1;
        self.forward(packet, direction);
    }

    pub(super) fn drop(&mut self, packet: Packet, reason: DropReason) {
        self.stats.dropped += 1;
        self.out.dropped.push(Dropped { packet, reason, by: self.by.clone() });
    }

    /// The payload of a received packet will go on in another.
    pub(super) fn absorb(&mut self) {
        self.stats.absorbed += 1;
    }
}
