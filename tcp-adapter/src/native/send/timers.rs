//! When to act although nothing arrives.

use std::time::Duration;

use super::recovery::{Doubt, Evidence, Repair};
use super::{NEVER, Probing, Sender};
use crate::Instant;
use crate::congestion::Cause;

/// How much longer a probe waits for the answer to a lone segment, which the receiver may delay (RFC 8985 section 7.2, `TLP.max_ack_delay`), in
/// nanoseconds: at first less than the delays of today's receivers, as a probe too early costs one segment, one too late the tail. Whoever turns out to delay
/// answers is waited for longer: as most do, and then as any may.
const DELAYED_ANSWERS: [u64; 3] = [5_000_000, 50_000_000, 200_000_000];

/// What a needless probe of a lone segment weighs, and above which weights the answers are waited for longer. Each lone segment that is answered in time takes
/// one off: one needless probe for so many segments is what an early repair may cost.
const NEEDLESS: u8 = 32;
const OFTEN_NEEDLESS: [u8; 2] = [NEEDLESS, 3 * NEEDLESS];

/// Shortest time before a tail loss probe: that of two interrupts (as Linux has it).
const MIN_PROBE_TIME: u64 = 2_000_000;

/// What has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum Expired {
    /// Nothing, or nothing that needs more than sending.
    Nothing,
    /// The closed window of the peer must be probed.
    ProbeWindow,
    /// Nothing has been acknowledged for too long.
    GivenUp,
}

impl Sender {
    /// The earliest deadline.
    pub(in crate::native) fn deadline(&self, user_timeout: Duration) -> Instant {
        let retries = self.rto_at.min(self.persist_at);
        let acts = retries.min(self.probe_at).min(self.reorder_at);
        if retries == NEVER { acts } else { acts.min(self.give_up_at(user_timeout)) }
    }

    /// When the peer is given up, unless something is acknowledged before (R2 of RFC 9293 section 3.8.3).
    ///
    /// Time alone tells nothing of the peer if this process stood still: it must have been tried again, and have had the time to answer that.
    fn give_up_at(&self, user_timeout: Duration) -> Instant {
        let tried = self.rtt.timeouts() > 0 || self.persists > 0;
        match self.stalled_since.filter(|_| tried) {
            Some(since) => (since + user_timeout).max(self.last_sent_at.plus_nanos(self.time_to_answer())),
            None => NEVER,
        }
    }

    /// Nanoseconds within which what has just been sent is answered, if at all.
    fn time_to_answer(&self) -> u64 {
        match self.rtt.srtt() {
            0 => self.rtt.rto(),
            srtt => 2 * srtt + DELAYED_ANSWERS[DELAYED_ANSWERS.len() - 1],
        }
    }

    /// Does what is due.
    pub(in crate::native) fn on_timeout(&mut self, now: Instant, user_timeout: Duration) -> Expired {
        if self.reorder_at <= now {
            self.reorder_at = NEVER;
            let in_flight = self.flight.in_flight();
            let found = self.detect_losses(now);
            let lost = self.excuse_mtu_probe(found);
            self.note_losses(now, lost, in_flight);
        }
        if self.probe_at <= now {
            self.probe_at = NEVER;
            self.probing = Some(Probing::NewOrTail);
            self.rto_at = now.plus_nanos(self.rtt.rto());
        }
        if self.rto_at.min(self.persist_at) != NEVER && self.give_up_at(user_timeout) <= now {
            return Expired::GivenUp;
        }
        if self.rto_at <= now {
            self.on_rto(now);
        }
        if self.persist_at <= now {
            self.stalled_since.get_or_insert(now);
            self.persists = self.persists.saturating_add(1);
            self.arm_persist(now);
            // The override timeout of RFC 9293 section 3.8.6.2.1: a little that fits is better than to wait for ever.
            self.silly = self.window > 0;
            return if self.silly { Expired::Nothing } else { Expired::ProbeWindow };
        }
        Expired::Nothing
    }

    /// The window of the peer is closed, with nothing outstanding: it is asked whether it has opened (RFC 9293 section 3.8.6.1).
    pub(in crate::native) fn watch_window(&mut self, now: Instant) {
        if !self.waits_for_window() {
            self.persist_at = NEVER;
        } else if self.persist_at == NEVER {
            self.arm_persist(now);
        }
    }

    /// The peer has answered a probe of its closed window: it lives (RFC 9293 section 3.8.6.1 forbids to give up on it), however
    /// long it takes until the next one.
    pub(in crate::native) fn window_probe_answered(&mut self) {
        if self.persist_at != NEVER {
            self.stalled_since = None;
        }
    }

    /// The peer acknowledges nothing new. If that is for want of a window it lives, and must not be given up (RFC 9293 section 3.8.6.1), though it drops what is
    /// outstanding. Once it has room, it need not wait for a timeout that has been backed off meanwhile.
    pub(in crate::native) fn peer_without_progress(&mut self, now: Instant, was_shut: bool) {
        if self.flight.is_empty() {
            return;
        }
        if self.window == 0 {
            self.stalled_since = Some(now);
            self.answered_timeouts = u16::try_from(self.rtt.timeouts()).unwrap_or(u16::MAX);
        } else if was_shut && self.rtt.timeouts() > 0 {
            self.rto_at = self.rto_at.min(now);
        }
    }

