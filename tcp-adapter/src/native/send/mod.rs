//! The sending side of a connection: what may leave, what must leave again, and what acknowledgements say of it.

mod acknowledge;
mod buffer;
mod delivery;
mod flight;
mod mtu_probe;
mod plan;
mod rack;
mod recovery;
mod timers;

use std::ops::Range;

use crate::Instant;
use crate::congestion::{CongestionControl, Sent};

use super::config::NativeConfig;
use super::pacing::Pacer;
use super::rtt::RttEstimator;
pub(super) use acknowledge::Acknowledgement;
pub(super) use buffer::SendBuffer;
use delivery::MeasuredRate;
pub(super) use flight::Flight;
use mtu_probe::MtuProbe;
pub(super) use mtu_probe::{MayProbe, ProbeFate};
pub(super) use plan::{Limits, Plan};
use rack::Rack;
use recovery::{Doubt, Evidence, Repair};
pub(super) use timers::Expired;

/// How far our FIN is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fin {
    /// More data may come.
    #[default]
    None,
    /// It is to follow the last byte.
    Queued,
    /// It has left.
    Sent,
    /// It is acknowledged.
    Acked,
}

/// What a tail loss probe is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probing {
    /// New data if there is any, else the last segment once more (RFC 8985 section 7.3), or the whole of a short tail.
    NewOrTail,
    /// What of a short tail has not left again.
    Rest,
    /// The last segment.
    Last,
}

/// A tail loss probe that was sent and not answered (RFC 8985 section 7.4).
#[derive(Clone, Copy, Debug)]
struct TailProbe {
    start: u64,
    end: u64,
    retransmission: bool,
    /// Our timestamp on it.
    timestamp: Option<u32>,
    /// What it repeats had arrived, so it will be reported as a duplicate.
    needless: bool,
    /// Nothing else was outstanding, and it was time that had it sent, not the layer above.
    lone: bool,
}

impl TailProbe {
    /// Whether it repeats what the receiver says that it has got twice.
    fn repeats(&self, duplicate: &Range<u64>) -> bool {
        self.retransmission && self.start < duplicate.end && duplicate.end <= self.end
    }
}

/// State of the sending side. Offsets are those of [`TcpStack`](crate::TcpStack).
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) buffer: SendBuffer,
    pub(super) flight: Flight,
    pub(super) control: Box<dyn CongestionControl>,
    pub(super) rtt: RttEstimator,
    pub(super) pacer: Pacer,
    rack: Rack,
    repair: Repair,
    evidence: Evidence,
    /// Both boxed, as very many connections have neither.
    tail_probe: Option<Box<TailProbe>>,
    mtu_probe: Option<Box<MtuProbe>>,
    /// Initial sequence number (ISS).
    pub(super) iss: u32,
    /// Everything before is acknowledged.
    pub(super) una: u64,
    /// Next offset to be sent for the first time.
    pub(super) nxt: u64,
    pub(super) fin: Fin,
    /// Window of the peer, from `una` on, in bytes.
    pub(super) window: u64,
    /// Largest window that the peer has advertised.
    pub(super) max_window: u64,
    /// Offsets of the segment that changed the window last (WL1 and WL2 of RFC 9293).
    window_seq: u64,
    window_ack: u64,
    /// Scale of the windows that we receive.
    pub(super) window_shift: u8,
    /// The peer takes selective acknowledgements, and sends them.
    pub(super) sack: bool,
    /// Payload of a full segment beside the options that data segments carry.
    pub(super) mss: u32,
    /// Duplicate acknowledgements in a row, for peers without SACK.
    duplicates: u32,
    /// What the window has limited: an acknowledgement before this offset may open it.
    limited_until: u64,
    /// The next segment with new data tells the peer that the window was reduced (CWR, RFC 3168).
    pub(super) tell_reduced: bool,
    /// Our segments do not say that routers may mark them, whatever was agreed on.
    pub(super) not_capable: bool,
    /// A tail loss probe is to leave.
    probing: Option<Probing>,
    /// What fits into the window leaves, however little it is.
    silly: bool,
    /// How often lone segments were probed lately although they had arrived, in weights.
    needless_probes: u8,
    rto_at: Instant,
    probe_at: Instant,
    reorder_at: Instant,
    persist_at: Instant,
    /// Probes of a closed window in a row.
    persists: u16,
    /// Since when nothing was acknowledged though something is outstanding.
    stalled_since: Option<Instant>,
    /// How many timeouts in a row the peer has answered by saying that it has no room.
    answered_timeouts: u16,
    last_sent_at: Instant,
    pub(super) delivery_rate: MeasuredRate,
    pub(super) stats: SendStats,
}

