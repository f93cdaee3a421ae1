//! What an engine starts from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mptcp_core::{Coupling, StackConfig};
use tcp_adapter::TcpStack;
use tcp_adapter::congestion::Algorithm;
use tcp_adapter::native::{NativeConfig, NativeStack};
#[cfg(feature = "smoltcp")]
use tcp_adapter::smoltcp::{CongestionControl, SmoltcpConfig, SmoltcpStack};

use crate::{InterfaceSpec, StartError};

/// What an [`Engine`](crate::Engine) or a [`Runtime`](crate::Runtime) starts from. Mistakes are found at the start.
#[derive(Debug)]
pub struct Config {
    /// Settings of Multipath TCP.
    pub stack: StackConfig,
    /// The TCP beneath.
    pub tcp: TcpPlugIn,
    /// The interfaces that carry the paths, at least one. A connection starts on the first that reaches its peer.
    pub interfaces: Vec<InterfaceSpec>,
    /// Follow the kernel's interfaces that carry paths (`tap:`, `eth:`): what the kernel says of their links is believed at once,
    /// and addresses that are left to it come and go. Default: true.
    pub watch_network: bool,
    /// Write all frames into this pcapng file.
    pub capture: Option<PathBuf>,
    /// Frames taken from one interface before the others have their turn, 1-4096. Default: 64.
    pub burst: usize,
    /// How often an interface is looked at that has no descriptor to sleep on, 1 us - 1 s. Default: 200 us.
    pub poll_interval: Duration,
    /// Secret from which keys, sequence numbers and ports are derived; `None` asks the operating system. A fixed one
    /// makes them predictable, which only tests want.
    pub seed: Option<[u8; 32]>,
    /// Of a [`Runtime`](crate::Runtime): bytes that a stream holds in each direction between the application and the
    /// stack, 1 KiB - 1 GiB. Default: 1 MiB.
    pub stream_buffer: usize,
    /// Of a [`Runtime`](crate::Runtime): how long its end waits for the connections to close, at most an hour;
    /// what is left then is aborted. Default: 10 s.
    pub linger: Duration,
    /// Of a [`Runtime`](crate::Runtime): name of its thread. Default: `mptcp`.
    pub thread_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self::new(TcpPlugIn::default())
    }
}

impl Config {
    /// The defaults, above this TCP. Interfaces must still be added.
    pub fn new(tcp: TcpPlugIn) -> Self {
        Self {
            stack: StackConfig::default(),
            tcp,
            interfaces: Vec::new(),
            watch_network: true,
            capture: None,
            burst: 64,
            poll_interval: Duration::from_micros(200),
            seed: None,
            stream_buffer: 1 << 20,
            linger: Duration::from_secs(10),
            thread_name: "mptcp".to_owned(),
        }
    }

    /// Checks everything that can be checked before a device is opened.
    ///
    /// # Errors
    /// The first mistake: [`StartError::Invalid`], or [`StartError::Stack`].
    pub fn validate(&self) -> Result<(), StartError> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        check("burst", self.burst as u64, 1, 4096)?;
        check("poll_interval in microseconds", micros(self.poll_interval), 1, 1_000_000)?;
        check("stream_buffer", self.stream_buffer as u64, 1 << 10, 1 << 30)?;
        check("linger in microseconds", micros(self.linger), 0, 3_600_000_000)?;
        self.stack.validate()?;
        check("stack.max_connections", self.stack.max_connections as u64, 1, 1 << 24)?;
        check("stack.limits.subflows", u64::from(self.stack.limits.subflows), 0, 64)?;
        if self.stack.coupling != Coupling::Uncoupled && !self.tcp.can_be_coupled() {
            let allowed = "uncoupled with a TCP that takes no congestion control from above";
            return Err(StartError::invalid("stack.coupling", self.stack.coupling, allowed));
        }
        if self.interfaces.is_empty() {
            return Err(StartError::invalid("interfaces", "empty", "at least one interface"));
        }
        let mut known = Vec::new();
        for (index, interface) in self.interfaces.iter().enumerate() {
            interface.validate(&format!("interfaces[{index}]"))?;
            for own in &interface.addrs {
                if known.contains(&own.addr) {
                    let key = format!("interfaces[{index}].addrs");
                    return Err(StartError::invalid(key, own.addr, "addresses that no other interface has"));
                }
                known.push(own.addr);
            }
        }
        Ok(())
    }
}

