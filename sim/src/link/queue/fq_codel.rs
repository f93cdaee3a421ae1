//! FQ-CoDel (RFC 8290): a CoDel queue for each flow; flows take turns, new ones first.

use std::collections::VecDeque;
use std::hash::Hasher;

use rand::Rng;
use siphasher::sip::SipHasher13;
use tcp_adapter::Instant;

use super::codel::{CoDelConfig, Control, State};
use super::fifo::Fifo;
use super::{Limit, Outlet, Queue};
use crate::link::LinkError;
use crate::link::headers::{FlowKey, Headers};
use crate::link::stats::{DropReason, Fates};
use crate::packet::Packet;
use crate::random::Stream;

/// Number of queues that flows are hashed into (RFC 8290 section 5.2.4).
const FLOWS: usize = 1024;

/// Bytes that a flow may send per turn (RFC 8290 section 5.2.3).
const QUANTUM: usize = 1514;

/// Packets in all queues together (RFC 8290 section 5.2.1).
const LIMIT: Limit = Limit::packets(10_240);

/// Most packets that are dropped at once from the fattest flow (RFC 8290 section 4.1).
const DROP_BATCH: usize = 64;

/// A CoDel queue for each flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FqCoDelConfig {
    /// Target, interval and marks of each queue; its limit is that of all queues together.
    pub codel: CoDelConfig,
    /// Number of queues. Flows are spread over them by a hash of addresses, ports and protocol with a random key.
    pub flows: usize,
    /// Bytes that a flow may send before it is the next one's turn.
    pub quantum: usize,
}

impl Default for FqCoDelConfig {
    /// 1024 queues, 10 240 packets, 1514 bytes per turn, CoDel's defaults, marks on (RFC 8290 section 5.2.7).
    fn default() -> Self {
        let codel = CoDelConfig { limit: LIMIT, ecn: true, ..CoDelConfig::default() };
        Self { codel, flows: FLOWS, quantum: QUANTUM }
    }
}

