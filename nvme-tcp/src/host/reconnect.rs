//! When to connect again.

use std::time::Duration;

/// How a host goes about a controller that it has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// How long to wait before the first attempt. Each further one waits twice as long as the one before.
    pub first_delay: Duration,
    /// How long to wait at most.
    pub max_delay: Duration,
    /// Controller-loss timeout: when to give up, after the loss. None for never.
    pub loss_timeout: Option<Duration>,
    /// When commands that wait are to fail, after the loss, though connecting goes on. None for not before it is given up.
    pub fast_fail: Option<Duration>,
}

impl Default for ReconnectPolicy {
    /// From a quarter of a second to ten, for ten minutes.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(10),
            loss_timeout: Some(Duration::from_secs(600)),
            fast_fail: None,
        }
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectAction {
    /// Connect now; tell the outcome with [`Reconnector::connected`] or [`Reconnector::failed`].
    Connect,
    /// Let commands fail that wait for the controller, but go on.
    FailCommands,
    /// Give the controller up.
    GiveUp,
}

/// Decides when to connect to a controller again.
///
/// Delays vary by a quarter, so that hosts which lost the same controller do not return at the same moment.
#[derive(Clone, Debug)]
pub struct Reconnector {
    policy: ReconnectPolicy,
    state: State,
    random: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Connected {
        since: Duration,
        /// Attempts that it took.
        attempts: u32,
    },
    Lost {
        at: Duration,
        attempts: u32,
        /// None while an attempt is under way.
        next: Option<Duration>,
        commands_failed: bool,
    },
    GivenUp,
}

impl Reconnector {
    /// For a controller that was connected at `now`. The seed makes hosts differ.
    pub fn new(policy: ReconnectPolicy, seed: u64, now: Duration) -> Self {
        Self { policy, state: State::Connected { since: now, attempts: 0 }, random: seed }
    }

    /// The controller was lost. One that never stays for longer than the longest delay is waited for ever longer.
    pub fn lost(&mut self, now: Duration) {
        if let State::Connected { since, attempts } = self.state {
            let attempts = if now.saturating_sub(since) > self.policy.max_delay { 0 } else { attempts };
            let next = Some(now.saturating_add(self.delay(attempts)));
            self.state = State::Lost { at: now, attempts, next, commands_failed: false };
        }
    }

    /// An attempt has failed; `is_final` if another would, since the controller said so.
    pub fn failed(&mut self, is_final: bool, now: Duration) {
        let delay = match self.state {
            State::Lost { attempts, .. } => self.delay(attempts + 1),
            _ => return,
        };
        if is_final {
            self.state = State::GivenUp;
        } else if let State::Lost { attempts, next, .. } = &mut self.state {
            *attempts += 1;
            *next = Some(now.saturating_add(delay));
        }
    }

    /// An attempt has succeeded.
    pub fn connected(&mut self, now: Duration) {
        if let State::Lost { attempts, .. } = self.state {
            self.state = State::Connected { since: now, attempts: attempts + 1 };
        }
    }

    /// How many attempts have failed since the controller was lost; None if it is connected or given up.
    pub fn attempts(&self) -> Option<u32> {
        match self.state {
            State::Lost { attempts, .. } => Some(attempts),
            _ => None,
        }
    }

