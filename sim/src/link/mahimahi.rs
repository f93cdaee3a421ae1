//! Mahimahi's traces of delivery opportunities.

use std::sync::Arc;
use std::time::Duration;

use tcp_adapter::Instant;

use super::TraceError;

/// Bytes of one opportunity: one full IP packet of Ethernet's MTU. Headers of the link do not count.
pub const OPPORTUNITY_BYTES: usize = 1500;

/// Most opportunities of a trace: ten million are over two hours at 16 Mbit/s.
const MAX_OPPORTUNITIES: usize = 10_000_000;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// When a link may deliver, as Mahimahi's `mm-link` reads it: one opportunity per line, of 1500 bytes, at so many
/// milliseconds since the start. Small packets share one, large packets take several, unused ones are lost. After
/// the last line the trace begins anew at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MahimahiTrace {
    /// Nanoseconds since the start of a round; the last is also the length of the round.
    times: Arc<[u64]>,
}

impl MahimahiTrace {
    /// Reads a trace: one whole number per line, none less than the one before.
    ///
    /// # Errors
    /// [`TraceError`] names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut times = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let millis: u32 = content
                .trim()
                .parse()
                .map_err(|_| TraceError::syntax(line, "a whole number of milliseconds", content))?;
            let at = u64::from(millis) * NANOS_PER_MILLI;
            if times.last().is_some_and(|last| *last > at) {
                return Err(TraceError::Backwards { line });
            }
            if times.len() == MAX_OPPORTUNITIES {
                return Err(TraceError::TooLong { line, limit: MAX_OPPORTUNITIES });
            }
            times.push(at);
        }
        match times.last() {
            None => Err(TraceError::Empty),
            Some(0) => Err(TraceError::NoDuration),
            Some(_) => Ok(Self { times: times.into() }),
        }
    }

    /// Length of one round.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.round())
    }

    /// Bits per second of a full link, averaged over a round and rounded down.
    pub fn average_rate(&self) -> u64 {
        let bits = self.times.len() as u128 * OPPORTUNITY_BYTES as u128 * 8;
        (bits * 1_000_000_000 / u128::from(self.round())) as u64
    }

    fn round(&self) -> u64 {
        self.times.last().copied().unwrap_or(1)
    }

    /// When opportunity `number` is, counted from 0 over all rounds.
    fn time(&self, number: u64) -> u64 {
        let len = self.times.len() as u64;
        (number / len).saturating_mul(self.round()).saturating_add(self.times[(number % len) as usize])
    }

    /// The first opportunity at or after `at`.
    fn first_from(&self, at: u64) -> u64 {
        // The end of a round belongs to it, since its last opportunity is there.
        let round = at.saturating_sub(1) / self.round();
        let within = at - round * self.round();
        round * self.times.len() as u64 + self.times.partition_point(|time| *time < within) as u64
    }
}

/// How far a link is in its trace.
#[derive(Clone, Debug)]
pub(super) struct Opportunities {
    trace: MahimahiTrace,
    /// When the trace began.
    epoch: Instant,
    /// The first opportunity that has not been used, and its time.
    next: u64,
    next_at: Instant,
    /// Bytes left of the one before it, at `at` and not later.
    left: usize,
    at: Instant,
}

impl Opportunities {
    pub(super) fn new(trace: MahimahiTrace, epoch: Instant) -> Self {
        let next_at = epoch + Duration::from_nanos(trace.time(0));
        Self { trace, epoch, next: 0, next_at, left: 0, at: epoch }
    }

    /// Bits that can be delivered after one time and until a later one, as far as the trace was in effect.
    pub(super) fn capacity(&self, from: Instant, to: Instant) -> u128 {
        let until = |at: Instant| match at.as_nanos().checked_sub(self.epoch.as_nanos()) {
            None => 0,
            Some(at) => self.trace.first_from(at.saturating_add(1)),
        };
        u128::from(until(to).saturating_sub(until(from))) * OPPORTUNITY_BYTES as u128 * 8
    }

    /// When a packet that waits at `now` can be taken up.
    pub(super) fn ready(&self, now: Instant) -> Instant {
        if self.left > 0 && self.at == now { now } else { self.upcoming(now).1 }
    }