/// Checks that a number is in its range.
pub(crate) fn check(key: &str, found: u64, least: u64, most: u64) -> Result<(), StartError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(StartError::invalid(key, found, format!("{least} to {most}")))
    }
}

/// The TCP beneath Multipath TCP.
pub enum TcpPlugIn {
    /// The engine of this project.
    Native(NativeConfig),
    /// The smoltcp crate.
    #[cfg(feature = "smoltcp")]
    Smoltcp(SmoltcpConfig),
    /// An implementation of the application's own, without interfaces so far.
    Custom(Box<dyn TcpStack + Send>),
}

impl Default for TcpPlugIn {
    fn default() -> Self {
        Self::Native(NativeConfig::default())
    }
}

impl TcpPlugIn {
    /// The names that can be parsed, the default first.
    pub const NAMES: &[&str] = &[
        "native",
        #[cfg(feature = "smoltcp")]
        "smoltcp",
    ];

    /// The same with this congestion control for every connection.
    ///
    /// # Errors
    /// The TCP does not have it: only the native engine has all of them.
    pub fn with_congestion_control(mut self, algorithm: Algorithm) -> Result<Self, NoSuchCongestionControl> {
        match &mut self {
            Self::Native(config) => config.congestion = algorithm,
            #[cfg(feature = "smoltcp")]
            Self::Smoltcp(config) => {
                config.congestion_control = match algorithm {
                    Algorithm::Cubic => CongestionControl::Cubic,
                    Algorithm::Reno => CongestionControl::Reno,
                    _ => {
                        return Err(NoSuchCongestionControl {
                            tcp: "smoltcp",
                            algorithm,
                            choices: "choose cubic or reno",
                        });
                    }
                };
            }
            Self::Custom(stack) => {
                let choices = "it comes as it is";
                return Err(NoSuchCongestionControl { tcp: stack.capabilities().name, algorithm, choices });
            }
        }
        Ok(self)
    }

    /// The same, offering explicit congestion notification (RFC 3168) on every connection that it opens.
    ///
    /// # Errors
    /// The TCP does not have it, or comes with settings of its own.
    pub fn with_ecn(mut self) -> Result<Self, NoEcn> {
        let tcp = match &mut self {
            Self::Native(config) => {
                config.ecn = true;
                return Ok(self);
            }
            #[cfg(feature = "smoltcp")]
            Self::Smoltcp(_) => "smoltcp",
            Self::Custom(stack) => stack.capabilities().name,
        };
        Err(NoEcn { tcp })
    }

    /// Whether [`StackConfig::coupling`] can be anything but uncoupled: with smoltcp it cannot.
    pub fn can_be_coupled(&self) -> bool {
        match self {
            Self::Native(_) => true,
            #[cfg(feature = "smoltcp")]
            Self::Smoltcp(_) => false,
            Self::Custom(stack) => stack.capabilities().custom_congestion_control,
        }
    }

    /// Builds it.
    pub(crate) fn build(self, seed: u64) -> Box<dyn TcpStack + Send> {
        match self {
            Self::Native(config) => Box::new(NativeStack::new(config, seed)),
            #[cfg(feature = "smoltcp")]
            Self::Smoltcp(config) => Box::new(SmoltcpStack::new(config, seed)),
            Self::Custom(stack) => stack,
        }
    }
}

impl fmt::Debug for TcpPlugIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(config) => f.debug_tuple("Native").field(config).finish(),
            #[cfg(feature = "smoltcp")]
            Self::Smoltcp(config) => f.debug_tuple("Smoltcp").field(config).finish(),
            Self::Custom(stack) => f.debug_tuple("Custom").field(&stack.capabilities()).finish(),
        }
    }
}

impl FromStr for TcpPlugIn {
    type Err = UnknownTcp;

    fn from_str(text: &str) -> Result<Self, UnknownTcp> {
        match text {
            "native" => Ok(Self::Native(NativeConfig::default())),
            #[cfg(feature = "smoltcp")]
            "smoltcp" => Ok(Self::Smoltcp(SmoltcpConfig::default())),
            _ => Err(UnknownTcp { text: text.to_owned() }),
        }
    }
}

