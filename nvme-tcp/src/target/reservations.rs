//! Reservations of a namespace: which hosts are registered, which of them holds it, and what that forbids to the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zerocopy::IntoBytes;

use crate::command::{
    AcquireAction, AcquireKeys, RegisterAction, RegisterKeys, Registrant, ReleaseAction, ReservationReport,
    ReservationType, StatusCode,
};

/// Hosts that can be registered with a namespace.
const MAX_REGISTRANTS: usize = 128;

/// HOSTID: who a host is, whichever controllers it has.
pub(super) type HostId = [u8; 16];

/// The reservations of a namespace, as the queues of all its controllers share them.
///
/// A command only compares [`epoch`](Self::epoch) with what it was when the queue last asked; the lock is for changes, and for asking again.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// Counts changes; 0 while there never was a registration.
    epoch: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// GEN.
    generation: u32,
    registrants: Vec<Registered>,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Registered {
    host: HostId,
    controller: u16,
    key: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    kind: ReservationType,
    /// Who acquired it. With the types that all registrants hold it only matters that there is one.
    host: HostId,
}

/// What a host may do with a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Access {
    pub(super) const FULL: Self = Self { read: true, write: true };
}

impl Reservations {
    /// Changes whenever [`access`](Self::access) may.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What a host may do.
    pub(super) fn access(&self, host: &HostId) -> Access {
        let state = self.lock();
        let Some(held) = state.held else { return Access::FULL };
        let registered = state.registrant(host).is_some();
        match held.kind {
            // What all registrants hold, its first holder may have lost: he is one of them or none.
            _ if held.host == *host && !held.is_of_all() => Access::FULL,
            ReservationType::WriteExclusive => Access { read: true, write: false },
            ReservationType::ExclusiveAccess => Access { read: false, write: false },
            ReservationType::WriteExclusiveRegistrants | ReservationType::WriteExclusiveAll => {
                Access { read: true, write: registered }
            }
            ReservationType::ExclusiveAccessRegistrants | ReservationType::ExclusiveAccessAll => {
                Access { read: registered, write: registered }
            }
        }
    }

    /// Reservation Register.
    pub(super) fn register(
        &self,
        host: HostId,
        controller: u16,
        action: RegisterAction,
        ignore_key: bool,
        keys: &RegisterKeys,
    ) -> Result<(), StatusCode> {
        let (current, new) = (keys.current.get(), keys.new.get());
        self.change(|state| {
            let registered = state.registrant(&host).map(|registrant| registrant.key);
            let knows_key = ignore_key || registered == Some(current);
            match action {
                RegisterAction::Register if registered.is_some_and(|key| key != new) => {
                    return Err(StatusCode::ReservationConflict);
                }
                RegisterAction::Register if registered.is_some() => return Ok(()),
                RegisterAction::Replace if registered.is_none() && !ignore_key => {
                    return Err(StatusCode::ReservationConflict);
                }
                RegisterAction::Register | RegisterAction::Replace if registered.is_none() => {
                    if state.registrants.len() == MAX_REGISTRANTS {
                        return Err(StatusCode::InternalError);
                    }
                    state.registrants.push(Registered { host, controller, key: new });
                }
                RegisterAction::Replace | RegisterAction::Unregister if !knows_key => {
                    return Err(StatusCode::ReservationConflict);
                }
                RegisterAction::Unregister if registered.is_none() => return Err(StatusCode::ReservationConflict),
                RegisterAction::Unregister => state.remove(|registrant| registrant.host == host),
                RegisterAction::Register | RegisterAction::Replace => {
                    for registrant in state.registrants.iter_mut().filter(|registrant| registrant.host == host) {
                        registrant.key = new;
                    }
                }
            }
            state.generation = state.generation.wrapping_add(1);
            Ok(())
        })
    }

