//! Which path a command takes.

use std::fmt;
use std::str::FromStr;

use super::PathId;
use crate::command::AnaState;

/// The policies of Linux' native multipath.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The nearest path, until it fails; the others are idle.
    #[default]
    Numa,
    /// One path after the other, in turn.
    RoundRobin,
    /// The path with the fewest commands outstanding.
    QueueDepth,
}

/// A name that no policy has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no multipath policy {0:?}; there are numa, round-robin and queue-depth")]
pub struct UnknownPolicy(String);

impl Policy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Numa, Self::RoundRobin, Self::QueueDepth];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numa => "numa",
            Self::RoundRobin => "round-robin",
            Self::QueueDepth => "queue-depth",
        })
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|policy| policy.to_string() == name).ok_or_else(|| UnknownPolicy(name.into()))
    }
}

/// A path to a namespace, as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: PathId,
    /// Optimized or not; other paths are no candidates.
    pub(super) state: AnaState,
    pub(super) distance: u32,
    pub(super) in_flight: u32,
}

impl Policy {
    /// The path to take: an optimized one if there is any. Candidates come in the order in which paths were added; `last` is the
    /// path that the namespace's last command took.
    pub(super) fn choose(
        self,
        candidates: impl Iterator<Item = Candidate> + Clone,
        last: Option<PathId>,
    ) -> Option<PathId> {
        let of = |state: AnaState| candidates.clone().filter(move |candidate| candidate.state == state);
        self.choose_among(of(AnaState::Optimized), last).or_else(|| self.choose_among(of(AnaState::NonOptimized), last))
    }

    fn choose_among(
        self,
        mut candidates: impl Iterator<Item = Candidate> + Clone,
        last: Option<PathId>,
    ) -> Option<PathId> {
        let found = match self {
            Self::Numa => candidates.min_by_key(|candidate| candidate.distance),
            Self::QueueDepth => candidates.min_by_key(|candidate| candidate.in_flight),
            Self::RoundRobin => {
                let next = candidates.clone().find(|candidate| last.is_some_and(|last| candidate.id > last));
                next.or_else(|| candidates.next())
            }
        };
        found.map(|candidate| candidate.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(u32, AnaState, u32, u32)]) -> Vec<Candidate> {
        list.iter()
            .map(|&(id, state, distance, in_flight)| Candidate { id: PathId(id), state, distance, in_flight })
            .collect()
    }

    #[test]
    fn names() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let error = "fastest".parse::<Policy>().unwrap_err();
        assert!(error.to_string().contains("queue-depth"));
    }

    #[test]
    fn choices() {
        use AnaState::{NonOptimized, Optimized};
        let mixed = [(1, NonOptimized, 0, 0), (2, Optimized, 20, 5), (3, Optimized, 10, 9), (4, Optimized, 10, 5)];
        let worse = [(1, NonOptimized, 7, 3), (5, NonOptimized, 9, 1)];
        for (policy, list, last, expected) in [
            (Policy::Numa, &mixed[..], None, Some(3)),
            (Policy::Numa, &worse[..], None, Some(1)),
            (Policy::QueueDepth, &mixed[..], None, Some(2)),
            (Policy::QueueDepth, &worse[..], None, Some(5)),
            (Policy::RoundRobin, &mixed[..], None, Some(2)),
            (Policy::RoundRobin, &mixed[..], Some(2), Some(3)),
            (Policy::RoundRobin, &mixed[..], Some(4), Some(2)),
            (Policy::RoundRobin, &worse[..], Some(1), Some(5)),
            (Policy::RoundRobin, &worse[..], Some(5), Some(1)),
            (Policy::RoundRobin, &worse[..1], Some(1), Some(1)),
            (Policy::QueueDepth, &[], None, None),
        ] {
            let chosen = policy.choose(candidates(list).into_iter(), last.map(PathId));
            assert_eq!(chosen, expected.map(PathId), "{policy} after {last:?}");
        }
    }
}
