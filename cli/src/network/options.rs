//! The options by which every subcommand is told what carries its bytes.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use mptcp_sdk::adapter::congestion::Algorithm;
use mptcp_sdk::control::rule_from_text;
use mptcp_sdk::core::scheduler::{InvalidWeights, Model};
use mptcp_sdk::{
    Config, Coupling, Engine, InterfaceSpec, KeepAlive, PathStrategyKind, Qos, Runtime, SchedulerKind, StartError,
    TcpPlugIn, UnknownTcp,
};
use nvme_io::net::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES};

use super::classes::parse_qos;
use super::user_space::UserSpace;
use super::{KernelProtocol, KernelSockets, Network};
use crate::failure::Failure;

const PATH_HELP: &str = "\
Use this path from user space; give one per path

KIND:NAME,ADDR/PREFIX[,ADDR/PREFIX...][,gw=ADDR][,mac=MAC][,mtu=N][,signal][,subflow][,backup][,fullmesh][,laminar]
[,port=N][,ndiffports=N], in one word, where KIND:NAME is tap:NAME (made if it does not exist), eth:NAME (an interface
of the kernel), unix:PATH with peer=PATH, or unix:fd=NUMBER. For eth:NAME, 'auto' in place of addresses takes those
that the kernel's interface has, as they come and go. A connection starts on the first path that reaches the peer. On
the other paths of a client, addresses without a flag are given 'subflow'; those of a server stay as they are.";

const QOS_HELP: &str = "\
Have connections share by the class of what they send

CLASS=WEIGHT[:LIMIT],... for the classes latency, bulk and background, of which the first are served first. A class gets no more
beside a more important one that has more to send than its weight is of that one's, and never more than its limit, a
rate such as 10Mbit, of all connections together. Without a list, and for classes that it does not name, weights are
64, 8 and 1, and there are no limits. What nothing is said of is bulk; of NVMe, data is bulk and the rest latency.";

/// What carries the bytes.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkOptions {
    /// Use the kernel's own sockets
    #[arg(long, value_name = "PROTOCOL")]
    kernel: Option<KernelProtocol>,
    /// Use this path from user space; give one per path
    #[arg(long = "path", value_name = "SPEC", conflicts_with = "kernel", long_help = PATH_HELP)]
    paths: Vec<String>,
    /// Ask for DSS checksums
    #[arg(long, conflicts_with = "kernel")]
    checksum: bool,
    /// Declare the mapping of data in each of its segments, as Linux does
    #[arg(long, conflicts_with = "kernel")]
    map_every_segment: bool,
    /// How data is spread over the paths [default: completion-time]
    #[arg(long, value_name = "NAME", long_help = scheduler_help(), conflicts_with = "kernel")]
    scheduler: Option<SchedulerKind>,
    /// Weights of --scheduler peekaboo, made by 'mptcp sim train' [default: those that come with the program]
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    weights: Option<PathBuf>,
    /// Have connections share by the class of what they send, such as latency=16,bulk=4,background=1:10Mbit
    #[arg(long, value_name = "SHARES", value_parser = parse_qos, num_args = 0..=1, long_help = QOS_HELP, conflicts_with = "kernel")]
    qos: Option<Option<Qos>>,
    /// Subflows of a connection besides the first, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=64), default_value = "8", conflicts_with = "kernel")]
    subflows: u8,
    /// Addresses announced by the peer that are used, at most
    #[arg(long, value_name = "N", default_value = "8", conflicts_with = "kernel")]
    add_addr_accepted: u8,
    /// Which subflows a connection has: endpoints (what the flags of the paths say, the default), fullmesh, signal,
    /// nic-pairs or ndiffports:N
    #[arg(long, value_name = "NAME", conflicts_with = "kernel")]
    path_manager: Option<PathStrategyKind>,
    /// A rule for paths, such as dev=wwan0,metered (see 'mptcp path policy add --help'); may be given several times
    #[arg(long = "policy", value_name = "RULE", conflicts_with = "kernel")]
    rules: Vec<String>,
    /// Leave links that fail to be noticed by silence, instead of watching the kernel's interfaces
    #[arg(long, conflicts_with = "kernel")]
    no_watch: bool,
    /// Use plain TCP only
    #[arg(long, conflicts_with = "kernel")]
    no_mptcp: bool,
    /// The TCP beneath: native or smoltcp
    #[arg(long, value_name = "NAME", default_value = "native", conflicts_with = "kernel")]
    stack: String,
    /// Congestion control of each subflow: cubic (the default), reno, dctcp or bbr; smoltcp has the first two; with --kernel, the
    /// kernel's of that name; a --coupling has its own
    #[arg(long, value_name = "NAME", value_parser = parse_congestion)]
    congestion: Option<Algorithm>,
    /// Offer explicit congestion notification; smoltcp does not have it
    #[arg(long, conflicts_with = "kernel")]
    ecn: bool,
    /// How the congestion windows of a connection's subflows depend on each other: uncoupled (the default), lia, olia,
    /// balia, wvegas, coupled-cubic, or auto, which couples those that share a bottleneck; needs --stack native, and replaces
    /// the congestion control: by reno's with lia, olia and balia, by cubic's with the last two
    #[arg(long, value_name = "NAME", value_parser = parse_coupling, conflicts_with = "kernel")]
    coupling: Option<Coupling>,
    /// Write the frames of all paths into this pcapng file
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    pcap: Option<PathBuf>,
    /// Where to make the control socket, for 'mptcp ss' and 'mptcp path' [default: mptcp-PID.sock in $XDG_RUNTIME_DIR or /run]
    #[arg(long, value_name = "SOCKET", conflicts_with = "kernel")]
    control: Option<PathBuf>,
    /// Write the counters into this file at the end, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    mib: Option<PathBuf>,
}

