//! The packet scheduler: which subflow carries which bytes.
//!
//! A scheduler sees the subflows, the data at hand and the connection window, and answers with a
//! subflow and a length. It never touches the connection. To add one: implement [`Scheduler`] in a
//! file of its own, and name it in [`SchedulerKind`].
//!
//! What holds under every scheduler is not theirs to do: bytes are sent again elsewhere when their subflow fails, or when they keep
//! the window from moving on, and one that waits although nothing is under way is overruled.

mod completion;
mod lowest_rtt;
mod round_robin;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use tcp_adapter::Instant;

pub use completion::CompletionTime;
pub use lowest_rtt::LowestRtt;
pub use round_robin::RoundRobin;

use crate::event::SubflowId;

/// What a scheduler may know of a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubflowView {
    /// Which subflow.
    pub id: SubflowId,
    /// Bytes that it should be given now; zero means do not choose it. Where there is a choice of subflows and the congestion
    /// window is known, no more than the window lets leave soon: what is given is bound to the subflow.
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
    /// Round-trip time measured last, if known.
    pub latest_rtt: Option<Duration>,
    /// Smallest round-trip time seen, if known.
    pub min_rtt: Option<Duration>,
    /// Congestion window in bytes, if known.
    pub cwnd: Option<u64>,
    /// Slow-start threshold in bytes; `None` in the first slow start, or if unknown.
    pub ssthresh: Option<u64>,
    /// Whether its congestion window grows exponentially.
    pub slow_start: bool,
    /// Bytes sent and not acknowledged.
    pub in_flight: u64,
    /// Bytes bound to it that wait to be sent, or to be sent again.
    pub queued: u64,
    /// Delivery rate in bytes per second, if known.
    pub delivery_rate: Option<u64>,
    /// The delivery rate is a lower bound, as there was too little to send.
    pub delivery_rate_app_limited: bool,
    /// Pacing rate in bytes per second, if known.
    pub pacing_rate: Option<u64>,
    /// Bytes that wait in the transmit queue of its interface, whosever they are, as far as the driver has told
    /// ([`Stack::set_interface_queue`](crate::Stack::set_interface_queue)).
    pub interface_queue: u64,
}

impl SubflowView {
    /// Bytes bound to it that are not acknowledged.
    pub fn outstanding(&self) -> u64 {
        self.in_flight.saturating_add(self.queued)
    }
}

/// The data that wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataView {
    /// The time.
    pub now: Instant,
    /// Stream position of the first byte.
    pub position: u64,
    /// Bytes at hand, at least one, already cut to the connection window. Those that were [skipped](Decision::skip) over are
    /// among them, those that were sent ahead of others are not.
    pub available: u64,
    /// Bytes at hand, whatever the window.
    pub unsent: u64,
    /// Bytes that the connection window still allows, this data included.
    pub window: u64,
    /// Whether it was sent before on another subflow.
    pub reinjection: bool,
    /// What the application has said of the message that the first byte belongs to.
    pub message: MessageView,
}

/// What is known of the message that is being sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageView {
    /// How urgent it is.
    pub class: TrafficClass,
    /// Bytes until its end, from the first byte of the [`DataView`] on; `None` if no end is known.
    pub left: Option<u64>,
    /// When it should have been delivered.
    pub deadline: Option<Instant>,
}

/// What an application says of bytes that it writes ([`Stack::send_message`](crate::Stack::send_message)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// How urgent the message is.
    pub class: TrafficClass,
    /// When it should be delivered; later, it still is.
    pub deadline: Option<Instant>,
    /// The message ends with these bytes: it is complete for the peer once they have arrived.
    pub ends: bool,
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficClass {
    /// Small and waited for, such as commands and their completions.
    Latency,
    /// As much as possible at a time.
    #[default]
    Bulk,
    /// What can wait for everything else.
    Background,
}

/// A scheduler's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Index into the slice of subflows that it was shown.
    pub subflow: usize,
    /// Bytes, at least one; what exceeds the room, the data or 65,535 is cut off.
    pub len: usize,
    /// Bytes at hand to leave out, for other subflows, so that what a slow one carries arrives in time with what comes before it.
    /// Zero takes the first byte. Has no effect on re-injections. `skip + len` that exceeds what is available is cut off.
    pub skip: u64,
}

/// Data that was sent and is not acknowledged at the connection level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutstandingView {
    /// The time.
    pub now: Instant,
    /// Positions that are outstanding: from the first one that is not acknowledged to the first one that was never sent.
    pub range: Range<u64>,
    /// The subflow that carries the first byte.
    pub holder: Option<SubflowId>,
    /// Bytes never sent so far.
    pub unsent: u64,
    /// What the application has said of the message that the first byte belongs to.
    pub message: MessageView,
}

/// Bytes to send once more although nothing says that they are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Index into the slice of subflows that was shown.
    pub subflow: usize,
    /// Positions among the outstanding ones; what the subflow carries already, or exceeds its room, is left out.
    pub range: Range<u64>,
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

    /// Chooses bytes that are under way to be sent on a second subflow too; asked after [`pick`](Self::pick) has had its turn, until it
    /// says `None`. `subflows` holds the usable ones.
    fn duplicate(&mut self, subflows: &[SubflowView], outstanding: &OutstandingView) -> Option<Duplicate> {
        let _ = (subflows, outstanding);
        None
    }
}

/// The schedulers that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SchedulerKind {
    /// [`RoundRobin`].
    RoundRobin,
    /// [`LowestRtt`].
    LowestRtt,
    /// [`CompletionTime`].
    #[default]
    CompletionTime,
}

impl SchedulerKind {
    /// All of them, for listings.
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::LowestRtt, Self::CompletionTime];

    /// A new scheduler of this kind.
    pub fn build(self) -> Box<dyn Scheduler> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::LowestRtt => Box::new(LowestRtt),
            Self::CompletionTime => Box::new(CompletionTime),
        }
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LowestRtt => "lowest-rtt",
            Self::CompletionTime => "completion-time",
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
#[error("there is no scheduler '{text}': choose {}", names())]
pub struct UnknownScheduler {
    text: String,
}

/// The names of all, for a sentence.
fn names() -> String {
    let names: Vec<String> = SchedulerKind::ALL.iter().map(SchedulerKind::to_string).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.join(", "),
    }
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
            latest_rtt: None,
            min_rtt: None,
            cwnd: None,
            ssthresh: None,
            slow_start: false,
            in_flight: 0,
            queued: 0,
            delivery_rate: None,
            delivery_rate_app_limited: false,
            pacing_rate: None,
            interface_queue: 0,
        }
    }

    pub(crate) fn data(available: u64) -> DataView {
        DataView {
            now: Instant::ZERO,
            position: 0,
            available,
            unsent: available,
            window: available,
            reinjection: false,
            message: MessageView::default(),
        }
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
