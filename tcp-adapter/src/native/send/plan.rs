//! What to send next.

use super::flight::Fate;
use super::recovery::{Doubt, Repair};
use super::{Fin, Probing, Sender};
use crate::Instant;

/// Full segments of a tail that is repeated as a whole: fewer than duplicates make a loss certain of (RFC 5827 section 3).
const SHORT_TAIL: u64 = 3;

/// A segment that may leave, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum Plan {
    /// Bytes that have left before, of one chunk; `fin` if the FIN follows them.
    Again { start: u64, len: u64, fin: bool },
    /// New bytes of one chunk; none if only the FIN is to leave.
    New { start: u64, len: u64, fin: bool },
    /// New bytes of one chunk, as many as fit into a packet of `size` bytes, to learn whether the path carries it.
    Probe { start: u64, len: u64, size: u32 },
}

/// Why nothing may leave although there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    /// By the window of congestion control.
    Congestion,
    /// By the window of the peer, or a segment would be silly.
    Window,
}

/// Limits that do not come from the connection itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Limits {
    /// Payload bytes of a super-segment at most; that of a segment where the device does not cut them.
    pub(in crate::native) burst: u64,
    /// Hold back small segments (RFC 9293 section 3.7.4).
    pub(in crate::native) nagle: bool,
    pub(in crate::native) pacing: bool,
}

impl Plan {
    pub(in crate::native) fn start(&self) -> u64 {
        match *self {
            Self::Again { start, .. } | Self::New { start, .. } | Self::Probe { start, .. } => start,
        }
    }

    pub(in crate::native) fn len(&self) -> u64 {
        match *self {
            Self::Again { len, .. } | Self::New { len, .. } | Self::Probe { len, .. } => len,
        }
    }

    pub(in crate::native) fn fin(&self) -> bool {
        match *self {
            Self::Again { fin, .. } | Self::New { fin, .. } => fin,
            Self::Probe { .. } => false,
        }
    }

    pub(in crate::native) fn is_retransmission(&self) -> bool {
        matches!(self, Self::Again { .. })
    }
}

impl Sender {
    /// The next segment that may leave now.
    pub(in crate::native) fn plan(&mut self, now: Instant, limits: Limits) -> Option<Plan> {
        if let Some(probing) = self.probing {
            return self.plan_probe(probing, limits);
        }
        // As where data is only received.
        if self.queued() == 0 && !self.fin_due() {
            return None;
        }
        if limits.pacing && self.pacer.ready_at(now).is_some() {
            self.note_full_window(limits);
            return None;
        }
        let limits = if limits.pacing {
            let mss = u64::from(self.mss);
            Limits { burst: limits.burst.min(self.pacer.allowance(now, mss, limits.burst > mss)), ..limits }
        } else {
            limits
        };
        let allowance = self.allowance();
        if self.holds_back_lost() {
            // Only if something else leaves: a window without room, or Nagle, would leave nothing to learn from.
            let new = self.new_data(allowance, limits);
            if matches!(new, Ok(Some(_)) | Err(Blocked::Congestion)) {
                return self.note_limit(new);
            }
        }
        if let Some(lost) = self.flight.first_lost() {
            // The first segment of a recovery leaves whatever is in flight (RFC 6675 section 5, step 4.3).
            let first = self.evidence.resent == 0 || self.flight.in_flight() == 0;
            let room = if first { allowance.max(u64::from(self.mss)) } else { allowance };
            return self.again(lost.start, lost.end, room, limits);
        }
        let new = self.new_data(allowance, limits);
        self.note_limit(new)
    }

    /// What new data leaves; if it is congestion control that lets none leave, its window is in full use.
    fn note_limit(&mut self, new: Result<Option<Plan>, Blocked>) -> Option<Plan> {
        match new {
            Ok(plan) => plan,
            Err(Blocked::Congestion) => {
                self.limited_until = self.nxt.max(1);
                None
            }
            Err(Blocked::Window) => None,
        }
    }

    /// Between two bursts nothing leaves, but a window that the last one has filled is in full use: where the next acknowledgement is of all
    /// that is in flight, this is the only time at which it is.
    fn note_full_window(&mut self, limits: Limits) {
        if self.flight.first_lost().is_none() {
            let new = self.new_data(self.allowance(), limits);
            self.note_limit(new);
        }
    }

    /// When the pace lets the next segment leave, if nothing else holds it back: what waits for an acknowledgement as well needs no timer.
    pub(in crate::native) fn paced_until(&mut self, now: Instant) -> Option<Instant> {
        let at = self.pacer.ready_at(now)?;
        let something = self.flight.lost() > 0 || self.fin_due() || self.has_room_for_new_data();
        something.then_some(at)
    }

    fn has_room_for_new_data(&mut self) -> bool {
        let Some(chunk) = self.buffer.chunk(self.nxt) else { return false };
        let full = (chunk.end() - self.nxt).min(u64::from(self.mss));
        self.una + self.window > self.nxt && (self.allowance() >= full || self.flight.in_flight() == 0)
    }

    /// Bytes that congestion control lets leave.
    fn allowance(&self) -> u64 {
        if let Repair::Fast { prr: Some(prr), .. } = &self.repair {
            return prr.allowance();
        }
        (self.control.cwnd() + self.inflation()).saturating_sub(self.flight.in_flight())
    }

