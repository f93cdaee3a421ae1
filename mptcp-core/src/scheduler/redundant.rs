//! A copy of everything to every subflow.

use super::per_subflow::PerSubflow;
use super::{
    DataView, Decision, Duplicate, OutstandingView, Scheduler, Sent, SubflowView, backups_allowed, burst_len, has_room,
};

/// Sends everything on every subflow, so that each byte arrives as soon as the fastest of them delivers it (Frömmgen, Erbshäußer, Buchmann, Zimmermann, Wehrle: "ReMP
/// TCP: Low Latency Multipath TCP", ICC 2016).
///
/// Each subflow sends the stream in order, from a cursor of its own; what is acknowledged at the connection level is left out. New data goes to a subflow that has caught up
/// with all that was sent, the one with the lowest round-trip time if there are several. The connection is as fast as the fastest path, and its bytes
/// travel as often as there are paths: for traffic that is waited for, not for bulk.
#[derive(Clone, Debug, Default)]
pub struct Redundant {
    /// Each subflow has carried everything before its cursor, as far as it was not acknowledged.
    cursors: PerSubflow<u64>,
    una: u64,
}

impl Scheduler for Redundant {
    fn name(&self) -> &'static str {
        "redundant"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        self.una = data.una;
        let backups = backups_allowed(subflows);
        let usable = |subflow: &SubflowView| (backups || !subflow.backup) && has_room(subflow, data);
        let leads = |subflow: &SubflowView| data.reinjection || self.cursor(subflow) >= data.position;
        let leading = subflows.iter().enumerate().filter(|(_, subflow)| usable(subflow) && leads(subflow));
        let (index, chosen) = leading.min_by_key(|(_, subflow)| subflow.srtt)?;
        Some(Decision { subflow: index, len: burst_len(chosen, data), skip: 0 })
    }

    fn duplicates(&self) -> bool {
        true
    }

    fn duplicate(&mut self, subflows: &[SubflowView], outstanding: &OutstandingView<'_>) -> Option<Duplicate> {
        self.una = outstanding.range.start;
        let backups = backups_allowed(subflows);
        for (index, subflow) in subflows.iter().enumerate().filter(|(_, subflow)| backups || !subflow.backup) {
            let end = outstanding.range.end;
            let mut start = self.cursor(subflow);
            // Bytes may have come to it out of turn, to be sent again.
            while let Some(held) = outstanding.carried(subflow.id, start..end).filter(|held| held.start == start) {
                start = held.end;
            }
            *self.cursors.get_or_insert_with(subflow.id, || start) = start;
            let left = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
            if left > 0 && subflow.room > 0 && subflow.room >= subflow.mss.min(left) {
                return Some(Duplicate { subflow: index, range: start..end });
            }
        }
        None
    }

    fn on_sent(&mut self, sent: &Sent) {
        let una = self.una;
        let cursor = self.cursors.get_or_insert_with(sent.subflow, || una);
        if sent.range.start <= una.max(*cursor) {
            *cursor = (*cursor).max(sent.range.end);
        }
    }

    fn helps_out(&self) -> bool {
        // Every subflow comes to the first byte by itself.
        false
    }
}

impl Redundant {
    fn cursor(&self, subflow: &SubflowView) -> u64 {
        self.cursors.get(subflow.id).copied().unwrap_or(0).max(self.una)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use tcp_adapter::Instant;

    use super::super::tests::{data, outstanding, view};
    use super::*;
    use crate::SubflowId;

    fn sent(scheduler: &mut Redundant, subflow: u32, range: Range<u64>) {
        scheduler.on_sent(&Sent { now: Instant::ZERO, subflow: SubflowId(subflow), range, again: false });
    }

    #[test]
    fn every_subflow_gets_everything_in_order() {
        let mut scheduler = Redundant::default();
        let subflows = [view(0, 9000, 20), view(1, 9000, 5)];
        assert_eq!(
            scheduler.pick(&subflows, &data(5000)).map(|decision| decision.subflow),
            Some(1),
            "the fastest leads"
        );
        sent(&mut scheduler, 1, 0..5000);
        let nothing_held = |_: SubflowId, _: Range<u64>| None;
        let copy = scheduler.duplicate(&subflows, &outstanding(0..5000, 0, &nothing_held));
        assert_eq!(copy, Some(Duplicate { subflow: 0, range: 0..5000 }));
        sent(&mut scheduler, 0, 0..2000);
        let more = DataView { position: 5000, ..data(5000) };
        let full = [subflows[0], view(1, 0, 5)];
        assert_eq!(scheduler.pick(&full, &more), None, "one that lags behind gets copies, not new data");
        let copy = scheduler.duplicate(&full, &outstanding(0..5000, 5000, &nothing_held));
        assert_eq!(copy, Some(Duplicate { subflow: 0, range: 2000..5000 }));
        // What is acknowledged is left out.
        let copy = scheduler.duplicate(&full, &outstanding(4000..5000, 5000, &nothing_held));
        assert_eq!(copy, Some(Duplicate { subflow: 0, range: 4000..5000 }));
        assert_eq!(scheduler.duplicate(&subflows[1..], &outstanding(4000..5000, 5000, &nothing_held)), None);
    }

    #[test]
    fn what_a_subflow_carries_already_is_left_out() {
        let mut scheduler = Redundant::default();
        let holds = |id: SubflowId, range: Range<u64>| {
            (id == SubflowId(0) && range.start < 3000).then(|| range.start.max(1000)..3000.min(range.end))
        };
        let subflow = [view(0, 9000, 20)];
        let copy = scheduler.duplicate(&subflow, &outstanding(0..5000, 0, &holds));
        assert_eq!(copy.map(|copy| copy.range), Some(0..5000));
        sent(&mut scheduler, 0, 0..1000);
        let copy = scheduler.duplicate(&subflow, &outstanding(0..5000, 0, &holds));
        assert_eq!(copy.map(|copy| copy.range), Some(3000..5000));
        let small = [view(0, 900, 20)];
        assert_eq!(scheduler.duplicate(&small, &outstanding(0..5000, 0, &holds)), None, "no room for a segment");
    }
}
