//! DCTCP (RFC 8257) of ours and of a kernel at the two ends of a link that marks: the one sends and the other receives, on each of two links that are
//! alike, at the same time. The kernel is a guest's, since those of distributions often have no DCTCP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use interop::cli::{self, Stack, StackProcess, path_spec};
use interop::figures;
use interop::guest::{Nic, UmlGuest, links};
use interop::lab::{Lab, PORT};
use interop::relay::{LATE, Passage, Relay};
use interop::tcp::Trace;
use interop::topology::{Family, Link, kernel_addr, stack_addr};

/// The path on which we send, and the guest receives.
const OURS: usize = 0;

/// The path on which the guest sends, and we receive.
const THEIRS: usize = 1;

/// Bits per second that pass in a direction.
const RATE: f64 = 20e6;

/// A queue that marks what arrives behind 30 kB, beyond a seventh of what is under way (section 4.1), and that has room for many times what a sender
/// has there that answers to marks.
const LINK: &str = "--rate 20Mbit --delay 5ms --set queue={kind=\"step\",packets=400,mark=\"30kB\"}";

/// Milliseconds of a round trip whose data finds a queue up to the threshold: 10 ms for the way, 12 ms for 30 kB.
const ROUND_TRIP: f64 = 22.0;

/// Bytes of a full segment's payload, with timestamps, and of its frame.
const PAYLOAD: f64 = 1448.0;
const FRAME: f64 = 1514.0;

/// Seconds that each sends: some 200 round trips, in a tenth of which alpha falls from its initial 1.
const SECONDS: u32 = 4;

/// Time between two looks at the senders.
const PAUSE: Duration = Duration::from_millis(250);

/// Time in which a transfer ends, also on a machine that now and then stands still.
const LIMIT: Duration = Duration::from_secs(120);

/// Tries at most, as long as links are late.
const TRIES: u32 = 3;

/// What is demanded of a run.
struct Demands {
    /// Share of the link's rate that each sender fills.
    filled: RangeInclusive<f64>,
    /// What we reach, as a share of what the kernel reaches.
    ratio: RangeInclusive<f64>,
    /// Round-trip times, as shares of [`ROUND_TRIP`]: without a queue they are half of it, without marks they would be several times as long.
    round_trip: RangeInclusive<f64>,
}

const DEMANDS: Demands = Demands { filled: 0.85..=1.01, ratio: 0.85..=1.176, round_trip: 0.7..=1.4 };

/// The same on a machine whose links were late in every try: what comes late comes in bursts, which are marked, and leaves the link idle before.
const DEMANDS_IF_LATE: Demands = Demands { filled: 0.5..=1.01, ratio: 0.5..=2.0, round_trip: 0.4..=3.0 };

/// Share of the packets that are marked. With a window of W segments, here 36, it would be `sqrt(2 / W)` if each window that exceeds the threshold
/// were marked as a whole; it is less, as only a part of it is.
const MARKED: RangeInclusive<f64> = 0.03..=0.4;

/// Bytes that are acknowledged with an echo, as a share of those that were marked: only the last segments of a transfer are shorter than the others.
/// An echo that goes on until the sender has reduced its window (RFC 3168 section 6.1.3) would be at 2 and more.
const ECHOED: RangeInclusive<f64> = 0.99..=1.01;

/// What the kernel takes for the share of marked packets (alpha) in the median, as a share of what it was on the whole.
const ALPHA: RangeInclusive<f64> = 0.4..=2.0;

#[test]
fn dctcp_of_ours_and_of_the_kernel_at_both_ends() {
    let lab = Lab::with_paths("dctcp", Link::Tap, 2).unwrap();
    let guest = guest(&lab);
    let serve = format!("{} perf --kernel tcp --server {PORT}", program(&guest));
    let _server = guest.start(&serve, 4 * LIMIT).unwrap();
    links::wait_for_listener(&guest, PORT).unwrap();
    for attempt in 1..=TRIES {
        let (run, latest) = measure(&lab, &guest);
        println!("{run:#?}, late by {latest:?} at most");
        let is_late = latest > LATE;
        let demands = if is_late && attempt == TRIES { &DEMANDS_IF_LATE } else { &DEMANDS };
        let wrong = complaints(&run, demands);
        if wrong.is_empty() {
            return;
        }
        assert!(is_late && attempt < TRIES, "{wrong:#?}, late by {latest:?}: {run:#?}");
    }
}

