//! Proportional rate reduction (RFC 6937): how much may leave per acknowledgement while losses are repaired.
//!
//! It spreads the reduction of the window over a round trip; if losses have reduced it already, it slow starts back. Of the two
//! reduction bounds of section 3 the conservative one holds for an acknowledgement that brings news of loss or none of progress,
//! and the one of slow start for others (the heuristic of its successor, RFC 9937): a sender may then not push into a queue that is
//! still overflowing.

/// One recovery.
#[derive(Clone, Debug)]
pub(super) struct Prr {
    /// Bytes in flight when it began (RecoverFS).
    flight: u64,
    /// The window to be reached at the end.
    ssthresh: u64,
    /// Bytes that have arrived since it began.
    delivered: u64,
    /// Bytes sent since then.
    out: u64,
    /// Bytes that may leave now.
    allowance: u64,
}

impl Prr {
    /// Begins a recovery from `flight` bytes in flight, before the losses were found, to a window of `ssthresh`.
    pub(super) fn start(flight: u64, ssthresh: u64) -> Self {
        Self { flight: flight.max(1), ssthresh, delivered: 0, out: 0, allowance: 0 }
    }

    /// An acknowledgement tells of `delivered` bytes, and now `in_flight` are on their way: how many may leave now.
    ///
    /// `safe` says that it advances what is acknowledged in order and that nothing more is taken for lost.
    pub(super) fn on_ack(&mut self, delivered: u64, in_flight: u64, safe: bool, mss: u64) -> u64 {
        // News of nothing must not let anything out, and leaves what has been allowed.
        if delivered > 0 {
            self.delivered = self.delivered.saturating_add(delivered);
            self.allowance = if in_flight > self.ssthresh {
                self.proportional(mss)
            } else {
                let limit = self.delivered.saturating_sub(self.out).max(delivered);
                // Where nothing is on the way, there is no queue either that could be overflowing.
                (self.ssthresh - in_flight).min(if safe || in_flight == 0 { limit + mss } else { limit })
            };
        }
        // The fast retransmission that begins the recovery never waits.
        if self.out == 0 {
            self.allowance = self.allowance.max(mss);
        }
        self.allowance
    }

    /// Lets `bytes` out at least.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.allowance = self.allowance.max(bytes);
    }

    /// Bytes have left, for the first time or again.
    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.out = self.out.saturating_add(bytes);
        self.allowance = self.allowance.saturating_sub(bytes);
    }

    /// Bytes that may leave now.
    pub(super) fn allowance(&self) -> u64 {
        self.allowance
    }

    /// In whole segments, since the formula counts in those: a smaller part would be held back, and a segment that it belongs to
    /// would be late.
    fn proportional(&self, mss: u64) -> u64 {
        let share = (u128::from(self.delivered) * u128::from(self.ssthresh)).div_ceil(u128::from(self.flight));
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        share.checked_next_multiple_of(mss).unwrap_or(share).saturating_sub(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1000;

    /// 20 segments in flight of which the first `lost` do not arrive, two more by limited transmit: segments sent for each of the `acks`
    /// that follow, and in flight before.
    fn recover(lost: u64, acks: u64, safe: bool) -> (Vec<u64>, Vec<u64>) {
        let mut prr = Prr::start(20 * MSS, 10 * MSS);
        let mut pipe = 22 - lost - 2;
        let (mut pipes, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..acks {
            pipe -= 1;
            pipes.push(pipe);
            let segments = prr.on_ack(MSS, pipe * MSS, safe, MSS) / MSS;
            prr.on_sent(segments * MSS);
            pipe += segments;
            sent.push(segments);
        }
        (pipes, sent)
    }

    #[test]
    fn a_single_loss_halves_the_window_over_a_round_trip() {
        for safe in [true, false] {
            // The acknowledgements of segments 3 to 19, and of the two of limited transmit.
            let (_, sent) = recover(1, 19, safe);
            assert_eq!(sent, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]);
        }
    }

    #[test]
    fn a_tail_of_which_a_probe_tells_leaves_two_at_a_time() {
        let mut prr = Prr::start(3 * MSS, 7 * MSS);
        assert_eq!(prr.on_ack(MSS, 0, false, MSS), 2 * MSS);
    }

    #[test]
    fn of_a_burst_of_losses_the_slow_start_bound_repairs_two_per_acknowledgement() {
        let (pipe, sent) = recover(15, 3, true);
        assert_eq!((pipe, sent), (vec![4, 5, 6], vec![2, 2, 2]));
    }

    #[test]
    fn of_a_burst_of_losses_the_conservative_bound_repairs_one_per_acknowledgement() {
        let (pipe, sent) = recover(15, 3, false);
        assert_eq!((pipe, sent), (vec![4, 4, 4], vec![1, 1, 1]));
    }

    #[test]
    fn the_slow_start_bound_stops_at_the_threshold() {
        let (pipe, sent) = recover(15, 9, true);
        assert_eq!(sent, [2, 2, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!(pipe.last(), Some(&9));
    }

    #[test]
    fn what_the_application_did_not_use_is_kept() {
        let mut prr = Prr::start(20 * MSS, 10 * MSS);
        for acks in 1..=8 {
            prr.on_ack(MSS, (20 - acks) * MSS, true, MSS);
        }
        assert_eq!(prr.allowance(), 4 * MSS);
        prr.on_sent(MSS);
        assert_eq!(prr.allowance(), 3 * MSS);
    }

    #[test]
    fn news_of_nothing_lets_out_only_the_first_retransmission() {
        let mut prr = Prr::start(20 * MSS, 10 * MSS);
        assert_eq!(prr.on_ack(0, 19 * MSS, false, MSS), MSS);
        prr.on_sent(MSS);
        assert_eq!(prr.on_ack(0, 5 * MSS, false, MSS), 0);
    }
}
