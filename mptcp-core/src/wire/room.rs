//! How many of a header's 40 option bytes each option takes, in bytes, kind and length included.
//!
//! Options are not padded here; the stack pads the whole area. SYNs have the least room: MSS,
//! window scale, SACK-permitted and timestamps take up to 20 bytes of it. On later
//! segments timestamps take 12, which leaves exactly [`MAX_DSS`].

use tcp_adapter::OptionSpace;

/// MP_CAPABLE of a SYN (RFC 8684 Figure 4).
pub const CAPABLE_SYN: usize = 4;
/// MP_CAPABLE of a SYN/ACK.
pub const CAPABLE_SYN_ACK: usize = 12;
/// MP_CAPABLE of the third packet without data.
pub const CAPABLE_ACK: usize = 20;
/// MP_CAPABLE of the first data, without checksum.
pub const CAPABLE_DATA: usize = 22;
/// MP_CAPABLE of the first data, with checksum.
pub const CAPABLE_DATA_CHECKSUM: usize = CAPABLE_DATA + CHECKSUM;
/// MP_JOIN of a SYN (Figure 5).
pub const JOIN_SYN: usize = 12;
/// MP_JOIN of a SYN/ACK (Figure 6).
pub const JOIN_SYN_ACK: usize = 16;
/// MP_JOIN of the third packet (Figure 7).
pub const JOIN_ACK: usize = 24;
/// A DSS with a DATA_ACK of 8 bytes alone.
pub const DATA_ACK: usize = dss_len(Some(Width::Long), None);
/// The longest DSS (Figure 9): DATA_ACK and DSN of 8 bytes each, and a checksum.
pub const MAX_DSS: usize = dss_len(Some(Width::Long), Some((Width::Long, true)));
/// MP_PRIO (Figure 11).
pub const PRIO: usize = 3;
/// The longest ADD_ADDR (Figure 12): IPv6 with port and HMAC.
pub const MAX_ADD_ADDR: usize = add_addr_len(Family::V6, true, false);
/// The most address ids that a REMOVE_ADDR can list, if it is alone in its header.
pub const MAX_REMOVED: usize = OptionSpace::MAX - REMOVE_ADDR_HEADER;
/// MP_FASTCLOSE (Figure 14).
pub const FASTCLOSE: usize = 12;
/// MP_TCPRST (Figure 15).
pub const TCPRST: usize = 4;
/// MP_FAIL (Figure 16).
pub const FAIL: usize = 12;

/// The optional checksum at the end of a DSS or of a MP_CAPABLE with data.
pub(super) const CHECKSUM: usize = 2;
/// Kind, length, subtype and flags of a DSS; also the shortest DSS.
pub(super) const DSS_HEADER: usize = 4;
/// Kind, length and subtype of a REMOVE_ADDR.
const REMOVE_ADDR_HEADER: usize = 3;

const _: () = assert!(MAX_DSS == 28, "RFC 8684 section 3.3 gives the maximum");

/// How many bytes a data sequence number takes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 4: the lower half.
    Short = 4,
    /// 8: all of it.
    Long = 8,
}

impl Width {
    /// Of a number whose flag for 8 bytes is `long`.
    pub(super) const fn of(long: bool) -> Self {
        if long { Self::Long } else { Self::Short }
    }
}

/// Family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 4 bytes.
    V4 = 4,
    /// 16 bytes.
    V6 = 16,
}

/// A DSS with this DATA_ACK and this mapping; the flag says whether there is a checksum.
pub const fn dss_len(data_ack: Option<Width>, mapping: Option<(Width, bool)>) -> usize {
    let ack = match data_ack {
        Some(width) => width as usize,
        None => 0,
    };
    let mapping = match mapping {
        Some((dsn, checksum)) => dsn as usize + 4 + 2 + if checksum { CHECKSUM } else { 0 },
        None => 0,
    };
    DSS_HEADER + ack + mapping
}

/// What options of `len` bytes take of a header, which is counted in words of 4 bytes.
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// An ADD_ADDR; an echo has no HMAC.
pub const fn add_addr_len(family: Family, port: bool, echo: bool) -> usize {
    4 + family as usize + if port { 2 } else { 0 } + if echo { 0 } else { 8 }
}

/// A REMOVE_ADDR that lists `count` address ids.
pub const fn remove_addr_len(count: usize) -> usize {
    REMOVE_ADDR_HEADER + count
}
