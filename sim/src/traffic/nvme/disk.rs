//! The target's end of I/O queues, for whoever brings the bytes from one end to the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nvme_tcp::Transmit;
use nvme_tcp::command::Nqn;
use nvme_tcp::host::{AnaStates, Controller, ControllerConfig, HostIdentity, QueueConfig};
use nvme_tcp::pdu::Digests;
use nvme_tcp::target::{
    AllowedHosts, Backends, Connection, ConnectionSettings, Namespace, Store, Subsystem, Target, TargetConfig,
};

/// Bytes of a logical block.
pub const LOGICAL_BLOCK: u32 = 512;
/// The only namespace.
pub const NSID: u32 = 1;

/// A host waits as long as its transport does, so that nothing but the transport decides what becomes of a command.
const FOREVER: Duration = Duration::from_secs(1 << 32);
/// What commands may transfer even if no block is as long.
const LEAST_TRANSFER: u64 = 1 << 20;

/// What a [`Storage`] is to be.
pub struct StorageOptions {
    /// What holds the data.
    pub store: Arc<dyn Store>,
    /// Bytes of the longest command.
    pub block: u64,
    /// Commands that may be outstanding on a queue.
    pub depth: u64,
    /// Digests of all PDUs.
    pub digests: Digests,
    /// I/O queues of each controller.
    pub queues: u16,
    /// Controllers, one for each path.
    pub paths: usize,
    /// How long a command may take; `None` for as long as the transport does.
    pub timeout: Option<Duration>,
}

/// A target with a controller behind each path. The controllers live as long as this.
pub struct Storage {
    target: Arc<Target>,
    controllers: Vec<Attached>,
    connections: u32,
}

/// A controller, which lives as long as the connection of its admin queue.
struct Attached {
    controller: Controller,
    admin: Connection,
}

/// The target's end of an I/O queue. The host's is a [`Queue`](nvme_tcp::host::Queue).
pub struct Disk {
    io: Connection,
    backends: Backends,
}

impl Storage {
    /// Controllers that are enabled already.
    ///
    /// # Errors
    /// What the state machines say if they refuse each other.
    pub fn new(options: &StorageOptions) -> Result<Self, String> {
        let mut storage = Self { target: target(options)?, controllers: Vec::new(), connections: 0 };
        for _ in 0..options.paths {
            let attached = storage.attach(options)?;
            storage.controllers.push(attached);
        }
        Ok(storage)
    }

    /// How each controller reaches the namespace, which is in this ANA group.
    pub(super) fn reach(&self) -> impl Iterator<Item = (&AnaStates, u32)> {
        let group = |controller: &Controller| controller.namespaces().get(&NSID).map_or(0, |known| known.ana_group);
        self.controllers.iter().map(move |attached| (attached.controller.ana(), group(&attached.controller)))
    }

    /// An I/O queue of a controller: the target's end, and what it is to be at the host. Controllers are counted from 0, queues from 1.
    pub fn queue(&mut self, path: usize, id: u16) -> (Disk, QueueConfig) {
        let io = Connection::new(Arc::clone(&self.target), self.settings(path), Duration::ZERO);
        let backends = Backends::new(Arc::clone(&self.target));
        (Disk { io, backends }, self.controllers[path].controller.io_queue(id))
    }

    fn attach(&mut self, options: &StorageOptions) -> Result<Attached, String> {
        let queues = options.queues;
        let mut config = ControllerConfig::new(identity()?, queues);
        config.admin.keep_alive = Duration::ZERO;
        config.admin.connect_timeout = options.timeout.unwrap_or(FOREVER);
        config.admin.offer.digests = options.digests;
        config.io_timeout = options.timeout;
        config.async_events = 0;
        // A queue takes one less than it has entries.
        config.io_entries = u32::try_from(options.depth + 1).map_err(|_| "the queue is too long".to_owned())?;
        let mut controller = Controller::new(config, Duration::ZERO);
        let settings = self.settings(self.controllers.len());
        let mut admin = Connection::new(Arc::clone(&self.target), settings, Duration::ZERO);
        enable(&mut controller, &mut admin);
        if !controller.is_ready() || !controller.namespaces().contains_key(&NSID) {
            return Err(format!("the controller did not become ready: {:?}", controller.poll_event()));
        }
        if controller.io_queues() < queues {
            return Err(format!("the controller has {} queues, not {queues}", controller.io_queues()));
        }
        Ok(Attached { controller, admin })
    }

    fn settings(&mut self, path: usize) -> ConnectionSettings {
        let id = self.connections;
        self.connections += 1;
        ConnectionSettings { id, port: u16::try_from(path + 1).unwrap_or(u16::MAX), local: None }
    }
}

impl Disk {
    /// Takes what has come.
    pub fn receive(&mut self, now: Duration, bytes: Bytes) {
        self.io.receive(now, bytes);
    }

    /// Executes commands. That takes no time.
    pub fn work(&mut self) {
        loop {
            while let Some(submission) = self.io.poll_submission() {
                self.backends.submit(submission);
            }
            let Some(completion) = self.backends.poll() else { return };
            self.io.handle_completion(completion);
        }
    }

    /// The next PDU to be sent.
    pub fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        self.io.poll_transmit(out)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("io", &self.io.state()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let admins = self.controllers.iter().map(|attached| attached.admin.state());
        f.debug_struct("Storage").field("admins", &admins.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// The admin queue, whose few commands are exchanged outside the network.
fn enable(controller: &mut Controller, admin: &mut Connection) {
    let mut out = Vec::new();
    loop {
        while controller.poll_transmit(&mut out).is_some() {}
        for bytes in out.drain(..) {
            admin.receive(Duration::ZERO, bytes);
        }
        while admin.poll_transmit(&mut out).is_some() {}
        if out.is_empty() {
            return;
        }
        for mut bytes in out.drain(..) {
            controller.receive(&mut bytes, Duration::ZERO);
        }
    }
}

fn target(options: &StorageOptions) -> Result<Arc<Target>, String> {
    let transfer = options.block.next_power_of_two().max(LEAST_TRANSFER);
    let config = TargetConfig {
        max_transfer: u32::try_from(transfer).map_err(|_| "the block is too long".to_owned())?,
        max_queue_entries: nvme_tcp::host::MAX_ENTRIES,
        max_io_queues: options.queues,
        setup_timeout: FOREVER,
        // Nothing but the transport holds commands up.
        max_outbound: u64::MAX,
        ..TargetConfig::default()
    };
    let target = Target::new(config).map_err(|error| error.to_string())?;
    let nqn = identity()?.subsystem;
    let (serial, model) = ("1".to_owned(), "simulated".to_owned());
    let subsystem = Subsystem { nqn: nqn.clone(), serial, model, hosts: AllowedHosts::Any };
    target.add_subsystem(subsystem).map_err(|error| error.to_string())?;
    let namespace = Namespace {
        nsid: NSID,
        store: Arc::clone(&options.store),
        block_size: LOGICAL_BLOCK,
        uuid: [1; 16],
        group: 1,
        read_only: false,
    };
    target.add_namespace(&nqn, namespace).map_err(|error| error.to_string())?;
    Ok(target)
}

fn identity() -> Result<HostIdentity, String> {
    let nqn = |name: &str| Nqn::new(&format!("nqn.2026-01.example:{name}")).map_err(|error| error.to_string());
    Ok(HostIdentity { host_id: [1; 16], host: nqn("host")?, subsystem: nqn("disk")? })
}
