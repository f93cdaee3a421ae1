//! Commands of I/O queues, of the NVM command set.

use super::reservation::{AcquireAction, RegisterAction, ReleaseAction, ReservationType};
use super::{IoOpcode, Sqe, StatusCode};

/// FUA of CDW12: complete only once the data is on the medium.
const FUA: u32 = 1 << 30;
/// DEAC of CDW12 of Write Zeroes.
const DEALLOCATE: u32 = 1 << 25;
/// PRINFO of CDW12.
const PROTECTION: u32 = 0b1111 << 26;

/// Logical blocks that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRange {
    /// SLBA: the first.
    pub start: u64,
    /// How many, from 1. (NLB of commands counts from 0.)
    pub count: u32,
}

impl BlockRange {
    /// Blocks of a command at most: NLB has 16 bits, and counts from 0.
    pub const MOST: u32 = 1 << 16;

    /// Whether they are among the first `blocks` of a namespace.
    pub const fn is_within(&self, blocks: u64) -> bool {
        match self.start.checked_add(self.count as u64) {
            Some(end) => end <= blocks,
            None => false,
        }
    }
}

/// An I/O command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoCommand {
    /// Makes everything that was written before durable.
    Flush,
    /// Reads blocks.
    Read {
        /// Which.
        range: BlockRange,
        /// FUA: from the medium.
        force_unit_access: bool,
    },
    /// Writes blocks.
    Write {
        /// Which.
        range: BlockRange,
        /// FUA: durable when it completes.
        force_unit_access: bool,
    },
    /// Compares blocks with data.
    Compare {
        /// Which.
        range: BlockRange,
    },
    /// Makes blocks read as zeroes.
    WriteZeroes {
        /// Which.
        range: BlockRange,
        /// FUA: durable when it completes.
        force_unit_access: bool,
        /// DEAC: preferably by deallocating them.
        deallocate: bool,
    },
    /// Makes blocks unreadable until they are written.
    WriteUncorrectable {
        /// Which.
        range: BlockRange,
    },
    /// Checks that blocks can be read.
    Verify {
        /// Which.
        range: BlockRange,
    },
    /// Says what blocks will be used for; [`DatasetRange`](super::DatasetRange)s come with it.
    DatasetManagement {
        /// NR: how many ranges, 1 to 256.
        ranges: u16,
        /// AD: they are no longer in use.
        deallocate: bool,
    },
    /// Copies blocks; [`CopyRange`](super::CopyRange)s come with it.
    Copy {
        /// SDLBA: where the first is copied to.
        destination: u64,
        /// NR: how many ranges, 1 to 256.
        ranges: u16,
        /// Format of the ranges; 0.
        format: u8,
        /// FUA: durable when it completes.
        force_unit_access: bool,
    },
    /// Registers a reservation key; [`RegisterKeys`](super::RegisterKeys) come with it.
    ReservationRegister {
        /// RREGA.
        action: RegisterAction,
        /// IEKEY: whatever key is registered.
        ignore_key: bool,
        /// CPTPL: whether reservations persist through power loss from now on, if that changes.
        persist: Option<bool>,
    },
    /// Acquires a reservation; [`AcquireKeys`](super::AcquireKeys) come with it.
    ReservationAcquire {
        /// RACQA.
        action: AcquireAction,
        /// IEKEY.
        ignore_key: bool,
        /// RTYPE.
        kind: Option<ReservationType>,
    },
    /// Releases a reservation; the key (8 bytes) comes with it.
    ReservationRelease {
        /// RRELA.
        action: ReleaseAction,
        /// IEKEY.
        ignore_key: bool,
        /// RTYPE.
        kind: Option<ReservationType>,
    },
    /// Reports registrations.
    ReservationReport {
        /// NUMD: bytes to return, from 4. (The field counts dwords from 0.)
        length: u64,
        /// EDS: with host identifiers of 16 bytes, as Fabrics requires.
        extended: bool,
    },
}