/// Counters of the sending side.
#[derive(Debug, Default)]
pub(super) struct SendStats {
    pub(super) bytes_sent: u64,
    /// Boxed, as very many connections never lose anything.
    repairs: Option<Box<Repairs>>,
}

/// Counters of what was lost and sent again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Repairs {
    pub(super) bytes_retransmitted: u64,
    pub(super) retransmissions: u64,
    pub(super) losses: u64,
    /// Times that the receiver told of something that arrived twice.
    duplicates: u64,
}

impl Repairs {
    /// Whether the receiver may tell of one more thing that arrived twice.
    fn may_be_duplicated(&self) -> bool {
        self.duplicates < self.retransmissions
    }
}

impl SendStats {
    /// What was lost and sent again so far.
    pub(super) fn repairs(&self) -> Repairs {
        self.repairs.as_deref().copied().unwrap_or_default()
    }

    /// The same, to be added to.
    fn repairs_mut(&mut self) -> &mut Repairs {
        self.repairs.get_or_insert_default()
    }
}

/// A time that never comes.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Sender {
    pub(super) fn new(config: &NativeConfig, control: Box<dyn CongestionControl>, iss: u32, mss: u32) -> Self {
        let mut pacer = Pacer::new();
        pacer.set_max_rate(config.max_pacing_rate);
        Self {
            buffer: SendBuffer::default(),
            flight: Flight::default(),
            control,
            rtt: RttEstimator::new(config.min_rto, config.max_rto),
            pacer,
            rack: Rack::default(),
            repair: Repair::Open,
            evidence: Evidence::NONE,
            tail_probe: None,
            mtu_probe: None,
            iss,
            una: 0,
            nxt: 0,
            fin: Fin::None,
            window: 0,
            max_window: 0,
            window_seq: 0,
            window_ack: 0,
            window_shift: 0,
            sack: false,
            mss,
            duplicates: 0,
            limited_until: 0,
            tell_reduced: false,
            not_capable: false,
            probing: None,
            silly: false,
            needless_probes: 0,
            rto_at: NEVER,
            probe_at: NEVER,
            reorder_at: NEVER,
            persist_at: NEVER,
            persists: 0,
            stalled_since: None,
            answered_timeouts: 0,
            last_sent_at: Instant::ZERO,
            delivery_rate: MeasuredRate::default(),
            stats: SendStats::default(),
        }
    }

    /// The sequence number of an offset.
    pub(super) fn seq(&self, offset: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers are modulo 2^32 (RFC 9293 section 3.4)")]
        let low = offset as u32;
        self.iss.wrapping_add(1).wrapping_add(low)
    }

    /// The offset that an acknowledgement number stands for, near what is outstanding: negative if it is before the first byte.
    pub(super) fn offset(&self, seq: u32) -> i64 {
        let difference = seq.wrapping_sub(self.seq(self.una)).cast_signed();
        self.una.cast_signed() + i64::from(difference)
    }

    /// Bytes to be sent for the first time.
    pub(super) fn unsent(&self) -> u64 {
        self.buffer.end().saturating_sub(self.nxt)
    }

    /// Bytes to be sent for the first time, or again.
    pub(super) fn queued(&self) -> u64 {
        self.unsent() + self.flight.lost()
    }

    /// Whether a FIN is to leave for the first time.
    pub(super) fn fin_due(&self) -> bool {
        self.fin == Fin::Queued && self.nxt == self.buffer.end()
    }

    /// The payload of a full segment has changed.
    pub(super) fn set_mss(&mut self, mss: u32) {
        if mss != self.mss {
            self.mss = mss.max(1);
            self.control.set_mss(u64::from(self.mss));
        }
    }

    /// Gives the connection another congestion control.
    pub(super) fn set_control(&mut self, control: Box<dyn CongestionControl>) {
        self.control = control;
        self.control.set_mss(u64::from(self.mss));
        // As if it had been there when the last segment left.
        self.update_pace(self.last_sent_at);
    }

    /// Takes the window of a segment if it is news (RFC 9293 section 3.10.7.4). Returns whether it has changed.
    pub(super) fn update_window(&mut self, seq: u64, ack: u64, window: u64) -> bool {
        let news = self.window_seq < seq
            || (self.window_seq == seq && self.window_ack <= ack)
            // A window of less is not news, but one of more always is.
            || (ack >= self.window_ack && window > self.window);
        if !news {
            return false;
        }
        let changed = window != self.window;
        (self.window, self.window_seq, self.window_ack) = (window, seq.max(self.window_seq), ack);
        self.max_window = self.max_window.max(window);
        changed
    }

    /// Bytes leave. `start..end` counts a FIN, `payload` does not.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        plan: &Plan,
        end: u64,
        payload: u64,
        segment: u32,
        timestamp: Option<u32>,
    ) {
        let start = plan.start();
        let retransmission = plan.is_retransmission();
        let app_limited = self.flight.delivery.is_app_limited();
        let sent = Sent {
            now,
            bytes: payload,
            in_flight: self.flight.in_flight(),
            delivered: self.flight.delivery.total(),
            snd_nxt: self.nxt.max(end),
            retransmission,
            app_limited,
        };
        if self.flight.is_empty() {
            self.restart_after_idle(now);
            self.stalled_since = Some(now);
        }
        self.control.on_sent(&sent);
        if retransmission {
            self.flight.resend(now, start, end, segment);
            let segments = payload.div_ceil(u64::from(segment.max(1))).max(1);
            let repairs = self.stats.repairs_mut();
            repairs.retransmissions += segments;
            repairs.bytes_retransmitted += payload;
            self.evidence.note_resent(u32::try_from(segments).unwrap_or(u32::MAX), timestamp);
            self.note_resent_mtu_probe(start, end);
            if let Repair::Timeout { doubt, .. } = &mut self.repair
                && !self.sack
                && matches!(doubt, Doubt::Probing { .. })
            {
                // Without SACK an acknowledgement may be the answer to this, though what it acknowledges besides never left again: only new data
                // could have told (RFC 5682 section 2.1 step 2b).
                *doubt = Doubt::Settled;
            }
        } else {
            self.flight.send(now, start, end, segment);
            self.nxt = end;
            if let &Plan::Probe { size, .. } = plan {
                self.mtu_probe = Some(Box::new(MtuProbe::Sent { start, end, size }));
            }
        }
        if let Repair::Fast { prr: Some(prr), .. } = &mut self.repair {
            prr.on_sent(end - start);
        }
        self.stats.bytes_sent += payload;
        self.pacer.on_sent(now, payload);
        self.last_sent_at = now;
        self.silly = false;
        if self.fin == Fin::Queued && end > self.buffer.end() {
            self.fin = Fin::Sent;
        }
        if let Some(probing) = self.probing.take() {
            self.note_probe(probing, start..end, retransmission, timestamp);
        }
        self.arm_after_sending(now);
    }

    /// A tail loss probe has left, or the next of its segments.
    fn note_probe(&mut self, probing: Probing, sent: Range<u64>, retransmission: bool, timestamp: Option<u32>) {
        let Range { mut start, end } = sent;
        if probing == Probing::Rest {
            let begun = self.tail_probe.as_ref().filter(|begun| start > self.una && begun.end == start);
            start = begun.map_or(start, |begun| begun.start);
            self.probing = (end < self.nxt).then_some(Probing::Rest);
        }
        let lone = probing != Probing::Last && end - self.una <= u64::from(self.mss);
        self.tail_probe = Some(Box::new(TailProbe { start, end, retransmission, timestamp, needless: false, lone }));
    }

    /// After a pause the window says nothing of the path any more (RFC 5681 section 4.1).
    fn restart_after_idle(&mut self, now: Instant) {
        if self.last_sent_at == Instant::ZERO {
            return;
        }
        let idle = now.nanos_since(self.last_sent_at);
        if idle > self.rtt.rto() {
            self.control.on_restart(now, idle);
            // A congestion control that knows the rate of the path keeps it.
            if self.control.pacing_rate().is_none() {
                self.pacer.restart();
            }
        }
    }

    /// The peer has taken so many bytes with our SYN.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.buffer.skip(bytes);
        (self.una, self.nxt) = (bytes, bytes);
        self.stats.bytes_sent += bytes;
    }

    /// Data can move.
    pub(super) fn start(&mut self, now: Instant) {
        self.update_pace(now);
    }

    /// Sends no faster than `most` bytes per second from now on.
    pub(super) fn limit_pace(&mut self, now: Instant, most: Option<u64>) {
        let rate = self.pace();
        self.pacer.limit(now, most, rate);
    }

    fn update_pace(&mut self, now: Instant) {
        let rate = self.pace();
        self.pacer.set_rate(now, rate);
    }

    /// The pace by the window, or that of the congestion control.
    fn pace(&self) -> Option<u64> {
        let srtt = self.rtt.srtt();
        let derived = || Pacer::rate_of(self.control.cwnd(), srtt, self.control.in_slow_start());
        // A few bytes that were acknowledged late tell of no rate: no window is less than a segment per round trip either.
        let least = || (u64::from(self.mss) * 1_000_000_000).checked_div(srtt).unwrap_or(0);
        self.control.pacing_rate().map(|rate| rate.max(least())).or_else(derived)
    }

    /// Whether an acknowledgement may be true: not of what was never sent, nor so old that it could only be forged (RFC 5961
    /// section 5.2).
    pub(super) fn acknowledgement_is_acceptable(&self, acked: i64) -> bool {
        let oldest = self.una.cast_signed() - self.max_window.cast_signed();
        (oldest..=self.nxt.cast_signed()).contains(&acked)
    }

    /// Whether an acknowledgement may tell something of a probe although nothing is outstanding.
    pub(super) fn judges_probe(&self) -> bool {
        self.tail_probe.is_some() || self.mtu_probe.is_some()
    }

    /// Payload of the first packet that is not acknowledged.
    pub(super) fn first_unacknowledged(&self) -> Option<u32> {
        let head = self.flight.head()?;
        Some(head.segment.min(u32::try_from(head.end - head.start).unwrap_or(u32::MAX)))
    }

    /// Timeouts in a row that nothing explains.
    pub(super) fn unanswered_timeouts(&self) -> u32 {
        self.rtt.timeouts().saturating_sub(self.answered_timeouts.into())
    }

    /// Timeouts in a row.
    pub(super) fn timeouts(&self) -> u32 {
        self.rtt.timeouts().max(self.persists.into())
    }

    /// Gives back the memory of empty queues.
    pub(super) fn trim(&mut self) {
        self.buffer.trim();
        self.flight.trim();
    }

    /// Whether the FIN has left, and everything before it is acknowledged.
    pub(super) fn all_but_fin_acknowledged(&self) -> bool {
        matches!(self.fin, Fin::Sent | Fin::Acked) && self.una >= self.buffer.end()
    }

    /// Whether nothing is outstanding or waits to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.unsent() == 0 && !self.fin_due()
    }
}
