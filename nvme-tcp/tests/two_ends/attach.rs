//! Discovery, the life of a controller, and what changes while it lives.

use std::time::Duration;

use nvme_tcp::command::{AdminCommand, AnaState, GetLogPage, NamespaceId, SmartLog, SubsystemType, lid};
use nvme_tcp::host::{ControllerConfig, ControllerError, ControllerEvent, QueueError, Request};
use nvme_tcp::pdu::Digests;
use nvme_tcp::target::{AllowedHosts, TargetConfig};
use zerocopy::FromBytes;

use super::world::*;

fn with_digests(mut config: ControllerConfig, digests: Digests) -> ControllerConfig {
    config.admin.offer.digests = digests;
    config
}

#[test]
fn discover_and_attach() {
    for (digests, segment) in [(Digests::NONE, 7), (Digests::BOTH, 1), (Digests::BOTH, 9000)] {
        let mut world = World::new(TargetConfig::default(), 1);
        world.segment = segment;
        let (_, discovery) = world.attach(1, with_digests(ControllerConfig::discovery(identity()), digests));
        let log = discovery.discovery_log().unwrap();
        let disks: Vec<_> = log.records.iter().filter(|record| record.subtype == SubsystemType::Nvm).collect();
        assert_eq!(disks.len(), 2, "{log:?}");
        assert!(disks.iter().all(|record| record.subsystem == nqn("disk")));
        assert_eq!(disks[0].socket_address(), Some("192.0.2.1:4420".parse().unwrap()));

        let (id, mut controller) = world.attach(1, with_digests(ControllerConfig::new(identity(), 3), digests));
        assert_eq!(controller.io_queues(), 3);
        let namespace = &controller.namespaces()[&1];
        assert_eq!((namespace.blocks, namespace.block_size as usize), (BLOCKS, BLOCK));
        assert!(namespace.identifiers.contains(&NamespaceId::Uuid([1; 16])));
        assert_eq!(controller.ana().state(namespace.ana_group), AnaState::Optimized);
        for qid in 1..=3 {
            world.io_queue::<u64>(1, &controller, qid);
        }
        world.wait(id, &mut controller, Duration::from_secs(60));
        assert!(controller.poll_event().is_none(), "keep-alive holds the association together");
        controller.shutdown(world.now);
        world.wait(id, &mut controller, Duration::from_secs(1));
        assert!(matches!(controller.poll_event(), Some(ControllerEvent::ShutDown)));
    }
}

#[test]
fn hosts_that_are_not_allowed() {
    let mut world = World::new(TargetConfig::default(), 2);
    world.target.set_allowed_hosts(&nqn("disk"), AllowedHosts::Only([nqn("other")].into())).unwrap();
    let id = world.connect(1);
    let mut controller = nvme_tcp::host::Controller::new(ControllerConfig::new(identity(), 1), world.now);
    world.settle(id, &mut controller);
    let Some(ControllerEvent::Ended(error)) = controller.poll_event() else { panic!("not refused") };
    assert!(matches!(error, ControllerError::Queue(QueueError::Refused { .. })), "{error}");
    assert!(error.is_final());
}

#[test]
fn changes_are_told() {
    let mut world = World::new(TargetConfig::default(), 3);
    let (id, mut controller) = world.attach(1, ControllerConfig::new(identity(), 1));
    let persistent = ControllerConfig::persistent_discovery(identity(), Duration::from_secs(30));
    let (discovery_id, mut discovery) = world.attach(1, persistent);

    world.target.add_namespace(&nqn("disk"), namespace(4)).unwrap();
    world.settle(id, &mut controller);
    assert!(matches!(controller.poll_event(), Some(ControllerEvent::NamespacesChanged)));
    assert_eq!(controller.namespaces().keys().copied().collect::<Vec<_>>(), [1, 4]);
    world.target.remove_namespace(&nqn("disk"), 1).unwrap();
    world.settle(id, &mut controller);
    assert!(matches!(controller.poll_event(), Some(ControllerEvent::NamespacesChanged)));
    assert_eq!(controller.namespaces().keys().copied().collect::<Vec<_>>(), [4]);

    for state in [AnaState::NonOptimized, AnaState::Inaccessible, AnaState::Optimized] {
        world.target.set_ana_state(&nqn("disk"), 1, 1, state).unwrap();
        world.settle(id, &mut controller);
        assert!(matches!(controller.poll_event(), Some(ControllerEvent::AnaChanged)), "{state:?}");
        assert_eq!(controller.ana().state(1), state);
    }

    world.settle(discovery_id, &mut discovery);
    while discovery.poll_event().is_some() {}
    let before = discovery.discovery_log().unwrap().generation;
    world.target.remove_port(2).unwrap();
    world.settle(discovery_id, &mut discovery);
    assert!(matches!(discovery.poll_event(), Some(ControllerEvent::DiscoveryChanged)));
    assert!(discovery.discovery_log().unwrap().generation > before);
}

#[test]
fn logs_for_the_caller() {
    let mut world = World::new(TargetConfig::default(), 4);
    let (id, mut controller) = world.attach(1, ControllerConfig::new(identity(), 0));
    let get = GetLogPage { page: lid::SMART, specific: 0, retain_event: false, length: 512, offset: 0 };
    let request = Request::new(AdminCommand::GetLogPage(get).to_sqe(0xffff_ffff), 77).receiving(512);
    controller.submit(request, world.now).unwrap();
    world.settle(id, &mut controller);
    let Some(ControllerEvent::Completed(completion)) = controller.poll_event() else { panic!("no completion") };
    assert!(completion.outcome.is_success());
    assert_eq!(completion.request.token, 77);
    let smart = SmartLog::read_from_bytes(&completion.request.into_received().to_contiguous()).unwrap();
    assert_eq!(smart.critical_warning, 0);
}
