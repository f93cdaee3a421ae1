//! All cases of a scenario at once, each with the same things to compare.

use rayon::prelude::*;

use super::{Experiment, ExperimentError, Progress};
use crate::results::{Case, CaseFigures, Comparison, Report};
use crate::run::{self, Measures, Observer, Outcome, amount_value};
use crate::scenario::{Axis, Metric, Scenario};

/// Bits of a mebibyte.
const MEBIBYTE: f64 = 8.0 * (1 << 20) as f64;

/// What of a scenario is compared.
#[derive(Clone, Debug)]
pub struct CaseSelection {
    /// How the command line names the scenario.
    pub invocation: String,
    /// The axis whose values are the cases.
    pub cases: String,
    /// The axis whose values are compared in each, and those that are.
    pub ways: (String, Vec<String>),
    /// Values of the other axes.
    pub chosen: Vec<(String, String)>,
    /// The traffic whose figures are shown.
    pub traffic: String,
}

impl CaseSelection {
    /// How many runs that are.
    pub fn runs(&self, scenario: &Scenario) -> u64 {
        (self.cases_of(scenario).count() * self.ways.1.len()) as u64
    }

    fn cases_of<'a>(&'a self, scenario: &'a Scenario) -> impl Iterator<Item = &'a str> {
        scenario.axes.iter().filter(|axis| axis.name() == self.cases).flat_map(Axis::labels)
    }
}

/// Runs all cases of a scenario on all cores. What the comparison says does not depend on the number of cores, nor on the order in which runs
/// end.
///
/// # Errors
/// An axis or a value that is not there, or the first run that failed, in the order of cases.
pub fn run_cases(
    scenario: &Scenario,
    selection: &CaseSelection,
    progress: &impl Progress,
) -> Result<Comparison, ExperimentError> {
    let (axis, ways) = &selection.ways;
    let cases: Vec<String> = selection.cases_of(scenario).map(str::to_owned).collect();
    let mut experiments = Vec::new();
    for case in &cases {
        for way in ways {
            let mut chosen = selection.chosen.clone();
            chosen.extend([(selection.cases.clone(), case.clone()), (axis.clone(), way.clone())]);
            experiments.push((way, Experiment::new(scenario.clone(), selection.invocation.clone(), chosen)?));
        }
    }
    let run = |(way, experiment): &(&String, Experiment)| -> Result<Outcome, ExperimentError> {
        let point = experiment.point(0)?;
        let meta = run::meta(&point.scenario, point.scenario.run.seed);
        let meta = crate::results::RunMeta { variant: (*way).clone(), command: experiment.command(&point), ..meta };
        let outcome = run::run_observed(&point.scenario, meta, Observer::with_series())?;
        progress.done(outcome.effort);
        Ok(outcome)
    };
    let outcomes: Vec<Result<Outcome, ExperimentError>> = experiments.par_iter().map(run).collect();
    let mut outcomes = outcomes.into_iter();
    let mut comparison = Comparison {
        title: scenario.meta.name.clone(),
        description: scenario.meta.description.clone(),
        cases: Vec::new(),
    };
    for name in cases {
        let outcomes: Vec<Outcome> = outcomes.by_ref().take(ways.len()).collect::<Result<_, _>>()?;
        let figures = outcomes.iter().map(|outcome| figures(&outcome.measures, &selection.traffic)).collect();
        let runs: Vec<_> = outcomes.into_iter().map(|outcome| outcome.record).collect();
        let (title, planned) = (name.clone(), runs.len());
        let report = Report { title, description: String::new(), runs, published: Vec::new(), planned };
        comparison.cases.push(Case { name, figures, report });
    }
    Ok(comparison)
}

fn figures(measures: &Measures, traffic: &str) -> CaseFigures {
    let value = |metric| measures.get(metric, traffic).map_or(f64::NAN, amount_value);
    CaseFigures { goodput: value(Metric::Goodput) / MEBIBYTE, latency_p99: value(Metric::LatencyP99) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{comparison_json, html};
    use crate::run::Effort;

    struct Silent;

    impl Progress for Silent {
        fn done(&self, _: Effort) {}
    }

    const SCENARIO: &str = r#"
        [links.p1]
        rate = "10Mbit"
        [links.p2]
        rate = "10Mbit"
        [[traffic]]
        name = "disk"
        kind = "nvme"
        depth = 8
        [run]
        time = "1s"
        [sweep.case]
        keys = ["links.p1.rate"]
        values = ["10Mbit", "5Mbit"]
        labels = ["equal", "unequal"]
        [sweep.pattern]
        keys = ["traffic.disk.read"]
        values = ["100%", "0%"]
        labels = ["read", "write"]
        [sweep.transport]
        keys = ["traffic.disk.transport", "traffic.disk.policy"]
        values = [["tcp", "none"], ["tcp", "queue-depth"], ["mptcp", "none"]]
        labels = ["tcp", "multipath", "mptcp"]
    "#;

    fn selection(ways: &[&str]) -> CaseSelection {
        CaseSelection {
            invocation: "test".to_owned(),
            cases: "case".to_owned(),
            ways: ("transport".to_owned(), ways.iter().map(|way| (*way).to_owned()).collect()),
            chosen: vec![("pattern".to_owned(), "write".to_owned())],
            traffic: "disk".to_owned(),
        }
    }

    #[test]
    fn every_way_in_every_case_and_always_the_same() {
        let scenario = Scenario::parse(SCENARIO, "test.toml").unwrap();
        let selection = selection(&["multipath", "tcp"]);
        let comparison = run_cases(&scenario, &selection, &Silent).unwrap();
        assert_eq!(comparison.ways().collect::<Vec<_>>(), ["multipath", "tcp"]);
        assert_eq!(comparison.cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["equal", "unequal"]);
        assert_eq!(selection.runs(&scenario), 4);
        let goodput = |case: usize, way: usize| comparison.cases[case].figures[way].goodput;
        assert!(goodput(0, 0) > 1.9 * goodput(0, 1), "two paths and one: {comparison:?}");
        assert!(goodput(0, 1) > 1.9 * goodput(1, 1), "a path of half the rate: {comparison:?}");
        let command = &comparison.cases[1].report.runs[0].meta.command;
        assert!(command.contains("--at case=unequal --at pattern=write --at transport=multipath"), "{command}");
        let again = run_cases(&scenario, &selection, &Silent).unwrap();
        assert!(comparison_json(&again) == comparison_json(&comparison));
        assert!(html::comparison(&again) == html::comparison(&comparison));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let scenario = Scenario::parse(SCENARIO, "test.toml").unwrap();
        let error = run_cases(&scenario, &selection(&["udp"]), &Silent).unwrap_err();
        assert!(error.to_string().contains("has no value 'udp'"), "{error}");
    }
}
