//! What an acknowledgement says.

use std::ops::Range;

use super::flight::Newly;
use super::rack::Situation;
use super::recovery::{Doubt, Evidence, Repair};
use super::{NEVER, Sender};
use crate::Instant;
use crate::congestion::{Ack, Cause, CongestionEvent, EcnResponse};
use crate::native::prr::Prr;
use crate::native::timestamps::is_before;

/// Duplicate acknowledgements that mean a loss to a sender without SACK (RFC 5681 section 3.2).
const DUP_THRESHOLD: u32 = 3;

/// An acknowledgement that is acceptable.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Acknowledgement<'a> {
    /// Everything before is acknowledged.
    pub(in crate::native) una: u64,
    /// Blocks of RFC 2018 and RFC 2883 as offsets, in the order of the segment. They may lie.
    pub(in crate::native) sack: &'a [(i64, i64)],
    /// The echo of one of our timestamps.
    pub(in crate::native) echo: Option<u32>,
    /// Milliseconds since our clock showed it, if it has.
    pub(in crate::native) echo_age: Option<u32>,
    /// The receiver has seen a mark of congestion (ECE).
    pub(in crate::native) marked: bool,
    /// It may be counted as a duplicate acknowledgement (RFC 5681 section 2): no data, no FIN, the same window, and not
    /// there for its options only.
    pub(in crate::native) may_be_duplicate: bool,
}

impl Sender {
    /// Processes an acknowledgement of at least `una` and at most `nxt`.
    pub(in crate::native) fn on_ack(&mut self, now: Instant, ack: &Acknowledgement<'_>) {
        let prior_una = self.una;
        let prior_in_flight = self.flight.in_flight();
        let advanced = ack.una > prior_una;
        let mut newly = Newly::default();
        if !advanced && self.flight.is_empty() {
            // That something arrived twice may be told when nothing is outstanding any more.
            let duplicate = self.take_blocks(now, ack.sack, prior_una, &mut newly);
            self.learn_from_duplicate(duplicate.as_ref());
            self.judge_tail_probe(ack, duplicate.as_ref(), advanced);
            return;
        }
        if advanced {
            if prior_in_flight <= u64::from(self.mss) && self.tail_probe.is_none() {
                self.answered_in_time();
            }
            self.flight.acknowledge(now, ack.una, &mut newly);
            self.una = ack.una;
            self.buffer.release(ack.una);
            self.rtt.progressed();
            self.persists = 0;
            self.answered_timeouts = 0;
            self.duplicates = 0;
        }
        let duplicate = self.take_blocks(now, ack.sack, prior_una, &mut newly);
        self.judge_mtu_probe();
        self.measure(now, ack, advanced, &newly);
        self.learn_from_duplicate(duplicate.as_ref());
        let tail_lost = self.judge_tail_probe(ack, duplicate.as_ref(), advanced);
        self.judge_timeout(now, ack, advanced, &newly);
        self.judge_repair(now, ack, advanced);
        let found = self.find_losses(now, ack, advanced, &newly);
        let lost = self.excuse_mtu_probe(found);
        self.advance_repair(now, ack, lost, tail_lost, prior_in_flight);
        self.tell_control(now, ack, &newly, lost, prior_in_flight, prior_una);
        self.update_pace(now);
        let progress = advanced || newly.delivered > 0;
        if progress {
            self.stalled_since = (!self.flight.is_empty()).then_some(now);
        }
        self.arm_after_ack(now, advanced, progress);
        if self.fin == super::Fin::Sent && self.una > self.buffer.end() {
            self.fin = super::Fin::Acked;
        }
    }

