//! What became of every packet that a pipe was offered.

use std::time::Duration;

use crate::packet::Packet;

/// What a call into a pipe produced.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Packets that came out at the far end, in order.
    pub delivered: Vec<Packet>,
    /// Packets that were lost, and why.
    pub dropped: Vec<(Packet, DropReason)>,
}

impl Output {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.delivered.clear();
        self.dropped.clear();
    }
}

/// Why a packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The link was down, or went down while the packet was in it.
    Down,
    /// The link silently forwarded nothing.
    Blackhole,
    /// The packet was larger than the link's MTU.
    TooLarge,
    /// Random loss.
    Random,
    /// The Gilbert-Elliott model, in either state.
    GilbertElliott,
    /// The four-state model of netem.
    FourState,
    /// Periodic loss.
    Periodic,
    /// The packet's number was on the list.
    Listed,
    /// The loss trace said so.
    Traced,
    /// A damaged super-segment or a damaged frame without a complete checksum, see [`super::PipeConfig::corrupt`].
    Damaged,
    /// The queue was full.
    QueueFull,
    /// RED dropped early.
    Red,
    /// CoDel dropped at the head.
    CoDel,
    /// FQ-CoDel dropped from the fattest flow because the queue was full.
    FattestFlow,
    /// PIE dropped early.
    Pie,
}

impl DropReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Down,
        Self::Blackhole,
        Self::TooLarge,
        Self::Random,
        Self::GilbertElliott,
        Self::FourState,
        Self::Periodic,
        Self::Listed,
        Self::Traced,
        Self::Damaged,
        Self::QueueFull,
        Self::Red,
        Self::CoDel,
        Self::FattestFlow,
        Self::Pie,
    ];

    /// A short name for reports, in lower case with dashes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Blackhole => "blackhole",
            Self::TooLarge => "too-large",
            Self::Random => "random",
            Self::GilbertElliott => "gilbert-elliott",
            Self::FourState => "four-state",
            Self::Periodic => "periodic",
            Self::Listed => "listed",
            Self::Traced => "traced",
            Self::Damaged => "damaged",
            Self::QueueFull => "queue-full",
            Self::Red => "red",
            Self::CoDel => "codel",
            Self::FattestFlow => "fattest-flow",
            Self::Pie => "pie",
        }
    }
}

/// Packets and their bytes, from the Ethernet header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Count {
    /// Number of packets.
    pub packets: u64,
    /// Sum of their lengths.
    pub bytes: u64,
}

impl Count {
    /// Counts one packet more.
    pub(super) fn add(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += packet.offered_len as u64;
    }

    fn plus(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

/// The books of a pipe. After every call, offered + duplicated = delivered + dropped + in flight, in packets and
/// in bytes; [`PipeStats::is_conserved`] checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PipeStats {
    /// Came in.
    pub offered: Count,
    /// Copies that the link made.
    pub duplicated: Count,
    /// Came out.
    pub delivered: Count,
    /// Counted afresh, whenever the books are read, from what the pipe holds: waiting, being sent, and on the way.
    pub in_flight: Count,
    /// Packets of which a bit was flipped.
    pub corrupted: u64,
    /// Packets that got the congestion experienced mark, from a queue or instead of a loss.
    pub marked: u64,
    /// Packets that were sent ahead of those before them by [`super::PipeConfig::reorder`].
    pub reordered: u64,
    /// Most packets that waited in the queue at once.
    pub longest_queue: u64,
    /// Longest time that a packet waited before it was sent.
    pub longest_wait: Duration,
    dropped: [Count; DropReason::ALL.len()],
}

impl PipeStats {
    /// Lost for this reason.
    pub const fn dropped(&self, reason: DropReason) -> Count {
        self.dropped[reason as usize]
    }

    /// Lost for any reason.
    pub fn dropped_total(&self) -> Count {
        self.dropped.iter().fold(Count::default(), |sum, count| sum.plus(*count))
    }

    /// Whether every packet and every byte is accounted for.
    pub fn is_conserved(&self) -> bool {
        self.offered.plus(self.duplicated) == self.delivered.plus(self.dropped_total()).plus(self.in_flight)
    }
}

/// Where packets end: in the output and in the books, always both.
#[derive(Debug)]
pub(super) struct Fates<'a> {
    pub(super) stats: &'a mut PipeStats,
    pub(super) out: &'a mut Output,
}

impl Fates<'_> {
    pub(super) fn drop(&mut self, packet: Packet, reason: DropReason) {
        self.stats.dropped[reason as usize].add(&packet);
        self.out.dropped.push((packet, reason));
    }

    pub(super) fn deliver(&mut self, packet: Packet) {
        self.stats.delivered.add(&packet);
        self.out.delivered.push(packet);
    }

    pub(super) fn count_mark(&mut self) {
        self.stats.marked += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_their_order_under_different_names() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert_eq!(DropReason::ALL.iter().filter(|other| other.as_str() == reason.as_str()).count(), 1);
        }
    }
}
