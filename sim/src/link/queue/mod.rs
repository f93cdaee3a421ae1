//! Queues before a link's transmitter.

mod codel;
mod drop_tail;
mod fifo;
mod fq_codel;
mod pie;
mod red;
mod step;
#[cfg(test)]
mod testing;

use std::fmt::Debug;
use std::time::Duration;

use tcp_adapter::Instant;

pub use codel::CoDelConfig;
pub use fq_codel::FqCoDelConfig;
pub use pie::PieConfig;
pub use red::RedConfig;
pub use step::StepConfig;

use super::LinkError;
use super::stats::Fates;
use crate::packet::Packet;
use crate::random::Stream;

/// Where packets wait until the transmitter is free, and which of them are dropped or marked meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueConfig {
    /// First in, first out; what does not fit is dropped.
    DropTail(Limit),
    /// Random early detection.
    Red(RedConfig),
    /// Controlled delay.
    CoDel(CoDelConfig),
    /// A CoDel queue for each flow, served in turns.
    FqCoDel(FqCoDelConfig),
    /// Proportional integral controller enhanced.
    Pie(PieConfig),
    /// Marks from a fixed length on.
    Step(StepConfig),
}

impl Default for QueueConfig {
    /// A thousand packets, as netem has it.
    fn default() -> Self {
        Self::DropTail(Limit::packets(1000))
    }
}

impl QueueConfig {
    pub(super) fn validate(&self) -> Result<(), LinkError> {
        match self {
            Self::DropTail(limit) => limit.validate(),
            Self::Red(config) => config.validate(),
            Self::CoDel(config) => config.validate(),
            Self::FqCoDel(config) => config.validate(),
            Self::Pie(config) => config.validate(),
            Self::Step(config) => config.validate(),
        }
    }

    /// An empty queue in front of `outlet`.
    pub(super) fn build(&self, now: Instant, stream: Stream, outlet: Outlet) -> Box<dyn Queue> {
        match self.clone() {
            Self::DropTail(limit) => Box::new(drop_tail::DropTail::new(limit)),
            Self::Red(config) => Box::new(red::Red::new(config, now, stream, outlet)),
            Self::CoDel(config) => Box::new(codel::CoDel::new(config, outlet)),
            Self::FqCoDel(config) => Box::new(fq_codel::FqCoDel::new(config, stream, outlet)),
            Self::Pie(config) => Box::new(pie::Pie::new(config, now, stream, outlet)),
            Self::Step(config) => Box::new(step::Step::new(config)),
        }
    }
}

/// What a queue knows of the link behind it, as it is when the queue is put there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlet {
    /// Bytes of the longest packet from the Ethernet header on: Linux's `psched_mtu`.
    pub(super) longest: usize,
    /// Time that one of these takes; above 0.
    pub(super) packet_time: Duration,
}

/// What a queue holds at most. The packet that is being sent is no longer in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Packets; a super-segment is one.
    pub packets: Option<usize>,
    /// Bytes from the Ethernet header on.
    pub bytes: Option<usize>,
}

impl Limit {
    /// So many packets of any size.
    pub const fn packets(packets: usize) -> Self {
        Self { packets: Some(packets), bytes: None }
    }

    /// So many bytes.
    pub const fn bytes(bytes: usize) -> Self {
        Self { packets: None, bytes: Some(bytes) }
    }

    /// Whether a packet of `len` bytes fits to those that wait.
    pub(super) fn admits(self, packets: usize, bytes: usize, len: usize) -> bool {
        self.packets.is_none_or(|limit| packets < limit) && self.bytes.is_none_or(|limit| bytes + len <= limit)
    }

    fn validate(self) -> Result<(), LinkError> {
        let bounded = self.packets.is_some() || self.bytes.is_some();
        let holds_one = self.packets != Some(0) && self.bytes.is_none_or(|bytes| bytes >= 1514);
        if bounded && holds_one { Ok(()) } else { Err(LinkError::QueueLimit) }
    }
}

/// A discipline. Calls have times that do not go backwards.
pub(super) trait Queue: Debug + Send {
    /// Takes a packet in, or drops it or others.
    fn enqueue(&mut self, now: Instant, packet: Packet, fates: &mut Fates<'_>);

    /// The packet to send next. It may drop packets, even all of them.
    fn dequeue(&mut self, now: Instant, fates: &mut Fates<'_>) -> Option<Packet>;

    /// The transmitter is free, and nothing waits for it.
    fn idle(&mut self, _now: Instant) {}

    /// Whether [`dequeue`](Self::dequeue) may drop packets.
    fn drops_late(&self) -> bool;

    /// Packets that wait.
    fn packets(&self) -> usize;

    /// Bytes that wait.
    fn bytes(&self) -> usize;

    /// Empties the queue without sending.
    fn drain(&mut self) -> Vec<Packet>;
}