    /// Enters selective acknowledgements; returns the first block if it reports a duplicate (RFC 2883).
    fn take_blocks(
        &mut self,
        now: Instant,
        blocks: &[(i64, i64)],
        prior_una: u64,
        newly: &mut Newly,
    ) -> Option<Range<u64>> {
        if !self.sack {
            return None;
        }
        let mut duplicate = None;
        for (index, &(start, end)) in blocks.iter().enumerate() {
            let (Ok(end), true) = (u64::try_from(end), start < end) else { continue };
            let below = end <= self.una;
            let inside = blocks.get(1).is_some_and(|&(from, to)| from <= start && end.cast_signed() <= to);
            let start = u64::try_from(start).unwrap_or(0);
            if index == 0 && (below || inside) {
                // Only what was sent again can have arrived twice, which may be told after the repair has ended.
                let is_recent = end + self.max_window > prior_una && self.stats.repairs().may_be_duplicated();
                duplicate = is_recent.then_some(start..end);
                continue;
            }
            // What was never sent cannot have arrived, and what is acknowledged needs no block: such a block is old or a lie.
            if below || end > self.nxt || start < self.una {
                continue;
            }
            self.flight.sack(now, start, end, newly);
        }
        duplicate
    }

    /// Round-trip times, and what RACK learns from them.
    fn measure(&mut self, now: Instant, ack: &Acknowledgement<'_>, advanced: bool, newly: &Newly) {
        let since = |at: Instant| now.nanos_since(at);
        if let Some((first, last)) = newly.timed {
            self.rtt.sample(now, since(first), since(last));
        } else if let Some(echoed) = ack.echo_age.filter(|_| advanced && self.rtt.is_backed_off()) {
            // Coarse, but of the very transmission that has arrived (RFC 7323 section 4): nothing else would tell of a path that has become longer.
            let rtt = u64::from(echoed.max(1)) * 1_000_000;
            self.rtt.sample(now, rtt, rtt.max(self.rtt.min()));
        }
        if let Some((newest, resent)) = newly.newest {
            self.rack.arrived(now, newest, resent, self.rtt.min());
        }
        if newly.reordered {
            self.rack.saw_reordering();
        }
    }

    /// The receiver has got something twice.
    fn learn_from_duplicate(&mut self, duplicate: Option<&Range<u64>>) {
        let Some(duplicate) = duplicate else { return };
        self.stats.repairs_mut().duplicates += 1;
        let segments = (duplicate.end - duplicate.start).div_ceil(u64::from(self.mss));
        self.evidence.note_duplicate(u32::try_from(segments).unwrap_or(u32::MAX), duplicate.end);
        // A probe is sent on suspicion: its duplicate says nothing of reordering.
        if !self.tail_probe.as_ref().is_some_and(|probe| probe.repeats(duplicate)) {
            self.rack.saw_duplicate(self.una, self.nxt);
        }
    }

    /// Whether a tail loss probe has repaired a loss that nothing else would tell of (RFC 8985 section 7.4.2). The echo of its timestamp
    /// tells; else only what is acknowledged beyond it shows that it has not arrived twice, which the receiver would have
    /// said by then.
    fn judge_tail_probe(&mut self, ack: &Acknowledgement<'_>, duplicate: Option<&Range<u64>>, advanced: bool) -> bool {
        let Some(probe) = self.tail_probe.as_deref().copied().filter(|probe| ack.una >= probe.end) else {
            return false;
        };
        let beyond = ack.una > probe.end;
        let answered_twice = duplicate.is_some() || (!advanced && ack.may_be_duplicate && ack.sack.is_empty());
        let repaired = match (probe.timestamp, ack.echo) {
            (Some(sent), Some(echo)) if advanced => Some(!is_before(echo, sent)),
            _ => beyond.then_some(true),
        };
        let was_needless = probe.retransmission && (answered_twice || repaired == Some(false));
        if was_needless && probe.lone && !probe.needless {
            self.probed_too_early();
        }
        // Of a probe of several segments each one is answered.
        let is_last_answer = answered_twice && duplicate.is_none_or(|duplicate| duplicate.end >= probe.end);
        if !probe.retransmission || is_last_answer || repaired == Some(true) {
            self.tail_probe = None;
        } else if (answered_twice || repaired == Some(false))
            && let Some(probe) = &mut self.tail_probe
        {
            probe.needless = true;
        }
        probe.retransmission && !probe.needless && !answered_twice && repaired == Some(true)
    }

