//! Congestion control: how many bytes a connection may have in flight, and how fast they may leave.
//!
//! A [`CongestionControl`] belongs to one connection. The TCP beneath detects losses, measures rates and paces;
//! the congestion control turns what it is told into a window and, if it models the path, a pacing rate. It can come from outside
//! ([`TcpStack::set_congestion_control`](crate::TcpStack::set_congestion_control)), so that the layer above can couple connections.
//!
//! Windows and amounts are in bytes of payload, times in nanoseconds, rates in bytes per second.

use std::fmt;
use std::str::FromStr;

use crate::Instant;

mod bbr;
mod cubic;
mod dctcp;
mod hystart;
mod reno;
#[cfg(test)]
mod testing;
mod window;

pub use self::bbr::Bbr;
pub use self::cubic::Cubic;
pub use self::dctcp::Dctcp;
pub use self::reno::Reno;
pub use self::window::Window;

/// The window of one connection, and what changes it.
pub trait CongestionControl: fmt::Debug + Send {
    /// Name for people, such as `cubic`.
    fn name(&self) -> &'static str;

    /// Bytes that may be in flight. At least one segment.
    ///
    /// During a recovery by proportional rate reduction (RFC 6937) this is already the window to be reached at its end;
    /// the sender approaches it by itself.
    fn cwnd(&self) -> u64;

    /// The slow-start threshold; `None` while there has been no congestion, or if the algorithm has none.
    fn ssthresh(&self) -> Option<u64>;

    /// The rate at which segments should leave; `None` lets the sender derive one from the window and the
    /// round-trip time.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// Whether the window is opened exponentially.
    fn in_slow_start(&self) -> bool {
        self.ssthresh().is_none_or(|threshold| self.cwnd() < threshold)
    }

    /// Whether a loss is repaired at the pace of RFC 6937. An algorithm that sets its window itself in recovery says no.
    fn uses_prr(&self) -> bool {
        true
    }

    /// How it understands marks of congestion.
    fn ecn(&self) -> EcnResponse {
        EcnResponse::Classic
    }

    /// Bytes are about to be sent.
    fn on_sent(&mut self, sent: &Sent) {
        let _ = sent;
    }

    /// Bytes have been acknowledged, or losses found. Called once for each acknowledgement that says anything new, after
    /// [`on_congestion`](Self::on_congestion) if it also starts a recovery.
    fn on_ack(&mut self, ack: &Ack);

    /// The path is congested. Called once per recovery: the window must become smaller.
    fn on_congestion(&mut self, event: &CongestionEvent);

    /// Everything that was in flight when the recovery began has been acknowledged.
    fn on_recovered(&mut self, now: Instant) {
        let _ = now;
    }

    /// The last congestion event was none: the segments were late, not lost (RFC 4015, RFC 5682, DSACK). The
    /// window must become what it was before.
    fn on_spurious(&mut self, now: Instant);

    /// Nothing has been in flight for `idle` nanoseconds, more than a retransmission timeout, and sending begins again
    /// (RFC 5681 section 4.1).
    fn on_restart(&mut self, now: Instant, idle: u64) {
        let _ = (now, idle);
    }

    /// The largest payload of a segment has changed. A window of one segment, such as a timeout leaves, must stay one (RFC 5681
    /// section 3.1).
    fn set_mss(&mut self, mss: u64);
}

/// How a congestion control understands marks of congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnResponse {
    /// One reduction per round trip, as for a loss (RFC 3168).
    Classic,
    /// In proportion to the marked bytes ([`Ack::marked`]), of which the receiver tells exactly (RFC 8257). The algorithm
    /// reduces its window by itself; [`on_congestion`](CongestionControl::on_congestion) is not called for a mark.
    Proportional,
}

/// Bytes that are about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The time.
    pub now: Instant,
    /// Payload bytes.
    pub bytes: u64,
    /// Bytes in flight before them.
    pub in_flight: u64,
    /// Bytes of the connection that have been delivered so far.
    pub delivered: u64,
    /// Offset after the last byte sent for the first time, these included.
    pub snd_nxt: u64,
    /// Whether the bytes were sent before.
    pub retransmission: bool,
    /// Whether the sender has less to send than it may.
    pub app_limited: bool,
}

