//! Fabrics commands.

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sqe::FABRICS;
use super::{FabricsType, Nqn, NqnError, Sgl, Sqe, StatusCode};

/// CNTLID in Connect on the admin queue: any controller will do. There are no others with this transport's dynamic model.
pub const ANY_CONTROLLER: u16 = 0xffff;

/// A Fabrics command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FabricsCommand {
    /// Connects a queue; [`ConnectData`] comes with it.
    Connect(Connect),
    /// Ends the connection of an I/O queue.
    Disconnect,
    /// Reads a property.
    PropertyGet {
        /// Its offset.
        offset: u32,
        /// Bytes to read: 4 or 8.
        size: usize,
    },
    /// Writes a property.
    PropertySet {
        /// Its offset.
        offset: u32,
        /// Bytes to write: 4 or 8.
        size: usize,
        /// The value.
        value: u64,
    },
    /// Hands the controller a message of authentication.
    AuthSend(Auth),
    /// Asks the controller for a message of authentication.
    AuthReceive(Auth),
}

/// Connect: which queue the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// QID: 0 for the admin queue.
    pub queue: u16,
    /// SQSIZE: entries of the queue, from 1. (The field counts from 0.)
    pub entries: u32,
    /// CATTR.
    pub attributes: ConnectAttributes,
    /// KATO: keep-alive timeout in ms; 0 for none. On the admin queue only.
    pub keep_alive: u32,
}

/// CATTR of Connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectAttributes(pub u8);

impl ConnectAttributes {
    /// The host does not want SQ flow control: the controller need not tell it the SQ head.
    pub const DISABLE_FLOW_CONTROL: Self = Self(1 << 2);
    /// The host can delete single I/O queues with Disconnect.
    pub const QUEUE_DELETION: Self = Self(1 << 3);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Authentication Send or Receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth {
    /// SECP: security protocol. 0xe9 is the one of NVMe.
    pub protocol: u8,
    /// SPSP: which part of it; 0x0101.
    pub specific: u16,
    /// TL of Send: bytes sent. AL of Receive: bytes that there is room for.
    pub length: u32,
}

impl FabricsCommand {
    /// Reads the command.
    ///
    /// # Errors
    /// The status to complete it with.
    pub fn parse(sqe: &Sqe) -> Result<Self, StatusCode> {
        debug_assert_eq!(sqe.opcode, FABRICS);
        let offset = sqe.cdw11.get();
        let size = match sqe.cdw10.get() & 0b111 {
            0 => Ok(4),
            1 => Ok(8),
            _ => Err(StatusCode::InvalidField),
        };
        let auth = || {
            let [_, spsp0, spsp1, protocol] = sqe.cdw10.get().to_le_bytes();
            Auth { protocol, specific: u16::from_le_bytes([spsp0, spsp1]), length: sqe.cdw11.get() }
        };
        Ok(match FabricsType::from_byte(sqe.fabrics_type()).ok_or(StatusCode::InvalidOpcode)? {
            FabricsType::Connect => {
                let [low, high, queue_low, queue_high] = sqe.cdw10.get().to_le_bytes();
                if [low, high] != [0, 0] {
                    return Err(StatusCode::ConnectIncompatibleFormat);
                }
                let cdw11 = sqe.cdw11.get();
                Self::Connect(Connect {
                    queue: u16::from_le_bytes([queue_low, queue_high]),
                    entries: (cdw11 & 0xffff) + 1,
                    attributes: ConnectAttributes((cdw11 >> 16) as u8),
                    keep_alive: sqe.cdw12.get(),
                })
            }
            FabricsType::Disconnect if sqe.cdw10.get() & 0xffff != 0 => {
                return Err(StatusCode::ConnectIncompatibleFormat);
            }
            FabricsType::Disconnect => Self::Disconnect,
            FabricsType::PropertyGet => Self::PropertyGet { offset, size: size? },
            FabricsType::PropertySet => {
                let size = size?;
                let value = if size == 4 { sqe.cdw12.get().into() } else { sqe.cdw12_13() };
                Self::PropertySet { offset, size, value }
            }
            FabricsType::AuthSend => Self::AuthSend(auth()),
            FabricsType::AuthReceive => Self::AuthReceive(auth()),
        })
    }

