//! Completion time: every byte goes where it arrives in time with those before it.

use std::time::Duration;

use super::{DataView, Decision, EachSubflow, Scheduler, SubflowView, backups_allowed, burst_len, has_room};

/// Sends where data arrives first, and on slower subflows only what will be next by the time it arrives there.
///
/// For each subflow it estimates when a byte that is given to it now arrives: the one-way delay, and how long what is bound to the
/// subflow already keeps it waiting. Of those with room the soonest is chosen. While that one's byte travels, subflows on which data
/// arrives sooner deliver a number of bytes, the *gap*; these are left to them, and the chosen one carries what follows. Hence
///
/// * bytes arrive nearly in order, however different the paths are (as OTIAS and STMS aim at);
/// * a slow subflow gets nothing if the gap exceeds the data at hand: the others complete it sooner (as ECF has it);
/// * nor if the gap exceeds the window: its byte would keep the others from sending (as BLEST has it).
///
/// What waits in the transmit queue of the subflow's interface, whosever it is, counts where the driver tells (as QAware has it).
///
/// Subflows whose round-trip time is not known yet count as immediate: they are tried once, and known after that. While another
/// subflow's rate is known, one that has carried nothing yet is tried with two segments first: how soon they are answered shows what its
/// path carries, which no round-trip time of a handshake does.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompletionTime;

impl Scheduler for CompletionTime {
    fn name(&self) -> &'static str {
        "completion-time"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let backups = backups_allowed(subflows);
        let candidates = || subflows.iter().enumerate().filter(|(_, subflow)| backups || !subflow.backup);
        // The first one needs no trial while nothing is known of any.
        let known = candidates().find(|(_, subflow)| !is_untried(subflow)).or_else(|| candidates().next())?.0;
        let in_trial = |index: usize, subflow: &SubflowView| index != known && is_untried(subflow);
        let free = |index: usize, subflow: &SubflowView| {
            let trial_may_go_on = subflow.outstanding() < (TRIAL * subflow.mss) as u64;
            has_room(subflow, data) && (trial_may_go_on || !in_trial(index, subflow))
        };
        // When data would arrive is of no use where none can leave, which ends every burst of decisions.
        if !candidates().any(|(index, subflow)| free(index, subflow)) {
            return None;
        }
        let mut courses = EachSubflow::<(usize, Course<'_>)>::new();
        let mut soonest: Option<(usize, f64)> = None;
        for (index, subflow) in candidates() {
            let course = Course::of(subflow);
            if soonest.is_none_or(|(_, least)| course.arrival < least) && free(index, subflow) {
                soonest = Some((courses.len(), course.arrival));
            }
            courses.push((index, course));
        }
        let (place, arrival) = soonest?;
        let (index, course) = &courses[place];
        let (index, chosen) = (*index, course.subflow);

        // What the others deliver before, and when another one would take what is not left to them.
        let (mut gap, mut next) = (0.0, f64::INFINITY);
        // What a path on trial will carry is not known.
        for (other, beside) in &courses {
            if *other == index || in_trial(*other, beside.subflow) {
                continue;
            }
            if beside.arrival < arrival {
                gap += beside.delivered_until(arrival);
            }
            next = lesser(beside.arrival, next);
        }
        let mss = chosen.mss.max(1);
        let mut len = burst_len(chosen, data);
        // A segment it is in any case.
        if len > mss {
            let span = if next > arrival { greater(next - arrival, LEAST_BURST) } else { LATE_BURST };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
            let segments = ((span * course.bottleneck()) as usize / mss).max(1);
            let segments = if in_trial(index, chosen) { segments.min(TRIAL) } else { segments };
            len = len.min(segments.saturating_mul(mss));
        }
        if gap < len as f64 {
            return Some(Decision { subflow: index, len, skip: 0 });
        }
        let mss = mss as u64;
        // Whole segments, so that nothing short is left between two subflows.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let skip = gap as u64 / mss * mss;
        let fits = |most: u64| skip.saturating_add(len as u64) <= most;
        (fits(data.unsent) && fits(data.available)).then_some(Decision { subflow: index, len, skip })
    }
}