    /// Reservation Acquire. Returns the hosts that have lost their registration by it.
    pub(super) fn acquire(
        &self,
        host: HostId,
        action: AcquireAction,
        kind: ReservationType,
        keys: &AcquireKeys,
    ) -> Result<Vec<HostId>, StatusCode> {
        self.change(|state| {
            let before: Vec<_> = state.registrants.iter().map(|registrant| registrant.host).collect();
            state.acquire(host, action, kind, keys)?;
            Ok(before.into_iter().filter(|host| state.registrant(host).is_none()).collect())
        })
    }

    /// Reservation Release.
    pub(super) fn release(
        &self,
        host: HostId,
        action: ReleaseAction,
        kind: Option<ReservationType>,
        key: u64,
    ) -> Result<(), StatusCode> {
        self.change(|state| {
            state.check_key(&host, key)?;
            match (action, state.held) {
                (ReleaseAction::Clear, _) => {
                    state.registrants.clear();
                    state.held = None;
                    state.generation = state.generation.wrapping_add(1);
                }
                (ReleaseAction::Release, Some(held)) if held.host == host || held.is_of_all() => {
                    if kind != Some(held.kind) {
                        return Err(StatusCode::InvalidField);
                    }
                    state.held = None;
                }
                // Not the holder: there is nothing to release.
                (ReleaseAction::Release, _) => {}
            }
            Ok(())
        })
    }

    /// Reservation Report, with extended data.
    pub(super) fn report(&self) -> Vec<u8> {
        let state = self.lock();
        let kind = state.held.map(|held| held.kind);
        let count = state.registrants.len() as u16;
        let mut report = ReservationReport::new(state.generation, kind, count, false).as_bytes().to_vec();
        for Registered { host, controller, key } in &state.registrants {
            let holds = state.held.is_some_and(|held| held.host == *host || held.is_of_all());
            report.extend_from_slice(Registrant::new(*controller, holds, *key, *host).as_bytes());
        }
        report
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, StatusCode>) -> Result<T, StatusCode> {
        let mut state = self.lock();
        let result = change(&mut state);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn registrant(&self, host: &HostId) -> Option<&Registered> {
        self.registrants.iter().find(|registrant| registrant.host == *host)
    }

    fn check_key(&self, host: &HostId, key: u64) -> Result<(), StatusCode> {
        let registered = self.registrant(host).is_some_and(|registrant| registrant.key == key);
        if registered { Ok(()) } else { Err(StatusCode::ReservationConflict) }
    }

    fn acquire(
        &mut self,
        host: HostId,
        action: AcquireAction,
        kind: ReservationType,
        keys: &AcquireKeys,
    ) -> Result<(), StatusCode> {
        let preempted = keys.preempt.get();
        self.check_key(&host, keys.current.get())?;
        match (action, self.held) {
            (AcquireAction::Acquire, None) => {}
            (AcquireAction::Acquire, Some(held)) => {
                let own = held.kind == kind && (held.host == host || held.is_of_all());
                return if own { Ok(()) } else { Err(StatusCode::ReservationConflict) };
            }
            (_, Some(held)) if self.holds_with(held, preempted) => {
                // The other holders lose their registration with the reservation.
                let everybody = held.is_of_all();
                self.registrants.retain(|one| one.host == host || (one.key != preempted && !everybody));
                self.generation = self.generation.wrapping_add(1);
            }
            // Not a holder: only the registrations of that key go.
            (_, _) => {
                if preempted == 0 {
                    return Err(StatusCode::InvalidField);
                }
                if !self.registrants.iter().any(|registrant| registrant.key == preempted) {
                    return Err(StatusCode::ReservationConflict);
                }
                self.remove(|registrant| registrant.key == preempted);
                self.generation = self.generation.wrapping_add(1);
                return Ok(());
            }
        }
        self.held = Some(Held { kind, host });
        Ok(())
    }

    /// Whether the reservation is one that this key preempts.
    fn holds_with(&self, held: Held, key: u64) -> bool {
        match held.is_of_all() {
            true => key == 0,
            false => self.registrant(&held.host).is_some_and(|holder| holder.key == key),
        }
    }

    /// Removes registrations; the reservation goes with its holder, or with the last of all holders.
    fn remove(&mut self, which: impl Fn(&Registered) -> bool) {
        self.registrants.retain(|registrant| !which(registrant));
        if let Some(held) = self.held {
            let stays = match held.is_of_all() {
                true => !self.registrants.is_empty(),
                false => self.registrant(&held.host).is_some(),
            };
            if !stays {
                self.held = None;
            }
        }
    }
}

impl Held {
    /// Whether all registrants hold it.
    const fn is_of_all(&self) -> bool {
        matches!(self.kind, ReservationType::WriteExclusiveAll | ReservationType::ExclusiveAccessAll)
    }
}

#[cfg(test)]
mod tests {
    use ReservationType::*;
    use zerocopy::FromBytes;

