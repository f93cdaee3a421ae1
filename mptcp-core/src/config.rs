//! What can be chosen for a stack, a listener and a connection.

use std::time::Duration;

use crate::congestion::{Coupling, CouplingError};
use crate::path_manager::strategy::PathStrategyKind;
use crate::path_manager::{BlackholeScope, Limits, PathPolicy, PolicyError};
use crate::qos::{Qos, QosError};
use crate::scheduler::{Learning, SchedulerKind};

/// What a receiver does when a DSS checksum fails and the connection has one subflow only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChecksumFailure {
    /// Sends MP_FAIL and goes on as regular TCP, as RFC 8684 section 3.7 has it: what a middlebox made of the
    /// payload is delivered, just as plain TCP would.
    #[default]
    FallBack,
    /// Closes the connection with MP_FASTCLOSE: for applications that would rather lose the
    /// connection than read altered bytes.
    Abort,
}

/// When a quiet peer is asked whether it is still there (RFC 9293 section 3.8.4), for each subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long nothing must have been heard before the first probe. Default: 2 hours, the RFC's lower bound
    /// for defaults.
    pub idle: Duration,
    /// Between probes that are not answered. Default: 75 s, as the kernel's.
    pub interval: Duration,
    /// Probes in a row without an answer after which the subflow is given up. Default: 9, as the kernel's.
    pub probes: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), probes: 9 }
    }
}

