//! Simulates bulk flows over one bottleneck, for a profiler: `simulate {tcp|mptcp} LINKS FLOWS MILLISECONDS`.

use std::time::Instant;

use mptcp_benches::bottleneck;
use mptcp_sim::run::run_for_figures;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u32>().ok());
    let (Some(links), Some(flows), Some(millis)) = (number(1), number(2), number(3)) else {
        return eprintln!("usage: simulate {{tcp|mptcp}} LINKS FLOWS MILLISECONDS");
    };
    let scenario = bottleneck(&args[0], links, flows.into(), millis.into());
    let start = Instant::now();
    match run_for_figures(&scenario, 1) {
        Ok(outcome) => {
            let (effort, seconds) = (outcome.effort, start.elapsed().as_secs_f64());
            let rate = effort.packets as f64 / seconds;
            println!("{} packets, {} events, {rate:.0} packets/s", effort.packets, effort.events);
        }
        Err(error) => eprintln!("{error}"),
    }
}
