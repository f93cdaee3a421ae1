//! The submission queue entry.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Sgl;

/// PSDT: SGLs are used, and the metadata pointer has no meaning. All that Fabrics allows.
const PSDT_SGL: u8 = 0b01 << 6;

/// A submission queue entry (64 bytes): a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sqe {
    /// Which command; what it means depends on the queue. See [`AdminOpcode`], [`IoOpcode`] and [`FABRICS`].
    pub opcode: u8,
    /// FUSE (bits 1:0) and PSDT (bits 7:6).
    pub flags: u8,
    /// CID, which the host chooses; opaque to controllers.
    pub cid: U16,
    /// Namespace. In a Fabrics command its lowest byte is FCTYPE.
    pub nsid: U32,
    /// CDW2.
    pub cdw2: U32,
    /// CDW3.
    pub cdw3: U32,
    /// Metadata pointer.
    pub mptr: U64,
    /// Data pointer.
    pub sgl: Sgl,
    /// CDW10.
    pub cdw10: U32,
    /// CDW11.
    pub cdw11: U32,
    /// CDW12.
    pub cdw12: U32,
    /// CDW13.
    pub cdw13: U32,
    /// CDW14.
    pub cdw14: U32,
    /// CDW15.
    pub cdw15: U32,
}

/// Opcode of all Fabrics commands, on any queue.
pub const FABRICS: u8 = 0x7f;

impl Sqe {
    /// A command without data and with all its dwords 0. The CID is the sender's to set.
    pub fn new(opcode: u8, nsid: u32) -> Self {
        Self {
            opcode,
            flags: PSDT_SGL,
            cid: U16::ZERO,
            nsid: nsid.into(),
            cdw2: U32::ZERO,
            cdw3: U32::ZERO,
            mptr: U64::ZERO,
            sgl: Sgl::transport(0),
            cdw10: U32::ZERO,
            cdw11: U32::ZERO,
            cdw12: U32::ZERO,
            cdw13: U32::ZERO,
            cdw14: U32::ZERO,
            cdw15: U32::ZERO,
        }
    }

    /// The command with this data.
    #[must_use]
    pub fn with_sgl(mut self, sgl: Sgl) -> Self {
        self.sgl = sgl;
        self
    }

    /// Whether it is the first or second of two that are executed as one. None for the reserved value.
    pub fn fuse(&self) -> Option<Fuse> {
        Some(match self.flags & 0b11 {
            0 => Fuse::Normal,
            1 => Fuse::First,
            2 => Fuse::Second,
            _ => return None,
        })
    }

    /// The command, fused so.
    #[must_use]
    pub fn with_fuse(mut self, fuse: Fuse) -> Self {
        self.flags = self.flags & !0b11 | fuse as u8;
        self
    }

    /// Whether PSDT says that the data pointer is an SGL descriptor, as it has to with Fabrics. (Without data, hosts may leave it 0.)
    pub fn uses_sgl(&self) -> bool {
        matches!(self.flags >> 6, 0b01 | 0b10)
    }

    /// FCTYPE of a Fabrics command.
    pub fn fabrics_type(&self) -> u8 {
        self.nsid.as_bytes()[0]
    }

    /// CDW10 and CDW11 as one number, the lower half first.
    pub fn cdw10_11(&self) -> u64 {
        u64::from(self.cdw11.get()) << 32 | u64::from(self.cdw10.get())
    }

    /// CDW12 and CDW13 as one number, the lower half first.
    pub fn cdw12_13(&self) -> u64 {
        u64::from(self.cdw13.get()) << 32 | u64::from(self.cdw12.get())
    }

    pub(super) fn set_cdw10_11(&mut self, value: u64) {
        self.cdw10 = (value as u32).into();
        self.cdw11 = ((value >> 32) as u32).into();
    }

    pub(super) fn set_cdw12_13(&mut self, value: u64) {
        self.cdw12 = (value as u32).into();
        self.cdw13 = ((value >> 32) as u32).into();
    }
}

/// FUSE: whether a command is half of a fused operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fuse {
    /// It stands alone.
    Normal = 0,
    /// The first of two.
    First = 1,
    /// The second of two.
    Second = 2,
}

/// Makes an enum of one-byte codes, with the conversion from a byte.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$item_meta:meta])* $item:ident = $code:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$item_meta])* $item = $code,)*
        }

        impl $name {
            /// The meaning of this code, if it is known.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($code => Some(Self::$item),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use codes;

codes! {
    /// Commands of the admin queue.
    AdminOpcode {
        /// Get Log Page.
        GetLogPage = 0x02,
        /// Identify.
        Identify = 0x06,
        /// Abort.
        Abort = 0x08,
        /// Set Features.
        SetFeatures = 0x09,
        /// Get Features.
        GetFeatures = 0x0a,
        /// Asynchronous Event Request.
        AsyncEventRequest = 0x0c,
        /// Keep Alive.
        KeepAlive = 0x18,
    }
}

codes! {
    /// Commands of I/O queues, of the NVM command set.
    IoOpcode {
        /// Flush.
        Flush = 0x00,
        /// Write.
        Write = 0x01,
        /// Read.
        Read = 0x02,
        /// Write Uncorrectable.
        WriteUncorrectable = 0x04,
        /// Compare.
        Compare = 0x05,
        /// Write Zeroes.
        WriteZeroes = 0x08,
        /// Dataset Management.
        DatasetManagement = 0x09,
        /// Verify.
        Verify = 0x0c,
        /// Reservation Register.
        ReservationRegister = 0x0d,
        /// Reservation Report.
        ReservationReport = 0x0e,
        /// Reservation Acquire.
        ReservationAcquire = 0x11,
        /// Reservation Release.
        ReservationRelease = 0x15,
        /// Copy.
        Copy = 0x19,
    }
}

codes! {
    /// FCTYPE: which Fabrics command it is.
    FabricsType {
        /// Property Set.
        PropertySet = 0x00,
        /// Connect.
        Connect = 0x01,
        /// Property Get.
        PropertyGet = 0x04,
        /// Authentication Send.
        AuthSend = 0x05,
        /// Authentication Receive.
        AuthReceive = 0x06,
        /// Disconnect.
        Disconnect = 0x08,
    }
}