/// What a subflow gets at a time whose data does not arrive first passes its bottleneck in so many seconds: the estimate is for the
/// first segment.
const LATE_BURST: f64 = 0.001;

/// What a subflow gets at a time passes its bottleneck in so many seconds at least: every mapping costs room on the wire, and where paths are alike
/// they would take turns by the segment.
const LEAST_BURST: f64 = 0.0005;

/// Doublings of a window in slow start that are looked ahead at most.
const MOST_DOUBLINGS: u32 = 16;

/// What is expected of a subflow. Times are in seconds, amounts in bytes.
///
/// A decision asks of every subflow when data arrives there, and of few how fast it goes on after that. Divisions are what it spends its time on,
/// so what only the second question needs is worked out when it is asked.
#[derive(Clone, Copy, Debug)]
struct Course<'a> {
    subflow: &'a SubflowView,
    rtt: f64,
    /// When a byte that is given to it now arrives.
    arrival: f64,
    /// Congestion window now.
    cwnd: f64,
    /// Congestion window by the arrival.
    window: f64,
    /// How much of its measured delivery rate the path's bottleneck shows by queueing: see [`queueing`].
    queueing: f64,
}

impl<'a> Course<'a> {
    #[inline]
    fn of(subflow: &'a SubflowView) -> Self {
        let rtt = subflow.srtt.map_or(0.0, seconds);
        let least = subflow.min_rtt.map_or(rtt, |least| lesser(seconds(least), rtt));
        let mss = subflow.mss.max(1) as f64;
        let outstanding = subflow.outstanding() as f64;
        // What is under way was allowed to be.
        let unknown = || greater(INITIAL_WINDOW * mss, outstanding + mss);
        let cwnd = greater(subflow.cwnd.map_or_else(unknown, |cwnd| cwnd as f64), mss);
        let lacking = outstanding + mss - cwnd;
        let (by_window, window) =
            if lacking > 0.0 { until_room(lacking, rtt, cwnd, doubles_until(subflow)) } else { (0.0, cwnd) };
        let by_pacing = if subflow.queued > 0 { until_queue_has_left(subflow, cwnd) } else { 0.0 };
        let queueing = queueing(subflow);
        let drain = subflow.delivery_rate.map(|rate| (outstanding + mss) / rate.max(1) as f64);
        // What is under way passes the bottleneck first. It shows in the round-trip times only later.
        let behind = drain.map_or(0.0, |drain| drain * queueing) - least;
        // The smoothed round-trip time tells of the queue that there was. What is under way makes no longer one at the rate that was measured: without this bound
        // a path that has drained would stay empty, while the others fill, until they look as late.
        let queue = drain.map_or(rtt - least, |drain| lesser(greater(drain - least, 0.0), rtt - least));
        let delay = greater(greater(by_window, by_pacing) + queue, behind);
        let delay = greater(delay, at_interface(subflow));
        Self { subflow, rtt, arrival: least / 2.0 + delay, cwnd, window, queueing }
    }

    /// Bytes per second by the arrival.
    fn rate(&self) -> f64 {
        let growth = if self.subflow.slow_start { 2.0 } else { 1.0 };
        let by_window = if self.rtt > 0.0 { self.cwnd / self.rtt } else { f64::INFINITY };
        let rate = lesser(lesser(by_window, pacing(self.subflow)), self.bottleneck() * growth);
        if self.window == self.cwnd { rate } else { rate * (self.window / self.cwnd) }
    }

    /// The rate of the path's bottleneck in bytes per second, as far as it shows.
    fn bottleneck(&self) -> f64 {
        let rate = self.subflow.delivery_rate.filter(|_| self.queueing > 0.0);
        rate.map_or(f64::INFINITY, |rate| rate.max(1) as f64 / self.queueing)
    }