/// What an acknowledgement has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The time.
    pub now: Instant,
    /// Bytes newly known to have arrived, in order or selectively.
    pub delivered: u64,
    /// Bytes newly acknowledged in order.
    pub acked: u64,
    /// Bytes newly taken for lost.
    pub lost: u64,
    /// Bytes of `delivered` for which the receiver reports marks of congestion (ECE).
    pub marked: u64,
    /// Bytes in flight before the acknowledgement.
    pub prior_in_flight: u64,
    /// Bytes in flight after it.
    pub in_flight: u64,
    /// Round-trip time of the newest segment that it is about; `None` if that would be ambiguous.
    pub rtt: Option<u64>,
    /// Smoothed round-trip time; 0 if unknown.
    pub srtt: u64,
    /// Smallest round-trip time of the connection; 0 if unknown.
    pub min_rtt: u64,
    /// How fast bytes have been delivered.
    pub rate: Option<RateSample>,
    /// Everything before this offset is acknowledged.
    pub snd_una: u64,
    /// Everything before this offset has been sent.
    pub snd_nxt: u64,
    /// Which kind of recovery is going on.
    pub recovery: Recovery,
    /// Whether the window, rather than the application or the receiver, has limited what was in flight: one that was not
    /// used must not grow (RFC 7661).
    pub cwnd_limited: bool,
}

/// How fast bytes were delivered between two moments, as
/// draft-ietf-ccwg-bbr section 4.1 (delivery rate estimation) measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSample {
    /// Bytes delivered per second.
    pub rate: u64,
    /// Bytes delivered in the interval.
    pub delivered: u64,
    /// Length of the interval: the longer of the time it took to send and that it took to acknowledge.
    pub interval: u64,
    /// Bytes of the connection that had been delivered when the segment was sent.
    pub prior_delivered: u64,
    /// Bytes of the connection that have been delivered by now.
    pub total_delivered: u64,
    /// Bytes in flight just after the segment was sent.
    pub tx_in_flight: u64,
    /// Bytes taken for lost between the segment's departure and now.
    pub lost: u64,
    /// Whether the sender had too little to send when the segment left.
    pub app_limited: bool,
}

/// Which kind of recovery is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recovery {
    /// None.
    #[default]
    Open,
    /// A mark of congestion has been answered (RFC 3168 section 6.1.2), nothing is lost.
    Reduced,
    /// Lost segments are being repaired (RFC 6675).
    Fast,
    /// After a retransmission timeout (RFC 5681 section 3.1).
    Timeout,
}

/// Why the path is taken for congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Segments are lost.
    Loss,
    /// The receiver reports a mark (ECE).
    Mark,
    /// No acknowledgement in time.
    Timeout,
}

/// The path is congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongestionEvent {
    /// The time.
    pub now: Instant,
    /// Why.
    pub cause: Cause,
    /// Bytes in flight before the losses were found.
    pub in_flight: u64,
    /// Bytes taken for lost.
    pub lost: u64,
    /// Everything before this offset has been sent.
    pub snd_nxt: u64,
}

/// The congestion controls that come along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 9438, with HyStart++ (RFC 9406).
    #[default]
    Cubic,
    /// RFC 5681 and RFC 6582.
    Reno,
    /// RFC 8257, for data centres whose switches mark.
    Dctcp,
    /// Models the path's bandwidth and round-trip time (draft-ietf-ccwg-bbr).
    Bbr,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cubic, Self::Reno, Self::Dctcp, Self::Bbr];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Reno => "reno",
            Self::Dctcp => "dctcp",
            Self::Bbr => "bbr",
        }
    }

    /// A new one, for a connection whose segments carry at most `mss` bytes. What it leaves to chance follows from `seed`.
    pub fn start(self, mss: u64, seed: u64) -> Box<dyn CongestionControl> {
        match self {
            Self::Cubic => Box::new(Cubic::new(mss)),
            Self::Reno => Box::new(Reno::new(mss)),
            Self::Dctcp => Box::new(Dctcp::new(mss)),
            Self::Bbr => Box::new(Bbr::new(mss, seed)),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// Text that names no congestion control.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no congestion control: cubic, reno, dctcp or bbr")]
pub struct UnknownAlgorithm(String);

/// The window that a connection begins with (RFC 6928 section 2), for segments of `mss` bytes.
pub const fn initial_window(mss: u64) -> u64 {
    let small = if 2 * mss > 14_600 { 2 * mss } else { 14_600 };
    if 10 * mss < small { 10 * mss } else { small }
}
