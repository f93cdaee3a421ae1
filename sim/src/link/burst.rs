//! Packets that left their host as one super-segment.

use std::time::Duration;

use tcp_adapter::{Frame, Instant};

use super::LinkError;
use super::headers::Headers;

/// Longest super-segment of segmentation offload, in bytes.
pub const GSO_MAX_BYTES: usize = 65_536;

/// What is lost as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LossUnit {
    /// Each packet on its own: what a wire does.
    #[default]
    Packet,
    /// What the sender would have given to its device as one super-segment: what netem on a veth device does as long
    /// as segmentation offload is on. These are consecutive TCP segments of one flow with consecutive data, all of one
    /// size but the last, which is not larger.
    Gso {
        /// Most bytes of a burst, headers included once per packet; [`GSO_MAX_BYTES`] in Linux.
        cap: usize,
        /// Longest time between two packets of a burst: zero if they reach the link at the same instant, more if
        /// something before it spaces them.
        gap: Duration,
    },
}

impl LossUnit {
    pub(super) fn validate(self) -> Result<(), LinkError> {
        match self {
            Self::Gso { cap, .. } if cap < 1514 => Err(LinkError::BurstCap(cap)),
            _ => Ok(()),
        }
    }
}

/// What a sender's device cuts into segments: tells those that begin a burst from those that belong to the one before.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    current: Option<Burst>,
}

impl Bursts {
    /// Whether a frame that is sent belongs to the burst of the one before.
    pub(crate) fn continues(&mut self, now: Instant, frame: &Frame) -> bool {
        let mut current = self.current.take();
        let continues = current.as_mut().is_some_and(|burst| burst.admits(now, frame, GSO_MAX_BYTES, Duration::ZERO));
        self.current = if continues { current } else { Burst::starting(now, frame) };
        continues
    }
}

/// A burst that may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    headers: Headers,
    /// Payload of each packet but the last.
    payload: usize,
    next_sequence: u32,
    bytes: usize,
    last: Instant,
    /// A shorter packet has ended it.
    ended: bool,
}

impl Burst {
    /// The burst that this packet begins; none if it carries no data or is a super-segment already.
    pub(super) fn starting(now: Instant, frame: &Frame) -> Option<Self> {
        let headers = Headers::of(frame);
        let data = headers.tcp.filter(|_| frame.meta.segment_size.is_none())?;
        Some(Self {
            headers,
            payload: data.payload,
            next_sequence: data.sequence.wrapping_add(data.payload as u32),
            bytes: frame.len(),
            last: now,
            ended: false,
        })
    }

    /// Whether this packet belongs to the burst; if so, it counts from now on.
    pub(super) fn admits(&mut self, now: Instant, frame: &Frame, cap: usize, gap: Duration) -> bool {
        let Some(next) = Self::starting(now, frame) else { return false };
        let continues = next.headers.tcp.is_some_and(|data| data.sequence == self.next_sequence)
            && next.headers.flow == self.headers.flow
            && next.payload <= self.payload
            && self.bytes + next.bytes <= cap
            && now - self.last <= gap
            && !self.ended;
        if continues {
            self.ended = next.payload < self.payload;
            self.next_sequence = next.next_sequence;
            self.bytes += next.bytes;
            self.last = now;
        }
        continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::testing::{tcp, udp};
    use crate::packet::Packet;

    /// Lengths of the bursts into which these packets fall.
    fn bursts(packets: &[(u64, Packet)], gap: Duration) -> Vec<usize> {
        let mut lengths: Vec<usize> = Vec::new();
        let mut burst: Option<Burst> = None;
        for (at, packet) in packets {
            let now = Instant::from_micros(*at);
            if burst.as_mut().is_some_and(|burst| burst.admits(now, &packet.frame, GSO_MAX_BYTES, gap)) {
                *lengths.last_mut().unwrap() += 1;
            } else {
                lengths.push(1);
                burst = Burst::starting(now, &packet.frame);
            }
        }
        lengths
    }

    fn row(count: u32, interval: u64) -> Vec<(u64, Packet)> {
        (0..count).map(|n| (u64::from(n) * interval, tcp(0, 1, n * 1448, 1448))).collect()
    }

    #[test]
    fn consecutive_data_of_one_flow_is_a_burst_up_to_its_cap() {
        // 43 segments of 1502 bytes fit into 65536.
        assert_eq!(bursts(&row(100, 0), Duration::ZERO), [43, 43, 14]);
    }

    #[test]
    fn time_ends_a_burst() {
        assert_eq!(bursts(&row(4, 12), Duration::ZERO), [1; 4]);
        assert_eq!(bursts(&row(4, 12), Duration::from_micros(12)), [4]);
    }

    #[test]
    fn a_short_segment_another_flow_a_gap_or_no_data_ends_a_burst() {
        let segment = |port, sequence, payload| (0, tcp(0, port, sequence, payload));
        let full = |n: u32| segment(1, n * 1000, 1000);
        assert_eq!(bursts(&[full(0), segment(1, 1000, 500), segment(1, 1500, 500)], Duration::ZERO), [2, 1]);
        assert_eq!(bursts(&[full(0), segment(1, 1000, 1001)], Duration::ZERO), [1, 1]);
        assert_eq!(bursts(&[full(0), segment(2, 1000, 1000), full(1)], Duration::ZERO), [1, 1, 1]);
        assert_eq!(bursts(&[full(0), full(2)], Duration::ZERO), [1, 1]);
        assert_eq!(bursts(&[full(0), segment(1, 1000, 0), full(1)], Duration::ZERO), [1, 1, 1]);
        assert_eq!(bursts(&[(0, udp(0, 500)), (0, udp(0, 500))], Duration::ZERO), [1, 1]);
    }
}