    /// F-RTO (RFC 5682 section 3.1): what arrives after a timeout without having been sent again was on its way.
    fn judge_timeout(&mut self, now: Instant, ack: &Acknowledgement<'_>, advanced: bool, newly: &Newly) {
        let Repair::Timeout { until, doubt } = &mut self.repair else { return };
        let until = *until;
        match *doubt {
            Doubt::Waiting if advanced && ack.una < until => *doubt = Doubt::Probing { from: self.nxt },
            Doubt::Waiting => *doubt = Doubt::Settled,
            Doubt::Probing { .. } if newly.original_end > 0 && newly.original_end <= until => self.undo(now),
            Doubt::Probing { .. } => *doubt = Doubt::Settled,
            Doubt::Settled => {}
        }
    }

    /// Whether the repair that is going on was needed (RFC 4015, and by DSACK RFC 3708), or is done. It was not, too, if all of it has arrived before any
    /// of it could be sent again.
    fn judge_repair(&mut self, now: Instant, ack: &Acknowledgement<'_>, advanced: bool) {
        if !self.repair.is_repairing() {
            return;
        }
        let arrived_before =
            matches!(self.repair, Repair::Fast { .. }) && self.evidence.resent == 0 && self.flight.lost() == 0;
        if (advanced && self.evidence.answers_original(ack.echo)) || self.evidence.all_explained() || arrived_before {
            self.undo(now);
        }
    }

    fn undo(&mut self, now: Instant) {
        self.flight.regain();
        self.control.on_spurious(now);
        self.repair = Repair::Open;
        self.evidence = Evidence::NONE;
        self.rtt.reset_backoff();
        self.rack.saw_reordering();
    }

    /// Bytes that the acknowledgement shows to be lost.
    fn find_losses(&mut self, now: Instant, ack: &Acknowledgement<'_>, advanced: bool, newly: &Newly) -> u64 {
        if self.sack {
            return if newly.newest.is_some() { self.detect_losses(now) } else { 0 };
        }
        if let Repair::Fast { until, .. } = self.repair {
            // A partial acknowledgement: the next hole is at its edge (RFC 6582 section 3.2 step 3).
            return if advanced && ack.una < until { self.flight.lose_head() } else { 0 };
        }
        if !advanced && ack.may_be_duplicate {
            self.duplicates += 1;
            // RFC 6582 section 4.1: after a recovery, duplicates of what was sent before it are no sign of a loss.
            if self.duplicates == DUP_THRESHOLD && matches!(self.repair, Repair::Open | Repair::Reduced { .. }) {
                return self.flight.lose_head();
            }
        }
        0
    }

    /// Lets RACK look; the time to look again is kept.
    pub(super) fn detect_losses(&mut self, now: Instant) -> u64 {
        let situation = Situation {
            srtt: self.rtt.srtt(),
            min_rtt: self.rtt.min(),
            recovering: self.repair.is_repairing(),
            sacked: self.flight.sacked(),
            mss: u64::from(self.mss),
        };
        let (lost, again) = self.flight.detect(now, self.rack.newest(), self.rack.patience(situation));
        self.reorder_at = again.unwrap_or(NEVER);
        lost
    }

    /// Begins, continues or ends a repair.
    pub(super) fn advance_repair(
        &mut self,
        now: Instant,
        ack: &Acknowledgement<'_>,
        lost: u64,
        tail_lost: bool,
        prior_in_flight: u64,
    ) {
        if self.repair.is_over(ack.una) {
            let repaired = self.repair.is_repairing();
            self.repair = Repair::Open;
            self.evidence = Evidence::NONE;
            if repaired {
                self.control.on_recovered(now);
                self.rack.recovered();
            }
        }
        self.note_losses(now, lost, prior_in_flight);
        let marked = ack.marked && self.control.ecn() == EcnResponse::Classic;
        if (marked || tail_lost) && matches!(self.repair, Repair::Open) {
            let cause = if tail_lost { Cause::Loss } else { Cause::Mark };
            self.congested(now, cause, prior_in_flight, 0);
            self.repair = Repair::Reduced { until: self.nxt };
        }
    }

