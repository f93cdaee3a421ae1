//! Joins segments.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use tcp_adapter::{Frame, Instant};

use super::build::seal;
use super::connections::Connection;
use super::segment::{ACK, ETHERNET, FIN, Layout, PSH, Segment};
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::scenario::Size;

/// Joins contiguous segments and keeps the options of the first only, as a resegmenting proxy does.
#[derive(Debug)]
pub(super) struct Coalesce {
    /// Payload bytes of what it makes.
    size: usize,
    /// Bytes of a frame that fits the link.
    frame: usize,
    hold: Duration,
    held: BTreeMap<Key, Held>,
    /// When what was held at that time has waited long enough; what went earlier is still here.
    deadlines: VecDeque<(Instant, Key)>,
}

type Key = (Connection, Direction);

#[derive(Debug)]
struct Held {
    first: Packet,
    layout: Layout,
    /// Where the next segment would have to begin.
    next: u32,
    deadline: Instant,
}

impl Coalesce {
    pub(super) fn new(size: Size, hold: Duration, mtu: u16) -> Self {
        Self {
            // The scenario has 65535 at most.
            size: usize::try_from(size.0).unwrap_or(usize::MAX),
            frame: ETHERNET + usize::from(mtu),
            hold,
            held: BTreeMap::new(),
            deadlines: VecDeque::new(),
        }
    }

    /// Appends a segment to what is held, if it belongs there. True if so.
    fn join(&mut self, key: &Key, segment: &Segment<'_>) -> bool {
        let Some(held) = self.held.get_mut(key) else { return false };
        let payload = segment.payload();
        let len = held.layout.end - held.layout.payload + payload.len();
        let fits = len <= self.size && held.layout.end + payload.len() <= self.frame;
        // One packet has one ECN field: neither a mark may get lost nor may one be made (RFC 3168 section 5.3, of reassembly).
        let same_ecn = ecn(&held.first.frame.head) == ecn(segment.bytes());
        if held.next != segment.seq() || !fits || !same_ecn {
            return false;
        }
        let bytes = &mut held.first.frame.head;
        bytes.truncate(held.layout.end);
        bytes.extend_from_slice(payload);
        held.layout.end = bytes.len();
        held.next = held.next.wrapping_add(segment.seq_len());
        let (tcp, from) = (held.layout.tcp, segment.layout().tcp);
        bytes[tcp + 13] |= segment.flags();
        // The latest acknowledgement and window.
        bytes[tcp + 8..tcp + 12].copy_from_slice(&segment.bytes()[from + 8..from + 12]);
        bytes[tcp + 14..tcp + 16].copy_from_slice(&segment.bytes()[from + 14..from + 16]);
        true
    }

    fn hold(&mut self, now: Instant, key: Key, mut first: Packet, layout: Layout, next: u32) {
        let deadline = now + self.hold;
        *first.frame = Frame::linear(BytesMut::from(&first.frame.head[..layout.end]));
        self.held.insert(key, Held { first, layout, next, deadline });
        self.deadlines.push_back((deadline, key));
    }

    fn release(&mut self, key: &Key, passage: &mut Passage<'_>) {
        if let Some(Held { mut first, layout, .. }) = self.held.remove(key) {
            seal(&mut first.frame.head, &layout, 0);
            passage.forward(first, key.1);
        }
        self.forget_stale();
    }

    /// Keeps the next deadline at the front.
    fn forget_stale(&mut self) {
        let Self { held, deadlines, .. } = self;
        while let Some((deadline, key)) = deadlines.front()
            && held.get(key).is_none_or(|held| held.deadline != *deadline)
        {
            deadlines.pop_front();
        }
    }
}

/// The ECN field of an IP packet (RFC 3168 section 5).
fn ecn(frame: &[u8]) -> u8 {
    let ip = &frame[ETHERNET..];
    if ip[0] >> 4 == 4 { ip[1] & 0b11 } else { ip[1] >> 4 & 0b11 }
}

