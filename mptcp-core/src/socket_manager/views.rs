//! What the scheduler is shown of the subflows: what each of them may be given now.

use std::time::Duration;

use smallvec::SmallVec;
use tcp_adapter::SendLimits;

use super::connection::Connection;
use super::policy::{paced, send_room};
use super::shared::Cx;
use super::subflow::Subflow;
use crate::event::SubflowId;
use crate::scheduler::SubflowView;
use crate::wire::room::{self, Width};

/// As many subflows are looked at without an allocation.
const FEW_SUBFLOWS: usize = 4;

/// Where there is a choice, a subflow is given so much beyond its congestion window: two segments or what leaves in this time.
/// More would be bound to it although another one might come to be the better; less would make it wait for the next look.
const SLACK: Duration = Duration::from_millis(1);

/// A mapping of so many segments or more is declared once.
const LONG_MAPPING: u64 = 2;

/// So many bytes in one mapping are always enough.
const WORTH_A_MAPPING: u64 = 12 << 10;

/// What several subflows are shown as.
pub(crate) type Views = SmallVec<[SubflowView; FEW_SUBFLOWS]>;

impl Connection {
    /// Whether anything that [`look`](Self::look) finds would have room; without it, as there are acknowledgements that make none.
    pub(crate) fn has_room(&self, cx: &Cx<'_>) -> bool {
        let choice = self.has_choice();
        let room = |subflow: &Subflow| {
            let room = send_room(subflow, cx);
            if room == 0 || !self.waits_for_worth(cx) {
                return room;
            }
            let Some(limits) = cx.tcp.send_limits(subflow.tcp) else { return 0 };
            let (mss, mapping_cost) = self.segment_shape(subflow, &limits, choice, cx);
            let limits = SendLimits { mss, ..limits };
            let room = if choice { room.min(window_room(&limits)) } else { room };
            if is_worth_a_mapping(&limits, mapping_cost, room, self.sender.queue.unsent()) { room } else { 0 }
        };
        let found = self.subflows.iter().filter(|subflow| subflow.usable()).any(|subflow| room(subflow) > 0);
        debug_assert!(found || self.look_finds_no_room(cx), "{} would wait for ever", self.id);
        found
    }

    fn look_finds_no_room(&self, cx: &Cx<'_>) -> bool {
        let mut views = Views::new();
        self.look(&mut views, cx);
        views.iter().all(|view| view.room == 0)
    }

    /// Whether there are several subflows to choose from.
    fn has_choice(&self) -> bool {
        self.subflows.iter().filter(|subflow| subflow.usable()).nth(1).is_some()
    }

    /// Whether a subflow is given nothing until there is room for so much that it is worth a mapping. Where a policy says how much may
    /// leave, that is little at a time; and what must go again goes at once.
    pub(crate) fn waits_for_worth(&self, cx: &Cx<'_>) -> bool {
        cx.shared.policy.generation() == 0 && self.sender.reinject.is_empty()
    }

    /// Finds what the scheduler may choose from, for `views`, which is empty. It is too large to be returned, as often as this is done.
    pub(crate) fn look(&self, views: &mut Views, cx: &Cx<'_>) {
        let choice = self.has_choice();
        for subflow in self.subflows.iter().filter(|subflow| subflow.usable()) {
            if let Some(view) = self.view(subflow, choice, cx) {
                views.push(view);
            }
        }
        if cx.shared.policy.generation() != 0 {
            self.leave_out_held_back(views, cx);
        }
        let (choice, waits, waiting) = (views.len() > 1, self.waits_for_worth(cx), self.sender.queue.unsent());
        for view in views.iter_mut().filter(|view| view.room > 0) {
            let limits = view.limits();
            // One that is alone may have company soon if it has just begun; later, longer chunks are worth more.
            if choice || view.slow_start {
                view.room = view.room.min(window_room(&limits));
            }
            if waits && !is_worth_a_mapping(&limits, view.mapping_cost, view.room, waiting) {
                view.room = 0;
            }
        }
    }

