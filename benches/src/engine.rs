//! The TCP stacks that are measured, with the same settings.

use std::time::Duration;

use tcp_adapter::TcpStack;
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::smoltcp::{SmoltcpConfig, SmoltcpStack};

/// Settings that all stacks have.
#[derive(Clone, Copy, Debug)]
pub struct TcpSetup {
    /// Bytes that a connection holds until they are acknowledged.
    pub send_buffer: usize,
    /// Largest receive window, in bytes.
    pub recv_buffer: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// Segments leave at a pace, where the stack can do that.
    pub pacing: bool,
}

impl Default for TcpSetup {
    fn default() -> Self {
        Self {
            send_buffer: 1 << 20,
            recv_buffer: 4 << 20,
            max_connections: 16,
            time_wait: Duration::from_secs(10),
            pacing: true,
        }
    }
}

/// A TCP stack that can be measured.
pub trait Engine: TcpStack + Sized + 'static {
    /// Name in the groups of benchmarks.
    const NAME: &'static str;
    /// Whether it sends super-segments where the device cuts them.
    const SEGMENTATION: bool;

    /// One for host number `host`.
    fn build(setup: &TcpSetup, host: u8) -> Self;
}

impl Engine for SmoltcpStack {
    const NAME: &'static str = "smoltcp";
    const SEGMENTATION: bool = false;

    fn build(setup: &TcpSetup, host: u8) -> Self {
        let config = SmoltcpConfig {
            send_buffer: setup.send_buffer,
            recv_buffer: setup.recv_buffer,
            max_connections: setup.max_connections,
            time_wait: setup.time_wait,
            ..SmoltcpConfig::default()
        };
        Self::new(config, host.into())
    }
}

impl Engine for NativeStack {
    const NAME: &'static str = "native";
    const SEGMENTATION: bool = true;

    fn build(setup: &TcpSetup, host: u8) -> Self {
        let config = NativeConfig {
            send_buffer: setup.send_buffer,
            recv_buffer: setup.recv_buffer,
            max_connections: setup.max_connections,
            time_wait: setup.time_wait,
            pacing: setup.pacing,
            ..NativeConfig::default()
        };
        Self::new(config, host.into())
    }
}
