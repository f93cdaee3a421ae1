//! A target in a thread of its own, and what a host needs to connect to it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use mptcp_sdk::{Config, DeviceSpec, Engine, InterfaceSpec, Limits};
use nvme_io::net::{KernelNet, Net, Protocol};
use nvme_io::{Ring, Server, Stopper};
use nvme_tcp::command::Nqn;
use nvme_tcp::host::{ControllerConfig, HostIdentity};
use nvme_tcp::pdu::Digests;
use nvme_tcp::target::{AllowedHosts, MemoryStore, Namespace, Port, Store, Subsystem, Target, TargetConfig};

const NQN: &str = "nqn.2026-11.org.example:test";
pub(crate) const SIZE: u64 = 16 << 20;
pub(crate) const BLOCK: u32 = 4096;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

fn target(store: Arc<dyn Store>, config: TargetConfig) -> Arc<Target> {
    let target = Target::new(config).unwrap();
    let nqn = Nqn::new(NQN).unwrap();
    let (serial, model) = ("1".to_owned(), "test".to_owned());
    target.add_subsystem(Subsystem { nqn: nqn.clone(), serial, model, hosts: AllowedHosts::Any }).unwrap();
    let namespace = Namespace { nsid: 1, store, block_size: BLOCK, uuid: [1; 16], group: 1, read_only: false };
    target.add_namespace(&nqn, namespace).unwrap();
    target
}

/// A target in a thread of its own, which ends with this.
pub(crate) struct Running {
    stopper: Stopper,
    thread: Option<std::thread::JoinHandle<()>>,
    #[allow(dead_code, reason = "not every test asks what the target knows")]
    pub(crate) target: Arc<Target>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(net: impl Net + Send + 'static, address: &str) -> Self {
        Self::serve(net, address, target(Arc::new(MemoryStore::new(SIZE)), TargetConfig::default()), None)
    }

    #[allow(dead_code, reason = "not every test has a disk of its own")]
    pub(crate) fn with_store(
        net: impl Net + Send + 'static,
        address: &str,
        store: Arc<dyn Store>,
        ring: Option<Ring>,
    ) -> Self {
        Self::serve(net, address, target(store, TargetConfig::default()), ring)
    }

    fn serve(net: impl Net + Send + 'static, address: &str, target: Arc<Target>, ring: Option<Ring>) -> Self {
        let mut server = Server::new(net, Arc::clone(&target));
        if let Some(ring) = ring {
            server = server.with_ring(ring);
        }
        server.set_max_connections(8);
        let address = server.listen(1, address.parse().unwrap()).unwrap();
        target.add_port(Port { id: 1, address });
        let stopper = server.stopper();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { stopper, thread: Some(thread), target, address }
    }

    pub(crate) fn over_the_kernel() -> Self {
        Self::start(KernelNet::new(Protocol::Tcp).unwrap(), "127.0.0.1:0")
    }

    /// The same, for tests of how long a connection may take to begin and to end.
    #[allow(dead_code, reason = "not every test is about that")]
    pub(crate) fn with_timeout(timeout: Duration) -> Self {
        Self::with_config(TargetConfig { setup_timeout: timeout, close_timeout: timeout, ..TargetConfig::default() })
    }

    /// The same, with other limits.
    #[allow(dead_code, reason = "not every test is about limits")]
    pub(crate) fn with_config(config: TargetConfig) -> Self {
        let target = target(Arc::new(MemoryStore::new(SIZE)), config);
        Self::serve(KernelNet::new(Protocol::Tcp).unwrap(), "127.0.0.1:0", target, None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub(crate) fn config(queues: u16, digests: Digests) -> ControllerConfig {
    let host = Nqn::new("nqn.2026-11.org.example:host").unwrap();
    let identity = HostIdentity { host_id: [7; 16], host, subsystem: Nqn::new(NQN).unwrap() };
    let mut config = ControllerConfig::new(identity, queues);
    config.admin.offer.digests = digests;
    config
}

/// Two engines with two cables between them.
pub(crate) fn engines() -> [Engine; 2] {
    let mut configs = [Config::default(), Config::default()];
    for cable in 1..=2 {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        for (end, socket) in [ours, theirs].into_iter().enumerate() {
            socket.set_nonblocking(true).unwrap();
            let address = format!("10.9.{cable}.{}/24", end + 1).parse().unwrap();
            let mut spec = InterfaceSpec::new(DeviceSpec::UnixFd(OwnedFd::from(socket)), [address]);
            spec.flags.subflow = cable == 2 && end == 0;
            spec.flags.signal = cable == 2 && end == 1;
            configs[end].interfaces.push(spec);
        }
    }
    configs.map(|mut config| {
        config.stack.limits = Limits { subflows: 8, add_addr_accepted: 8 };
        Engine::new(config).unwrap()
    })
}