/// Configuration of a stack.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Offer and accept MP_CAPABLE at all. Default: true.
    pub mptcp: bool,
    /// Require DSS checksums (flag A of MP_CAPABLE, RFC 8684 section 3.1). They are used if either side
    /// requires them. Default: false, as the kernel's.
    pub checksum: bool,
    /// Declare the mapping of data in each of its segments, as the kernel does. Otherwise only the first segment of a mapping declares it (RFC 8684
    /// section 3.3.1), and the others carry 28 bytes more: once the path is known to pass options, where mappings are of several
    /// segments, and as long as none was lost whose bytes were not. With checksums, each segment always does. Default: false.
    pub map_every_segment: bool,
    /// What to do when a checksum fails on the only subflow.
    pub checksum_failure: ChecksumFailure,
    /// Allow the peer to join to the address and port of the initial subflow (flag C unset, RFC 8684
    /// section 3.1). Default: true.
    pub allow_join_initial_addr: bool,
    /// Scheduler of new connections.
    pub scheduler: SchedulerKind,
    /// How the congestion windows of a connection's subflows depend on each other, for new connections. Default: not at all. Anything
    /// else needs a TCP that takes congestion controls from above.
    pub coupling: Coupling,
    /// How connections share the interfaces by the class of what they send. Default: not at all, each sends what it can.
    pub qos: Option<Qos>,
    /// What schedulers that learn begin with.
    pub learning: Learning,
    /// Bytes that a connection's send queue holds at most, until they are acknowledged. Never more. Default: 4 MiB.
    pub send_buffer: usize,
    /// Receive buffer that a connection starts with, in bytes. Default: 256 KiB.
    pub recv_buffer_initial: usize,
    /// Receive buffer that auto-tuning may reach, in bytes. Default: 4 MiB.
    ///
    /// That is what peers are told. Some overrun it, as Linux does: of bytes that have their place in the stream a connection never holds more than
    /// twice as many. Bytes that still wait for their mapping come on top; with as many as the buffer at the time has, their subflow is reset.
    pub recv_buffer_max: usize,
    /// Bytes that all connections together may hold, sent and received: payload by its length, and 256 for each fragment beyond a gap. Default:
    /// 1 GiB.
    ///
    /// The last quarter is for what is received in order. While the rest is used up, applications cannot write, receive buffers do not grow, new
    /// connections are refused, and what peers send out of order is dropped, for them to send again. What comes in order is taken as far as there is
    /// room; what its connection holds out of order makes way for it. Windows promise no more than fits.
    ///
    /// The limit is never exceeded but by what TCP has acknowledged and nobody would send again:
    ///
    /// * what connections that have had a single path, that have fallen back or never spoke MPTCP receive in order, within the windows that they
    ///   announced while there was more room;
    /// * with checksums, less than 64 KiB for each subflow, of a mapping that has not arrived in whole;
    /// * bytes without a mapping, until the subflow that brought them is reset for it, at once.
    ///
    /// The TCP stack beneath counts for itself what it holds.
    pub memory_limit: usize,
    /// Connections at the same time. Default: 65,536.
    pub max_connections: usize,
    /// Subflows and addresses, see [`Limits`].
    pub limits: Limits,
    /// Which subflows new connections should have. Default: what the flags of the endpoints say.
    pub path_strategy: PathStrategyKind,
    /// What paths are for, and how much may be sent over them. Default: no rules.
    pub policy: PathPolicy,
    /// Attempts to join an address that the peer has announced, if none succeeds, each as long as TCP tries to connect. Then
    /// the address is left alone until the peer announces it again or an interface is added. What has worked once, and
    /// the peer's first address, are tried for ever, unless the peer refuses the join: so often it is asked again if its refusal
    /// says that it may be accepted another time. Default: 3.
    pub join_attempts: u32,
    /// MP_JOIN handshakes that a connection answers at the same time. Default: 8.
    pub max_half_open_joins: usize,
    /// SYNs with MP_CAPABLE that stay unanswered before the SYN goes out without it (RFC 8684 section 3.1).
    /// Default: 2 retransmissions, as the kernel's `syn_retrans_before_tcp_fallback`.
    pub syn_retries_before_fallback: u32,
    /// How long MPTCP is not offered where only such a SYN has got an answer (the kernel's `blackhole_timeout`). The time doubles
    /// each time in a row, up to 64 times as long; zero forgets at once. Default: 3600 s.
    pub blackhole_timeout: Duration,
    /// Where that is. Default: at the peer's address; the kernel does not offer it to anyone.
    pub blackhole_scope: BlackholeScope,
    /// How long a connection lives without any subflow that is more than an attempt, and how long a closed one waits for
    /// its peer (the kernel's `close_timeout`). Default: 60 s.
    pub close_timeout: Duration,
    /// First interval after which an unanswered ADD_ADDR is repeated; it doubles each time, three
    /// times at most. Default: 1 s.
    pub add_addr_timeout: Duration,
    /// How long subflow data may wait for its mapping before the subflow is reset (RFC 8684
    /// section 3.3.1 leaves the "short while" open). Default: 5 s.
    pub unmapped_timeout: Duration,
    /// How long a subflow may go without an answer while it has something outstanding. Default: 180 s.
    pub subflow_timeout: Duration,
    /// Keep-alive. Without it, a connection that is idle does not notice that its peer has vanished. Default: none.
    pub keepalive: Option<KeepAlive>,
    /// This core and the number of cores: tokens are drawn so that `token % cores == core`.
    pub core: (u32, u32),
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            mptcp: true,
            checksum: false,
            map_every_segment: false,
            checksum_failure: ChecksumFailure::default(),
            allow_join_initial_addr: true,
            scheduler: SchedulerKind::default(),
            coupling: Coupling::default(),
            qos: None,
            learning: Learning::default(),
            send_buffer: 4 << 20,
            recv_buffer_initial: 256 << 10,
            recv_buffer_max: 4 << 20,
            memory_limit: 1 << 30,
            max_connections: 65_536,
            limits: Limits::default(),
            path_strategy: PathStrategyKind::default(),
            policy: PathPolicy::default(),
            join_attempts: 3,
            max_half_open_joins: 8,
            syn_retries_before_fallback: 2,
            blackhole_timeout: Duration::from_secs(3600),
            blackhole_scope: BlackholeScope::default(),
            close_timeout: Duration::from_secs(60),
            add_addr_timeout: Duration::from_secs(1),
            unmapped_timeout: Duration::from_secs(5),
            subflow_timeout: Duration::from_secs(180),
            keepalive: None,
            core: (0, 1),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A buffer cannot be empty.
    #[error("{key} is {value} bytes, but at least 4096 are needed")]
    TooSmall {
        /// Name of the setting.
        key: &'static str,
        /// What it was set to.
        value: usize,
    },
    /// A receive buffer cannot start larger than it may become.
    #[error("recv_buffer_initial is {initial} bytes, more than recv_buffer_max, which is {max}")]
    InitialAboveMax {
        /// [`StackConfig::recv_buffer_initial`].
        initial: usize,
        /// [`StackConfig::recv_buffer_max`].
        max: usize,
    },
    /// The send buffer must be at least as big as the receive buffer (RFC 8684 section 3.3.5).
    #[error("send_buffer is {send} bytes, less than recv_buffer_max, which is {recv}")]
    SendBelowReceive {
        /// [`StackConfig::send_buffer`].
        send: usize,
        /// [`StackConfig::recv_buffer_max`].
        recv: usize,
    },
    /// The TCP beneath cannot have its windows coupled.
    #[error(transparent)]
    Coupling(#[from] CouplingError),
    /// Classes cannot share like this.
    #[error(transparent)]
    Qos(#[from] QosError),
    /// A mistake in [`StackConfig::policy`].
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Cores are numbered from 0.
    #[error("core is {core}, but with {cores} cores it must be below that")]
    NoSuchCore {
        /// Number of this core.
        core: u32,
        /// Number of cores.
        cores: u32,
    },
}

impl StackConfig {
    /// Checks what [`Stack::new`](crate::Stack::new) needs.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const LEAST: usize = 4096;
        let Self { send_buffer, recv_buffer_initial, recv_buffer_max, memory_limit, core: (core, cores), .. } = *self;
        let sizes = [
            ("send_buffer", send_buffer),
            ("recv_buffer_initial", recv_buffer_initial),
            ("recv_buffer_max", recv_buffer_max),
            ("memory_limit", memory_limit),
        ];
        if let Some((key, value)) = sizes.into_iter().find(|(_, value)| *value < LEAST) {
            return Err(ConfigError::TooSmall { key, value });
        }
        if recv_buffer_initial > recv_buffer_max {
            return Err(ConfigError::InitialAboveMax { initial: recv_buffer_initial, max: recv_buffer_max });
        }
        if send_buffer < recv_buffer_max {
            return Err(ConfigError::SendBelowReceive { send: send_buffer, recv: recv_buffer_max });
        }
        self.qos.map_or(Ok(()), |qos| qos.validate())?;
        self.policy.validate()?;
        if core >= cores {
            return Err(ConfigError::NoSuchCore { core, cores });
        }
        Ok(())
    }
}

