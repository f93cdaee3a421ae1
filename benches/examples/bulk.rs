//! Moves bytes through two stacks, for a profiler.

use mptcp_benches::{Engine, Pair, Setup, Wire, World};
use mptcp_core::SchedulerKind;
use tcp_adapter::native::NativeStack;
use tcp_adapter::smoltcp::SmoltcpStack;

const USAGE: &str = "usage: bulk {smoltcp|native} {tcp|plain|mptcp|ping|handshake} \
                     {mtu1500|mtu9000|partial1500|partial9000|tso} MEBIBYTES|TIMES [SUBFLOWS]";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("smoltcp") => run::<SmoltcpStack>(&args[1..]),
        Some("native") => run::<NativeStack>(&args[1..]),
        _ => None,
    };
    match done {
        Some(frames) => println!("{frames} frames from the sender"),
        None => eprintln!("{USAGE}"),
    }
}

fn run<T: Engine>(args: &[String]) -> Option<u64> {
    let wires = [Wire::Mtu1500, Wire::Mtu9000, Wire::Partial1500, Wire::Partial9000, Wire::Tso];
    let wire = wires.into_iter().find(|wire| Some(wire.name()) == args.get(1).map(String::as_str))?;
    let count: u32 = args.get(2)?.parse().ok()?;
    let links = args.get(3).map_or(Some(1), |links| links.parse().ok())?;
    let scheduler = if links > 1 { SchedulerKind::RoundRobin } else { SchedulerKind::default() };
    let setup = wire.under::<T>(Setup { mptcp: args[0] != "plain", links, scheduler, ..Setup::default() });
    let bytes = u64::from(count) << 20;
    if args[0] == "tcp" {
        let mut pair = Pair::<T>::connected(&setup);
        pair.transfer(bytes);
        return Some(pair.frames_sent());
    }
    let mut world = World::<T>::connected(&setup);
    match args[0].as_str() {
        "plain" | "mptcp" => world.transfer(bytes),
        "ping" => world.ping_pong(count, 64),
        "handshake" => {
            world.close();
            for _ in 0..count {
                world.connect();
                world.ping_pong(1, 1);
                world.close();
            }
        }
        _ => return None,
    }
    Some(world.frames_sent())
}