impl FqCoDelConfig {
    pub(super) fn validate(&self) -> Result<(), LinkError> {
        self.codel.validate()?;
        if !(1..=65_536).contains(&self.flows) || !(64..=1_048_576).contains(&self.quantum) {
            return Err(LinkError::Queue("FQ-CoDel needs 1 to 65536 flows and a quantum of 64 to 1048576 bytes"));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct FqCoDel {
    control: Control,
    limit: Limit,
    quantum: i64,
    keys: (u64, u64),
    flows: Vec<Flow>,
    new_flows: VecDeque<usize>,
    old_flows: VecDeque<usize>,
    packets: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Flow {
    fifo: Fifo,
    codel: State,
    /// Bytes that it may still send in this turn.
    credits: i64,
    /// It is on one of the lists.
    listed: bool,
}

impl FqCoDel {
    pub(super) fn new(config: FqCoDelConfig, mut stream: Stream, outlet: Outlet) -> Self {
        Self {
            control: config.codel.control(outlet),
            limit: config.codel.limit,
            quantum: config.quantum as i64,
            keys: (stream.next_u64(), stream.next_u64()),
            flows: (0..config.flows).map(|_| Flow::default()).collect(),
            new_flows: VecDeque::new(),
            old_flows: VecDeque::new(),
            packets: 0,
            bytes: 0,
        }
    }

    fn flow_of(&self, packet: &Packet) -> usize {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        let FlowKey { source, destination, ports, protocol } = Headers::of(&packet.frame).flow;
        // What `Hash` does depends on how long the machine's addresses are, so this is what it does where they have 64 bits.
        for field in [&source[..], &destination, &ports] {
            hasher.write(&(field.len() as u64).to_le_bytes());
            hasher.write(field);
        }
        hasher.write(&[protocol]);
        (hasher.finish() % self.flows.len() as u64) as usize
    }

    /// Drops half of the packets of the flow with most bytes, at most 64, from its head (RFC 8290 section 4.1). At a
    /// full queue the walk over the flows is paid for by the packets that it makes room for.
    fn drop_from_fattest(&mut self, fates: &mut Fates<'_>) {
        let listed = self.new_flows.iter().chain(&self.old_flows).copied();
        // The lower index in a tie, so that the order of the lists does not matter.
        let Some(fattest) = listed.max_by_key(|index| (self.flows[*index].fifo.bytes(), usize::MAX - index)) else {
            return;
        };
        let fifo = &mut self.flows[fattest].fifo;
        let batch = fifo.packets().div_ceil(2).min(DROP_BATCH);
        for _ in 0..batch {
            let Some((_, packet)) = fifo.pop() else { break };
            self.packets -= 1;
            self.bytes -= packet.offered_len;
            fates.drop(packet, DropReason::FattestFlow);
        }
    }
}

impl Queue for FqCoDel {
    fn enqueue(&mut self, now: Instant, packet: Packet, fates: &mut Fates<'_>) {
        let index = self.flow_of(&packet);
        let fits = self.limit.admits(self.packets, self.bytes, packet.offered_len);
        self.packets += 1;
        self.bytes += packet.offered_len;
        let flow = &mut self.flows[index];
        flow.fifo.push(now, packet);
        if !flow.listed {
            flow.listed = true;
            flow.credits = self.quantum;
            self.new_flows.push_back(index);
        }
        if !fits {
            self.drop_from_fattest(fates);
        }
    }

    /// RFC 8290 section 4.2.
    fn dequeue(&mut self, now: Instant, fates: &mut Fates<'_>) -> Option<Packet> {
        loop {
            let new = self.new_flows.front().copied();
            let index = new.or_else(|| self.old_flows.front().copied())?;
            let list = if new.is_some() { &mut self.new_flows } else { &mut self.old_flows };
            let flow = &mut self.flows[index];
            if flow.credits <= 0 {
                flow.credits += self.quantum;
                list.pop_front();
                self.old_flows.push_back(index);
                continue;
            }
            let before = (flow.fifo.packets(), flow.fifo.bytes());
            let packet = flow.codel.dequeue(self.control, &mut flow.fifo, now, fates);
            self.packets -= before.0 - flow.fifo.packets();
            self.bytes -= before.1 - flow.fifo.bytes();
            if let Some(packet) = packet {
                flow.credits -= packet.offered_len as i64;
                return Some(packet);
            }
            list.pop_front();
            if new.is_some() {
                // Through the old list once, lest a flow that empties its queue stay new for ever.
                self.old_flows.push_back(index);
            } else {
                flow.listed = false;
            }
        }
    }

    fn drops_late(&self) -> bool {
        true
    }

    fn packets(&self) -> usize {
        self.packets
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn drain(&mut self) -> Vec<Packet> {
        let listed: Vec<usize> = self.new_flows.drain(..).chain(self.old_flows.drain(..)).collect();
        (self.packets, self.bytes) = (0, 0);
        let drain = |index: usize| {
            self.flows[index].listed = false;
            self.flows[index].fifo.drain()
        };
        listed.into_iter().flat_map(drain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::queue::testing::{Bench, GIGABIT};
    use crate::link::testing::udp_flow;
    use crate::random::Streams;

    fn bench(config: FqCoDelConfig) -> Bench {
        config.validate().unwrap();
        Bench::new(Box::new(FqCoDel::new(config, Streams::new(1).stream("queue"), GIGABIT)))
    }

    fn port(packet: &Packet) -> u16 {
        u16::from_be_bytes([packet.frame.head[34], packet.frame.head[35]])
    }

    #[test]
    fn backlogged_flows_share_bytes_evenly_whatever_their_packets() {
        let mut bench = bench(FqCoDelConfig::default());
        for n in 0..300 {
            bench.enqueue(0, udp_flow(n, 1, 1514));
            for _ in 0..10 {
                bench.enqueue(0, udp_flow(n, 2, 150));
            }
        }
        let mut bytes = [0; 2];
        while bytes.iter().sum::<usize>() < 400_000 {
            let packet = bench.dequeue(1).unwrap();
            bytes[usize::from(port(&packet)) - 1] += packet.len();
        }
        assert!(bytes[0].abs_diff(bytes[1]) <= 2 * 1514, "{bytes:?}");
    }

    #[test]
    fn a_sparse_flow_overtakes_a_backlog() {
        let mut bench = bench(FqCoDelConfig::default());
        for n in 0..100 {
            bench.enqueue(0, udp_flow(n, 1, 1514));
        }
        (0..3).for_each(|_| drop(bench.dequeue(0)));
        bench.enqueue(1, udp_flow(1000, 2, 100));
        // At most the turn that has begun is finished first.
        let next: Vec<u16> = (0..2).filter_map(|_| bench.dequeue(1)).map(|packet| port(&packet)).collect();
        assert!(next.contains(&2), "{next:?}");
    }

    #[test]
    fn overflow_takes_half_of_the_fattest_flow_up_to_64() {
        let codel = CoDelConfig { limit: Limit::packets(200), ..CoDelConfig::default() };
        let mut bench = bench(FqCoDelConfig { codel, ..FqCoDelConfig::default() });
        for n in 0..20 {
            bench.enqueue(0, udp_flow(n, 1, 1514));
        }
        for n in 0..181 {
            bench.enqueue(0, udp_flow(n, 2, 1514));
        }
        assert_eq!(bench.dropped(DropReason::FattestFlow), 64);
        assert!(bench.out.dropped.iter().zip(0..).all(|((packet, _), n)| port(packet) == 2 && packet.id == n));
        assert_eq!((bench.queue.packets(), bench.queue.bytes()), (137, 137 * 1514));
    }

    #[test]
    fn a_flood_does_not_delay_a_sparse_flow() {
        let mut bench = bench(FqCoDelConfig::default());
        let mut waits = [0, 0];
        // Twice as much as fits: of three packets two are of the flood, and one in thirty of the sparse flow.
        bench.run(
            (500, 1000, 3_000_000),
            |id| udp_flow(id, if id % 30 == 0 { 2 } else { 1 }, 1514),
            |now, packet| {
                let wait = now - packet.sent_at.as_micros();
                let longest = &mut waits[usize::from(port(&packet)) - 1];
                *longest = wait.max(*longest);
            },
        );
        assert!(waits[0] > 50_000 && waits[1] <= 3000, "{waits:?}");
    }

    #[test]
    fn hashing_depends_on_the_seed_only() {
        let index = |seed, port| {
            let queue = FqCoDel::new(FqCoDelConfig::default(), Streams::new(seed).stream("queue"), GIGABIT);
            queue.flow_of(&udp_flow(0, port, 100))
        };
        let all = |seed| (1..50).map(|port| index(seed, port)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn a_drained_queue_starts_anew() {
        let mut bench = bench(FqCoDelConfig::default());
        (0..10).for_each(|n| bench.enqueue(0, udp_flow(n, n as u16 % 3, 100)));
        assert_eq!(bench.queue.drain().len(), 10);
        assert!(bench.dequeue(0).is_none());
        bench.enqueue(0, udp_flow(0, 1, 100));
        assert!(bench.dequeue(0).is_some());
    }
}
