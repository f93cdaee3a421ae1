use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::results::{EventLog, EventLogHeader, sweep_json};

const TWO_BY_TWO: &str = r#"
    [links.p1]
    rate = ["5Mbit", "10Mbit"]
    delay = "5ms"
    [links.p2]
    like = "p1"
    [[traffic]]
    name = "bulk"
    bytes = "200KiB"
    [sweep.variant]
    keys = ["traffic.bulk.transport"]
    values = ["tcp", "mptcp"]
    [[expect]]
    metric = "goodput"
    of = "bulk"
    when = { variant = "mptcp" }
    min = "100Mbit"
    [[published]]
    source = "someone"
    metric = "goodput"
    of = "bulk"
    when = { variant = "mptcp", "links.p1.rate" = "10Mbit" }
    relative_to = { variant = "tcp", "links.p1.rate" = "10Mbit" }
    value = "+50%"
"#;

fn experiment(chosen: &[(&str, &str)]) -> Result<Experiment, ExperimentError> {
    let scenario = Scenario::parse(TWO_BY_TWO, "file.toml").unwrap();
    let chosen = chosen.iter().map(|(name, label)| ((*name).to_owned(), (*label).to_owned())).collect();
    Experiment::new(scenario, "file.toml".to_owned(), chosen)
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Progress for Counter {
    fn done(&self, effort: run::Effort) {
        assert!(effort.packets > 0);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn chosen_values_leave_the_others() {
    assert_eq!(experiment(&[]).unwrap().len(), 4);
    let one = experiment(&[("links.p1.rate", "10Mbit")]).unwrap();
    let points: Vec<_> = (0..one.len()).map(|number| one.point(number).unwrap()).collect();
    assert_eq!(points.len(), 2);
    assert_eq!(one.meta(&points[1]).variant, "mptcp");
    assert_eq!(
        one.command(&points[1]),
        "mptcp sim run file.toml --at links.p1.rate=10Mbit --at variant=mptcp --seed 1"
    );
    assert!(matches!(experiment(&[("x", "y")]), Err(ExperimentError::NoAxis { .. })));
    assert!(matches!(experiment(&[("variant", "y")]), Err(ExperimentError::NoLabel { .. })));
}

#[test]
fn runs_are_compared_with_each_other_and_with_what_was_published() {
    let experiment = experiment(&[("links.p1.rate", "10Mbit")]).unwrap();
    let mut ended = 0;
    let report: Result<Report, ExperimentError> =
        experiment.compare(|_, _| Ok(Observer::with_series()), |_, _| ended += 1);
    let report = report.unwrap();
    assert_eq!((report.runs.len(), ended), (2, 2));
    assert_eq!(report.runs[0].meta.variant, "tcp");
    assert!(report.runs[0].expectations.is_empty());
    assert!(!report.runs[1].expectations[0].passed);
    let figure = &report.published[0];
    assert!((figure.published - 0.5).abs() < 1e-9 && figure.simulated.is_some(), "{figure:?}");
}

#[test]
fn a_sweep_is_the_same_on_any_number_of_threads() {
    let experiment = experiment(&[]).unwrap();
    let sweep = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let counter = Counter::default();
        let record = pool.install(|| run_sweep(&experiment, &counter, &Arc::default())).record;
        assert_eq!(counter.0.into_inner(), 4);
        sweep_json(&record)
    };
    let one = sweep(1);
    assert_eq!(one, sweep(3));
    assert!(one.contains("goodput of bulk >= 100 Mbit"), "{one}");
}

#[test]
fn a_sweep_that_is_stopped_keeps_what_is_done() {
    let experiment = experiment(&[]).unwrap();
    let record = run_sweep(&experiment, &Counter::default(), &Arc::new(AtomicBool::new(true))).record;
    assert_eq!((record.points.len(), record.planned), (0, 4));
}

/// Values that are right each for itself, one of which is not with another.
#[test]
fn a_point_that_cannot_be_run_leaves_the_others() {
    let text = "[links.p1]\nrate = \"5Mbit\"\n[run]\ntime = [\"3s\", \"1s\"]\nwarmup = [\"100ms\", \"2s\"]\n\
                [[traffic]]\nname = \"bulk\"\n";
    let scenario = Scenario::parse(text, "file.toml").unwrap();
    let experiment = Experiment::new(scenario, "file.toml".to_owned(), Vec::new()).unwrap();
    let Swept { record, failure } = run_sweep(&experiment, &Counter::default(), &Arc::default());
    assert_eq!((record.points.len(), record.planned), (3, 4));
    assert!(failure.unwrap().to_string().contains("less than 'time'"));
}

#[test]
fn words_are_quoted_for_shells() {
    assert_eq!(quoted("links.p1.delay=5ms"), "links.p1.delay=5ms");
    assert_eq!(quoted("loss=1% bursty"), "'loss=1% bursty'");
    assert_eq!(quoted("it's"), "'it'\\''s'");
}

/// Gives up as soon as the first run is done.
struct Impatient(Arc<AtomicBool>);

impl Progress for Impatient {
    fn done(&self, _: run::Effort) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_is_done_stays_and_what_is_under_way_is_given_up() {
    let experiment = experiment(&[]).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let stop = Arc::default();
    let record = pool.install(|| run_sweep(&experiment, &Impatient(Arc::clone(&stop)), &stop)).record;
    assert_eq!((record.points.len(), record.planned), (1, 4));
    let point = experiment.point(0).unwrap();
    let observer = run::Observer::none().until(&stop);
    let stopped = run::run_observed(&point.scenario, run::meta(&point.scenario, 1), observer);
    assert!(matches!(stopped, Err(run::RunError::Stopped)), "{stopped:?}");
}

#[test]
fn expectations_speak_the_units_of_the_file() {
    let text = TWO_BY_TWO.replace("min = \"100Mbit\"", "equals = \"12.5MiB/s\"\ntolerance = \"1%\"");
    let scenario = Scenario::parse(&text, "file.toml").unwrap();
    let chosen = [("links.p1.rate", "5Mbit"), ("variant", "mptcp")];
    let chosen = chosen.map(|(name, label)| (name.to_owned(), label.to_owned())).to_vec();
    let experiment = Experiment::new(scenario, "file.toml".to_owned(), chosen).unwrap();
    let outcome = run::run(&experiment.point(0).unwrap().scenario, 1).unwrap();
    let expectation = &outcome.record.expectations[0];
    assert_eq!(expectation.wanted, "goodput of bulk = 12.5 MiB/s ± 1%");
    assert!(expectation.found.ends_with(" MiB/s") && !expectation.passed, "{expectation:?}");
}

/// Takes what is written and, when so much has been, asks for the end.
struct Enough {
    left: usize,
    stop: Arc<AtomicBool>,
}

impl std::io::Write for Enough {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.saturating_sub(bytes.len());
        if self.left == 0 {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_interrupted_is_kept_as_far_as_it_came() {
    let experiment = experiment(&[("links.p1.rate", "10Mbit")]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut began = 0;
    let observe = |point: &Point, meta: &RunMeta| -> Result<Observer, ExperimentError> {
        began += 1;
        // The first run is complete, and the second is interrupted in its midst.
        let left = if point.parameters.iter().any(|(_, label)| label == "tcp") { usize::MAX } else { 20_000 };
        let sink: crate::run::Sink = Box::new(Enough { left, stop: Arc::clone(&stop) });
        let header = EventLogHeader { scenario: "s", variant: &meta.variant, seed: meta.seed, version: &meta.version };
        let log = EventLog::new(sink, header).unwrap();
        Ok(Observer::with_series().with_log(log).as_far_as(&stop))
    };
    let mut done = 0;
    let report = experiment.compare(observe, |_, _| done += 1).unwrap();
    assert_eq!((began, done, report.runs.len(), report.planned), (2, 1, 2, 2));
    let [complete, cut] = &report.runs[..] else { panic!("two runs") };
    assert!(!complete.interrupted && complete.connections[0].finished.is_some());
    assert!(cut.interrupted && cut.clock.end < complete.clock.end && cut.expectations.is_empty());
    let delivered = cut.connections[0].samples.last().unwrap().delivered;
    assert!(delivered > 0 && delivered < 200 << 10 && cut.connections[0].finished.is_none(), "{delivered}");
    assert!(cut.links.iter().all(crate::results::LinkRecord::is_balanced));
    // What is half done says nothing about what others have published.
    assert!(report.published.iter().all(|figure| figure.simulated.is_none()), "{:?}", report.published);
    // Who stops before anything has happened has no run at all.
    let nothing: Result<Report, ExperimentError> =
        experiment.compare(|_, _| Ok(Observer::with_series().as_far_as(&stop)), |_, _| panic!("none is done"));
    let nothing = nothing.unwrap();
    assert_eq!((nothing.runs.len(), nothing.planned), (0, 2));
}
