//! Making lost subflows again, with back-off.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_adapter::{IdleQueue, Instant};

/// First wait after a loss.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait between attempts: a path that comes back is in use again within that time.
const LONGEST: Duration = Duration::from_secs(8);

/// A pair of addresses that a subflow was lost on, or could not be made on.
#[derive(Clone, Copy, Debug)]
struct Lost {
    local: IpAddr,
    remote: SocketAddr,
    wait: Duration,
    /// `None` once given up.
    at: Option<Instant>,
    /// Attempts that have failed; not counted on a pair that may be tried for ever.
    failed: Option<u32>,
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
    pub(crate) fn arm(&mut self, now: Instant, local: IpAddr, remote: SocketAddr, most: Option<u32>) {
        self.arm_with(now, Duration::ZERO, (local, remote), most);
    }

    /// The same, but not before `least` has passed, nor then a later attempt.
    pub(crate) fn arm_with(
        &mut self,
        now: Instant,
        least: Duration,
        (local, remote): (IpAddr, SocketAddr),
        most: Option<u32>,
    ) {
        let known = match self.find(local, remote) {
            Some(known) => {
                known.wait = (known.wait * 2).min(LONGEST);
                known
            }
            None => {
                let failed = most.map(|_| 0);
                self.lost.push_back_mut(Lost { local, remote, wait: FIRST, at: None, failed })
            }
        };
        known.wait = known.wait.max(least.min(LONGEST));
        known.at = Some(now + known.wait);
        if let (Some(failed), Some(most)) = (&mut known.failed, most) {
            *failed += 1;
            if *failed >= most {
                tracing::debug!(%local, %remote, failed, "given up");
                known.at = None;
            }
        }
    }

    /// Arms another attempt without a wait, for a pair that is known to work.
    pub(crate) fn arm_at_once(&mut self, now: Instant, local: IpAddr, remote: SocketAddr) {
        self.forget(local, remote);
        self.lost.push_back(Lost { local, remote, wait: FIRST, at: Some(now), failed: None });
    }

    /// A pair that was due cannot be tried now: later, and it counts as no attempt.
    pub(crate) fn postpone(&mut self, now: Instant, local: IpAddr, remote: SocketAddr) {
        self.arm(now, local, remote, None);
    }

    /// Tries pairs again at once, those that were given up too, and with as many attempts as at first: there is news of
    /// the remote addresses that `which` chooses, or of our own.
    pub(crate) fn revive(&mut self, which: impl Fn(SocketAddr) -> bool) {
        for known in self.lost.iter_mut().filter(|known| which(known.remote)) {
            known.wait = FIRST;
            known.at = Some(Instant::ZERO);
            known.failed = known.failed.map(|_| 0);
        }
    }

    /// Forgets a pair: it works again, or must not be used any more.
    pub(crate) fn forget(&mut self, local: IpAddr, remote: SocketAddr) {
        self.lost.retain(|known| (known.local, known.remote) != (local, remote));
    }

    /// Forgets every pair with this local address.
    pub(crate) fn forget_local(&mut self, local: IpAddr) {
        self.lost.retain(|known| known.local != local);
    }

    /// Forgets every pair with this remote address, whatever the port.
    pub(crate) fn forget_remote(&mut self, remote: IpAddr) {
        self.lost.retain(|known| known.remote.ip() != remote);
    }

    /// Forgets every pair with this remote address and port.
    pub(crate) fn forget_destination(&mut self, remote: SocketAddr) {
        self.lost.retain(|known| known.remote != remote);
    }

    /// Forgets the pairs that were given up and whose remote address `known` does not know any more.
    pub(crate) fn forget_given_up(&mut self, known: impl Fn(SocketAddr) -> bool) {
        self.lost.retain(|lost| lost.at.is_some() || known(lost.remote));
    }

    /// The pairs whose time has come. Each stays until it is armed again or forgotten, but is
    /// not due again before then.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(IpAddr, SocketAddr)> {
        let mut due = Vec::new();
        for known in self.lost.iter_mut().filter(|known| known.at.is_some_and(|at| at <= now)) {
            due.push((known.local, known.remote));
            known.at = Some(now + LONGEST * 4);
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lost.iter().filter_map(|known| known.at).min()
    }

    fn find(&mut self, local: IpAddr, remote: SocketAddr) -> Option<&mut Lost> {
        self.lost.iter_mut().find(|known| (known.local, known.remote) == (local, remote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let mut retries = Retries::default();
        let mut now = Instant::from_millis(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            retries.arm(now, local, remote, None);
            let at = retries.deadline().unwrap();
            waits.push(u64::try_from((at - now).as_millis()).unwrap());
            assert!(retries.take_due(now).is_empty());
            now = at;
            assert_eq!(retries.take_due(now), [(local, remote)]);
            assert!(retries.take_due(now).is_empty());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
        retries.arm_at_once(now, local, remote);
        assert_eq!(retries.take_due(now), [(local, remote)]);
        retries.forget(local, remote);
        assert_eq!(retries.deadline(), None);
    }
    #[test]
    fn a_pair_with_a_bound_is_given_up_until_there_is_news() {
        let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let mut retries = Retries::default();
        let mut now = Instant::from_millis(0);
        for _ in 0..2 {
            for _ in 0..2 {
                retries.arm(now, local, remote, Some(3));
                now = retries.deadline().unwrap();
                assert_eq!(retries.take_due(now), [(local, remote)]);
                retries.postpone(now, local, remote);
                now = retries.deadline().unwrap();
                assert_eq!(retries.take_due(now), [(local, remote)]);
            }
            retries.arm(now, local, remote, Some(3));
            assert_eq!(retries.deadline(), None);
            retries.forget_given_up(|known| known == remote);
            retries.revive(|known| known == remote);
            assert_eq!(retries.take_due(now), [(local, remote)]);
        }
        for _ in 0..10 {
            retries.arm_at_once(now, local, remote);
            retries.arm(now, local, remote, Some(1));
            assert!(retries.deadline().is_some(), "no bound on a pair that has worked");
        }
        retries.forget_destination(remote);
        retries.arm(now, local, remote, Some(1));
        retries.forget_given_up(|_| false);
        retries.revive(|_| true);
        assert_eq!(retries.deadline(), None);
    }
}
