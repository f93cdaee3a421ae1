//! First in, first out, up to a limit.

use tcp_adapter::Instant;

use super::fifo::Fifo;
use super::{Limit, Queue};
use crate::link::stats::{DropReason, Fates};
use crate::packet::Packet;

#[derive(Debug)]
pub(super) struct DropTail {
    fifo: Fifo,
    limit: Limit,
}

impl DropTail {
    pub(super) fn new(limit: Limit) -> Self {
        Self { fifo: Fifo::default(), limit }
    }
}

impl Queue for DropTail {
    fn enqueue(&mut self, now: Instant, packet: Packet, fates: &mut Fates<'_>) {
        if self.limit.admits(self.fifo.packets(), self.fifo.bytes(), packet.offered_len) {
            self.fifo.push(now, packet);
        } else {
            fates.drop(packet, DropReason::QueueFull);
        }
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
    use crate::link::testing::udp;

    #[test]
    fn packets_beyond_the_limit_are_dropped_and_the_others_keep_their_order() {
        for (limit, kept) in [
            (Limit::packets(3), vec![0, 1, 2]),
            (Limit::bytes(3027), vec![0, 2]),
            (Limit { packets: Some(1), bytes: Some(10_000) }, vec![0]),
        ] {
            let mut bench = Bench::new(Box::new(DropTail::new(limit)));
            for (id, len) in [(0, 1514), (1, 1514), (2, 1513), (3, 1514)] {
                bench.enqueue(0, udp(id, len));
            }
            let sent: Vec<u64> = std::iter::from_fn(|| bench.dequeue(1)).map(|packet| packet.id).collect();
            assert_eq!(sent, kept, "{limit:?}");
            assert_eq!(bench.dropped(DropReason::QueueFull), 4 - kept.len());
            assert_eq!((bench.queue.packets(), bench.queue.bytes()), (0, 0));
        }
    }
}
