//! Spare paths: whether they are needed.

use std::time::Duration;

use tcp_adapter::Instant;

/// How a connection stands with its spare paths. They count as long as the policy names any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spares {
    /// Another path works.
    #[default]
    Idle,
    /// No other path works: one spare path is to serve.
    Needed {
        /// There is one that does, or may.
        serving: bool,
    },
    /// Another path works again; if it still does then, the spare ones are closed.
    Leaving { at: Instant },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpareStep {
    Nothing,
    /// Look for a spare path; `anew` if none was needed before, so that those which have failed then count again.
    Open {
        anew: bool,
    },
    /// Close the spare paths.
    Close,
}

impl Spares {
    /// Takes what is known of the subflows: whether a regular one works, and whether a spare one does or is being opened.
    pub(crate) fn update(&mut self, now: Instant, works: bool, serving: bool, return_after: Duration) -> SpareStep {
        let before = *self;
        *self = match (before, works) {
            (Self::Needed { .. }, true) => Self::Leaving { at: now + return_after },
            (Self::Leaving { at }, true) if at > now => before,
            (_, true) => Self::Idle,
            (_, false) => Self::Needed { serving },
        };
        match (before, *self) {
            (Self::Leaving { .. }, Self::Idle) => SpareStep::Close,
            (Self::Idle, Self::Idle) if serving => SpareStep::Close,
            (Self::Needed { serving: true }, Self::Needed { serving: false }) => SpareStep::Open { anew: false },
            (Self::Idle | Self::Leaving { .. }, Self::Needed { serving: false }) => SpareStep::Open { anew: true },
            _ => SpareStep::Nothing,
        }
    }

    /// Whether a spare path should be opened.
    pub(crate) fn is_one_missing(&self) -> bool {
        matches!(self, Self::Needed { serving: false })
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Leaving { at } => Some(*at),
            Self::Idle | Self::Needed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_paths_come_at_once_and_go_when_another_has_worked_for_a_while() {
        let wait = Duration::from_secs(3);
        let at = |seconds: u64| Instant::from_millis(seconds * 1000);
        let mut spares = Spares::default();
        let mut update = |seconds, works, serving| spares.update(at(seconds), works, serving, wait);
        assert_eq!(update(0, true, false), SpareStep::Nothing);
        assert_eq!(update(1, false, false), SpareStep::Open { anew: true });
        assert_eq!(update(1, false, false), SpareStep::Nothing, "being looked for");
        assert_eq!(update(1, false, true), SpareStep::Nothing);
        assert_eq!(update(2, false, false), SpareStep::Open { anew: false }, "that one has failed too");
        assert_eq!(update(2, false, true), SpareStep::Nothing);
        assert_eq!(update(3, true, true), SpareStep::Nothing);
        assert_eq!(update(5, false, true), SpareStep::Nothing, "it flaps");
        assert_eq!(update(6, true, true), SpareStep::Nothing);
        assert_eq!(update(8, true, true), SpareStep::Nothing);
        assert_eq!(update(9, true, true), SpareStep::Close);
        assert_eq!(update(10, true, false), SpareStep::Nothing);
        assert_eq!(update(11, true, true), SpareStep::Close, "opened by hand, or from the start");
    }
}
