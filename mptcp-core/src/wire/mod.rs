//! The MPTCP options of RFC 8684 section 3: bytes to values and back.
//!
//! [`views`] reads an option area in place, for the path that every segment takes;
//! [`options`] makes values of it. Reserved bits are ignored when read and written as
//! zero. What is malformed is refused with a [`WireError`], and nothing here judges more than the form:
//! versions, keys, HMACs and sequence numbers are for the layers above to check.

mod address;
mod capable;
mod checksum;
mod control;
mod dss;
mod emit;
mod error;
mod join;
mod raw;
pub mod room;
mod view;

use std::fmt;

use tcp_adapter::OptionSpace;

pub use address::{AddAddr, AddAddrKind, AddrId, RemoveAddr};
pub use capable::{CapableFlags, MpCapable};
pub use checksum::{ChecksumAccumulator, dss_checksum, verify_dss_checksum};
pub use control::{MpFail, MpFastclose, MpPrio, MpTcprst, ResetReason};
pub(crate) use dss::emit_data_ack;
pub use dss::{Dss, DssMapping, WireSeq};
use emit::Writer;
pub use error::WireError;
pub use join::MpJoin;
pub(crate) use raw::RawDss;
pub(crate) use view::LoneDss;
pub use view::{DssView, OptionView, Views, views};

/// Kind of the TCP option that carries all of MPTCP (RFC 8684 section 7.1).
pub const KIND: u8 = 30;

/// The version of the protocol that RFC 8684 defines.
pub const VERSION: u8 = 1;

/// The lowest of the 4 bits beside the subtype: `B` of MP_JOIN and MP_PRIO, `E` of ADD_ADDR, `T` of MP_TCPRST.
const LOWEST_FLAG: u8 = 0x01;

/// The values of the MPTCP options of an option area. See [`views`] for what is passed over and where it ends.
pub fn options(area: &[u8]) -> Options<'_> {
    Options { views: views(area) }
}

/// Iterator of [`options`].
#[derive(Clone, Debug)]
pub struct Options<'a> {
    views: Views<'a>,
}

impl Iterator for Options<'_> {
    type Item = Result<MptcpOption, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.views.next().map(|view| view.map(MptcpOption::from))
    }
}

impl std::iter::FusedIterator for Options<'_> {}

/// Which option it is (section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Subtype {
    /// Multipath capable.
    MpCapable = 0,
    /// Join connection.
    MpJoin = 1,
    /// Data sequence signal.
    Dss = 2,
    /// Add address.
    AddAddr = 3,
    /// Remove address.
    RemoveAddr = 4,
    /// Change subflow priority.
    MpPrio = 5,
    /// Fallback.
    MpFail = 6,
    /// Fast close.
    MpFastclose = 7,
    /// Subflow reset.
    MpTcprst = 8,
}

impl Subtype {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::MpCapable,
            1 => Self::MpJoin,
            2 => Self::Dss,
            3 => Self::AddAddr,
            4 => Self::RemoveAddr,
            5 => Self::MpPrio,
            6 => Self::MpFail,
            7 => Self::MpFastclose,
            8 => Self::MpTcprst,
            _ => return None,
        })
    }
}

impl fmt::Display for Subtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MpCapable => "MP_CAPABLE",
            Self::MpJoin => "MP_JOIN",
            Self::Dss => "DSS",
            Self::AddAddr => "ADD_ADDR",
            Self::RemoveAddr => "REMOVE_ADDR",
            Self::MpPrio => "MP_PRIO",
            Self::MpFail => "MP_FAIL",
            Self::MpFastclose => "MP_FASTCLOSE",
            Self::MpTcprst => "MP_TCPRST",
        })
    }
}

/// An MPTCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MptcpOption {
    /// MP_CAPABLE.
    Capable(MpCapable),
    /// MP_JOIN.
    Join(MpJoin),
    /// DSS.
    Dss(Dss),
    /// ADD_ADDR.
    AddAddr(AddAddr),
    /// REMOVE_ADDR.
    RemoveAddr(RemoveAddr),
    /// MP_PRIO.
    Prio(MpPrio),
    /// MP_FAIL.
    Fail(MpFail),
    /// MP_FASTCLOSE.
    Fastclose(MpFastclose),
    /// MP_TCPRST.
    Tcprst(MpTcprst),
}