/// Configuration of one active connection; `None` takes the stack's.
#[derive(Clone, Debug, Default)]
pub struct ConnConfig {
    /// Offer MP_CAPABLE, even where it has vanished on the way before.
    pub mptcp: Option<bool>,
    /// Scheduler.
    pub scheduler: Option<SchedulerKind>,
    /// Coupling of the congestion windows.
    pub coupling: Option<Coupling>,
    /// Let the SYN carry what was written before the next [`poll_transmit`](crate::Stack::poll_transmit), if the peer is known to take
    /// it, or else ask for the cookie that will let the next connection do so (TCP Fast Open, RFC 7413; RFC 8684 appendix B). Without
    /// effect where the TCP stack beneath cannot do it. Default: false.
    ///
    /// What a SYN carries may reach the peer's application twice, in two connections (RFC 7413 section 6.1).
    pub fast_open: bool,
    /// Which subflows it should have.
    pub path_strategy: Option<PathStrategyKind>,
}

/// Configuration of a listener.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// Connections that are in the handshake or wait for `accept`, at most. Default: 128.
    pub backlog: usize,
    /// Connections at most that are open before their handshake is complete, as their SYNs brought a cookie and data (TCP Fast
    /// Open, RFC 7413); 0 takes no data on SYNs. Without effect where the TCP stack beneath cannot do it. Default: 0.
    ///
    /// What a SYN carries may be read twice, in two connections (RFC 7413 section 6.1).
    pub fast_open: usize,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self { backlog: 128, fast_open: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qos::ClassShare;

    #[test]
    fn contradictions_are_named() {
        let broken = |change: fn(&mut StackConfig)| {
            let mut config = StackConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(StackConfig::default().validate(), Ok(()));
        assert!(broken(|config| config.send_buffer = 1).contains("send_buffer is 1 bytes"));
        assert!(broken(|config| config.send_buffer = 8192).contains("less than recv_buffer_max"));
        assert!(broken(|config| config.recv_buffer_initial = 8 << 20).contains("more than recv_buffer_max"));
        assert!(broken(|config| config.core = (2, 2)).contains("core is 2"));
        let no_weight = ClassShare { weight: 0, limit: None };
        let qos = Qos { background: no_weight, ..Qos::default() };
        let broken = StackConfig { qos: Some(qos), ..StackConfig::default() }.validate();
        assert!(broken.unwrap_err().to_string().contains("the weight of class 'background' is 0"));
    }
}
