//! What the native engine holds stays within its limits after every single step, whatever peers send, and nothing is lost that it has
//! acknowledged.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tcp_adapter::conformance::hook::TestHook;
use tcp_adapter::conformance::neighbour;
use tcp_adapter::conformance::packet::{ACK, Packet, SYN};
use tcp_adapter::conformance::wire::{Random, pattern};
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::{Instant, InterfaceConfig, InterfaceId, MacAddr, TcpEvent, TcpId, TcpStack};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const LISTENED: u16 = 80;
/// Initial sequence number of all peers.
const ISS: u32 = 1_000;
/// Payload of a segment, and of as many as become one frame.
const SEGMENT: u64 = 1_448;
const COALESCED: u64 = 60_000;

/// A peer that sends what it is told to, window or not.
struct Peer {
    port: u16,
    id: Option<TcpId>,
    /// Everything before has been acknowledged to it, and read by the application.
    next: u64,
    read: u64,
    /// The end of what the stack has sent, and of what it acknowledges of that.
    sent: u32,
    acked: u32,
}

/// One stack and its peers.
struct Play {
    stack: NativeStack,
    hook: TestHook,
    now: Instant,
    limit: usize,
    peers: Vec<Peer>,
}

impl Play {
    fn new(config: NativeConfig, peers: u16) -> Self {
        let limit = config.memory_limit;
        let mut stack = NativeStack::new(config, 1);
        stack.add_interface(InterfaceConfig {
            mac: MacAddr(OWN),
            mtu: 1500,
            addrs: vec!["10.0.0.1/24".parse().unwrap()],
            routes: Vec::new(),
        });
        stack.listen(None, LISTENED, usize::from(peers)).unwrap();
        let now = Instant::from_millis(10_000);
        let mut play = Self { stack, hook: TestHook::default(), now, limit, peers: Vec::new() };
        for number in 0..peers {
            play.peers.push(Peer { port: 5_000 + number, id: None, next: 0, read: 0, sent: 0, acked: 0 });
            let number = usize::from(number);
            // MSS, SACK permitted, window scale.
            play.segment(number, SYN, &[2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 1], 0..0, false);
            play.segment(number, ACK, &[], 0..0, false);
            assert!(play.peers[number].id.is_some(), "no connection");
        }
        play
    }

    /// A peer sends these bytes of its stream.
    fn data(&mut self, number: usize, range: Range<u64>) {
        let coalesced = range.end - range.start > SEGMENT;
        self.segment(number, ACK, &[], range, coalesced);
    }

    fn segment(&mut self, number: usize, flags: u8, options: &[u8], range: Range<u64>, coalesced: bool) {
        let peer = &self.peers[number];
        let begins = flags & SYN != 0;
        let packet = Packet {
            link: [OWN, PEER],
            source: SocketAddr::new([10, 0, 0, 2].into(), peer.port),
            destination: SocketAddr::new([10, 0, 0, 1].into(), LISTENED),
            seq: ISS + u32::from(!begins) + u32::try_from(range.start).unwrap(),
            ack: peer.acked,
            flags,
            window: 500,
            urgent: 0,
            ecn: 0,
            options: options.to_vec(),
            payload: range.map(pattern).collect(),
        };
        let mut frame = packet.to_frame();
        frame.meta.segment_size = NonZeroU16::new(1_448).filter(|_| coalesced);
        self.stack.handle_frame(self.now, InterfaceId(0), frame, &mut self.hook);
        self.settle();
    }

    /// An application reads everything.
    fn read(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        while let Some(received) = self.stack.recv(peer.id.unwrap()) {
            assert_eq!(received.offset, peer.read);
            let right = received.bytes.iter().zip(received.offset..).all(|(byte, at)| *byte == pattern(at));
            assert!(right, "wrong bytes from {} on", received.offset);
            peer.read += received.bytes.len() as u64;
        }
        self.settle();
    }

    /// An application writes, as much as it may.
    fn write(&mut self, number: usize, len: usize) {
        let id = self.peers[number].id.unwrap();
        let len = len.min(self.stack.send_room(id));
        if len > 0 {
            self.stack.send(self.now, id, Bytes::from(vec![7; len]), 0).unwrap();
        }
        self.settle();
    }