impl MptcpOption {
    /// Reads a whole option, kind and length included.
    pub fn parse(option: &[u8]) -> Result<Self, WireError> {
        OptionView::parse(option).map(Self::from)
    }

    /// Appends the option; false, changing nothing, if there is no room for all of it.
    #[must_use]
    pub fn emit(&self, out: &mut OptionSpace) -> bool {
        let len = self.len();
        if !out.admits(len) {
            return false;
        }
        let mut writer = Writer::new(self.subtype(), len, self.low_bits());
        match self {
            Self::Capable(option) => option.write(&mut writer),
            Self::Join(option) => option.write(&mut writer),
            Self::Dss(option) => option.write(&mut writer),
            Self::AddAddr(option) => option.write(&mut writer),
            Self::RemoveAddr(option) => option.write(&mut writer),
            Self::Prio(_) => {}
            Self::Fail(option) => option.write(&mut writer),
            Self::Fastclose(option) => option.write(&mut writer),
            Self::Tcprst(option) => option.write(&mut writer),
        }
        out.push(writer.as_slice())
    }

    /// Bytes on the wire, kind and length included, without padding.
    #[expect(clippy::len_without_is_empty, reason = "no option is empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Capable(option) => option.len(),
            Self::Join(option) => option.len(),
            Self::Dss(option) => option.len(),
            Self::AddAddr(option) => option.len(),
            Self::RemoveAddr(option) => option.len(),
            Self::Prio(_) => room::PRIO,
            Self::Fail(_) => room::FAIL,
            Self::Fastclose(_) => room::FASTCLOSE,
            Self::Tcprst(_) => room::TCPRST,
        }
    }

    /// Which option it is.
    pub fn subtype(&self) -> Subtype {
        match self {
            Self::Capable(_) => Subtype::MpCapable,
            Self::Join(_) => Subtype::MpJoin,
            Self::Dss(_) => Subtype::Dss,
            Self::AddAddr(_) => Subtype::AddAddr,
            Self::RemoveAddr(_) => Subtype::RemoveAddr,
            Self::Prio(_) => Subtype::MpPrio,
            Self::Fail(_) => Subtype::MpFail,
            Self::Fastclose(_) => Subtype::MpFastclose,
            Self::Tcprst(_) => Subtype::MpTcprst,
        }
    }

    fn low_bits(&self) -> u8 {
        let lowest_flag = match self {
            Self::Capable(option) => return option.version(),
            Self::Join(option) => option.backup(),
            Self::AddAddr(option) => option.kind == AddAddrKind::Echo,
            Self::Prio(option) => option.backup,
            Self::Tcprst(option) => option.transient,
            Self::Dss(_) | Self::RemoveAddr(_) | Self::Fail(_) | Self::Fastclose(_) => false,
        };
        if lowest_flag { LOWEST_FLAG } else { 0 }
    }
}

impl From<OptionView<'_>> for MptcpOption {
    fn from(view: OptionView<'_>) -> Self {
        match view.subtype() {
            Subtype::MpCapable => Self::Capable(MpCapable::read(view)),
            Subtype::MpJoin => Self::Join(MpJoin::read(view)),
            Subtype::Dss => Self::Dss(Dss::from(view.dss_fields())),
            Subtype::AddAddr => Self::AddAddr(AddAddr::read(view)),
            Subtype::RemoveAddr => Self::RemoveAddr(RemoveAddr::read(view)),
            Subtype::MpPrio => Self::Prio(MpPrio::read(view)),
            Subtype::MpFail => Self::Fail(MpFail::read(view)),
            Subtype::MpFastclose => Self::Fastclose(MpFastclose::read(view)),
            Subtype::MpTcprst => Self::Tcprst(MpTcprst::read(view)),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
