//! Measures what is compared side by side, in turns of a few milliseconds, and prints the ratios of the medians.
//!
//! What else runs on the machine then hits both sides alike. Time is that of the thread, not of the clock on the wall.

use std::time::Duration;

use mptcp_benches::{Engine, Pair, Setup, Side, TURNS, TcpSetup, Wire, World, medians};
use mptcp_core::SchedulerKind;
use tcp_adapter::native::NativeStack;
use tcp_adapter::smoltcp::SmoltcpStack;

/// Bytes of a turn of bulk.
const BULK: u64 = 8 << 20;
fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    for (name, comparison) in comparisons() {
        if name.starts_with(&filter) {
            compare(&name, comparison());
        }
    }
}

type Comparison = Box<dyn FnOnce() -> Vec<Side>>;

fn comparisons() -> Vec<(String, Comparison)> {
    let mut all: Vec<(String, Comparison)> = Vec::new();
    for wire in [Wire::Mtu1500, Wire::Mtu9000, Wire::Partial1500, Wire::Partial9000, Wire::Tso] {
        let name = wire.name();
        all.push((format!("tcp/{name}"), Box::new(move || vec![tcp::<SmoltcpStack>(wire), tcp::<NativeStack>(wire)])));
        for mptcp in [false, true] {
            let name = format!("{}/{name}", if mptcp { "mptcp" } else { "plain" });
            let setup = Setup { mptcp, ..Setup::default() };
            let both = move || vec![bulk::<SmoltcpStack>(wire, &setup), bulk::<NativeStack>(wire, &setup)];
            all.push((name, Box::new(both)));
        }
        let sides = move || {
            let plain = Setup { mptcp: false, ..Setup::default() };
            let over = |links| Setup { links, scheduler: SchedulerKind::RoundRobin, ..Setup::default() };
            let mut sides = vec![bulk::<NativeStack>(wire, &plain)];
            sides.extend([1, 3].map(|links| bulk::<NativeStack>(wire, &over(links))));
            sides
        };
        all.push((format!("subflows/{name}"), Box::new(sides)));
    }
    for mptcp in [false, true] {
        let name = format!("coalesce/{}", if mptcp { "mptcp" } else { "plain" });
        let sides = move || {
            let setup = |coalesce| Setup { mptcp, coalesce, ..Setup::default() };
            [false, true].map(|coalesce| bulk::<NativeStack>(Wire::Mtu1500, &setup(coalesce))).into()
        };
        all.push((name, Box::new(sides)));
    }
    all.push(("idle".into(), Box::new(idle)));
    all.push(("latency/tcp".into(), Box::new(|| vec![tcp_ping::<SmoltcpStack>(), tcp_ping::<NativeStack>()])));
    for mptcp in [false, true] {
        let name = if mptcp { "mptcp" } else { "plain" };
        let ping = move || vec![ping::<SmoltcpStack>(mptcp), ping::<NativeStack>(mptcp)];
        all.push((format!("latency/{name}"), Box::new(ping)));
        let handshake = move || vec![handshake::<SmoltcpStack>(mptcp), handshake::<NativeStack>(mptcp)];
        all.push((format!("handshake/{name}"), Box::new(handshake)));
    }
    let native = || vec![handshake::<NativeStack>(false), handshake::<NativeStack>(true)];
    all.push(("handshake/native".into(), Box::new(native)));
    all
}

fn compare(name: &str, mut sides: Vec<Side>) {
    let rates = medians(TURNS, &mut sides);
    println!("{name}");
    for (side, rate) in sides.iter().zip(&rates) {
        println!("    {:<32} {rate:>12.1} {:<8} {:.3}", side.name, side.unit, rate / rates[0]);
    }
}

fn gigabits(bytes: u64) -> f64 {
    bytes as f64 * 8e-9
}

fn tcp<T: Engine>(wire: Wire) -> Side {
    let mut pair = Pair::<T>::connected(&wire.under::<T>(Setup::default()));
    pair.transfer(64 << 20);
    Side::new(T::NAME.into(), gigabits(BULK), "Gbit/s", move || pair.transfer(BULK))
}

fn bulk<T: Engine>(wire: Wire, setup: &Setup) -> Side {
    let mut world = World::<T>::connected(&wire.under::<T>(setup.clone()));
    world.transfer(64 << 20);
    let protocol = if setup.mptcp { format!("mptcp, {} subflows", setup.links) } else { "plain".into() };
    let idle = if setup.idle > 0 { format!(", {} idle", setup.idle) } else { String::new() };
    let coalesced = if setup.coalesce { ", coalesced" } else { "" };
    Side::new(format!("{} {protocol}{idle}{coalesced}", T::NAME), gigabits(BULK), "Gbit/s", move || {
        world.transfer(BULK)
    })
}

fn idle() -> Vec<Side> {
    let beside = |idle, mptcp| Setup { idle, mptcp, ..Setup::default() };
    vec![
        bulk::<NativeStack>(Wire::Partial1500, &beside(0, true)),
        bulk::<NativeStack>(Wire::Partial1500, &beside(10_000, true)),
        bulk::<SmoltcpStack>(Wire::Partial1500, &beside(0, true)),
        bulk::<SmoltcpStack>(Wire::Partial1500, &beside(500, true)),
    ]
}

/// Round trips in a turn.
const ROUND_TRIPS: u32 = 2_000;

fn tcp_ping<T: Engine>() -> Side {
    let mut pair = Pair::<T>::connected(&Setup::default());
    pair.ping_pong(ROUND_TRIPS, 64);
    Side::new(T::NAME.into(), f64::from(ROUND_TRIPS) / 1e3, "k/s", move || pair.ping_pong(ROUND_TRIPS, 64))
}

fn ping<T: Engine>(mptcp: bool) -> Side {
    let mut world = World::<T>::connected(&Setup { mptcp, ..Setup::default() });
    world.ping_pong(ROUND_TRIPS, 64);
    Side::new(T::NAME.into(), f64::from(ROUND_TRIPS) / 1e3, "k/s", move || world.ping_pong(ROUND_TRIPS, 64))
}

fn handshake<T: Engine>(mptcp: bool) -> Side {
    const TIMES: u32 = 300;
    let tcp = TcpSetup {
        send_buffer: 64 << 10,
        recv_buffer: 64 << 10,
        time_wait: Duration::from_millis(10),
        ..TcpSetup::default()
    };
    let mut world = World::<T>::new(&Setup { mptcp, tcp, ..Setup::default() });
    let name = format!("{} {}", T::NAME, if mptcp { "mptcp" } else { "plain" });
    Side::new(name, f64::from(TIMES) / 1e3, "k/s", move || {
        for _ in 0..TIMES {
            world.connect();
            world.ping_pong(1, 1);
            world.close();
        }
    })
}
