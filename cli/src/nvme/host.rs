//! What host commands have in common: where the controller is, and what carries the bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Args, ValueEnum};
use nvme_io::net::{KernelNet, Net, StackNet};
use nvme_io::{Host, HostConfig, HostError};
use nvme_tcp::command::Nqn;
use nvme_tcp::host::{ControllerConfig, Policy, ReconnectPolicy};
use nvme_tcp::pdu::Digests;

use super::machine;
use super::names::parse_nqn;
use super::secrets::SecretOptions;
use crate::failure::Failure;
use crate::network::{Carrier, KernelSockets, NetworkOptions, Role};

/// How long taking leave of a controller may take.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// What the controller is told of keep-alive unless the user says otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// In seconds: the protocol has 32 bits for the milliseconds.
const LONGEST_KEEP_ALIVE: u64 = u32::MAX as u64 / 1000;

/// For who asks a few questions and leaves: a connection that is lost is not made again.
const BRIEF: ReconnectPolicy = ReconnectPolicy {
    first_delay: Duration::ZERO,
    max_delay: Duration::ZERO,
    loss_timeout: Some(Duration::ZERO),
    fast_fail: None,
};

/// A subsystem over any transport.
pub(super) type AnyHost = Host<Box<dyn Net>>;

/// What lies beneath NVMe over Fabrics. There are others; whoever asks for one is not to get this instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Tcp,
}

/// Where a controller is. The names are those of nvme-cli.
#[derive(Args)]
pub(super) struct HostOptions {
    /// Transport, which nvme-cli wants to be told; here there is one
    #[arg(short = 't', long, value_name = "TRTYPE", default_value = "tcp")]
    transport: Transport,
    /// Address of the controller; may be given several times, for as many paths to one subsystem
    #[arg(short = 'a', long, value_name = "ADDR", required = true)]
    traddr: Vec<IpAddr>,
    /// Its port
    #[arg(short = 's', long, value_name = "PORT", default_value = "4420")]
    trsvcid: u16,
    /// Name of this host [default: what /etc/nvme/hostnqn says, or one made from /etc/machine-id]
    #[arg(short = 'q', long, value_name = "NQN")]
    hostnqn: Option<String>,
    /// Ask for digests of PDU headers
    #[arg(short = 'g', long)]
    hdr_digest: bool,
    /// Ask for digests of data
    #[arg(short = 'G', long)]
    data_digest: bool,
    /// Seconds that connecting a queue and authenticating may take, which is long on a slow machine with a large group
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: u64,
    #[command(flatten)]
    network: NetworkOptions,
}

/// Which subsystem, and how its queues are to be.
#[derive(Args)]
pub(super) struct SubsystemOptions {
    /// Name of the subsystem
    #[arg(short = 'n', long, value_name = "NQN")]
    nqn: String,
    /// I/O queues, each with a connection of its own
    #[arg(short = 'i', long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    nr_io_queues: u16,
    /// Entries of each I/O queue
    #[arg(short = 'Q', long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(2..=4096))]
    queue_size: u32,
    /// Seconds after which the controller may give up a silent host; 0 for never [default: 5; 0 where a file or pipe may be waited for]
    #[arg(short = 'k', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=LONGEST_KEEP_ALIVE))]
    keep_alive_tmo: Option<u64>,
    #[command(flatten)]
    host: HostOptions,
    #[command(flatten)]
    secrets: SecretOptions,
}

impl HostOptions {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.traddr.iter().map(|address| SocketAddr::new(*address, self.trsvcid)).collect()
    }

    /// Connects to the discovery controller.
    pub(super) fn discovery(&self) -> Result<AnyHost, Failure> {
        if self.traddr.len() > 1 {
            return Err(Failure::Usage("one discovery service is asked at a time: say --traddr once".to_owned()));
        }
        let identity = machine::identity(self.hostnqn.as_deref(), Nqn::discovery())?;
        self.connect(ControllerConfig::discovery(identity), BRIEF, Policy::default())
    }

    fn connect(
        &self,
        mut controller: ControllerConfig,
        reconnect: ReconnectPolicy,
        policy: Policy,
    ) -> Result<AnyHost, Failure> {
        // All that follows is about this one.
        let Transport::Tcp = self.transport;
        controller.admin.connect_timeout = Duration::from_secs(self.connect_timeout);
        controller.admin.offer.digests = Digests { header: self.hdr_digest, data: self.data_digest };
        let net: Box<dyn Net> = match self.network.carrier(Role::Client)? {
            Carrier::Kernel(sockets) => Box::new(kernel_net(sockets)?),
            Carrier::Stack(engine) => Box::new(StackNet::new(*engine)),
        };
        let addresses = self.addresses();
        let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let config = HostConfig { addresses, controller, reconnect, policy };
        // The admin queue, and after it the I/O queues, beside each other.
        let patience = Duration::from_secs(2 * self.connect_timeout);
        Host::connect(net, config, patience).map_err(|error| match error {
            HostError::Io(error) => Failure::io(format_args!("cannot connect to {}", names.join(", ")), &error),
            error => Failure::Runtime(format!("cannot connect to {}: {error}", names.join(", "))),
        })
    }
}

impl SubsystemOptions {
    /// Connects to the subsystem's controllers, with their I/O queues.
    pub(super) fn connect(&self) -> Result<AnyHost, Failure> {
        self.connect_with(BRIEF, Policy::default())
    }

    /// The same, with what is to become of controllers that are lost.
    pub(super) fn connect_with(&self, reconnect: ReconnectPolicy, policy: Policy) -> Result<AnyHost, Failure> {
        self.connect_for(KEEP_ALIVE, reconnect, policy)
    }

    /// The same for who may stop driving the host for a while, and so cannot keep anything alive.
    pub(super) fn connect_at_leisure(&self, reconnect: ReconnectPolicy, policy: Policy) -> Result<AnyHost, Failure> {
        self.connect_for(Duration::ZERO, reconnect, policy)
    }

    fn connect_for(
        &self,
        keep_alive: Duration,
        reconnect: ReconnectPolicy,
        policy: Policy,
    ) -> Result<AnyHost, Failure> {
        let identity = machine::identity(self.host.hostnqn.as_deref(), parse_nqn(&self.nqn)?)?;
        let mut config = ControllerConfig::new(identity, self.nr_io_queues);
        config.io_entries = self.queue_size;
        config.admin.authentication = self.secrets.authentication()?;
        config.admin.keep_alive = self.keep_alive_tmo.map_or(keep_alive, Duration::from_secs);
        self.host.connect(config, reconnect, policy)
    }
}

/// The kernel's sockets, for who drives them in a thread of its own.
pub(super) fn kernel_net(sockets: KernelSockets) -> Result<KernelNet, Failure> {
    let net =
        KernelNet::new(sockets.protocol.into()).map_err(|error| Failure::io("cannot open connections", &error))?;
    Ok(match sockets.congestion {
        Some(algorithm) => net.with_congestion_control(algorithm.to_string()),
        None => net,
    })
}

/// Shuts down; what does not come of it is worth no failure.
pub(super) fn leave(mut host: AnyHost) {
    let _ = host.shutdown(FAREWELL);
}

/// What went wrong with a controller.
pub(super) fn failed(error: &HostError) -> Failure {
    Failure::Runtime(format!("the controller is lost: {error}"))
}
