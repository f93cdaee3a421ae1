//! The TCPs beneath the stacks.

use tcp_adapter::TcpStack;
use tcp_adapter::congestion::Algorithm;
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::smoltcp::{SmoltcpConfig, SmoltcpStack};

/// Which TCP a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tcp {
    Native,
    Smoltcp,
}

/// What the TCPs of a world are given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpSettings {
    /// Connections at most on each host.
    pub(crate) max_connections: usize,
    /// Congestion control of the native engine.
    pub(crate) congestion: Algorithm,
}

impl Default for TcpSettings {
    fn default() -> Self {
        Self { max_connections: 1024, congestion: Algorithm::default() }
    }
}

/// Bytes that a connection holds until they are acknowledged.
const SEND_BUFFER: usize = 128 << 10;

/// Bytes accepted and not yet sent, beyond which a connection has no room.
const NOTSENT_LOWAT: usize = 64 << 10;

impl Tcp {
    pub(crate) fn build(self, settings: TcpSettings, recv_buffer: usize, seed: u64) -> Box<dyn TcpStack> {
        let TcpSettings { max_connections, congestion } = settings;
        match self {
            Self::Native => {
                let config = NativeConfig {
                    send_buffer: SEND_BUFFER,
                    recv_buffer,
                    notsent_lowat: NOTSENT_LOWAT,
                    max_connections,
                    congestion,
                    ..NativeConfig::default()
                };
                Box::new(NativeStack::new(config, seed))
            }
            Self::Smoltcp => {
                let config = SmoltcpConfig {
                    send_buffer: SEND_BUFFER,
                    recv_buffer,
                    notsent_lowat: NOTSENT_LOWAT,
                    max_connections,
                    ..SmoltcpConfig::default()
                };
                Box::new(SmoltcpStack::new(config, seed))
            }
        }
    }
}
