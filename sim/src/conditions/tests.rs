use std::path::PathBuf;
use std::time::Duration;

use tcp_adapter::Instant;

use super::*;
use crate::link::{
    BitRate, Change, Composition, DeliveryOrder, Framing, Jitter, LossModel, LossUnit, Output, Pipe, QueueConfig,
    RateModel,
};
use crate::profiles;
use crate::scenario::{SHIPPED, Scenario};

fn links(text: &str) -> Vec<Link> {
    let scenario = Scenario::parse(&format!("{text}\n[[traffic]]\nbytes = \"1MB\"\n"), "test.toml");
    scenario.unwrap_or_else(|error| panic!("{error}\n{text}")).links
}

fn link(keys: &str) -> Link {
    links(&format!("[links.p1]\n{keys}")).remove(0)
}

fn pipe(keys: &str) -> PipeConfig {
    link(keys).pipe(true).unwrap()
}

fn mbit(mbit: u64) -> Option<RateModel> {
    Some(RateModel::Constant(BitRate::new(mbit * 1_000_000).unwrap()))
}

/// The changes up to a time, in seconds, with their times in milliseconds.
fn timetable(link: &Link, up: bool, seed: u64, until: u64) -> Vec<(u64, Vec<Change>)> {
    let changes = link.timetable(up, Streams::new(seed)).unwrap();
    let end = Instant::from_millis(until * 1000);
    changes.take_while(|(at, _)| *at <= end).map(|(at, changes)| (at.as_micros() / 1000, changes)).collect()
}

struct Trace(PathBuf);

impl Trace {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mptcp-sim-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // What cannot be removed is left in the folder for temporary files.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_plain_link_is_a_plain_pipe() {
    let config = pipe("rate = \"10Mbit\"\ndelay = \"5ms\"\noverhead = \"24B\"\nmtu = 1400");
    let mut expected = PipeConfig { rate: mbit(10), mtu: Some(1400), ..PipeConfig::default() };
    expected.delay.base = Duration::from_millis(5);
    expected.framing.overhead = 24;
    assert_eq!(config, expected);
}

#[test]
fn directions_have_their_own_conditions() {
    let link = link("delay = \"5ms\"\nup = { rate = \"1Mbit\" }\ndown = { rate = \"2Mbit\", loss = \"1%\" }");
    let (up, down) = (link.pipe(true).unwrap(), link.pipe(false).unwrap());
    assert_eq!((up.rate, down.rate), (mbit(1), mbit(2)));
    assert_eq!((up.loss.len(), down.loss.len()), (0, 1));
    assert_eq!((link.pipe_name(true), link.pipe_name(false)), ("link.p1.up".to_owned(), "link.p1.down".to_owned()));
}

