//! `mptcp sim relay` between two kernels: what `ping` and a transfer measure is what the link was told to be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::cli;
use interop::figures;
use interop::lab::{Lab, PORT};
use interop::relay::{LATE, Relay, RelayReport};
use interop::topology::{Family, Link, kernel_addr};

const LIMIT: Duration = Duration::from_secs(60);

/// Tries at most, as long as links are late.
const TRIES: u32 = 3;

/// Share of a full frame of plain TCP, timestamps included, that is payload.
const PAYLOAD: f64 = 1448.0 / 1514.0;

/// Two kernels, with a relay on as many paths as there are conditions.
fn lab(conditions: &[&str]) -> (Lab, Relay) {
    let lab = Lab::with_paths("relay", Link::Veth, conditions.len()).unwrap();
    lab.topology.use_kernel_as_stack().unwrap();
    let relay = Relay::start(&lab.topology, conditions, lab.dir.path()).unwrap();
    (lab, relay)
}

/// Packets that were answered, and the least round-trip time in milliseconds, infinite if none was.
fn ping(lab: &Lab, path: usize, options: &str) -> (u64, f64) {
    interop::tools::require(&["ping"]).unwrap();
    let addr = kernel_addr(Family::V4, path);
    // It fails if nothing is answered, and tells by its code if anything is not.
    let mut command = lab.topology.stack().command("ping");
    command.args(["-q", "-n"]).args(options.split_whitespace()).arg(addr.to_string());
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let answered = said.split(" received").next().and_then(|text| text.rsplit(' ').next()).unwrap();
    let least = said.split("mdev = ").nth(1).and_then(|text| text.split('/').next());
    (answered.parse().unwrap(), least.map_or(f64::INFINITY, |least| least.parse().unwrap()))
}

/// Payload that a second of plain TCP with CUBIC, which fills queues as not every machine's own choice does, carries on the first path, in
/// megabits (10^6) per second, over `seconds`.
fn transfer(lab: &Lab, direction: &str, seconds: u32) -> f64 {
    let addr = kernel_addr(Family::V4, 0);
    let dir = lab.dir.path();
    let serve = format!("perf --kernel tcp --congestion cubic --one-off --json --server {PORT}");
    let _server = cli::start(lab.topology.kernel(), &serve, "server", dir).unwrap();
    interop::process::wait_until("the server to listen", LIMIT, || {
        Ok(lab.topology.kernel().run("ss -Hltn")?.contains(&format!(":{PORT}")))
    })
    .unwrap();
    let measure =
        format!("perf --kernel tcp --congestion cubic --json --time {seconds} {direction} --client {addr}:{PORT}");
    let client = cli::start(lab.topology.stack(), &measure, "client", dir).unwrap();
    figures::megabits(&client.succeed(LIMIT).unwrap().stdout, !direction.is_empty()).unwrap()
}

fn assert_sound(report: &RelayReport) {
    for way in report.paths.iter().flatten() {
        assert!(way.delivered + way.dropped <= way.offered + way.duplicated, "{report:?}");
    }
}

#[test]
fn every_link_and_direction_has_its_own_delay() {
    let conditions = ["--delay 20ms,10ms", "--delay 4ms", "--profile simult-3mbit-25ms"];
    let (lab, relay) = lab(&conditions);
    // The last one's 50 ms, and 98 bytes at 3 Mbit/s each way.
    for (path, expected) in [30.0, 8.0, 50.5].into_iter().enumerate() {
        let (answered, least) = ping(&lab, path, "-c 10 -i 0.05");
        assert_eq!(answered, 10, "path {path}");
        assert!((expected..expected + 2.0).contains(&least), "path {path}: {least} ms, not {expected}");
    }
    let report = relay.stop().unwrap();
    assert_eq!(report.paths.len(), conditions.len());
    assert_sound(&report);
}

#[test]
fn each_direction_has_its_own_rate() {
    for attempt in 1..=TRIES {
        let (lab, relay) = lab(&["--rate 30Mbit,60Mbit --delay 2ms"]);
        let shares =
            [("", 30.0), ("--reverse", 60.0)].map(|(direction, rate)| transfer(&lab, direction, 3) / (rate * PAYLOAD));
        let report = relay.stop().unwrap();
        assert_sound(&report);
        let expected = if attempt == TRIES && report.latest > LATE { 0.5..1.05 } else { 0.9..1.01 };
        if shares.iter().all(|share| expected.contains(share)) {
            return;
        }
        assert!(report.latest > LATE && attempt < TRIES, "shares of the rate {shares:?}, late by {:?}", report.latest);
    }
}

#[test]
fn a_link_loses_its_share_of_the_packets_of_its_direction() {
    let (lab, relay) = lab(&["--loss 10%,0%"]);
    let (answered, _) = ping(&lab, 0, "-c 2000 -i 0.001 -W 1");
    let [up, down] = relay.stop().unwrap().paths[0];
    // Five deviations of 2000 draws, and a few questions for link-layer addresses.
    assert!((130..=275).contains(&up.dropped) && up.offered >= 2000, "{up:?}");
    assert_eq!((down.dropped, up.duplicated), (0, 0), "{down:?}");
    assert!(answered + up.dropped >= 2000 && answered <= 2000 - 130, "{answered} answered, {up:?}");
}

#[test]
fn what_waits_for_a_link_is_late_by_the_length_of_its_queue() {
    for attempt in 1..=TRIES {
        let (lab, relay) = lab(&["--rate 8Mbit,100Mbit --set up.queue={bytes=\"50kB\"}"]);
        // 50 kB at a megabyte per second.
        let full = std::thread::scope(|scope| {
            let transfer = scope.spawn(|| transfer(&lab, "", 10));
            let is_full = || Ok((40.0..1000.0).contains(&ping(&lab, 0, "-c 1 -W 1").1));
            // As long as the transfer lasts.
            let full = interop::process::wait_until("the queue to be full", Duration::from_secs(7), is_full);
            let least = full.map(|()| ping(&lab, 0, "-c 100 -i 0.01 -W 1").1);
            transfer.join().unwrap();
            least
        });
        let report = relay.stop().unwrap();
        let [up, _] = report.paths[0];
        match full {
            Ok(full) => {
                // 50 ms and the time of a packet: the shortest wait beside a full queue is not longer. Nothing is asked of how short it may be, as a sender
                // that stands still for a moment lets it run empty.
                assert!(full < 60.0, "{full} ms");
                assert!(up.dropped > 0, "{up:?}");
                return;
            }
            Err(error) => assert!(report.latest > LATE && attempt < TRIES, "{error}, late by {:?}", report.latest),
        }
    }
}