    /// Whether the controller is given up.
    pub fn is_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let State::Lost { at, next, commands_failed, .. } = self.state else { return None };
        let fail = self.policy.fast_fail.filter(|_| !commands_failed).map(|after| at.saturating_add(after));
        let give_up = self.policy.loss_timeout.map(|after| at.saturating_add(after));
        [fail, next, give_up].into_iter().flatten().min()
    }

    /// What is due at `now`. Call it until it returns None.
    pub fn handle_timeout(&mut self, now: Duration) -> Option<ReconnectAction> {
        let State::Lost { at, next, commands_failed, .. } = &mut self.state else { return None };
        if self.policy.loss_timeout.is_some_and(|after| now >= at.saturating_add(after)) {
            self.state = State::GivenUp;
            return Some(ReconnectAction::GiveUp);
        }
        if !*commands_failed && self.policy.fast_fail.is_some_and(|after| now >= at.saturating_add(after)) {
            *commands_failed = true;
            return Some(ReconnectAction::FailCommands);
        }
        next.take_if(|next| now >= *next).map(|_| ReconnectAction::Connect)
    }

    fn delay(&mut self, attempts: u32) -> Duration {
        let ReconnectPolicy { first_delay, max_delay, .. } = self.policy;
        let delay = first_delay.saturating_mul(1u32.checked_shl(attempts).unwrap_or(u32::MAX)).min(max_delay);
        // SplitMix64: chance of the caller's choosing, and enough of it for this.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = ((mixed ^ (mixed >> 31)) >> 40) as f64 / (1u64 << 24) as f64;
        (delay - delay / 4).saturating_add((delay / 2).mul_f64(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn policy() -> ReconnectPolicy {
        ReconnectPolicy {
            first_delay: secs(1),
            max_delay: secs(8),
            loss_timeout: Some(secs(60)),
            fast_fail: Some(secs(5)),
        }
    }

    #[test]
    fn ever_longer_and_then_no_more() {
        for seed in 0..100 {
            let mut reconnector = Reconnector::new(policy(), seed, secs(0));
            assert_eq!(reconnector.poll_timeout(), None);
            reconnector.lost(secs(1000));
            let (mut now, mut delays, mut failed_at) = (secs(1000), Vec::new(), None);
            let given_up = loop {
                let due = reconnector.poll_timeout().unwrap();
                match reconnector.handle_timeout(due) {
                    Some(ReconnectAction::Connect) => {
                        delays.push((due - now).as_secs_f64());
                        now = due;
                        reconnector.failed(false, now);
                    }
                    Some(ReconnectAction::FailCommands) => failed_at = Some(due),
                    Some(ReconnectAction::GiveUp) => break due,
                    None => panic!("nothing is due at {due:?}"),
                }
            };
            assert_eq!((failed_at, given_up), (Some(secs(1005)), secs(1060)));
            assert_eq!(reconnector.poll_timeout(), None);
            assert!(reconnector.is_given_up());
            for (delay, middle) in delays.iter().zip([1.0, 2.0, 4.0, 8.0, 8.0, 8.0]) {
                assert!((0.75 * middle..=1.25 * middle).contains(delay), "{delays:?}");
            }
            assert!(delays.len() >= 6, "{delays:?}");
        }
    }

    #[test]
    fn success_and_refusal() {
        let mut reconnector = Reconnector::new(policy(), 1, secs(0));
        reconnector.lost(secs(100));
        assert_eq!(reconnector.handle_timeout(secs(100)), None);
        assert_eq!(reconnector.handle_timeout(secs(102)), Some(ReconnectAction::Connect));
        assert_eq!(reconnector.handle_timeout(secs(102)), None, "one attempt at a time");
        reconnector.connected(secs(103));
        assert_eq!((reconnector.attempts(), reconnector.poll_timeout()), (None, None));

        // Lost again at once: the next attempt does not come as soon. Later it does.
        reconnector.lost(secs(104));
        assert_eq!(reconnector.attempts(), Some(1));
        assert!(reconnector.poll_timeout() >= Some(Duration::from_millis(105_500)));
        assert_eq!(reconnector.handle_timeout(secs(108)), Some(ReconnectAction::Connect));
        reconnector.connected(secs(108));
        reconnector.lost(secs(200));
        assert_eq!(reconnector.attempts(), Some(0));

        reconnector.handle_timeout(secs(202));
        reconnector.failed(true, secs(202));
        assert!(reconnector.is_given_up());
    }

    #[test]
    fn patience_without_end() {
        let endless = Some(Duration::MAX);
        let policy =
            ReconnectPolicy { max_delay: Duration::MAX, loss_timeout: endless, fast_fail: endless, ..policy() };
        let mut reconnector = Reconnector::new(policy, 1, secs(10));
        reconnector.lost(secs(20));
        for _ in 0..100 {
            reconnector.failed(false, secs(30));
            assert!(reconnector.handle_timeout(secs(29)).is_none());
        }

        let policy = ReconnectPolicy { loss_timeout: None, fast_fail: None, ..self::policy() };
        let mut reconnector = Reconnector::new(policy, 1, secs(0));
        reconnector.lost(secs(0));
        for _ in 0..1000 {
            let due = reconnector.poll_timeout().unwrap();
            assert_eq!(reconnector.handle_timeout(due), Some(ReconnectAction::Connect));
            reconnector.failed(false, due);
        }
        assert_eq!(reconnector.attempts(), Some(1000));
    }
}
