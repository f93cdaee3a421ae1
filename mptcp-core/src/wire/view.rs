//! Options read in place. Lengths are checked once, when a view is made; after that every field is there.

use tcp_adapter::OptionSpace;

use super::dss::{DATA_ACK, DATA_ACK_LONG, DATA_FIN, DSN_LONG, MAPPING};
use super::raw::RawDss;
use super::room::{self, Family, Width};
use super::{DssMapping, KIND, LOWEST_FLAG, Subtype, WireError, WireSeq};

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// The MPTCP options of an option area, read in place.
///
/// Other options are passed over, and what follows an end-of-options is not looked at. An
/// impossible length of any option is an error and ends the iteration; a malformed MPTCP option
/// is an error of its own, and what follows it is read.
pub fn views(area: &[u8]) -> Views<'_> {
    Views { rest: area }
}

/// Iterator of [`views`].
#[derive(Clone, Debug)]
pub struct Views<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Views<'a> {
    type Item = Result<OptionView<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let area = self.rest;
            match *area {
                [NO_OPERATION, ref rest @ ..] => self.rest = rest,
                [] | [END_OF_OPTIONS, ..] => {
                    self.rest = &[];
                    return None;
                }
                [kind] => {
                    self.rest = &[];
                    return Some(Err(WireError::MissingLength { kind }));
                }
                [kind, length, ..] if length < 2 || usize::from(length) > area.len() => {
                    self.rest = &[];
                    return Some(Err(WireError::Overrun { kind, length, available: area.len() }));
                }
                [kind, length, ..] => {
                    let (option, rest) = area.split_at(usize::from(length));
                    self.rest = rest;
                    if kind == KIND {
                        return Some(OptionView::parse(option));
                    }
                }
            }
        }
    }
}

impl std::iter::FusedIterator for Views<'_> {}

/// One MPTCP option whose length is right for its subtype and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionView<'a> {
    subtype: Subtype,
    bytes: &'a [u8],
}

impl<'a> OptionView<'a> {
    /// Checks a whole option, kind and length included.
    pub fn parse(option: &'a [u8]) -> Result<Self, WireError> {
        let length = option.len();
        let subtype = match *option {
            [KIND, claimed, ..] if usize::from(claimed) != length => {
                return Err(WireError::LengthByte { claimed, length });
            }
            [KIND, _, third, ..] => third >> 4,
            [KIND, ..] => return Err(WireError::NoSubtype { length }),
            _ => return Err(WireError::NotMptcp { length }),
        };
        let subtype = Subtype::from_bits(subtype).ok_or(WireError::UnknownSubtype { subtype, length })?;
        let view = Self { subtype, bytes: option };
        view.check_length()?;
        Ok(view)
    }

    /// Which option it is.
    pub fn subtype(&self) -> Subtype {
        self.subtype
    }

    /// The whole option, kind and length included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The 4 bits beside the subtype: the version of MP_CAPABLE, the flags of most others.
    pub fn low_bits(&self) -> u8 {
        self.bytes[2] & 0x0f
    }