    #[inline]
    fn view(&self, subflow: &Subflow, choice: bool, cx: &Cx<'_>) -> Option<SubflowView> {
        // Asked first, and the state is borrowed: so each field is copied once, into the view.
        let room = send_room(subflow, cx);
        let state = cx.tcp.send_state(subflow.tcp);
        let state = state.as_ref()?;
        let pacing_rate = paced(subflow, state.pacing_rate, cx);
        let limits = SendLimits { pacing_rate, ..SendLimits::from(state) };
        let (mss, mapping_cost) = self.segment_shape(subflow, &limits, choice, cx);
        Some(SubflowView {
            id: subflow.id,
            room,
            mss,
            mapping_cost,
            backup: subflow.backup || subflow.backup_by_peer,
            weight: subflow.weight,
            srtt: state.srtt,
            rttvar: state.rttvar,
            latest_rtt: state.latest_rtt,
            min_rtt: state.min_rtt,
            cwnd: state.cwnd,
            ssthresh: state.ssthresh,
            slow_start: state.slow_start,
            in_flight: state.in_flight,
            queued: state.queued,
            delivery_rate: state.delivery_rate,
            delivery_rate_app_limited: state.delivery_rate_app_limited,
            pacing_rate,
            interface_queue: cx.shared.interface_queue(state.interface),
        })
    }

    /// Payload bytes of a full segment, and how many fewer the first one of a mapping carries.
    pub(crate) fn segment_shape(
        &self,
        subflow: &Subflow,
        limits: &SendLimits,
        choice: bool,
        cx: &Cx<'_>,
    ) -> (usize, usize) {
        let mss = limits.mss;
        let Some(state) = self.multipath().filter(|_| limits.mss_before_hook) else { return (mss, 0) };
        let whole = room::padded(room::dss_len(Some(Width::Long), Some((Width::Long, state.checksum))));
        // Until its data is acknowledged by a DATA_ACK, every segment has to have a mapping (RFC 8684 section 3.7).
        let once = subflow.confirmed && !state.maps_all && !state.checksum && !cx.shared.config.map_every_segment;
        // Of several, what gets little at a time is mapped by the segment anyway.
        let long = !choice || soon(limits) / 2 >= LONG_MAPPING * mss as u64;
        if !(once && long) {
            return (mss.saturating_sub(whole).max(1), 0);
        }
        // While the peer sends too, the last segment of a mapping tells what has arrived since the first.
        let said = subflow.lately.as_ref().and_then(|lately| lately.said.as_ref());
        let tells = said.is_some_and(|said| said.data_ack != self.receiver.ack_position());
        let end = if tells { room::padded(room::dss_len(Some(Width::Long), None)) } else { 0 };
        (mss, whole + end)
    }
}

/// Bytes that a subflow's congestion window has room for, and a [`SLACK`].
pub(crate) fn window_room(limits: &SendLimits) -> usize {
    let Some(cwnd) = limits.cwnd else { return usize::MAX };
    usize::try_from(cwnd.saturating_add(slack(limits)).saturating_sub(limits.outstanding)).unwrap_or(usize::MAX)
}

fn slack(limits: &SendLimits) -> u64 {
    soon(limits).max(2 * limits.mss as u64)
}

/// Bytes that leave within a [`SLACK`].
fn soon(limits: &SendLimits) -> u64 {
    limits.pacing_rate.unwrap_or(0) / (1_000_000 / SLACK.as_micros() as u64)
}

/// Whether a subflow has `room` for so much of what is `waiting` that it is worth what a mapping takes: each acknowledgement would make one of
/// its own otherwise. What is under way brings more, and is no shorter than half a [`SLACK`] lasts. Where a mapping takes nothing of the
/// first segment, a whole one is worth it, as schedulers give no less.
pub(crate) fn is_worth_a_mapping(limits: &SendLimits, mapping_cost: usize, room: usize, waiting: u64) -> bool {
    let worth = if mapping_cost == 0 { limits.mss as u64 } else { (slack(limits) / 2).min(WORTH_A_MAPPING) };
    limits.outstanding == 0 || room as u64 >= worth.min(waiting)
}

/// Takes what was given to a subflow off its room, so that one look at TCP serves many decisions.
pub(crate) fn shrink(views: &mut [SubflowView], id: SubflowId, sent: u64) {
    if let Some(view) = views.iter_mut().find(|view| view.id == id) {
        view.room = view.room.saturating_sub(usize::try_from(sent).unwrap_or(usize::MAX));
        view.queued += sent;
    }
}
