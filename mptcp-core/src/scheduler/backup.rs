//! One subflow at a time.

use super::{DataView, Decision, Scheduler, SubflowView, burst_len, has_room};

/// Sends on the first regular subflow that works, and on the next only when it fails; on a backup when no regular one works. Returns to the
/// first when it works again, as an active-backup bond does with its primary.
///
/// What a failed subflow holds is sent again on the one that takes its place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backup;

impl Scheduler for Backup {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let index = subflows.iter().position(|subflow| !subflow.backup).unwrap_or(0);
        let chosen = subflows.get(index).filter(|subflow| has_room(subflow, data))?;
        Some(Decision { subflow: index, len: burst_len(chosen, data), skip: 0 })
    }

    fn helps_out(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    #[test]
    fn another_one_is_used_only_once_those_before_it_are_gone() {
        let chosen = |subflows: &[SubflowView]| Backup.pick(subflows, &data(50_000)).map(|decision| decision.subflow);
        let backup = SubflowView { backup: true, ..view(0, 9000, 1) };
        assert_eq!(chosen(&[backup, view(1, 9000, 20), view(2, 9000, 5)]), Some(1));
        assert_eq!(chosen(&[backup, view(1, 0, 20), view(2, 9000, 5)]), None, "full is not failed");
        assert_eq!(chosen(&[backup, view(2, 9000, 5)]), Some(1));
        assert_eq!(chosen(&[backup]), Some(0));
        assert_eq!(chosen(&[SubflowView { backup: true, ..view(3, 9000, 1) }, backup]), Some(0));
    }
}