    /// Reads it as a DSS; `None` if it is another option.
    pub fn dss(&self) -> Option<DssView<'a>> {
        (self.subtype == Subtype::Dss).then_some(self.dss_fields())
    }

    /// Reads it as a DSS, which it must be.
    pub(super) fn dss_fields(&self) -> DssView<'a> {
        DssView { bytes: self.bytes }
    }

    /// The lowest of the [`low_bits`](Self::low_bits): `B` of MP_JOIN and MP_PRIO, `E` of ADD_ADDR, `T` of MP_TCPRST.
    pub(super) fn lowest_flag(&self) -> bool {
        self.low_bits() & LOWEST_FLAG != 0
    }

    /// `N` bytes from position `at` of the option, which the checked length must cover.
    pub(super) fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        field(self.bytes, at)
    }

    fn check_length(&self) -> Result<(), WireError> {
        let Self { subtype, bytes } = *self;
        let length = bytes.len();
        let fits = match subtype {
            Subtype::MpCapable => {
                let fits = matches!(
                    length,
                    room::CAPABLE_SYN
                        | room::CAPABLE_SYN_ACK
                        | room::CAPABLE_ACK
                        | room::CAPABLE_DATA
                        | room::CAPABLE_DATA_CHECKSUM
                );
                return if fits { Ok(()) } else { Err(WireError::CapableLength { version: self.low_bits(), length }) };
            }
            Subtype::Dss if length >= room::DSS_HEADER => return self.dss_fields().check_length(),
            Subtype::Dss => false,
            Subtype::AddAddr => return self.check_add_addr_length(),
            Subtype::MpJoin => matches!(length, room::JOIN_SYN | room::JOIN_SYN_ACK | room::JOIN_ACK),
            Subtype::RemoveAddr => (room::remove_addr_len(1)..=OptionSpace::MAX).contains(&length),
            Subtype::MpPrio => length == room::PRIO,
            Subtype::MpFail => length == room::FAIL,
            Subtype::MpFastclose => length == room::FASTCLOSE,
            Subtype::MpTcprst => length == room::TCPRST,
        };
        if fits { Ok(()) } else { Err(WireError::Length { subtype, length }) }
    }

    fn check_add_addr_length(&self) -> Result<(), WireError> {
        let (family, port) = self.add_addr_form();
        let length = self.bytes.len();
        if length == room::add_addr_len(family, port, self.lowest_flag()) {
            return Ok(());
        }
        Err(WireError::FlagsLength { subtype: self.subtype, flags: self.low_bits(), length })
    }

    /// The family and whether there is a port, as the length of an ADD_ADDR tells them (section 3.4.1).
    pub(super) fn add_addr_form(&self) -> (Family, bool) {
        let length = self.bytes.len();
        // The shortest form with an IPv6 address is longer than the longest with an IPv4 address.
        let family = if length < room::add_addr_len(Family::V6, false, true) { Family::V4 } else { Family::V6 };
        (family, length == room::add_addr_len(family, true, self.lowest_flag()))
    }
}

/// An option area that consists of a DSS with a DATA_ACK and nothing else, as in nearly all segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoneDss<'a> {
    area: &'a [u8],
    flags: u8,
    /// The DATA_ACK.
    pub(crate) data_ack: WireSeq,
    /// What follows it: the mapping.
    rest: &'a [u8],
}

impl<'a> LoneDss<'a> {
    /// Reads an area; `None` if it holds anything else, or a DATA_FIN.
    #[inline]
    pub(crate) fn read(area: &'a [u8]) -> Option<Self> {
        let [KIND, length, subtype, flags, ref fields @ ..] = *area else { return None };
        if usize::from(length) != area.len() || subtype >> 4 != Subtype::Dss as u8 || flags & DATA_FIN != 0 {
            return None;
        }
        const LONG: u8 = DATA_ACK | DATA_ACK_LONG;
        let (data_ack, rest) = match flags & LONG {
            LONG => {
                let (ack, rest) = fields.split_first_chunk()?;
                (WireSeq::Long(u64::from_be_bytes(*ack)), rest)
            }
            DATA_ACK => {
                let (ack, rest) = fields.split_first_chunk()?;
                (WireSeq::Short(u32::from_be_bytes(*ack)), rest)
            }
            _ => return None,
        };
        Some(Self { area, flags, data_ack, rest })
    }

    /// Whether there is no mapping, or that of `known`, another area with a DSS alone.
    #[inline]
    pub(crate) fn maps_nothing_but(&self, known: Option<&RawDss>) -> bool {
        if self.rest.is_empty() {
            return self.flags & MAPPING == 0;
        }
        let same =
            |known: &[u8]| known.len() == self.area.len() && known[3] == self.flags && known.ends_with(self.rest);
        known.is_some_and(|known| same(known.as_slice()))
    }

