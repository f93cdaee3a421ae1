//! The rule of the Linux kernel.

use super::per_subflow::PerSubflow;
use super::{DataView, Decision, Scheduler, SubflowView, backups_allowed, has_room, whole_segments};

/// What the kernel's default scheduler does (`mptcp_subflow_get_send` of net/mptcp/protocol.c, 5.15 to 6.12).
///
/// Of the subflows the one is chosen that would have sent first what is queued on it: queued bytes, in flight or not, divided by a pacing rate
/// that is averaged over what the subflow was given. It gets a burst of nearly 64 KiB. A backup is used only while there is no regular one.
///
/// The kernel queues on a subflow as much as its send buffer takes. Here nothing is bound to a subflow that could not leave soon, so one without room
/// is passed over.
#[derive(Clone, Debug, Default)]
pub struct Linux {
    /// Averaged pacing rates, in bytes per second.
    paces: PerSubflow<f64>,
}

/// Bytes of a burst: 64 KiB less the longest headers, as the kernel's `MPTCP_SEND_BURST_SIZE`.
const BURST: usize = (1 << 16) - 20 - 40 - 40 - 8;

impl Scheduler for Linux {
    fn name(&self) -> &'static str {
        "linux"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let backups = backups_allowed(subflows);
        let usable = |subflow: &SubflowView| (backups || !subflow.backup) && has_room(subflow, data);
        let with_room = subflows.iter().enumerate().filter(|(_, subflow)| usable(subflow));
        let lingers = with_room.map(|(index, subflow)| (index, self.linger(subflow)));
        let (index, _) = lingers.min_by(|one, two| one.1.total_cmp(&two.1))?;
        let chosen = &subflows[index];
        if let Some(rate) = chosen.rate() {
            let (queued, burst) = (chosen.outstanding() as f64, data.window.min(BURST as u64).max(1) as f64);
            let pace = self.paces.get_or_insert_with(chosen.id, || rate);
            *pace = (*pace * queued + rate * burst) / (queued + burst);
        }
        Some(Decision { subflow: index, len: whole_segments(chosen, data, BURST), skip: 0 })
    }
}

impl Linux {
    /// Seconds until the subflow has sent what is queued on it; none if nothing is known of it: it is tried once, and known after that.
    fn linger(&self, subflow: &SubflowView) -> f64 {
        let pace = self.paces.get(subflow.id).copied().or(subflow.rate());
        pace.map_or(0.0, |pace| subflow.outstanding() as f64 / pace.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    fn paced(id: u32, pacing_rate: u64, queued: u64) -> SubflowView {
        SubflowView { pacing_rate: Some(pacing_rate), queued, ..view(id, 200_000, 10) }
    }

    fn chosen(scheduler: &mut Linux, subflows: &[SubflowView]) -> Option<usize> {
        scheduler.pick(subflows, &data(1 << 20)).map(|decision| decision.subflow)
    }

    #[test]
    fn the_one_that_has_sent_its_queue_first_is_next() {
        // 60,000 bytes at 10 MB/s linger for 6 ms, 10,000 bytes at 1 MB/s for 10 ms.
        assert_eq!(
            chosen(&mut Linux::default(), &[paced(0, 1_000_000, 10_000), paced(1, 10_000_000, 60_000)]),
            Some(1)
        );
        assert_eq!(chosen(&mut Linux::default(), &[paced(0, 1_000_000, 5_000), paced(1, 10_000_000, 60_000)]), Some(0));
        let full = SubflowView { room: 0, ..paced(1, 10_000_000, 0) };
        assert_eq!(chosen(&mut Linux::default(), &[paced(0, 1_000_000, 5_000), full]), Some(0));
    }

    #[test]
    fn bursts_are_nearly_64_kib_of_whole_segments() {
        let len = |subflow: SubflowView| Linux::default().pick(&[subflow], &data(1 << 20)).unwrap().len;
        assert_eq!(BURST, 65_428);
        assert_eq!(len(paced(0, 1, 0)), 65_000);
        assert_eq!(len(SubflowView { room: 2_500, ..paced(0, 1, 0) }), 2_000);
    }

    #[test]
    fn the_pacing_rate_is_averaged_over_what_was_given() {
        let mut linux = Linux::default();
        chosen(&mut linux, &[paced(0, 1_000_000, 0)]);
        // As much is queued as a burst is long, so old and new rate count the same.
        chosen(&mut linux, &[paced(0, 3_000_000, BURST as u64)]);
        assert_eq!(linux.paces.get(crate::SubflowId(0)), Some(&2_000_000.0));
        // 20,000 bytes linger for 10 ms by the averaged rate, for 6.7 ms by the one of now.
        assert_eq!(chosen(&mut linux, &[paced(0, 3_000_000, 20_000), paced(1, 1_000_000, 8_000)]), Some(1));
    }
}