    use super::*;

    const A: HostId = [1; 16];
    const B: HostId = [2; 16];
    const C: HostId = [3; 16];

    fn key_of(host: HostId) -> u64 {
        host[0].into()
    }

    fn register(reservations: &Reservations, host: HostId) -> Result<(), StatusCode> {
        let keys = RegisterKeys { current: 0.into(), new: key_of(host).into() };
        reservations.register(host, 1, RegisterAction::Register, false, &keys)
    }

    fn acquire(
        reservations: &Reservations,
        host: HostId,
        action: AcquireAction,
        kind: ReservationType,
        preempt: u64,
    ) -> Result<Vec<HostId>, StatusCode> {
        let keys = AcquireKeys { current: key_of(host).into(), preempt: preempt.into() };
        reservations.acquire(host, action, kind, &keys)
    }

    /// Letters of what A, B and C may do: A holds the reservation, B is registered, C is not.
    fn access(reservations: &Reservations) -> String {
        let letters = |host| match reservations.access(&host) {
            Access { read: true, write: true } => "rw",
            Access { read: true, write: false } => "r-",
            Access { read: false, write: true } => "-w",
            Access { read: false, write: false } => "--",
        };
        [A, B, C].map(letters).join(" ")
    }

    #[test]
    fn what_each_type_forbids() {
        for (kind, expected) in [
            (WriteExclusive, "rw r- r-"),
            (ExclusiveAccess, "rw -- --"),
            (WriteExclusiveRegistrants, "rw rw r-"),
            (ExclusiveAccessRegistrants, "rw rw --"),
            (WriteExclusiveAll, "rw rw r-"),
            (ExclusiveAccessAll, "rw rw --"),
        ] {
            let reservations = Reservations::default();
            assert_eq!((reservations.epoch(), access(&reservations)), (0, "rw rw rw".into()));
            register(&reservations, A).unwrap();
            register(&reservations, B).unwrap();
            acquire(&reservations, A, AcquireAction::Acquire, kind, 0).unwrap();
            assert_eq!(access(&reservations), expected, "{kind:?}");
            assert_eq!(reservations.release(A, ReleaseAction::Release, None, 1), Err(StatusCode::InvalidField));
            reservations.release(A, ReleaseAction::Release, Some(kind), 1).unwrap();
            assert_eq!(access(&reservations), "rw rw rw");
        }
    }

