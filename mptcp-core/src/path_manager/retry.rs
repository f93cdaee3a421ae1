//! Making lost subflows again, with back-off.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_adapter::{IdleQueue, Instant};

use super::strategy::Pair;

/// First wait after a loss.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait between attempts: a path that comes back is in use again within that time.
const LONGEST: Duration = Duration::from_secs(8);

/// A pair of addresses that a subflow was lost on, or could not be made on.
#[derive(Clone, Copy, Debug)]
struct Lost {
    pair: Pair,
    wait: Duration,
    /// `None` once given up, or while no link carries it.
    at: Option<Instant>,
    /// Attempts that have failed; not counted on a pair that may be tried for ever.
    failed: Option<u32>,
    /// FINs both ways have ended it.
    closed: bool,
}

/// The pairs of one connection that wait for another attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retries {
    lost: IdleQueue<Lost>,
}

impl Retries {
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty()
    }

    /// Gives back memory that is not needed.
    pub(crate) fn trim(&mut self) {
        self.lost.trim();
    }

    /// Arms another attempt on a pair that has failed, twice as late as the one before. With a bound, it is given up
    /// once so many have failed; a pair that was first armed without one has none.
    pub(crate) fn arm(&mut self, now: Instant, pair: Pair, most: Option<u32>) {
        self.arm_with(now, Duration::ZERO, pair, most);
    }

    /// The same, but not before `least` has passed, nor then a later attempt.
    pub(crate) fn arm_with(&mut self, now: Instant, least: Duration, pair: Pair, most: Option<u32>) {
        let known = match self.find(pair) {
            Some(known) => {
                known.wait = (known.wait * 2).min(LONGEST);
                known
            }
            None => {
                let failed = most.map(|_| 0);
                self.lost.push_back_mut(Lost { pair, wait: FIRST, at: None, failed, closed: false })
            }
        };
        known.wait = known.wait.max(least.min(LONGEST));
        known.at = Some(now + known.wait);
        if let (Some(failed), Some(most)) = (&mut known.failed, most) {
            *failed += 1;
            if *failed >= most {
                tracing::debug!(?pair, failed, "given up");
                known.at = None;
            }
        }
    }

    /// Arms another attempt without a wait, for a pair that is known to work.
    pub(crate) fn arm_at_once(&mut self, now: Instant, pair: Pair) {
        self.forget(pair);
        self.lost.push_back(Lost { pair, wait: FIRST, at: Some(now), failed: None, closed: false });
    }

    /// A pair that waits for another attempt was closed in order, so that its ports may be in use for a while.
    pub(crate) fn note_closed(&mut self, pair: Pair) {
        if let Some(known) = self.find(pair) {
            known.closed = true;
        }
    }

    /// Whether that was noted of a pair.
    pub(crate) fn was_closed(&self, pair: Pair) -> bool {
        self.lost.iter().any(|known| known.pair == pair && known.closed)
    }

    /// A pair that was due cannot be tried now: later, and it counts as no attempt.
    pub(crate) fn postpone(&mut self, now: Instant, pair: Pair) {
        self.arm(now, pair, None);
    }

    /// No link carries the pair: it waits, without a timer, until it is [revived](Self::revive).
    pub(crate) fn park(&mut self, pair: Pair) {
        if let Some(known) = self.find(pair) {
            known.at = None;
        }
    }

    /// Tries pairs again at once, those that were given up too, and with as many attempts as at first: there is news of
    /// the addresses that `which` chooses, or of our own.
    pub(crate) fn revive(&mut self, which: impl Fn(Pair) -> bool) {
        for known in self.lost.iter_mut().filter(|known| which(known.pair)) {
            known.wait = FIRST;
            known.at = Some(Instant::ZERO);
            known.failed = known.failed.map(|_| 0);
        }
    }

    /// There is a subflow on the pair again. Until it has been of use, it counts as one more attempt: something on the way may end each of them
    /// as soon as it carries data.
    pub(crate) fn made(&mut self, pair: Pair) {
        if let Some(known) = self.find(pair) {
            (known.at, known.failed, known.closed) = (None, None, false);
        }
    }

    /// Forgets a pair: it works again, or must not be used any more.
    pub(crate) fn forget(&mut self, pair: Pair) {
        self.lost.retain(|known| known.pair != pair);
    }

    /// Forgets the pairs that `which` chooses.
    pub(crate) fn forget_those(&mut self, which: impl Fn(Pair) -> bool) {
        self.lost.retain(|known| !which(known.pair));
    }

    /// Forgets every pair with this local address.
    pub(crate) fn forget_local(&mut self, local: IpAddr) {
        self.lost.retain(|known| known.pair.local != local);
    }

    /// Forgets every pair with this remote address, whatever the port.
    pub(crate) fn forget_remote(&mut self, remote: IpAddr) {
        self.lost.retain(|known| known.pair.remote.ip() != remote);
    }

    /// Forgets every pair with this remote address and port.
    pub(crate) fn forget_destination(&mut self, remote: SocketAddr) {
        self.lost.retain(|known| known.pair.remote != remote);
    }

    /// Forgets the pairs that wait for nothing and whose remote address `known` does not know any more.
    pub(crate) fn forget_given_up(&mut self, known: impl Fn(SocketAddr) -> bool) {
        self.lost.retain(|lost| lost.at.is_some() || known(lost.pair.remote));
    }

    /// The pairs, those that were given up too.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.lost.iter().map(|known| known.pair)
    }

    /// The pairs whose time has come. Each stays until it is armed again or forgotten, but is
    /// not due again before then.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Pair> {
        let mut due = Vec::new();
        for known in self.lost.iter_mut().filter(|known| known.at.is_some_and(|at| at <= now)) {
            due.push(known.pair);
            known.at = Some(now + LONGEST * 4);
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lost.iter().filter_map(|known| known.at).min()
    }

    fn find(&mut self, pair: Pair) -> Option<&mut Lost> {
        self.lost.iter_mut().find(|known| known.pair == pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        Pair { local: "10.0.0.1".parse().unwrap(), remote: "10.0.0.2:80".parse().unwrap(), lane: 0 }
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let pair = pair();
        let mut retries = Retries::default();
        let mut now = Instant::from_millis(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            retries.arm(now, pair, None);
            let at = retries.deadline().unwrap();
            waits.push(u64::try_from((at - now).as_millis()).unwrap());
            assert!(retries.take_due(now).is_empty());
            now = at;
            assert_eq!(retries.take_due(now), [pair]);
            assert!(retries.take_due(now).is_empty());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
        retries.arm_at_once(now, pair);
        assert_eq!(retries.take_due(now), [pair]);
        retries.forget(pair);
        assert_eq!(retries.deadline(), None);
    }

    #[test]
    fn an_attempt_that_led_to_a_subflow_of_no_use_is_one_as_well() {
        let pair = pair();
        let mut retries = Retries::default();
        let now = Instant::from_millis(7);
        retries.arm(now, pair, Some(1));
        retries.made(pair);
        assert_eq!(retries.deadline(), None);
        retries.arm(now, pair, None);
        assert_eq!(retries.deadline(), Some(now + FIRST * 2));
        retries.made(pair);
        retries.forget(pair);
        retries.arm(now, pair, None);
        assert_eq!(retries.deadline(), Some(now + FIRST));
    }

    #[test]
    fn a_pair_with_a_bound_is_given_up_until_there_is_news() {
        let pair = pair();
        let mut retries = Retries::default();
        let mut now = Instant::from_millis(0);
        for _ in 0..2 {
            for _ in 0..2 {
                retries.arm(now, pair, Some(3));
                now = retries.deadline().unwrap();
                assert_eq!(retries.take_due(now), [pair]);
                retries.postpone(now, pair);
                now = retries.deadline().unwrap();
                assert_eq!(retries.take_due(now), [pair]);
            }
            retries.arm(now, pair, Some(3));
            assert_eq!(retries.deadline(), None);
            retries.forget_given_up(|known| known == pair.remote);
            retries.revive(|known| known == pair);
            assert_eq!(retries.take_due(now), [pair]);
        }
        for _ in 0..10 {
            retries.arm_at_once(now, pair);
            retries.arm(now, pair, Some(1));
            assert!(retries.deadline().is_some(), "no bound on a pair that has worked");
        }
        retries.forget_destination(pair.remote);
        retries.arm(now, pair, Some(1));
        retries.forget_given_up(|_| false);
        retries.revive(|_| true);
        assert_eq!(retries.deadline(), None);
    }

    #[test]
    fn a_pair_without_a_link_waits_for_one() {
        let pair = pair();
        let other = Pair { lane: 1, ..pair };
        let mut retries = Retries::default();
        let now = Instant::from_millis(0);
        retries.arm(now, pair, None);
        retries.arm(now, other, None);
        retries.park(pair);
        let at = retries.deadline().unwrap();
        assert_eq!(retries.take_due(at), [other]);
        assert_eq!(retries.pairs().count(), 2);
        retries.revive(|known| known == pair);
        assert_eq!(retries.take_due(at), [pair]);
        retries.forget_those(|known| known.lane == 1);
        assert_eq!(retries.pairs().collect::<Vec<_>>(), [pair]);
    }
}
