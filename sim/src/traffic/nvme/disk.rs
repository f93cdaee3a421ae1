//! The controller's end of an I/O queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nvme_tcp::Transmit;
use nvme_tcp::command::Nqn;
use nvme_tcp::host::{Controller, ControllerConfig, HostIdentity, QueueConfig};
use nvme_tcp::target::{
    AllowedHosts, Backends, Connection, ConnectionSettings, Namespace, Subsystem, Target, TargetConfig,
};

use super::store::PatternStore;
use crate::scenario::BlockLoad;

/// Bytes of a logical block.
pub(super) const LOGICAL_BLOCK: u32 = 512;
/// The only namespace.
pub(super) const NSID: u32 = 1;

/// A host waits as long as its transport does, so that nothing but the transport decides what becomes of a command.
const FOREVER: Duration = Duration::from_secs(1 << 32);
/// What commands may transfer even if no block is as long.
const LEAST_TRANSFER: u64 = 1 << 20;

/// A target with one controller, of which one I/O queue is used.
pub(super) struct Disk {
    /// The controller lives as long as the connection of its admin queue.
    admin: Connection,
    io: Connection,
    backends: Backends,
}

impl Disk {
    /// A controller that is enabled already, and what its I/O queue is to be at the host.
    pub(super) fn new(load: &BlockLoad) -> Result<(Self, QueueConfig), String> {
        let target = target(load)?;
        let settings = |id| ConnectionSettings { id, port: 1, local: None };
        let mut config = ControllerConfig::new(identity()?, 1);
        config.admin.keep_alive = Duration::ZERO;
        config.admin.connect_timeout = FOREVER;
        config.io_timeout = None;
        config.async_events = 0;
        // A queue takes one less than it has entries.
        config.io_entries = u32::try_from(load.depth + 1).map_err(|_| "the queue is too long".to_owned())?;
        let mut controller = Controller::new(config, Duration::ZERO);
        let mut admin = Connection::new(Arc::clone(&target), settings(0), Duration::ZERO);
        enable(&mut controller, &mut admin);
        if !controller.is_ready() || !controller.namespaces().contains_key(&NSID) {
            return Err(format!("the controller did not become ready: {:?}", controller.poll_event()));
        }
        let io = Connection::new(Arc::clone(&target), settings(1), Duration::ZERO);
        Ok((Self { admin, io, backends: Backends::new(target) }, controller.io_queue(1)))
    }

    /// Takes what has come.
    pub(super) fn receive(&mut self, now: Duration, bytes: Bytes) {
        self.io.receive(now, bytes);
    }

    /// Executes commands. That takes no time.
    pub(super) fn work(&mut self) {
        loop {
            while let Some(submission) = self.io.poll_submission() {
                self.backends.submit(submission);
            }
            let Some(completion) = self.backends.poll() else { return };
            self.io.handle_completion(completion);
        }
    }

    /// The next PDU to be sent.
    pub(super) fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        self.io.poll_transmit(out)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("admin", &self.admin.state()).field("io", &self.io.state()).finish_non_exhaustive()
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

fn target(load: &BlockLoad) -> Result<Arc<Target>, String> {
    let transfer = load.block.0.next_power_of_two().max(LEAST_TRANSFER);
    let config = TargetConfig {
        max_transfer: u32::try_from(transfer).map_err(|_| "the block is too long".to_owned())?,
        max_queue_entries: nvme_tcp::host::MAX_ENTRIES,
        setup_timeout: FOREVER,
        ..TargetConfig::default()
    };
    let target = Target::new(config).map_err(|error| error.to_string())?;
    let nqn = identity()?.subsystem;
    let (serial, model) = ("1".to_owned(), "simulated".to_owned());
    let subsystem = Subsystem { nqn: nqn.clone(), serial, model, hosts: AllowedHosts::Any };
    target.add_subsystem(subsystem).map_err(|error| error.to_string())?;
    let namespace = Namespace {
        nsid: NSID,
        store: Arc::new(PatternStore { size: load.size.0 }),
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
