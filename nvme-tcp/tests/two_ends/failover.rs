//! Native multipath over two ports of a target whose connections break and whose ANA states change.

use std::collections::BTreeMap;
use std::time::Duration;

use nvme_tcp::command::AnaState;
use nvme_tcp::host::{
    Controller, ControllerConfig, ControllerEvent, Multipath, PathId, PathState, Policy, Queue, ReconnectAction,
    ReconnectPolicy, Reconnector, Ticket,
};
use nvme_tcp::target::TargetConfig;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::io::Disk;
use super::world::*;

/// A controller of the target, with an I/O queue.
struct Path {
    id: PathId,
    port: u16,
    reconnector: Reconnector,
    link: Option<Link>,
}

struct Link {
    admin: usize,
    controller: Controller,
    io: usize,
    queue: Queue<Ticket<u64>>,
}

impl Path {
    fn new(multipath: &mut Multipath<u64>, world: &mut World, port: u16) -> Self {
        let policy = ReconnectPolicy { first_delay: Duration::from_millis(20), ..ReconnectPolicy::default() };
        let id = multipath.add_path(port.into());
        let mut path = Self { id, port, reconnector: Reconnector::new(policy, port.into(), world.now), link: None };
        path.connect(multipath, world);
        path
    }

    fn connect(&mut self, multipath: &mut Multipath<u64>, world: &mut World) {
        let (admin, controller) = world.attach(self.port, ControllerConfig::new(identity(), 1));
        let (io, queue) = world.io_queue(self.port, &controller, 1);
        for namespace in controller.namespaces().values() {
            multipath.set_namespace(namespace.nsid, namespace.ana_group);
        }
        multipath.set_ana(self.id, controller.ana().clone());
        multipath.set_state(self.id, PathState::Live);
        self.link = Some(Link { admin, controller, io, queue });
        self.reconnector.connected(world.now);
    }

    /// Both connections break, whatever was on its way.
    fn cut(&mut self, multipath: &mut Multipath<u64>, world: &mut World) {
        let Some(mut link) = self.link.take() else { return };
        world.cut(link.admin);
        world.cut(link.io);
        multipath.set_state(self.id, PathState::Connecting);
        link.queue.connection_lost();
        while let Some(completion) = link.queue.poll_completion() {
            multipath.complete(completion, world.now);
        }
        self.reconnector.lost(world.now);
    }

    fn step(&mut self, multipath: &mut Multipath<u64>, world: &mut World) {
        if self.reconnector.handle_timeout(world.now) == Some(ReconnectAction::Connect) {
            match world.rng.random_bool(0.5) {
                true => self.connect(multipath, world),
                false => self.reconnector.failed(false, world.now),
            }
        }
        let Some(link) = &mut self.link else { return };
        while link.queue.room() > 0
            && let Some(request) = multipath.next_for(self.id)
        {
            link.queue.submit(request, world.now).unwrap();
        }
        world.step(link.io, &mut link.queue);
        while let Some(completion) = link.queue.poll_completion() {
            multipath.complete(completion, world.now);
        }
        link.controller.handle_timeout(world.now);
        world.step(link.admin, &mut link.controller);
        while let Some(event) = link.controller.poll_event() {
            match event {
                ControllerEvent::AnaChanged => multipath.set_ana(self.id, link.controller.ana().clone()),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn run(seed: u64, policy: Policy) -> BTreeMap<&'static str, usize> {
    let mut world = World::new(TargetConfig::default(), seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut multipath = Multipath::new(policy, 40);
    let mut paths = [1, 2].map(|port| Path::new(&mut multipath, &mut world, port));
    let mut disk = Disk::new();
    for round in 0.. {
        let quiet = round > 500;
        if !quiet && multipath.outstanding() < 40 {
            disk.submit(&mut |request| multipath.submit(request).unwrap(), &mut rng, 64, false);
        }
        if !quiet && rng.random_bool(0.02) {
            paths[rng.random_range(0..2)].cut(&mut multipath, &mut world);
            *disk.counts.entry("cuts").or_default() += 1;
        }
        let set = |port, state| world.target.set_ana_state(&nqn("disk"), port, 1, state).unwrap();
        if round == 501 {
            (1..=2).for_each(|port| set(port, AnaState::Optimized));
        } else if !quiet && rng.random_bool(0.02) {
            let states = [AnaState::Optimized, AnaState::NonOptimized, AnaState::Inaccessible, AnaState::Change];
            set(rng.random_range(1..=2), states[rng.random_range(0..4)]);
        }
        for path in &mut paths {
            path.step(&mut multipath, &mut world);
        }
        while let Some(outdated) = multipath.poll_outdated() {
            let path = paths.iter_mut().find(|path| path.id == outdated).unwrap();
            if let Some(link) = &mut path.link {
                link.controller.refresh_ana(world.now);
            }
        }
        multipath.handle_timeout(world.now);
        while let Some(finished) = multipath.poll_finished() {
            if finished.resent > 0 {
                *disk.counts.entry("resent").or_default() += 1;
            }
            disk.complete(finished.outcome, finished.request);
        }
        world.now += Duration::from_millis(2);
        if quiet && disk.outstanding.is_empty() {
            break;
        }
        assert!(round < 20_000, "seed {seed}: {:?} are left", disk.outstanding);
    }
    disk.counts
}

#[test]
fn nothing_is_lost_while_paths_come_and_go() {
    for policy in Policy::ALL {
        let mut counts = BTreeMap::<_, usize>::new();
        for seed in 0..30 {
            for (name, count) in run(seed, policy) {
                *counts.entry(name).or_default() += count;
            }
        }
        assert!(counts["cuts"] > 50 && counts["resent"] > 100, "{policy}: {counts:?}");
        assert!(counts["read"] > 500 && counts["write"] > 500, "{policy}: {counts:?}");
    }
}