    /// Bytes given to it from now on that arrive until `time`.
    fn delivered_until(&self, time: f64) -> f64 {
        let span = time - self.arrival;
        if span <= 0.0 || self.rtt <= 0.0 {
            return 0.0;
        }
        let (rate, doubles_until) = (self.rate(), doubles_until(self.subflow));
        let (mut left, mut window, mut bytes) = (span, self.window, 0.0);
        for _ in 0..MOST_DOUBLINGS {
            if window >= doubles_until || left <= self.rtt {
                break;
            }
            bytes += rate * self.rtt * (window / self.window);
            left -= self.rtt;
            window = (window * 2.0).min(doubles_until);
        }
        let grown = if window == self.window { 1.0 } else { window / self.window };
        bytes + rate * grown * left
    }
}

/// How long what waits in the interface's transmit queue keeps the next byte there, in seconds: as [`QAware`](super::QAware) counts it. What of it is the
/// subflow's own is counted already, so it is a lower bound and nothing to add.
fn at_interface(subflow: &SubflowView) -> f64 {
    if subflow.interface_queue == 0 {
        return 0.0;
    }
    let rate = subflow.pacing_rate.max(subflow.delivery_rate);
    rate.map_or(0.0, |rate| subflow.interface_queue as f64 / rate.max(1) as f64)
}

/// In bytes per second, without a limit where TCP does not tell one.
fn pacing(subflow: &SubflowView) -> f64 {
    subflow.pacing_rate.map_or(f64::INFINITY, |rate| rate.max(1) as f64)
}

/// In seconds. Multiplying is faster than what the standard library does, and this is asked for every decision.
fn seconds(time: Duration) -> f64 {
    let whole = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    f64::from(whole) + f64::from(time.subsec_nanos()) * 1e-9
}

/// The lesser of two numbers. That of the standard library looks for what is not a number, too, which takes several instructions.
fn lesser(one: f64, two: f64) -> f64 {
    if one < two { one } else { two }
}

/// The greater of two numbers.
fn greater(one: f64, two: f64) -> f64 {
    if one > two { one } else { two }
}

/// A congestion window in bytes up to which that of a subflow doubles each round trip.
fn doubles_until(subflow: &SubflowView) -> f64 {
    match subflow.ssthresh {
        _ if !subflow.slow_start => 0.0,
        Some(threshold) => threshold as f64,
        None => f64::INFINITY,
    }
}

/// How long it takes until what waits on a subflow has left by its pacing, as far as its congestion window lets it.
fn until_queue_has_left(subflow: &SubflowView, cwnd: f64) -> f64 {
    let may_leave = lesser(subflow.queued as f64, cwnd - subflow.in_flight as f64);
    if may_leave > 0.0 { may_leave / pacing(subflow) } else { 0.0 }
}

/// How long it takes a window to have room for so many bytes more than it has, which is more than none. Each round trip makes room for as many as it
/// has, and in slow start for twice as many. Tells the window by then, too.
fn until_room(mut bytes: f64, rtt: f64, mut window: f64, doubles_until: f64) -> (f64, f64) {
    let mut time = 0.0;
    for _ in 0..MOST_DOUBLINGS {
        let grown = if window < doubles_until { 2.0 * window } else { window };
        if bytes <= grown || grown == window {
            let share = bytes / grown;
            return (time + rtt * share, window + (grown - window) * share.min(1.0));
        }
        bytes -= grown;
        time += rtt;
        window = grown.min(doubles_until);
    }
    (time, window)
}

/// How far the delivery rate that was measured is that of the path's bottleneck, from 0 to 1: as far as the round trip takes longer than
/// the shortest, because of what is under way. Otherwise whatever was measured is what the path was given, and would be all that it ever gets
/// if it were believed.
fn queueing(subflow: &SubflowView) -> f64 {
    let (Some(latest), Some(least)) = (subflow.latest_rtt, subflow.min_rtt) else { return 0.0 };
    if latest <= least {
        return 0.0;
    }
    // By degrees, since what hangs on a threshold swings about it.
    let (latest, least) = (seconds(latest), seconds(least));
    let longer = 4.0 * (latest - least);
    if longer >= least { 1.0 } else { longer / least }
}

