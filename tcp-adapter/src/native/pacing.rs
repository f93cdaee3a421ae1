//! Pacing: when segments may leave, in nanoseconds.
//!
//! A bucket of credit fills at the rate and holds a quantum. A burst begins once half a quantum is there, so that one may be late by
//! the time of the other half and lose nothing, and ends when the bucket is empty, in however many segments it leaves; after idleness there
//! is one quantum, and never more than half of another one with it. What is kept is the
//! moment at which the bucket was empty, with the fraction of a nanosecond that a division leaves, so that the rate is exact at any rate.

use crate::Instant;

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// Bytes of a quantum at most: one super-segment of the device.
const MAX_QUANTUM: u32 = 64 << 10;
/// And at least: two segments of the common size, for which a receiver acknowledges at once.
const MIN_QUANTUM: u32 = 2 * 1460;
/// Bytes that leave before any pace is kept: what RFC 6928 lets an initial window be, as a burst.
const UNPACED: u16 = 14_600;

/// Lets segments out at a rate.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    /// Bytes per second; 0 for no pacing.
    rate: u64,
    /// Bytes per second that are never exceeded.
    max_rate: u64,
    /// When the bucket was empty, or will be filled up to empty.
    empty: Instant,
    /// What of that is less than a nanosecond, of `rate`.
    fraction: u64,
    /// Nanoseconds that it takes to fill the bucket.
    fill: u64,
    /// Bytes that it holds.
    quantum: u32,
    /// Bytes that leave without waiting, before all others.
    unpaced: u16,
    /// A burst has begun, and the bucket was not empty then.
    in_burst: bool,
}

impl Pacer {
    /// No rate. The first initial window leaves at once even if there is one.
    pub(super) fn new() -> Self {
        Self {
            rate: 0,
            max_rate: u64::MAX,
            empty: Instant::ZERO,
            fraction: 0,
            fill: 0,
            quantum: 0,
            unpaced: UNPACED,
            in_burst: false,
        }
    }

    /// Rate of a window-based congestion control, in bytes per second; `None` if the round-trip time `srtt` (ns) is unknown.
    ///
    /// In slow start twice the window per round trip, since that is how fast the window grows; less would hold it
    /// back. After that a fifth more than the window: enough to use up a window that grows, and to catch up with
    /// what delayed or compressed acknowledgements held back, while the burst that a round trip begins with is still
    /// stretched over most of it.
    pub(super) fn rate_of(cwnd: u64, srtt: u64, slow_start: bool) -> Option<u64> {
        let window = cwnd.saturating_mul(if slow_start { 2 * SECOND } else { SECOND / 5 * 6 });
        window.checked_div(srtt).map(|rate| rate.max(1))
    }

    /// Never sends faster than `bytes_per_second`, whatever [`set_rate`](Self::set_rate) says. Holds from its next call.
    pub(super) fn set_max_rate(&mut self, bytes_per_second: Option<u64>) {
        self.max_rate = bytes_per_second.unwrap_or(u64::MAX).max(1);
        if bytes_per_second.is_some() {
            self.unpaced = 0;
        }
    }

    /// The same for one that is at work, and that would send `bytes_per_second` without a limit: it holds at once. What is owed is bytes
    /// where a limit is raised, too, so that one that was low holds up nothing once it is gone.
    pub(super) fn limit(&mut self, now: Instant, most: Option<u64>, bytes_per_second: Option<u64>) {
        self.set_max_rate(most);
        self.change_rate(now, bytes_per_second, true);
    }

    /// The rate that is never exceeded; `None` if there is none.
    pub(super) fn max_rate(&self) -> Option<u64> {
        self.is_limited().then_some(self.max_rate)
    }

    fn is_limited(&self) -> bool {
        self.max_rate != u64::MAX
    }

    /// Sends `bytes_per_second` from now on. What is owed is bytes, which take less time at a higher rate: the debt of a rate that has
    /// been far too low is soon paid. At a lower rate they are waited for no longer than when they left.
    ///
    /// The quantum is a millisecond's worth: at the bottleneck it waits for that long at most, which is little beside
    /// what acknowledgements vary by, and a timer fires two thousand times per second at most until the quantum is as large as
    /// a super-segment.
    pub(super) fn set_rate(&mut self, now: Instant, bytes_per_second: Option<u64>) {
        // Not where there is a limit that must be kept, while the rate goes down and up.
        self.change_rate(now, bytes_per_second, !self.is_limited());
    }

