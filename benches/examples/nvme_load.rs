//! Runs NVMe/TCP commands in one thread, for a profiler.

use mptcp_benches::{Backing, Carrier, Job, Kernel, LOADS, Load, Setup, Wire, World};
use tcp_adapter::native::NativeStack;

const USAGE: &str = "usage: nvme_load {kernel|tcp|mptcp} {null|memory} {plain|digests} \
                     {read4k-1|read4k-32|read4k-128|read128k-32|write128k-32} COMMANDS [SUBFLOWS]";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if run(&args).is_none() {
        eprintln!("{USAGE}");
    }
}

fn run(args: &[String]) -> Option<()> {
    let [over, backing, digests, load, commands, rest @ ..] = args else { return None };
    let backing = [Backing::Null, Backing::Memory].into_iter().find(|known| known.name() == backing)?;
    let load = LOADS.into_iter().find(|known| known.name() == *load)?;
    let load = Load { backing, digests: digests == "digests", ..load };
    let commands = commands.parse().ok()?;
    let links = rest.first().map_or(Some(1), |links| links.parse().ok())?;
    let stack = |mptcp| {
        let setup = Setup { links, mptcp, ..Setup::default() };
        World::<NativeStack>::connected(&Wire::Tso.under::<NativeStack>(setup))
    };
    match over.as_str() {
        "kernel" => execute(Kernel::connected(), load, commands),
        "tcp" => execute(stack(false), load, commands),
        "mptcp" => execute(stack(true), load, commands),
        _ => return None,
    }
    Some(())
}

fn execute<C: Carrier>(carrier: C, load: Load, commands: u64) {
    Job::new(carrier, load).run(commands);
}