    #[test]
    fn keys_are_checked() {
        let reservations = Reservations::default();
        let conflict = Err(StatusCode::ReservationConflict);
        let acquired = acquire(&reservations, A, AcquireAction::Acquire, WriteExclusive, 0);
        assert_eq!(acquired, Err(StatusCode::ReservationConflict));
        register(&reservations, A).unwrap();
        register(&reservations, A).unwrap();
        let with = |action, ignore, current: u64, new: u64| {
            let keys = RegisterKeys { current: current.into(), new: new.into() };
            reservations.register(A, 1, action, ignore, &keys)
        };
        assert_eq!(with(RegisterAction::Register, false, 0, 9), conflict);
        assert_eq!(with(RegisterAction::Replace, false, 5, 9), conflict);
        assert_eq!(with(RegisterAction::Replace, false, 1, 9), Ok(()));
        assert_eq!(with(RegisterAction::Unregister, false, 1, 0), conflict);
        assert_eq!(with(RegisterAction::Unregister, true, 1, 0), Ok(()));
        assert_eq!(with(RegisterAction::Unregister, true, 1, 0), conflict);
        assert_eq!(with(RegisterAction::Replace, true, 0, 4), Ok(()), "which then registers");
        assert_eq!(reservations.release(B, ReleaseAction::Clear, None, 0), conflict);
    }

    #[test]
    fn preempting() {
        let reservations = Reservations::default();
        for host in [A, B, C] {
            register(&reservations, host).unwrap();
        }
        acquire(&reservations, A, AcquireAction::Acquire, WriteExclusive, 0).unwrap();
        let conflict = Err(StatusCode::ReservationConflict);
        assert_eq!(acquire(&reservations, B, AcquireAction::Acquire, WriteExclusive, 0), conflict);
        assert_eq!(acquire(&reservations, B, AcquireAction::Preempt, WriteExclusive, 0), Err(StatusCode::InvalidField));
        assert_eq!(acquire(&reservations, B, AcquireAction::Preempt, WriteExclusive, 77), conflict);
        assert_eq!(acquire(&reservations, B, AcquireAction::Preempt, ExclusiveAccess, 3), Ok(vec![C]));
        assert_eq!(access(&reservations), "rw r- r-", "only the registration of C went");
        assert_eq!(acquire(&reservations, B, AcquireAction::PreemptAndAbort, ExclusiveAccess, 1), Ok(vec![A]));
        assert_eq!(access(&reservations), "-- rw --");
        assert_eq!(acquire(&reservations, A, AcquireAction::Preempt, ExclusiveAccess, 2), conflict, "not registered");
    }

    #[test]
    fn all_registrants_hold_it_until_the_last() {
        let reservations = Reservations::default();
        register(&reservations, A).unwrap();
        register(&reservations, B).unwrap();
        acquire(&reservations, A, AcquireAction::Acquire, WriteExclusiveAll, 0).unwrap();
        let keys = RegisterKeys { current: 1.into(), new: 0.into() };
        reservations.register(A, 1, RegisterAction::Unregister, false, &keys).unwrap();
        let reads = Access { read: true, write: false };
        assert_eq!([A, B, C].map(|host| reservations.access(&host)), [reads, Access::FULL, reads]);
        register(&reservations, C).unwrap();
        assert_eq!(acquire(&reservations, C, AcquireAction::Preempt, ExclusiveAccess, 0), Ok(vec![B]));
        assert_eq!(access(&reservations), "-- -- rw");
    }

    #[test]
    fn reports_and_limits() {
        let reservations = Reservations::default();
        for host in 0..MAX_REGISTRANTS as u8 {
            register(&reservations, [host; 16]).unwrap();
        }
        assert_eq!(register(&reservations, [200; 16]), Err(StatusCode::InternalError));
        acquire(&reservations, A, AcquireAction::Acquire, ExclusiveAccess, 0).unwrap();
        let report = reservations.report();
        let header = ReservationReport::read_from_prefix(&report).unwrap().0;
        assert_eq!((header.generation.get(), header.kind, header.registrants.get()), (128, 2, 128));
        let second = Registrant::read_from_bytes(&report[128..192]).unwrap();
        assert_eq!((second.host_id, second.key.get(), second.status), (A, 1, 1));
        reservations.release(A, ReleaseAction::Clear, None, 1).unwrap();
        assert_eq!(reservations.report().len(), 64);
    }
}
