//! Commands of the admin queue.

use super::{AdminOpcode, Sqe, StatusCode};

/// An admin command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// Asks for a data structure of 4096 bytes.
    Identify(Identify),
    /// Asks for a part of a log page.
    GetLogPage(GetLogPage),
    /// Sets a feature.
    SetFeatures {
        /// FID; see [`fid`](super::fid).
        feature: u8,
        /// SV: for good.
        save: bool,
        /// CDW11, whose meaning depends on the feature.
        value: u32,
    },
    /// Asks for a feature.
    GetFeatures {
        /// FID; see [`fid`](super::fid).
        feature: u8,
        /// SEL: 0 the current value, 1 the default one, 2 the saved one, 3 what can be done with it.
        select: u8,
        /// CDW11, whose meaning depends on the feature.
        value: u32,
    },
    /// Asks for a command to be aborted.
    Abort {
        /// SQID: its queue.
        queue: u16,
        /// CID.
        cid: u16,
    },
    /// Waits for an [`AsyncEvent`](super::AsyncEvent).
    AsyncEventRequest,
    /// Says that the host is alive.
    KeepAlive,
}

/// Identify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identify {
    /// CNS: which structure; see [`cns`](super::cns).
    pub cns: u8,
    /// CNTID: which controller, with some structures.
    pub controller: u16,
    /// CSI: which command set, with some structures; 0 is NVM.
    pub command_set: u8,
}

/// Get Log Page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetLogPage {
    /// LID: which page; see [`lid`](super::lid).
    pub page: u8,
    /// LSP: bits that the page defines.
    pub specific: u8,
    /// RAE: the event of this page stays pending.
    pub retain_event: bool,
    /// NUMD: bytes to return, from 4. (The field counts dwords from 0.)
    pub length: u64,
    /// LPO: from where, in bytes.
    pub offset: u64,
}

impl AdminCommand {
    /// Reads the command.
    ///
    /// # Errors
    /// The status to complete it with.
    pub fn parse(sqe: &Sqe) -> Result<Self, StatusCode> {
        let (cdw10, cdw11) = (sqe.cdw10.get(), sqe.cdw11.get());
        Ok(match AdminOpcode::from_byte(sqe.opcode).ok_or(StatusCode::InvalidOpcode)? {
            AdminOpcode::Identify => Self::Identify(Identify {
                cns: cdw10 as u8,
                controller: (cdw10 >> 16) as u16,
                command_set: (cdw11 >> 24) as u8,
            }),
            AdminOpcode::GetLogPage => Self::GetLogPage(GetLogPage {
                page: cdw10 as u8,
                specific: (cdw10 >> 8) as u8 & 0x7f,
                retain_event: cdw10 & 1 << 15 != 0,
                length: (u64::from(cdw10 >> 16 | cdw11 << 16) + 1) * 4,
                offset: sqe.cdw12_13(),
            }),
            AdminOpcode::SetFeatures => {
                Self::SetFeatures { feature: cdw10 as u8, save: cdw10 >> 31 != 0, value: cdw11 }
            }
            AdminOpcode::GetFeatures => {
                Self::GetFeatures { feature: cdw10 as u8, select: (cdw10 >> 8) as u8 & 0b111, value: cdw11 }
            }
            AdminOpcode::Abort => Self::Abort { queue: cdw10 as u16, cid: (cdw10 >> 16) as u16 },
            AdminOpcode::AsyncEventRequest => Self::AsyncEventRequest,
            AdminOpcode::KeepAlive => Self::KeepAlive,
        })
    }

    /// The command as an entry. CID and data pointer are the caller's to set.
    pub fn to_sqe(&self, nsid: u32) -> Sqe {
        let mut sqe = Sqe::new(self.opcode() as u8, nsid);
        match *self {
            Self::Identify(identify) => {
                sqe.cdw10 = (u32::from(identify.cns) | u32::from(identify.controller) << 16).into();
                sqe.cdw11 = (u32::from(identify.command_set) << 24).into();
            }
            Self::GetLogPage(get) => {
                let dwords = u32::try_from(get.length.div_ceil(4).saturating_sub(1)).unwrap_or(u32::MAX);
                sqe.cdw10 = (u32::from(get.page)
                    | u32::from(get.specific & 0x7f) << 8
                    | u32::from(get.retain_event) << 15
                    | dwords << 16)
                    .into();
                sqe.cdw11 = (dwords >> 16).into();
                sqe.set_cdw12_13(get.offset);
            }
            Self::SetFeatures { feature, save, value } => {
                sqe.cdw10 = (u32::from(feature) | u32::from(save) << 31).into();
                sqe.cdw11 = value.into();
            }
            Self::GetFeatures { feature, select, value } => {
                sqe.cdw10 = (u32::from(feature) | u32::from(select & 0b111) << 8).into();
                sqe.cdw11 = value.into();
            }
            Self::Abort { queue, cid } => sqe.cdw10 = (u32::from(queue) | u32::from(cid) << 16).into(),
            Self::AsyncEventRequest | Self::KeepAlive => {}
        }
        sqe
    }

    /// Its opcode.
    pub const fn opcode(&self) -> AdminOpcode {
        match self {
            Self::Identify(_) => AdminOpcode::Identify,
            Self::GetLogPage(_) => AdminOpcode::GetLogPage,
            Self::SetFeatures { .. } => AdminOpcode::SetFeatures,
            Self::GetFeatures { .. } => AdminOpcode::GetFeatures,
            Self::Abort { .. } => AdminOpcode::Abort,
            Self::AsyncEventRequest => AdminOpcode::AsyncEventRequest,
            Self::KeepAlive => AdminOpcode::KeepAlive,
        }
    }
}