    fn wait(&mut self, pause: Duration) {
        let end = self.now + pause;
        for round in 0.. {
            assert!(round < 10_000, "timers do not come to rest at {:?}", self.now);
            let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now, &mut self.hook);
            self.settle();
        }
        self.now = end;
    }

    /// Peers send what is not acknowledged, in order, and applications read, until `total` bytes of each have come.
    fn finish(&mut self, total: u64) {
        for round in 0.. {
            let next: Vec<u64> = self.peers.iter().map(|peer| peer.next).collect();
            assert!(round < 2_000, "no progress: {next:?}");
            if next.iter().all(|next| *next == total) {
                break;
            }
            for (number, next) in next.into_iter().enumerate() {
                self.peers[number].acked = self.peers[number].sent;
                self.read(number);
                self.data(number, next..total.min(next + SEGMENT));
            }
            // What is delayed leaves.
            self.wait(Duration::from_millis(50));
        }
        for number in 0..self.peers.len() {
            self.read(number);
            assert_eq!(self.peers[number].read, total);
        }
    }

    fn settle(&mut self) {
        self.check();
        while let Some(event) = self.stack.poll_event() {
            assert!(!matches!(event, TcpEvent::Closed(..)), "{event:?}");
            if let TcpEvent::Established(id) = event {
                self.peers.last_mut().unwrap().id = Some(id);
            }
        }
        let mut frames = Vec::new();
        self.stack.poll_transmit(self.now, &mut self.hook, &mut |_, frame| frames.push(frame));
        for frame in frames {
            match (Packet::parse(&frame), neighbour::answer(&frame, [OWN, PEER])) {
                (Some(packet), _) => self.observe(&packet),
                (None, Some(answer)) => self.stack.handle_frame(self.now, InterfaceId(0), answer, &mut self.hook),
                (None, None) => {}
            }
        }
        self.hook.segments.clear();
        self.hook.sent.clear();
        self.check();
    }

    fn check(&mut self) {
        self.stack.check_invariants();
        assert!(self.stack.memory_held() <= self.limit, "{} bytes held", self.stack.memory_held());
    }

    /// What a peer learns of a segment.
    fn observe(&mut self, packet: &Packet) {
        let peer = self.peers.iter_mut().find(|peer| peer.port == packet.destination.port()).unwrap();
        let begins = packet.has(SYN);
        let end = packet.seq.wrapping_add(u32::try_from(packet.payload.len()).unwrap() + u32::from(begins));
        if begins {
            (peer.sent, peer.acked) = (end, end);
        } else if end.wrapping_sub(peer.sent).cast_signed() > 0 {
            peer.sent = end;
        }
        let next = u64::from(packet.ack.wrapping_sub(ISS + 1));
        assert!(next >= peer.next, "{next} is acknowledged after {}", peer.next);
        peer.next = next;
    }
}

fn config(memory_limit: usize) -> NativeConfig {
    NativeConfig { memory_limit, ..NativeConfig::default() }
}

#[test]
fn a_coalesced_segment_is_taken_as_far_as_there_is_memory() {
    const LIMIT: usize = 200_000;
    let mut play = Play::new(config(LIMIT), 4);
    play.data(0, 0..COALESCED);
    play.data(0, COALESCED..2 * COALESCED);
    play.data(1, 0..COALESCED);
    assert_eq!(play.stack.memory_held(), 180_000);
    play.data(2, 0..COALESCED);
    assert_eq!((play.stack.memory_held(), play.peers[2].next), (LIMIT, 20_000));
    // There is nothing left for whoever comes next, in order or not.
    play.data(3, SEGMENT..COALESCED);
    play.data(3, 0..SEGMENT);
    assert_eq!((play.stack.memory_held(), play.peers[3].next), (LIMIT, 0));
    play.finish(2 * COALESCED);
}