    /// The command as an entry: Connect has its data in the capsule, and so has Authentication Send.
    pub fn to_sqe(&self) -> Sqe {
        let with_type = |kind: FabricsType| Sqe::new(FABRICS, kind as u32);
        let auth = |auth: &Auth| {
            let [spsp0, spsp1] = auth.specific.to_le_bytes();
            (u32::from_le_bytes([0, spsp0, spsp1, auth.protocol]).into(), auth.length.into())
        };
        match self {
            Self::Connect(connect) => {
                let mut sqe =
                    with_type(FabricsType::Connect).with_sgl(Sgl::in_capsule(size_of::<ConnectData>() as u32));
                sqe.cdw10 = (u32::from(connect.queue) << 16).into();
                let entries = connect.entries.saturating_sub(1).min(0xffff);
                sqe.cdw11 = (entries | u32::from(connect.attributes.0) << 16).into();
                sqe.cdw12 = connect.keep_alive.into();
                sqe
            }
            Self::Disconnect => with_type(FabricsType::Disconnect),
            Self::PropertyGet { offset, size } => {
                let mut sqe = with_type(FabricsType::PropertyGet);
                sqe.cdw10 = u32::from(*size == 8).into();
                sqe.cdw11 = (*offset).into();
                sqe
            }
            Self::PropertySet { offset, size, value } => {
                let mut sqe = with_type(FabricsType::PropertySet);
                sqe.cdw10 = u32::from(*size == 8).into();
                sqe.cdw11 = (*offset).into();
                sqe.set_cdw12_13(if *size == 8 { *value } else { *value & 0xffff_ffff });
                sqe
            }
            Self::AuthSend(send) => {
                let mut sqe = with_type(FabricsType::AuthSend).with_sgl(Sgl::in_capsule(send.length));
                (sqe.cdw10, sqe.cdw11) = auth(send);
                sqe
            }
            Self::AuthReceive(receive) => {
                let mut sqe = with_type(FabricsType::AuthReceive).with_sgl(Sgl::transport(receive.length));
                (sqe.cdw10, sqe.cdw11) = auth(receive);
                sqe
            }
        }
    }
}

/// The data of Connect (1024 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// The host's identifier, a UUID.
    pub host_id: [u8; 16],
    /// CNTLID: [`ANY_CONTROLLER`] on the admin queue, the controller's on I/O queues.
    pub controller: U16,
    reserved18: [u8; 238],
    /// SUBNQN as a field; see [`subsystem`](Self::subsystem).
    pub subnqn: [u8; 256],
    /// HOSTNQN as a field; see [`host`](Self::host).
    pub hostnqn: [u8; 256],
    reserved768: [u8; 256],
}

impl ConnectData {
    /// The data with these names.
    pub fn new(host_id: [u8; 16], controller: u16, subsystem: &Nqn, host: &Nqn) -> Self {
        let mut data = Self::new_zeroed();
        data.host_id = host_id;
        data.controller = controller.into();
        data.subnqn = subsystem.to_field();
        data.hostnqn = host.to_field();
        data
    }

    /// The subsystem's name.
    ///
    /// # Errors
    /// It is none.
    pub fn subsystem(&self) -> Result<Nqn, NqnError> {
        Nqn::from_field(&self.subnqn)
    }

    /// The host's name.
    ///
    /// # Errors
    /// It is none.
    pub fn host(&self) -> Result<Nqn, NqnError> {
        Nqn::from_field(&self.hostnqn)
    }
}

/// The result of a successful Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResult {
    /// The controller's identifier.
    pub controller: u16,
    /// ATR: the host has to authenticate before anything else.
    pub authenticate: bool,
    /// ASCR: and then to set up a secure channel.
    pub secure_channel: bool,
}

impl ConnectResult {
    /// From dword 0 of the completion.
    pub const fn from_bits(bits: u32) -> Self {
        Self { controller: bits as u16, authenticate: bits >> 17 & 1 != 0, secure_channel: bits >> 18 & 1 != 0 }
    }

    /// Dword 0 of the completion.
    pub const fn bits(self) -> u32 {
        self.controller as u32 | (self.authenticate as u32) << 17 | (self.secure_channel as u32) << 18
    }
}

/// Which parameter [`StatusCode::ConnectInvalidParameters`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidParameter {
    /// IPO: where it begins, in bytes.
    pub offset: u16,
    /// IATTR bit 0: in the data, not in the command.
    pub in_data: bool,
}

impl InvalidParameter {
    /// HOSTID.
    pub const HOST_ID: Self = Self { offset: 0, in_data: true };
    /// CNTLID.
    pub const CONTROLLER: Self = Self { offset: 16, in_data: true };
    /// SUBNQN.
    pub const SUBSYSTEM: Self = Self { offset: 256, in_data: true };
    /// HOSTNQN.
    pub const HOST: Self = Self { offset: 512, in_data: true };
    /// QID.
    pub const QUEUE: Self = Self { offset: 42, in_data: false };
    /// SQSIZE.
    pub const ENTRIES: Self = Self { offset: 44, in_data: false };
    /// KATO.
    pub const KEEP_ALIVE: Self = Self { offset: 48, in_data: false };

    /// From dword 0 of the completion.
    pub const fn from_bits(bits: u32) -> Self {
        Self { offset: bits as u16, in_data: bits >> 16 & 1 != 0 }
    }

    /// Dword 0 of the completion.
    pub const fn bits(self) -> u32 {
        self.offset as u32 | (self.in_data as u32) << 16
    }
}

impl std::fmt::Display for InvalidParameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self {
            Self::HOST_ID => "the identifier of the host",
            Self::CONTROLLER => "the number of the controller",
            Self::SUBSYSTEM => "the name of the subsystem",
            Self::HOST => "the name of the host",
            Self::QUEUE => "the number of the queue",
            Self::ENTRIES => "the size of the queue",
            Self::KEEP_ALIVE => "the keep-alive timeout",
            Self { offset, in_data: true } => return write!(f, "byte {offset} of its data"),
            Self { offset, in_data: false } => return write!(f, "byte {offset} of the command"),
        })
    }
}
