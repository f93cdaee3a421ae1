//! When late means lost: RACK (RFC 8985 section 6).

use super::flight::Newest;
use crate::Instant;

/// Segments selectively acknowledged that make a loss certain enough without waiting, while no reordering has been seen
/// (RFC 8985 section 6.2 step 4, `DupThresh`).
const DUP_THRESHOLD: u64 = 3;

/// Recoveries after which a widened reordering window becomes narrow again (RFC 8985 section 6.2 step 4).
const PERSIST: u8 = 16;

/// State of RACK of one connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Rack {
    newest: Newest,
    /// Round-trip time of the newest.
    rtt: u64,
    /// Whether the path reorders.
    reordering_seen: bool,
    /// The reordering window in quarters of the smallest round-trip time.
    quarters: u8,
    persist: u8,
    /// A DSACK counts once a round trip: the round ends when everything before this offset is acknowledged.
    dsack_round: u64,
}

impl Default for Rack {
    fn default() -> Self {
        Self {
            newest: Newest::default(),
            rtt: 0,
            reordering_seen: false,
            quarters: 1,
            persist: PERSIST,
            dsack_round: 0,
        }
    }
}

/// What RACK needs to know of the connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Situation {
    pub(in crate::native) srtt: u64,
    pub(in crate::native) min_rtt: u64,
    /// A recovery is going on.
    pub(in crate::native) recovering: bool,
    pub(in crate::native) sacked: u64,
    pub(in crate::native) mss: u64,
}

impl Rack {
    /// Something has arrived. What was sent again is ambiguous: an answer faster than any is one to
    /// the first transmission (RFC 8985 section 6.2 step 2).
    pub(in crate::native) fn arrived(&mut self, now: Instant, newest: Newest, resent: bool, min_rtt: u64) {
        let rtt = now.nanos_since(newest.at);
        if resent && rtt < min_rtt {
            return;
        }
        self.rtt = rtt;
        self.newest = self.newest.max(newest);
    }

    pub(in crate::native) fn newest(&self) -> Newest {
        self.newest
    }

    pub(in crate::native) fn saw_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// The receiver has got something twice: it was late, not lost, and the window too narrow.
    pub(in crate::native) fn saw_duplicate(&mut self, una: u64, snd_nxt: u64) {
        if una < self.dsack_round {
            return;
        }
        self.dsack_round = snd_nxt;
        self.reordering_seen = true;
        self.quarters = self.quarters.saturating_add(1);
        self.persist = PERSIST;
    }

    /// A recovery has ended.
    pub(in crate::native) fn recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            (self.persist, self.quarters) = (PERSIST, 1);
        }
    }

    /// How long after its departure a segment is waited for: the round-trip time of the newest and the reordering
    /// window (RFC 8985 section 6.2 step 4).
    pub(in crate::native) fn patience(&self, situation: Situation) -> u64 {
        self.rtt.saturating_add(self.window(situation))
    }

    fn window(&self, situation: Situation) -> u64 {
        let Situation { srtt, min_rtt, recovering, sacked, mss } = situation;
        if !self.reordering_seen && (recovering || sacked >= DUP_THRESHOLD * mss) {
            return 0;
        }
        (min_rtt / 4).saturating_mul(u64::from(self.quarters)).min(srtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn situation() -> Situation {
        Situation { srtt: 40 * MS, min_rtt: 20 * MS, recovering: false, sacked: 0, mss: 1000 }
    }

    #[test]
    fn the_window_is_a_quarter_of_the_round_trip_until_a_loss_is_certain() {
        let mut rack = Rack::default();
        rack.arrived(Instant::from_millis(30), Newest { at: Instant::ZERO, end: 1 }, false, 20 * MS);
        assert_eq!(rack.patience(situation()), 35 * MS);
        assert_eq!(rack.patience(Situation { sacked: 2999, ..situation() }), 35 * MS);
        assert_eq!(rack.patience(Situation { sacked: 3000, ..situation() }), 30 * MS);
        assert_eq!(rack.patience(Situation { recovering: true, ..situation() }), 30 * MS);
        rack.saw_reordering();
        assert_eq!(rack.patience(Situation { sacked: 3000, recovering: true, ..situation() }), 35 * MS);
    }

    #[test]
    fn duplicates_widen_it_once_a_round_and_recoveries_make_it_narrow() {
        let mut rack = Rack::default();
        rack.saw_duplicate(0, 100);
        rack.saw_duplicate(50, 120);
        assert_eq!(rack.patience(situation()), 10 * MS);
        for round in 1..10 {
            rack.saw_duplicate(round * 100, round * 100 + 100);
        }
        assert_eq!(rack.patience(situation()), 40 * MS, "not more than the smoothed round-trip time");
        for _ in 0..16 {
            rack.recovered();
        }
        assert_eq!(rack.patience(situation()), 5 * MS);
    }

    #[test]
    fn an_answer_faster_than_any_is_one_to_the_first_transmission() {
        let mut rack = Rack::default();
        let first = Newest { at: Instant::from_millis(0), end: 5 };
        rack.arrived(Instant::from_millis(20), first, false, 20 * MS);
        rack.arrived(Instant::from_millis(30), Newest { at: Instant::from_millis(29), end: 1 }, true, 20 * MS);
        assert_eq!(rack.newest(), first);
    }
}
