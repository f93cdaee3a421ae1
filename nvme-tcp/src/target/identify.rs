//! What Identify returns.

use zerocopy::{FromZeros, IntoBytes};

use super::abort::MAX_ABORTS;
use super::controller::Controller;
use super::errors::MAX_ERRORS;
use super::events::{self, MAX_REQUESTS};
use super::io::{MAX_COPY_RANGES, MAX_FUSED_BLOCKS};
use super::subsystem::{Attached, MAX_ANA_GROUPS, MAX_NAMESPACES};
use super::{Target, TargetConfig, controller};
use crate::command::{
    AnaState, Cqe, IDENTIFY_LEN, Identify, IdentifyController, IdentifyIndependentNamespace, IdentifyNamespace,
    IdentifyNvmController, NamespaceId, Sqe, StatusCode, cmic, cns, ctratt, lpa, oncs, padded, sgls,
};

/// Namespace of questions about what all namespaces have in common.
const ALL_NAMESPACES: u32 = 0xffff_ffff;
/// A list of namespaces cannot begin after these reserved identifiers.
const LAST_LIST_START: u32 = 0xffff_fffe;
/// Controllers that a list has room for behind their number.
const MAX_LISTED: usize = IDENTIFY_LEN / 2 - 1;

/// The structure that is asked for.
pub(super) fn identify(
    controller: &Controller,
    target: &Target,
    identify: &Identify,
    nsid: u32,
) -> Result<Vec<u8>, StatusCode> {
    let config = target.config();
    let namespaces = &controller.view.namespaces;
    let active = || {
        if nsid == 0 || nsid > MAX_NAMESPACES {
            return Err(StatusCode::InvalidNamespace);
        }
        Ok(namespaces.get(&nsid))
    };
    if controller.is_discovery() && identify.cns != cns::CONTROLLER {
        return Err(StatusCode::InvalidField);
    }
    let other_command_set = matches!(
        identify.cns,
        cns::COMMAND_SET_NAMESPACE | cns::COMMAND_SET_CONTROLLER | cns::COMMAND_SET_ACTIVE_NAMESPACES
    ) && identify.command_set != 0;
    if other_command_set {
        return Err(StatusCode::InvalidField);
    }
    let mut data = match identify.cns {
        cns::CONTROLLER => controller_data(controller, config).as_bytes().to_vec(),
        cns::NAMESPACE if nsid == ALL_NAMESPACES => IdentifyNamespace::new_zeroed().as_bytes().to_vec(),
        cns::NAMESPACE | cns::ALLOCATED_NAMESPACE => match active()? {
            Some(attached) => namespace_data(config, attached).as_bytes().to_vec(),
            // Not active: all zeroes.
            None => Vec::new(),
        },
        cns::ACTIVE_NAMESPACES | cns::COMMAND_SET_ACTIVE_NAMESPACES | cns::ALLOCATED_NAMESPACES => {
            if nsid >= LAST_LIST_START {
                return Err(StatusCode::InvalidNamespace);
            }
            let after = namespaces.range(nsid + 1..).map(|(nsid, _)| *nsid);
            after.take(IDENTIFY_LEN / 4).flat_map(u32::to_le_bytes).collect()
        }
        cns::NAMESPACE_IDS => {
            let attached = active()?.ok_or(StatusCode::InvalidNamespace)?;
            let uuid = attached.namespace.uuid;
            NamespaceId::list(&[NamespaceId::Nguid(uuid), NamespaceId::Uuid(uuid), NamespaceId::CommandSet(0)])
        }
        cns::COMMAND_SET_NAMESPACE => {
            active()?.ok_or(StatusCode::InvalidNamespace)?;
            Vec::new()
        }
        cns::COMMAND_SET_CONTROLLER => {
            let mut data = IdentifyNvmController::new_zeroed();
            data.dmrl = 255;
            data.as_bytes().to_vec()
        }
        cns::INDEPENDENT_NAMESPACE => {
            let attached = active()?.ok_or(StatusCode::InvalidNamespace)?;
            let mut data = IdentifyIndependentNamespace::new_zeroed();
            data.nmic = SHARED;
            data.rescap = RESERVATIONS;
            data.anagrpid = attached.namespace.group.into();
            data.nsattr = attached.namespace.read_only.into();
            data.nstat = 1;
            data.as_bytes().to_vec()
        }
        // What is not active is attached to none.
        cns::ATTACHED_CONTROLLERS if active()?.is_none() => Vec::new(),
        cns::ATTACHED_CONTROLLERS | cns::CONTROLLERS => {
            let mut listed = target.controllers_of(&controller.association.subsystem, identify.controller);
            listed.truncate(MAX_LISTED);
            [listed.len() as u16].into_iter().chain(listed).flat_map(u16::to_le_bytes).collect()
        }
        // One combination: the NVM command set.
        cns::COMMAND_SETS => 1u64.to_le_bytes().to_vec(),
        _ => return Err(StatusCode::InvalidField),
    };
    data.resize(IDENTIFY_LEN, 0);
    Ok(data)
}

