use super::*;
use crate::results::{Folder, Report};
use crate::scenario::{Amount, Metric, Shipped, Size};

fn scenario(text: &str) -> Scenario {
    Scenario::parse(text, "test.toml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn value(outcome: &Outcome, metric: Metric, of: &str) -> f64 {
    amount_value(outcome.measures.get(metric, of).unwrap_or_else(|| panic!("no {metric}")))
}

#[test]
fn a_transfer_over_two_paths_arrives() {
    let scenario = Shipped::find("two-paths").unwrap().scenario().unwrap();
    let outcome = run(&scenario, 1).unwrap();
    assert_eq!(outcome.measures.get(Metric::Delivered, "bulk-0"), Some(Amount::Size(Size(20 << 20))));
    assert!(outcome.record.links.iter().all(crate::results::LinkRecord::is_balanced));
}

/// TCP over smoltcp has no options on its data: 1460 of 1514 bytes are payload.
#[test]
fn a_lossless_gigabit_link_is_filled_up_to_its_headers() {
    let scenario = scenario(
        r#"
        [hosts.client]
        congestion = "none"
        send_buffer = "8MiB"
        recv_buffer = "1MiB"
        [hosts.server]
        congestion = "none"
        recv_buffer = "1MiB"
        [links.p1]
        rate = "1Gbit"
        delay = "1ms"
        queue = { packets = 5000 }
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        [run]
        time = "2s"
        warmup = "1s"
        "#,
    );
    let outcome = run(&scenario, 1).unwrap();
    let goodput = value(&outcome, Metric::Goodput, "bulk");
    let expected = 1e9 * 1460.0 / 1514.0;
    assert!((goodput / expected - 1.0).abs() < 0.005, "{goodput} instead of {expected}");
}

/// The window is what travels: all that exceeds the link's own share of it waits in the queue.
#[test]
fn a_full_window_waits_in_the_queue_for_as_long_as_computed() {
    let scenario = scenario(
        r#"
        [hosts.client]
        congestion = "none"
        send_buffer = "4MiB"
        recv_buffer = "256KiB"
        [hosts.server]
        congestion = "none"
        recv_buffer = "256KiB"
        [links.p1]
        rate = "50Mbit"
        delay = "10ms"
        queue = { bytes = "4MiB" }
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        [run]
        time = "3s"
        "#,
    );
    let outcome = run(&scenario, 1).unwrap();
    // Segments of 1460 bytes, each 1514 on the wire, fill the window: a round trip takes as long as sending all of
    // them, and those that are not on their way for 20 ms wait, but for the one that is being sent.
    let last = outcome.record.connections[0].subflows[0].samples.last().unwrap();
    assert!((last.in_flight as f64 / 262_144.0 - 1.0).abs() < 0.03, "{}", last.in_flight);
    let (segments, segment) = (last.in_flight as f64 / 1460.0, 1514.0 * 8.0 / 50e6);
    let rtt = last.srtt.unwrap().as_secs_f64();
    assert!((rtt / (segments * segment) - 1.0).abs() < 0.02, "{rtt} s of {segments} segments");
    let waiting = outcome.record.links[0].samples.last().unwrap().queue_packets as f64;
    assert!((waiting - (segments - 1.0 - 0.020 / segment)).abs() < 2.0, "{waiting} packets of {segments}");
}

/// A queue that is full delays by what it holds.
#[test]
fn a_full_drop_tail_queue_delays_by_what_it_holds() {
    let scenario = scenario(
        r#"
        [hosts.client]
        congestion = "none"
        send_buffer = "16MiB"
        [hosts.server]
        [links.p1]
        rate = "20Mbit"
        delay = "5ms"
        queue = { packets = 100 }
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        [run]
        time = "1s"
        "#,
    );
    let outcome = run(&scenario, 1).unwrap();
    // A packet that finds 99 before it waits for them, and for what is being sent of the one at their head.
    let per_packet = 1514.0 * 8.0 / 20e6;
    let found = value(&outcome, Metric::QueueDelay, "bulk");
    assert!(((99.0 * per_packet)..=(100.0 * per_packet)).contains(&found), "{found} s");
    assert!(value(&outcome, Metric::Drops, "bulk") > 0.0);
}

#[test]
fn two_runs_of_one_seed_are_byte_identical() {
    let scenario = scenario(
        r#"
        [links.p1]
        rate = "20Mbit"
        delay = "5ms"
        jitter = "2ms"
        loss = "1%"
        [links.p2]
        rate = "10Mbit"
        delay = "20ms"
        duplicate = "1%"
        [[traffic]]
        name = "both"
        direction = "both"
        bytes = "500KiB"
        [[traffic]]
        name = "requests"
        kind = "request"
        count = 20
        think = "3ms"
        connections = 3
        "#,
    );
    let root = std::env::temp_dir().join(format!("mptcp-sim-run-{}", std::process::id()));
    let files = ["a", "b"].map(|name| {
        let folder = Folder::create(root.join(name)).unwrap();
        let meta = meta(&scenario, 7);
        let log = folder.event_log(&meta).unwrap();
        let observer = Observer::with_series().with_log(log.boxed());
        let observer = observer
            .with_captures::<io::Error>(&scenario, |name| {
                Ok(Box::new(folder.capture(&meta, name).map_err(|error| error.source)?))
            })
            .unwrap();
        let outcome = run_observed(&scenario, meta, observer).unwrap();
        let runs = vec![outcome.record];
        let report = Report { title: "test".into(), description: String::new(), runs, published: Vec::new() };
        folder.write_report(&report).unwrap();
        let mut files = Vec::new();
        collect(folder.path(), &mut files);
        files.sort();
        files
    });
    std::fs::remove_dir_all(&root).unwrap();
    let names: Vec<&str> = files[0].iter().map(|(name, _)| name.as_str()).collect();
    for name in ["report.html", "events.qlog.jsonl", "client-p1.pcapng", "server-p2.pcapng", "subflows.csv"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for (left, right) in files[0].iter().zip(&files[1]) {
        assert!(left == right, "{} differs from {}", left.0, right.0);
    }
    let other = run(&scenario, 8).unwrap();
    let again = run(&scenario, 7).unwrap();
    assert_ne!(other.measures, again.measures);
}

fn collect(folder: &std::path::Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn datagrams_keep_their_pace_and_count_what_arrives() {
    let scenario = scenario(
        r#"
        [routers.core]
        [links.a]
        to = "core"
        [links.b]
        from = "core"
        rate = "10Mbit"
        delay = "5ms"
        loss = { model = "periodic", every = 10 }
        [[traffic]]
        name = "udp"
        kind = "paced"
        transport = "udp"
        size = "1000B"
        rate = "8Mbit"
        [run]
        time = "10s"
        "#,
    );
    let outcome = run(&scenario, 1).unwrap();
    let goodput = value(&outcome, Metric::Goodput, "udp");
    assert!((goodput / 7.2e6 - 1.0).abs() < 0.005, "{goodput}");
    // Of 10001 packets, the one at the very end included.
    assert_eq!(value(&outcome, Metric::Drops, "udp"), 1001.0);
    // 1042 bytes at 10 Mbit/s after 5 ms.
    let latency = value(&outcome, Metric::LatencyP99, "udp");
    assert!((latency - 0.005_833_6).abs() < 1e-5, "{latency}");
}

#[test]
fn bonds_use_all_their_links() {
    let goodput = |transport: &str, connections: u64| {
        let text = format!(
            r#"
            [hosts.client]
            recv_buffer = "256KiB"
            [hosts.server]
            recv_buffer = "256KiB"
            [links.p1]
            rate = "10Mbit"
            delay = "2ms"
            [links.p2]
            like = "p1"
            [[traffic]]
            name = "bulk"
            transport = "{transport}"
            connections = {connections}
            [run]
            time = "20s"
            warmup = "5s"
            "#
        );
        value(&run(&scenario(&text), 1).unwrap(), Metric::Goodput, "bulk")
    };
    assert!(goodput("tcp", 8) < 10e6);
    assert!(goodput("tcp-balanced", 8) > 18e6);
    assert!(goodput("bond-hash", 8) > 18e6);
    assert!(goodput("bond-hash", 1) < 10e6);
    assert!(goodput("bond-rr", 1) > 15e6, "{}", goodput("bond-rr", 1));
}

#[test]
fn a_slow_processor_is_the_bottleneck() {
    let text = r#"
        [hosts.client]
        cpu = { per_packet = "20us", per_byte = "10ns" }
        recv_buffer = "256KiB"
        [hosts.server]
        recv_buffer = "256KiB"
        [links.p1]
        rate = "1Gbit"
        delay = "1ms"
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        [run]
        time = "4s"
        warmup = "1s"
        "#;
    let one = value(&run(&scenario(text), 1).unwrap(), Metric::Goodput, "bulk");
    // A segment takes 20 us and 15.14 us, and an acknowledgement for every second or each one 20.6 us.
    let (least, most) = (1460.0 * 8.0 / (35.14e-6 + 20.6e-6), 1460.0 * 8.0 / (35.14e-6 + 10.2e-6));
    assert!((least * 0.98..most * 1.02).contains(&one), "{one} is not from {least} to {most}");
    let offloaded = text.replace("[hosts.server]", "nic = { tso = true }\n[hosts.server]");
    let offloaded = value(&run(&scenario(&offloaded), 1).unwrap(), Metric::Goodput, "bulk");
    assert!(offloaded > one * 1.1, "{offloaded} is not more than {one}");
}

#[test]
fn the_processor_and_the_interface_have_limits() {
    let text = r#"
        [hosts.client]
        nic = { rate = "100Mbit", ring = 64 }
        congestion = "none"
        [hosts.server]
        [links.p1]
        rate = "1Gbit"
        delay = "1ms"
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        bytes = "2MiB"
        "#;
    let outcome = run(&scenario(text), 1).unwrap();
    let goodput = value(&outcome, Metric::Goodput, "bulk");
    assert!(goodput < 100e6, "{goodput}");
    assert_eq!(value(&outcome, Metric::Drops, "bulk"), 0.0, "the link drops nothing, the interface does");
    assert!(value(&outcome, Metric::Retransmissions, "bulk") > 0.0);
}

#[test]
fn all_other_work_is_done() {
    let text = |traffic: &str| {
        format!(
            "[links.p1]\nrate = \"10Mbit\"\ndelay = \"5ms\"\n[links.p2]\nlike = \"p1\"\n[[traffic]]\nname = \"t\"\n{traffic}"
        )
    };
    let requests = run(&scenario(&text("kind = \"request\"\ncount = 50\ndepth = 4\nresponse = \"10KiB\"")), 1).unwrap();
    assert_eq!(requests.record.latencies[0].count(), 50);
    assert!(value(&requests, Metric::LatencyP50, "t") > 0.010);
    let messages = "kind = \"message\"\nsize = \"5KiB\"\ninterval = \"40ms\"\ndeadline = \"30ms\"\ncount = 25";
    let messages = run(&scenario(&text(messages)), 1).unwrap();
    assert_eq!(value(&messages, Metric::DeadlineMet, "t"), 0.96, "all but the first, which waits for the handshake");
    let paced = "kind = \"paced\"\nrate = \"1Mbit\"\ndirection = \"both\"\ntime = \"2s\"";
    let paced = run(&scenario(&text(paced)), 1).unwrap();
    let goodput = value(&paced, Metric::Goodput, "t");
    assert!((goodput / 2e6 - 1.0).abs() < 0.02, "{goodput}");
}

#[test]
fn a_link_that_goes_down_is_left_at_once() {
    let text = |action: &str| {
        format!(
            r#"
            [hosts.client]
            recv_buffer = "128KiB"
            [hosts.server]
            recv_buffer = "128KiB"
            [links.p1]
            rate = "10Mbit"
            delay = "10ms"
            queue = {{ bytes = "1MiB" }}
            events = [{{ at = "1s", action = "{action}", for = "3s" }}]
            [links.p2]
            rate = "10Mbit"
            delay = "15ms"
            queue = {{ bytes = "1MiB" }}
            [[traffic]]
            name = "bulk"
            bytes = "8MiB"
            "#
        )
    };
    let down = run(&scenario(&text("down")), 1).unwrap();
    let stall = value(&down, Metric::LongestStall, "bulk");
    assert!(stall < 0.5, "{stall}");
    assert!(down.record.marks.iter().any(|mark| mark.text == "p1 up: down"), "{:?}", down.record.marks);
    let again = down.record.connections[0].subflows.iter().filter(|subflow| subflow.path == "p1").count();
    assert_eq!(again, 2, "the link is used again when it is up");
    // Nobody is told of a black hole: only the missing acknowledgements tell.
    let hole = run(&scenario(&text("blackhole")), 1).unwrap();
    assert!(value(&hole, Metric::LongestStall, "bulk") > stall);
}
