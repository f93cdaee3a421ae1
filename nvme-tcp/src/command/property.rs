//! Properties: the registers of a controller, which hosts read and write with Property Get and Property Set.

/// Where a property is: OFST of Property Get and Property Set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Property {
    /// CAP, 8 bytes: [`Capabilities`].
    Capabilities = 0x00,
    /// VS, 4 bytes: [`Version`].
    Version = 0x08,
    /// CC, 4 bytes: [`Configuration`].
    Configuration = 0x14,
    /// CSTS, 4 bytes: [`ControllerStatus`].
    Status = 0x1c,
    /// NSSR, 4 bytes: NVM subsystem reset.
    SubsystemReset = 0x20,
    /// CRTO, 4 bytes: timeouts of becoming ready.
    ReadyTimeouts = 0x68,
}

impl Property {
    /// The property at this offset, if there is one.
    pub const fn from_offset(offset: u32) -> Option<Self> {
        Some(match offset {
            0x00 => Self::Capabilities,
            0x08 => Self::Version,
            0x14 => Self::Configuration,
            0x1c => Self::Status,
            0x20 => Self::SubsystemReset,
            0x68 => Self::ReadyTimeouts,
            _ => return None,
        })
    }

    /// Bytes that it has: 4 or 8.
    pub const fn size(self) -> usize {
        match self {
            Self::Capabilities => 8,
            _ => 4,
        }
    }
}

/// CAP: what a controller is capable of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// MQES: entries of the longest queue, from 1. (The field counts from 0.)
    pub max_queue_entries: u32,
    /// CQR: queues have to be contiguous, as they always are with Fabrics.
    pub contiguous_queues: bool,
    /// TO: how long becoming ready may take, in units of 500 ms.
    pub timeout: u8,
    /// CSS: command sets. Bit 0 is NVM, bit 6 says that there are several, bit 7 none.
    pub command_sets: u8,
    /// MPSMIN: the smallest page has 2^(12 + this) bytes.
    pub min_page: u8,
    /// MPSMAX: the largest page has 2^(12 + this) bytes.
    pub max_page: u8,
}

impl Capabilities {
    /// From the property.
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            max_queue_entries: (bits & 0xffff) as u32 + 1,
            contiguous_queues: bits >> 16 & 1 != 0,
            timeout: (bits >> 24) as u8,
            command_sets: (bits >> 37) as u8,
            min_page: (bits >> 48) as u8 & 0xf,
            max_page: (bits >> 52) as u8 & 0xf,
        }
    }

    /// The property.
    pub const fn bits(self) -> u64 {
        (self.max_queue_entries as u64).saturating_sub(1) & 0xffff
            | (self.contiguous_queues as u64) << 16
            | (self.timeout as u64) << 24
            | (self.command_sets as u64) << 37
            | (self.min_page as u64 & 0xf) << 48
            | (self.max_page as u64 & 0xf) << 52
    }
}

/// VS: the version of the base specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Such as 1 in 1.4.
    pub major: u16,
    /// Such as 4 in 1.4.
    pub minor: u8,
    /// Such as 1 in 1.2.1.
    pub tertiary: u8,
}

impl Version {
    /// From the property, and the field of Identify Controller.
    pub const fn from_bits(bits: u32) -> Self {
        Self { major: (bits >> 16) as u16, minor: (bits >> 8) as u8, tertiary: bits as u8 }
    }

    /// The property, and the field of Identify Controller.
    pub const fn bits(self) -> u32 {
        (self.major as u32) << 16 | (self.minor as u32) << 8 | self.tertiary as u32
    }
}

/// SHN of CC: what shutdown the host wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Shutdown {
    /// None.
    #[default]
    None = 0,
    /// An orderly one.
    Normal = 1,
    /// One without waiting.
    Abrupt = 2,
    /// Reserved.
    Reserved = 3,
}

/// CC: what the host wants of the controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// EN: to be enabled.
    pub enable: bool,
    /// CSS: command set. 0 is NVM, 6 all that are supported, 7 admin only.
    pub command_set: u8,
    /// MPS: pages have 2^(12 + this) bytes.
    pub page: u8,
    /// AMS: arbitration. 0 is round-robin.
    pub arbitration: u8,
    /// SHN.
    pub shutdown: Shutdown,
    /// IOSQES: submission queue entries have 2^this bytes; 6.
    pub sqe_size: u8,
    /// IOCQES: completion queue entries have 2^this bytes; 4.
    pub cqe_size: u8,
}

