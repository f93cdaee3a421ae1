//! What Get Log Page returns.

use bytes::Bytes;
use zerocopy::{FromZeros, IntoBytes};

use super::controller::Controller;
use super::errors::ErrorCounts;
use super::subsystem::{MAX_ANA_GROUPS, MAX_NAMESPACES};
use super::{Target, TargetConfig};
use crate::command::{
    ANA_GROUPS_ONLY, AdminOpcode, AnaGroup, AnaHeader, EffectsLog, FirmwareLog, GetLogPage, IoOpcode, SmartLog,
    StatusCode, TOO_MANY_CHANGED, effects, lid, padded,
};

/// Namespaces that the log of changes can name.
const MAX_CHANGED: usize = 1024;
/// Bytes of the ANA log when every namespace and every group is in it.
const ANA_LOG_LEN: usize =
    size_of::<AnaHeader>() + MAX_ANA_GROUPS as usize * size_of::<AnaGroup>() + MAX_NAMESPACES as usize * 4;
/// 27 degrees Celsius, in kelvin: there is no sensor.
const TEMPERATURE: u16 = 300;

/// The part of the page that is asked for. Beyond its end there are zeroes.
pub(super) fn log_page(controller: &mut Controller, target: &Target, get: &GetLogPage) -> Result<Bytes, StatusCode> {
    let config: &TargetConfig = target.config();
    if get.length > u64::from(config.max_transfer) || !get.offset.is_multiple_of(4) {
        return Err(StatusCode::InvalidField);
    }
    let page = match (controller.is_discovery(), get.page) {
        (_, lid::SUPPORTED) => supported_pages(controller.is_discovery()),
        (_, lid::ERROR) => controller.association.errors.page(),
        (true, lid::DISCOVERY) => target.catalogue(&controller.association.host).log(controller.local),
        (false, lid::SMART) => smart(controller),
        (false, lid::FIRMWARE) => firmware(),
        (false, lid::CHANGED_NAMESPACES) => changed_namespaces(controller, get),
        (false, lid::COMMAND_EFFECTS) => command_effects(),
        (false, lid::ANA) => ana(controller, get.specific & ANA_GROUPS_ONLY != 0),
        _ => return Err(StatusCode::InvalidLogPage),
    };
    let offset = usize::try_from(get.offset).ok().filter(|offset| *offset <= page.len());
    let offset = offset.ok_or(StatusCode::InvalidField)?;
    let length = get.length as usize;
    let mut part = page[offset..page.len().min(offset + length)].to_vec();
    part.resize(length, 0);
    if !get.retain_event {
        controller.events.page_was_read(get.page);
    }
    Ok(part.into())
}

fn supported_pages(discovery: bool) -> Vec<u8> {
    let pages: &[u8] = if discovery {
        &[lid::SUPPORTED, lid::ERROR, lid::DISCOVERY]
    } else {
        &[
            lid::SUPPORTED,
            lid::ERROR,
            lid::SMART,
            lid::FIRMWARE,
            lid::CHANGED_NAMESPACES,
            lid::COMMAND_EFFECTS,
            lid::ANA,
        ]
    };
    let mut page = vec![0; 256 * 4];
    for id in pages {
        page[usize::from(*id) * 4] = 1;
    }
    page
}

fn smart(controller: &Controller) -> Vec<u8> {
    let mut log = SmartLog::new_zeroed();
    log.temperature = TEMPERATURE.into();
    log.available_spare = 100;
    log.available_spare_threshold = 10;
    let (read, written) = (controller.view.usage.read(), controller.view.usage.written());
    log.data_units_read = read.thousands().into();
    log.data_units_written = written.thousands().into();
    log.host_reads = u128::from(read.commands).into();
    log.host_writes = u128::from(written.commands).into();
    let ErrorCounts { entries, media } = controller.association.errors.counts();
    log.media_errors = u128::from(media).into();
    log.error_entries = u128::from(entries).into();
    log.as_bytes().to_vec()
}

fn firmware() -> Vec<u8> {
    let mut log = FirmwareLog::new_zeroed();
    log.active = 1;
    log.revisions[0] = padded(env!("CARGO_PKG_VERSION"));
    log.as_bytes().to_vec()
}

fn changed_namespaces(controller: &mut Controller, get: &GetLogPage) -> Vec<u8> {
    let mut page: Vec<u8> = if controller.changed.len() > MAX_CHANGED {
        TOO_MANY_CHANGED.to_le_bytes().to_vec()
    } else {
        controller.changed.iter().flat_map(|nsid| nsid.to_le_bytes()).collect()
    };
    page.resize(MAX_CHANGED * 4, 0);
    if !get.retain_event {
        controller.changed.clear();
    }
    page
}

fn command_effects() -> Vec<u8> {
    let mut log = EffectsLog::new_zeroed();
    for opcode in [
        AdminOpcode::GetLogPage,
        AdminOpcode::Identify,
        AdminOpcode::Abort,
        AdminOpcode::SetFeatures,
        AdminOpcode::GetFeatures,
        AdminOpcode::AsyncEventRequest,
        AdminOpcode::KeepAlive,
    ] {
        log.admin[opcode as usize] = effects::SUPPORTED.into();
    }
    for opcode in [
        IoOpcode::Flush,
        IoOpcode::Read,
        IoOpcode::Compare,
        IoOpcode::Verify,
        IoOpcode::ReservationRegister,
        IoOpcode::ReservationReport,
        IoOpcode::ReservationAcquire,
        IoOpcode::ReservationRelease,
    ] {
        log.io[opcode as usize] = effects::SUPPORTED.into();
    }
    for opcode in [IoOpcode::Write, IoOpcode::WriteZeroes, IoOpcode::DatasetManagement, IoOpcode::Copy] {
        log.io[opcode as usize] = (effects::SUPPORTED | effects::CHANGES_BLOCKS).into();
    }
    log.as_bytes().to_vec()
}

fn ana(controller: &Controller, groups_only: bool) -> Vec<u8> {
    let view = &controller.view;
    let members = view.members();
    let mut page = AnaHeader::new(view.ana_changes, members.len() as u16).as_bytes().to_vec();
    for (group, namespaces) in members {
        let changes = view.groups.get(&group).map_or(0, |group| group.changes);
        let listed = if groups_only { &[][..] } else { &namespaces[..] };
        let state = view.ana_state(controller.port, group);
        page.extend_from_slice(AnaGroup::new(group, listed.len() as u32, changes, state).as_bytes());
        page.extend(listed.iter().flat_map(|nsid| nsid.to_le_bytes()));
    }
    // Hosts reckon its length from NANAGRPID and MNAN, and read all of it, in pieces.
    page.resize(ANA_LOG_LEN.max(page.len()), 0);
    page
}