    fn arm_persist(&mut self, now: Instant) {
        let wait = self.rtt.rto().saturating_mul(1 << self.persists.min(8));
        self.persist_at = now.plus_nanos(wait.min(60_000_000_000));
    }

    /// RFC 6298 section 5.1 to 5.3.
    pub(super) fn arm_after_sending(&mut self, now: Instant) {
        if self.rto_at == NEVER {
            self.rto_at = now.plus_nanos(self.rtt.rto());
        }
        self.persist_at = NEVER;
    }

    pub(super) fn arm_after_ack(&mut self, now: Instant, advanced: bool, progress: bool) {
        if self.flight.is_empty() {
            (self.rto_at, self.probe_at, self.reorder_at) = (NEVER, NEVER, NEVER);
            self.probing = None;
            return;
        }
        if advanced || (progress && self.rtt.timeouts() == 0) {
            self.rto_at = now.plus_nanos(self.rtt.rto());
        }
        self.arm_probe(now);
    }

    /// A tail loss probe is due two round trips after the last segment left (RFC 8985 section 7.2), not after the last
    /// acknowledgement, which may be about older segments and tells nothing of the tail.
    ///
    /// Of all that leaves at a time, only the last counts: called after that, not for each.
    pub(in crate::native) fn arm_probe(&mut self, now: Instant) {
        if !self.may_probe_tail() {
            self.probe_at = NEVER;
            return;
        }
        let lone = self.flight.in_flight() <= u64::from(self.mss);
        let wait = (2 * self.rtt.srtt()).max(MIN_PROBE_TIME) + if lone { self.delayed_answer() } else { 0 };
        // On a long path the timeout may come first: the probe takes its place (RFC 8985 section 7.2).
        self.probe_at = self.last_sent_at.plus_nanos(wait).max(now).min(self.rto_at);
    }

    /// How much longer the answer to a lone segment may take than a round trip, in nanoseconds.
    fn delayed_answer(&self) -> u64 {
        DELAYED_ANSWERS[OFTEN_NEEDLESS.into_iter().filter(|bound| self.needless_probes > *bound).count()]
    }

    /// A lone segment was probed, and had only not been answered yet.
    pub(super) fn probed_too_early(&mut self) {
        self.needless_probes = self.needless_probes.saturating_add(NEEDLESS);
    }

    /// A lone segment was answered before a probe was due.
    pub(super) fn answered_in_time(&mut self) {
        self.needless_probes = self.needless_probes.saturating_sub(1);
    }

    /// Whether a tail loss probe may be scheduled (RFC 8985 section 7.2).
    fn may_probe_tail(&self) -> bool {
        self.sack
            && self.tail_probe.as_ref().is_none_or(|probe| probe.end <= self.una)
            && self.probing.is_none()
            && !self.repair.is_repairing()
            && self.flight.sacked() == 0
            && self.flight.lost() == 0
            && self.rtt.srtt() > 0
    }

    /// A tail loss probe leaves now, with the last segment; false if none may.
    pub(in crate::native) fn probe_tail(&mut self, now: Instant) -> bool {
        let may = !self.flight.is_empty() && self.may_probe_tail();
        if may {
            self.probe_at = NEVER;
            self.probing = Some(Probing::Last);
            self.rto_at = now.plus_nanos(self.rtt.rto());
        }
        may
    }

    /// The retransmission timer has expired (RFC 6298 section 5.4 to 5.6).
    fn on_rto(&mut self, now: Instant) {
        let Some(head) = self.flight.head().copied() else {
            self.rto_at = NEVER;
            return;
        };
        self.give_up_mtu_probe();
        let in_flight = self.flight.in_flight();
        // The threshold is halved once for the same segment (RFC 5681 section 3.1). If others were acknowledged since, this is another loss, of a window
        // that has grown again.
        let again = matches!(self.repair, Repair::Timeout { .. }) && self.evidence.since == self.una && head.resent();
        // A head that the receiver claims to hold and does not acknowledge: it has thrown away what it held (RFC 2018 section 8).
        let reneged = head.fate == super::flight::Fate::Sacked;
        let lost = self.flight.lose_all(reneged);
        self.stats.repairs_mut().losses += lost.div_ceil(u64::from(self.mss));
        if !again {
            self.congested(now, Cause::Timeout, in_flight, lost);
            // A second doubt about the same segments would be none (RFC 5682 section 2.1 step 1).
            let fresh = !self.repair.is_repairing() && !reneged;
            let doubt = if fresh { Doubt::Waiting } else { Doubt::Settled };
            self.repair = Repair::Timeout { until: self.nxt, doubt };
            self.evidence = Evidence::since(self.una);
        } else if let Repair::Timeout { doubt, .. } = &mut self.repair {
            *doubt = Doubt::Settled;
        }
        self.rtt.back_off();
        self.update_pace(now);
        (self.probe_at, self.reorder_at, self.probing, self.tail_probe) = (NEVER, NEVER, None, None);
        self.duplicates = 0;
        self.rto_at = now.plus_nanos(self.rtt.rto());
    }
}
