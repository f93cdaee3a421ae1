//! The packet scheduler: which subflow carries which bytes.
//!
//! A scheduler sees the subflows, the data at hand and the connection window, and answers with a
//! subflow and a length. It never touches the connection. To add one: implement [`Scheduler`] in a
//! file of its own, and name it in [`SchedulerKind`].
//!
//! What holds under every scheduler is not theirs to do: bytes are sent again elsewhere when their subflow fails, or when they keep
//! the window from moving on, and one that waits although nothing is under way is overruled.

mod adaptive_redundant;
mod backup;
mod blest;
mod completion;
mod ecf;
mod kind;
mod linux;
mod lowest_rtt;
mod otias;
mod peekaboo;
mod per_subflow;
mod qaware;
mod redundant;
mod round_robin;
mod stms;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use smallvec::SmallVec;
use tcp_adapter::{Instant, SendLimits};

pub use adaptive_redundant::AdaptiveRedundant;
pub use backup::Backup;
pub use blest::Blest;
pub use completion::CompletionTime;
pub use ecf::Ecf;
pub use kind::{SchedulerKind, UnknownScheduler};
pub use linux::Linux;
pub use lowest_rtt::LowestRtt;
pub use otias::Otias;
pub use peekaboo::{Arm, Context, FEATURES, InvalidWeights, Learning, Model, Peekaboo, Recorder, Sample};
pub use qaware::QAware;
pub use redundant::Redundant;
pub use round_robin::RoundRobin;
pub use stms::Stms;

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
    /// Payload bytes that the first segment of a mapping carries less than that, as it alone says where in the stream the mapping is.
    /// What a decision gives in whole segments is cut by as much.
    pub mapping_cost: usize,
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

    /// What limits how much it should be given. Its segments are of the size that remains beside the hook's options.
    pub(crate) fn limits(&self) -> SendLimits {
        let Self { cwnd, pacing_rate, slow_start, mss, .. } = *self;
        SendLimits { cwnd, outstanding: self.outstanding(), pacing_rate, slow_start, mss, mss_before_hook: false }
    }

    /// The congestion window in bytes, a segment at least; where TCP does not tell, what it must be at least.
    fn window(&self) -> u64 {
        let mss = self.mss.max(1) as u64;
        let unknown = || (INITIAL_WINDOW * mss).max(self.outstanding().saturating_add(mss));
        self.cwnd.unwrap_or_else(unknown).max(mss)
    }

    /// Bytes per second, by the best of what is known.
    fn rate(&self) -> Option<f64> {
        let by_window = || self.srtt.map(|srtt| self.window() as f64 / srtt.as_secs_f64().max(1e-9));
        self.pacing_rate.or(self.delivery_rate).map(|rate| rate as f64).or_else(by_window)
    }
}

/// Segments of the initial window (RFC 6928).
const INITIAL_WINDOW: u64 = 10;

/// The data that wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataView {
    /// The time.
    pub now: Instant,
    /// Stream position of the first byte.
    pub position: u64,
    /// First position that is not acknowledged at the connection level.
    pub una: u64,
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
    /// When it should have been delivered. Of the schedulers here [`AdaptiveRedundant`] reads it.
    pub deadline: Option<Instant>,
}

/// What an application says of bytes that it writes ([`Stack::send_message`](crate::Stack::send_message)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// How urgent the message is.
    pub class: TrafficClass,
    /// When it should be delivered; later, it still is. [`AdaptiveRedundant`] sends what would be late after a loss twice, as far as its
    /// budget goes; to the other schedulers here it means nothing.
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

impl TrafficClass {
    /// All of them, the most important one first.
    pub const ALL: [Self; 3] = [Self::Latency, Self::Bulk, Self::Background];

    /// Its name, as people type it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Bulk => "bulk",
            Self::Background => "background",
        }
    }
}

impl fmt::Display for TrafficClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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

impl Decision {
    /// What of it can be done at all. A decision for no subflow that it was shown, or one that has no room, is none.
    pub(crate) fn sound(self, subflows: &[SubflowView], most: usize) -> Option<Self> {
        subflows.get(self.subflow).filter(|chosen| chosen.room > 0)?;
        Some(Self { len: self.len.clamp(1, most), ..self })
    }
}

