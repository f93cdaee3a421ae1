//! Why option bytes are refused.

use super::Subtype;

/// Why an option, or an area of options, is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The option area ends after the kind of an option.
    #[error("the option area ends before the length of its option of kind {kind}")]
    MissingLength {
        /// Kind of the option.
        kind: u8,
    },
    /// The length of an option of any kind is impossible, so that the rest of the area cannot be read.
    #[error("the option of kind {kind} claims a length of {length} bytes where {available} are left")]
    Overrun {
        /// Kind of the option.
        kind: u8,
        /// What its length byte says.
        length: u8,
        /// Bytes from its kind to the end of the area.
        available: usize,
    },
    /// What was given is not an MPTCP option.
    #[error("an option of {length} bytes that is not of kind 30 is no MPTCP option")]
    NotMptcp {
        /// Bytes given.
        length: usize,
    },
    /// The length byte disagrees with the bytes given.
    #[error("the MPTCP option claims a length of {claimed} bytes but has {length}")]
    LengthByte {
        /// What its length byte says.
        claimed: u8,
        /// Bytes given.
        length: usize,
    },
    /// The option ends before its subtype.
    #[error("the MPTCP option of {length} bytes has no subtype")]
    NoSubtype {
        /// Length of the option.
        length: usize,
    },
    /// RFC 8684 has no such subtype.
    #[error("the MPTCP option of {length} bytes has the unknown subtype {subtype:#x}")]
    UnknownSubtype {
        /// The subtype's 4 bits.
        subtype: u8,
        /// Length of the option.
        length: usize,
    },
    /// No MP_CAPABLE has this length in version 1; other versions may know it.
    #[error("a {} of version {version} cannot have {length} bytes", Subtype::MpCapable)]
    CapableLength {
        /// Version of the protocol that it was sent for.
        version: u8,
        /// Length of the option.
        length: usize,
    },
    /// No option of this subtype has this length.
    #[error("a {subtype} cannot have {length} bytes")]
    Length {
        /// Which option.
        subtype: Subtype,
        /// Length of the option.
        length: usize,
    },
    /// The flags announce other fields than the length has room for.
    #[error("a {subtype} with the flags {flags:#04x} cannot have {length} bytes")]
    FlagsLength {
        /// Which option.
        subtype: Subtype,
        /// Its flags, reserved ones included.
        flags: u8,
        /// Length of the option.
        length: usize,
    },
}
