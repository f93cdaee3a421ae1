//! Log pages.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Identifiers of log pages: LID.
pub mod lid {
    /// Which pages there are: 256 dwords, of which bit 0 says that the page exists.
    pub const SUPPORTED: u8 = 0x00;
    /// [`ErrorEntry`](super::ErrorEntry)s, the newest first.
    pub const ERROR: u8 = 0x01;
    /// [`SmartLog`](super::SmartLog).
    pub const SMART: u8 = 0x02;
    /// [`FirmwareLog`](super::FirmwareLog).
    pub const FIRMWARE: u8 = 0x03;
    /// Namespaces that changed since it was last read: 1024 identifiers, ended by 0. See [`TOO_MANY_CHANGED`](super::TOO_MANY_CHANGED).
    pub const CHANGED_NAMESPACES: u8 = 0x04;
    /// [`EffectsLog`](super::EffectsLog).
    pub const COMMAND_EFFECTS: u8 = 0x05;
    /// [`AnaHeader`](super::AnaHeader) and [`AnaGroup`](super::AnaGroup)s.
    pub const ANA: u8 = 0x0c;
    /// [`DiscoveryHeader`](super::DiscoveryHeader) and entries.
    pub const DISCOVERY: u8 = 0x70;
}

/// The only entry of a log of changed namespaces that cannot list them all.
pub const TOO_MANY_CHANGED: u32 = 0xffff_ffff;

/// An entry of the error log (64 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ErrorEntry {
    /// Counts errors from 1; 0 in entries that are not in use.
    pub error_count: U64,
    /// The queue of the command.
    pub sqid: U16,
    /// The command.
    pub cid: U16,
    /// The status field of its completion.
    pub status: U16,
    /// Byte (bits 7:0) and bit (10:8) of the parameter that was wrong; ffffh for none.
    pub parameter: U16,
    /// The first block that failed.
    pub lba: U64,
    /// The namespace.
    pub nsid: U32,
    reserved28: [u8; 1],
    /// TRTYPE.
    pub transport: u8,
    reserved30: [u8; 34],
}

/// The SMART / health log (512 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SmartLog {
    /// Bits of what is wrong; 0 if all is well.
    pub critical_warning: u8,
    /// In kelvin.
    pub temperature: U16,
    /// In percent.
    pub available_spare: u8,
    /// In percent: below it a warning is due.
    pub available_spare_threshold: u8,
    /// In percent of what the medium is made for.
    pub percentage_used: u8,
    reserved6: [u8; 26],
    /// In thousands of 512 bytes, rounded up.
    pub data_units_read: U128,
    /// In thousands of 512 bytes, rounded up.
    pub data_units_written: U128,
    /// Read, Compare and Verify commands.
    pub host_reads: U128,
    /// Write commands.
    pub host_writes: U128,
    /// In minutes.
    pub busy_time: U128,
    /// How often it was powered.
    pub power_cycles: U128,
    /// In hours.
    pub power_on_hours: U128,
    /// How often it lost power.
    pub unsafe_shutdowns: U128,
    /// Errors of the medium.
    pub media_errors: U128,
    /// Entries that the error log ever had.
    pub error_entries: U128,
    /// In minutes.
    pub warning_temperature_time: U32,
    /// In minutes.
    pub critical_temperature_time: U32,
    /// In kelvin; 0 for sensors that do not exist.
    pub temperature_sensors: [U16; 8],
    reserved216: [u8; 296],
}

/// The firmware log (512 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FirmwareLog {
    /// Bits 2:0: the slot in use.
    pub active: u8,
    reserved1: [u8; 7],
    /// The revisions in slots 1 to 7.
    pub revisions: [[u8; 8]; 7],
    reserved64: [u8; 448],
}

/// Which commands there are, and what they affect (4096 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EffectsLog {
    /// Admin commands, by opcode. See [`effects`].
    pub admin: [U32; 256],
    /// I/O commands, by opcode. See [`effects`].
    pub io: [U32; 256],
    reserved2048: [u8; 2048],
}

/// Bits of an entry of [`EffectsLog`].
pub mod effects {
    /// CSUPP: the command exists.
    pub const SUPPORTED: u32 = 1 << 0;
    /// LBCC: it may change the content of blocks.
    pub const CHANGES_BLOCKS: u32 = 1 << 1;
}

/// The beginning of the ANA log (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaHeader {
    /// Changes with the log.
    pub change_count: U64,
    /// How many [`AnaGroup`]s follow.
    pub groups: U16,
    reserved10: [u8; 6],
}

