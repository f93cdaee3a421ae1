//! What a stack did with data and what came of its subflows, for those who watch it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::event::{ConnId, SubflowId};
use crate::seq::DataSeq;

/// Something that a stack did with data of a connection, or a subflow that is gone; see [`Stack::watch`](crate::Stack::watch).
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
    /// The TCP connection of a subflow is gone.
    SubflowGone {
        /// The connection.
        conn: ConnId,
        /// The subflow.
        subflow: SubflowId,
        /// This end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
        /// All that it has done.
        totals: SubflowTotals,
    },
}

/// What a subflow has done by its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubflowTotals {
    /// Payload bytes received on it.
    pub bytes_received: u64,
    /// Bytes sent on it that another subflow was given before.
    pub bytes_reinjected: u64,
    /// Segments that its TCP sent again; 0 if that cannot tell.
    pub retransmissions: u64,
    /// Segments that its TCP took for lost; `None` if that cannot tell.
    pub losses: Option<u64>,
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
