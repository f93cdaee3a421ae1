//! A queue on a test bench.

use std::time::Duration;

use tcp_adapter::Instant;

use super::{Outlet, Queue};
use crate::link::stats::{DropReason, Fates, Output, PipeStats};
use crate::packet::Packet;

/// Ethernet with 1 Gbit/s.
pub(super) const GIGABIT: Outlet = Outlet { longest: 1514, packet_time: Duration::from_micros(12) };

/// Times are in microseconds.
pub(super) struct Bench {
    pub(super) queue: Box<dyn Queue>,
    pub(super) out: Output,
    pub(super) stats: PipeStats,
}

impl Bench {
    pub(super) fn new(queue: Box<dyn Queue>) -> Self {
        Self { queue, out: Output::default(), stats: PipeStats::default() }
    }

    pub(super) fn enqueue(&mut self, micros: u64, packet: Packet) {
        let mut fates = Fates { stats: &mut self.stats, out: &mut self.out };
        self.queue.enqueue(Instant::from_micros(micros), packet, &mut fates);
    }

    pub(super) fn dequeue(&mut self, micros: u64) -> Option<Packet> {
        let mut fates = Fates { stats: &mut self.stats, out: &mut self.out };
        self.queue.dequeue(Instant::from_micros(micros), &mut fates)
    }

    pub(super) fn dropped(&self, reason: DropReason) -> usize {
        self.stats.dropped(reason).packets as usize
    }

    /// A constant arrival of packets every `arrival` microseconds and a departure every `departure`, for `duration`;
    /// calls `seen` with the time and each packet that departs.
    pub(super) fn run(
        &mut self,
        (arrival, departure, duration): (u64, u64, u64),
        mut packet: impl FnMut(u64) -> Packet,
        mut seen: impl FnMut(u64, Packet),
    ) {
        let (mut next_arrival, mut next_departure, mut id) = (0, departure, 0);
        while next_arrival.min(next_departure) < duration {
            if next_arrival <= next_departure {
                let mut packet = packet(id);
                packet.sent_at = Instant::from_micros(next_arrival);
                self.enqueue(next_arrival, packet);
                id += 1;
                next_arrival += arrival;
            } else {
                if let Some(packet) = self.dequeue(next_departure) {
                    seen(next_departure, packet);
                }
                next_departure += departure;
            }
        }
    }
}
