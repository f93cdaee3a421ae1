//! Delivery rate estimation (draft-ietf-ccwg-bbr section 4.1).

use crate::Instant;
use crate::congestion::RateSample;

/// What the connection had delivered when a segment left.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::native) struct Snapshot {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Bytes lost so far.
    lost: u64,
    /// Bytes in flight, the segment included.
    in_flight: u64,
    app_limited: bool,
}

/// The rate of delivery that was measured last and means something.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::native) struct MeasuredRate {
    /// Bytes per second; 0 if there is none yet.
    rate: u64,
    app_limited: bool,
}

impl MeasuredRate {
    /// Takes a new sample. What a sender measures that had too little to send is a lower bound, and counts if it is higher only.
    pub(super) fn update(&mut self, rate: u64, app_limited: bool) {
        if !app_limited || rate >= self.rate {
            *self = Self { rate, app_limited };
        }
    }

    /// In bytes per second, and whether the sender had too little to send.
    pub(in crate::native) fn get(self) -> Option<(u64, bool)> {
        (self.rate > 0).then_some((self.rate, self.app_limited))
    }
}

/// Counters of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::native) struct Delivery {
    delivered: u64,
    delivered_at: Instant,
    /// When the segment left that was the latest to be acknowledged: the start of the next interval of sending.
    first_sent_at: Instant,
    lost: u64,
    /// The sender had nothing more to send until so much will have been delivered; 0 if it does.
    app_limited_until: u64,
}

/// The segment that the sample of an acknowledgement is about, the newest that it acknowledges: when it left, and in what state.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::native) struct Sampled(Option<(Instant, Snapshot)>);

impl Delivery {
    /// Bytes delivered so far.
    pub(in crate::native) fn total(&self) -> u64 {
        self.delivered
    }

    /// The sender has nothing more to send, though it could; `in_flight` is on the way.
    pub(in crate::native) fn set_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = (self.delivered + in_flight).max(1);
    }

    pub(in crate::native) fn is_app_limited(&self) -> bool {
        self.app_limited_until > 0
    }

    /// A segment of `len` bytes leaves.
    pub(super) fn snapshot(&mut self, now: Instant, in_flight: u64, len: u64) -> Snapshot {
        if in_flight == 0 {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            lost: self.lost,
            in_flight: in_flight + len,
            app_limited: self.is_app_limited(),
        }
    }

    /// `len` bytes of a segment that left at `at` have arrived.
    pub(super) fn delivered(
        &mut self,
        now: Instant,
        at: Instant,
        snapshot: &Snapshot,
        len: u64,
        sampled: &mut Sampled,
    ) {
        self.delivered += len;
        self.delivered_at = now;
        let newer =
            |(known, known_snapshot): (Instant, Snapshot)| (snapshot.delivered, at) > (known_snapshot.delivered, known);
        if sampled.0.is_none_or(newer) {
            sampled.0 = Some((at, *snapshot));
            self.first_sent_at = at;
        }
        if self.app_limited_until > 0 && self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
    }

    pub(super) fn lost(&mut self, len: u64) {
        self.lost += len;
    }

    /// `len` bytes that were just lost are no sign of congestion.
    pub(super) fn excuse(&mut self, len: u64) {
        self.lost = self.lost.saturating_sub(len);
    }

    /// The rate sample of an acknowledgement; `None` if there is none, or none that could be true: an
    /// interval shorter than the smallest round-trip time measures the receiver's bursts.
    pub(in crate::native) fn rate(&self, sampled: &Sampled, min_rtt: u64) -> Option<RateSample> {
        let (at, snapshot) = sampled.0?;
        let sending = at.nanos_since(snapshot.first_sent_at);
        let acknowledging = self.delivered_at.nanos_since(snapshot.delivered_at);
        let interval = sending.max(acknowledging);
        if interval == 0 || interval < min_rtt {
            return None;
        }
        let delivered = self.delivered - snapshot.delivered;
        // A window of 18 GB is the largest for which 64 bits are enough, and divided much sooner.
        let rate = match delivered.checked_mul(1_000_000_000) {
            Some(product) => product / interval,
            None => {
                let rate = u128::from(delivered) * 1_000_000_000 / u128::from(interval);
                u64::try_from(rate).unwrap_or(u64::MAX)
            }
        };
        Some(RateSample {
            rate,
            delivered,
            interval,
            prior_delivered: snapshot.delivered,
            total_delivered: self.delivered,
            tx_in_flight: snapshot.in_flight,
            lost: self.lost - snapshot.lost,
            app_limited: snapshot.app_limited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_rate_that_was_not_used_up_is_a_lower_bound() {
        let mut rate = MeasuredRate::default();
        assert_eq!(rate.get(), None);
        rate.update(100, true);
        rate.update(50, true);
        assert_eq!(rate.get(), Some((100, true)));
        rate.update(80, false);
        rate.update(70, true);
        assert_eq!(rate.get(), Some((80, false)));
        rate.update(90, true);
        assert_eq!(rate.get(), Some((90, true)));
    }

    #[test]
    fn a_steady_stream_shows_its_rate() {
        // A segment of 1000 bytes leaves every millisecond and is acknowledged 10 ms later: 1 MB/s.
        let mut delivery = Delivery::default();
        let snapshots: Vec<_> = (0..30)
            .map(|number: u64| {
                if number >= 10 {
                    return None;
                }
                Some(delivery.snapshot(at(number), number * 1000, 1000))
            })
            .collect();
        let mut sent: Vec<_> = snapshots.into_iter().flatten().enumerate().map(|(i, s)| (at(i as u64), s)).collect();
        for number in 10..40 {
            let (left, snapshot) = sent[number - 10];
            let mut sampled = Sampled::default();
            delivery.delivered(at(number as u64), left, &snapshot, 1000, &mut sampled);
            let sample = delivery.rate(&sampled, 10 * MS).unwrap();
            // The first window was sent faster than it was acknowledged.
            if number >= 20 {
                let expected = (1_000_000, 10_000, 10 * MS);
                assert_eq!((sample.rate, sample.delivered, sample.interval), expected, "{number}");
            }
            sent.push((at(number as u64), delivery.snapshot(at(number as u64), 9000, 1000)));
        }
    }

    #[test]
    fn a_burst_of_acknowledgements_is_no_rate() {
        let mut delivery = Delivery::default();
        let first = delivery.snapshot(at(0), 0, 1000);
        let mut sampled = Sampled::default();
        assert_eq!(delivery.rate(&sampled, 0), None, "nothing was delivered");
        delivery.delivered(at(10), at(0), &first, 1000, &mut sampled);
        assert_eq!(delivery.rate(&sampled, 11 * MS), None);
    }

    #[test]
    fn samples_tell_when_the_application_was_the_limit() {
        let mut delivery = Delivery::default();
        let first = delivery.snapshot(at(0), 0, 1000);
        delivery.set_app_limited(1000);
        let second = delivery.snapshot(at(5), 1000, 1000);
        assert!(!first.app_limited && second.app_limited);
        let mut sampled = Sampled::default();
        delivery.delivered(at(10), at(0), &first, 1000, &mut sampled);
        assert!(delivery.is_app_limited());
        delivery.delivered(at(15), at(5), &second, 1000, &mut sampled);
        assert!(!delivery.is_app_limited());
        assert!(delivery.rate(&sampled, 0).unwrap().app_limited);
    }
}
