//! Schedulers by name.

use std::fmt;
use std::str::FromStr;

use super::{
    AdaptiveRedundant, Backup, Blest, CompletionTime, Ecf, Learning, Linux, LowestRtt, Otias, Peekaboo, QAware,
    Redundant, RoundRobin, Scheduler, Stms,
};

/// The schedulers that can be chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SchedulerKind {
    /// [`RoundRobin`].
    RoundRobin,
    /// [`LowestRtt`].
    LowestRtt,
    /// [`CompletionTime`].
    #[default]
    CompletionTime,
    /// [`Linux`].
    Linux,
    /// [`Blest`].
    Blest,
    /// [`Ecf`].
    Ecf,
    /// [`Stms`].
    Stms,
    /// [`Otias`].
    Otias,
    /// [`QAware`].
    QAware,
    /// [`Redundant`].
    Redundant,
    /// [`AdaptiveRedundant`].
    AdaptiveRedundant,
    /// [`Backup`].
    Backup,
    /// [`Peekaboo`].
    Peekaboo,
}

impl SchedulerKind {
    /// All of them, for listings.
    pub const ALL: [Self; 13] = [
        Self::RoundRobin,
        Self::LowestRtt,
        Self::CompletionTime,
        Self::Linux,
        Self::Blest,
        Self::Ecf,
        Self::Stms,
        Self::Otias,
        Self::QAware,
        Self::Redundant,
        Self::AdaptiveRedundant,
        Self::Backup,
        Self::Peekaboo,
    ];

    /// A new scheduler of this kind.
    pub fn build(self) -> Box<dyn Scheduler> {
        self.build_with(&Learning::default())
    }

    /// A new scheduler of this kind, which begins like this if it learns.
    pub fn build_with(self, learning: &Learning) -> Box<dyn Scheduler> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::LowestRtt => Box::new(LowestRtt),
            Self::CompletionTime => Box::new(CompletionTime),
            Self::Linux => Box::new(Linux::default()),
            Self::Blest => Box::new(Blest::default()),
            Self::Ecf => Box::new(Ecf::default()),
            Self::Stms => Box::new(Stms::default()),
            Self::Otias => Box::new(Otias),
            Self::QAware => Box::new(QAware),
            Self::Redundant => Box::new(Redundant::default()),
            Self::AdaptiveRedundant => Box::new(AdaptiveRedundant::default()),
            Self::Backup => Box::new(Backup),
            Self::Peekaboo => Box::new(Peekaboo::new(learning.clone())),
        }
    }

    /// Its name, as people type it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LowestRtt => "lowest-rtt",
            Self::CompletionTime => "completion-time",
            Self::Linux => "linux",
            Self::Blest => "blest",
            Self::Ecf => "ecf",
            Self::Stms => "stms",
            Self::Otias => "otias",
            Self::QAware => "qaware",
            Self::Redundant => "redundant",
            Self::AdaptiveRedundant => "adaptive-redundant",
            Self::Backup => "backup",
            Self::Peekaboo => "peekaboo",
        }
    }

    /// Its rule in a few words, for listings.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::RoundRobin => "subflows in turn, each for as many bursts as its weight",
            Self::LowestRtt => "the lowest round-trip time that has room",
            Self::CompletionTime => "every byte where it arrives in time with those before it",
            Self::Linux => "the kernel's rule: the least time to send what is queued, in bursts of 64 KiB",
            Self::Blest => "lowest-rtt that leaves out a slow path on which data would block the window",
            Self::Ecf => "lowest-rtt that waits for the fast path if that completes the data earlier",
            Self::Stms => "later bytes to slow paths, at a distance that acknowledgements adapt",
            Self::Otias => "out of order, so that bytes arrive in order, by half the round-trip time and the queue",
            Self::QAware => "lowest-rtt that counts what waits in the interface's transmit queue",
            Self::Redundant => "a copy of everything to every subflow",
            Self::AdaptiveRedundant => {
                "completion-time, and copies of tails and blocking heads, 5 % of the bytes at most"
            }
            Self::Backup => "one subflow at a time, the next only when it fails",
            Self::Peekaboo => "learns when waiting for the fast path pays; completion-time where it is not sure",
        }
    }
}

impl From<SchedulerKind> for Box<dyn Scheduler> {
    fn from(kind: SchedulerKind) -> Self {
        kind.build()
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SchedulerKind {
    type Err = UnknownScheduler;

    fn from_str(text: &str) -> Result<Self, UnknownScheduler> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownScheduler { text: text.to_owned() })
    }
}

/// A name that no scheduler has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scheduler '{text}': choose {}", names())]
pub struct UnknownScheduler {
    text: String,
}

/// The names of all, for a sentence.
fn names() -> String {
    let names = SchedulerKind::ALL.map(SchedulerKind::name);
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    #[test]
    fn names_round_trip_and_mistakes_name_the_choices() {
        for kind in SchedulerKind::ALL {
            assert_eq!(kind.to_string().parse::<SchedulerKind>(), Ok(kind));
            assert_eq!(kind.build().name(), kind.to_string());
            assert!(!kind.describe().is_empty());
        }
        let error = "fast".parse::<SchedulerKind>().unwrap_err().to_string();
        assert!(error.starts_with("there is no scheduler 'fast': choose "), "{error}");
        for kind in SchedulerKind::ALL {
            assert!(error.contains(kind.name()), "{error}");
        }
    }

    #[test]
    fn each_uses_what_has_room_and_keeps_backups_for_later() {
        for kind in SchedulerKind::ALL {
            let backup = super::super::SubflowView { backup: true, ..view(1, 9000, 1) };
            let pick = |subflows: &[_]| {
                let decision = kind.build().pick(subflows, &data(50_000))?;
                assert!(decision.len > 0, "{kind}");
                Some(decision.subflow)
            };
            assert_eq!(pick(&[view(0, 9000, 20), backup]), Some(0), "{kind}");
            assert_eq!(pick(&[view(0, 0, 20), backup]), None, "{kind}: a busy regular path is still a regular path");
            assert_eq!(pick(&[backup]), Some(0), "{kind}");
            assert_eq!(pick(&[view(0, 0, 20), view(1, 0, 5)]), None, "{kind}");
            assert_eq!(pick(&[view(3, 9000, 0)]), Some(0), "{kind}: an unknown path is tried");
        }
    }
}
