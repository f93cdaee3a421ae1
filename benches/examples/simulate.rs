//! Simulates bulk flows over one bottleneck, for a profiler: `simulate {tcp|mptcp} LINKS FLOWS MILLISECONDS [native|smoltcp]`.

use std::process::ExitCode;

use mptcp_benches::bottleneck;
use mptcp_sim::run::run_for_figures;
use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u32>().ok());
    let stack = args.get(4).map_or("native", String::as_str);
    let (Some(links), Some(flows), Some(millis), "native" | "smoltcp") = (number(1), number(2), number(3), stack)
    else {
        eprintln!("usage: simulate {{tcp|mptcp}} LINKS FLOWS MILLISECONDS [native|smoltcp]");
        return ExitCode::from(2);
    };
    let scenario = bottleneck(stack, &args[0], links, flows.into(), millis.into());
    let start = processor_time();
    match run_for_figures(&scenario, 1) {
        Ok(outcome) => {
            let (effort, seconds) = (outcome.effort, processor_time() - start);
            let rate = effort.packets as f64 / seconds;
            println!(
                "{} packets, {} events, {rate:.0} packets per second of processor time",
                effort.packets, effort.events
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Seconds that this process has used, the kernel's part included: what else the machine does takes none of them.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
