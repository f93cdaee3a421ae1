//! `mptcp nvme target`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nvme_io::net::{Net, StackNet};
use nvme_io::{Memory, Ring, Server};
use nvme_tcp::target::{Port, Target, TargetConfig};

use super::config::{BackendIo, Config, NamespaceConfig, SubsystemConfig, default_ana_group, default_block_size};
use super::crew::Crew;
use super::host::kernel_net;
use super::store::StoreSpec;
use crate::failure::Failure;
use crate::interrupt::on_interrupt;
use crate::network::{Carrier, KernelSockets, NetworkOptions, Role};
use crate::{complain, say};

/// Export namespaces over NVMe/TCP
///
/// Hosts connect with 'mptcp nvme connect', or with Linux: nvme connect -t tcp -a ADDRESS -s PORT -n NAME. The discovery service answers on the same
/// addresses.
#[derive(Args)]
pub(crate) struct TargetArgs {
    /// What to export, as a file; see the README
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nqn", "namespaces", "listen", "block_size", "buffered"])]
    config: Option<PathBuf>,
    /// Name of the subsystem
    #[arg(long, value_name = "NQN", default_value = "nqn.2026-11.org.example:mptcp")]
    nqn: String,
    /// Storage of a namespace: null:SIZE, memory:SIZE or file:PATH; may be given several times
    #[arg(long = "namespace", value_name = "STORAGE")]
    namespaces: Vec<StoreSpec>,
    /// Address to listen on; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Bytes of a logical block: a power of two from 512 to 65536
    #[arg(long, value_name = "N", default_value_t = default_block_size())]
    block_size: u32,
    /// Threads, each with the connections that it accepts; paths in user space are served by one
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// What reads and writes files [default: auto]
    #[arg(long, value_name = "HOW")]
    backend_io: Option<BackendIo>,
    /// Read and write files through the page cache, even where there is O_DIRECT
    #[arg(long)]
    buffered: bool,
    /// Seconds that a host may take to connect a queue and to authenticate, which takes long on a slow machine with a large group [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(SETUP_TIMEOUTS))]
    setup_timeout: Option<u64>,
    #[command(flatten)]
    network: NetworkOptions,
}

/// Seconds.
const SETUP_TIMEOUTS: std::ops::RangeInclusive<u64> = 1..=3600;

/// Requests that a ring takes at a time.
const RING_DEPTH: u32 = 512;
/// Bytes of the buffers of a thread that files are read into and written from.
const RING_MEMORY: usize = 16 << 20;

pub(super) fn run(args: &TargetArgs) -> Result<(), Failure> {
    let mut config = args.config()?;
    if config.listen.is_empty() {
        return Err(Failure::Usage(
            "say where to listen: --listen ADDR:PORT, such as --listen 0.0.0.0:4420".to_owned(),
        ));
    }
    let mut told = Vec::new();
    let target = build(&config, &mut told)?;
    let rings = if told.is_empty() { Vec::new() } else { rings(args.threads, config.backend_io)? };
    let how = if rings.is_empty() { "read and written by the thread that serves them" } else { "io_uring" };
    told.iter_mut().for_each(|line| *line = format!("{line}, {how}"));
    let mut rings = rings.into_iter();
    let mut crew = Crew::default();
    for index in 0..args.threads {
        let (first, ring) = (index == 0, rings.next());
        match args.network.carrier(Role::Server)? {
            Carrier::Kernel(sockets) => {
                if first {
                    make_sure_of(sockets, &config.listen)?;
                }
                let net = kernel_net(sockets)?.sharing_ports();
                start(&mut crew, net, &target, &mut config.listen, first, ring)?;
            }
            Carrier::Stack(_) if !first => {
                return Err(Failure::Usage(
                    "--threads is for --kernel: paths in user space are served by one".to_owned(),
                ));
            }
            Carrier::Stack(engine) => {
                start(&mut crew, StackNet::new(*engine), &target, &mut config.listen, first, ring)?;
            }
        }
    }
    told.iter().for_each(|line| say(line));
    let stop = crew.stopper();
    on_interrupt(move || stop.stop())?;
    crew.join().map_err(|error| Failure::io("the target has failed", &error))
}

/// Makes sure that nobody else listens there. Threads share their ports, and would share them with another target of this user too, to which a part of the
/// queues of each host would go.
fn make_sure_of(sockets: KernelSockets, listen: &[SocketAddr]) -> Result<(), Failure> {
    for address in listen {
        // Each for itself: those of IPv4 and IPv6 may overlap.
        kernel_net(sockets)?.listen(*address).map_err(|error| no_listener(address, &error))?;
    }
    Ok(())
}

fn no_listener(address: &SocketAddr, error: &std::io::Error) -> Failure {
    Failure::io(format_args!("cannot listen on {address}"), error)
}

fn start<N: Net + Send + 'static>(
    crew: &mut Crew,
    net: N,
    target: &Arc<Target>,
    listen: &mut [SocketAddr],
    first: bool,
    ring: Option<Ring>,
) -> Result<(), Failure> {
    let mut server = Server::new(net, Arc::clone(target));
    if let Some(ring) = ring {
        server = server.with_ring(ring);
    }
    for (index, address) in listen.iter_mut().enumerate() {
        let port = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let bound = server.listen(port, *address).map_err(|error| no_listener(address, &error))?;
        // What is free for the first thread is the port of all.
        *address = bound;
        if first {
            target.add_port(Port { id: port, address: bound });
            say(&format!("listening on {bound}"));
        }
    }
    let stopper = server.stopper();
    let stop = move || stopper.stop();
    crew.start(stop, move || server.run()).map_err(|error| Failure::io("cannot start a thread", &error))
}

