//! Both ends, and the connections between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nvme_tcp::command::Nqn;
use nvme_tcp::host::{Controller, ControllerConfig, ControllerEvent, HostIdentity, Queue, QueueState};
use nvme_tcp::target::{
    AllowedHosts, Backends, Connection, ConnectionSettings, ConnectionState, MemoryStore, Namespace, Port, Subsystem,
    Target, TargetConfig,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(crate) const BLOCK: usize = 512;
pub(crate) const BLOCKS: u64 = 512;

pub(crate) fn nqn(name: &str) -> Nqn {
    Nqn::new(&format!("nqn.2026-01.example:{name}")).unwrap()
}

pub(crate) fn identity() -> HostIdentity {
    HostIdentity { host_id: [9; 16], host: nqn("host"), subsystem: nqn("disk") }
}

pub(crate) fn namespace(nsid: u32) -> Namespace {
    Namespace {
        nsid,
        store: Arc::new(MemoryStore::new(BLOCKS * BLOCK as u64)),
        block_size: BLOCK as u32,
        uuid: [nsid as u8; 16],
        group: 1,
        read_only: false,
    }
}

/// What a host drives: an admin queue with its controller, or an I/O queue.
pub(crate) trait End {
    fn receive(&mut self, input: &mut Bytes, now: Duration);
    fn transmit(&mut self, out: &mut Vec<Bytes>) -> bool;
}

impl End for Controller {
    fn receive(&mut self, input: &mut Bytes, now: Duration) {
        self.receive(input, now);
    }

    fn transmit(&mut self, out: &mut Vec<Bytes>) -> bool {
        self.poll_transmit(out).is_some()
    }
}

impl<T> End for Queue<T> {
    fn receive(&mut self, input: &mut Bytes, _now: Duration) {
        self.receive(input);
    }

    fn transmit(&mut self, out: &mut Vec<Bytes>) -> bool {
        self.poll_transmit(out).is_some()
    }
}

/// A target with its connections, and a network that cuts what passes at random.
pub(crate) struct World {
    pub(crate) target: Arc<Target>,
    backends: Backends,
    connections: Vec<Connection>,
    pub(crate) rng: StdRng,
    /// The longest segment.
    pub(crate) segment: usize,
    /// How likely it is that a byte of a segment is altered on its way.
    pub(crate) damage: f64,
    pub(crate) now: Duration,
    generation: u64,
}

impl World {
    /// A target with the subsystem `disk`, in which there is namespace 1.
    pub(crate) fn new(config: TargetConfig, seed: u64) -> Self {
        let target = Target::new(config).unwrap();
        let subsystem =
            Subsystem { nqn: nqn("disk"), serial: "S1".into(), model: "memory".into(), hosts: AllowedHosts::Any };
        target.add_subsystem(subsystem).unwrap();
        target.add_namespace(&nqn("disk"), namespace(1)).unwrap();
        for id in [1, 2] {
            target.add_port(Port { id, address: format!("192.0.2.{id}:4420").parse().unwrap() });
        }
        Self {
            backends: Backends::new(Arc::clone(&target)),
            generation: target.generation(),
            target,
            connections: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            segment: 1448,
            damage: 0.0,
            now: Duration::from_secs(1),
        }
    }

    /// Makes a connection to a port, and returns its number.
    pub(crate) fn connect(&mut self, port: u16) -> usize {
        let id = self.connections.len();
        let settings = ConnectionSettings { id: id as u32, port, local: None };
        self.connections.push(Connection::new(Arc::clone(&self.target), settings, self.now));
        id
    }

    /// The connection breaks.
    pub(crate) fn cut(&mut self, id: usize) {
        self.connections[id].close();
        self.run_backends();
    }

    pub(crate) fn is_closed(&self, id: usize) -> bool {
        matches!(self.connections[id].state(), ConnectionState::Closing | ConnectionState::Closed)
    }

    /// Lets some of what both ends have to send pass; whether there was anything.
    pub(crate) fn step(&mut self, id: usize, end: &mut impl End) -> bool {
        self.tell_changes();
        let mut moved = false;
        let mut out = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            moved |= end.transmit(&mut out);
        }
        for segment in self.cut_up(&mut out) {
            self.connections[id].receive(self.now, segment);
        }
        self.run_backends();
        for _ in 0..self.rng.random_range(1..4) {
            moved |= self.connections[id].poll_transmit(&mut out).is_some();
        }
        for mut segment in self.cut_up(&mut out) {
            end.receive(&mut segment, self.now);
            assert!(segment.is_empty());
        }
        moved
    }

    /// Lets everything pass.
    pub(crate) fn settle(&mut self, id: usize, end: &mut impl End) {
        while self.step(id, end) {}
    }

    /// Lets time pass at both ends of an admin queue.
    pub(crate) fn wait(&mut self, id: usize, controller: &mut Controller, time: Duration) {
        let end = self.now + time;
        self.settle(id, controller);
        while let Some(due) = controller.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            controller.handle_timeout(self.now);
            self.connections[id].handle_timeout(self.now);
            self.settle(id, controller);
        }
        self.now = end;
        self.connections[id].handle_timeout(self.now);
        self.settle(id, controller);
    }

    /// A controller that is ready.
    pub(crate) fn attach(&mut self, port: u16, config: ControllerConfig) -> (usize, Controller) {
        let id = self.connect(port);
        let mut controller = Controller::new(config, self.now);
        self.wait(id, &mut controller, Duration::from_millis(100));
        match controller.poll_event() {
            Some(ControllerEvent::Ready) => (id, controller),
            other => panic!("{other:?}"),
        }
    }

    /// An I/O queue that is ready.
    pub(crate) fn io_queue<T>(&mut self, port: u16, controller: &Controller, qid: u16) -> (usize, Queue<T>) {
        let id = self.connect(port);
        let mut queue = Queue::new(controller.io_queue(qid), self.now);
        self.settle(id, &mut queue);
        assert!(matches!(queue.state(), QueueState::Ready(_)), "{:?}", queue.state());
        (id, queue)
    }

    fn run_backends(&mut self) {
        loop {
            for connection in &mut self.connections {
                while let Some(submission) = connection.poll_submission() {
                    self.backends.submit(submission);
                }
            }
            let Some(completion) = self.backends.poll() else { return };
            self.connections[completion.token.connection as usize].handle_completion(completion);
        }
    }

    fn tell_changes(&mut self) {
        if self.target.generation() != self.generation {
            self.generation = self.target.generation();
            self.backends.handle_change();
            self.connections.iter_mut().for_each(Connection::handle_change);
        }
    }

    fn cut_up(&mut self, out: &mut Vec<Bytes>) -> Vec<Bytes> {
        let mut rest = Bytes::from(out.concat());
        out.clear();
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let length = self.rng.random_range(1..=self.segment).min(rest.len());
            let mut segment = rest.split_to(length);
            if self.rng.random_bool(self.damage) {
                let mut altered = segment.to_vec();
                altered[self.rng.random_range(0..length)] ^= self.rng.random_range(1..=255);
                segment = altered.into();
            }
            segments.push(segment);
        }
        segments
    }
}
