//! The kernel's own table of aggregation, `simult_flows.sh`, on the wire: our stack beside a kernel, each with a kernel at the other end, over links
//! that are alike, at the same time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use interop::cli::{self, path_spec};
use interop::endpoints;
use interop::figures;
use interop::lab::{Lab, PORT};
use interop::process::wait_until;
use interop::relay::{LATE, Relay};
use interop::topology::{Family, Link, Topology, kernel_addr};

/// Megabits (10^6) per second of two links, and milliseconds that each delays packets either way.
const CASES: [[(u32, u32); 2]; 5] =
    [[(10, 0), (10, 0)], [(10, 1), (10, 25)], [(10, 0), (3, 0)], [(10, 1), (3, 25)], [(10, 25), (3, 1)]];

/// Rounds, of which the median counts.
const ROUNDS: usize = 3;

/// Seconds of a transfer.
const SECONDS: u32 = 6;

/// What we reach as the sender must be this share of what the kernel reaches. Both are close to all that the links carry, and where a
/// transfer of this length is cut off makes some difference.
const SENDER_SHARE: f64 = 0.98;

/// The same for what a kernel sends us. It is the kernel's scheduler that decides there, and what that reaches differs by a quarter from one
/// round to the next, whoever receives.
const RECEIVER_SHARE: f64 = 0.9;

/// Tries at most.
const TRIES: u32 = 3;

/// Share of what is demanded that must be reached where links were late in every try.
const SHARE_IF_LATE: f64 = 0.75;

/// What our sender must use of both links in any case.
const USE: f64 = 0.94;

/// What the links carry of payload at most: 1428 bytes in 1514.
const PAYLOAD: f64 = 1428.0 / 1514.0;

/// The kernel's congestion control: that of ours, whatever the machine's default is.
const CONGESTION: &str = "--congestion cubic";

const LIMIT: Duration = Duration::from_secs(60);

/// Who is at the end that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Kernel,
}

#[test]
fn we_aggregate_at_least_what_kernels_do() {
    // One place for all of them: ten megabits are little work.
    let lab = Lab::with_paths("simult", Link::Veth, 1).unwrap();
    for attempt in 1..=TRIES {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| measure_all(&lab)).collect();
        let latest = rounds.iter().map(|round| round.latest).max().unwrap();
        let share = if attempt == TRIES && latest > LATE { SHARE_IF_LATE } else { 1.0 };
        let (table, wrong) = judge(&rounds, share);
        println!("{table}late by {latest:?} at most\n");
        if wrong.is_empty() {
            return;
        }
        assert!(latest > LATE && attempt < TRIES, "too little:\n{}\nall are\n{table}", wrong.join("\n"));
    }
}

/// A row for each case, and those in which we do not reach this share of what is demanded.
fn judge(rounds: &[Round], share: f64) -> (String, Vec<String>) {
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (number, case) in CASES.iter().enumerate() {
        let both = PAYLOAD * f64::from(case[0].0 + case[1].0);
        for (way, name) in ["we send", "a kernel sends"].into_iter().enumerate() {
            let of = |who: usize| figures::median(rounds.iter().map(|round| round.rates[number][who][way]).collect());
            let (ours, kernels) = (of(0), of(1));
            let row =
                format!("{case:?}, {name}: with us {ours:.2}, between kernels {kernels:.2}, possible {both:.2} Mbit/s");
            writeln!(table, "{row}").unwrap();
            let least = match way {
                0 => (SENDER_SHARE * kernels).max(USE * both),
                _ => RECEIVER_SHARE * kernels,
            };
            if ours < least * share {
                wrong.push(row);
            }
        }
    }
    (table, wrong)
}

/// What a round has given.
struct Round {
    /// Of each case: what we reach up and down, and what kernels do.
    rates: Vec<[[f64; 2]; 2]>,
    /// The longest time by which a link was late.
    latest: Duration,
}

/// Runs all cases at the same time.
fn measure_all(lab: &Lab) -> Round {
    thread::scope(|scope| {
        let measure = |case: usize, who: Who| {
            move || {
                let topology = Topology::new(&format!("simult{case}{who:?}"), Link::Veth, 2).unwrap();
                let dir = lab.dir.file(&format!("{case}{who:?}"));
                std::fs::create_dir_all(&dir).unwrap();
                ["", "--reverse"].map(|direction| transfer(&topology, case, who, direction, &dir))
            }
        };
        let runs: Vec<_> =
            (0..CASES.len()).map(|case| [Who::Ours, Who::Kernel].map(|who| scope.spawn(measure(case, who)))).collect();
        let mut round = Round { rates: Vec::new(), latest: Duration::ZERO };
        for run in runs {
            let both = run.map(|run| run.join().unwrap());
            round.latest = both.iter().flatten().map(|(_, latest)| *latest).fold(round.latest, Duration::max);
            round.rates.push(both.map(|ways| ways.map(|(rate, _)| rate)));
        }
        round
    })
}

/// Megabits per second that a transfer brings over two links with a relay on each, and by how much these were late at most.
fn transfer(topology: &Topology, case: usize, who: Who, direction: &str, dir: &std::path::Path) -> (f64, Duration) {
    let conditions = CASES[case].map(|(rate, delay)| {
        format!("--rate {rate}Mbit --delay {delay}ms --set queue={{packets=50,count_in_flight=true}}")
    });
    let conditions = [conditions[0].as_str(), conditions[1].as_str()];
    let relay = match direction {
        "" => Relay::start(topology, &conditions, dir).unwrap(),
        _ => Relay::start_again(topology, &conditions, dir).unwrap(),
    };
    if direction.is_empty() {
        set_up(topology, who);
    }
    let serve = format!("perf --kernel mptcp {CONGESTION} --one-off --json --server {PORT}");
    let server = cli::start(topology.kernel(), &serve, "server", dir).unwrap();
    wait_until("the server to listen", LIMIT, || Ok(topology.kernel().run("ss -Hltn")?.contains(&format!(":{PORT}"))))
        .unwrap();
    let sockets = match who {
        Who::Kernel => format!("--kernel mptcp {CONGESTION}"),
        Who::Ours => {
            let paths = (0..2).map(|path| format!("--path {}", path_spec(topology, Family::V4, path)));
            paths.collect::<Vec<_>>().join(" ")
        }
    };
    let addr = kernel_addr(Family::V4, 0);
    let words = format!("perf --json --time {SECONDS} {direction} --client {addr}:{PORT} {sockets}");
    let client = cli::start(topology.stack(), &words, "client", dir).unwrap();
    let said = client.succeed(LIMIT).unwrap().stdout;
    server.succeed(LIMIT).unwrap();
    let latest = relay.stop().unwrap().latest;
    (figures::megabits(&said, !direction.is_empty()).unwrap(), latest)
}

/// Lets both ends have a subflow on the second link, whose address the server announces.
fn set_up(topology: &Topology, who: Who) {
    let mut kernels = vec![topology.kernel()];
    if who == Who::Kernel {
        topology.use_kernel_as_stack().unwrap();
        kernels.push(topology.stack());
    }
    for netns in kernels {
        endpoints::set_limits(netns, 1, 1).unwrap();
        netns.sysctl("net.ipv4.tcp_no_metrics_save", "1").unwrap();
    }
    endpoints::add(topology.kernel(), kernel_addr(Family::V4, 1), &topology.kernel_interface(1), "signal").unwrap();
}