#[test]
fn bytes_beyond_a_gap_leave_a_quarter_to_those_in_order() {
    const LIMIT: usize = 100_000;
    let mut play = Play::new(config(LIMIT), 3);
    play.data(0, SEGMENT..SEGMENT + COALESCED);
    play.data(1, SEGMENT..SEGMENT + COALESCED);
    assert_eq!(play.stack.memory_held(), 75_000);
    play.data(2, 0..COALESCED);
    assert_eq!((play.stack.memory_held(), play.peers[2].next), (LIMIT, 25_000));
    play.finish(2 * COALESCED);
}

/// RFC 2018 section 8: what was acknowledged selectively may be dropped, and what nobody reads must not keep others from being received.
#[test]
fn bytes_beyond_a_gap_make_way_for_what_fills_it() {
    const LIMIT: usize = 100_000;
    let mut play = Play::new(config(LIMIT), 2);
    for start in (0..40).map(|number| (1 + number) * SEGMENT) {
        play.data(0, start..start + SEGMENT);
    }
    play.data(1, 0..COALESCED);
    let held = play.stack.memory_held();
    assert_eq!((held, play.peers[0].next), (LIMIT, 0));
    play.data(0, 0..SEGMENT);
    // All but the last of them are there still.
    assert_eq!((play.stack.memory_held(), play.peers[0].next), (LIMIT, 40 * SEGMENT));
    play.finish(2 * COALESCED);
}

/// A window is told in units of the scale, and must not be rounded beyond the buffer: single bytes would open it again and again.
#[test]
fn who_overruns_the_window_does_not_overrun_the_buffer() {
    const BUFFER: usize = 70_000;
    let config = NativeConfig { recv_buffer: BUFFER, recv_buffer_initial: BUFFER, ..NativeConfig::default() };
    let mut play = Play::new(config, 1);
    for at in 0..8_000 {
        play.data(0, at..at + 1);
    }
    for _ in 0..5 {
        let next = play.peers[0].next;
        play.data(0, next + 1..next + COALESCED);
        play.data(0, next..next + COALESCED);
        play.wait(Duration::from_millis(50));
    }
    let held = play.stack.memory_held();
    assert!((BUFFER - 2..=BUFFER).contains(&held), "{held} bytes held");
    play.finish(4 * COALESCED);
}

/// One connection is not promised more than all may hold.
#[test]
fn the_receive_buffer_is_no_larger_than_the_memory() {
    const LIMIT: usize = 30_000;
    let mut play = Play::new(config(LIMIT), 1);
    play.data(0, 0..COALESCED);
    assert_eq!((play.stack.memory_held(), play.peers[0].next), (LIMIT, LIMIT as u64));
    play.finish(COALESCED);
}

#[test]
fn limits_hold_after_every_step_and_everything_arrives() {
    const TOTAL: u64 = 150_000;
    const PEERS: u16 = 6;
    for seed in 0..30 {
        let mut random = Random(seed);
        let memory_limit = [3_000, 40_000, 150_000, 400_000][usize::try_from(random.below(4)).unwrap()];
        let config = NativeConfig {
            recv_buffer: 2_000 + usize::try_from(random.below(200_000)).unwrap(),
            send_buffer: 50_000,
            sack: random.below(3) > 0,
            ..config(memory_limit)
        };
        let mut play = Play::new(config, PEERS);
        for _ in 0..300 {
            let number = usize::try_from(random.below(PEERS.into())).unwrap();
            let next = play.peers[number].next;
            match random.below(8) {
                0..=4 => {
                    let start = match random.below(3) {
                        0 => next.saturating_sub(random.below(3_000)),
                        1 => next,
                        _ => next + random.below(80_000),
                    };
                    let len = [1, SEGMENT, SEGMENT, COALESCED][usize::try_from(random.below(4)).unwrap()];
                    if start < TOTAL {
                        play.data(number, start..TOTAL.min(start + len));
                    }
                }
                5 => play.read(number),
                6 => play.write(number, 1 + usize::try_from(random.below(20_000)).unwrap()),
                _ => play.wait(Duration::from_millis(random.below(60))),
            }
            if random.below(4) == 0 {
                play.peers[number].acked = play.peers[number].sent;
            }
        }
        play.finish(TOTAL);
    }
}