impl Behave for Coalesce {
    fn handle(&mut self, now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let Some(segment) = Segment::open(&mut packet.frame) else { return passage.forward(packet, direction) };
        let key = (segment.connection(direction), direction);
        let is_data = !segment.payload().is_empty() && segment.flags() & !(PSH | FIN) == ACK;
        let ends = segment.has(FIN);
        if is_data && self.join(&key, &segment) {
            passage.absorb();
            if ends {
                self.release(&key, passage);
            }
            return;
        }
        let (layout, next) = (segment.layout(), segment.seq().wrapping_add(segment.seq_len()));
        self.release(&key, passage);
        if is_data && !ends && layout.end - layout.payload < self.size {
            self.hold(now, key, packet, layout, next);
        } else {
            passage.forward(packet, direction);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    fn handle_timeout(&mut self, now: Instant, passage: &mut Passage<'_>) {
        while let Some((_, key)) = self.deadlines.front().copied().filter(|(at, _)| *at <= now) {
            self.release(&key, passage);
        }
    }

    fn held(&self) -> u64 {
        self.held.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use tcp_adapter::Instant;

    use crate::middlebox::Direction;
    use crate::middlebox::segment::{ACK, FIN, PSH};
    use crate::middlebox::testing::{Bench, DSS, Family, is_intact, option_area, payload, summary, tcp};

    const CONFIG: &str = "kind = \"coalesce\"\nsize = \"10B\"\nhold = \"1ms\"";

    #[test]
    fn contiguous_segments_become_one_with_the_first_options() {
        for family in Family::BOTH {
            let mut bench = Bench::new(CONFIG);
            let segment = |seq: u32, data: &[u8], options: &[u8]| {
                tcp(family).seq(seq).ack(seq + 50).options(options).payload(data).up()
            };
            for packet in [segment(u32::MAX - 60, b"abcd", &DSS), segment(u32::MAX - 56, b"efg", &[1; 12])] {
                let out = bench.handle(packet, Direction::Up);
                assert!(out.up.is_empty());
            }
            assert_eq!(bench.middlebox.poll_timeout(), Some(Instant::from_millis(1)));
            let out = bench.run_until(Instant::from_millis(1));
            let [joined] = &out.up[..] else { panic!("one segment") };
            assert!(is_intact(joined));
            assert_eq!((summary(joined), option_area(joined)), ((u32::MAX - 60, ACK, 7), DSS.to_vec()));
            assert_eq!(payload(joined), b"abcdefg");
            assert_eq!(bench.middlebox.poll_timeout(), None);
        }
    }

    #[test]
    fn what_does_not_fit_or_follow_goes_behind_what_is_held() {
        let mut bench = Bench::new(CONFIG);
        let mut send = |seq: u32, flags: u8, data: &[u8]| {
            let out = bench.handle(tcp(Family::V4).seq(seq).flags(flags).payload(data).up(), Direction::Up);
            out.up.iter().map(summary).collect::<Vec<_>>()
        };
        assert_eq!(send(0, ACK, b"123456"), []);
        assert_eq!(send(6, ACK | PSH, b"12345"), [(0, ACK, 6)], "too long together");
        assert_eq!(send(20, ACK, b"1"), [(6, ACK | PSH, 5)], "a gap");
        assert_eq!(send(21, ACK, b""), [(20, ACK, 1), (21, ACK, 0)], "an acknowledgement");
        assert_eq!(send(21, ACK, b"1"), []);
        assert_eq!(send(22, ACK | FIN, b"2"), [(21, ACK | FIN, 2)], "the end");
        assert_eq!(send(40, ACK, b"1234567890"), [(40, ACK, 10)], "full at once");
    }

    #[test]
    fn marks_of_congestion_stay_with_their_segments() {
        for family in Family::BOTH {
            let mut bench = Bench::new(CONFIG);
            let segment = |seq: u32, ecn: u8| {
                let mut packet = tcp(family).seq(seq).payload(b"ab").up();
                let ip = &mut packet.frame.head[14..];
                let old = ip[1];
                ip[1] |= if family == Family::V4 { ecn } else { ecn << 4 };
                if family == Family::V4 {
                    let sum = u16::from_be_bytes([ip[10], ip[11]]) - u16::from(ip[1] - old);
                    ip[10..12].copy_from_slice(&sum.to_be_bytes());
                }
                packet
            };
            let mut out = Vec::new();
            for (seq, ecn) in [(0, 0b10), (2, 0b10), (4, 0b11), (6, 0b11), (8, 0b10)] {
                out.extend(bench.handle(segment(seq, ecn), Direction::Up).up);
            }
            out.extend(bench.run_until(Instant::from_millis(1)).up);
            let fields: Vec<(u32, usize, u8)> = out
                .iter()
                .map(|packet| (summary(packet).0, summary(packet).2, super::ecn(&packet.frame.head)))
                .collect();
            assert_eq!(fields, [(0, 4, 0b10), (4, 4, 0b11), (8, 2, 0b10)]);
            assert!(out.iter().all(is_intact));
        }
    }

    #[test]
    fn the_link_limits_what_is_joined() {
        let mut bench = Bench::new("kind = \"coalesce\"");
        let half = [0; 750];
        for seq in [0, 750, 1500] {
            bench.handle(tcp(Family::V4).seq(seq).payload(&half).up(), Direction::Up);
        }
        let out = bench.run_until(Instant::from_millis(1));
        assert_eq!(out.up.iter().map(|packet| summary(packet).2).collect::<Vec<_>>(), [750]);
    }
}