/// What carries bytes for who drives it.
pub(crate) enum Carrier {
    /// Sockets of the kernel.
    Kernel(KernelSockets),
    /// Paths in user space.
    Stack(Box<Engine>),
}

fn nothing_carries() -> Failure {
    let sentence = "say what carries the bytes: --path for paths in user space, or --kernel tcp or --kernel mptcp";
    Failure::Usage(sentence.to_owned())
}

fn cannot_start(error: &StartError) -> Failure {
    let sentence = error.to_string();
    if error.is_mistake() { Failure::Usage(sentence) } else { Failure::Runtime(sentence) }
}

/// Which side opens the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// This one.
    Client,
    /// The other one.
    Server,
}

impl NetworkOptions {
    /// Opens what the options name.
    pub(crate) fn open(&self, role: Role) -> Result<Network, Failure> {
        match self.kernel {
            Some(protocol) => Ok(Network::Kernel(KernelSockets { protocol, congestion: self.congestion })),
            None if self.paths.is_empty() => Err(nothing_carries()),
            None => {
                let runtime = Runtime::new(self.config(role)?).map_err(|error| cannot_start(&error))?;
                Ok(Network::User(UserSpace::start(runtime, self.control.clone(), self.mib.clone())?))
            }
        }
    }

    /// What the options name, for who drives it in a thread of its own.
    pub(crate) fn carrier(&self, role: Role) -> Result<Carrier, Failure> {
        if self.control.is_some() || self.mib.is_some() {
            return Err(Failure::Usage("this command has no control socket and writes no counters".to_owned()));
        }
        match self.kernel {
            Some(protocol) => Ok(Carrier::Kernel(KernelSockets { protocol, congestion: self.congestion })),
            None if self.paths.is_empty() => Err(nothing_carries()),
            None => Engine::new(self.config(role).map(|config| asking(config, role))?)
                .map(|engine| Carrier::Stack(Box::new(engine)))
                .map_err(|error| cannot_start(&error)),
        }
    }

    fn config(&self, role: Role) -> Result<Config, Failure> {
        let mistake = |error: &dyn std::error::Error| Failure::Usage(error.to_string());
        let mut tcp: TcpPlugIn = self.stack.parse().map_err(|error: UnknownTcp| mistake(&error))?;
        if let Some((algorithm, coupling)) = self.congestion.zip(self.coupling)
            && !is_made_after(coupling, algorithm)
        {
            return Err(Failure::Usage(format!(
                "--coupling {coupling} replaces the congestion control, so --congestion {algorithm} would have no effect: \
                 leave one of them out"
            )));
        }
        if let Some(algorithm) = self.congestion {
            tcp = tcp.with_congestion_control(algorithm).map_err(|error| mistake(&error))?;
        }
        if self.ecn {
            tcp = tcp.with_ecn().map_err(|error| mistake(&error))?;
        }
        let mut config = Config::new(tcp);
        for (index, text) in self.paths.iter().enumerate() {
            let mut spec: InterfaceSpec = text.parse().map_err(|error| Failure::Usage(format!("--path: {error}")))?;
            if index > 0 && role == Role::Client && spec.flags == mptcp_sdk::EndpointFlags::default() {
                spec.flags.subflow = true;
            }
            config.interfaces.push(spec);
        }
        let names: Vec<String> = config.interfaces.iter().map(|spec| spec.device.name()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for rule in &self.rules {
            let rule = rule_from_text(rule, &names).map_err(|error| Failure::Usage(format!("--policy: {error}")))?;
            config.stack.policy.rules.push(rule);
        }
        config.stack.path_strategy = self.path_manager.clone().unwrap_or_default();
        config.watch_network = !self.no_watch;
        config.capture.clone_from(&self.pcap);
        config.stack.checksum = self.checksum;
        config.stack.map_every_segment = self.map_every_segment;
        config.stack.mptcp = !self.no_mptcp;
        config.stack.scheduler = self.scheduler.unwrap_or_default();
        config.stack.coupling = self.coupling.unwrap_or_default();
        config.stack.qos = self.qos.map(Option::unwrap_or_default);
        if let Some(path) = &self.weights {
            if self.scheduler != Some(SchedulerKind::Peekaboo) {
                return Err(Failure::Usage(
                    "--weights is for --scheduler peekaboo: no other one has weights".to_owned(),
                ));
            }
            config.stack.learning.model = read_weights(path)?;
        }
        config.stack.limits.subflows = self.subflows;
        config.stack.limits.add_addr_accepted = self.add_addr_accepted;
        config.thread_name = "mptcp-driver".to_owned();
        if let Some(path) = &self.mib {
            // Found out now, not when the transfer is over.
            std::fs::File::create(path).map_err(|error: io::Error| Failure::file("write", path, &error))?;
        }
        Ok(config)
    }
}

/// Whether subflows have this congestion control, or one that goes by it when it is alone, with this coupling too.
fn is_made_after(coupling: Coupling, algorithm: Algorithm) -> bool {
    match coupling {
        Coupling::Uncoupled => true,
        Coupling::Lia | Coupling::Olia | Coupling::Balia => algorithm == Algorithm::Reno,
        Coupling::CoupledCubic | Coupling::Auto => algorithm == Algorithm::Cubic,
        Coupling::Wvegas => false,
    }
}

/// The weights in a file.
pub(crate) fn read_weights(path: &Path) -> Result<Model, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    text.parse().map_err(|error: InvalidWeights| Failure::Usage(format!("{}: {error}", path.display())))
}

