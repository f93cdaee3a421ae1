//! Making lost subflows again, with back-off.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_adapter::Instant;

/// First wait after a loss.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait between attempts: a path that comes back is in use again within that time.
const LONGEST: Duration = Duration::from_secs(8);

/// A pair of addresses that a subflow was lost on.
#[derive(Clone, Copy, Debug)]
struct Lost {
    local: IpAddr,
    remote: SocketAddr,
    wait: Duration,
    at: Instant,
}

/// The pairs of one connection that wait for another attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retries {
    lost: Vec<Lost>,
}

impl Retries {
    /// Arms another attempt on a pair, twice as late as the one before.
    pub(crate) fn arm(&mut self, now: Instant, local: IpAddr, remote: SocketAddr) {
        if let Some(known) = self.find(local, remote) {
            known.wait = (known.wait * 2).min(LONGEST);
            known.at = now + known.wait;
            return;
        }
        self.lost.push(Lost { local, remote, wait: FIRST, at: now + FIRST });
    }

    /// Arms another attempt without a wait, for a pair that is known to work.
    pub(crate) fn arm_at_once(&mut self, now: Instant, local: IpAddr, remote: SocketAddr) {
        self.forget(local, remote);
        self.lost.push(Lost { local, remote, wait: FIRST, at: now });
    }

    /// Forgets a pair: it works again, or must not be used any more.
    pub(crate) fn forget(&mut self, local: IpAddr, remote: SocketAddr) {
        self.lost.retain(|known| (known.local, known.remote) != (local, remote));
    }

    /// Forgets every pair with this local address.
    pub(crate) fn forget_local(&mut self, local: IpAddr) {
        self.lost.retain(|known| known.local != local);
    }

    /// Forgets every pair with this remote address.
    pub(crate) fn forget_remote(&mut self, remote: IpAddr) {
        self.lost.retain(|known| known.remote.ip() != remote);
    }

    /// The pairs whose time has come. Each stays until it is armed again or forgotten, but is
    /// not due again before then.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(IpAddr, SocketAddr)> {
        let mut due = Vec::new();
        for known in self.lost.iter_mut().filter(|known| known.at <= now) {
            due.push((known.local, known.remote));
            known.at = now + LONGEST * 4;
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lost.iter().map(|known| known.at).min()
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
            retries.arm(now, local, remote);
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
}
