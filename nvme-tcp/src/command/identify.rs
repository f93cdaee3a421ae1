//! The structures that Identify returns (4096 bytes each).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Which structure Identify asks for: CNS.
pub mod cns {
    /// [`IdentifyNamespace`](super::IdentifyNamespace).
    pub const NAMESPACE: u8 = 0x00;
    /// [`IdentifyController`](super::IdentifyController).
    pub const CONTROLLER: u8 = 0x01;
    /// The active namespaces after the given one: up to 1024 identifiers.
    pub const ACTIVE_NAMESPACES: u8 = 0x02;
    /// [`NamespaceId`](super::NamespaceId)s.
    pub const NAMESPACE_IDS: u8 = 0x03;
    /// What the NVM command set adds on a namespace.
    pub const COMMAND_SET_NAMESPACE: u8 = 0x05;
    /// [`IdentifyNvmController`](super::IdentifyNvmController).
    pub const COMMAND_SET_CONTROLLER: u8 = 0x06;
    /// The active namespaces of a command set.
    pub const COMMAND_SET_ACTIVE_NAMESPACES: u8 = 0x07;
    /// [`IdentifyIndependentNamespace`](super::IdentifyIndependentNamespace).
    pub const INDEPENDENT_NAMESPACE: u8 = 0x08;
    /// The allocated namespaces after the given one.
    pub const ALLOCATED_NAMESPACES: u8 = 0x10;
    /// [`IdentifyNamespace`](super::IdentifyNamespace) of an allocated namespace.
    pub const ALLOCATED_NAMESPACE: u8 = 0x11;
    /// Controllers that a namespace is attached to.
    pub const ATTACHED_CONTROLLERS: u8 = 0x12;
    /// Controllers of the subsystem.
    pub const CONTROLLERS: u8 = 0x13;
    /// The combinations of command sets that controllers support.
    pub const COMMAND_SETS: u8 = 0x1c;
}

/// Bytes of what Identify returns.
pub const IDENTIFY_LEN: usize = 4096;

/// Identify Controller (CNS 01h). What has no meaning with Fabrics, or is not in use here, is within the reserved fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named as in the specification")]
pub struct IdentifyController {
    pub vid: U16,
    pub ssvid: U16,
    /// Serial number: ASCII, padded with spaces.
    pub sn: [u8; 20],
    /// Model number: ASCII, padded with spaces.
    pub mn: [u8; 40],
    /// Firmware revision: ASCII, padded with spaces.
    pub fr: [u8; 8],
    pub rab: u8,
    pub ieee: [u8; 3],
    /// See [`cmic`].
    pub cmic: u8,
    /// Transfers have at most 2^this pages of the smallest size; 0 for no limit.
    pub mdts: u8,
    pub cntlid: U16,
    pub ver: U32,
    pub rtd3r: U32,
    pub rtd3e: U32,
    /// The events that exist; bits as in [`EventMask`](super::EventMask).
    pub oaes: U32,
    /// See [`ctratt`].
    pub ctratt: U32,
    reserved100: [u8; 11],
    /// 1 for I/O, 2 for discovery, 3 for administration.
    pub cntrltype: u8,
    pub fguid: [u8; 16],
    /// The delays that CRD of a status chooses from, in units of 100 ms.
    pub crdt: [U16; 3],
    reserved134: [u8; 122],
    pub oacs: U16,
    /// Aborts that may be outstanding, counted from 0.
    pub acl: u8,
    /// Asynchronous Event Requests that may be outstanding, counted from 0.
    pub aerl: u8,
    pub frmw: u8,
    /// See [`lpa`].
    pub lpa: u8,
    /// Entries of the error log, counted from 0.
    pub elpe: u8,
    pub npss: u8,
    reserved264: [u8; 2],
    pub wctemp: U16,
    pub cctemp: U16,
    reserved270: [u8; 10],
    pub tnvmcap: U128,
    pub unvmcap: U128,
    reserved312: [u8; 8],
    /// Granularity of keep-alive timeouts in units of 100 ms; 0 where there is no keep-alive.
    pub kas: U16,
    reserved322: [u8; 20],
    /// Seconds that an ANA transition may take.
    pub anatt: u8,
    /// Bits 4:0 say which ANA states may occur, bit 6 that the group of a namespace never changes.
    pub anacap: u8,
    pub anagrpmax: U32,
    pub nanagrpid: U32,
    reserved352: [u8; 160],
    pub sqes: u8,
    pub cqes: u8,
    /// Commands that may be outstanding per queue.
    pub maxcmd: U16,
    /// The largest namespace identifier.
    pub nn: U32,
    /// See [`oncs`].
    pub oncs: U16,
    /// Bit 0: Compare and Write.
    pub fuses: U16,
    pub fna: u8,
    /// Bit 0: there is a volatile write cache; bits 2:1: whether Flush takes namespace ffffffffh (3 yes, 2 no).
    pub vwc: u8,
    pub awun: U16,
    pub awupf: U16,
    pub nvscc: u8,
    pub nwpc: u8,
    /// Blocks that Compare and Write is atomic for, counted from 0.
    pub acwu: U16,
    /// Bit 0: format 0 of Copy.
    pub ocfs: U16,
    /// See [`sgls`].
    pub sgls: U32,
    /// Namespaces that may exist; required with ANA.
    pub mnan: U32,
    pub maxdna: U128,
    pub maxcna: U32,
    reserved564: [u8; 204],
    /// NUL ends it.
    pub subnqn: [u8; 256],
    reserved1024: [u8; 768],
    /// Capsules of I/O commands, in units of 16 bytes, with the 64 of the entry.
    pub ioccsz: U32,
    /// Capsules of responses, in units of 16 bytes.
    pub iorcsz: U32,
    /// Where in-capsule data begins after the entry, in units of 16 bytes.
    pub icdoff: U16,
    /// Bit 0: static controllers.
    pub fcatt: u8,
    /// SGL data block descriptors per capsule; 0 for no limit.
    pub msdbd: u8,
    /// Bit 0: Disconnect deletes I/O queues.
    pub ofcs: U16,
    reserved1806: [u8; 242],
    reserved2048: [u8; 1024],
    reserved3072: [u8; 1024],
}