/// A ring for each thread, or none if the threads are to do I/O themselves.
fn rings(threads: u8, how: BackendIo) -> Result<Vec<Ring>, Failure> {
    if how == BackendIo::Sync {
        return Ok(Vec::new());
    }
    let rings: Result<Vec<_>, _> = (0..threads).map(|_| Ring::new(RING_DEPTH, Memory::new(RING_MEMORY))).collect();
    match rings {
        Ok(rings) => {
            if !rings.iter().all(Ring::is_registered) {
                complain(
                    &"the buffers of io_uring are not registered: more than may be locked, 16 MiB per thread; see ulimit -l",
                );
            }
            Ok(rings)
        }
        Err(error) if how == BackendIo::Uring => Err(Failure::Runtime(format!("io_uring cannot be used: {error}"))),
        Err(error) => {
            complain(&format!("io_uring cannot be used, so threads read and write files themselves: {error}"));
            Ok(Vec::new())
        }
    }
}

fn build(config: &Config, told: &mut Vec<String>) -> Result<Arc<Target>, Failure> {
    let mistake = |error: nvme_tcp::target::TargetError| Failure::Usage(error.to_string());
    let mut limits = TargetConfig::default();
    if let Some(seconds) = config.setup_timeout {
        if !SETUP_TIMEOUTS.contains(&seconds) {
            let (least, most) = (SETUP_TIMEOUTS.start(), SETUP_TIMEOUTS.end());
            return Err(Failure::Usage(format!("setup-timeout cannot be {seconds}: {least} to {most} seconds")));
        }
        limits.setup_timeout = Duration::from_secs(seconds);
    }
    limits.controller_ids = config.controller_ids()?;
    // There cannot be more than have a number.
    let numbers = limits.controller_ids.end() - limits.controller_ids.start() + 1;
    limits.max_controllers = limits.max_controllers.min(numbers);
    let target = Target::new(limits).map_err(mistake)?;
    target.set_referrals(config.referrals()?);
    for entry in &config.subsystems {
        let subsystem = entry.subsystem()?;
        let nqn = subsystem.nqn.clone();
        target.add_subsystem(subsystem).map_err(mistake)?;
        let states = entry.ana_states(config.listen.len())?;
        for namespace in entry.namespaces(told)? {
            let place = format!("namespace {} of {nqn}", namespace.nsid);
            let added = target.add_namespace(&nqn, namespace);
            added.map_err(|error| Failure::Usage(format!("{place}: {error}")))?;
        }
        for ((port, group), state) in states {
            target.set_ana_state(&nqn, port, group, state).map_err(mistake)?;
        }
    }
    Ok(target)
}

impl TargetArgs {
    fn config(&self) -> Result<Config, Failure> {
        if let Some(path) = &self.config {
            let config = Config::read(path)?;
            let backend_io = self.backend_io.unwrap_or(config.backend_io);
            return Ok(Config { backend_io, setup_timeout: self.setup_timeout.or(config.setup_timeout), ..config });
        }
        if self.namespaces.is_empty() {
            return Err(Failure::Usage(
                "say what to export: --namespace STORAGE, such as memory:64M, or --config FILE".to_owned(),
            ));
        }
        let namespaces = self.namespaces.iter().map(|store| NamespaceConfig {
            nsid: None,
            store: store.clone(),
            uuid: None,
            block_size: self.block_size,
            read_only: false,
            buffered: self.buffered,
            ana_group: default_ana_group(),
        });
        let subsystem = SubsystemConfig {
            nqn: self.nqn.clone(),
            serial: None,
            allowed_hosts: None,
            hosts: Vec::new(),
            namespaces: namespaces.collect(),
            ana: Vec::new(),
        };
        let backend_io = self.backend_io.unwrap_or_default();
        Ok(Config {
            listen: self.listen.clone(),
            backend_io,
            setup_timeout: self.setup_timeout,
            cntlid_min: None,
            cntlid_max: None,
            referrals: Vec::new(),
            subsystems: vec![subsystem],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_namespace_is_told_by_its_number() {
        // What is nowhere has the same UUID both times.
        let namespace = "[[subsystem.namespace]]\nnsid = 1\nstore = \"null:1M\"\n";
        let subsystem = "[[subsystem]]\nnqn = \"nqn.2026-11.org.example:disk\"\n";
        let config: Config = toml::from_str(&format!("listen = []\n{subsystem}{namespace}{namespace}")).unwrap();
        let Err(Failure::Usage(sentence)) = build(&config, &mut Vec::new()) else { panic!("accepted") };
        let start = "namespace 1 of nqn.2026-11.org.example:disk:";
        assert_eq!(sentence, format!("{start} the subsystem has a namespace 1 already"));
        let group = namespace.replace("nsid = 1", "ana-group = 129");
        let config: Config = toml::from_str(&format!("listen = []\n{subsystem}{group}")).unwrap();
        let Err(Failure::Usage(sentence)) = build(&config, &mut Vec::new()) else { panic!("accepted") };
        assert_eq!(sentence, format!("{start} group cannot be 129: 1 to 128"));
    }
}
