//! The packet scheduler: which subflow carries which bytes.
//!
//! A scheduler sees the subflows, the data at hand and the connection window, and answers with a
//! subflow and a length. It never touches the connection. To add one: implement [`Scheduler`] in a
//! file of its own, and name it in [`SchedulerKind`].

mod lowest_rtt;
mod round_robin;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use lowest_rtt::LowestRtt;
pub use round_robin::RoundRobin;

use crate::event::SubflowId;

/// What a scheduler may know of a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubflowView {
    /// Which subflow.
    pub id: SubflowId,
    /// Bytes that its TCP wants to take now; zero means do not choose it.
    pub room: usize,
    /// Payload bytes of a full segment.
    pub mss: usize,
    /// Either side asked to use it only if nothing else works (RFC 8684 section 3.3.8).
    pub backup: bool,
    /// Share of the traffic that weighted schedulers give it, 1 by default.
    pub weight: u32,
    /// Smoothed round-trip time, if known.
    pub srtt: Option<Duration>,
    /// Variation of the round-trip time, if known.
    pub rttvar: Option<Duration>,
    /// Congestion window in bytes, if known.
    pub cwnd: Option<u64>,
    /// Bytes sent and not acknowledged.
    pub in_flight: u64,
    /// Bytes bound to it and not sent.
    pub queued: u64,
    /// Delivery rate in bytes per second, if known.
    pub delivery_rate: Option<u64>,
    /// Pacing rate in bytes per second, if known.
    pub pacing_rate: Option<u64>,
}

/// The data that wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataView {
    /// Stream position of the first byte.
    pub position: u64,
    /// Bytes at hand, at least one, already cut to the connection window.
    pub available: u64,
    /// Bytes that the connection window still allows, this data included.
    pub window: u64,
    /// Whether it was sent before on another subflow.
    pub reinjection: bool,
}

/// A scheduler's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Index into the slice of subflows that it was shown.
    pub subflow: usize,
    /// Bytes, at least one; what exceeds the room, the data or 65,535 is cut off.
    pub len: usize,
}

/// A rule that spreads a connection's data over its subflows.
pub trait Scheduler: fmt::Debug + Send {
    /// Its name for people, as [`SchedulerKind`] prints it.
    fn name(&self) -> &'static str;

    /// Chooses the subflow for the data at hand; `None` waits until something changes.
    ///
    /// `subflows` holds the usable ones, at least one, in the order of their ids: established, not
    /// stale, and for a re-injection those that do not already hold the data.
    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision>;
}

/// The schedulers that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SchedulerKind {
    /// [`RoundRobin`].
    RoundRobin,
    /// [`LowestRtt`].
    #[default]
    LowestRtt,
}

impl SchedulerKind {
    /// All of them, for listings.
    pub const ALL: [Self; 2] = [Self::RoundRobin, Self::LowestRtt];

    /// A new scheduler of this kind.
    pub fn build(self) -> Box<dyn Scheduler> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::LowestRtt => Box::new(LowestRtt),
        }
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LowestRtt => "lowest-rtt",
        })
    }
}

impl FromStr for SchedulerKind {
    type Err = UnknownScheduler;

    fn from_str(text: &str) -> Result<Self, UnknownScheduler> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| UnknownScheduler { text: text.to_owned() })
    }
}

/// A name that no scheduler has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scheduler '{text}': choose round-robin or lowest-rtt")]
pub struct UnknownScheduler {
    text: String,
}

/// Segments that one decision may always span: long enough to amortise a decision, short enough that data bound to a
/// path that turns bad is little.
const BURST_SEGMENTS: usize = 10;

/// What leaves within 100 microseconds is little too, however many segments it is: so a fast path gets as much at a time as one
/// mapping can tell of, and super-segments, which end with their mapping, are long.
const BURSTS_PER_SECOND: u64 = 10_000;

/// A mapping can tell of no more, with a DATA_FIN.
const LONGEST_BURST: usize = 65_534;

/// Length of one decision on `subflow`: whole segments, so that mappings do not end in
/// short ones, unless the data itself ends.
fn burst_len(subflow: &SubflowView, data: &DataView) -> usize {
    let available = usize::try_from(data.available).unwrap_or(usize::MAX);
    let mss = subflow.mss.max(1);
    let rate = subflow.pacing_rate.or(subflow.delivery_rate).unwrap_or(0);
    let fast = usize::try_from(rate / BURSTS_PER_SECOND).unwrap_or(usize::MAX).min(LONGEST_BURST);
    let most = BURST_SEGMENTS.max(fast / mss);
    let whole = (subflow.room / mss).clamp(1, most) * mss;
    whole.min(available).max(1)
}

/// Whether `subflow` has room for a full segment, or for all the data if that is less.
fn has_room(subflow: &SubflowView, data: &DataView) -> bool {
    let available = usize::try_from(data.available).unwrap_or(usize::MAX);
    subflow.room > 0 && subflow.room >= subflow.mss.min(available)
}

/// Whether to consider backup subflows: only if there is no regular one (RFC 8684 section 3.3.8).
fn backups_allowed(subflows: &[SubflowView]) -> bool {
    subflows.iter().all(|subflow| subflow.backup)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn view(id: u32, room: usize, rtt_ms: u64) -> SubflowView {
        SubflowView {
            id: SubflowId(id),
            room,
            mss: 1000,
            backup: false,
            weight: 1,
            srtt: (rtt_ms > 0).then(|| Duration::from_millis(rtt_ms)),
            rttvar: None,
            cwnd: None,
            in_flight: 0,
            queued: 0,
            delivery_rate: None,
            pacing_rate: None,
        }
    }

    pub(crate) fn data(available: u64) -> DataView {
        DataView { position: 0, available, window: available, reinjection: false }
    }

    #[test]
    fn names_round_trip_and_mistakes_name_the_choices() {
        for kind in SchedulerKind::ALL {
            assert_eq!(kind.to_string().parse::<SchedulerKind>(), Ok(kind));
            assert_eq!(kind.build().name(), kind.to_string());
        }
        let error = "fast".parse::<SchedulerKind>().unwrap_err().to_string();
        assert!(error.contains("'fast'") && error.contains("round-robin"), "{error}");
        for kind in SchedulerKind::ALL {
            assert!(
                error.contains("choose")
                    && UnknownScheduler { text: String::new() }.to_string().contains(&kind.to_string())
            );
        }
    }

    #[test]
    fn bursts_are_whole_segments() {
        assert_eq!(burst_len(&view(0, 3500, 1), &data(100_000)), 3000);
        assert_eq!(burst_len(&view(0, 64_000, 1), &data(100_000)), 10_000);
        assert_eq!(burst_len(&view(0, 64_000, 1), &data(1_234)), 1_234);
        let paced = |rate| SubflowView { pacing_rate: Some(rate), ..view(0, 100_000, 1) };
        assert_eq!(burst_len(&paced(100_000_000), &data(100_000)), 10_000, "800 Mbit/s are no reason for more");
        assert_eq!(burst_len(&paced(300_000_000), &data(100_000)), 30_000);
        assert_eq!(burst_len(&paced(u64::MAX), &data(100_000)), 65_000);
        assert!(!has_room(&view(0, 999, 1), &data(5_000)));
        assert!(has_room(&view(0, 999, 1), &data(500)));
    }
}
