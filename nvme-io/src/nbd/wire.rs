//! Numbers of the protocol, in the protocol's own words. Everything is big-endian.

/// `NBDMAGIC`.
pub(super) const INIT_PASSWD: u64 = u64::from_be_bytes(*b"NBDMAGIC");
/// `IHAVEOPT`, before the flags of the greeting and before every option.
pub(super) const OPTS_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
/// Before every reply to an option.
pub(super) const REP_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Before every request.
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Before every reply to a request.
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;

/// Handshake flags, the same for server and client.
pub(super) const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
pub(super) const FLAG_NO_ZEROES: u16 = 1 << 1;

/// Options.
pub(super) mod opt {
    pub(in crate::nbd) const EXPORT_NAME: u32 = 1;
    pub(in crate::nbd) const ABORT: u32 = 2;
    pub(in crate::nbd) const LIST: u32 = 3;
    pub(in crate::nbd) const INFO: u32 = 6;
    pub(in crate::nbd) const GO: u32 = 7;
}

/// Replies to options.
pub(super) mod rep {
    pub(in crate::nbd) const ACK: u32 = 1;
    pub(in crate::nbd) const SERVER: u32 = 2;
    pub(in crate::nbd) const INFO: u32 = 3;
    const ERROR: u32 = 1 << 31;
    pub(in crate::nbd) const ERR_UNSUP: u32 = ERROR + 1;
    pub(in crate::nbd) const ERR_INVALID: u32 = ERROR + 3;
    pub(in crate::nbd) const ERR_UNKNOWN: u32 = ERROR + 6;
}

/// Kinds of information about an export.
pub(super) mod info {
    pub(in crate::nbd) const EXPORT: u16 = 0;
    pub(in crate::nbd) const NAME: u16 = 1;
    pub(in crate::nbd) const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags.
pub(super) mod flag {
    pub(in crate::nbd) const HAS_FLAGS: u16 = 1 << 0;
    pub(in crate::nbd) const READ_ONLY: u16 = 1 << 1;
    pub(in crate::nbd) const SEND_FLUSH: u16 = 1 << 2;
    pub(in crate::nbd) const SEND_FUA: u16 = 1 << 3;
    pub(in crate::nbd) const SEND_TRIM: u16 = 1 << 5;
    pub(in crate::nbd) const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub(in crate::nbd) const CAN_MULTI_CONN: u16 = 1 << 8;
}

/// Commands.
pub(super) mod cmd {
    pub(in crate::nbd) const READ: u16 = 0;
    pub(in crate::nbd) const WRITE: u16 = 1;
    pub(in crate::nbd) const DISC: u16 = 2;
    pub(in crate::nbd) const FLUSH: u16 = 3;
    pub(in crate::nbd) const TRIM: u16 = 4;
    pub(in crate::nbd) const WRITE_ZEROES: u16 = 6;
    /// Flags of commands.
    pub(in crate::nbd) const FLAG_FUA: u16 = 1 << 0;
    pub(in crate::nbd) const FLAG_NO_HOLE: u16 = 1 << 1;
}

/// Bytes of a request without its data.
pub(super) const REQUEST_HEADER: usize = 28;

/// Why a request has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ErrorCode {
    /// `NBD_EPERM`: the export may not be written.
    NotPermitted = 1,
    /// `NBD_EIO`: input or output failed.
    Io = 5,
    /// `NBD_EINVAL`: the request makes no sense.
    Invalid = 22,
    /// `NBD_ENOSPC`: there is no room for it.
    NoSpace = 28,
}

/// The reply to a request; what was read follows it, if it succeeded.
pub fn simple_reply(cookie: u64, result: Result<(), ErrorCode>) -> [u8; 16] {
    let error = result.map_or_else(|error| error as u32, |()| 0);
    let mut reply = [0; 16];
    reply[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    reply[4..8].copy_from_slice(&error.to_be_bytes());
    reply[8..].copy_from_slice(&cookie.to_be_bytes());
    reply
}