    /// The mapping; `None` if there is none, or if it is not of the right length.
    #[inline]
    pub(crate) fn mapping(&self) -> Option<DssMapping> {
        let (dsn, rest) = match self.flags & (MAPPING | DSN_LONG) {
            MAPPING => {
                let (dsn, rest) = self.rest.split_first_chunk()?;
                (WireSeq::Short(u32::from_be_bytes(*dsn)), rest)
            }
            // The bit for the long form has no meaning of its own.
            0 | DSN_LONG => return None,
            _ => {
                let (dsn, rest) = self.rest.split_first_chunk()?;
                (WireSeq::Long(u64::from_be_bytes(*dsn)), rest)
            }
        };
        let (ssn, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let checksum = match *rest {
            [] => None,
            [high, low] => Some(u16::from_be_bytes([high, low])),
            _ => return None,
        };
        Some(DssMapping { dsn, ssn: u32::from_be_bytes(*ssn), len: u16::from_be_bytes(*len), checksum })
    }
}

/// A DSS (RFC 8684 Figure 9) read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DssView<'a> {
    bytes: &'a [u8],
}

impl DssView<'_> {
    /// The DATA_ACK, if there is one.
    #[inline]
    pub fn data_ack(&self) -> Option<WireSeq> {
        self.data_ack_width().map(|width| self.seq(room::DSS_HEADER, width))
    }

    /// The mapping, if there is one.
    #[inline]
    pub fn mapping(&self) -> Option<DssMapping> {
        let width = self.dsn_width()?;
        let at = room::dss_len(self.data_ack_width(), None);
        let ssn = at + width as usize;
        let checksum = self.has_checksum(width).then(|| u16::from_be_bytes(field(self.bytes, ssn + 6)));
        Some(DssMapping {
            dsn: self.seq(at, width),
            ssn: u32::from_be_bytes(field(self.bytes, ssn)),
            len: u16::from_be_bytes(field(self.bytes, ssn + 4)),
            checksum,
        })
    }

    /// Whether the mapping ends with the DATA_FIN.
    #[inline]
    pub fn data_fin(&self) -> bool {
        self.flag(DATA_FIN)
    }

    #[inline]
    fn check_length(&self) -> Result<(), WireError> {
        let length = self.bytes.len();
        let ack = self.data_ack_width();
        let fits = match self.dsn_width() {
            None => length == room::dss_len(ack, None),
            // Whether there is a checksum is inferred from the length (section 3.3).
            Some(dsn) => [false, true].iter().any(|&checksum| length == room::dss_len(ack, Some((dsn, checksum)))),
        };
        if fits {
            return Ok(());
        }
        Err(WireError::FlagsLength { subtype: Subtype::Dss, flags: self.bytes[3], length })
    }

    // "a" and "m" have a meaning beside "A" and "M" only (section 3.3).

    #[inline]
    fn data_ack_width(&self) -> Option<Width> {
        self.flag(DATA_ACK).then(|| Width::of(self.flag(DATA_ACK_LONG)))
    }

    #[inline]
    fn dsn_width(&self) -> Option<Width> {
        self.flag(MAPPING).then(|| Width::of(self.flag(DSN_LONG)))
    }

    #[inline]
    fn has_checksum(&self, dsn: Width) -> bool {
        self.bytes.len() == room::dss_len(self.data_ack_width(), Some((dsn, true)))
    }

    #[inline]
    fn flag(&self, flag: u8) -> bool {
        self.bytes[3] & flag != 0
    }

    #[inline]
    fn seq(&self, at: usize, width: Width) -> WireSeq {
        match width {
            Width::Short => WireSeq::Short(u32::from_be_bytes(field(self.bytes, at))),
            Width::Long => WireSeq::Long(u64::from_be_bytes(field(self.bytes, at))),
        }
    }
}

#[inline]
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