    /// Changes the rate; whether less time is owed at a higher one says `shortens`.
    fn change_rate(&mut self, now: Instant, bytes_per_second: Option<u64>, shortens: bool) {
        let unlimited = self.is_limited().then_some(u64::MAX);
        let rate = bytes_per_second.or(unlimited).map_or(0, |rate| rate.clamp(1, self.max_rate));
        if rate == self.rate {
            return;
        }
        let debt = self.empty.nanos_since(now);
        if debt > 0 && rate > self.rate && shortens {
            let scaled = u128::from(debt) * u128::from(self.rate) / u128::from(rate);
            self.empty = now.plus_nanos(u64::try_from(scaled).unwrap_or(u64::MAX));
        }
        self.rate = rate;
        self.quantum = u32::try_from(rate / 1_000).unwrap_or(MAX_QUANTUM).clamp(MIN_QUANTUM, MAX_QUANTUM);
        self.fill = (u64::from(self.quantum) * SECOND).div_ceil(rate.max(1));
        self.fraction = self.fraction.min(rate.saturating_sub(1));
    }

    /// The window begins anew after a pause: its first burst may leave at once, as that of a new connection (RFC 6928 section 2).
    /// Not beyond a limit, however often there are pauses.
    pub(super) fn restart(&mut self) {
        if !self.is_limited() {
            self.unpaced = UNPACED;
        }
    }

    /// The rate; `None` if there is none.
    pub(super) fn rate(&self) -> Option<u64> {
        (self.rate > 0).then_some(self.rate)
    }

