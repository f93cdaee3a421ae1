//! DSS (RFC 8684 section 3.3, Figure 9) as a value.

use tcp_adapter::OptionSpace;

use super::emit::Writer;
use super::raw::RawDss;
use super::room::{self, Width};
use super::view::DssView;
use super::{KIND, Subtype};
use crate::seq::DataSeq;

/// `A`: there is a DATA_ACK.
pub(super) const DATA_ACK: u8 = 0x01;
/// `a`: the DATA_ACK has 8 bytes.
pub(super) const DATA_ACK_LONG: u8 = 0x02;
/// `M`: there is a mapping.
pub(super) const MAPPING: u8 = 0x04;
/// `m`: the DSN of the mapping has 8 bytes.
pub(super) const DSN_LONG: u8 = 0x08;
/// `F`: the mapping ends with the DATA_FIN.
pub(super) const DATA_FIN: u8 = 0x10;

/// Data sequence signal: a DATA_ACK, a mapping, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dss {
    /// The next data sequence number that the sender expects.
    pub data_ack: Option<WireSeq>,
    /// Which data the subflow's bytes are.
    pub mapping: Option<DssMapping>,
    /// The mapping's last octet is the DATA_FIN. Without a mapping that says nothing.
    pub data_fin: bool,
}

/// A data sequence number in one of its two forms on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireSeq {
    /// The lower 32 bits.
    Short(u32),
    /// All 64 bits.
    Long(u64),
}

impl WireSeq {
    /// The whole number; the short form means the value that is nearest to `near`, see [`DataSeq::expand`].
    pub const fn resolve(self, near: DataSeq) -> DataSeq {
        match self {
            Self::Short(low) => DataSeq::expand(low, near),
            Self::Long(dsn) => DataSeq(dsn),
        }
    }

    /// Bytes on the wire.
    pub const fn width(self) -> Width {
        match self {
            Self::Short(_) => Width::Short,
            Self::Long(_) => Width::Long,
        }
    }

    fn write(self, writer: &mut Writer) {
        match self {
            Self::Short(low) => writer.put(&low.to_be_bytes()),
            Self::Long(dsn) => writer.put(&dsn.to_be_bytes()),
        }
    }
}

/// The data sequence mapping of a DSS (section 3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DssMapping {
    /// Data sequence number of the first byte.
    pub dsn: WireSeq,
    /// Subflow sequence number of the first byte, relative to the subflow's initial one; 0 for a lone DATA_FIN.
    pub ssn: u32,
    /// Bytes covered, the DATA_FIN included; 0 for an infinite mapping.
    pub len: u16,
    /// The DSS checksum, if checksums are in use; see [`dss_checksum`](super::dss_checksum).
    pub checksum: Option<u16>,
}

impl Dss {
    pub(super) fn len(&self) -> usize {
        room::dss_len(
            self.data_ack.map(WireSeq::width),
            self.mapping.map(|mapping| (mapping.dsn.width(), mapping.checksum.is_some())),
        )
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(&[self.flags()]);
        if let Some(data_ack) = self.data_ack {
            data_ack.write(writer);
        }
        if let Some(mapping) = self.mapping {
            mapping.dsn.write(writer);
            writer.put(&mapping.ssn.to_be_bytes());
            writer.put(&mapping.len.to_be_bytes());
            if let Some(checksum) = mapping.checksum {
                writer.put(&checksum.to_be_bytes());
            }
        }
    }

    fn flags(&self) -> u8 {
        let data_ack = match self.data_ack.map(WireSeq::width) {
            None => 0,
            Some(Width::Short) => DATA_ACK,
            Some(Width::Long) => DATA_ACK | DATA_ACK_LONG,
        };
        let mapping = match self.mapping.map(|mapping| mapping.dsn.width()) {
            None => 0,
            Some(Width::Short) => MAPPING,
            Some(Width::Long) => MAPPING | DSN_LONG,
        };
        data_ack | mapping | if self.data_fin { DATA_FIN } else { 0 }
    }
}

/// Appends a DSS with a DATA_ACK in its long form alone, as nearly every segment without data has it; false, changing nothing, if there is
/// no room.
#[must_use]
#[inline]
pub(crate) fn emit_data_ack(data_ack: u64, out: &mut OptionSpace) -> bool {
    const HEADER: [u8; room::DSS_HEADER] = header(room::DATA_ACK, DATA_ACK | DATA_ACK_LONG);
    let mut option = [0; room::DATA_ACK];
    option[..4].copy_from_slice(&HEADER);
    option[4..].copy_from_slice(&data_ack.to_be_bytes());
    out.push(&option)
}

impl RawDss {
    /// A DSS with a DATA_ACK and a mapping in their long forms, as nearly every segment with data has it.
    #[inline]
    pub(crate) fn mapping(data_ack: u64, dsn: u64, ssn: u32, len: u16, checksum: Option<u16>) -> Self {
        const FLAGS: u8 = DATA_ACK | DATA_ACK_LONG | MAPPING | DSN_LONG;
        let mut option = [0; room::MAX_DSS];
        let length = room::dss_len(Some(Width::Long), Some((Width::Long, checksum.is_some())));
        option[..4].copy_from_slice(&header(length, FLAGS));
        option[4..12].copy_from_slice(&data_ack.to_be_bytes());
        option[12..20].copy_from_slice(&dsn.to_be_bytes());
        option[20..24].copy_from_slice(&ssn.to_be_bytes());
        option[24..26].copy_from_slice(&len.to_be_bytes());
        option[26..].copy_from_slice(&checksum.unwrap_or(0).to_be_bytes());
        Self::beginning(option, length)
    }
}

/// What a DSS of `length` bytes begins with.
#[expect(clippy::cast_possible_truncation, reason = "at most 28")]
const fn header(length: usize, flags: u8) -> [u8; room::DSS_HEADER] {
    [KIND, length as u8, (Subtype::Dss as u8) << 4, flags]
}

impl From<DssView<'_>> for Dss {
    fn from(view: DssView<'_>) -> Self {
        Self { data_ack: view.data_ack(), mapping: view.mapping(), data_fin: view.data_fin() }
    }
}
