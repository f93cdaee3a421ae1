//! What reservations exchange.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sqe::codes;

codes! {
    /// RTYPE: who may do what while a host holds the reservation.
    ReservationType {
        /// Only the holder writes.
        WriteExclusive = 1,
        /// Only the holder reads and writes.
        ExclusiveAccess = 2,
        /// Registrants write.
        WriteExclusiveRegistrants = 3,
        /// Registrants read and write.
        ExclusiveAccessRegistrants = 4,
        /// Registrants write, and all of them hold the reservation.
        WriteExclusiveAll = 5,
        /// Registrants read and write, and all of them hold the reservation.
        ExclusiveAccessAll = 6,
    }
}

codes! {
    /// RREGA.
    RegisterAction {
        /// Registers a key.
        Register = 0,
        /// Takes the key back.
        Unregister = 1,
        /// Replaces the key.
        Replace = 2,
    }
}

codes! {
    /// RACQA.
    AcquireAction {
        /// Acquires the reservation.
        Acquire = 0,
        /// Takes it from another.
        Preempt = 1,
        /// Takes it from another and aborts that one's commands.
        PreemptAndAbort = 2,
    }
}

codes! {
    /// RRELA.
    ReleaseAction {
        /// Gives the reservation back.
        Release = 0,
        /// Removes the reservation and all registrations.
        Clear = 1,
    }
}

/// The data of Reservation Register (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegisterKeys {
    /// CRKEY: the key that is registered.
    pub current: U64,
    /// NRKEY: the one to register.
    pub new: U64,
}

/// The data of Reservation Acquire (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AcquireKeys {
    /// CRKEY: the key that is registered.
    pub current: U64,
    /// PRKEY: the one to preempt.
    pub preempt: U64,
}

/// The beginning of Reservation Report with extended data (64 bytes); [`Registrant`]s follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReservationReport {
    /// GEN: changes with every registration and reservation.
    pub generation: U32,
    /// RTYPE, or 0.
    pub kind: u8,
    /// REGCTL (bytes 6:5): how many registrants there are.
    pub registrants: U16,
    reserved7: U16,
    /// PTPLS: whether reservations persist through power loss.
    pub persist: u8,
    reserved10: [u8; 54],
}

impl ReservationReport {
    /// The beginning of a report.
    pub fn new(generation: u32, kind: Option<ReservationType>, registrants: u16, persist: bool) -> Self {
        let mut report = Self::new_zeroed();
        report.generation = generation.into();
        report.kind = kind.map_or(0, |kind| kind as u8);
        report.registrants = registrants.into();
        report.persist = persist.into();
        report
    }
}

/// A registrant in Reservation Report with extended data (64 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Registrant {
    /// CNTLID.
    pub controller: U16,
    /// RCSTS bit 0: it holds the reservation.
    pub status: u8,
    reserved3: [u8; 5],
    /// RKEY.
    pub key: U64,
    /// HOSTID.
    pub host_id: [u8; 16],
    reserved32: [u8; 32],
}

impl Registrant {
    /// A registrant.
    pub fn new(controller: u16, holds: bool, key: u64, host_id: [u8; 16]) -> Self {
        let mut registrant = Self::new_zeroed();
        registrant.controller = controller.into();
        registrant.status = holds.into();
        registrant.key = key.into();
        registrant.host_id = host_id;
        registrant
    }
}
