//! Moves bytes through two stacks, for a profiler: `bulk {plain|mptcp} MTU MEBIBYTES [SUBFLOWS]`.

use mptcp_benches::{Setup, World};
use mptcp_core::SchedulerKind;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u16>().ok());
    let (Some(mtu), Some(mebibytes)) = (number(1), number(2)) else {
        return eprintln!("usage: bulk {{plain|mptcp}} MTU MEBIBYTES [SUBFLOWS]");
    };
    let links = number(3).and_then(|links| links.try_into().ok()).unwrap_or(1);
    let scheduler = if links > 1 { SchedulerKind::RoundRobin } else { SchedulerKind::default() };
    let setup = Setup { mptcp: args[0] == "mptcp", mtu: mtu.into(), links, scheduler, ..Setup::default() };
    let mut world = World::connected(&setup);
    world.transfer(u64::from(mebibytes) << 20);
    println!("{} frames from the sender", world.frames_sent());
}
