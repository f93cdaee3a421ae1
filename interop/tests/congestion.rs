//! Our congestion controls beside the kernel's: senders of the same kind, each over a link of its own that is like the other's and loses the
//! same packets, at the same time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use interop::cli::{self, path_spec};
use interop::figures;
use interop::lab::{Lab, PORT};
use interop::process::{Process, wait_until};
use interop::relay::{LATE, Relay};
use interop::topology::{Family, Link, kernel_addr};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Pairs of senders in each condition.
const PAIRS: usize = 3;

/// Seconds that each sends: some 25 losses at the least rate.
const SECONDS: u32 = 8;

/// What we reach must be this share of what the kernel reaches, in the median of the pairs. Below the region of the cubic curve RFC 9438 is a
/// little faster than the kernel, which follows Reno with less than a segment per round trip also beyond the window of the last loss (section 4.3).
const BAND: RangeInclusive<f64> = 0.75..=1.333;

/// The same on a machine whose links were late in every try: what comes late comes in bursts, which a shallow queue drops, and senders that pace lose
/// fewer of than those that do not.
const BAND_IF_LATE: RangeInclusive<f64> = 0.5..=2.0;

/// What a sender has in its buffer when its time is over takes less than this, also on a machine that now and then stands still.
const LIMIT: Duration = Duration::from_secs(240);

/// Random losses, which cannot be told from congestion: what matters is the answer to a loss. A round trip takes longer than 1/32 s, the time for
/// which the kernel's CUBIC does not think again.
const LOSSY: &str = "--rate 30Mbit --delay 20ms";

/// Congestion controls, and how many packets there are to a loss. Our BBR slows down when more than 2 % of a round are lost, and in a round of a
/// hundred packets chance makes 3 % of 1 %; the kernel's, version 1, does not look at losses.
const CONTROLS: [(&str, u32); 3] = [("cubic", 100), ("reno", 100), ("bbr", 400)];

/// A queue of a third of what is under way: what matters is how much of the window a loss takes, and how it grows back.
const SHALLOW: &str = "--rate 12Mbit --delay 20ms --set up.queue={bytes=\"20kB\"}";

/// Tries at most.
const TRIES: u32 = 4;

/// One test, so that the senders of one kind have the machine for themselves.
#[test]
fn each_congestion_control_is_like_the_kernels() {
    let lab = lab();
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (control, per_loss) in CONTROLS {
        for attempt in 1..=TRIES {
            let Measured { pairs, latest } = measure(&lab, control, per_loss);
            let band = if attempt == TRIES && latest > LATE { BAND_IF_LATE } else { BAND };
            let mut beyond = Vec::new();
            for (condition, pairs) in ["losses", "a shallow queue"].into_iter().zip(pairs.chunks(PAIRS)) {
                let ratio = figures::median(pairs.iter().map(|[ours, theirs]| ours / theirs).collect());
                let row =
                    format!("{control:5}  {condition:15}  ours, the kernel's in Mbit/s {pairs:.1?}, ratio {ratio:.2}");
                writeln!(table, "{row}, late by {latest:?} at most").unwrap();
                if !band.contains(&ratio) {
                    beyond.push(row);
                }
            }
            if beyond.is_empty() || latest <= LATE || attempt == TRIES {
                wrong.extend(beyond);
                break;
            }
        }
    }
    println!("{table}");
    assert_eq!(wrong, [""; 0], "a ratio beyond {BAND:?} ({BAND_IF_LATE:?} on late links); all are\n{table}");
}

/// What a run has given.
struct Measured {
    /// Megabits (10^6) per second that arrived from our sender and from the kernel's, of each pair: first those with losses, then those with a
    /// shallow queue.
    pairs: Vec<[f64; 2]>,
    /// The longest time by which a link was late.
    latest: Duration,
}

/// Two paths for each pair: even ones are ours, odd ones the kernel's.
fn lab() -> Lab {
    let lab = Lab::with_paths("congestion", Link::Veth, 4 * PAIRS).unwrap();
    let topology = &lab.topology;
    for path in 0..topology.paths() {
        topology.cut(path).unwrap();
        if path % 2 == 1 {
            topology.use_kernel_as_stack_on(path).unwrap();
        }
    }
    for netns in [topology.kernel(), topology.stack()] {
        // What one connection learns must not be the next one's start.
        netns.sysctl("net.ipv4.tcp_no_metrics_save", "1").unwrap();
    }
    lab
}

/// Runs all pairs.
fn measure(lab: &Lab, control: &str, per_loss: u32) -> Measured {
    let (topology, dir) = (&lab.topology, lab.dir.path());
    let conditions: Vec<String> = (0..topology.paths()).map(|path| condition(lab, path / 2, per_loss)).collect();
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    let relay = Relay::start_again(topology, &conditions, dir).unwrap();
    let serve = format!("perf --kernel tcp --server {PORT}");
    let _server = cli::start(topology.kernel(), &serve, "server", dir).unwrap();
    let listens = || Ok(topology.kernel().run("ss -Hltn")?.contains(&format!(":{PORT}")));
    wait_until("the server to listen", LIMIT, listens).unwrap();

    let clients: Vec<Process> = (0..topology.paths())
        .map(|path| {
            let sockets = match path % 2 {
                0 => format!("--no-mptcp --path {}", path_spec(topology, Family::V4, path)),
                _ => "--kernel tcp".to_owned(),
            };
            let addr = kernel_addr(Family::V4, path);
            let words = format!("perf --json --time {SECONDS} --client {addr}:{PORT} --congestion {control} {sockets}");
            cli::start(topology.stack(), &words, &format!("client{path}"), dir).unwrap()
        })
        .collect();
    wait_until("the kernel's senders to be of this kind", LIMIT, || {
        let senders = topology.stack().run("ss -Htin")?;
        Ok(senders.split_whitespace().filter(|word| *word == control).count() == 2 * PAIRS)
    })
    .unwrap();
    let rates: Vec<f64> = clients
        .into_iter()
        .map(|client| figures::megabits(&client.succeed(LIMIT).unwrap().stdout, false).unwrap())
        .collect();
    let pairs = rates.chunks(2).map(|pair| [pair[0], pair[1]]).collect();
    Measured { pairs, latest: relay.stop().unwrap().latest }
}

/// Options of the links of a pair.
fn condition(lab: &Lab, pair: usize, per_loss: u32) -> String {
    if pair >= PAIRS {
        return SHALLOW.to_owned();
    }
    let file = lab.dir.file(&format!("losses{pair}"));
    let mut random = SmallRng::seed_from_u64(pair as u64);
    let losses: String = (0..100_000).map(|_| if random.random_ratio(1, per_loss) { '1' } else { '0' }).collect();
    std::fs::write(&file, losses).unwrap();
    format!("{LOSSY} --set up.loss={{model=\"trace\",file=\"{}\"}}", file.display())
}