impl IoCommand {
    /// Reads the command.
    ///
    /// # Errors
    /// The status to complete it with.
    pub fn parse(sqe: &Sqe) -> Result<Self, StatusCode> {
        let opcode = IoOpcode::from_byte(sqe.opcode).ok_or(StatusCode::InvalidOpcode)?;
        let (cdw10, cdw11, cdw12) = (sqe.cdw10.get(), sqe.cdw11.get(), sqe.cdw12.get());
        let range = BlockRange { start: sqe.cdw10_11(), count: (cdw12 & 0xffff) + 1 };
        let force_unit_access = cdw12 & FUA != 0;
        let ignore_key = cdw10 & 1 << 3 != 0;
        let reservation_type = || match (cdw10 >> 8) as u8 {
            0 => Ok(None),
            code => ReservationType::from_byte(code).map(Some).ok_or(StatusCode::InvalidField),
        };
        let carries_protection = matches!(
            opcode,
            IoOpcode::Read | IoOpcode::Write | IoOpcode::Compare | IoOpcode::WriteZeroes | IoOpcode::Verify
        );
        if carries_protection && cdw12 & PROTECTION != 0 {
            return Err(StatusCode::InvalidField);
        }
        Ok(match opcode {
            IoOpcode::Flush => Self::Flush,
            IoOpcode::Read => Self::Read { range, force_unit_access },
            IoOpcode::Write => Self::Write { range, force_unit_access },
            IoOpcode::Compare => Self::Compare { range },
            IoOpcode::WriteZeroes => {
                Self::WriteZeroes { range, force_unit_access, deallocate: cdw12 & DEALLOCATE != 0 }
            }
            IoOpcode::WriteUncorrectable => Self::WriteUncorrectable { range },
            IoOpcode::Verify => Self::Verify { range },
            IoOpcode::DatasetManagement => {
                Self::DatasetManagement { ranges: (cdw10 & 0xff) as u16 + 1, deallocate: cdw11 & 1 << 2 != 0 }
            }
            IoOpcode::Copy => Self::Copy {
                destination: sqe.cdw10_11(),
                ranges: (cdw12 & 0xff) as u16 + 1,
                format: (cdw12 >> 8) as u8 & 0xf,
                force_unit_access,
            },
            IoOpcode::ReservationRegister => Self::ReservationRegister {
                action: RegisterAction::from_byte((cdw10 & 0b111) as u8).ok_or(StatusCode::InvalidField)?,
                ignore_key,
                persist: match cdw10 >> 30 {
                    0 => None,
                    2 => Some(false),
                    3 => Some(true),
                    _ => return Err(StatusCode::InvalidField),
                },
            },
            IoOpcode::ReservationAcquire => Self::ReservationAcquire {
                action: AcquireAction::from_byte((cdw10 & 0b111) as u8).ok_or(StatusCode::InvalidField)?,
                ignore_key,
                kind: reservation_type()?,
            },
            IoOpcode::ReservationRelease => Self::ReservationRelease {
                action: ReleaseAction::from_byte((cdw10 & 0b111) as u8).ok_or(StatusCode::InvalidField)?,
                ignore_key,
                kind: reservation_type()?,
            },
            IoOpcode::ReservationReport => {
                Self::ReservationReport { length: (u64::from(cdw10) + 1) * 4, extended: cdw11 & 1 != 0 }
            }
        })
    }

    /// The command as an entry for a namespace. CID and data pointer are the caller's to set.
    pub fn to_sqe(&self, nsid: u32) -> Sqe {
        let mut sqe = Sqe::new(self.opcode() as u8, nsid);
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        match *self {
            Self::Flush => {}
            Self::Read { range, force_unit_access } | Self::Write { range, force_unit_access } => {
                put_range(&mut sqe, range, flag(force_unit_access, FUA));
            }
            Self::Compare { range } | Self::WriteUncorrectable { range } | Self::Verify { range } => {
                put_range(&mut sqe, range, 0);
            }
            Self::WriteZeroes { range, force_unit_access, deallocate } => {
                put_range(&mut sqe, range, flag(force_unit_access, FUA) | flag(deallocate, DEALLOCATE));
            }
            Self::DatasetManagement { ranges, deallocate } => {
                sqe.cdw10 = from_zero(ranges).into();
                sqe.cdw11 = flag(deallocate, 1 << 2).into();
            }
            Self::Copy { destination, ranges, format, force_unit_access } => {
                sqe.set_cdw10_11(destination);
                sqe.cdw12 = (from_zero(ranges) | u32::from(format & 0xf) << 8 | flag(force_unit_access, FUA)).into();
            }
            Self::ReservationRegister { action, ignore_key, persist } => {
                let persist = match persist {
                    None => 0,
                    Some(false) => 2,
                    Some(true) => 3,
                };
                sqe.cdw10 = (action as u32 | flag(ignore_key, 1 << 3) | persist << 30).into();
            }
            Self::ReservationAcquire { action, ignore_key, kind } => {
                sqe.cdw10 = (action as u32 | flag(ignore_key, 1 << 3) | type_code(kind) << 8).into();
            }
            Self::ReservationRelease { action, ignore_key, kind } => {
                sqe.cdw10 = (action as u32 | flag(ignore_key, 1 << 3) | type_code(kind) << 8).into();
            }
            Self::ReservationReport { length, extended } => {
                sqe.cdw10 = u32::try_from(length.div_ceil(4).saturating_sub(1)).unwrap_or(u32::MAX).into();
                sqe.cdw11 = u32::from(extended).into();
            }
        }
        sqe
    }

    /// Its opcode.
    pub const fn opcode(&self) -> IoOpcode {
        match self {
            Self::Flush => IoOpcode::Flush,
            Self::Read { .. } => IoOpcode::Read,
            Self::Write { .. } => IoOpcode::Write,
            Self::Compare { .. } => IoOpcode::Compare,
            Self::WriteZeroes { .. } => IoOpcode::WriteZeroes,
            Self::WriteUncorrectable { .. } => IoOpcode::WriteUncorrectable,
            Self::Verify { .. } => IoOpcode::Verify,
            Self::DatasetManagement { .. } => IoOpcode::DatasetManagement,
            Self::Copy { .. } => IoOpcode::Copy,
            Self::ReservationRegister { .. } => IoOpcode::ReservationRegister,
            Self::ReservationAcquire { .. } => IoOpcode::ReservationAcquire,
            Self::ReservationRelease { .. } => IoOpcode::ReservationRelease,
            Self::ReservationReport { .. } => IoOpcode::ReservationReport,
        }
    }
}

fn put_range(sqe: &mut Sqe, range: BlockRange, flags: u32) {
    sqe.set_cdw10_11(range.start);
    sqe.cdw12 = (range.count.saturating_sub(1).min(0xffff) | flags).into();
}

fn from_zero(count: u16) -> u32 {
    u32::from(count.saturating_sub(1).min(0xff))
}

fn type_code(kind: Option<ReservationType>) -> u32 {
    kind.map_or(0, |kind| kind as u32)
}
