//! Measures NVMe/TCP over the kernel's TCP, this project's TCP and its MPTCP side by side, as `side_by_side` does.
//!
//! Each figure is what one core reaches that does everything: host, target, and what carries bytes between them.

use mptcp_benches::{Backing, Carrier, Job, Kernel, LOADS, Load, Setup, Side, TURNS, Wire, World, medians};
use tcp_adapter::native::NativeStack;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!("{:<48}{:>10}{:>30}{:>30}{:>30}", "", "kernel", "tcp : kernel", "mptcp-1 : tcp", "mptcp-3 : tcp");
    for wire in [Wire::Tso, Wire::Mtu1500] {
        for backing in [Backing::Null, Backing::Memory] {
            for digests in [false, true] {
                for load in LOADS {
                    let load = Load { backing, digests, ..load };
                    let digests = if digests { "digests" } else { "plain" };
                    let name = format!("{}/{}/{digests}/{}", wire.name(), backing.name(), load.name());
                    if name.starts_with(&filter) {
                        compare(&name, wire, load);
                    }
                }
            }
        }
    }
}

fn compare(name: &str, wire: Wire, load: Load) {
    let stack = |links, mptcp| {
        World::<NativeStack>::connected(&wire.under::<NativeStack>(Setup { links, mptcp, ..Setup::default() }))
    };
    let mut sides = [
        side(load, Kernel::connected()),
        side(load, stack(1, false)),
        side(load, stack(1, true)),
        side(load, stack(3, true)),
    ];
    let rates = medians(TURNS, &mut sides);
    print!("{name:<36}");
    for (index, rate) in rates.iter().enumerate() {
        // Of one command at a time, what it takes is of interest.
        let (shown, unit) = if load.depth == 1 { (1e3 / rate, "µs") } else { (*rate, sides[index].unit) };
        print!("{shown:>12.2} {unit:<6}");
        // Latencies and rates alike: above 1 is better.
        match index {
            0 => {}
            1 => print!("{:>7.3}", rate / rates[0]),
            _ => print!("{:>7.3}", rate / rates[1]),
        }
    }
    println!();
}

fn side<C: Carrier + 'static>(load: Load, carrier: C) -> Side {
    let mut job = Job::new(carrier, load);
    let commands = load.commands();
    // Windows grow to what they will be.
    job.run(8 * commands);
    let (amount, unit) = match load.block {
        0..65_536 => (commands as f64 / 1e3, "k/s"),
        block => (commands as f64 * f64::from(block) / f64::from(1 << 30), "GiB/s"),
    };
    Side::new(String::new(), amount, unit, move || job.run(commands))
}
