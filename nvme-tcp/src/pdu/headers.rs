//! The headers of all PDUs as values, and their bytes after the common header (PSH).
//!
//! `read` is given a whole header, common header included, whose length is right; it judges only fields that are wrong by
//! themselves. `write` fills everything behind the common header.

use bytes::Bytes;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::{CH_LEN, CommonHeader, LAST_PDU, SUCCESS};
use super::{Alignment, Digests, Fes, PduType, Violation};
use crate::command::{Cqe, Sqe};

/// Initialize connection request. Its PFV is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcReq {
    /// HPDA: how the host wants data aligned that it receives.
    pub alignment: Alignment,
    /// Digests that the host asks for.
    pub digests: Digests,
    /// R2Ts for one command that the host can have outstanding, from 1. (MAXR2T counts from 0.)
    pub max_r2t: u32,
}

/// Initialize connection response. Its PFV is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcResp {
    /// CPDA: how the controller wants data aligned that it receives.
    pub alignment: Alignment,
    /// Digests that both use from now on.
    pub digests: Digests,
    /// MAXH2CDATA: bytes that one H2CData may carry.
    pub max_h2c_data: u32,
}

/// H2CTermReq or C2HTermReq: why the sender ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermReq {
    /// The kind of error.
    pub fes: Fes,
    /// Which field, or which digest; what it says depends on `fes`.
    pub fei: u32,
    /// The beginning of the PDU that was wrong: up to 128 bytes of its header.
    pub header: Bytes,
}

impl TermReq {
    /// Bytes of the wrong PDU that fit.
    pub const MAX_HEADER: usize = 128;

    /// The request that answers `violation`, which the PDU with this header committed.
    pub fn answering(violation: &Violation, header: &[u8]) -> Self {
        let header = &header[..header.len().min(Self::MAX_HEADER)];
        Self { fes: violation.fes(), fei: violation.fei(), header: Bytes::copy_from_slice(header) }
    }
}

/// A command, perhaps with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapsuleCmd {
    /// The command.
    pub sqe: Sqe,
    /// Bytes of data in the capsule.
    pub data_len: u32,
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapsuleResp {
    /// The completion.
    pub cqe: Cqe,
}

/// Data from host to controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2cData {
    /// The command.
    pub cccid: u16,
    /// The tag of the R2T that asked for it.
    pub ttag: u16,
    /// DATAO: where in the command's data it belongs, in bytes.
    pub offset: u32,
    /// DATAL: bytes.
    pub length: u32,
    /// Whether it is the last PDU for its R2T.
    pub last: bool,
}

/// Data from controller to host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C2hData {
    /// The command.
    pub cccid: u16,
    /// DATAO: where in the command's data it belongs, in bytes.
    pub offset: u32,
    /// DATAL: bytes.
    pub length: u32,
    /// Whether it is the last PDU with data of the command.
    pub last: bool,
    /// Whether the command has succeeded, so that no CapsuleResp follows. Only with `last`.
    pub success: bool,
}

/// The controller is ready to take data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2t {
    /// The command.
    pub cccid: u16,
    /// A tag of the controller's choice, which comes back in the H2CData.
    pub ttag: u16,
    /// R2TO: where in the command's data it begins, in bytes.
    pub offset: u32,
    /// R2TL: bytes.
    pub length: u32,
}

/// The header of a PDU. Data, if there is any, comes apart from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after what it holds")]
pub enum Pdu {
    IcReq(IcReq),
    IcResp(IcResp),
    H2cTermReq(TermReq),
    C2hTermReq(TermReq),
    CapsuleCmd(CapsuleCmd),
    CapsuleResp(CapsuleResp),
    H2cData(H2cData),
    C2hData(C2hData),
    R2t(R2t),
}

impl Pdu {
    /// Which PDU it is.
    pub const fn pdu_type(&self) -> PduType {
        match self {
            Self::IcReq(_) => PduType::IcReq,
            Self::IcResp(_) => PduType::IcResp,
            Self::H2cTermReq(_) => PduType::H2cTermReq,
            Self::C2hTermReq(_) => PduType::C2hTermReq,
            Self::CapsuleCmd(_) => PduType::CapsuleCmd,
            Self::CapsuleResp(_) => PduType::CapsuleResp,
            Self::H2cData(_) => PduType::H2cData,
            Self::C2hData(_) => PduType::C2hData,
            Self::R2t(_) => PduType::R2t,
        }
    }

    /// Bytes of data that the PDU carries. The copy of a header in a TermReq is not data, but part of the value.
    pub const fn data_len(&self) -> u32 {
        match self {
            Self::CapsuleCmd(capsule) => capsule.data_len,
            Self::H2cData(data) => data.length,
            Self::C2hData(data) => data.length,
            _ => 0,
        }
    }

