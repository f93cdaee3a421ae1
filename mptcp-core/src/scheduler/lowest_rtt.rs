//! The subflow with the lowest smoothed round-trip time that has room.

use std::time::Duration;

use super::{DataView, Decision, Scheduler, SubflowView, backups_allowed, burst_len, has_room};

/// Fills the subflow with the lowest smoothed round-trip time, then the next.
///
/// A subflow whose round-trip time is not known yet comes first: it is tried once, and known after that.
#[derive(Clone, Copy, Debug, Default)]
pub struct LowestRtt;

impl Scheduler for LowestRtt {
    fn name(&self) -> &'static str {
        "lowest-rtt"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let backups = backups_allowed(subflows);
        subflows
            .iter()
            .enumerate()
            .filter(|(_, subflow)| (backups || !subflow.backup) && has_room(subflow, data))
            .min_by_key(|(_, subflow)| subflow.srtt.unwrap_or(Duration::ZERO))
            .map(|(index, subflow)| Decision { subflow: index, len: burst_len(subflow, data), skip: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    fn chosen(subflows: &[SubflowView]) -> Option<usize> {
        LowestRtt.pick(subflows, &data(50_000)).map(|decision| decision.subflow)
    }

    #[test]
    fn prefers_the_fast_path_then_the_next_with_room() {
        assert_eq!(chosen(&[view(0, 9000, 20), view(1, 9000, 5)]), Some(1));
        assert_eq!(chosen(&[view(0, 9000, 20), view(1, 0, 5)]), Some(0));
        assert_eq!(chosen(&[view(0, 0, 20), view(1, 0, 5)]), None);
        assert_eq!(chosen(&[view(0, 9000, 20), view(1, 9000, 0)]), Some(1), "an unknown path is tried");
    }

    #[test]
    fn backups_wait_until_nothing_else_is_left() {
        let backup = SubflowView { backup: true, ..view(1, 9000, 1) };
        assert_eq!(chosen(&[view(0, 9000, 20), backup]), Some(0));
        assert_eq!(chosen(&[view(0, 0, 20), backup]), None, "a busy regular path is still a regular path");
        assert_eq!(chosen(&[backup]), Some(0));
    }
}
