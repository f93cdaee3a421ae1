//! The simulator beside smoltcp on a modelled link with nothing around it: packets, data and acknowledgements, per second of processor time,
//! in alternation, as medians.

use mptcp_benches::{Side, bare_smoltcp, bottleneck, medians};
use mptcp_sim::run::run_for_figures;

/// Turns of each side: they take as long as many of the other comparisons.
const TURNS: usize = 7;

/// So many bulk flows, and virtual milliseconds of a turn. smoltcp looks at every socket for every packet, so ten thousand flows
/// are not for it.
const CASES: [(u16, u32, bool); 4] = [(1, 2_000, true), (100, 500, true), (1_000, 100, true), (10_000, 1_000, false)];

fn main() {
    println!("{:>6} {:>12} {:>24} {:>24}", "flows", "smoltcp bare", "simulator over smoltcp", "simulator over native");
    for (flows, millis, with_smoltcp) in CASES {
        let mut sides = vec![simulated("native", flows, millis)];
        if with_smoltcp {
            sides.push(simulated("smoltcp", flows, millis));
            let packets = bare_smoltcp(flows, millis.into());
            let turn = move || assert_eq!(bare_smoltcp(flows, millis.into()), packets);
            sides.push(Side::new("bare".into(), packets as f64, "packets/s", turn));
        }
        let rates = medians(TURNS, &mut sides);
        let bare = rates.get(2).copied();
        let with_ratio = |rate: f64| match bare {
            Some(bare) => format!("{rate:.0} ({:.2})", rate / bare),
            None => format!("{rate:.0}"),
        };
        let over_smoltcp = rates.get(1).map_or_else(|| "-".to_owned(), |rate| with_ratio(*rate));
        let bare = bare.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
        println!("{flows:>6} {bare:>12} {over_smoltcp:>24} {:>24}", with_ratio(rates[0]));
    }
}

fn simulated(stack: &'static str, flows: u16, millis: u32) -> Side {
    let scenario = bottleneck(stack, "tcp", 1, flows.into(), millis.into());
    let packets = move || run_for_figures(&scenario, 1).expect("every packet is accounted for").effort.packets;
    let amount = packets();
    Side::new(stack.into(), amount as f64, "packets/s", move || assert_eq!(packets(), amount))
}