    /// The value of `pdu` whose header, with the rest of a TermReq, is `bytes`.
    pub(super) fn read(pdu: PduType, header: &CommonHeader, bytes: &[u8], data_len: u32) -> Result<Self, Violation> {
        Ok(match pdu {
            PduType::IcReq => {
                let init = Init::read(bytes)?;
                Self::IcReq(IcReq {
                    alignment: Alignment::from_dwords(init.alignment)?,
                    digests: Digests::from_bits(init.digests),
                    max_r2t: init.limit.get().saturating_add(1),
                })
            }
            PduType::IcResp => {
                let init = Init::read(bytes)?;
                let max_h2c_data = init.limit.get();
                let response = IcResp {
                    alignment: Alignment::from_dwords(init.alignment)?,
                    digests: Digests::from_bits(init.digests),
                    max_h2c_data,
                };
                if max_h2c_data < 4096 || !max_h2c_data.is_multiple_of(4) {
                    return Err(Violation::MaxH2cDataRange(max_h2c_data));
                }
                Self::IcResp(response)
            }
            PduType::H2cTermReq => Self::H2cTermReq(read_term(bytes)),
            PduType::C2hTermReq => Self::C2hTermReq(read_term(bytes)),
            PduType::CapsuleCmd => Self::CapsuleCmd(CapsuleCmd { sqe: psh(bytes), data_len }),
            PduType::CapsuleResp => Self::CapsuleResp(CapsuleResp { cqe: psh(bytes) }),
            PduType::H2cData => {
                let transfer: Transfer = psh(bytes);
                Self::H2cData(H2cData {
                    cccid: transfer.cccid.get(),
                    ttag: transfer.ttag.get(),
                    offset: transfer.offset.get(),
                    length: transfer.length.get(),
                    last: header.flags & LAST_PDU != 0,
                })
            }
            PduType::C2hData => {
                let transfer: Transfer = psh(bytes);
                Self::C2hData(C2hData {
                    cccid: transfer.cccid.get(),
                    offset: transfer.offset.get(),
                    length: transfer.length.get(),
                    last: header.flags & LAST_PDU != 0,
                    success: header.flags & SUCCESS != 0,
                })
            }
            PduType::R2t => {
                let transfer: Transfer = psh(bytes);
                Self::R2t(R2t {
                    cccid: transfer.cccid.get(),
                    ttag: transfer.ttag.get(),
                    offset: transfer.offset.get(),
                    length: transfer.length.get(),
                })
            }
        })
    }

    /// Fills the bytes after the common header, and returns the flags of the transfer. `psh` is zero before.
    pub(super) fn write(&self, psh: &mut [u8]) -> u8 {
        match self {
            Self::IcReq(request) => {
                let limit = request.max_r2t.max(1) - 1;
                put(psh, &Init::new(request.alignment, request.digests, limit));
                0
            }
            Self::IcResp(response) => {
                put(psh, &Init::new(response.alignment, response.digests, response.max_h2c_data));
                0
            }
            Self::H2cTermReq(request) | Self::C2hTermReq(request) => {
                put(psh, &Term { fes: request.fes.code().into(), fei: request.fei.into(), reserved: [0; 10] });
                psh[size_of::<Term>()..][..request.header.len()].copy_from_slice(&request.header);
                0
            }
            Self::CapsuleCmd(capsule) => {
                put(psh, &capsule.sqe);
                0
            }
            Self::CapsuleResp(capsule) => {
                put(psh, &capsule.cqe);
                0
            }
            Self::H2cData(data) => {
                put(psh, &Transfer::new(data.cccid, data.ttag, data.offset, data.length));
                if data.last { LAST_PDU } else { 0 }
            }
            Self::C2hData(data) => {
                put(psh, &Transfer::new(data.cccid, 0, data.offset, data.length));
                (if data.last { LAST_PDU } else { 0 }) | (if data.success { SUCCESS } else { 0 })
            }
            Self::R2t(r2t) => {
                put(psh, &Transfer::new(r2t.cccid, r2t.ttag, r2t.offset, r2t.length));
                0
            }
        }
    }
}

/// ICReq and ICResp after the common header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Init {
    format_version: U16,
    alignment: u8,
    digests: u8,
    /// MAXR2T, counted from 0, or MAXH2CDATA.
    limit: U32,
    reserved: [u8; 112],
}

impl Init {
    fn new(alignment: Alignment, digests: Digests, limit: u32) -> Self {
        Self {
            format_version: U16::ZERO,
            alignment: alignment.dwords(),
            digests: digests.bits(),
            limit: limit.into(),
            reserved: [0; 112],
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, Violation> {
        let init: Self = psh(bytes);
        match init.format_version.get() {
            0 => Ok(init),
            version => Err(Violation::FormatVersion(version)),
        }
    }
}

/// A TermReq after the common header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Term {
    fes: U16,
    fei: U32,
    reserved: [u8; 10],
}

fn read_term(bytes: &[u8]) -> TermReq {
    let term: Term = psh(bytes);
    let header = &bytes[CH_LEN + size_of::<Term>()..];
    TermReq { fes: Fes::from_code(term.fes.get()), fei: term.fei.get(), header: Bytes::copy_from_slice(header) }
}

/// H2CData, C2HData and R2T after the common header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Transfer {
    cccid: U16,
    ttag: U16,
    offset: U32,
    length: U32,
    reserved: U32,
}

impl Transfer {
    fn new(cccid: u16, ttag: u16, offset: u32, length: u32) -> Self {
        Self {
            cccid: cccid.into(),
            ttag: ttag.into(),
            offset: offset.into(),
            length: length.into(),
            reserved: U32::ZERO,
        }
    }
}

/// What follows the common header. The decoder hands over whole headers only.
fn psh<T: FromBytes>(bytes: &[u8]) -> T {
    T::read_from_bytes(&bytes[CH_LEN..][..size_of::<T>()]).expect("a slice of the value's size")
}

fn put<T: IntoBytes + Immutable>(psh: &mut [u8], value: &T) {
    psh[..size_of::<T>()].copy_from_slice(value.as_bytes());
}
