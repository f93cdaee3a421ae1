//! Subflows in turn, each for as many bursts as its weight.

use super::{DataView, Decision, Scheduler, SubflowView, backups_allowed, burst_len, has_room};
use crate::event::SubflowId;

/// Weighted round-robin: a subflow of weight `w` gets `w` bursts per round.
///
/// One without room loses its turn, so the rule shares evenly only while all paths keep up.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    turn: Option<Turn>,
}

/// Whose turn it is, and how many bursts are left of it.
#[derive(Clone, Copy, Debug)]
struct Turn {
    subflow: SubflowId,
    left: u32,
}

impl Scheduler for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let backups = backups_allowed(subflows);
        let usable = |subflow: &SubflowView| (backups || !subflow.backup) && has_room(subflow, data);

        let current = self.turn.filter(|turn| turn.left > 0);
        let again = current.and_then(|turn| {
            subflows.iter().position(|subflow| subflow.id == turn.subflow && usable(subflow)).zip(Some(turn.left))
        });
        let (index, left) = match again {
            Some(found) => found,
            None => {
                let last = self.turn.map(|turn| turn.subflow);
                let after = subflows.iter().position(|subflow| Some(subflow.id) > last).unwrap_or(0);
                let (before, behind) = subflows.split_at(after);
                let next = behind.iter().chain(before).find(|subflow| usable(subflow))?;
                let index = subflows.iter().position(|subflow| subflow.id == next.id)?;
                (index, next.weight.max(1))
            }
        };
        self.turn = Some(Turn { subflow: subflows[index].id, left: left - 1 });
        Some(Decision { subflow: index, len: burst_len(&subflows[index], data), skip: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    fn turns(scheduler: &mut RoundRobin, subflows: &[SubflowView], count: usize) -> Vec<Option<usize>> {
        (0..count).map(|_| scheduler.pick(subflows, &data(50_000)).map(|decision| decision.subflow)).collect()
    }

    #[test]
    fn takes_turns_by_weight() {
        let heavy = SubflowView { weight: 2, ..view(1, 9000, 1) };
        let order = turns(&mut RoundRobin::default(), &[view(0, 9000, 1), heavy, view(2, 9000, 9)], 8);
        assert_eq!(order, [0, 1, 1, 2, 0, 1, 1, 2].map(Some));
    }

    #[test]
    fn skips_what_has_no_room_and_what_went_away() {
        let mut scheduler = RoundRobin::default();
        assert_eq!(turns(&mut scheduler, &[view(0, 9000, 1), view(1, 0, 1), view(2, 9000, 1)], 3), [0, 2, 0].map(Some));
        assert_eq!(turns(&mut scheduler, &[view(2, 9000, 1)], 2), [0, 0].map(Some));
        assert_eq!(turns(&mut scheduler, &[view(2, 0, 1)], 1), [None]);
    }
}
