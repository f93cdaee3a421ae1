//! Hosts and subsystems that prove who they are, on every queue.

use std::collections::BTreeMap;

use nvme_tcp::auth::{
    Algorithms, AuthenticationError, Entropy, FailureReason, Group, Hash, HostAuthentication, HostSecrets, Secret,
};
use nvme_tcp::host::{Controller, ControllerConfig, ControllerError, ControllerEvent, Queue, QueueError, QueueState};
use nvme_tcp::target::{AllowedHosts, Credentials, TargetConfig};

use super::world::*;

fn secret(fill: u8) -> Secret {
    Secret::new(Some(Hash::Sha384), &[fill; 48]).unwrap()
}

fn guarded(secrets: HostSecrets, seed: u64) -> World {
    let world = World::new(TargetConfig::default(), seed);
    let hosts = BTreeMap::from([(nqn("host"), Some(secrets))]);
    let credentials = Credentials { hosts, entropy: Entropy::from_seed([5; 32]) };
    world.target.set_allowed_hosts(&nqn("disk"), AllowedHosts::Authenticated(credentials)).unwrap();
    world
}

fn secrets() -> HostSecrets {
    HostSecrets { controller_secret: Some(secret(2)), ..HostSecrets::new(secret(1)) }
}

fn authentication() -> HostAuthentication {
    HostAuthentication::new(secret(1), Entropy::from_seed([6; 32])).expecting(secret(2))
}

fn config(authentication: Option<HostAuthentication>) -> ControllerConfig {
    let mut config = ControllerConfig::new(identity(), 2);
    config.admin.authentication = authentication;
    config
}

fn refused(world: &mut World, config: ControllerConfig) -> AuthenticationError {
    let id = world.connect(1);
    let mut controller = Controller::new(config, world.now);
    world.settle(id, &mut controller);
    let Some(ControllerEvent::Ended(error)) = controller.poll_event() else { panic!("not refused") };
    assert!(error.is_final());
    let ControllerError::Queue(QueueError::Authentication(error)) = error else { panic!("{error}") };
    error
}

#[test]
fn every_queue_authenticates() {
    for (segment, group) in [(1, Group::Null), (1448, Group::Ffdhe2048), (100, Group::Ffdhe3072)] {
        let mut world = guarded(secrets(), 31);
        world.segment = segment;
        let mut authentication = authentication();
        authentication.algorithms = Algorithms { hashes: vec![Hash::Sha512], groups: vec![group] };
        let (_, controller) = world.attach(1, config(Some(authentication)));
        assert_eq!(controller.namespaces().len(), 1);
        for qid in 1..=2 {
            world.io_queue::<u64>(1, &controller, qid);
        }
    }
}

#[test]
fn an_io_queue_without_the_secret_is_not_let_in() {
    let mut world = guarded(secrets(), 32);
    let (admin, mut controller) = world.attach(1, config(Some(authentication())));
    for (wrong, error) in
        [(None, AuthenticationError::NoSecret), (Some(secret(3)), AuthenticationError::Refused(FailureReason::Failed))]
    {
        let id = world.connect(1);
        let mut queue = controller.io_queue(1);
        queue.authentication = wrong.map(|secret| HostAuthentication { secret, ..authentication() });
        let mut queue: Queue<u64> = Queue::new(queue, world.now);
        world.settle(id, &mut queue);
        assert_eq!(queue.state(), QueueState::Ended(QueueError::Authentication(error)));
        world.cut(id);
    }
    // The controller is unharmed.
    world.io_queue::<u64>(1, &controller, 1);
    world.settle(admin, &mut controller);
    assert!(controller.is_ready());
}

#[test]
fn secrets_that_are_wrong_or_missing() {
    let mut world = guarded(secrets(), 33);
    let failed = AuthenticationError::Refused(FailureReason::Failed);
    assert_eq!(refused(&mut world, config(None)), AuthenticationError::NoSecret);
    let wrong = HostAuthentication { secret: secret(2), ..authentication() };
    assert_eq!(refused(&mut world, config(Some(wrong))), failed);
    let wrong = authentication().expecting(secret(1));
    assert_eq!(refused(&mut world, config(Some(wrong))), AuthenticationError::NotProven);
    // A subsystem that demands a proof, and has none itself.
    let mut world = guarded(HostSecrets::new(secret(1)), 34);
    assert_eq!(refused(&mut world, config(Some(authentication()))), failed);
    assert_eq!(world.target.controllers(), 0);
}

#[test]
fn a_subsystem_that_demands_nothing() {
    let mut world = World::new(TargetConfig::default(), 35);
    // It gets no proof and gives none. That is all right for who has only his own secret.
    let own = HostAuthentication { controller_secret: None, ..authentication() };
    world.attach(1, config(Some(own.clone())));
    for strict in [HostAuthentication { always: true, ..own }, authentication()] {
        let error = refused(&mut world, config(Some(strict)));
        assert!(matches!(error, AuthenticationError::Command(_)), "{error}");
    }
}
