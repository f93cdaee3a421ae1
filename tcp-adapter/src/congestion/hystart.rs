//! HyStart++ (RFC 9406): leaves slow start before it overflows the path's buffer, when the round-trip time rises.

use super::Ack;

/// Bounds of the rise of the round-trip time that ends slow start, in microseconds (section 4.3): less is noise, and
/// more would be too late.
const MIN_RTT_THRESH: u32 = 4_000;
const MAX_RTT_THRESH: u32 = 16_000;
/// The rise within them, as a part of the round-trip time.
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples that make the minimum of a round trustworthy.
const N_RTT_SAMPLE: u8 = 8;
/// How much slower conservative slow start is.
const CSS_GROWTH_DIVISOR: u64 = 4;
/// Rounds after which conservative slow start ends.
const CSS_ROUNDS: u8 = 5;
/// No sample.
const INFINITE: u32 = u32::MAX;

/// What slow start is to do about an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Open the window by so many bytes.
    By(u64),
    /// End.
    Done,
}

/// Rounds of the first slow start and the smallest round-trip time of each. Microseconds, since the thresholds are
/// thousands of them.
#[derive(Clone, Debug)]
pub(super) struct HyStart {
    /// The round ends when everything before this offset is acknowledged.
    window_end: u64,
    last_round_min: u32,
    round_min: u32,
    /// What the round-trip time had risen to when conservative slow start began.
    baseline: u32,
    samples: u8,
    /// Rounds of conservative slow start, the present one included; 0 in plain slow start.
    conservative: u8,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            window_end: 0,
            last_round_min: INFINITE,
            round_min: INFINITE,
            baseline: INFINITE,
            samples: 0,
            conservative: 0,
        }
    }

    /// What the arrival of `bytes` is worth. No bound (L of section 4.3) is set to a single acknowledgement, because
    /// what it sets free is paced.
    pub(super) fn on_ack(&mut self, ack: &Ack, bytes: u64) -> Growth {
        if ack.snd_una > self.window_end && !self.next_round(ack.snd_nxt) {
            return Growth::Done;
        }
        if let Some(rtt) = ack.rtt {
            self.round_min = self.round_min.min(u32::try_from(rtt / 1_000).unwrap_or(INFINITE - 1));
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= N_RTT_SAMPLE {
            self.judge();
        }
        Growth::By(if self.conservative > 0 { bytes / CSS_GROWTH_DIVISOR } else { bytes })
    }

    /// Whether there is one.
    fn next_round(&mut self, snd_nxt: u64) -> bool {
        self.window_end = snd_nxt;
        self.last_round_min = std::mem::replace(&mut self.round_min, INFINITE);
        self.samples = 0;
        if self.conservative > 0 {
            self.conservative += 1;
        }
        self.conservative <= CSS_ROUNDS
    }

    fn judge(&mut self) {
        if self.conservative > 0 {
            // It was jitter.
            if self.round_min < self.baseline {
                self.baseline = INFINITE;
                self.conservative = 0;
            }
        } else if self.last_round_min != INFINITE {
            let rise = (self.last_round_min / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
            if self.round_min >= self.last_round_min.saturating_add(rise) {
                self.baseline = self.round_min;
                self.conservative = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MS, MSS, ack};
    use super::*;
    use crate::Instant;

    /// A round of `samples` acknowledgements of one segment: what the last of them is worth.
    fn round(hystart: &mut HyStart, number: u64, samples: u64, rtt: u64) -> Growth {
        let mut growth = Growth::Done;
        for sample in 1..=samples {
            let snd_una = number * 100 + sample;
            let ack = Ack { rtt: Some(rtt), snd_una, snd_nxt: (number + 1) * 100, ..ack(Instant::ZERO, MSS) };
            growth = hystart.on_ack(&ack, MSS);
        }
        growth
    }

    #[test]
    fn a_rise_of_an_eighth_begins_five_conservative_rounds() {
        let mut hystart = HyStart::new();
        assert_eq!(round(&mut hystart, 0, 10, 80 * MS), Growth::By(MSS));
        assert_eq!(round(&mut hystart, 1, 10, 90 * MS - MS / 1_000), Growth::By(MSS));
        // An eighth of 89.999 ms.
        assert_eq!(round(&mut hystart, 2, 7, 102 * MS), Growth::By(MSS), "too few samples");
        assert_eq!(round(&mut hystart, 2, 1, 102 * MS), Growth::By(MSS / 4));
        for number in 3..7 {
            assert_eq!(round(&mut hystart, number, 10, 102 * MS), Growth::By(MSS / 4), "round {number}");
        }
        assert_eq!(round(&mut hystart, 7, 1, 102 * MS), Growth::Done);
    }

    #[test]
    fn the_threshold_is_between_4_and_16_ms() {
        for (rtt, rise) in [(MS, 4 * MS), (1_000 * MS, 16 * MS)] {
            let mut hystart = HyStart::new();
            round(&mut hystart, 0, 8, rtt);
            assert_eq!(round(&mut hystart, 1, 8, rtt + rise - MS / 10), Growth::By(MSS));
            let mut hystart = HyStart::new();
            round(&mut hystart, 0, 8, rtt);
            assert_eq!(round(&mut hystart, 1, 8, rtt + rise), Growth::By(MSS / 4));
        }
    }

    #[test]
    fn jitter_leads_back_to_plain_slow_start() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 0, 8, 10 * MS);
        assert_eq!(round(&mut hystart, 1, 8, 14 * MS), Growth::By(MSS / 4));
        assert_eq!(round(&mut hystart, 2, 8, 13 * MS), Growth::By(MSS));
        assert_eq!(round(&mut hystart, 3, 8, 16 * MS), Growth::By(MSS));
    }
}
