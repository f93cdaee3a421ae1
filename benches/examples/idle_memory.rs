//! What an established connection costs in memory while nothing happens: `idle_memory [CONNECTIONS] [SUBFLOWS]`.
//!
//! Both ends are in this process, each with stacks of its own, so the figure is that of a connection's end. Every connection has
//! carried data in both directions.

use std::time::Duration;

use mptcp_benches::{Setup, World};
use tcp_adapter::native::NativeStack;

fn main() {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let (Ok(connections), Ok(links)) = (args.next().unwrap_or(Ok(100_000)), args.next().unwrap_or(Ok(2))) else {
        return eprintln!("usage: idle_memory [CONNECTIONS] [SUBFLOWS]");
    };
    let setup = |idle| Setup { idle, links: u8::try_from(links).unwrap_or(u8::MAX), ..Setup::default() };
    let empty = World::<NativeStack>::connected(&setup(1));
    let before = resident();
    let mut world = World::<NativeStack>::connected(&setup(connections));
    world.pass(Duration::from_secs(10));
    let after = resident();
    let ends = 2 * connections as u64;
    println!(
        "{connections} connections with {links} subflows: {} KiB resident, {} bytes for each end of a connection",
        after / 1024,
        (after - before) / ends
    );
    world.transfer(1 << 20);
    drop(empty);
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
