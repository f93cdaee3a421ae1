//! What packets cost a host's processor.

use std::time::Duration;

use tcp_adapter::{Frame, Instant, InterfaceId};

use crate::link::Bursts;
use crate::scenario::Cpu;

/// A processor that does one thing after the other.
#[derive(Debug)]
pub(crate) struct Processor {
    cost: Cpu,
    /// The interfaces cut segments themselves, so that those of one burst cost as much as one.
    offload: bool,
    bursts: Vec<Bursts>,
    busy_until: Instant,
    /// Picoseconds of work beyond the whole nanoseconds of `busy_until`.
    rest: u64,
}

impl Processor {
    pub(crate) fn new(cost: Cpu, offload: bool) -> Self {
        Self { cost, offload, bursts: Vec::new(), busy_until: Instant::ZERO, rest: 0 }
    }

    /// It is infinitely fast.
    pub(crate) fn is_free_of_charge(&self) -> bool {
        self.cost.per_packet.0 == 0 && self.cost.per_byte.0 == 0
    }

    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.busy_until > now
    }

    /// When it has time, from `at` on.
    pub(crate) fn free_at(&self, at: Instant) -> Instant {
        self.busy_until.max(at)
    }

    /// A frame was received.
    pub(crate) fn receive(&mut self, now: Instant, len: usize) {
        self.work(now, len, true);
    }

    /// A frame is being sent: when it is ready; `None` if that takes no time.
    pub(crate) fn send(&mut self, now: Instant, interface: InterfaceId, frame: &Frame) -> Option<Instant> {
        if self.is_free_of_charge() {
            return None;
        }
        let continues = self.offload && {
            if self.bursts.len() <= interface.0 {
                self.bursts.resize_with(interface.0 + 1, Bursts::default);
            }
            self.bursts[interface.0].continues(now, frame)
        };
        self.work(now, frame.len(), !continues);
        Some(self.busy_until)
    }

    fn work(&mut self, now: Instant, len: usize, whole: bool) {
        let per_packet = if whole { self.cost.per_packet.0 } else { 0 };
        let picos = self.cost.per_byte.0.saturating_mul(len as u64).saturating_add(per_packet);
        let start = if self.busy_until >= now { self.rest } else { 0 };
        let picos = picos.saturating_add(start);
        self.busy_until = self.busy_until.max(now) + Duration::from_nanos(picos / 1000);
        self.rest = picos % 1000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Picoseconds;

    #[test]
    fn work_adds_up_to_the_picosecond() {
        let cost = Cpu { per_packet: Picoseconds(100), per_byte: Picoseconds(2) };
        let mut processor = Processor::new(cost, false);
        let now = Instant::from_nanos(50);
        for _ in 0..10 {
            processor.receive(now, 100);
        }
        assert_eq!(processor.free_at(now), Instant::from_nanos(53));
        assert!(processor.is_busy(Instant::from_nanos(52)) && !processor.is_busy(Instant::from_nanos(53)));
        let frame = Frame::from(&[0; 100][..]);
        let ready = processor.send(Instant::from_nanos(60), InterfaceId(0), &frame);
        assert_eq!(ready, Some(Instant::from_nanos(60)), "300 ps are less than a nanosecond");
        assert!(!Processor::new(Cpu { per_packet: Picoseconds(0), ..cost }, false).is_free_of_charge());
    }
}