impl IdentifyController {
    /// Bytes of data that capsules of I/O commands may carry.
    pub fn in_capsule_data(&self) -> u32 {
        self.ioccsz.get().saturating_mul(16).saturating_sub(64)
    }
}

/// Bits of CMIC.
pub mod cmic {
    /// The subsystem may have several ports.
    pub const PORTS: u8 = 1 << 0;
    /// The subsystem may have several controllers.
    pub const CONTROLLERS: u8 = 1 << 1;
    /// Asymmetric namespace access is reported.
    pub const ANA: u8 = 1 << 3;
}

/// Bits of CTRATT.
pub mod ctratt {
    /// Host identifiers have 128 bits.
    pub const HOST_ID_128: u32 = 1 << 0;
    /// Any traffic keeps the association alive.
    pub const TRAFFIC_KEEP_ALIVE: u32 = 1 << 6;
}

/// Bits of LPA.
pub mod lpa {
    /// The SMART log is available for each namespace.
    pub const SMART_PER_NAMESPACE: u8 = 1 << 0;
    /// There is a log of supported commands and their effects.
    pub const COMMAND_EFFECTS: u8 = 1 << 1;
    /// Get Log Page takes offsets, and lengths of 32 bits.
    pub const EXTENDED: u8 = 1 << 2;
}

/// Bits of ONCS.
pub mod oncs {
    /// Compare.
    pub const COMPARE: u16 = 1 << 0;
    /// Write Uncorrectable.
    pub const WRITE_UNCORRECTABLE: u16 = 1 << 1;
    /// Dataset Management.
    pub const DATASET_MANAGEMENT: u16 = 1 << 2;
    /// Write Zeroes.
    pub const WRITE_ZEROES: u16 = 1 << 3;
    /// Reservations.
    pub const RESERVATIONS: u16 = 1 << 5;
    /// Verify.
    pub const VERIFY: u16 = 1 << 7;
    /// Copy.
    pub const COPY: u16 = 1 << 8;
}

/// Bits of SGLS.
pub mod sgls {
    /// SGLs are supported, without demands on alignment.
    pub const SUPPORTED: u32 = 1 << 0;
    /// Addresses may be offsets: in-capsule data.
    pub const OFFSET: u32 = 1 << 20;
    /// Transport data blocks.
    pub const TRANSPORT: u32 = 1 << 21;
}

/// A format of logical blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LbaFormat {
    /// Bytes of metadata per block.
    pub ms: U16,
    /// Blocks have 2^this bytes.
    pub lbads: u8,
    /// Relative performance: 0 is best.
    pub rp: u8,
}

