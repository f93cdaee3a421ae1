//! What changes while hosts are connected.

use std::ops::RangeInclusive;

use super::*;

fn request_event(host: &mut Host) -> u16 {
    host.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[])
}

fn event(host: &mut Host, request: u16) -> Option<AsyncEvent> {
    host.finish(request, &[]).map(|answer| AsyncEvent::from_bits(answer.ok().result as u32))
}

#[test]
fn namespaces_come_and_go() {
    let target = target();
    let (mut host, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    host.set_feature(fid::ASYNC_EVENTS, EventMask::NAMESPACE_ATTRIBUTES.0).ok();
    let request = request_event(&mut host);
    target.add_namespace(&nqn("disk"), namespace(7)).unwrap();
    host.look(&target);
    assert_eq!(event(&mut host, request), Some(AsyncEvent::NAMESPACES_CHANGED));
    let request = request_event(&mut host);
    target.remove_namespace(&nqn("disk"), 1).unwrap();
    host.look(&target);
    assert_eq!(event(&mut host, request), None, "the log was not read");
    assert_eq!(host.log(lid::CHANGED_NAMESPACES, 0, 4096).ok().data[..12], [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.log(lid::CHANGED_NAMESPACES, 0, 4096).ok().data[..4], [0; 4], "since it was last read");
    io.read(0, 1).expect(StatusCode::InvalidNamespace);
    io.look(&target);
    io.read(0, 1).expect(StatusCode::InvalidNamespace);
    let read = IoCommand::Read { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    io.run(read.to_sqe(7).with_sgl(Sgl::transport(512)), &[]).ok();
    // Another one under an old number is another one.
    target.add_namespace(&nqn("disk"), namespace(1)).unwrap();
    host.look(&target);
    assert_eq!(event(&mut host, request), Some(AsyncEvent::NAMESPACES_CHANGED));
}

/// The thread may have been busy for longer than the host has waited.
#[test]
fn nothing_is_begun_for_a_controller_that_has_gone() {
    let target = target();
    let (mut host, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    io.write(0, &[1; BLOCK]).ok();
    let command = IoCommand::Write { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    let mut sqe = command.to_sqe(1).with_sgl(Sgl::in_capsule(BLOCK as u32));
    for cid in 1..=2 {
        sqe.cid = cid.into();
        let capsule = io.encode(&Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len: BLOCK as u32 }), &[2; BLOCK]);
        io.connection.receive(io.now, capsule.into());
    }
    assert!(io.connection.poll_submission().is_some() && io.connection.has_submissions());
    host.connection.close();
    assert!(io.connection.poll_submission().is_none() && !io.connection.has_submissions());
    assert_eq!(io.connection.close_reason(), Some(&CloseReason::ControllerGone));
}

#[test]
fn ana_states_are_of_ports() {
    let target = target();
    let (mut host, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    host.set_feature(fid::ASYNC_EVENTS, EventMask::ANA_CHANGE.0).ok();
    let request = request_event(&mut host);
    for (state, status) in [
        (AnaState::NonOptimized, StatusCode::Success),
        (AnaState::Inaccessible, StatusCode::AnaInaccessible),
        (AnaState::Change, StatusCode::AnaTransition),
        (AnaState::PersistentLoss, StatusCode::AnaPersistentLoss),
    ] {
        target.set_ana_state(&nqn("disk"), 1, 1, state).unwrap();
        io.look(&target);
        assert_eq!(io.read(0, 1).code(), status);
    }
    target.set_ana_state(&nqn("disk"), 2, 1, AnaState::Inaccessible).unwrap();
    host.look(&target);
    assert_eq!(event(&mut host, request), Some(AsyncEvent::ANA_CHANGED));
    let log = host.log(lid::ANA, 0, 64).ok().data;
    assert_eq!((log[0], log[16], log[24], log[32]), (5, 1, 5, AnaState::PersistentLoss as u8));
    assert!(target.set_ana_state(&nqn("disk"), 1, 129, AnaState::Change).is_err());
}

#[test]
fn the_discovery_log_changes() {
    let target = target();
    let (mut host, _) = Host::admin_of(&target, &Nqn::discovery());
    host.set_feature(fid::ASYNC_EVENTS, u32::MAX).ok();
    let request = request_event(&mut host);
    let generation = host.log(lid::DISCOVERY, 0, 8).ok().data;
    target.set_ana_state(&nqn("disk"), 1, 1, AnaState::Change).unwrap();
    host.look(&target);
    assert_eq!(event(&mut host, request), None);
    target.add_subsystem(subsystem("second")).unwrap();
    host.look(&target);
    assert_eq!(event(&mut host, request), Some(AsyncEvent::DISCOVERY_CHANGED));
    assert_ne!(host.log(lid::DISCOVERY, 0, 8).ok().data, generation);
}

#[test]
fn the_end_of_the_admin_queue_is_that_of_the_controller() {
    let target = target();
    let (admin, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    assert_eq!(target.controllers(), 1);
    drop(admin);
    assert_eq!(target.controllers(), 0);
    io.look(&target);
    assert_eq!(io.connection.close_reason(), Some(&CloseReason::ControllerGone));
    let mut late = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
    let answer = late.connect(1, 128, &data).expect(StatusCode::ConnectInvalidParameters);
    assert_eq!(InvalidParameter::from_bits(answer.result as u32), InvalidParameter::CONTROLLER);
}

#[test]
fn a_reset_ends_io_queues_even_if_nobody_looks() {
    let target = target();
    let (mut admin, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    let request = request_event(&mut admin);
    admin.set(Property::Configuration, 0x46_0000).ok();
    admin.finish(request, &[]).unwrap().expect(StatusCode::AbortedSqDeletion);
    let read = IoCommand::Read { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    io.submit(read.to_sqe(1).with_sgl(Sgl::transport(512)), &[]);
    assert_eq!(io.connection.state(), ConnectionState::Closed);
    admin.identify(cns::CONTROLLER, 0).expect(StatusCode::CommandSequenceError);
    admin.set(Property::Configuration, 0x46_0001).ok();
    drop(io);
    Host::io(&target, controller, 1, HostOffer::default()).read(0, 1).ok();
}

const KATO: Duration = Duration::from_secs(2);
/// How much longer than KATO who is silent may be there.
const GRACE: Duration = Duration::from_millis(250);

/// The admin queue of a controller with a keep-alive timeout, and an I/O queue. Only the first one's time counts.
fn kept_alive(target: &Arc<Target>) -> (Host, Host) {
    let mut host = Host::initialized(target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    // Rounded up to KATO.
    let connect = Connect { queue: 0, entries: 32, attributes: ConnectAttributes::default(), keep_alive: 1950 };
    let controller = host.run(FabricsCommand::Connect(connect).to_sqe(), data.as_bytes()).ok().result as u16;
    host.set(Property::Configuration, 0x46_0001).ok();
    let io = Host::io(target, controller, 1, HostOffer::default());
    (host, io)
}

/// The host is silent from now on: it has its timeout, and little more.
#[track_caller]
fn assert_given_up_in_time(target: &Target, mut host: Host, mut io: Host) {
    host.wait(KATO);
    assert_eq!(host.connection.state(), ConnectionState::Admin, "too early");
    host.wait(GRACE);
    assert_eq!(host.connection.close_reason(), Some(&CloseReason::KeepAlive));
    io.look(target);
    assert_eq!(io.connection.close_reason(), Some(&CloseReason::ControllerGone));
    assert_eq!(target.controllers(), 0);
}

#[test]
fn keep_alive() {
    let target = target();
    let (mut host, mut io) = kept_alive(&target);
    let half = Duration::from_millis(1500);
    host.wait(half);
    io.read(0, 1).ok();
    host.wait(half);
    assert_eq!(host.connection.state(), ConnectionState::Admin, "I/O counts");
    let range = BlockRange { start: 0, count: 8192 / BLOCK as u32 };
    let write = IoCommand::Write { range, force_unit_access: false };
    io.submit(write.to_sqe(1).with_sgl(Sgl::transport(8192)), &[]);
    let Some((Pdu::R2t(r2t), ..)) = io.received.pop_front() else { panic!("no R2T") };
    for offset in [0, 4096] {
        let R2t { cccid, ttag, .. } = r2t;
        io.send(&Pdu::H2cData(H2cData { cccid, ttag, offset, length: 4096, last: offset > 0 }), &[0; 4096]);
        host.wait(half);
        assert_eq!(host.connection.state(), ConnectionState::Admin, "data counts");
    }
    io.read(0, 1).ok();
    let flush = io.encode(&Pdu::CapsuleCmd(CapsuleCmd { sqe: IoCommand::Flush.to_sqe(1), data_len: 0 }), &[]);
    io.connection.receive(io.now, flush.into());
    host.wait(half);
    io.pump();
    host.wait(half);
    assert_eq!(host.connection.state(), ConnectionState::Admin, "completions count");
    host.run(AdminCommand::KeepAlive.to_sqe(0), &[]).ok();
    assert_given_up_in_time(&target, host, io);
}

#[test]
fn a_silent_host_is_given_up_in_time_whenever_its_last_command_came() {
    for after in [0, 1, 60, 124, 125, 126, 700, 1000, 1999] {
        let target = target();
        let (mut host, mut io) = kept_alive(&target);
        host.wait(Duration::from_millis(after));
        io.read(0, 1).ok();
        assert_given_up_in_time(&target, host, io);
    }
}

/// It looks every half of KATO, and sends Keep Alive if nothing was completed since it last looked.
#[test]
fn a_host_that_does_as_linux_is_never_given_up() {
    let target = target();
    let (mut host, mut io) = kept_alive(&target);
    for round in 0..100 {
        // Just after it has looked. A Keep Alive comes a bit later than it is sent.
        let (after, way) = (Duration::from_millis(1 + round % 7), Duration::from_millis(50 + round % 50));
        host.wait(after);
        io.read(0, 1).ok();
        host.wait(KATO - after + way);
        assert_eq!(host.connection.state(), ConnectionState::Admin, "round {round}");
        host.run(AdminCommand::KeepAlive.to_sqe(0), &[]).ok();
    }
}

#[test]
fn discovery_controllers_do_not_stay_for_ever() {
    let target = target();
    let timeout = Duration::from_secs(120);
    let (mut host, _) = Host::admin_of(&target, &Nqn::discovery());
    host.wait(timeout);
    host.log(lid::DISCOVERY, 0, 1024).ok();
    // It cannot be turned off.
    host.set_feature(fid::KEEP_ALIVE_TIMER, 0).ok();
    host.wait(timeout);
    assert_eq!(host.connection.state(), ConnectionState::Admin);
    host.wait(timeout / 8);
    assert_eq!(host.connection.close_reason(), Some(&CloseReason::KeepAlive));
    // Who asks for more has more, and who has a disk need not ask.
    let (mut persistent, _) = Host::admin_of(&target, &Nqn::discovery());
    persistent.set_feature(fid::KEEP_ALIVE_TIMER, 600_000).ok();
    let (mut disk, _) = Host::admin(&target);
    for host in [&mut persistent, &mut disk] {
        host.wait(4 * timeout);
        assert_eq!(host.connection.state(), ConnectionState::Admin);
    }
}

fn connect_in_vain(target: &Arc<Target>, subsystem: &Nqn) {
    let mut host = Host::initialized(target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, subsystem, &nqn("host"));
    host.connect(0, 32, &data).expect(StatusCode::ControllerBusy);
}

#[test]
fn discovery_controllers_keep_nobody_from_disks() {
    let config = TargetConfig { max_controllers: 2, max_discovery_controllers: 3, ..TargetConfig::default() };
    let target = target_with(config);
    let explorers: Vec<_> = (0..3).map(|_| Host::admin_of(&target, &Nqn::discovery())).collect();
    connect_in_vain(&target, &Nqn::discovery());
    let _disks = [Host::admin(&target), Host::admin(&target)];
    connect_in_vain(&target, &nqn("disk"));
    assert_eq!(target.controllers(), 5);
    drop(explorers);
    assert_eq!(target.controllers(), 2);
    Host::admin_of(&target, &Nqn::discovery());
}

#[test]
fn controllers_have_identifiers_from_the_range_of_the_target() {
    let target = target_with(TargetConfig { controller_ids: 0xffed..=0xffef, ..TargetConfig::default() });
    let mut hosts: Vec<_> = (0..3).map(|_| Host::admin(&target)).collect();
    assert_eq!(hosts.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [0xffed, 0xffee, 0xffef]);
    connect_in_vain(&target, &nqn("disk"));
    Host::admin_of(&target, &Nqn::discovery());
    drop(hosts.remove(1));
    assert_eq!(Host::admin(&target).1, 0xffee);
    hosts.clear();
    // In turn, so that nobody takes a controller for an earlier one.
    assert_eq!([(); 4].map(|()| Host::admin(&target).1), [0xffef, 0xffed, 0xffee, 0xffef]);
}

#[test]
fn disconnecting_an_io_queue() {
    let target = target();
    let (_admin, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    io.run(FabricsCommand::Disconnect.to_sqe(), &[]).ok();
    assert_eq!(io.connection.close_reason(), Some(&CloseReason::Disconnected));
    // What has not begun does not: the host hears no more of it, and may send it elsewhere.
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    let commands = [(1, IoCommand::Flush.to_sqe(1)), (2, FabricsCommand::Disconnect.to_sqe())];
    let [flush, disconnect] = commands.map(|(cid, mut sqe)| {
        sqe.cid = cid.into();
        io.encode(&Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len: 0 }), &[])
    });
    io.connection.receive(io.now, [flush, disconnect].concat().into());
    assert_eq!(io.connection.close_reason(), Some(&CloseReason::Disconnected));
    assert!(io.connection.poll_submission().is_none());
    Host::io(&target, controller, 1, HostOffer::default());
}

#[test]
fn hosts_and_subsystems_are_removed() {
    let target = target();
    let (mut admin, _) = Host::admin(&target);
    target.set_allowed_hosts(&nqn("disk"), AllowedHosts::Only([nqn("other")].into())).unwrap();
    admin.look(&target);
    assert_eq!(admin.connection.close_reason(), Some(&CloseReason::ControllerGone));
    let mut host = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    host.connect(0, 32, &data).expect(StatusCode::ConnectInvalidHost);
    target.set_allowed_hosts(&nqn("disk"), AllowedHosts::Any).unwrap();
    let (mut admin, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    target.remove_subsystem(&nqn("disk")).unwrap();
    admin.look(&target);
    io.look(&target);
    assert_eq!((admin.connection.state(), io.connection.state()), (ConnectionState::Closed, ConnectionState::Closed));
    assert_eq!(target.remove_subsystem(&nqn("disk")), Err(TargetError::NoSubsystem(nqn("disk"))));
}

#[test]
fn what_cannot_be_configured() {
    let target = target();
    let disk = nqn("disk");
    assert_eq!(target.add_subsystem(subsystem("disk")), Err(TargetError::SubsystemExists(disk.clone())));
    assert_eq!(target.add_namespace(&disk, namespace(1)), Err(TargetError::NamespaceExists(1)));
    assert_eq!(target.add_namespace(&nqn("none"), namespace(1)), Err(TargetError::NoSubsystem(nqn("none"))));
    for wrong in [
        Namespace { nsid: 0, ..namespace(1) },
        Namespace { nsid: 1025, ..namespace(1) },
        Namespace { block_size: 513, ..namespace(2) },
        Namespace { block_size: 256, ..namespace(2) },
        Namespace { group: 0, ..namespace(2) },
        Namespace { store: Arc::new(NullStore::new(511)), ..namespace(2) },
    ] {
        let error = target.add_namespace(&disk, wrong).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    let discovery = Subsystem { nqn: Nqn::discovery(), ..subsystem("x") };
    assert!(matches!(target.add_subsystem(discovery), Err(TargetError::DiscoveryName(_))));
    assert_eq!(target.remove_port(3), Err(TargetError::NoPort(3)));
    let wrong = TargetConfig { max_transfer: 5000, ..TargetConfig::default() };
    let error = Target::new(wrong).unwrap_err().to_string();
    assert_eq!(error, "max_transfer cannot be 5000: a power of two, 4096 to 128 MiB");
    for (first, last) in [(0, 5), (1, 0xfff0), (0xfff0, 0xffff), (5, 4)] {
        let wrong = TargetConfig { controller_ids: RangeInclusive::new(first, last), ..TargetConfig::default() };
        assert_eq!(Target::new(wrong).err(), Some(TargetError::ControllerIds { first, last }));
    }
    let error = TargetError::ControllerIds { first: 5, last: 4 }.to_string();
    assert_eq!(error, "controller_ids cannot be 5 to 4: they are within 1 to 65519, and there is at least one");
    for most in [0, 0xfff0] {
        let wrong = TargetConfig { max_discovery_controllers: most, ..TargetConfig::default() };
        assert!(matches!(Target::new(wrong), Err(TargetError::Limit { name: "max_discovery_controllers", .. })));
    }
}

#[test]
fn stores_are_closed_once_they_are_removed_and_idle() {
    let target = target();
    let store = Arc::new(MemoryStore::new(BLOCKS * BLOCK as u64));
    target.add_namespace(&nqn("disk"), Namespace { store: store.clone(), ..namespace(2) }).unwrap();
    let token = Token { connection: 0, slot: 3 };
    let flush = || Submission { token, store: StoreId(1), operation: Operation::Flush };
    let mut backends = Backends::new(Arc::clone(&target));
    backends.submit(flush());
    target.remove_namespace(&nqn("disk"), 2).unwrap();
    backends.handle_change();
    assert_eq!(backends.poll().map(|completion| completion.result), Some(Ok(())), "what was begun comes to its end");
    let (opened, data) = (Arc::downgrade(&store), MemoryStore::clone(&store));
    drop(store);
    assert_eq!(opened.strong_count(), 0, "the target has let go of it");
    backends.handle_change();
    drop(data);
    backends.submit(flush());
    assert_eq!(backends.poll().map(|completion| completion.result), Some(Err(StatusCode::InvalidNamespace)));
    assert!(backends.poll().is_none());
}

#[test]
fn reservations_hold_between_hosts() {
    let target = target();
    let connect = |host_id: [u8; 16]| {
        let mut admin = Host::initialized(&target, HostOffer::default());
        let name = nqn(&format!("host{}", host_id[0]));
        let data = |controller| ConnectData::new(host_id, controller, &nqn("disk"), &name);
        let controller = admin.connect(0, 32, &data(ANY_CONTROLLER)).ok().result as u16;
        admin.set(Property::Configuration, 0x46_0001).ok();
        let mut io = Host::initialized(&target, HostOffer::default());
        io.connect(1, 128, &data(controller)).ok();
        (io, admin)
    };
    let ((mut one, _admin1), (mut two, _admin2)) = (connect([1; 16]), connect([2; 16]));
    let register = |host: &mut Host, key: u64| {
        let command =
            IoCommand::ReservationRegister { action: RegisterAction::Register, ignore_key: false, persist: None };
        let keys = RegisterKeys { current: 0.into(), new: key.into() };
        host.run(command.to_sqe(1).with_sgl(Sgl::in_capsule(16)), keys.as_bytes()).ok();
    };
    let acquire = |action, kind, key: u64, preempt: u64| {
        let command = IoCommand::ReservationAcquire { action, ignore_key: false, kind: Some(kind) };
        let keys = AcquireKeys { current: key.into(), preempt: preempt.into() };
        (command.to_sqe(1).with_sgl(Sgl::in_capsule(16)), keys)
    };
    register(&mut one, 11);
    register(&mut two, 22);
    let (sqe, keys) = acquire(AcquireAction::Acquire, ReservationType::WriteExclusive, 11, 0);
    one.run(sqe, keys.as_bytes()).ok();
    two.write(0, &[2; BLOCK]).expect(StatusCode::ReservationConflict);
    two.read(0, 1).ok();
    one.write(0, &[1; BLOCK]).ok();
    let report = IoCommand::ReservationReport { length: 64 * 3, extended: true };
    let data = two.run(report.to_sqe(1).with_sgl(Sgl::transport(192)), &[]).ok().data;
    assert_eq!((data[4], data[5], data[64 + 2], data[128 + 2]), (1, 2, 1, 0));
    // A write that waits for its data is shut out, too.
    let range = BlockRange { start: 0, count: 1 };
    let write = IoCommand::Write { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(512));
    let waiting = one.submit(write, &[]);
    let (sqe, keys) = acquire(AcquireAction::Preempt, ReservationType::ExclusiveAccess, 22, 11);
    two.run(sqe, keys.as_bytes()).ok();
    one.finish(waiting, &[9; BLOCK]).unwrap().expect(StatusCode::ReservationConflict);
    one.read(0, 1).expect(StatusCode::ReservationConflict);
    assert_eq!(two.read(0, 1).ok().data, [1; BLOCK][..]);
    let release = IoCommand::ReservationRelease { action: ReleaseAction::Clear, ignore_key: false, kind: None };
    two.run(release.to_sqe(1).with_sgl(Sgl::in_capsule(8)), &22u64.to_le_bytes()).ok();
    one.read(0, 1).ok();
    let short = IoCommand::ReservationReport { length: 64, extended: false };
    one.run(short.to_sqe(1).with_sgl(Sgl::transport(64)), &[]).expect(StatusCode::HostIdInconsistent);
}