#[test]
fn every_queue_keeps_its_parameters() {
    let queue = |text: &str| pipe(&format!("queue = {text}")).queue;
    let QueueConfig::DropTail(limit) = queue(r#"{ bytes = "64KiB" }"#) else { panic!("drop tail") };
    assert_eq!((limit.packets, limit.bytes), (None, Some(65_536)));
    let red = r#"{ kind = "red", limit = "400kB", min = "30kB", max = "90kB", probability = "10%", ecn = true }"#;
    let QueueConfig::Red(red) = queue(red) else { panic!("red") };
    assert_eq!((red.min, red.max, red.limit.bytes, red.ecn), (30_000, 90_000, Some(400_000), true));
    assert_eq!((red.max_probability.fraction(), red.weight_log), (0.1, 9));
    let QueueConfig::CoDel(codel) = queue(r#"{ kind = "codel", packets = 77, interval = "90ms" }"#) else {
        panic!("codel")
    };
    assert_eq!((codel.target, codel.interval), (Duration::from_millis(5), Duration::from_millis(90)));
    assert_eq!((codel.limit.packets, codel.ecn), (Some(77), false));
    let QueueConfig::FqCoDel(fair) = queue(r#"{ kind = "fq-codel", flows = 32, quantum = "300B" }"#) else {
        panic!("fq-codel")
    };
    assert_eq!((fair.flows, fair.quantum, fair.codel.limit.packets, fair.codel.ecn), (32, 300, Some(10_240), true));
    let pie = r#"{ kind = "pie", target = "20ms", tupdate = "30ms", max_burst = "100ms", packets = 9 }"#;
    let QueueConfig::Pie(pie) = queue(pie) else { panic!("pie") };
    assert_eq!((pie.target, pie.update), (Duration::from_millis(20), Duration::from_millis(30)));
    assert_eq!((pie.max_burst, pie.limit.packets), (Duration::from_millis(100), Some(9)));
}

#[test]
fn a_limit_that_counts_in_flight_is_netems() {
    assert_eq!(pipe("queue = { packets = 50 }").composition, Composition::Wire);
    assert_eq!(pipe("queue = { packets = 50, count_in_flight = true }").composition, Composition::Netem);
}

#[test]
fn every_loss_keeps_its_parameters() {
    let loss = |text: &str| pipe(&format!("loss = {text}"));
    let LossModel::Random(chance) = loss(r#"{ model = "random", p = "0.5%", correlation = "25%" }"#).loss[0] else {
        panic!("random")
    };
    assert_eq!((chance.probability.fraction(), chance.correlation.fraction()), (0.005, 0.25));
    let channel = r#"{ model = "gilbert-elliott", p = "1%", r = "10%", loss_bad = "50%", loss_good = "0.1%" }"#;
    let LossModel::GilbertElliott(channel) = loss(channel).loss[0] else { panic!("gilbert-elliott") };
    let parts = [channel.to_bad, channel.to_good, channel.loss_in_bad, channel.loss_in_good].map(|p| p.fraction());
    assert_eq!(parts, [0.01, 0.1, 0.5, 0.001]);
    assert!(matches!(loss(r#"{ model = "four-state", p13 = "1%", p31 = "50%" }"#).loss[0], LossModel::FourState(_)));
    assert!(matches!(loss(r#"{ model = "periodic", every = 9 }"#).loss[0], LossModel::Periodic(_)));
    assert!(matches!(loss(r#"{ model = "list", packets = [1, 5] }"#).loss[0], LossModel::List(_)));
    let gso = loss(r#"{ model = "random", p = "1%", unit = "gso", burst = "16KiB", gap = "12us", ecn = true }"#);
    assert_eq!(gso.loss_unit, LossUnit::Gso { cap: 16_384, gap: Duration::from_micros(12) });
    assert!(gso.loss_ecn);
}

#[test]
fn jitter_and_reordering_keep_their_parameters() {
    let config = pipe(
        r#"
        delay = "50ms"
        jitter = { amount = "10ms", distribution = "normal", correlation = "25%", order = "kept" }
        reorder = { p = "25%", correlation = "50%", gap = 5 }
        duplicate = { p = "1%", correlation = "5%" }
        corrupt = "2%"
        "#,
    );
    assert_eq!(config.delay.base, Duration::from_millis(50));
    assert!(
        matches!(config.delay.jitter, Jitter::Distribution { scale, .. } if scale == Duration::from_millis(10)),
        "{:?}",
        config.delay
    );
    assert_eq!((config.delay.correlation.fraction(), config.delay.order), (0.25, DeliveryOrder::Kept));
    let (reorder, duplicate) = (config.reorder, config.duplicate);
    assert_eq!((reorder.chance.probability.fraction(), reorder.chance.correlation.fraction()), (0.25, 0.5));
    assert_eq!((reorder.gap, config.corrupt.probability.fraction()), (5, 0.02));
    assert_eq!((duplicate.probability.fraction(), duplicate.correlation.fraction()), (0.01, 0.05));
}

#[test]
fn traces_are_read() {
    let [rate, loss, delay, table] = [
        Trace::new("rate", "1\n2\n"),
        Trace::new("loss", "0001"),
        Trace::new("delay", "0 5\n1000 7.5\n"),
        Trace::new("table", "-8192 0 8192"),
    ];
    let shown = |trace: &Trace| trace.0.display().to_string();
    let config = pipe(&format!(
        "rate = {{ trace = {:?} }}\nloss = {{ model = \"trace\", file = {:?} }}\njitter = {{ distribution = \"trace\", file = {:?} }}",
        shown(&rate),
        shown(&loss),
        shown(&delay)
    ));
    assert!(matches!(config.rate, Some(RateModel::Trace(_))));
    assert!(matches!(config.loss[0], LossModel::Trace(_)));
    assert!(matches!(config.delay.jitter, Jitter::Trace(_)));
    let file = shown(&table);
    let config = pipe(&format!("jitter = {{ amount = \"1ms\", distribution = \"table\", file = {file:?} }}"));
    assert!(matches!(config.delay.jitter, Jitter::Distribution { .. }));
}

#[test]
fn what_is_wrong_with_a_trace_is_said_in_one_sentence() {
    let trace = Trace::new("bad", "1\nx\n");
    let path = trace.0.display().to_string();
    let link = link(&format!("rate = {{ trace = {path:?} }}"));
    let sentence = link.pipe(true).unwrap_err().to_string();
    let expected = format!(
        "test.toml:2: links.p1.rate.trace names the file '{path}', which is no trace of delivery opportunities: line 2: expected a whole number of milliseconds, found \"x\""
    );
    assert_eq!(sentence, expected);
    drop(trace);
    let sentence = link.pipe(true).unwrap_err().to_string();
    let expected = format!("test.toml:2: links.p1.rate.trace names the file '{path}', which cannot be read: ");
    assert!(sentence.starts_with(&expected), "{sentence}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_key_and_line() {
    let trace = Trace::new("wrong", "x\n");
    let path = trace.0.display().to_string();
    let table = [
        (format!("loss = {{ model = \"trace\", file = {path:?} }}"), "loss.file", "trace of losses"),
        (format!("jitter = {{ distribution = \"trace\", file = {path:?} }}"), "jitter.file", "trace of delays"),
        (
            format!("jitter = {{ distribution = \"table\", amount = \"1ms\", file = {path:?} }}"),
            "jitter.file",
            "table of a distribution",
        ),
    ];
    for (condition, key, kind) in table {
        let link = link(&format!("delay = \"1ms\"\n{condition}"));
        let sentence = link.pipe(true).unwrap_err().to_string();
        let expected = format!("test.toml:3: links.p1.{key} names the file '{path}', which is no {kind}: line 1: ");
        assert!(sentence.starts_with(&expected), "{sentence}");
    }
    // Of what an event sets as well.
    let set = format!("{{ at = \"1s\", action = \"set\", rate = {{ trace = {path:?} }} }}");
    let link = link(&format!("delay = \"1ms\"\nevents = [\n  {set},\n]"));
    let sentence = link.timetable(true, Streams::new(1)).unwrap_err().to_string();
    assert!(sentence.starts_with("test.toml:4: links.p1.events.0.rate.trace names the file "), "{sentence}");
}

#[test]
fn everything_that_is_shipped_can_be_built() {
    let texts = SHIPPED.iter().map(|shipped| shipped.text.to_owned());
    let profiles = profiles::ALL
        .iter()
        .map(|profile| format!("[links.p]\nprofile = \"{}\"\n[[traffic]]\nbytes = \"1MB\"\n", profile.name));
    for text in texts.chain(profiles) {
        let scenario = Scenario::parse(&text, "test").unwrap();
        let sweep = scenario.sweep();
        for index in [0, sweep.len() / 2, sweep.len() - 1] {
            for link in &sweep.point(index).unwrap().unwrap().scenario.links {
                for up in [true, false] {
                    let streams = Streams::new(1);
                    let mut pipe = Pipe::new(link.pipe(up).unwrap(), &link.pipe_name(up), &streams).unwrap();
                    for (at, changes) in link.timetable(up, streams).unwrap().take(20) {
                        for change in &changes {
                            pipe.apply(at, change, &mut Output::default()).unwrap();
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_event_begins_and_ends_as_often_as_it_says() {
    let link = link(r#"events = [{ at = "2s", action = "down", for = "1s", every = "5s", times = 2 }]"#);
    let expected =
        [(2000, vec![Change::Down]), (3000, vec![Change::Up]), (7000, vec![Change::Down]), (8000, vec![Change::Up])];
    assert_eq!(timetable(&link, true, 1, 100), expected);
    assert_eq!(timetable(&link, false, 1, 100), expected);
}

#[test]
fn an_event_concerns_its_direction() {
    let link = link(r#"events = [{ at = "2s", action = "blackhole", direction = "down" }]"#);
    assert_eq!(timetable(&link, true, 1, 100), []);
    assert_eq!(timetable(&link, false, 1, 100), [(2000, vec![Change::Blackhole])]);
}

#[test]
fn events_that_overlap_end_in_any_order() {
    let link = link(
        r#"
        rate = "10Mbit"
        events = [
          { at = "1s", action = "set", for = "4s", rate = "1Mbit" },
          { at = "3s", action = "set", for = "5s", rate = "2Mbit" },
          { at = "4s", action = "set", delay = "9ms", loss = "1%" },
        ]
        "#,
    );
    let [(1000, first), (3000, second), (4000, third), (5000, fourth), (8000, fifth)] =
        &timetable(&link, true, 1, 100)[..]
    else {
        panic!("five moments")
    };
    assert_eq!(first[..], [Change::Rate(mbit(1))]);
    assert_eq!(second[..], [Change::Rate(mbit(2))]);
    assert!(matches!(&third[..], [Change::Delay(_), Change::Loss(_)]), "{third:?}");
    assert_eq!(fourth[..], [], "the earlier event ends beneath the later one");
    assert_eq!(fifth[..], [Change::Rate(mbit(10))]);
}

#[test]
fn a_later_event_without_end_covers_an_earlier_one() {
    let link = link(r#"events = [{ at = "1s", action = "blackhole", for = "9s" }, { at = "2s", action = "up" }]"#);
    let expected = [(1000, vec![Change::Blackhole]), (2000, vec![Change::Up]), (10_000, vec![])];
    assert_eq!(timetable(&link, true, 1, 100), expected);
}

#[test]
fn an_event_that_makes_no_sense_is_refused_before_the_run() {
    let keys = r#"
        queue = { packets = 50, count_in_flight = true }
        events = [{ at = "1s", action = "set", delay = "1ms" }]
    "#;
    let mut link = link(keys);
    link.timetable(true, Streams::new(1)).unwrap();
    let crate::scenario::Action::Set(change) = &mut link.events[0].action else { panic!("sets something") };
    change.queue = Some(crate::scenario::Queue::Codel {
        packets: 9,
        target: Duration::from_millis(5),
        interval: Duration::from_millis(100),
        ecn: false,
    });
    let error = link.timetable(true, Streams::new(1)).unwrap_err();
    assert_eq!(error, ConditionsError::Link { link: "p1".to_owned(), error: LinkError::NetemQueue });
}

#[test]
fn conditions_are_drawn_alike_for_both_directions() {
    let steps = r#"steps = { every = "15s", rates = { min = "5Mbit", max = "25Mbit" }, delays = ["15ms", "45ms"] }"#;
    let link = link(&format!("rate = \"15Mbit\"\n{steps}"));
    let up = timetable(&link, true, 7, 1500);
    assert_eq!(up, timetable(&link, false, 7, 1500));
    assert_ne!(up, timetable(&link, true, 8, 1500));
    assert_eq!(up.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (1..=100).map(|n| n * 15_000).collect::<Vec<_>>());
    let rates: Vec<u64> = up
        .iter()
        .flat_map(|(_, changes)| changes)
        .filter_map(|change| match change {
            Change::Rate(Some(RateModel::Constant(rate))) => Some(rate.get()),
            _ => None,
        })
        .collect();
    assert!(rates.len() > 95 && rates.iter().all(|rate| (5_000_000..=25_000_000).contains(rate)), "{rates:?}");
    let above = rates.iter().filter(|rate| **rate > 15_000_000).count();
    // Half of a hundred, deviation 5.
    assert!(above.abs_diff(50) < 25, "{above}");
}

#[test]
fn an_event_covers_what_is_drawn() {
    let link = link(
        r#"
        rate = "9Mbit"
        steps = { every = "1s", timing = "exponential", rates = ["1Mbit", "2Mbit"] }
        events = [{ at = "10s", action = "set", for = "10s", rate = "5Mbit" }]
        "#,
    );
    let changes = timetable(&link, true, 3, 30);
    let during = |from: u64, to: u64| changes.iter().filter(move |(at, _)| (from..to).contains(at));
    assert!(during(0, 10_000).any(|(_, changes)| !changes.is_empty()));
    assert_eq!(during(10_000, 10_001).next().unwrap().1, [Change::Rate(mbit(5))]);
    assert!(during(10_001, 20_000).all(|(_, changes)| changes.is_empty()));
    assert!(during(10_001, 20_000).count() > 0);
    let (_, after) = during(20_000, 20_001).next().unwrap();
    assert!(matches!(&after[..], [Change::Rate(rate)] if [mbit(1), mbit(2)].contains(rate)), "{after:?}");
}

#[test]
fn an_event_changes_the_overhead_for_its_time() {
    let event = r#"events = [{ at = "1s", for = "2s", action = "set", overhead = "24B" }]"#;
    let framing = |overhead| vec![Change::Framing(Framing { overhead, ..Framing::default() })];
    let changes = timetable(&link(&format!("overhead = \"4B\"\n{event}")), true, 1, 10);
    assert_eq!(changes, [(1000, framing(24)), (3000, framing(4))]);
}
