//! TIME-WAIT (RFC 9293 section 3.6.1) after the connection itself is forgotten.

use super::connection::{Connection, timestamp};
use super::timestamps::is_before;
use super::wire::{Ecn, Flags, HeaderTemplate, OptionWriter, Options, Segment, SegmentFields};
use crate::{Instant, InterfaceId};

/// What is kept of a connection that this side closed first.
#[derive(Debug)]
pub(super) struct TimeWait {
    pub(super) interface: InterfaceId,
    pub(super) expires: Instant,
    pub(super) template: HeaderTemplate,
    seq: u32,
    ack: u32,
    window: u16,
    /// Our clock's offset and the peer's last timestamp, if they were in use.
    timestamps: Option<(u32, u32)>,
}

/// What a segment in TIME-WAIT asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The same pair of addresses and ports is to be used again.
    NewConnection,
    /// The peer has not seen the last acknowledgement.
    Acknowledge,
    /// Nothing.
    Silence,
}

impl TimeWait {
    pub(super) fn new(conn: &Connection, expires: Instant) -> Self {
        Self {
            interface: conn.interface,
            expires,
            template: conn.template.clone(),
            seq: conn.send.seq(conn.send.nxt),
            ack: conn.receive.seq(conn.receive.next()),
            window: conn.receive.last_field(),
            timestamps: conn.agreed.timestamps.then(|| (conn.timestamp_offset, conn.receive.timestamps.recent())),
        }
    }

    /// Our next sequence number: every one before it may have been used.
    pub(super) fn next_seq(&self) -> u32 {
        self.seq
    }

    pub(super) fn answer(&self, segment: &Segment<'_>) -> Answer {
        let flags = segment.flags;
        if flags.contains(Flags::RST) {
            // A reset would end TIME-WAIT early, against its purpose (RFC 1337 section 3).
            return Answer::Silence;
        }
        if flags.contains(Flags::SYN) {
            return if !flags.intersects(Flags::ACK | Flags::FIN) && self.is_beyond(segment) {
                Answer::NewConnection
            } else {
                // The peer learns where this end is, and resets it or waits (RFC 9293 section 3.10.7.4, RFC 5961 section 4.2).
                Answer::Acknowledge
            };
        }
        if segment.sequence_len() == 0 && segment.seq == self.ack {
            return Answer::Silence;
        }
        Answer::Acknowledge
    }

    /// A SYN that cannot be an old one may open a new connection: by its timestamp, which grows faster than sequence numbers may (RFC 6191
    /// section 2), else by its sequence number (RFC 9293 section 3.10.7.4).
    fn is_beyond(&self, segment: &Segment<'_>) -> bool {
        match (self.timestamps, Options::parse(segment.options).timestamps) {
            (Some((_, recent)), Some((value, _))) if value != recent => is_before(recent, value),
            _ => segment.seq.wrapping_sub(self.ack).cast_signed() > 0,
        }
    }

    /// The acknowledgement of the peer's FIN, once more.
    pub(super) fn acknowledgement<'a>(
        &self,
        now: Instant,
        options: &'a mut OptionWriter,
        ident: u16,
    ) -> SegmentFields<'a> {
        if let Some((offset, recent)) = self.timestamps {
            options.timestamps(timestamp(now, offset), recent);
        }
        SegmentFields {
            seq: self.seq,
            ack: self.ack,
            flags: Flags::ACK,
            window: self.window,
            urgent: 0,
            ecn: Ecn::NotEct,
            options: options.as_slice(),
            payload_len: 0,
            ident,
        }
    }
}
