//! The TCP of a host.

use tcp_adapter::TcpStack;
use tcp_adapter::congestion::Algorithm;
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::smoltcp::{CongestionControl, SmoltcpConfig, SmoltcpStack};

use super::bytes;
use crate::scenario::{self, Congestion, Scenario, StackChoice, Transport};

/// The TCP that a host runs.
pub(super) fn stack(scenario: &Scenario, host: &scenario::Host, seed: u64) -> Box<dyn TcpStack> {
    match host.stack {
        StackChoice::Native => Box::new(NativeStack::new(native(scenario, host), seed)),
        StackChoice::Smoltcp => Box::new(SmoltcpStack::new(smoltcp(scenario, host), seed)),
    }
}

fn native(scenario: &Scenario, host: &scenario::Host) -> NativeConfig {
    NativeConfig {
        send_buffer: bytes(host.send_buffer),
        recv_buffer: bytes(host.recv_buffer),
        // A scenario chooses buffers, and the machine that simulates it must have the memory.
        memory_limit: usize::MAX / 2,
        max_connections: most_connections(scenario, host),
        congestion: match host.congestion {
            Congestion::Reno => Algorithm::Reno,
            Congestion::Dctcp => Algorithm::Dctcp,
            Congestion::Bbr => Algorithm::Bbr,
            // No file asks this stack for none.
            Congestion::Cubic | Congestion::None => Algorithm::Cubic,
        },
        ecn: host.ecn,
        ..NativeConfig::default()
    }
}

fn smoltcp(scenario: &Scenario, host: &scenario::Host) -> SmoltcpConfig {
    let multipath = traffic_of(scenario, host).any(|traffic| traffic.transport == Transport::Mptcp);
    let default = SmoltcpConfig::default();
    SmoltcpConfig {
        send_buffer: bytes(host.send_buffer),
        recv_buffer: bytes(host.recv_buffer),
        max_connections: most_connections(scenario, host),
        // Plain TCP uses no options that would make segments smaller.
        option_reserve: if multipath { default.option_reserve } else { 0 },
        congestion_control: match host.congestion {
            Congestion::Reno => CongestionControl::Reno,
            Congestion::None => CongestionControl::None,
            // No file asks this stack for what it does not have.
            Congestion::Cubic | Congestion::Dctcp | Congestion::Bbr => CongestionControl::Cubic,
        },
        ..default
    }
}

/// Twice as many as there can be at a time: what is closed stays for a while.
fn most_connections(scenario: &Scenario, host: &scenario::Host) -> usize {
    let connections: u64 = traffic_of(scenario, host).map(|traffic| scenario.connections_of(traffic)).sum();
    let links = scenario.links_of(&host.name).count() as u64;
    usize::try_from(2 * connections * links.max(1) + 64).unwrap_or(usize::MAX)
}

fn traffic_of<'a>(
    scenario: &'a Scenario,
    host: &'a scenario::Host,
) -> impl Iterator<Item = &'a scenario::Traffic> + 'a {
    scenario.traffic.iter().filter(|traffic| [&traffic.from, &traffic.to].contains(&&host.name))
}
