//! How far the repair of losses is, and whether it was needed at all.

use crate::congestion;
use crate::native::prr::Prr;

/// How far the repair of losses is.
#[derive(Debug, Default)]
pub(in crate::native) enum Repair {
    /// Nothing is to be repaired.
    #[default]
    Open,
    /// The window was reduced for a mark (RFC 3168 section 6.1.2), once until `until` is acknowledged.
    Reduced { until: u64 },
    /// Lost segments are sent again until `until` is acknowledged (RFC 6675 section 5). `prr` is `None` if the congestion
    /// control sets the pace itself.
    Fast { until: u64, prr: Option<Box<Prr>> },
    /// After a timeout, until `until` is acknowledged.
    Timeout { until: u64, doubt: Doubt },
}

/// Whether a timeout was spurious (RFC 5682 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum Doubt {
    /// The first segment was sent again; nothing has been acknowledged since.
    Waiting,
    /// The first acknowledgement advanced: new segments are sent to learn more, from `from` on.
    Probing { from: u64 },
    /// It was not, or it cannot be told.
    Settled,
}

impl Repair {
    pub(in crate::native) fn kind(&self) -> congestion::Recovery {
        match self {
            Self::Open => congestion::Recovery::Open,
            Self::Reduced { .. } => congestion::Recovery::Reduced,
            Self::Fast { .. } => congestion::Recovery::Fast,
            Self::Timeout { .. } => congestion::Recovery::Timeout,
        }
    }

    /// Whether lost segments are being repaired.
    pub(in crate::native) fn is_repairing(&self) -> bool {
        matches!(self, Self::Fast { .. } | Self::Timeout { .. })
    }

    /// Whether it ends with everything before `una` acknowledged.
    ///
    /// A mark is echoed until the peer has seen CWR, on the first new segment after the reduction (RFC 3168 section 6.1.3): before
    /// that is acknowledged too, an echo tells of no other mark.
    pub(in crate::native) fn is_over(&self, una: u64) -> bool {
        match *self {
            Self::Open => false,
            Self::Reduced { until } => una > until,
            Self::Fast { until, .. } | Self::Timeout { until, .. } => una >= until,
        }
    }
}

/// Evidence for and against a repair having been needed.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Evidence {
    /// Our timestamp on the first segment that was sent again (RFC 4015 section 3.2); `None` before, or without timestamps.
    pub(in crate::native) first_resent: Option<u32>,
    /// Segments sent again whose first transmission is not known to have arrived (by DSACK).
    pub(in crate::native) unexplained: u32,
    /// Segments sent again at all.
    pub(in crate::native) resent: u32,
    /// Everything before was acknowledged when the repair began.
    pub(in crate::native) since: u64,
}

impl Evidence {
    pub(in crate::native) const NONE: Self = Self::since(0);

    /// None yet, in a repair that begins with everything before `una` acknowledged.
    pub(in crate::native) const fn since(una: u64) -> Self {
        Self { first_resent: None, unexplained: 0, resent: 0, since: una }
    }

    /// So many segments are sent again.
    pub(in crate::native) fn note_resent(&mut self, segments: u32, timestamp: Option<u32>) {
        if self.resent == 0 {
            self.first_resent = timestamp;
        }
        self.resent = self.resent.saturating_add(segments);
        self.unexplained = self.unexplained.saturating_add(segments);
    }

    /// The receiver has got so many segments twice, which end at `end`. What it had before the repair began says nothing of it.
    pub(in crate::native) fn note_duplicate(&mut self, segments: u32, end: u64) {
        if end > self.since {
            self.unexplained = self.unexplained.saturating_sub(segments);
        }
    }

    /// Everything that was sent again has arrived twice.
    pub(in crate::native) fn all_explained(&self) -> bool {
        self.resent > 0 && self.unexplained == 0
    }

    /// An acknowledgement of something new echoes a timestamp from before the first retransmission: it
    /// answers the original (RFC 4015 section 3.2).
    pub(in crate::native) fn answers_original(&self, echo: Option<u32>) -> bool {
        match (self.first_resent, echo) {
            (Some(first), Some(echo)) => echo.wrapping_sub(first).cast_signed() < 0,
            _ => false,
        }
    }
}