/// NMIC bit 0: several controllers may share it.
const SHARED: u8 = 1 << 0;
/// NSFEAT bit 0: what is deallocated is seen in NUSE.
const THIN_PROVISIONING: u8 = 1 << 0;
/// RESCAP: all six types, which do not outlive the target, and keys may be ignored as version 1.3 has it.
const RESERVATIONS: u8 = 0b1111_1110;

fn controller_data(controller: &Controller, config: &TargetConfig) -> IdentifyController {
    let mut data = IdentifyController::new_zeroed();
    let (serial, model) = match &controller.subsystem {
        Some(subsystem) => (subsystem.serial.as_str(), subsystem.model.as_str()),
        None => ("0", "discovery"),
    };
    data.sn = padded(serial);
    data.mn = padded(model);
    data.fr = padded(env!("CARGO_PKG_VERSION"));
    data.mdts = config.mdts();
    data.cntlid = controller.association.controller.into();
    data.ver = controller::VERSION.bits().into();
    data.oaes = events::available(controller.is_discovery()).0.into();
    data.ctratt = (ctratt::HOST_ID_128 | ctratt::TRAFFIC_KEEP_ALIVE).into();
    data.acl = (MAX_ABORTS - 1) as u8;
    data.aerl = (MAX_REQUESTS - 1) as u8;
    data.elpe = (MAX_ERRORS - 1) as u8;
    data.lpa = lpa::EXTENDED | lpa::COMMAND_EFFECTS;
    data.kas = controller::KEEP_ALIVE_UNITS.into();
    data.sqes = entry_size(size_of::<Sqe>());
    data.cqes = entry_size(size_of::<Cqe>());
    data.maxcmd = u16::try_from(config.max_queue_entries).unwrap_or(u16::MAX).into();
    data.sgls = (sgls::SUPPORTED | sgls::OFFSET | sgls::TRANSPORT).into();
    data.subnqn = controller.association.subsystem.to_field();
    data.ioccsz = ((size_of::<Sqe>() as u32 + config.in_capsule_data) / 16).into();
    data.iorcsz = (size_of::<Cqe>() as u32 / 16).into();
    data.msdbd = 1;
    if controller.is_discovery() {
        data.cntrltype = 2;
        return data;
    }
    data.cntrltype = 1;
    data.cmic = cmic::PORTS | cmic::CONTROLLERS | cmic::ANA;
    data.anatt = 10;
    data.anacap = ANA_STATES;
    data.anagrpmax = MAX_ANA_GROUPS.into();
    data.nanagrpid = MAX_ANA_GROUPS.into();
    data.nn = MAX_NAMESPACES.into();
    data.mnan = MAX_NAMESPACES.into();
    let optional = oncs::COMPARE | oncs::DATASET_MANAGEMENT | oncs::WRITE_ZEROES | oncs::VERIFY | oncs::COPY;
    data.oncs = (optional | oncs::RESERVATIONS).into();
    data.fuses = 1.into();
    // Present; Flush is for one namespace at a time.
    data.vwc = 1 | 2 << 1;
    data.acwu = (MAX_FUSED_BLOCKS as u16 - 1).into();
    data.ocfs = 1.into();
    data.ofcs = 1.into();
    data
}

/// A bit for each ANA state that may occur.
const ANA_STATES: u8 = 0b1_1111;
const _: () = assert!(AnaState::PersistentLoss as u8 == 4, "the states have bits 0 to 4");

/// The same size as smallest and as largest one.
fn entry_size(bytes: usize) -> u8 {
    let exponent = bytes.ilog2() as u8;
    exponent | exponent << 4
}

fn namespace_data(config: &TargetConfig, attached: &Attached) -> IdentifyNamespace {
    let mut data = IdentifyNamespace::new_zeroed();
    data.nsze = attached.blocks.into();
    data.ncap = attached.blocks.into();
    data.nuse = attached.blocks.into();
    if let Some(used) = attached.namespace.store.used() {
        data.nsfeat = THIN_PROVISIONING;
        data.nuse = used.div_ceil(1 << attached.shift).min(attached.blocks).into();
    }
    data.nmic = SHARED;
    data.rescap = RESERVATIONS;
    // Deallocated blocks read as zeroes, and Write Zeroes can deallocate.
    data.dlfeat = 1 | 1 << 3;
    let max_copy = config.max_transfer >> attached.shift;
    data.mssrl = u16::try_from(max_copy).unwrap_or(u16::MAX).into();
    data.mcl = max_copy.into();
    data.msrc = (MAX_COPY_RANGES - 1) as u8;
    data.anagrpid = attached.namespace.group.into();
    data.nsattr = attached.namespace.read_only.into();
    data.nguid = attached.namespace.uuid;
    data.lbaf[0].lbads = attached.shift;
    data
}