impl Configuration {
    /// From the property.
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            enable: bits & 1 != 0,
            command_set: (bits >> 4) as u8 & 0b111,
            page: (bits >> 7) as u8 & 0xf,
            arbitration: (bits >> 11) as u8 & 0b111,
            shutdown: match bits >> 14 & 0b11 {
                0 => Shutdown::None,
                1 => Shutdown::Normal,
                2 => Shutdown::Abrupt,
                _ => Shutdown::Reserved,
            },
            sqe_size: (bits >> 16) as u8 & 0xf,
            cqe_size: (bits >> 20) as u8 & 0xf,
        }
    }

    /// The property.
    pub const fn bits(self) -> u32 {
        self.enable as u32
            | (self.command_set as u32 & 0b111) << 4
            | (self.page as u32 & 0xf) << 7
            | (self.arbitration as u32 & 0b111) << 11
            | (self.shutdown as u32) << 14
            | (self.sqe_size as u32 & 0xf) << 16
            | (self.cqe_size as u32 & 0xf) << 20
    }
}

/// SHST of CSTS: how far a shutdown is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ShutdownStatus {
    /// None was asked for.
    #[default]
    Normal = 0,
    /// It goes on.
    Occurring = 1,
    /// It is complete.
    Complete = 2,
    /// Reserved.
    Reserved = 3,
}

/// CSTS: the state of the controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerStatus {
    /// RDY: it is enabled and takes commands.
    pub ready: bool,
    /// CFS: it failed for good.
    pub fatal: bool,
    /// SHST.
    pub shutdown: ShutdownStatus,
}

impl ControllerStatus {
    /// From the property.
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            ready: bits & 1 != 0,
            fatal: bits >> 1 & 1 != 0,
            shutdown: match bits >> 2 & 0b11 {
                0 => ShutdownStatus::Normal,
                1 => ShutdownStatus::Occurring,
                2 => ShutdownStatus::Complete,
                _ => ShutdownStatus::Reserved,
            },
        }
    }

    /// The property.
    pub const fn bits(self) -> u32 {
        self.ready as u32 | (self.fatal as u32) << 1 | (self.shutdown as u32) << 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_that_hosts_write() {
        let enable = Configuration::from_bits(0x46_0001);
        let expected = Configuration { enable: true, sqe_size: 6, cqe_size: 4, ..Configuration::default() };
        assert_eq!(enable, expected);
        assert_eq!(Configuration::from_bits(0x46_0061).command_set, 6);
        assert_eq!(Configuration::from_bits(0x46_4001).shutdown, Shutdown::Normal);
        for bits in [0x46_0001, 0x46_0061, 0x46_4001, 0x46_8001, 0xff_fff1 & !0xe] {
            assert_eq!(Configuration::from_bits(bits).bits(), bits, "{bits:#x}");
        }
    }

    #[test]
    fn capabilities_are_where_the_layout_says() {
        let capabilities = Capabilities {
            max_queue_entries: 128,
            contiguous_queues: true,
            timeout: 30,
            command_sets: 0x41,
            min_page: 0,
            max_page: 4,
        };
        // CSS is bits 12:5 of the upper dword, MPSMAX its bits 23:20.
        assert_eq!(capabilities.bits(), 127 | 1 << 16 | 30 << 24 | 0x41 << (32 + 5) | 4 << (32 + 20));
        assert_eq!(Capabilities::from_bits(capabilities.bits()), capabilities);
    }

    #[test]
    fn versions_and_states() {
        assert_eq!(Version { major: 1, minor: 4, tertiary: 0 }.bits(), 0x0001_0400);
        assert_eq!(Version::from_bits(0x0002_0100), Version { major: 2, minor: 1, tertiary: 0 });
        for bits in 0..16 {
            assert_eq!(ControllerStatus::from_bits(bits).bits(), bits);
        }
        assert_eq!(ControllerStatus::from_bits(0b1001).shutdown, ShutdownStatus::Complete);
        assert_eq!(Property::from_offset(0x1c).map(Property::size), Some(4));
        assert_eq!(Property::from_offset(0x24), None);
    }
}
