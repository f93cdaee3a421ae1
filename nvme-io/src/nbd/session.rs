//! What a client says, from its flags to its last request.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::negotiation::{self, Next};
use super::wire::{ErrorCode, FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, OPTS_MAGIC, REQUEST_HEADER, REQUEST_MAGIC, cmd};
use super::{Export, MAX_PAYLOAD};

/// Bytes of an option's data: several times what the longest name needs.
const MAX_OPTION: u32 = 16 * 1024;

/// One connection's side of the protocol.
#[derive(Debug)]
pub struct Session {
    export: Arc<Export>,
    phase: Phase,
    /// The beginning of what the phase waits for.
    gathered: BytesMut,
}

/// What is waited for.
#[derive(Debug)]
enum Phase {
    Flags,
    Option { no_zeroes: bool },
    OptionData { option: u32, length: usize, no_zeroes: bool },
    Request,
    Payload { head: Head, length: usize },
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    flags: u16,
    kind: u16,
    cookie: u64,
    offset: u64,
    length: u32,
}

/// What comes of what was received.
#[derive(Debug)]
pub enum Event {
    /// These bytes are to be sent, before anything else. After the first request there are no more of them.
    Send(Vec<u8>),
    /// A request is to be executed, and replied to.
    Request(Request),
    /// A request is to be replied to with an error.
    Refused {
        /// The client's name for the request.
        cookie: u64,
        /// What is wrong with it.
        error: ErrorCode,
    },
    /// The client has taken leave, or what it says is not NBD. Nothing that follows is looked at; requests that are executed are still replied to.
    End,
}

/// What a client wants done: whole blocks of the export.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client's name for it.
    pub cookie: u64,
    /// What is to be done.
    pub kind: RequestKind,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
    /// FUA: done only once it is durable.
    pub force_unit_access: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum RequestKind {
    /// Read.
    Read,
    /// Write this.
    Write(Bytes),
    /// Make durable what was replied to before.
    Flush,
    /// The data is no longer needed.
    Trim,
    /// Write zeroes.
    WriteZeroes {
        /// NO_HOLE: and keep the room for other data.
        no_hole: bool,
    },
}

impl Session {
    /// A connection that has just been accepted, with what to send first.
    pub fn new(export: Arc<Export>) -> (Self, [u8; 18]) {
        (Self { export, phase: Phase::Flags, gathered: BytesMut::new() }, negotiation::greeting())
    }

    /// Takes bytes from the front of `input` until something comes of them. Without an event, all were taken.
    pub fn receive(&mut self, input: &mut &[u8]) -> Option<Event> {
        loop {
            let Some(wanted) = self.wanted() else { return Some(Event::End) };
            let missing = wanted - self.gathered.len();
            let taken = input.split_off(..missing.min(input.len())).unwrap_or_default();
            if self.gathered.is_empty() {
                self.gathered.reserve(wanted);
            }
            self.gathered.extend_from_slice(taken);
            if taken.len() < missing {
                return None;
            }
            let whole = self.gathered.split().freeze();
            if let Some(event) = self.advance(whole) {
                return Some(event);
            }
        }
    }

    /// Whether the negotiation is over.
    pub fn is_transmitting(&self) -> bool {
        matches!(self.phase, Phase::Request | Phase::Payload { .. })
    }

    /// Bytes of the phase; none after the end.
    fn wanted(&self) -> Option<usize> {
        match self.phase {
            Phase::Flags => Some(4),
            Phase::Option { .. } => Some(16),
            Phase::OptionData { length, .. } | Phase::Payload { length, .. } => Some(length),
            Phase::Request => Some(REQUEST_HEADER),
            Phase::Ended => None,
        }
    }

    fn advance(&mut self, whole: Bytes) -> Option<Event> {
        match self.phase {
            Phase::Flags => self.on_flags(u32::from_be_bytes(*whole.first_chunk()?)),
            Phase::Option { no_zeroes } => self.on_option(&whole, no_zeroes),
            Phase::OptionData { option, no_zeroes, .. } => {
                let (answer, next) = negotiation::answer(&self.export, option, &whole, no_zeroes);
                self.phase = match next {
                    Next::Option => Phase::Option { no_zeroes },
                    Next::Transmission => Phase::Request,
                    Next::End => Phase::Ended,
                };
                Some(if answer.is_empty() { Event::End } else { Event::Send(answer) })
            }
            Phase::Request => self.on_request(&whole),
            Phase::Payload { head, .. } => {
                self.phase = Phase::Request;
                Some(self.judge(head, RequestKind::Write(whole)))
            }
            Phase::Ended => Some(Event::End),
        }
    }