/// Whether nothing is known of a subflow's rate: its round-trip time is that of the handshake.
fn is_untried(subflow: &SubflowView) -> bool {
    subflow.cwnd.is_some() && subflow.delivery_rate.is_none()
}

/// Segments that are sent to find out. The second one shows how long it takes to pass after the first.
const TRIAL: usize = 2;

/// Segments of the initial window (RFC 6928), where a TCP does not tell its own.
const INITIAL_WINDOW: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    /// A subflow past slow start whose window allows a hundred segments a round trip, and of which `outstanding` bytes are used.
    fn steady(id: u32, rtt_ms: u64, outstanding: u64) -> SubflowView {
        SubflowView {
            cwnd: Some(100_000),
            ssthresh: Some(50_000),
            delivery_rate: Some(100_000_000 / rtt_ms.max(1)),
            in_flight: outstanding,
            room: usize::try_from(100_000 - outstanding).unwrap(),
            ..view(id, 0, rtt_ms)
        }
    }

    fn decide(subflows: &[SubflowView], data: &DataView) -> Option<(usize, u64)> {
        CompletionTime.pick(subflows, data).map(|decision| (decision.subflow, decision.skip))
    }

    #[test]
    fn the_soonest_gets_the_first_byte() {
        let endless = data(10 << 20);
        assert_eq!(decide(&[steady(0, 40, 0), steady(1, 10, 0)], &endless), Some((1, 0)));
        assert_eq!(decide(&[steady(0, 10, 0), view(1, 9000, 0)], &endless), Some((1, 0)), "an unknown path is tried");
    }

    #[test]
    fn what_a_slow_one_carries_is_next_when_it_arrives() {
        // The fast one delivers 10,000 bytes a millisecond. It is full: its next byte arrives after some 5 ms, the slow one's
        // after 20 ms, when the fast one has delivered about 150,000.
        let full = steady(0, 10, 100_000);
        let (subflow, skip) = decide(&[full, steady(1, 40, 0)], &data(10 << 20)).unwrap();
        assert_eq!(subflow, 1);
        assert!((140_000..=150_000).contains(&skip), "{skip}");
        assert_eq!(skip % 1000, 0, "whole segments");
    }

    #[test]
    fn a_slow_one_gets_nothing_that_the_others_complete_sooner() {
        let full = steady(0, 10, 100_000);
        assert_eq!(decide(&[full, steady(1, 40, 0)], &data(140_000)), None);
        let close = decide(&[full, steady(1, 12, 0)], &data(40_000));
        assert_eq!(close, Some((1, 0)), "a gap of less than a burst is none");
    }

    #[test]
    fn a_slow_one_gets_nothing_that_blocks_the_window() {
        let full = steady(0, 10, 100_000);
        let blocked = DataView { available: 100_000, window: 100_000, ..data(10 << 20) };
        assert_eq!(decide(&[full, steady(1, 40, 0)], &blocked), None);
    }

    #[test]
    fn what_is_under_way_on_a_thin_path_keeps_the_next_waiting() {
        // 250 bytes a millisecond and a short way beside 10,000 and a long one.
        let thin = |outstanding| SubflowView {
            srtt: Some(Duration::from_millis(4)),
            latest_rtt: Some(Duration::from_millis(8)),
            min_rtt: Some(Duration::from_millis(2)),
            delivery_rate: Some(250_000),
            ..steady(0, 0, outstanding)
        };
        assert_eq!(decide(&[thin(0), steady(1, 40, 0)], &data(50_000)), Some((0, 0)));
        assert_eq!(decide(&[thin(8_000), steady(1, 40, 0)], &data(50_000)), Some((1, 0)));
    }

    #[test]
    fn a_queue_that_has_drained_keeps_nothing_waiting() {
        // Both carry 2,500 bytes a millisecond. The first one's last answers waited for 30 ms, in a queue that is gone by now.
        let path = |id, least: u64, srtt: u64, outstanding| SubflowView {
            srtt: Some(Duration::from_millis(srtt)),
            latest_rtt: Some(Duration::from_millis(srtt)),
            min_rtt: Some(Duration::from_millis(least)),
            delivery_rate: Some(2_500_000),
            cwnd: Some(300_000),
            in_flight: outstanding,
            room: 100_000,
            ..steady(id, 0, 0)
        };
        let busy = path(1, 40, 53, 147_000);
        assert_eq!(decide(&[path(0, 20, 52, 3_000), busy], &data(10 << 20)), Some((0, 0)));
        assert_eq!(decide(&[path(0, 20, 82, 200_000), busy], &data(10 << 20)), Some((1, 0)));
    }

    #[test]
    fn what_others_have_at_the_interface_keeps_the_next_waiting() {
        // 10,000 bytes a millisecond: 150,000 bytes take 15 ms, which is what the other path is slower by.
        let queued = |interface_queue| SubflowView { interface_queue, ..steady(0, 10, 0) };
        assert_eq!(decide(&[queued(140_000), steady(1, 40, 0)], &data(10 << 20)), Some((0, 0)));
        assert_eq!(decide(&[queued(160_000), steady(1, 40, 0)], &data(10 << 20)), Some((1, 0)));
        // Its own are not counted twice: the round trip tells of 10 ms, in which 100,000 bytes leave.
        let own = |interface_queue| SubflowView {
            interface_queue,
            cwnd: Some(300_000),
            room: 100_000,
            latest_rtt: Some(Duration::from_millis(20)),
            srtt: Some(Duration::from_millis(20)),
            min_rtt: Some(Duration::from_millis(10)),
            delivery_rate: Some(10_000_000),
            in_flight: 200_000,
            ..steady(0, 10, 0)
        };
        for other in [28, 34] {
            let beside = |interface_queue| decide(&[own(interface_queue), steady(1, other, 0)], &data(10 << 20));
            assert_eq!(beside(100_000), beside(0));
        }
    }

    #[test]
    fn an_untried_path_is_tried_with_two_segments() {
        let untried = |outstanding| SubflowView { delivery_rate: None, ..steady(0, 1, outstanding) };
        let pick =
            |subflows: &[SubflowView]| CompletionTime.pick(subflows, &data(50_000)).map(|it| (it.subflow, it.len));
        assert_eq!(pick(&[untried(0), steady(1, 40, 0)]), Some((0, 2_000)));
        assert_eq!(pick(&[untried(2_000), steady(1, 40, 0)]), Some((1, 10_000)));
        // A lower bound counts as soon as the answer took longer.
        let tried = |latest| SubflowView {
            delivery_rate: Some(250_000),
            delivery_rate_app_limited: true,
            latest_rtt: Some(Duration::from_millis(latest)),
            min_rtt: Some(Duration::from_millis(1)),
            ..steady(0, 1, 9_000)
        };
        assert_eq!(pick(&[tried(1), steady(1, 40, 0)]), Some((0, 10_000)));
        assert_eq!(pick(&[tried(12), steady(1, 40, 0)]), Some((1, 10_000)));
    }

    #[test]
    fn a_window_that_doubles_leaves_less_to_slow_ones() {
        let slow = steady(1, 100, 0);
        let skip = |full: SubflowView| decide(&[full, slow], &data(100 << 20)).unwrap().1;
        let (steady, doubling) =
            (steady(0, 10, 100_000), SubflowView { slow_start: true, ssthresh: None, ..steady(0, 10, 100_000) });
        assert!(skip(doubling) > 3 * skip(steady));
    }

    #[test]
    fn backups_wait_until_nothing_else_is_left() {
        let backup = SubflowView { backup: true, ..steady(1, 1, 0) };
        assert_eq!(decide(&[steady(0, 20, 0), backup], &data(50_000)), Some((0, 0)));
        assert_eq!(decide(&[steady(0, 20, 100_000), backup], &data(50_000)), None);
        assert_eq!(decide(&[backup], &data(50_000)), Some((0, 0)));
    }
}