fn scheduler_help() -> String {
    let line = |kind: SchedulerKind| format!("\n{:<19} {}", kind.name(), kind.describe());
    let lines: String = SchedulerKind::ALL.into_iter().map(line).collect();
    format!("How data is spread over the paths; {} is the default\n{lines}", SchedulerKind::default())
}

fn parse_congestion(text: &str) -> Result<Algorithm, String> {
    text.parse::<Algorithm>().map_err(|error| error.to_string())
}

fn parse_coupling(text: &str) -> Result<Coupling, String> {
    text.parse::<Coupling>().map_err(|error| error.to_string())
}

/// A server asks hosts whether they are still there, at the pace of the kernel's sockets: one that has no keep-alive of its own and vanishes would stay for ever.
/// Over the kernel's sockets hosts ask too; here they have the timeouts of their commands.
fn asking(mut config: Config, role: Role) -> Config {
    let ask = KeepAlive { idle: KEEPALIVE_IDLE, interval: KEEPALIVE_INTERVAL, probes: KEEPALIVE_PROBES };
    config.stack.keepalive = (role == Role::Server).then_some(ask);
    config
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        network: NetworkOptions,
    }

    fn config(options: &str) -> Result<Config, String> {
        let words = format!("mptcp --path unix:/tmp/a,10.0.0.1/24,peer=/tmp/b {options}");
        let line = Line::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?;
        line.network.config(Role::Client).map_err(|failure| {
            assert_eq!(failure.exit_code(), 2, "{failure}");
            failure.to_string()
        })
    }

    #[test]
    fn classes_share_only_where_they_are_told_to() {
        let shares = |options| config(options).unwrap().stack.qos;
        assert_eq!(shares(""), None);
        assert_eq!(shares("--qos"), Some(Qos::default()));
        assert_eq!(shares("--qos --no-watch"), Some(Qos::default()));
        let limited = shares("--qos latency=16,bulk=4,background=1:10Mbit").unwrap();
        assert_eq!((limited.latency.weight, limited.background.limit), (16, Some(1_250_000)));
        assert!(config("--qos video=1").err().unwrap().contains("there is no class 'video'"));
    }

    #[test]
    fn a_coupling_and_another_congestion_control_contradict() {
        let refused = config("--congestion bbr --coupling lia").err().unwrap();
        assert!(refused.contains("so --congestion bbr would have no effect"), "{refused}");
        for wrong in ["cubic --coupling olia", "reno --coupling auto", "reno --coupling wvegas"] {
            assert!(config(&format!("--congestion {wrong}")).is_err(), "{wrong}");
        }
        for right in ["bbr --coupling uncoupled", "reno --coupling balia", "cubic --coupling coupled-cubic"] {
            assert!(config(&format!("--congestion {right}")).is_ok(), "{right}");
        }
        assert!(config("--coupling lia").is_ok() && config("--congestion bbr").is_ok());
    }

    #[test]
    fn weights_are_of_the_one_scheduler_that_has_them() {
        for other in ["", "--scheduler blest"] {
            let refused = config(&format!("--weights /no/such {other}")).err().unwrap();
            assert!(refused.starts_with("--weights is for --scheduler peekaboo"), "{refused}");
        }
        let missing = config("--weights /no/such --scheduler peekaboo").err().unwrap();
        assert_eq!(missing, "cannot read /no/such: no such file");
    }
}
