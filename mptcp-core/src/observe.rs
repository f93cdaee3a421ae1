//! What a stack did with data and what came of its subflows, for those who watch it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::event::{ConnId, SubflowId};
use crate::seq::DataSeq;

/// Something that a stack did with data of a connection, or a subflow that is gone; see [`Stack::watch`](crate::Stack::watch) and [`Watch`].
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

/// How much of what a stack does is noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Watch {
    /// Nothing.
    #[default]
    Nothing,
    /// What is rare: [`Observation::Reinjected`] and [`Observation::SubflowGone`].
    Exceptions,
    /// All of it, several observations for each packet.
    Everything,
}

/// Where observations wait, if somebody wants them.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    watch: Watch,
    noted: VecDeque<Observation>,
}

impl Observations {
    /// Goes on to note as much, and forgets what is noted.
    pub(crate) fn want(&mut self, watch: Watch) {
        *self = Self { watch, noted: VecDeque::new() };
    }

    /// Whether what every packet does is noted.
    #[inline]
    pub(crate) fn are_complete(&self) -> bool {
        self.watch == Watch::Everything
    }

    /// Notes something usual, which is not even put together while nobody wants it.
    #[inline(always)]
    pub(crate) fn note(&mut self, observation: impl FnOnce() -> Observation) {
        if self.are_complete() {
            self.noted.push_back(observation());
        }
    }

    /// Notes something rare.
    #[inline(always)]
    pub(crate) fn note_exception(&mut self, observation: impl FnOnce() -> Observation) {
        if self.watch >= Watch::Exceptions {
            self.noted.push_back(observation());
        }
    }

    /// Takes the oldest.
    pub(crate) fn take(&mut self) -> Option<Observation> {
        self.noted.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_together_for_nobody() {
        let mut observations = Observations::default();
        observations.note(|| unreachable!("nobody asked"));
        observations.note_exception(|| unreachable!("nobody asked"));
        assert_eq!(observations.take(), None);
        let conn = ConnId { index: 1, generation: 0 };
        let seen = Observation::Acknowledged { conn, subflow: SubflowId(0), data_ack: DataSeq(7) };
        observations.want(Watch::Exceptions);
        observations.note(|| unreachable!("only for what is rare"));
        observations.note_exception(|| seen);
        assert_eq!(observations.take(), Some(seen));
        observations.want(Watch::Everything);
        observations.note(|| seen);
        assert_eq!(observations.take(), Some(seen));
        assert_eq!(observations.take(), None);
        observations.note(|| seen);
        observations.want(Watch::Nothing);
        assert_eq!(observations.take(), None);
    }
}