/// Identify Namespace (CNS 00h) of the NVM command set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named as in the specification")]
pub struct IdentifyNamespace {
    /// Size in blocks; 0 for a namespace that is not active.
    pub nsze: U64,
    pub ncap: U64,
    pub nuse: U64,
    /// Bit 0: thin provisioning; bit 3: identifiers are never used again; bit 4: NPWG to NOWS have a meaning.
    pub nsfeat: u8,
    /// Formats, counted from 0.
    pub nlbaf: u8,
    pub flbas: u8,
    pub mc: u8,
    pub dpc: u8,
    pub dps: u8,
    /// Bit 0: several controllers may share it.
    pub nmic: u8,
    /// Reservations that are supported: bit 0 says that they persist, bits 6:1 which types, bit 7 what ignoring a key means.
    pub rescap: u8,
    pub fpi: u8,
    /// Bits 2:0: what deallocated blocks read as (1 zeroes); bit 3: Write Zeroes can deallocate.
    pub dlfeat: u8,
    pub nawun: U16,
    pub nawupf: U16,
    pub nacwu: U16,
    pub nabsn: U16,
    pub nabo: U16,
    pub nabspf: U16,
    pub noiob: U16,
    pub nvmcap: U128,
    pub npwg: U16,
    pub npwa: U16,
    pub npdg: U16,
    pub npda: U16,
    pub nows: U16,
    /// Blocks per range of Copy.
    pub mssrl: U16,
    /// Blocks per Copy.
    pub mcl: U32,
    /// Ranges per Copy, counted from 0.
    pub msrc: u8,
    reserved81: [u8; 11],
    pub anagrpid: U32,
    reserved96: [u8; 3],
    /// Bit 0: write protected.
    pub nsattr: u8,
    pub nvmsetid: U16,
    pub endgid: U16,
    pub nguid: [u8; 16],
    pub eui64: [u8; 8],
    pub lbaf: [LbaFormat; 64],
    reserved384: [u8; 3712],
}

impl IdentifyNamespace {
    /// The format that the namespace has.
    pub fn format(&self) -> LbaFormat {
        self.lbaf[usize::from(self.flbas & 0xf | (self.flbas >> 5 & 0b11) << 4)]
    }
}

/// What the NVM command set adds on a controller (CNS 06h, CSI 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNvmController {
    /// Limit of Verify: 2^this pages of the smallest size; 0 for none.
    pub vsl: u8,
    /// Limit of Write Zeroes: 2^this pages of the smallest size; 0 for none.
    pub wzsl: u8,
    /// Limit of Write Uncorrectable: 2^this pages of the smallest size; 0 for none.
    pub wusl: u8,
    /// Ranges of Dataset Management; 0 for no limit.
    pub dmrl: u8,
    /// Blocks per range of Dataset Management; 0 for no limit.
    pub dmrsl: U32,
    /// Blocks per Dataset Management; 0 for no limit.
    pub dmsl: U64,
    reserved16: [u8; 4080],
}

/// What all command sets say of a namespace (CNS 08h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named as in the specification")]
pub struct IdentifyIndependentNamespace {
    pub nsfeat: u8,
    pub nmic: u8,
    pub rescap: u8,
    pub fpi: u8,
    pub anagrpid: U32,
    pub nsattr: u8,
    reserved9: u8,
    pub nvmsetid: U16,
    pub endgid: U16,
    /// Bit 0: ready.
    pub nstat: u8,
    reserved15: [u8; 4081],
}

/// An identifier in the list of CNS 03h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamespaceId {
    /// NIDT 1.
    Eui64([u8; 8]),
    /// NIDT 2.
    Nguid([u8; 16]),
    /// NIDT 3.
    Uuid([u8; 16]),
    /// NIDT 4: the command set; 0 is NVM.
    CommandSet(u8),
}

impl NamespaceId {
    /// The list of these identifiers, without the zeroes that fill the 4096 bytes.
    pub fn list(identifiers: &[Self]) -> Vec<u8> {
        let mut list = Vec::with_capacity(identifiers.len() * 20);
        for identifier in identifiers {
            let (kind, bytes): (u8, &[u8]) = match identifier {
                Self::Eui64(bytes) => (1, bytes),
                Self::Nguid(bytes) => (2, bytes),
                Self::Uuid(bytes) => (3, bytes),
                Self::CommandSet(set) => (4, std::slice::from_ref(set)),
            };
            list.extend_from_slice(&[kind, bytes.len() as u8, 0, 0]);
            list.extend_from_slice(bytes);
        }
        list
    }

    /// The identifiers of a list, without those of unknown types. It ends where a descriptor does not fit, or has length 0.
    pub fn read_list(mut list: &[u8]) -> Vec<Self> {
        let mut identifiers = Vec::new();
        while let [kind, length, _, _, rest @ ..] = list
            && *length != 0
            && let Some((bytes, behind)) = rest.split_at_checked(usize::from(*length))
        {
            match kind {
                1 => identifiers.extend(bytes.try_into().ok().map(Self::Eui64)),
                2 => identifiers.extend(bytes.try_into().ok().map(Self::Nguid)),
                3 => identifiers.extend(bytes.try_into().ok().map(Self::Uuid)),
                4 if *length == 1 => identifiers.push(Self::CommandSet(bytes[0])),
                _ => {}
            }
            list = behind;
        }
        identifiers
    }
}

/// `text` as ASCII, cut or padded with spaces: serial number, model and firmware revision.
pub fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = if (0x20..0x7f).contains(&from) { from } else { b'?' };
    }
    field
}

/// The text of a field that is padded with spaces or NULs; what is not printable ASCII becomes `?`.
pub fn trimmed(field: &[u8]) -> String {
    let end = field.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
    field[..end].iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' }).collect()
}