    /// Without SACK, duplicates tell that the segments sent to learn more after a timeout have left the path (RFC 5682 section 2.1
    /// step 3a: up to three segments), or what was really lost would wait for another timeout.
    fn inflation(&self) -> u64 {
        match self.repair {
            Repair::Timeout { until, doubt: Doubt::Settled } if !self.sack && self.nxt > until => {
                u64::from(self.duplicates.min(2)) * u64::from(self.mss)
            }
            _ => 0,
        }
    }

    /// While it is in doubt whether anything was lost, new data is sent instead (RFC 5682 section 2.1 step 2b).
    fn holds_back_lost(&self) -> bool {
        match self.repair {
            Repair::Timeout { doubt: Doubt::Probing { from }, .. } => {
                self.unsent() > 0 && self.nxt < from + 2 * u64::from(self.mss)
            }
            _ => false,
        }
    }

    fn again(&mut self, start: u64, end: u64, room: u64, limits: Limits) -> Option<Plan> {
        let mss = u64::from(self.mss);
        let data_end = end.min(self.buffer.end());
        let fin = end > self.buffer.end();
        let data = data_end.saturating_sub(start);
        if room < data.min(mss) {
            return None;
        }
        let fits = data.min(limits.burst.max(mss));
        let len = if fits <= room { fits } else { (room / mss).max(1) * mss }.min(data);
        Some(Plan::Again { start, len, fin: fin && len == data })
    }

    fn plan_probe(&mut self, probing: Probing, limits: Limits) -> Option<Plan> {
        // New data if there is any and the peer has room for it, whatever the congestion window (RFC 8985 section 7.3).
        let mss = u64::from(self.mss);
        if probing == Probing::NewOrTail
            && let Ok(Some(plan)) = self.new_data(mss, Limits { burst: mss, ..limits })
        {
            return Some(plan);
        }
        let probing = match probing {
            Probing::NewOrTail if self.is_tail_short() => Probing::Rest,
            other => other,
        };
        self.probing = Some(probing);
        let record = match probing {
            Probing::Rest => {
                let from = self.tail_probe.as_ref().map_or(self.una, |begun| begun.end.max(self.una));
                self.flight.from(from).filter(|record| record.fate == Fate::InFlight)
            }
            Probing::NewOrTail | Probing::Last => self.flight.last_segment(self.buffer.end()),
        };
        let plan = record.and_then(|record| self.again(record.start, record.end, mss, Limits { burst: mss, ..limits }));
        if plan.is_none() {
            self.probing = None;
        }
        plan
    }

    /// Whether a probe repeats all that is outstanding. A receiver that has any of it but its beginning would have said so: all of it
    /// is lost, or nothing is. Where the last segment alone were repeated, the others would be found a round trip later (RFC 8985 section 7.4.1).
    /// More than RFC 5827 lets leave early, or than the congestion window has room for, is not sent on such a suspicion; nor where round trips
    /// vary so much that the answer may only be late, as they do while a thin path fills.
    fn is_tail_short(&self) -> bool {
        let tail = self.nxt - self.una;
        tail <= SHORT_TAIL * u64::from(self.mss)
            && self.flight.in_flight() + tail <= self.control.cwnd()
            && self.flight.sacked() == 0
            && self.rtt.is_steady()
    }

    fn new_data(&mut self, allowance: u64, limits: Limits) -> Result<Option<Plan>, Blocked> {
        let start = self.nxt;
        let Some(chunk) = self.buffer.chunk(start) else {
            let due = self.fin_due().then_some(Plan::New { start, len: 0, fin: true });
            return Ok(due);
        };
        let mss = u64::from(self.mss);
        let wanted = chunk.end() - start;
        let window = (self.una + self.window).saturating_sub(start);
        let full = wanted.min(mss);
        if allowance < full && self.flight.in_flight() > 0 {
            return Err(Blocked::Congestion);
        }
        let usable = wanted.min(window);
        // Silly windows are not filled (RFC 9293 section 3.8.6.2.1): a segment is full, or all there is, or a good part of what the peer
        // has room for at all. A chunk ends its segment, so what is left of one counts as full.
        if usable < full && (usable == 0 || (usable * 2 < self.max_window && !self.silly)) {
            return Err(Blocked::Window);
        }
        if limits.nagle && usable < mss && !self.flight.is_empty() && self.fin != Fin::Queued {
            return Ok(None);
        }
        let most = usable.min(limits.burst.max(mss)).min(allowance.max(full));
        let len = if most < usable && most > mss { most / mss * mss } else { most };
        let fin = self.fin == Fin::Queued && start + len == self.buffer.end();
        Ok(Some(Plan::New { start, len, fin }))
    }

    /// Whether bytes wait for the peer's window alone: nothing is outstanding that would bring an acknowledgement.
    pub(in crate::native) fn waits_for_window(&mut self) -> bool {
        self.flight.is_empty() && self.unsent() > 0 && self.window < self.unsent().min(u64::from(self.mss))
    }

    /// Everything that could leave has left. If the window is not used up, the application was the limit.
    pub(in crate::native) fn came_to_rest(&mut self) {
        if self.unsent() == 0 && self.flight.lost() == 0 && self.flight.in_flight() < self.control.cwnd() {
            self.flight.delivery.set_app_limited(self.flight.in_flight());
        }
    }
}
