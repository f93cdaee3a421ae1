//! `mptcp nvme target`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use nvme_io::net::{KernelNet, Net, StackNet};
use nvme_io::{Server, Stopper};
use nvme_tcp::target::{Port, Target, TargetConfig};

use super::config::{Config, NamespaceConfig, SubsystemConfig, default_block_size};
use super::store::StoreSpec;
use crate::failure::Failure;
use crate::interrupt::on_interrupt;
use crate::network::{Carrier, NetworkOptions, Role};
use crate::say;

/// Export namespaces over NVMe/TCP
///
/// Hosts connect with 'mptcp nvme connect', or with Linux: nvme connect -t tcp -a ADDRESS -s PORT -n NAME. The discovery service answers on the same
/// addresses.
#[derive(Args)]
pub(crate) struct TargetArgs {
    /// What to export, as a file; see the README
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nqn", "namespaces", "listen"])]
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
    #[command(flatten)]
    network: NetworkOptions,
}

pub(super) fn run(args: &TargetArgs) -> Result<(), Failure> {
    let config = args.config()?;
    if config.listen.is_empty() {
        return Err(Failure::Usage(
            "say where to listen: --listen ADDR:PORT, such as --listen 0.0.0.0:4420".to_owned(),
        ));
    }
    let target = build(&config)?;
    let mut threads = Vec::new();
    for index in 0..args.threads {
        let first = index == 0;
        match args.network.carrier(Role::Server)? {
            Carrier::Kernel(sockets) => {
                let net = KernelNet::new(sockets.protocol.into());
                let net = net.map_err(|error| Failure::io("cannot wait for connections", &error))?;
                threads.push(start(net, &target, &config.listen, first)?);
            }
            Carrier::Stack(_) if !first => {
                return Err(Failure::Usage(
                    "--threads is for --kernel: paths in user space are served by one".to_owned(),
                ));
            }
            Carrier::Stack(engine) => threads.push(start(StackNet::new(*engine), &target, &config.listen, first)?),
        }
    }
    let stoppers: Vec<Stopper> = threads.iter().map(|(stopper, _)| stopper.clone()).collect();
    on_interrupt(move || stoppers.iter().for_each(Stopper::stop))?;
    for (_, thread) in threads {
        let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map_err(|error| Failure::io("the target has failed", &error))?;
    }
    Ok(())
}

type Served = (Stopper, std::thread::JoinHandle<std::io::Result<()>>);

fn start<N: Net + Send + 'static>(
    net: N,
    target: &Arc<Target>,
    listen: &[SocketAddr],
    first: bool,
) -> Result<Served, Failure> {
    let mut server = Server::new(net, Arc::clone(target));
    for (index, address) in listen.iter().enumerate() {
        let port = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let bound = server.listen(port, *address);
        let bound = bound.map_err(|error| Failure::io(format_args!("cannot listen on {address}"), &error))?;
        if first {
            target.add_port(Port { id: port, address: bound });
            say(&format!("listening on {bound}"));
        }
    }
    let stopper = server.stopper();
    let thread = std::thread::Builder::new().name("nvme-target".to_owned()).spawn(move || server.run());
    Ok((stopper, thread.map_err(|error| Failure::io("cannot start a thread", &error))?))
}

fn build(config: &Config) -> Result<Arc<Target>, Failure> {
    let mistake = |error: nvme_tcp::target::TargetError| Failure::Usage(error.to_string());
    let target = Target::new(TargetConfig::default()).map_err(mistake)?;
    for entry in &config.subsystems {
        let subsystem = entry.subsystem()?;
        let nqn = subsystem.nqn.clone();
        target.add_subsystem(subsystem).map_err(mistake)?;
        for namespace in entry.namespaces()? {
            target.add_namespace(&nqn, namespace).map_err(mistake)?;
        }
    }
    Ok(target)
}

impl TargetArgs {
    fn config(&self) -> Result<Config, Failure> {
        if let Some(path) = &self.config {
            return Config::read(path);
        }
        if self.namespaces.is_empty() {
            return Err(Failure::Usage(
                "say what to export: --namespace STORAGE, such as memory:64M, or --config FILE".to_owned(),
            ));
        }
        let namespaces = self.namespaces.iter().map(|store| NamespaceConfig {
            nsid: None,
            store: store.clone(),
            block_size: self.block_size,
            read_only: false,
        });
        let subsystem = SubsystemConfig {
            nqn: self.nqn.clone(),
            serial: None,
            allowed_hosts: None,
            namespaces: namespaces.collect(),
        };
        Ok(Config { listen: self.listen.clone(), subsystems: vec![subsystem] })
    }
}
