//! What a host must find in Identify Controller before it goes on.

use crate::command::{IdentifyController, cmic};

use super::Defect;

/// SGLS bits 1:0: SGLs are supported in one way or another.
const SGLS_SUPPORTED: u32 = 0b11;
/// CNTRLTYPE of discovery controllers.
const DISCOVERY_TYPE: u8 = 2;

/// Judges what the controller that Connect named says of itself. The demands are those of the base specification and those that
/// Linux has.
pub(super) fn check(identify: &IdentifyController, controller: u16, is_discovery: bool) -> Result<(), Defect> {
    if identify.cntlid.get() != controller {
        return Err(Defect::ControllerId { identify: identify.cntlid.get(), connect: controller });
    }
    // 0 is what controllers older than version 1.4 report.
    if identify.cntrltype != 0 && (identify.cntrltype == DISCOVERY_TYPE) != is_discovery {
        return Err(Defect::ControllerType(identify.cntrltype));
    }
    if identify.icdoff.get() != 0 {
        return Err(Defect::InCapsuleOffset(u32::from(identify.icdoff.get()) * 16));
    }
    if identify.sgls.get() & SGLS_SUPPORTED == 0 {
        return Err(Defect::NoSgls);
    }
    if is_discovery {
        return Ok(());
    }
    if identify.kas.get() == 0 {
        return Err(Defect::NoKeepAlive);
    }
    if identify.ioccsz.get() < 4 {
        return Err(Defect::CommandCapsule(u64::from(identify.ioccsz.get()) * 16));
    }
    if identify.iorcsz.get() < 1 {
        return Err(Defect::ResponseCapsule);
    }
    let (mnan, nn) = (identify.mnan.get(), identify.nn.get());
    if identify.cmic & cmic::ANA != 0 && (mnan == 0 || mnan > nn) {
        return Err(Defect::NamespaceCount { mnan, nn });
    }
    Ok(())
}