    /// Begins a repair if something is lost.
    pub(super) fn note_losses(&mut self, now: Instant, lost: u64, prior_in_flight: u64) {
        if lost == 0 {
            return;
        }
        self.stats.repairs_mut().losses += lost.div_ceil(u64::from(self.mss));
        if self.repair.is_repairing() {
            return;
        }
        // One reduction for a window of data is enough (RFC 3168 section 6.1.2).
        let is_answered = matches!(self.repair, Repair::Reduced { until } if self.una < until);
        if !is_answered {
            self.congested(now, Cause::Loss, prior_in_flight, lost);
        }
        self.evidence = Evidence::since(self.una);
        let prr = self.control.uses_prr().then(|| Box::new(Prr::start(prior_in_flight, self.control.cwnd())));
        self.repair = Repair::Fast { until: self.nxt, prr };
    }

    /// The layer above wants less in flight: answered like a mark of congestion.
    pub(in crate::native) fn penalise(&mut self, now: Instant) {
        if matches!(self.repair, Repair::Open) {
            self.congested(now, Cause::Mark, self.flight.in_flight(), 0);
            self.repair = Repair::Reduced { until: self.nxt };
        }
    }

    pub(super) fn congested(&mut self, now: Instant, cause: Cause, in_flight: u64, lost: u64) {
        // Whatever the reason (RFC 3168 section 6.1.2).
        self.tell_reduced = true;
        self.control.on_congestion(&CongestionEvent { now, cause, in_flight, lost, snd_nxt: self.nxt });
    }

    fn tell_control(
        &mut self,
        now: Instant,
        ack: &Acknowledgement<'_>,
        newly: &Newly,
        lost: u64,
        prior_in_flight: u64,
        prior_una: u64,
    ) {
        let in_flight = self.flight.in_flight();
        let mss = u64::from(self.mss);
        if let Repair::Fast { prr: Some(prr), .. } = &mut self.repair {
            let safe = newly.acked > 0 && lost == 0;
            // Without SACK a duplicate stands for one segment (RFC 6937 section 3.1).
            let duplicate = !self.sack && newly.acked == 0 && ack.may_be_duplicate;
            let delivered = if duplicate { mss } else { newly.delivered };
            prr.on_ack(delivered, in_flight, safe, mss);
            // What a partial acknowledgement shows to be lost leaves at once (RFC 6582 section 3.2 step 3), as no
            // other sign of it will come.
            if !self.sack && newly.acked > 0 && lost > 0 {
                prr.allow(mss);
            }
        }
        if newly.delivered == 0 && lost == 0 {
            return;
        }
        let rtt = newly.timed.map(|(_, last)| now.nanos_since(last));
        // A window that was not used says nothing (RFC 7661); in slow start half of it is enough, as it doubles in a round trip.
        let half_used = self.control.in_slow_start() && prior_in_flight * 2 >= self.control.cwnd();
        let rate = self.flight.delivery.rate(&newly.sampled, self.rtt.min());
        if let Some(sample) = rate {
            self.delivery_rate.update(sample.rate, sample.app_limited);
        }
        let window = ack.marked.then(|| self.control.cwnd());
        self.control.on_ack(&Ack {
            now,
            delivered: newly.delivered,
            acked: newly.acked,
            lost,
            marked: if ack.marked { newly.delivered } else { 0 },
            prior_in_flight,
            in_flight,
            rtt,
            srtt: self.rtt.srtt(),
            min_rtt: self.rtt.min(),
            rate,
            snd_una: self.una,
            snd_nxt: self.nxt,
            recovery: self.repair.kind(),
            cwnd_limited: prior_una < self.limited_until || half_used,
        });
        // A receiver of RFC 3168 goes on with ECE until it hears of a reduction (RFC 8257 section 3.3).
        if window.is_some_and(|before| self.control.ecn() == EcnResponse::Proportional && self.control.cwnd() < before)
        {
            self.tell_reduced = true;
        }
    }
}
