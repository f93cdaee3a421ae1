mod golden;

use super::*;
use crate::results::{Folder, LatencySample, Report};
use crate::scenario::{Amount, Metric, Shipped, Size};

pub(super) fn scenario(text: &str) -> Scenario {
    Scenario::parse(text, "test.toml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(super) fn value(outcome: &Outcome, metric: Metric, of: &str) -> f64 {
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
        stack = "smoltcp"
        congestion = "none"
        send_buffer = "8MiB"
        recv_buffer = "1MiB"
        [hosts.server]
        stack = "smoltcp"
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
        stack = "smoltcp"
        congestion = "none"
        send_buffer = "4MiB"
        recv_buffer = "256KiB"
        [hosts.server]
        stack = "smoltcp"
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
        stack = "smoltcp"
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
        [[traffic]]
        name = "disk"
        kind = "nvme"
        read = "50%"
        count = 50
        connections = 2
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
        let unseen = run(&scenario, 7).unwrap();
        assert_eq!(
            outcome.measures, unseen.measures,
            "a look at packets, which makes their checksums, changes something"
        );
        let runs = vec![outcome.record];
        let (title, planned) = ("test".into(), runs.len());
        let report = Report { title, description: String::new(), runs, published: Vec::new(), planned };
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

/// A datagram every 10 ms takes 833.6 us to be sent, and the delay, which is another one from 1 s on.
#[test]
fn latencies_over_time_are_those_of_each_interval() {
    let scenario = scenario(
        r#"
        [links.p1]
        rate = "10Mbit"
        delay = "5ms"
        events = [{ at = "1s", action = "set", delay = "20ms" }]
        [links.p2]
        rate = "10Mbit"
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        paths = ["p2"]
        bytes = "100kB"
        [[traffic]]
        name = "udp"
        kind = "paced"
        transport = "udp"
        paths = ["p1"]
        size = "1000B"
        rate = "800kbit"
        [run]
        time = "2s"
        warmup = "500ms"
        [report]
        interval = "100ms"
        "#,
    );
    let record = run(&scenario, 1).unwrap().record;
    let [series] = &record.latency_series[..] else { panic!("{:?}", record.latency_series) };
    assert_eq!((series.name.as_str(), series.samples.first), ("udp", 0));
    let ended: Vec<u64> = series.samples.values.iter().map(|sample| sample.ended).collect();
    assert_eq!(ended, [&[0_u64][..], &[10; 10], &[8], &[10; 9]].concat());
    let (before, after) = (Duration::from_nanos(5_833_600), Duration::from_nanos(20_833_600));
    assert_eq!(series.samples.values[0], LatencySample::default());
    for (index, sample) in series.samples.iter().skip(1) {
        let latency = Some(if index <= 10 { before } else { after });
        assert_eq!([sample.p50, sample.p99, sample.max], [latency; 3], "{index}");
    }
    // The summary leaves out the warm-up, and is the same without series.
    assert_eq!((record.latencies[0].count(), record.latencies[0].max()), (148, after));
    let figures = run_for_figures(&scenario, 1).unwrap().record;
    assert!(figures.latency_series.is_empty());
    assert_eq!(figures.latencies, record.latencies);
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

/// Hosts count their listening ports each for itself.
#[test]
fn a_bond_takes_no_packets_of_other_connections() {
    let outcome = run(
        &scenario(
            r#"
            [links.p1]
            rate = "10Mbit"
            delay = "2ms"
            [links.p2]
            like = "p1"
            [[traffic]]
            name = "other"
            transport = "tcp"
            paths = ["p1"]
            bytes = "1MB"
            [[traffic]]
            name = "bonded"
            transport = "bond-rr"
            from = "server"
            to = "client"
            bytes = "10kB"
            "#,
        ),
        1,
    )
    .unwrap();
    let link = outcome.record.links.iter().find(|link| link.name == "p2 up").unwrap();
    let packets = link.samples.last().unwrap().offered;
    // Acknowledgements of a part of the 10 kB.
    assert!((1..20).contains(&packets), "{packets}");
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
        stack = "smoltcp"
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
    assert!(value(&outcome, Metric::Retransmissions, "bulk") > 0.0);
    // The link drops nothing, the interface does: 64 packets of 121 us wait.
    assert!(outcome.record.links.iter().all(|link| link.drops.is_empty()));
    let drops = value(&outcome, Metric::Drops, "bulk");
    assert!(drops > 0.0 && outcome.record.counters["nic.client.p1 drops"] as f64 == drops, "{drops}");
    let waited = value(&outcome, Metric::QueueDelay, "bulk");
    assert!((0.007..0.008).contains(&waited), "{waited}");
}

/// Whoever answers a connection from behind a translator that stands between routers answers the address of the translator.
#[test]
fn a_translator_may_stand_between_routers() {
    for (transport, direction) in [("tcp", "up"), ("mptcp", "up"), ("mptcp", "down")] {
        let text = format!(
            r#"
            [routers.left]
            [routers.right]
            [links.a]
            to = "left"
            rate = "20Mbit"
            [links.b]
            to = "left"
            rate = "20Mbit"
            [links.middle]
            from = "left"
            to = "right"
            rate = "30Mbit"
            delay = "5ms"
            [links.c]
            from = "right"
            [middlebox.nat]
            link = "middle"
            kind = "nat"
            [[traffic]]
            name = "bulk"
            transport = "{transport}"
            direction = "{direction}"
            bytes = "2MB"
            [run]
            time = "20s"
            "#
        );
        let outcome = run(&scenario(&text), 1).unwrap();
        assert_eq!(outcome.unfinished, [], "{transport} {direction}");
        assert_eq!(value(&outcome, Metric::Delivered, "bulk"), 2e6);
        assert!(!outcome.record.counters.contains_key("packets without a route"));
    }
}

/// A link in the middle takes less than those of the hosts, who are told of it, or have to find out.
fn narrow_middle(router: &str, addresses: &str) -> Outcome {
    let links = ["a", "middle", "b"].map(|link| match addresses {
        "" => String::new(),
        prefix => format!(r#"addresses = ["{prefix}{link}::1/64", "{prefix}{link}::2/64"]"#),
    });
    let [a, middle, b] = links.map(|addresses| addresses.replace("middle", "c"));
    let text = format!(
        r#"
        [routers.left]
        {router}
        [routers.right]
        [links.a]
        to = "left"
        {a}
        [links.middle]
        from = "left"
        to = "right"
        rate = "20Mbit"
        delay = "5ms"
        mtu = 1300
        {middle}
        [links.b]
        from = "right"
        {b}
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        bytes = "1MB"
        [run]
        time = "60s"
        "#
    );
    run(&scenario(&text), 1).unwrap()
}

#[test]
fn senders_are_told_the_mtu_of_a_link_behind_a_router() {
    for addresses in ["", "fd00:"] {
        let outcome = narrow_middle("", addresses);
        assert_eq!(outcome.unfinished, [], "{addresses}");
        let completion = value(&outcome, Metric::Completion, "bulk");
        assert!(completion < 0.6, "{addresses}: {completion}");
        // An initial window at most, before anybody knew.
        let drops = value(&outcome, Metric::Drops, "bulk");
        assert!((1.0..=10.0).contains(&drops), "{addresses}: {drops}");
        let silent = narrow_middle("too_big = \"silent\"", addresses);
        assert_eq!(silent.unfinished, [], "{addresses}");
        let slower = value(&silent, Metric::Completion, "bulk");
        assert!(slower > completion + 0.2, "{addresses}: {slower} after {completion}");
    }
}

#[test]
fn datagrams_fit_every_link_of_their_way() {
    let text = r#"
        [routers.left]
        [routers.right]
        [links.a]
        to = "left"
        [links.middle]
        from = "left"
        to = "right"
        mtu = 1000
        [links.b]
        from = "right"
        [[traffic]]
        name = "udp"
        kind = "paced"
        transport = "udp"
        size = "1400B"
        rate = "1Mbit"
        [run]
        time = "1s"
        "#;
    let outcome = run(&scenario(text), 1).unwrap();
    assert_eq!(value(&outcome, Metric::Drops, "udp"), 0.0);
    assert!(value(&outcome, Metric::Goodput, "udp") > 0.9e6);
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
    assert_eq!(value(&messages, Metric::DeadlineMet, "t"), 1.0, "the first too, which waits for the handshake");
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
    let over_first = down.record.connections[0].subflows.iter().filter(|subflow| subflow.path == "p1");
    let clock = &down.record.clock;
    let index = (0..clock.len()).find(|index| clock.time(*index) >= Instant::from_millis(4_000)).unwrap();
    let after = over_first.map(|subflow| {
        let delivered = |sample: Option<&crate::results::SubflowSample>| sample.map_or(0, |sample| sample.delivered);
        delivered(subflow.samples.last()) - delivered(subflow.samples.latest(index))
    });
    assert!(after.sum::<u64>() > 100_000, "the link is used again when it is up");
    // Nobody is told of a black hole: only the missing acknowledgements tell.
    let hole = run(&scenario(&text("blackhole")), 1).unwrap();
    assert!(value(&hole, Metric::LongestStall, "bulk") > stall);
}

/// A sink that is read while the log still has it.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_event_log_follows_the_data() {
    let scenario = scenario(
        r#"
        [links.p1]
        rate = "10Mbit"
        delay = "10ms"
        events = [{ at = "300ms", action = "blackhole" }]
        [links.p2]
        rate = "5Mbit"
        delay = "20ms"
        [[traffic]]
        name = "bulk"
        bytes = "1MiB"
        "#,
    );
    let sink = Shared::default();
    let header = crate::results::EventLogHeader { scenario: "s", variant: "v", seed: 1, version: "1" };
    let log = crate::results::EventLog::new(sink.clone(), header).unwrap();
    let outcome = run_observed(&scenario, meta(&scenario, 1), Observer::none().with_log(log.boxed())).unwrap();
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let events: Vec<serde_json::Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| {
        let data = events.iter().filter(|event| event["name"] == name).map(|event| &event["data"]);
        data.filter(|data| data["host"] == "client").cloned().collect::<Vec<_>>()
    };
    let number = |data: &serde_json::Value, key: &str| data[key].as_u64().unwrap();
    let lengths = |data: &[serde_json::Value]| data.iter().map(|data| number(data, "length")).sum::<u64>();
    let [choices, mapped, again] = ["mptcp:scheduler_choice", "mptcp:dss_mapped", "mptcp:reinjected"].map(of);
    let reinjected: u64 =
        outcome.record.connections[0].subflows.iter().map(|one| one.samples.last().unwrap().reinjected).sum();
    assert!(reinjected > 0, "the black hole holds something");
    assert_eq!(lengths(&again), reinjected);
    assert_eq!(lengths(&choices), (1 << 20) + reinjected, "every byte was given to a subflow once, or again");
    assert!(again.iter().any(|data| data["from"] == "0" && data["to"] == "1"), "{again:?}");
    let first = choices.iter().map(|data| number(data, "dsn")).min().unwrap();
    let mut left = 0;
    for choice in &choices {
        let same = |data: &&serde_json::Value| ["dsn", "subflow", "length"].iter().all(|key| data[key] == choice[key]);
        left += mapped.iter().find(same).map_or(0, |data| number(data, "length"));
    }
    // What waits behind the black hole never leaves.
    assert!((1 << 20..=lengths(&choices)).contains(&left), "{left} bytes were mapped");
    let acks: Vec<u64> = of("mptcp:data_ack").iter().map(|data| number(data, "data_ack")).collect();
    assert!(acks.is_sorted() && acks.last() == Some(&(first + (1 << 20))), "{acks:?} from {first}");
}

#[test]
fn what_waits_out_of_order_is_seen() {
    let text = |loss: &str| {
        format!(
            "[links.p1]\nrate = \"20Mbit\"\ndelay = \"10ms\"\nloss = \"{loss}\"\n[[traffic]]\nname = \"t\"\n\
             bytes = \"4MiB\"\n[report]\ninterval = \"5ms\"\n"
        )
    };
    let most = |loss: &str| {
        let outcome = run(&scenario(&text(loss)), 1).unwrap();
        let subflow = &outcome.record.connections[0].subflows[0];
        subflow.samples.values.iter().map(|sample| sample.out_of_order).max().unwrap()
    };
    assert_eq!(most("0%"), 0);
    // At least what follows a lost segment within a round trip, in part.
    assert!(most("1%") > 10_000, "{}", most("1%"));
}

#[test]
fn the_capacity_of_a_link_follows_its_steps() {
    let scenario = scenario(
        r#"
        [links.p1]
        rate.steps = [
          { for = "1s", rate = "4Mbit" },
          { for = "500ms", rate = "0bit" },
          { for = "500ms", rate = "16Mbit" },
        ]
        delay = "5ms"
        events = [{ at = "3s", action = "down" }]
        [links.p2]
        delay = "5ms"
        [[traffic]]
        name = "t"
        kind = "paced"
        rate = "1Mbit"
        [run]
        time = "4s"
        [report]
        interval = "500ms"
        "#,
    );
    let outcome = run(&scenario, 1).unwrap();
    let rates = |link: usize| -> Vec<Option<u64>> {
        let link = &outcome.record.links[link];
        (1..=8).map(|index| Some(link.capacity(&outcome.record.clock, index)? / 1_000_000)).collect()
    };
    assert_eq!(rates(0), [4, 4, 0, 16, 4, 4, 0, 0].map(Some));
    assert!(rates(2).iter().all(Option::is_none));
}

/// A transfer over two links of which the first goes for a while, and the paths of its subflows, with what each has delivered: when the
/// link comes back, and in the end.
fn with_outage(first: &str) -> (Outcome, Vec<(String, [u64; 2])>) {
    let scenario = scenario(&format!(
        "[links.p1]\nrate = \"20Mbit\"\ndelay = \"10ms\"\n{first}\n[links.p2]\nlike = \"p1\"\nevents = []\n\
         [[traffic]]\nname = \"t\"\nbytes = \"20MiB\"\n[run]\ntime = \"30s\"\n[report]\ninterval = \"50ms\"\n"
    ));
    let outcome = run(&scenario, 1).unwrap();
    let subflows = &outcome.record.connections[0].subflows;
    let delivered = |subflow: &crate::results::SubflowRecord| {
        let samples = &subflow.samples;
        [samples.latest(1_800 / 50), samples.last()].map(|sample| sample.map_or(0, |sample| sample.delivered))
    };
    let paths = subflows.iter().map(|subflow| (subflow.path.clone(), delivered(subflow))).collect();
    (outcome, paths)
}

#[test]
fn path_managers_are_told_of_links_that_go_and_come_back() {
    let event = |action: &str| format!(r#"events = [{{ at = "1s", for = "800ms", action = "{action}" }}]"#);
    let stall = |outcome: &Outcome| value(outcome, Metric::LongestStall, "t");
    let (told, paths) = with_outage(&event("down"));
    // The same subflows go on.
    assert!(
        matches!(&paths[..], [(first, _), (second, _)] if first.starts_with("p1") && second.starts_with("p2")),
        "{paths:?}"
    );
    let [then, end] = paths[0].1;
    assert!(end > then + (1 << 20), "it is in use again: {paths:?}");
    let (untold, _) = with_outage(&event("blackhole"));
    assert!(stall(&told) < stall(&untold), "{} {}", stall(&told), stall(&untold));
    // After all that waits on that one.
    assert!(stall(&told) < 0.1, "what the link held is sent over the other at once: {}", stall(&told));
    // With their addresses, subflows are gone, and others are made.
    let (lost, paths) = with_outage(&format!("carrier_loss = \"address\"\n{}", event("down")));
    assert!(
        matches!(&paths[..], [(first, _), (second, _), (third, _)]
        if first.starts_with("p1") && second.starts_with("p2") && third.starts_with("p1")),
        "{paths:?}"
    );
    assert!(paths[2].1[1] > 1 << 20, "the new one is in use: {paths:?}");
    assert!(stall(&lost) < 0.1, "{}", stall(&lost));
    for outcome in [&told, &untold, &lost] {
        assert_eq!(outcome.measures.get(Metric::Delivered, "t"), Some(Amount::Size(Size(20 << 20))));
    }
}

#[test]
fn addresses_that_go_with_every_link_come_back_with_one() {
    let down = r#"events = [{ at = "1s", for = "2s", action = "down" }]"#;
    for loss in ["link", "address"] {
        let scenario = scenario(&format!(
            "[links.p1]\nrate = \"20Mbit\"\ndelay = \"10ms\"\ncarrier_loss = \"{loss}\"\n{down}\n[links.p2]\nlike = \"p1\"\n\
             [[traffic]]\nname = \"t\"\nbytes = \"10MiB\"\n[run]\ntime = \"30s\"\n"
        ));
        let outcome = run(&scenario, 1).unwrap();
        assert_eq!(outcome.measures.get(Metric::Delivered, "t"), Some(Amount::Size(Size(10 << 20))), "{loss}");
    }
}

#[test]
fn series_of_the_first_connections_only_are_told() {
    let scenario = scenario(
        r#"
        [links.p1]
        rate = "100Mbit"
        delay = "1ms"
        [[traffic]]
        name = "many"
        transport = "tcp"
        connections = 70
        bytes = "10KiB"
        "#,
    );
    let record = run(&scenario, 1).unwrap().record;
    let note = "Series and plots show the first 64 of 70 connections; the tables count all of them.";
    assert_eq!(record.series_note().as_deref(), Some(note));
    assert!(scenario.explain().contains("\n# Of the 70 connections the first 64 have series and plots"));
    let runs = vec![record];
    let report = Report { title: "test".into(), description: String::new(), runs, published: Vec::new(), planned: 1 };
    assert!(
        crate::results::summary_text(&report).contains(note) && crate::results::html::report(&report).contains(note)
    );
    assert_eq!(run_for_figures(&scenario, 1).unwrap().record.series_note(), None);
}

#[test]
fn nvme_commands_all_complete_with_their_data_over_every_transport() {
    for transport in ["mptcp", "tcp", "tcp-balanced", "bond-rr", "bond-hash"] {
        for (read, [data, block]) in [("100%", [400, 4096]), ("0%", [400, 4096]), ("50%", [40, 131_072])] {
            let text = format!(
                r#"
                [links.p1]
                rate = "100Mbit"
                delay = "2ms"
                loss = "1%"
                [links.p2]
                like = "p1"
                [[traffic]]
                name = "disk"
                kind = "nvme"
                transport = "{transport}"
                connections = 2
                block = "{block}B"
                depth = 8
                read = "{read}"
                count = {}
                "#,
                data / 2
            );
            let outcome = run(&scenario(&text), 5).unwrap_or_else(|error| panic!("{transport}, {read}: {error}"));
            assert_eq!(outcome.unfinished, Vec::new(), "{transport}, {read}");
            assert_eq!(value(&outcome, Metric::Delivered, "disk"), (data * block) as f64, "{transport}, {read}");
            let seconds = value(&outcome, Metric::Completion, "disk");
            let expected = data as f64 / seconds;
            let rate = value(&outcome, Metric::RequestsPerSecond, "disk");
            assert!((rate / expected - 1.0).abs() < 0.01, "{transport}, {read}: {rate}, {expected}");
            // A round trip at least.
            assert!(value(&outcome, Metric::LatencyP50, "disk") >= 0.004, "{transport}, {read}");
        }
    }
}

/// A disk over four paths, of which the second dies.
fn dying(policy: &str, transport: &str, read: &str, timeout: &str) -> Scenario {
    scenario(&format!(
        r#"
        [links.p1]
        rate = "100Mbit"
        delay = "2ms"
        [links.p2]
        rate = "100Mbit"
        delay = "2ms"
        events = [{{ at = "100ms", action = "blackhole" }}]
        [links.p3]
        like = "p1"
        [links.p4]
        like = "p1"
        [[traffic]]
        name = "disk"
        kind = "nvme"
        transport = "{transport}"
        policy = "{policy}"
        timeout = "{timeout}"
        connections = 2
        block = "64KiB"
        depth = 16
        read = "{read}"
        count = 200
        "#
    ))
}

#[test]
fn nvme_commands_of_a_dying_path_are_carried_by_the_others() {
    for (policy, transport, timeout) in [
        ("round-robin", "tcp", "300ms"),
        ("queue-depth", "tcp", "300ms"),
        ("round-robin", "mptcp", "none"),
        ("none", "mptcp", "none"),
    ] {
        for read in ["100%", "0%", "50%"] {
            let scenario = dying(policy, transport, read, timeout);
            let outcome = run(&scenario, 3).unwrap_or_else(|error| panic!("{policy} {transport} {read}: {error}"));
            assert_eq!(outcome.unfinished, Vec::new(), "{policy} {transport} {read}");
            assert_eq!(value(&outcome, Metric::Delivered, "disk"), 400.0 * 65_536.0, "{policy} {transport} {read}");
            let failed = if transport == "tcp" { 2 } else { 0 };
            assert_eq!(outcome.record.counters["connections failed"], failed, "{policy} {transport} {read}");
            let latency = value(&outcome, Metric::LatencyMax, "disk");
            let seconds = value(&outcome, Metric::Completion, "disk");
            let expected = value(&outcome, Metric::RequestsPerSecond, "disk") * seconds;
            assert!((expected - 400.0).abs() < 1.0, "{policy} {transport} {read}: {expected} commands");
            if transport == "tcp" {
                assert!((0.3..0.7).contains(&latency), "{policy} {read}: {latency}");
            }
            assert_eq!(run(&scenario, 3).unwrap().measures, outcome.measures, "the same seed");
        }
    }
}

#[test]
fn an_nvme_host_has_patience_with_its_last_path() {
    let mut scenario = dying("round-robin", "tcp", "100%", "300ms");
    for (key, value) in [
        ("traffic.disk.paths", "[\"p1\", \"p2\"]"),
        ("links.p1.rate", "1Mbit"),
        ("links.p2.rate", "1Mbit"),
        ("links.p2.events", "[]"),
        ("traffic.disk.count", "20"),
        ("traffic.disk.depth", "10"),
    ] {
        scenario.set(key, value).unwrap();
    }
    // Every command takes seconds: one path is given up, and the other has to do.
    let outcome = run(&scenario, 3).unwrap();
    assert_eq!(outcome.unfinished, Vec::new());
    assert_eq!(value(&outcome, Metric::Delivered, "disk"), 40.0 * 65_536.0);
    assert_eq!(outcome.record.counters["connections failed"], 2);
    assert!(value(&outcome, Metric::LatencyMax, "disk") > 1.0);
}

#[test]
fn commands_are_no_older_than_their_traffic() {
    let mut scenario = dying("round-robin", "tcp", "100%", "300ms");
    for (key, value) in [("run.time", "8s"), ("traffic.disk.time", "2s"), ("traffic.disk.count", "none")] {
        scenario.set(key, value).unwrap();
    }
    let other = "[[traffic]]\nname = \"other\"\nkind = \"paced\"\nrate = \"8kbit\"\n";
    let outcome = run(&self::scenario(&(scenario.explain() + other)), 3).unwrap();
    assert_eq!(outcome.record.counters["connections failed"], 2);
    // One in forty is under way when they are stopped, six seconds before the end.
    let p99 = value(&outcome, Metric::LatencyP99, "disk");
    assert!(p99 < 1.0, "{p99}");
}

/// Two links of which one goes with its address while much is under way on it.
const DYING: &str = r#"
    [links.p1]
    rate = "10Mbit"
    delay = "10ms"
    loss = "2%"
    carrier_loss = "address"
    events = [{ at = "950ms", action = "down" }]
    [links.p2]
    rate = "10Mbit"
    delay = "10ms"
    loss = "2%"
    [[traffic]]
    name = "bulk"
    bytes = "3MB"
    [report]
    interval = "1ms"
"#;

/// What a subflow did after the last sample that saw it counts as much as what it did before.
#[test]
fn totals_do_not_depend_on_when_samples_are_taken() {
    let totals = |interval: &str| {
        let text = DYING.replace("interval = \"1ms\"", &format!("interval = \"{interval}\""));
        let outcome = run(&scenario(&text), 3).unwrap();
        let metrics = [Metric::Retransmissions, Metric::Reinjections, Metric::Duplicates];
        let metrics = metrics.map(|metric| outcome.measures.get(metric, "bulk"));
        let paths = crate::results::RunSummary::new(&outcome.record).paths.into_iter();
        let of = |path: crate::results::PathSummary| {
            (path.path, path.subflows, path.delivered, path.losses, path.retransmissions, path.reinjected)
        };
        (metrics, paths.map(of).collect::<Vec<_>>())
    };
    let fine = totals("1ms");
    assert!(fine.1.iter().any(|(path, _, _, _, retransmissions, _)| path == "p1" && *retransmissions > 0), "{fine:?}");
    assert_eq!(totals("1s"), fine);
}

/// TCP has nothing to send on another subflow, and what MPTCP does beside it is not its own.
#[test]
fn reinjections_are_those_of_the_traffic_that_is_asked_for() {
    let beside = "[[traffic]]\nname = \"{}\"\nbytes = \"10kB\"\n";
    let plain = beside.replace("{}", "plain") + "transport = \"tcp\"\n";
    let late = beside.replace("{}", "late") + "start = \"20s\"\n";
    let outcome = run(&scenario(&format!("{DYING}{plain}{late}[run]\ntime = \"30s\"\n")), 3).unwrap();
    assert!(value(&outcome, Metric::Reinjections, "bulk") > 0.0);
    assert_eq!(outcome.measures.get(Metric::Reinjections, "plain"), None);
    assert_eq!(value(&outcome, Metric::Reinjections, "late"), 0.0);
}

#[test]
fn connections_that_fail_are_told_with_their_reason() {
    let told = |more: &str| {
        let text = format!("[links.p1]\nrate = \"10Mbit\"\n{more}[[traffic]]\nname = \"bulk\"\nbytes = \"1MB\"\n");
        let outcome = run(&scenario(&text), 1).unwrap();
        let (title, description) = ("test".to_owned(), String::new());
        let report = Report { title, description, runs: vec![outcome.record], published: Vec::new(), planned: 1 };
        (crate::results::summary_text(&report), crate::results::summary_json(&report))
    };
    let refused = "[middlebox.m]\nlink = \"p1\"\nkind = \"reset\"\n";
    let silent = "events = [{ at = \"0s\", action = \"blackhole\" }]\n[run]\ntime = \"1s\"\n";
    for (more, reason) in
        [(refused, "connection refused, 0 bytes delivered"), (silent, "still open, 0 bytes delivered")]
    {
        let (text, json) = told(more);
        assert!(text.contains(&format!("\n  bulk: {reason}\n")), "{text}");
        assert!(json.contains(&format!("\"reason\": \"{reason}\"")), "{json}");
    }
    let (text, json) = told("");
    assert!(!text.contains("failed") && json.contains("\"failed\": []"), "{text}{json}");
}