/// Data that was sent and is not acknowledged at the connection level.
#[derive(Clone)]
pub struct OutstandingView<'a> {
    /// The time.
    pub now: Instant,
    /// Positions that are outstanding: from the first one that is not acknowledged to the first one that was never sent.
    pub range: Range<u64>,
    /// Bytes never sent so far.
    pub unsent: u64,
    /// What the application has said of the message that the first byte belongs to.
    pub message: MessageView,
    /// What [`carried`](Self::carried) asks.
    pub sent: &'a dyn Fn(SubflowId, Range<u64>) -> Option<Range<u64>>,
}

impl OutstandingView<'_> {
    /// The first stretch of positions in `range` that is on its way on a subflow, as far as one mapping tells.
    pub fn carried(&self, subflow: SubflowId, range: Range<u64>) -> Option<Range<u64>> {
        (self.sent)(subflow, range)
    }
}

impl fmt::Debug for OutstandingView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, range, unsent, message, sent: _ } = self;
        f.debug_struct("OutstandingView")
            .field("now", now)
            .field("range", range)
            .field("unsent", unsent)
            .field("message", message)
            .finish_non_exhaustive()
    }
}

/// Bytes that a subflow's TCP has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The time.
    pub now: Instant,
    /// The subflow.
    pub subflow: SubflowId,
    /// Positions.
    pub range: Range<u64>,
    /// They were sent before on another subflow.
    pub again: bool,
}

/// An acknowledgement that says something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The time.
    pub now: Instant,
    /// The subflow that it came on.
    pub subflow: SubflowId,
    /// The last bytes that were sent together and that the peer's TCP has received on this subflow, if there are new ones.
    pub delivered: Option<Range<u64>>,
    /// First position that is not acknowledged at the connection level.
    pub una: u64,
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

    /// Chooses the subflow for the data at hand; `None` waits until something changes. So does a decision of which nothing can be done: for a subflow that is not there
    /// or has no room, or one that leaves out all there is. While nothing is under way, nobody waits: the subflow with the lowest round-trip time is taken.
    ///
    /// `subflows` holds the usable ones, in the order of their ids: established, not stale, and for a re-injection those that do not already
    /// hold the data. They are two at least: one that is alone is given what it has room for, and nobody is asked.
    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision>;

    /// Whether [`duplicate`](Self::duplicate) is to be asked.
    fn duplicates(&self) -> bool {
        false
    }

    /// Chooses bytes that are under way to be sent on a second subflow too; asked after [`pick`](Self::pick) has had its turn, until it
    /// says `None` or what it says cannot be sent. `subflows` holds the usable ones, two at least.
    fn duplicate(&mut self, subflows: &[SubflowView], outstanding: &OutstandingView<'_>) -> Option<Duplicate> {
        let _ = (subflows, outstanding);
        None
    }

    /// When [`duplicate`](Self::duplicate) may have something to say although nothing has happened since it was asked last.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// That time has come: [`duplicate`](Self::duplicate) is asked next, unless nothing is under way or no subflow has room.
    /// Forget or move the time here: one that stays comes again at once, for ever.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// A subflow has taken bytes, whoever chose it.
    fn on_sent(&mut self, sent: &Sent) {
        let _ = sent;
    }

    /// The peer has acknowledged something, on the subflow or at the connection level. Not told while there is one subflow only.
    fn on_acknowledged(&mut self, acknowledged: &Acknowledged) {
        let _ = acknowledged;
    }

    /// The window, or the send buffer, had no room left because the first bytes were on a slow subflow; they were sent on a faster one too.
    fn on_window_blocked(&mut self, now: Instant) {
        let _ = now;
    }

    /// Whether what keeps the window from moving on may be sent on another subflow before its own has failed.
    fn helps_out(&self) -> bool {
        true
    }
}

/// What a decision works out for every subflow that it is shown, without an allocation, however many there are. The place is on the stack
/// and is written as far as it is used, so that few subflows cost no more for it; a scheduler that kept it would cost
/// memory for every connection.
type EachSubflow<T> = SmallVec<[T; MOST_SUBFLOWS]>;

/// A connection has its first one and 64 more at most ([`Limits::MAX_SUBFLOWS`](crate::Limits::MAX_SUBFLOWS)); this is the next length that
/// `SmallVec` knows.
const MOST_SUBFLOWS: usize = 96;