/// A name that no TCP plug-in has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no TCP plug-in '{text}': choose {}", TcpPlugIn::NAMES.join(" or "))]
pub struct UnknownTcp {
    text: String,
}

/// A congestion control that the chosen TCP does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the TCP plug-in '{tcp}' has no congestion control '{algorithm}': {choices}")]
pub struct NoSuchCongestionControl {
    tcp: &'static str,
    algorithm: Algorithm,
    choices: &'static str,
}

/// Explicit congestion notification cannot be switched on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("explicit congestion notification of the TCP plug-in '{tcp}' cannot be switched on")]
pub struct NoEcn {
    tcp: &'static str,
}

#[cfg(test)]
#[cfg(all(feature = "smoltcp", feature = "devices"))]
mod tests {
    use super::*;

    fn mistake(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        config.interfaces.push("tap:t0,10.0.1.1/24".parse().unwrap());
        config.interfaces.push("tap:t1,10.0.2.1/24".parse().unwrap());
        assert!(config.validate().is_ok());
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn mistakes_name_the_key_what_was_found_and_what_is_allowed() {
        assert_eq!(mistake(|c| c.burst = 0), "burst is 0, but must be 1 to 4096");
        assert_eq!(mistake(|c| c.interfaces.clear()), "interfaces is empty, but must be at least one interface");
        assert!(mistake(|c| c.stack.send_buffer = 1).starts_with("send_buffer is 1 bytes"));
        assert_eq!(mistake(|c| c.stack.limits.subflows = 65), "stack.limits.subflows is 65, but must be 0 to 64");
        let sealed = mistake(|c| {
            c.stack.coupling = Coupling::Lia;
            c.tcp = TcpPlugIn::Smoltcp(SmoltcpConfig::default());
        });
        assert!(sealed.starts_with("stack.coupling is lia, but must be uncoupled"), "{sealed}");
        assert_eq!(mistake(|c| c.stream_buffer = 1), "stream_buffer is 1, but must be 1024 to 1073741824");
        assert_eq!(
            mistake(|c| c.interfaces[1].addrs = vec!["10.0.1.1/16".parse().unwrap()]),
            "interfaces[1].addrs is 10.0.1.1, but must be addresses that no other interface has"
        );
        assert_eq!(mistake(|c| c.interfaces[0].mtu = Some(500)), "interfaces[0].mtu is 500, but must be 576 to 65535");
    }

    #[test]
    fn tcp_plug_ins_have_names() {
        for name in TcpPlugIn::NAMES {
            assert!(name.parse::<TcpPlugIn>().is_ok());
        }
        let unknown = "linux".parse::<TcpPlugIn>().unwrap_err().to_string();
        assert_eq!(unknown, "there is no TCP plug-in 'linux': choose native or smoltcp");
        assert!(
            matches!(TcpPlugIn::NAMES[0].parse(), Ok(TcpPlugIn::Native(config)) if config == NativeConfig::default())
        );
        assert!(matches!(TcpPlugIn::default(), TcpPlugIn::Native(_)));
    }

    #[test]
    fn ecn_is_there_where_the_tcp_has_it() {
        assert!(matches!(TcpPlugIn::default().with_ecn(), Ok(TcpPlugIn::Native(config)) if config.ecn));
        let refused = TcpPlugIn::Smoltcp(SmoltcpConfig::default()).with_ecn().unwrap_err().to_string();
        assert_eq!(refused, "explicit congestion notification of the TCP plug-in 'smoltcp' cannot be switched on");
    }

    #[test]
    fn congestion_controls_are_those_that_the_tcp_has() {
        for algorithm in Algorithm::ALL {
            let chosen = TcpPlugIn::default().with_congestion_control(algorithm).unwrap();
            assert!(matches!(chosen, TcpPlugIn::Native(config) if config.congestion == algorithm));
        }
        let smoltcp = |algorithm| TcpPlugIn::Smoltcp(SmoltcpConfig::default()).with_congestion_control(algorithm);
        let reno = smoltcp(Algorithm::Reno).unwrap();
        assert!(matches!(reno, TcpPlugIn::Smoltcp(config) if config.congestion_control == CongestionControl::Reno));
        let refused = "the TCP plug-in 'smoltcp' has no congestion control 'bbr': choose cubic or reno";
        assert_eq!(smoltcp(Algorithm::Bbr).unwrap_err().to_string(), refused);
    }
}
