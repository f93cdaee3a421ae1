//! Segments that are longer than the path is known to carry, to learn whether it carries them (RFC 4821 section 7).
//!
//! They carry new data, so that one that arrives has cost nothing. One that is lost is no sign of congestion.

use super::recovery::Repair;
use super::{Plan, Sender};

/// Full segments that must follow a probe, so that their acknowledgements tell of its loss (RFC 4821 section 7.5).
const FOLLOWERS: u64 = 3;

/// How far the probe is that was sent last.
#[derive(Clone, Copy, Debug)]
pub(super) enum MtuProbe {
    /// A packet of `size` bytes with these offsets is on its way.
    Sent { start: u64, end: u64, size: u32 },
    /// So it ended, and nobody has asked yet.
    Over { size: u32, fate: ProbeFate },
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum ProbeFate {
    /// It has arrived.
    Arrived,
    /// It was lost, and nothing else.
    Lost,
    /// It cannot be told.
    Unknown,
}

/// Whether a probe may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum MayProbe {
    /// Not now.
    No,
    /// As soon as the window has room for one; nothing else should leave before.
    Soon,
    /// Now.
    Now(Plan),
}

impl Sender {
    /// Whether a probe of `size` bytes, of which `len` can be payload, may leave (RFC 4821 section 7.5): nothing is being repaired, and
    /// there are enough data and window for it and for what would tell of its loss.
    pub(in crate::native) fn may_probe_mtu(&mut self, size: u32, len: u64) -> MayProbe {
        let mss = u64::from(self.mss);
        let calm = matches!((&self.mtu_probe, &self.repair), (None, Repair::Open))
            && self.probing.is_none()
            && self.rtt.timeouts() == 0
            && self.flight.lost() == 0
            && self.flight.sacked() == 0;
        let needed = len + FOLLOWERS * mss;
        let start = self.nxt;
        let chunk = self.buffer.chunk(start).map_or(0, |chunk| chunk.end() - start);
        let possible = calm
            && len > mss
            && chunk >= len
            && self.unsent() >= needed
            && self.una + self.window >= start + needed
            && self.control.cwnd() >= needed;
        if !possible {
            return MayProbe::No;
        }
        if self.control.cwnd().saturating_sub(self.flight.in_flight()) < len {
            return MayProbe::Soon;
        }
        MayProbe::Now(Plan::Probe { start, len, size })
    }

    /// What became of the last probe, if that is news: its size and its fate.
    pub(in crate::native) fn take_mtu_probe(&mut self) -> Option<(u32, ProbeFate)> {
        let &MtuProbe::Over { size, fate } = self.mtu_probe.as_deref()? else { return None };
        self.mtu_probe = None;
        Some((size, fate))
    }

    /// A router has said that the path does not carry as much as a probe, or as segments so far, have needed: those with a payload of more
    /// than `size` leave again at once, in segments of the usual size. That is no congestion (RFC 1191 section 6.5).
    pub(in crate::native) fn resend_too_big(&mut self, size: u64) {
        self.mtu_probe = None;
        self.flight.lose_longer_than(size);
    }

    /// After an acknowledgement: whether the probe has arrived. Once it was lost or sent again, it does not count any more.
    pub(super) fn judge_mtu_probe(&mut self) {
        let Some(probe) = self.mtu_probe.as_deref_mut() else { return };
        if let MtuProbe::Sent { start, end, size } = *probe
            && (self.una >= end || self.flight.is_sacked(start))
        {
            *probe = MtuProbe::Over { size, fate: ProbeFate::Arrived };
        }
    }

    /// `lost` bytes were just found to be lost. Returns those that congestion may have lost: all but a probe.
    pub(super) fn excuse_mtu_probe(&mut self, lost: u64) -> u64 {
        let Some(probe) = self.mtu_probe.as_deref_mut() else { return lost };
        let MtuProbe::Sent { start, end, size } = *probe else { return lost };
        if !self.flight.is_lost(start) {
            return lost;
        }
        let others = lost.saturating_sub(end - start);
        self.flight.delivery.excuse(lost - others);
        let alone = others == 0 && matches!(self.repair, Repair::Open);
        let fate = if alone { ProbeFate::Lost } else { ProbeFate::Unknown };
        *probe = MtuProbe::Over { size, fate };
        others
    }

    /// The bytes from `start` to `end` leave again. If they are the probe's, its acknowledgement will say nothing of it.
    pub(super) fn note_resent_mtu_probe(&mut self, start: u64, end: u64) {
        if let Some(probe) = self.mtu_probe.as_deref_mut()
            && let MtuProbe::Sent { start: first, end: last, size } = *probe
            && start < last
            && first < end
        {
            *probe = MtuProbe::Over { size, fate: ProbeFate::Unknown };
        }
    }

    /// The retransmission timer has expired: what followed the probe was lost too (RFC 4821 section 7.6.3).
    pub(super) fn give_up_mtu_probe(&mut self) {
        if let Some(probe) = self.mtu_probe.as_deref_mut()
            && let MtuProbe::Sent { size, .. } = *probe
        {
            *probe = MtuProbe::Over { size, fate: ProbeFate::Unknown };
        }
    }
}