/// What became of a transfer.
#[derive(Debug)]
struct Transfer {
    /// Payload that arrived, as a share of what the link can carry.
    filled: f64,
    /// Median of the sender's smoothed round-trip times in milliseconds.
    round_trip: f64,
    /// Packets with data: from the sender to the receiver.
    data: Passage,
    /// Packets without: from the receiver to the sender.
    acks: Passage,
    /// Bytes that were acknowledged with the echo of a mark.
    echoed: u64,
}

/// What became of both.
#[derive(Debug)]
struct Run {
    ours: Transfer,
    theirs: Transfer,
    /// Median of the share of marks that the kernel has learnt.
    alpha: f64,
}

impl Transfer {
    /// Share of the packets that were marked.
    fn marked(&self) -> f64 {
        self.data.marked as f64 / self.data.offered as f64
    }
}

fn complaints(run: &Run, demands: &Demands) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut demand = |what: &str, found: f64, range: &RangeInclusive<f64>| {
        if !range.contains(&found) {
            wrong.push(format!("{what}: {found:.3}, not in {range:?}"));
        }
    };
    for (name, transfer) in [("ours", &run.ours), ("the kernel's", &run.theirs)] {
        let Transfer { filled, round_trip, data, acks, echoed } = transfer;
        demand(&format!("share of the rate, {name}"), *filled, &demands.filled);
        demand(&format!("round trip, {name}"), round_trip / ROUND_TRIP, &demands.round_trip);
        demand(&format!("share of marks, {name}"), transfer.marked(), &MARKED);
        let marked = data.marked as f64 * PAYLOAD;
        demand(&format!("echoes to marks, {name}"), *echoed as f64 / marked, &ECHOED);
        demand(&format!("lost packets, {name}"), (data.dropped + acks.dropped) as f64, &(0.0..=0.0));
    }
    demand("rate, ours to the kernel's", run.ours.filled / run.theirs.filled, &demands.ratio);
    demand("alpha to the share of marks", run.alpha / run.theirs.marked(), &ALPHA);
    wrong
}

/// A guest in the kernel's place on both paths, with DCTCP as its default.
fn guest(lab: &Lab) -> UmlGuest {
    let topology = &lab.topology;
    let mut guest = UmlGuest::builder("dctcp").netns(topology.wire());
    let mut script = "set -e\n".to_owned();
    for path in [OURS, THEIRS] {
        topology.cut(path).unwrap();
        guest = guest.nic(Nic::Tap(topology.use_guest_as_kernel_on(path).unwrap()));
        let (addr, prefix) = (kernel_addr(Family::V4, path), Family::V4.prefix());
        script += &format!("ip addr add {addr}/{prefix} dev vec{path}; ip link set vec{path} up\n");
    }
    // What one connection learns must not be the next one's start.
    script += "cd /proc/sys/net/ipv4; echo dctcp >tcp_congestion_control; echo 1 >tcp_no_metrics_save\n";
    let guest = guest.boot().unwrap();
    guest.exec(&script, LIMIT).unwrap();
    // The guest does not see all of the host's directories.
    std::fs::copy(cli::program().unwrap(), program(&guest)).unwrap();
    guest
}

/// Our program where the guest finds it.
fn program(guest: &UmlGuest) -> String {
    guest.dir().join("mptcp").display().to_string()
}

