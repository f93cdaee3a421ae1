//! When Keep Alive is due.

use std::time::Duration;

/// The timer of an association.
///
/// Keep Alive is sent every half KATO, also while there is other traffic. Controllers with TBKAS would do with that, but what they count is the arrival of
/// commands: completions may go on to come for long after the last of those.
#[derive(Debug)]
pub(super) struct KeepAlive {
    timeout: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { due: Duration },
    Sent { deadline: Duration },
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Send,
    /// The controller is gone.
    Overdue,
}

impl KeepAlive {
    /// With this KATO; None if it is 0.
    pub(super) fn new(timeout: Duration, now: Duration) -> Option<Self> {
        let state = State::Waiting { due: now.saturating_add(timeout / 2) };
        (!timeout.is_zero()).then_some(Self { timeout, state })
    }

    pub(super) fn on_answer(&mut self, now: Duration) {
        self.state = State::Waiting { due: now.saturating_add(self.timeout / 2) };
    }

    pub(super) fn poll_timeout(&self) -> Duration {
        match self.state {
            State::Waiting { due } => due,
            State::Sent { deadline } => deadline,
        }
    }

    /// What to do at `now`; a Keep Alive that is due counts as sent.
    pub(super) fn handle_timeout(&mut self, now: Duration) -> Due {
        if now < self.poll_timeout() {
            return Due::Nothing;
        }
        match self.state {
            State::Waiting { .. } => {
                self.state = State::Sent { deadline: now.saturating_add(self.timeout) };
                Due::Send
            }
            State::Sent { .. } => Due::Overdue,
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_half_timeout() {
        assert!(KeepAlive::new(Duration::ZERO, ms(0)).is_none());
        let mut timer = KeepAlive::new(ms(5000), ms(0)).unwrap();
        assert_eq!(timer.handle_timeout(ms(2499)), Due::Nothing);
        assert_eq!(timer.handle_timeout(ms(2500)), Due::Send);
        assert!(timer.is_sent());
        timer.on_answer(ms(2600));
        assert_eq!(timer.poll_timeout(), ms(5100));
        assert_eq!(timer.handle_timeout(ms(5100)), Due::Send);
        assert_eq!(timer.handle_timeout(ms(10_099)), Due::Nothing);
        assert_eq!(timer.handle_timeout(ms(10_100)), Due::Overdue);
    }
}
