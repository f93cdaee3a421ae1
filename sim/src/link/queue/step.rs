//! Marking from a fixed length of the queue on, as switches in data centres do it (RFC 8257 section 3.1).

use tcp_adapter::Instant;

use super::fifo::Fifo;
use super::{Limit, Queue};
use crate::link::LinkError;
use crate::link::headers::mark_congestion;
use crate::link::stats::{DropReason, Fates};
use crate::packet::Packet;

/// First in, first out, with a threshold for marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepConfig {
    /// What fits at all.
    pub limit: Limit,
    /// Bytes, those of the packet included, beyond which a packet that arrives is marked if its transport understands that. The
    /// others are let through.
    pub mark: usize,
}

impl StepConfig {
    pub(super) fn validate(&self) -> Result<(), LinkError> {
        self.limit.validate()?;
        if self.mark == 0 {
            return Err(LinkError::Queue("a step needs a threshold above 0"));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Step {
    config: StepConfig,
    fifo: Fifo,
}

impl Step {
    pub(super) fn new(config: StepConfig) -> Self {
        Self { config, fifo: Fifo::default() }
    }
}

impl Queue for Step {
    fn enqueue(&mut self, now: Instant, mut packet: Packet, fates: &mut Fates<'_>) {
        if !self.config.limit.admits(self.fifo.packets(), self.fifo.bytes(), packet.offered_len) {
            fates.drop(packet, DropReason::QueueFull);
            return;
        }
        if self.fifo.bytes() + packet.offered_len > self.config.mark && mark_congestion(&mut packet.frame) {
            fates.count_mark();
        }
        self.fifo.push(now, packet);
    }

    fn dequeue(&mut self, _now: Instant, _fates: &mut Fates<'_>) -> Option<Packet> {
        self.fifo.pop().map(|(_, packet)| packet)
    }

    fn drops_late(&self) -> bool {
        false
    }

    fn packets(&self) -> usize {
        self.fifo.packets()
    }

    fn bytes(&self) -> usize {
        self.fifo.bytes()
    }

    fn drain(&mut self) -> Vec<Packet> {
        self.fifo.drain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::queue::testing::Bench;
    use crate::link::testing::{Ecn, udp, udp_ecn};

    #[test]
    fn what_finds_the_threshold_reached_is_marked_and_what_does_not_fit_is_dropped() {
        let config = StepConfig { limit: Limit::packets(5), mark: 3 * 1000 };
        let mut bench = Bench::new(Box::new(Step::new(config)));
        for id in 0..4 {
            bench.enqueue(0, udp_ecn(id, 1000, Ecn::Capable));
        }
        bench.enqueue(0, udp(4, 1000));
        bench.enqueue(0, udp_ecn(5, 1000, Ecn::Capable));
        let marked: Vec<bool> =
            std::iter::from_fn(|| bench.dequeue(1)).map(|packet| packet.frame.head[15] & 3 == 3).collect();
        assert_eq!(marked, [false, false, false, true, false]);
        assert_eq!((bench.stats.marked, bench.dropped(DropReason::QueueFull)), (1, 1));
    }
}