/// Segments that one decision may always span: long enough to amortise a decision, short enough that data bound to a
/// path that turns bad is little.
const BURST_SEGMENTS: usize = 10;

/// What leaves within 100 microseconds is little too, however many segments it is: so a fast path gets as much at a time as one
/// mapping can tell of, and super-segments, which end with their mapping, are long.
const BURSTS_PER_SECOND: u64 = 10_000;

/// A mapping can tell of no more, with a DATA_FIN.
const LONGEST_BURST: usize = 65_534;

/// Length of what a subflow gets at a time that has no other beside it: there is nothing to choose, and long mappings cost least. `None` without
/// room for a segment.
pub(crate) fn len_alone(room: usize, mss: usize, available: u64) -> Option<usize> {
    let available = usize::try_from(available).unwrap_or(usize::MAX);
    has_room_for(room, mss, available).then(|| whole(room.min(LONGEST_BURST), mss, available))
}

/// Length of one decision on `subflow`.
fn burst_len(subflow: &SubflowView, data: &DataView) -> usize {
    whole_segments(subflow, data, longest_burst(subflow.pacing_rate.or(subflow.delivery_rate), subflow.mss))
}

/// Bytes of one decision at most at a rate in bytes per second.
pub(crate) fn longest_burst(rate: Option<u64>, mss: usize) -> usize {
    let fast = usize::try_from(rate.unwrap_or(0) / BURSTS_PER_SECOND).unwrap_or(usize::MAX).min(LONGEST_BURST);
    fast.max(BURST_SEGMENTS * mss)
}

/// As much as there is room for, up to `most`: whole segments, so that mappings do not end in short ones, unless the data itself ends.
fn whole_segments(subflow: &SubflowView, data: &DataView, most: usize) -> usize {
    let available = usize::try_from(data.available).unwrap_or(usize::MAX);
    whole(subflow.room.min(most), subflow.mss, available)
}

fn whole(room: usize, mss: usize, available: usize) -> usize {
    let mss = mss.max(1);
    ((room / mss).max(1) * mss).min(available).max(1)
}

/// Whether `subflow` has room for a full segment, or for all the data if that is less.
fn has_room(subflow: &SubflowView, data: &DataView) -> bool {
    let available = usize::try_from(data.available).unwrap_or(usize::MAX);
    has_room_for(subflow.room, subflow.mss, available)
}

fn has_room_for(room: usize, mss: usize, available: usize) -> bool {
    room > 0 && room >= mss.min(available)
}

/// The subflow with the lowest round-trip time, whether it has room or not, and the one with the lowest of those that have room. An unknown
/// one is lowest: it is tried once, and known after that.
fn fastest(subflows: &[SubflowView], data: &DataView) -> Option<(usize, usize)> {
    let backups = backups_allowed(subflows);
    let allowed = |subflow: &SubflowView| backups || !subflow.backup;
    let lowest = |usable: &dyn Fn(&SubflowView) -> bool| {
        let usable = subflows.iter().enumerate().filter(|(_, subflow)| usable(subflow));
        usable.min_by_key(|(_, subflow)| subflow.srtt).map(|(index, _)| index)
    };
    let fast = lowest(&allowed)?;
    let chosen = match has_room(&subflows[fast], data) {
        true => fast,
        false => lowest(&|subflow| allowed(subflow) && has_room(subflow, data))?,
    };
    Some((fast, chosen))
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
            mapping_cost: 0,
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
            una: 0,
            available,
            unsent: available,
            window: available,
            reinjection: false,
            message: MessageView::default(),
        }
    }

    pub(crate) fn outstanding<'a>(
        range: Range<u64>,
        unsent: u64,
        sent: &'a dyn Fn(SubflowId, Range<u64>) -> Option<Range<u64>>,
    ) -> OutstandingView<'a> {
        OutstandingView { now: Instant::ZERO, range, unsent, message: MessageView::default(), sent }
    }

    #[test]
    fn one_that_is_alone_gets_whole_segments_as_far_as_a_mapping_can_tell() {
        let alone = |room, available| len_alone(room, 1_000, available);
        assert_eq!(alone(25_500, 50_000), Some(25_000));
        assert_eq!(alone(1 << 20, 1 << 20), Some(65_000));
        assert_eq!(alone(1_000, 300), Some(300));
        assert_eq!(alone(999, 50_000), None, "a segment is waited for");
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