    /// Takes up a packet of `bytes` at `at`; says when its last byte is delivered.
    pub(super) fn send(&mut self, at: Instant, bytes: usize) -> Instant {
        let mut remaining = bytes.max(1);
        if self.at != at {
            self.left = 0;
        }
        loop {
            let used = self.left.min(remaining);
            self.left -= used;
            remaining -= used;
            if remaining == 0 {
                return self.at;
            }
            let (number, time) = self.upcoming(at);
            self.at = time;
            self.left = OPPORTUNITY_BYTES;
            self.next = number + 1;
            self.next_at = self.instant(self.next);
        }
    }

    /// The first opportunity at or after `now` that has not been used, and its time.
    fn upcoming(&self, now: Instant) -> (u64, Instant) {
        if self.next_at >= now {
            return (self.next, self.next_at);
        }
        let since = now.as_nanos() - self.epoch.as_nanos();
        let number = self.trace.first_from(since);
        (number, self.instant(number))
    }

    fn instant(&self, number: u64) -> Instant {
        self.epoch + Duration::from_nanos(self.trace.time(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opportunities(text: &str) -> Opportunities {
        Opportunities::new(MahimahiTrace::parse(text).unwrap(), Instant::ZERO)
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("1\n2\nx\n", "line 3: expected a whole number of milliseconds, found \"x\""),
            ("1\n\n2\n", "line 2: expected a whole number of milliseconds, found \"\""),
            ("-1\n", "line 1: expected a whole number of milliseconds, found \"-1\""),
            ("5\n4\n", "line 2: earlier than the line before"),
            ("", "the trace has no entries"),
            ("0\n0\n", "the last opportunity is at 0 ms, so the trace would repeat without end"),
        ];
        for (text, message) in cases {
            assert_eq!(MahimahiTrace::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_single_1_is_12_megabits() {
        let trace = MahimahiTrace::parse("1\n").unwrap();
        assert_eq!(trace.average_rate(), 12_000_000);
        let mut link = Opportunities::new(trace, Instant::ZERO);
        let mut at = Instant::ZERO;
        for millisecond in 1..=1000 {
            at = link.send(at, OPPORTUNITY_BYTES);
            assert_eq!(at, Instant::from_millis(millisecond));
        }
    }

    #[test]
    fn the_capacity_counts_opportunities() {
        let link = opportunities("0\n3\n3\n");
        let capacity = |from, to| link.capacity(Instant::from_millis(from), Instant::from_millis(to)) / 12_000;
        // The end of a round and the beginning of the next are one time.
        assert_eq!([capacity(0, 3), capacity(1, 2), capacity(3, 6), capacity(2, 7)], [3, 0, 3, 6]);
        let late = Opportunities::new(MahimahiTrace::parse("1\n").unwrap(), Instant::from_millis(10));
        assert_eq!(late.capacity(Instant::ZERO, Instant::from_millis(5)), 0);
    }

    #[test]
    fn the_end_of_a_round_is_part_of_it() {
        let mut link = opportunities("0\n3\n3\n");
        let mut at = Instant::ZERO;
        let mut times = Vec::new();
        for _ in 0..7 {
            at = link.send(at, 1500);
            times.push(at.as_micros());
        }
        assert_eq!(times, [0, 3000, 3000, 3000, 6000, 6000, 6000]);
    }

    #[test]
    fn small_packets_share_an_opportunity_and_large_ones_take_several() {
        let mut link = opportunities("1\n2\n3\n4\n");
        let start = link.ready(Instant::ZERO);
        assert_eq!(start, Instant::from_millis(1));
        for _ in 0..3 {
            assert_eq!(link.ready(start), start);
            assert_eq!(link.send(start, 500), start);
        }
        assert_eq!(link.ready(start), Instant::from_millis(2));
        assert_eq!(link.send(Instant::from_millis(2), 3001), Instant::from_millis(4));
        assert_eq!(link.ready(Instant::from_millis(4)), Instant::from_millis(4));
    }

    #[test]
    fn unused_opportunities_are_lost() {
        let mut link = opportunities("1\n2\n3\n");
        assert_eq!(link.send(Instant::from_micros(2500), 100), Instant::from_millis(3));
        // What is left at 3 ms is lost at 3.5 ms; the second round's first opportunity is at 4 ms.
        assert_eq!(link.send(Instant::from_micros(3500), 100), Instant::from_millis(4));
    }
}
