//! The common header, CH, with which every PDU begins.

use std::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the common header.
pub(crate) const CH_LEN: usize = 8;

/// FLAGS: a header digest follows the header.
pub(crate) const HDGSTF: u8 = 1 << 0;
/// FLAGS: a data digest follows the data.
pub(crate) const DDGSTF: u8 = 1 << 1;
/// FLAGS: the last PDU that transfers data of this R2T, or of this command.
pub(crate) const LAST_PDU: u8 = 1 << 2;
/// FLAGS of C2HData: the command succeeded and no CapsuleResp will follow.
pub(crate) const SUCCESS: u8 = 1 << 3;

/// Which end of a connection something is, or is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that sends commands.
    Host,
    /// The end that executes them.
    Controller,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Controller => "controller",
        })
    }
}

/// Which PDU it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PduType {
    /// Initialize connection request.
    IcReq = 0x00,
    /// Initialize connection response.
    IcResp = 0x01,
    /// The host ends the connection because of an error.
    H2cTermReq = 0x02,
    /// The controller ends the connection because of an error.
    C2hTermReq = 0x03,
    /// A command, perhaps with its data.
    CapsuleCmd = 0x04,
    /// A completion.
    CapsuleResp = 0x05,
    /// Data from host to controller.
    H2cData = 0x06,
    /// Data from controller to host.
    C2hData = 0x07,
    /// The controller is ready to take data.
    R2t = 0x09,
}

impl PduType {
    /// The type of this code, if there is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x00 => Self::IcReq,
            0x01 => Self::IcResp,
            0x02 => Self::H2cTermReq,
            0x03 => Self::C2hTermReq,
            0x04 => Self::CapsuleCmd,
            0x05 => Self::CapsuleResp,
            0x06 => Self::H2cData,
            0x07 => Self::C2hData,
            0x09 => Self::R2t,
            _ => return None,
        })
    }

    /// Bytes of the header without its digest: what HLEN has to say.
    pub const fn header_len(self) -> usize {
        match self {
            Self::IcReq | Self::IcResp => 128,
            Self::CapsuleCmd => 72,
            Self::H2cTermReq | Self::C2hTermReq | Self::CapsuleResp | Self::H2cData | Self::C2hData | Self::R2t => 24,
        }
    }

    /// Who receives it.
    pub const fn receiver(self) -> Role {
        match self {
            Self::IcReq | Self::H2cTermReq | Self::CapsuleCmd | Self::H2cData => Role::Controller,
            Self::IcResp | Self::C2hTermReq | Self::CapsuleResp | Self::C2hData | Self::R2t => Role::Host,
        }
    }

    /// Whether its header has a digest, once header digests are agreed.
    pub const fn takes_header_digest(self) -> bool {
        !matches!(self, Self::IcReq | Self::IcResp | Self::H2cTermReq | Self::C2hTermReq)
    }
}

impl fmt::Display for PduType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IcReq => "ICReq",
            Self::IcResp => "ICResp",
            Self::H2cTermReq => "H2CTermReq",
            Self::C2hTermReq => "C2HTermReq",
            Self::CapsuleCmd => "CapsuleCmd",
            Self::CapsuleResp => "CapsuleResp",
            Self::H2cData => "H2CData",
            Self::C2hData => "C2HData",
            Self::R2t => "R2T",
        })
    }
}

/// The common header as it is on the wire.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CommonHeader {
    pub(crate) pdu_type: u8,
    pub(crate) flags: u8,
    pub(crate) hlen: u8,
    pub(crate) pdo: u8,
    pub(crate) plen: U32,
}