impl AnaHeader {
    /// The beginning of a log.
    pub fn new(change_count: u64, groups: u16) -> Self {
        Self { change_count: change_count.into(), groups: groups.into(), reserved10: [0; 6] }
    }
}

/// LSP bit 0 of the ANA log: groups only, without their namespaces.
pub const ANA_GROUPS_ONLY: u8 = 1 << 0;

/// An ANA group in the log (32 bytes); its namespaces' identifiers, 4 bytes each, follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaGroup {
    /// ANAGRPID, from 1.
    pub group: U32,
    /// NNSID: how many identifiers follow.
    pub namespaces: U32,
    /// Changes with the group.
    pub change_count: U64,
    /// Its state in bits 3:0; see [`state`](Self::state).
    pub raw_state: u8,
    reserved17: [u8; 15],
}

impl AnaGroup {
    /// A group.
    pub fn new(group: u32, namespaces: u32, change_count: u64, state: AnaState) -> Self {
        Self {
            group: group.into(),
            namespaces: namespaces.into(),
            change_count: change_count.into(),
            raw_state: state as u8,
            reserved17: [0; 15],
        }
    }

    /// Its state, if it is one that is known.
    pub fn state(&self) -> Option<AnaState> {
        AnaState::from_byte(self.raw_state & 0xf)
    }
}

super::sqe::codes! {
    /// How a controller reaches the namespaces of an ANA group.
    AnaState {
        /// As well as any.
        Optimized = 0x1,
        /// Not as well as another.
        NonOptimized = 0x2,
        /// Not at present.
        Inaccessible = 0x3,
        /// Never again.
        PersistentLoss = 0x4,
        /// It is changing.
        Change = 0xf,
    }
}

/// The beginning of the discovery log (1024 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryHeader {
    /// GENCTR: changes with the log. Who reads it in parts has to see the same at the end.
    pub generation: U64,
    /// NUMREC: how many entries follow.
    pub records: U64,
    /// RECFMT: 0.
    pub format: U16,
    reserved18: [u8; 1006],
}

impl DiscoveryHeader {
    /// The beginning of a log.
    pub fn new(generation: u64, records: u64) -> Self {
        Self { generation: generation.into(), records: records.into(), format: U16::ZERO, reserved18: [0; 1006] }
    }
}

/// An entry of the discovery log (1024 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryEntry {
    /// TRTYPE: 3 for TCP.
    pub transport: u8,
    /// ADRFAM: 1 for IPv4, 2 for IPv6.
    pub family: u8,
    /// SUBTYPE; see [`SubsystemType`].
    pub subtype: u8,
    /// TREQ: bits 1:0 say whether a secure channel is needed (1), or not (2); bit 2 that SQ flow control can be disabled.
    pub requirements: u8,
    /// PORTID.
    pub port: U16,
    /// CNTLID: ffffh for any.
    pub controller: U16,
    /// ASQSZ: entries of the longest admin queue.
    pub admin_queue: U16,
    /// EFLAGS.
    pub flags: U16,
    reserved12: [u8; 20],
    /// TRSVCID: the port's number as text, padded with spaces.
    pub service: [u8; 32],
    reserved64: [u8; 192],
    /// SUBNQN.
    pub subnqn: [u8; 256],
    /// TRADDR: the address as text, padded with spaces.
    pub address: [u8; 256],
    /// SECTYPE: 0 for none, 2 for TLS 1.3.
    pub security: u8,
    reserved769: [u8; 255],
}

/// TRTYPE of TCP.
pub const TRANSPORT_TCP: u8 = 3;

super::sqe::codes! {
    /// SUBTYPE of an entry of the discovery log.
    SubsystemType {
        /// Another discovery service.
        Referral = 1,
        /// A subsystem with namespaces.
        Nvm = 2,
        /// The discovery service itself.
        CurrentDiscovery = 3,
    }
}

impl DiscoveryEntry {
    /// A subsystem that is reached over TCP at an IP address.
    pub fn tcp(subtype: SubsystemType, port: u16, address: std::net::SocketAddr, subsystem: &super::Nqn) -> Self {
        let mut entry = Self::new_zeroed();
        entry.transport = TRANSPORT_TCP;
        entry.family = if address.is_ipv4() { 1 } else { 2 };
        entry.subtype = subtype as u8;
        entry.port = port.into();
        entry.controller = super::ANY_CONTROLLER.into();
        entry.admin_queue = 32.into();
        entry.service = super::padded(&address.port().to_string());
        entry.subnqn = subsystem.to_field();
        entry.address = super::padded(&address.ip().to_string());
        entry
    }
}