/// Both transfers at the same time, and by how much a link was late.
fn measure(lab: &Lab, guest: &UmlGuest) -> (Run, Duration) {
    let (topology, dir) = (&lab.topology, lab.dir.path());
    let relay = Relay::start_again(topology, &[LINK; 2], dir).unwrap();
    let start = |words: &str, label: &str, path: usize| {
        let stack = Stack::subcommand(words).with("--no-mptcp --congestion dctcp");
        let stack = stack.with(&format!("--path {}", path_spec(topology, Family::V4, path)));
        stack.file("--pcap", &dir.join(format!("{label}.pcapng"))).spawn(Some(topology.stack()), label, dir).unwrap()
    };
    let server = start(&format!("perf --one-off --server {PORT}"), "server", THEIRS);
    let to_us = stack_addr(Family::V4, THEIRS);
    let send = format!("perf --kernel tcp --congestion dctcp --json --time {SECONDS} --client {to_us}:{PORT}");
    // Our link-layer address may have changed since the last try.
    let job = format!(
        "ip neigh flush all
        {} {send} & client=$!
        while sleep {}; kill -0 $client 2>/dev/null; do ss -HtinO state established; done
        wait $client",
        program(guest),
        PAUSE.as_secs_f64()
    );
    let job = guest.start(&job, LIMIT).unwrap();
    let to_guest = kernel_addr(Family::V4, OURS);
    let mut client = start(&format!("perf --json --time {SECONDS} --client {to_guest}:{PORT}"), "client", OURS);
    let our_round_trip = watch(&mut client);
    let our_figures = client.process.succeed(LIMIT).unwrap().stdout;
    let said = job.succeed().unwrap();
    server.process.succeed(LIMIT).unwrap();
    let report = relay.stop().unwrap();

    let Kernel { figures: their_figures, round_trip: their_round_trip, alpha } = Kernel::of(&said);
    let transfer = |path: usize, figures: &str, round_trip| {
        let filled = figures::megabits(figures, false).unwrap() * 1e6 / (RATE * PAYLOAD / FRAME);
        let [up, down] = report.paths[path];
        let (label, (data, acks)) = if path == OURS { ("client", (up, down)) } else { ("server", (down, up)) };
        let trace = Trace::read(&dir.join(format!("{label}.pcapng")), stack_addr(Family::V4, path)).unwrap();
        assert_eq!(trace.complaints, [""; 0], "{label}");
        assert!(trace.agreed.ecn, "{label}");
        let receiver = if path == OURS { trace.theirs } else { trace.ours };
        Transfer { filled, round_trip, data, acks, echoed: receiver.echoed }
    };
    let ours = transfer(OURS, &our_figures, our_round_trip);
    let theirs = transfer(THEIRS, their_figures, their_round_trip);
    (Run { ours, theirs, alpha }, report.latest)
}

/// Looks at our sender to its end: the median of its round-trip times in milliseconds.
fn watch(client: &mut StackProcess) -> f64 {
    let (start, mut round_trips) = (Instant::now(), Vec::new());
    while client.process.is_running() && start.elapsed() < LIMIT {
        thread::sleep(PAUSE);
        // It may have ended meanwhile.
        let Ok(said) = client.control("ss --json") else { continue };
        let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
        let sender = &shown["connections"][0]["subflows"][0];
        if let Some(micros) = sender["srtt_us"].as_f64() {
            assert_eq!(sender["congestion"], "dctcp", "{said}");
            round_trips.push(micros / 1e3);
        }
    }
    figures::median(round_trips)
}

/// What the guest says.
struct Kernel<'a> {
    /// The line of JSON of its client.
    figures: &'a str,
    /// Median of its sender's smoothed round-trip times in milliseconds.
    round_trip: f64,
    /// Median of the share of marks that its sender has learnt, from 0 to 1.
    alpha: f64,
}

impl<'a> Kernel<'a> {
    /// Reads a line of JSON among those of `ss` for either connection.
    fn of(said: &'a str) -> Self {
        let (figures, shown): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with('{'));
        let figures = *figures.first().unwrap_or_else(|| panic!("no figures: {said}"));
        let connections = |path| {
            let peer = stack_addr(Family::V4, path).to_string();
            let lines: Vec<&str> = shown.iter().copied().filter(|line| line.contains(&peer)).collect();
            // `ss` names what it knows of the control only if that has not fallen back to Reno.
            let are_dctcp = lines.iter().all(|line| line.contains(" dctcp ") && line.contains("alpha:"));
            assert!(!lines.is_empty() && are_dctcp, "{said}");
            lines
        };
        connections(OURS);
        let senders = connections(THEIRS);
        let median = |name: &str| figures::median(senders.iter().map(|line| number(line, name)).collect());
        Self { figures, round_trip: median(" rtt:"), alpha: median("alpha:") / 1024.0 }
    }
}

/// The number after a name in a line of `ss`.
fn number(line: &str, name: &str) -> f64 {
    let text = line.split(name).nth(1).and_then(|rest| rest.split([',', '/', ' ', ')']).next());
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name:?} in {line}"))
}
