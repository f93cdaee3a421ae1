//! What a stack did with data, for those who watch it.

use std::collections::VecDeque;

use crate::event::{ConnId, SubflowId};
use crate::seq::DataSeq;

/// Something that a stack did with data of a connection; see [`Stack::watch`](crate::Stack::watch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// The packet scheduler chose a subflow for bytes, and its TCP has taken them.
    Scheduled {
        /// The connection.
        conn: ConnId,
        /// The subflow that was chosen.
        subflow: SubflowId,
        /// Data sequence number of the first byte.
        dsn: DataSeq,
        /// Number of bytes.
        len: u32,
    },
    /// Bytes are sent again on another subflow. Follows the choice of the scheduler.
    Reinjected {
        /// The connection.
        conn: ConnId,
        /// A subflow that has carried them before; `None` if all of those are gone, or their TCP has delivered the bytes.
        from: Option<SubflowId>,
        /// The subflow that carries them now.
        to: SubflowId,
        /// Data sequence number of the first byte.
        dsn: DataSeq,
        /// Number of bytes.
        len: u32,
    },
    /// A segment left that declares a mapping (RFC 8684 section 3.3.1); retransmissions declare it again.
    Mapped {
        /// The connection.
        conn: ConnId,
        /// The subflow.
        subflow: SubflowId,
        /// Data sequence number of the first byte of the mapping.
        dsn: DataSeq,
        /// Relative subflow sequence number of the first byte of the mapping.
        ssn: u32,
        /// Number of bytes of the mapping, not of the segment.
        len: u32,
    },
    /// The peer has acknowledged more of the data (RFC 8684 section 3.3.2).
    Acknowledged {
        /// The connection.
        conn: ConnId,
        /// The subflow that the acknowledgement came on.
        subflow: SubflowId,
        /// Everything before this data sequence number has arrived.
        data_ack: DataSeq,
    },
}

/// Where observations wait, if somebody wants them.
#[derive(Debug, Default)]
pub(crate) struct Observations(Option<VecDeque<Observation>>);

impl Observations {
    /// Starts to note, or stops and forgets what is noted.
    pub(crate) fn want(&mut self, wanted: bool) {
        self.0 = wanted.then(VecDeque::new);
    }

    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Notes something, which is not even put together while nobody wants it.
    #[inline(always)]
    pub(crate) fn note(&mut self, observation: impl FnOnce() -> Observation) {
        if let Some(noted) = &mut self.0 {
            noted.push_back(observation());
        }
    }

    /// Takes the oldest.
    pub(crate) fn take(&mut self) -> Option<Observation> {
        self.0.as_mut()?.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_together_for_nobody() {
        let mut observations = Observations::default();
        observations.note(|| unreachable!("nobody asked"));
        assert_eq!(observations.take(), None);
        let conn = ConnId { index: 1, generation: 0 };
        let seen = Observation::Acknowledged { conn, subflow: SubflowId(0), data_ack: DataSeq(7) };
        observations.want(true);
        observations.note(|| seen);
        assert_eq!(observations.take(), Some(seen));
        assert_eq!(observations.take(), None);
        observations.note(|| seen);
        observations.want(false);
        assert_eq!(observations.take(), None);
    }
}
