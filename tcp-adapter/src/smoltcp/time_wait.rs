//! TIME-WAIT (RFC 9293 section 3.6.1) after the connection itself is forgotten.

use super::connection::Connection;
use super::segment::{Header, Segment};
use crate::{Instant, InterfaceId};

/// What is kept of a connection that this side closed first.
#[derive(Debug)]
pub(super) struct TimeWait {
    pub(super) interface: InterfaceId,
    pub(super) expires: Instant,
    acknowledgement: Header,
}

/// What a segment in TIME-WAIT asks for.
#[derive(Debug)]
pub(super) enum Answer {
    /// The same pair of addresses and ports is to be used again.
    NewConnection,
    /// The peer has not seen the last acknowledgement.
    Acknowledge(Header),
    /// Nothing.
    Silence,
}

impl TimeWait {
    /// `None` if nothing was ever exchanged.
    pub(super) fn new(conn: &Connection, expires: Instant) -> Option<Self> {
        Some(Self { interface: conn.interface, expires, acknowledgement: conn.header()? })
    }

    /// The sequence number after all that this side has sent.
    pub(super) fn next_seq(&self) -> u32 {
        self.acknowledgement.seq
    }

    pub(super) fn answer(&self, segment: &Segment) -> Answer {
        let Some(next) = self.acknowledgement.ack else { return Answer::Silence };
        let flags = segment.flags;
        if flags.rst {
            // A reset would end TIME-WAIT early, against its purpose (RFC 1337 section 3).
            return Answer::Silence;
        }
        if flags.syn {
            // RFC 9293 section 3.10.7.4: a SYN beyond the old sequence numbers may open a new connection.
            let beyond = segment.seq.wrapping_sub(next).cast_signed() > 0;
            return if beyond && !flags.ack && !flags.fin { Answer::NewConnection } else { Answer::Silence };
        }
        if segment.sequence_len() == 0 && segment.seq == next {
            return Answer::Silence;
        }
        Answer::Acknowledge(self.acknowledgement.clone())
    }
}