    fn on_flags(&mut self, flags: u32) -> Option<Event> {
        if flags & !u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES) != 0 {
            return self.end();
        }
        self.phase = Phase::Option { no_zeroes: flags & u32::from(FLAG_NO_ZEROES) != 0 };
        None
    }

    fn on_option(&mut self, header: &[u8], no_zeroes: bool) -> Option<Event> {
        let (magic, option, length) = (be64(header, 0), be32(header, 8), be32(header, 12));
        if magic != OPTS_MAGIC || length > MAX_OPTION {
            return self.end();
        }
        self.phase = Phase::OptionData { option, length: length as usize, no_zeroes };
        None
    }

    fn on_request(&mut self, header: &[u8]) -> Option<Event> {
        if be32(header, 0) != REQUEST_MAGIC {
            return self.end();
        }
        let head = Head {
            flags: be16(header, 4),
            kind: be16(header, 6),
            cookie: be64(header, 8),
            offset: be64(header, 16),
            length: be32(header, 24),
        };
        let kind = match head.kind {
            cmd::READ => RequestKind::Read,
            // Without its data, what follows could not be told from requests.
            cmd::WRITE if head.length > MAX_PAYLOAD => return self.end(),
            cmd::WRITE => {
                self.phase = Phase::Payload { head, length: head.length as usize };
                return None;
            }
            cmd::DISC => return self.end(),
            cmd::FLUSH => RequestKind::Flush,
            cmd::TRIM => RequestKind::Trim,
            cmd::WRITE_ZEROES => RequestKind::WriteZeroes { no_hole: head.flags & cmd::FLAG_NO_HOLE != 0 },
            _ => return Some(Event::Refused { cookie: head.cookie, error: ErrorCode::Invalid }),
        };
        Some(self.judge(head, kind))
    }

    fn judge(&self, head: Head, kind: RequestKind) -> Event {
        match self.check(head, &kind) {
            Err(error) => Event::Refused { cookie: head.cookie, error },
            Ok(()) => Event::Request(Request {
                cookie: head.cookie,
                kind,
                offset: head.offset,
                length: head.length,
                force_unit_access: head.flags & cmd::FLAG_FUA != 0,
            }),
        }
    }

    fn check(&self, head: Head, kind: &RequestKind) -> Result<(), ErrorCode> {
        let export = &self.export;
        let allowed = match kind {
            RequestKind::WriteZeroes { .. } => cmd::FLAG_FUA | cmd::FLAG_NO_HOLE,
            _ => cmd::FLAG_FUA,
        };
        if head.flags & !allowed != 0 {
            return Err(ErrorCode::Invalid);
        }
        let (is_offered, changes) = match kind {
            RequestKind::Flush if head.offset == 0 && head.length == 0 => return Ok(()),
            RequestKind::Flush => return Err(ErrorCode::Invalid),
            RequestKind::Read => (head.length <= MAX_PAYLOAD, false),
            RequestKind::Write(_) => (true, true),
            RequestKind::Trim => (export.can_trim, true),
            RequestKind::WriteZeroes { .. } => (export.can_write_zeroes, true),
        };
        if changes && export.is_read_only {
            return Err(ErrorCode::NotPermitted);
        }
        let block = u64::from(export.block_size);
        let is_whole = head.offset.is_multiple_of(block) && u64::from(head.length).is_multiple_of(block);
        if !is_offered || head.length == 0 || !is_whole {
            return Err(ErrorCode::Invalid);
        }
        if head.offset.checked_add(head.length.into()).is_some_and(|end| end <= export.size) {
            return Ok(());
        }
        let fills = matches!(kind, RequestKind::Write(_) | RequestKind::WriteZeroes { .. });
        Err(if fills { ErrorCode::NoSpace } else { ErrorCode::Invalid })
    }

    fn end(&mut self) -> Option<Event> {
        self.phase = Phase::Ended;
        Some(Event::End)
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}

#[cfg(test)]
mod tests;
