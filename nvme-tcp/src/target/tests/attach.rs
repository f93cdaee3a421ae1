//! What hosts send to attach, as it was measured, and what they check in the answers.

use zerocopy::FromBytes;

use super::*;

fn read<T: FromBytes>(answer: &Answer) -> T {
    T::read_from_prefix(&answer.data).unwrap().0
}

#[test]
fn the_sequence_of_spdk() {
    let target = target();
    let (mut host, controller) = Host::admin(&target);
    assert_eq!(host.get(Property::Version), 0x0001_0400);
    let capabilities = Capabilities::from_bits(host.get(Property::Capabilities));
    assert_eq!((capabilities.max_queue_entries, capabilities.command_sets), (128, 1));
    assert_eq!(host.get(Property::Configuration), 0x46_0001);

    let identify: IdentifyController = read(&host.identify(cns::CONTROLLER, 0).ok());
    assert_eq!(identify.cntlid.get(), controller);
    assert_eq!(trimmed(&identify.sn), "S1");
    assert_ne!(identify.kas.get(), 0);
    assert!(identify.ioccsz.get() >= 4 && identify.iorcsz.get() >= 1 && identify.icdoff.get() == 0);
    assert_eq!(identify.in_capsule_data(), 16 * 1024);
    assert_ne!(identify.sgls.get() & 0b11, 0);
    assert!(identify.mnan.get() > 0 && identify.mnan.get() <= identify.nn.get());
    assert_eq!(1u32 << (12 + identify.mdts), 1 << 20);
    assert_eq!((identify.sqes, identify.cqes, identify.cntrltype), (0x66, 0x44, 1));
    assert!(identify.subnqn.starts_with(nqn("disk").as_str().as_bytes()));

    host.set_feature(fid::ASYNC_EVENTS, 0x91f).ok();
    let requests: Vec<_> = (0..4).map(|_| host.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[])).collect();
    assert!(host.received.is_empty(), "they wait");
    let get = AdminCommand::GetFeatures { feature: fid::KEEP_ALIVE_TIMER, select: 0, value: 0 };
    assert_eq!(host.run(get.to_sqe(0), &[]).ok().result, 0);
    host.identify(cns::COMMAND_SET_CONTROLLER, 0).ok();
    let granted = host.set_feature(fid::NUMBER_OF_QUEUES, QueueCounts::pairs(1024).bits()).ok().result as u32;
    assert_eq!(QueueCounts::from_bits(granted), QueueCounts::pairs(128));
    assert_eq!(host.identify(cns::ACTIVE_NAMESPACES, 0).ok().data[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let namespace: IdentifyNamespace = read(&host.identify(cns::NAMESPACE, 1).ok());
    assert_eq!((namespace.nsze.get(), namespace.format().lbads, namespace.anagrpid.get()), (BLOCKS, 9, 1));
    let identifiers = NamespaceId::read_list(&host.identify(cns::NAMESPACE_IDS, 1).ok().data);
    assert!(identifiers.contains(&NamespaceId::Uuid([1; 16])));
    let log = host.log(lid::ANA, 0, 4096).ok().data;
    assert_eq!(log[..12], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let group = AnaGroup::read_from_prefix(&log[16..]).unwrap().0;
    assert_eq!((group.group.get(), group.state()), (1, Some(AnaState::Optimized)));
    assert_eq!(log[48..52], [1, 0, 0, 0]);
    host.run(AdminCommand::KeepAlive.to_sqe(0), &[]).ok();

    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    assert_eq!(io.connection.state(), ConnectionState::Io);
    io.read(0, 1).ok();

    // Shutdown: CC.SHN, then CSTS.SHST until it is complete.
    host.set(Property::Configuration, 0x46_4001).ok();
    let status = ControllerStatus::from_bits(host.get(Property::Status) as u32);
    assert_eq!(status.shutdown, ShutdownStatus::Complete);
    assert_eq!(requests.len(), host.connection.outstanding());
}

#[test]
fn the_sequence_of_linux() {
    let target = target();
    let mut host = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    let connect =
        Connect { queue: 0, entries: 32, attributes: ConnectAttributes::DISABLE_FLOW_CONTROL, keep_alive: 5000 };
    let answer = host.run(FabricsCommand::Connect(connect).to_sqe(), data.as_bytes()).ok();
    assert_eq!(answer.cqe.unwrap().sqhd.get(), 0xffff, "no flow control");
    host.get(Property::Capabilities);
    host.set(Property::Configuration, 0x46_0000).ok();
    assert_eq!(host.get(Property::Status), 0);
    host.set(Property::Configuration, 0x46_0001).ok();
    assert_eq!(host.get(Property::Status), 1);
    host.identify(cns::CONTROLLER, 0).ok();
    let effects: EffectsLog = read(&host.log(lid::COMMAND_EFFECTS, 0, 4096).ok());
    assert_eq!((effects.admin[6].get(), effects.io[1].get(), effects.io[0x7f].get()), (1, 3, 0));
    host.log(lid::ANA, 0, 16 + 32 + 4).ok();
    let granted = host.set_feature(fid::NUMBER_OF_QUEUES, QueueCounts::pairs(4).bits()).ok().result as u32;
    assert_eq!(QueueCounts::from_bits(granted), QueueCounts::pairs(4));
    host.identify(cns::INDEPENDENT_NAMESPACE, 1).ok();
    host.identify(cns::COMMAND_SET_NAMESPACE, 1).ok();
    host.wait(Duration::from_secs(5));
    assert_eq!(host.connection.state(), ConnectionState::Admin);
    host.wait(Duration::from_secs(5) / 8);
    assert_eq!(host.connection.close_reason(), Some(&CloseReason::KeepAlive));
}

#[test]
fn short_queues() {
    let target = target_with(TargetConfig { max_queue_entries: 4, ..TargetConfig::default() });
    let (mut admin, controller) = Host::admin(&target);
    assert_eq!(Capabilities::from_bits(admin.get(Property::Capabilities)).max_queue_entries, 4);
    let mut io = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
    io.connect(1, 5, &data).expect(StatusCode::ConnectInvalidParameters);
    io.connect(1, 4, &data).ok();
    let heads: Vec<_> = (0..4).map(|_| io.write(0, &[0; BLOCK]).ok().cqe.unwrap().sqhd.get()).collect();
    assert_eq!(heads, [2, 3, 0, 1]);
}

#[test]
fn discovery() {
    let target = target();
    target.set_referrals(vec![Referral { port: 9, address: "192.0.2.9:8009".parse().unwrap() }]);
    target.add_port(Port { id: 2, address: "[2001:db8::1]:4421".parse().unwrap() });
    let hidden = Subsystem { hosts: AllowedHosts::Only([nqn("other")].into()), ..subsystem("hidden") };
    target.add_subsystem(hidden).unwrap();
    let (mut host, _) = Host::admin_of(&target, &Nqn::discovery());
    let identify: IdentifyController = read(&host.identify(cns::CONTROLLER, 0).ok());
    assert_eq!(identify.cntrltype, 2);
    let header: DiscoveryHeader = read(&host.log(lid::DISCOVERY, 0, 1024).ok());
    assert_eq!(header.records.get(), 3);
    let log = host.log(lid::DISCOVERY, 0, 4 * 1024).ok().data;
    let entries: Vec<_> =
        log[1024..].chunks(1024).map(|entry| DiscoveryEntry::read_from_bytes(entry).unwrap()).collect();
    let addresses: Vec<_> = entries.iter().map(|entry| (trimmed(&entry.address), trimmed(&entry.service))).collect();
    let expected = [("192.0.2.1", "4420"), ("2001:db8::1", "4421"), ("192.0.2.9", "8009")];
    assert_eq!(addresses, expected.map(|(address, service)| (address.to_owned(), service.to_owned())));
    assert!(entries[0].subnqn.starts_with(nqn("disk").as_str().as_bytes()));
    assert_eq!(entries.iter().map(|entry| entry.subtype).collect::<Vec<_>>(), [2, 2, 1]);
    // In parts, as hosts with little memory read it.
    assert_eq!(host.log(lid::DISCOVERY, 1024, 1024).ok().data, log[1024..2048]);
    host.identify(cns::NAMESPACE, 1).expect(StatusCode::InvalidField);
    host.log(lid::ANA, 0, 64).expect(StatusCode::InvalidLogPage);
}

#[test]
fn log_pages_and_their_ends() {
    let target = target();
    let (mut host, _) = Host::admin(&target);
    let supported = host.log(lid::SUPPORTED, 0, 1024).ok().data;
    let pages: Vec<_> = (0..256).filter(|id| supported[id * 4] == 1).collect();
    assert_eq!(pages, [0, 1, 2, 3, 4, 5, 0x0c]);
    let smart: SmartLog = read(&host.log(lid::SMART, 0, 512).ok());
    assert_eq!(smart.critical_warning, 0);
    host.log(lid::FIRMWARE, 0, 512).ok();
    host.log(0x42, 0, 512).expect(StatusCode::InvalidLogPage);
    // Tools read the ANA log in pieces of 4096 bytes, as long as it could be.
    for offset in [0, 4096, 8192] {
        host.log(lid::ANA, offset, 16).ok();
    }
    // Beyond the end there are zeroes; an offset beyond it is wrong, as is one that is not of dwords.
    assert_eq!(host.log(lid::SMART, 512, 64).ok().data, [0; 64][..]);
    host.log(lid::SMART, 516, 64).expect(StatusCode::InvalidField);
    host.log(lid::SMART, u64::MAX - 3, 64).expect(StatusCode::InvalidField);
    host.log(lid::SMART, 2, 64).expect(StatusCode::InvalidField);
    // The five failures are in the error log, the newest first.
    let log = host.log(lid::ERROR, 0, 64 * 64).ok().data;
    let newest = ErrorEntry::read_from_prefix(&log).unwrap().0;
    assert_eq!(newest.error_count.get(), 4);
    assert_eq!(Status::from_wire(newest.status.get()).code, StatusCode::InvalidField);
    assert_eq!(log[4 * 64..], [0; 60 * 64][..]);
}

#[test]
fn features() {
    let target = target();
    let (mut host, controller) = Host::admin(&target);
    let get = |host: &mut Host, feature, select| {
        host.run(AdminCommand::GetFeatures { feature, select, value: 0 }.to_sqe(0), &[])
    };
    host.set_feature(fid::KEEP_ALIVE_TIMER, 1234).ok();
    assert_eq!(get(&mut host, fid::KEEP_ALIVE_TIMER, 0).ok().result, 1300, "in units of 100 ms");
    assert_eq!(get(&mut host, fid::KEEP_ALIVE_TIMER, 1).ok().result, 0);
    assert_eq!(get(&mut host, fid::KEEP_ALIVE_TIMER, 3).ok().result, 4);
    // Who could turn it off would take what is in it for durable.
    host.set_feature(fid::VOLATILE_WRITE_CACHE, 0).expect(StatusCode::FeatureNotChangeable);
    host.set_feature(fid::VOLATILE_WRITE_CACHE, 1).ok();
    assert_eq!(get(&mut host, fid::VOLATILE_WRITE_CACHE, 0).ok().result, 1);
    assert_eq!(get(&mut host, fid::VOLATILE_WRITE_CACHE, 3).ok().result, 0);
    host.set_feature(0x42, 0).expect(StatusCode::InvalidField);
    get(&mut host, 0x42, 0).expect(StatusCode::InvalidField);
    get(&mut host, fid::VOLATILE_WRITE_CACHE, 5).expect(StatusCode::InvalidField);
    let save = AdminCommand::SetFeatures { feature: fid::VOLATILE_WRITE_CACHE, save: true, value: 1 };
    host.run(save.to_sqe(0), &[]).expect(StatusCode::FeatureNotSaveable);
    let identifier = AdminCommand::GetFeatures { feature: fid::HOST_IDENTIFIER, select: 0, value: 1 };
    assert_eq!(host.run(identifier.to_sqe(0).with_sgl(Sgl::transport(16)), &[]).ok().data, [1; 16][..]);
    let behavior = AdminCommand::SetFeatures { feature: fid::HOST_BEHAVIOR, save: false, value: 0 };
    host.run(behavior.to_sqe(0).with_sgl(Sgl::in_capsule(512)), &[1; 512]).ok();
    host.run(behavior.to_sqe(0).with_sgl(Sgl::in_capsule(4)), &[1; 4]).expect(StatusCode::InvalidDataSglLength);
    host.set_feature(fid::NUMBER_OF_QUEUES, 0xffff_ffff).expect(StatusCode::InvalidField);
    let _io = Host::io(&target, controller, 1, HostOffer::default());
    host.set_feature(fid::NUMBER_OF_QUEUES, 0).expect(StatusCode::CommandSequenceError);
}

#[test]
fn aborting() {
    let target = target();
    let (mut host, _) = Host::admin(&target);
    let waiting = host.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[]);
    assert_eq!(host.run(AdminCommand::Abort { queue: 0, cid: waiting }.to_sqe(0), &[]).ok().result, 0);
    host.finish(waiting, &[]).unwrap().expect(StatusCode::AbortedByRequest);
    assert_eq!(host.run(AdminCommand::Abort { queue: 0, cid: waiting }.to_sqe(0), &[]).ok().result, 1);
    assert_eq!(host.run(AdminCommand::Abort { queue: 1, cid: 5 }.to_sqe(0), &[]).ok().result, 1);
}

#[test]
fn what_takes_storage_is_in_use() {
    let target = target();
    let store = Arc::new(NullStore::new(BLOCKS * BLOCK as u64));
    target.add_namespace(&nqn("disk"), Namespace { store, ..namespace(2) }).unwrap();
    let (mut admin, controller) = Host::admin(&target);
    let mut io = Host::io(&target, controller, 1, HostOffer::default());
    let mut usage = |nsid| {
        let described: IdentifyNamespace = read(&admin.identify(cns::NAMESPACE, nsid).ok());
        assert_eq!((described.nsze.get(), described.ncap.get()), (BLOCKS, BLOCKS));
        (described.nuse.get(), described.nsfeat & 1)
    };
    assert_eq!((usage(1), usage(2)), ((0, 1), (BLOCKS, 0)));
    io.write(5, &[7; BLOCK]).ok();
    let taken = 64 * 1024 / BLOCK as u64;
    assert_eq!(usage(1), (taken, 1), "storage is given by 64 KiB");
    let deallocate = IoCommand::DatasetManagement { ranges: 1, deallocate: true }.to_sqe(1);
    let range = DatasetRange::new(BlockRange { start: 0, count: taken as u32 });
    io.run(deallocate.with_sgl(Sgl::in_capsule(16)), range.as_bytes()).ok();
    assert_eq!((usage(1), usage(2)), ((0, 1), (BLOCKS, 0)));
}

#[test]
fn transfers_shorter_and_longer_than_the_structure() {
    let target = target();
    let (mut host, _) = Host::admin(&target);
    let identify = AdminCommand::Identify(Identify { cns: cns::CONTROLLER, controller: 0, command_set: 0 });
    for length in [0, 4, 4095] {
        let sqe = identify.to_sqe(0).with_sgl(Sgl::transport(length));
        host.run(sqe, &[]).expect(StatusCode::InvalidDataSglLength);
    }
    assert_eq!(host.run(identify.to_sqe(0).with_sgl(Sgl::transport(8192)), &[]).ok().data.len(), 4096);
    let get = GetLogPage { page: lid::SMART, specific: 0, retain_event: false, length: 512, offset: 0 };
    let sqe = AdminCommand::GetLogPage(get).to_sqe(0);
    host.run(sqe.with_sgl(Sgl::transport(256)), &[]).expect(StatusCode::InvalidDataSglLength);
    let huge = AdminCommand::GetLogPage(GetLogPage { length: 4 << 32, ..get }).to_sqe(0);
    host.run(huge.with_sgl(Sgl::transport(512)), &[]).expect(StatusCode::InvalidField);
}

/// What the controllers' lists of Identify say from this identifier on.
fn listed(host: &mut Host, cns: u8, first: u16, nsid: u32) -> Vec<u16> {
    let identify = AdminCommand::Identify(Identify { cns, controller: first, command_set: 0 });
    let data = host.run(identify.to_sqe(nsid).with_sgl(Sgl::transport(4096)), &[]).ok().data;
    let mut words = data.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    let count = words.next().unwrap();
    let (listed, rest): (Vec<_>, Vec<_>) = words.enumerate().partition(|(index, _)| *index < usize::from(count));
    assert!(rest.into_iter().all(|(_, word)| word == 0));
    listed.into_iter().map(|(_, word)| word).collect()
}

#[test]
fn controllers_of_the_subsystem() {
    let target = target_with(TargetConfig { max_controllers: 3000, ..TargetConfig::default() });
    target.add_subsystem(subsystem("other")).unwrap();
    let (mut host, first) = Host::admin(&target);
    let _elsewhere = [Host::admin_of(&target, &nqn("other")), Host::admin_of(&target, &Nqn::discovery())];
    let (another, second) = Host::admin(&target);
    for (cns, nsid) in [(cns::CONTROLLERS, 0), (cns::ATTACHED_CONTROLLERS, 1)] {
        assert_eq!(listed(&mut host, cns, 0, nsid), [first, second]);
        assert_eq!(listed(&mut host, cns, first + 1, nsid), [second]);
        assert!(listed(&mut host, cns, second + 1, nsid).is_empty());
    }
    assert!(listed(&mut host, cns::ATTACHED_CONTROLLERS, 0, 9).is_empty(), "no such namespace");
    host.identify(cns::ATTACHED_CONTROLLERS, u32::MAX).expect(StatusCode::InvalidNamespace);
    drop(another);
    assert_eq!(listed(&mut host, cns::CONTROLLERS, 0, 0), [first]);
    // No more than there is room for.
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    let many: Vec<_> = (0..2100).map(|_| target.connect_admin(&data).unwrap()).collect();
    let all = listed(&mut host, cns::CONTROLLERS, 0, 0);
    assert_eq!((all.len(), all[1]), (2047, many[0].controller));
    assert!(all.is_sorted());
}

#[test]
fn namespaces_that_do_not_exist() {
    let target = target();
    let (mut host, _) = Host::admin(&target);
    assert_eq!(host.identify(cns::NAMESPACE, 9).ok().data, [0; 4096][..], "not active");
    for nsid in [0, 1025] {
        host.identify(cns::NAMESPACE, nsid).expect(StatusCode::InvalidNamespace);
    }
    host.identify(cns::NAMESPACE_IDS, 9).expect(StatusCode::InvalidNamespace);
    host.identify(cns::ACTIVE_NAMESPACES, u32::MAX).expect(StatusCode::InvalidNamespace);
    host.identify(0x77, 0).expect(StatusCode::InvalidField);
    assert_eq!(host.identify(cns::ACTIVE_NAMESPACES, 1).ok().data, [0; 4096][..]);
}