    /// When the next burst may leave; `None` if it may now.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        if self.rate == 0 || self.unpaced > 0 || (self.in_burst && self.empty < now) {
            return None;
        }
        let at = self.empty.plus_nanos(self.fill.div_ceil(2));
        (at > now).then_some(at)
    }

    /// Bytes that may leave now, if [`ready_at`](Self::ready_at) says that some may: what is left of the burst, and a segment of
    /// `mss` bytes at least, for which the bucket goes into debt. Where the device cuts segments (`segmented`), a whole quantum of which half
    /// is there: in one piece it costs little more than one segment does.
    pub(super) fn allowance(&self, now: Instant, mss: u64, segmented: bool) -> u64 {
        if self.rate == 0 {
            return u64::MAX;
        }
        let filled = now.as_nanos().saturating_sub(self.empty.as_nanos());
        let full = filled >= self.fill || (segmented && filled >= self.fill / 2);
        let credit = if full { self.quantum.into() } else { self.rate * filled / SECOND };
        credit.max(self.unpaced.into()).max(mss)
    }

    /// Bytes have left.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64) {
        let paced = bytes.saturating_sub(self.unpaced.into());
        self.unpaced = u16::try_from(bytes).map_or(0, |bytes| self.unpaced.saturating_sub(bytes));
        if self.rate == 0 || paced == 0 {
            return;
        }
        let full = now.as_nanos().saturating_sub(self.fill);
        if self.empty.as_nanos() < full {
            self.empty = Instant::from_nanos(full);
            self.fraction = 0;
        }
        let time = paced.saturating_mul(SECOND).saturating_add(self.fraction);
        let takes = time / self.rate;
        self.empty = self.empty.plus_nanos(takes);
        self.fraction = time % self.rate;
        // What is left after a super-segment is not worth a segment of its own, unless it is a good part of another one.
        let spare = if paced > MIN_QUANTUM.into() { takes / 4 } else { 0 };
        self.in_burst = self.empty.plus_nanos(spare) < now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MSS: u64 = 1460;
    const NOW: Instant = Instant::ZERO;

    /// One that has sent its initial window.
    fn paced() -> Pacer {
        Pacer { unpaced: 0, ..Pacer::new() }
    }

    /// Bytes sent in `time` nanoseconds by one that always has something, and wakes up `late` nanoseconds after each timer.
    fn send_for(pacer: &mut Pacer, start: u64, time: u64, late: u64) -> u64 {
        let (mut now, mut sent) = (start, 0);
        while now < start + time {
            let at = Instant::from_nanos(now);
            match pacer.ready_at(at) {
                Some(ready) => now = ready.as_nanos() + late,
                None => {
                    let bytes = pacer.allowance(at, MSS, false) / MSS * MSS;
                    assert!(bytes > 0, "ready for nothing");
                    pacer.on_sent(at, bytes);
                    sent += bytes;
                }
            }
        }
        sent
    }

    #[test]
    fn the_rate_is_exact_from_a_modem_to_400_gbit_per_second() {
        for rate in [4_000_u64, 1_250_000, 125_000_000, 1_250_000_007, 50_000_000_000] {
            for late in [0, 2 * MSS * SECOND / rate / 4] {
                let mut pacer = paced();
                pacer.set_rate(NOW, Some(rate));
                let time = 20 * SECOND.min(2_000_000 * SECOND / rate * MSS);
                let sent = send_for(&mut pacer, SECOND, time, late);
                let expected = (u128::from(rate) * u128::from(time) / u128::from(SECOND)) as u64;
                let burst = 2 * u64::from(pacer.quantum);
                assert!(sent.abs_diff(expected) <= burst + expected / 1_000_000, "{rate}: {sent}, not {expected}");
            }
        }
    }

    #[test]
    fn idleness_earns_one_quantum() {
        let mut pacer = paced();
        pacer.set_rate(NOW, Some(12_500_000));
        for now in [SECOND, 1_000 * SECOND].map(Instant::from_nanos) {
            assert_eq!((pacer.ready_at(now), pacer.allowance(now, MSS, false)), (None, 12_500));
            pacer.on_sent(now, 12_500);
            // Half of a millisecond's worth.
            assert_eq!(pacer.ready_at(now), Some(now + Duration::from_micros(500)));
            assert_eq!(pacer.allowance(now, 0, false), 0);
        }
    }

    #[test]
    fn a_super_segment_is_a_burst() {
        const WHOLE: u64 = 44 * MSS;
        let mut pacer = paced();
        pacer.set_rate(NOW, Some(1_250_000_000));
        let (mut now, mut sent) = (Instant::from_nanos(SECOND), 0);
        for _ in 0..1000 {
            now = pacer.ready_at(now).unwrap_or(now);
            let bytes = (pacer.allowance(now, MSS, true) / MSS * MSS).min(WHOLE);
            assert_eq!(bytes, WHOLE);
            pacer.on_sent(now, bytes);
            sent += bytes;
            assert!(pacer.ready_at(now).is_some(), "what is left of the quantum leaves by itself");
        }
        let expected = (now.as_nanos() - SECOND) / 4 * 5;
        assert!(sent.abs_diff(expected) <= 2 * WHOLE, "{sent}, not {expected}");
    }

    /// A timer for each would cost more than all else that is done for it.
    #[test]
    fn segments_of_a_burst_leave_together() {
        let mut pacer = paced();
        pacer.set_rate(NOW, Some(125_000_000));
        let (mut now, mut waits) = (Instant::from_nanos(SECOND), 0);
        for _ in 0..1000 {
            if let Some(ready) = pacer.ready_at(now) {
                (now, waits) = (ready, waits + 1);
            }
            pacer.on_sent(now, pacer.allowance(now, MSS, false).min(MSS));
        }
        // 22 segments are half of a quantum of 64 KiB.
        assert!((40..=50).contains(&waits), "{waits}");
    }

    #[test]
    fn a_window_that_begins_anew_leaves_at_once() {
        let mut pacer = paced();
        pacer.set_rate(NOW, Some(1_000_000));
        let now = Instant::from_nanos(SECOND);
        pacer.restart();
        for _ in 0..10 {
            assert_eq!(pacer.ready_at(now), None);
            pacer.on_sent(now, MSS);
        }
        assert_eq!(pacer.allowance(now, 0, false), 2 * MSS);
        pacer.on_sent(now, 2 * MSS);
        assert!(pacer.ready_at(now).is_some());
    }

    #[test]
    fn a_quantum_is_two_segments_to_64_kib() {
        for (rate, quantum) in [(1_000, 2 * MSS), (12_500_000, 12_500), (12_500_000_000, 65_536)] {
            let mut pacer = paced();
            pacer.set_rate(NOW, Some(rate));
            assert_eq!(pacer.allowance(Instant::from_nanos(1_000 * SECOND), 0, false), quantum);
        }
    }

    #[test]
    fn the_initial_window_leaves_at_once() {
        let mut pacer = Pacer::new();
        let now = Instant::from_nanos(SECOND);
        assert_eq!((pacer.ready_at(now), pacer.allowance(now, MSS, false)), (None, u64::MAX));
        pacer.on_sent(now, 4 * MSS);
        pacer.set_rate(NOW, Some(1_000_000));
        assert_eq!((pacer.ready_at(now), pacer.allowance(now, MSS, false)), (None, 6 * MSS));
        pacer.on_sent(now, 6 * MSS);
        assert_eq!(pacer.allowance(now, MSS, false), 2 * MSS);
        pacer.on_sent(now, 2 * MSS);
        assert!(pacer.ready_at(now).is_some());
    }

    #[test]
    fn more_than_was_allowed_is_waited_for() {
        let mut pacer = paced();
        pacer.set_rate(NOW, Some(1_000_000));
        let now = Instant::from_nanos(SECOND);
        pacer.on_sent(now, 2 * MSS + 1_000_000);
        assert_eq!(pacer.ready_at(now), Some(now + Duration::from_secs(1) + Duration::from_micros(MSS)));
    }

    #[test]
    fn what_is_owed_is_bytes() {
        let mut pacer = paced();
        pacer.set_rate(NOW, Some(10));
        let now = Instant::from_nanos(1_000 * SECOND);
        pacer.on_sent(now, 2 * MSS + 1_000);
        assert!(pacer.ready_at(now).is_some_and(|at| at > now + Duration::from_secs(100)));
        pacer.set_rate(now, Some(1_000_000));
        assert_eq!(pacer.ready_at(now), Some(now + Duration::from_micros(1_000 + MSS)));
        let owed = pacer.empty;
        pacer.set_rate(now, Some(500_000));
        assert_eq!(pacer.empty, owed);
    }

    #[test]
    fn no_rate_exceeds_the_largest() {
        let mut pacer = paced();
        pacer.set_max_rate(Some(5_000));
        pacer.set_rate(NOW, None);
        assert_eq!(pacer.rate(), Some(5_000));
        pacer.set_rate(NOW, Some(1_000));
        assert_eq!(pacer.rate(), Some(1_000));
        pacer.set_max_rate(None);
        pacer.set_rate(NOW, None);
        assert_eq!(pacer.rate(), None);
    }

    #[test]
    fn a_limit_that_is_raised_leaves_no_debt_of_its_time() {
        let mut pacer = paced();
        let now = Instant::from_nanos(1_000 * SECOND);
        pacer.set_rate(NOW, Some(1_000_000));
        pacer.limit(NOW, Some(1_000), Some(1_000_000));
        assert_eq!((pacer.rate(), pacer.max_rate()), (Some(1_000), Some(1_000)));
        pacer.on_sent(now, 2 * MSS + 10_000);
        assert_eq!(pacer.empty, now + Duration::from_secs(10));
        pacer.limit(now, Some(100_000), Some(1_000_000));
        assert_eq!((pacer.rate(), pacer.empty), (Some(100_000), now + Duration::from_millis(100)));
        // What congestion control does below the limit pays no debt.
        pacer.set_rate(now, Some(50_000));
        pacer.set_rate(now, Some(90_000));
        assert_eq!(pacer.empty, now + Duration::from_millis(100));
        pacer.limit(now, None, Some(1_000_000));
        assert_eq!((pacer.rate(), pacer.max_rate()), (Some(1_000_000), None));
        assert_eq!(pacer.empty, now + Duration::from_millis(9));
    }

    #[test]
    fn windows_are_paced_over_their_round_trip() {
        assert_eq!(Pacer::rate_of(100_000, 10_000_000, true), Some(20_000_000));
        assert_eq!(Pacer::rate_of(100_000, 10_000_000, false), Some(12_000_000));
        assert_eq!(Pacer::rate_of(100_000, 0, true), None);
        assert_eq!(Pacer::rate_of(u64::MAX, 1, true), Some(u64::MAX));
    }
}
