use super::judge::sheet;
use super::*;
use crate::results::{Axis, Metric, SweepPoint, SweepRecord};

/// Every question can be asked: its scenarios are there, state what they assume, measure what is looked at, and have the columns that
/// limits are about.
#[test]
fn every_question_can_be_asked() {
    for question in QUESTIONS {
        assert!(question.runs(3).unwrap() > 0, "{}", question.name);
        assert_eq!(Question::find(question.name).unwrap().title, question.title);
        for trial in question.trials {
            let experiment = trial.experiment(3).unwrap();
            let scenario = experiment.scenario();
            assert!(
                !scenario.meta.description.is_empty() && !scenario.meta.assumptions.is_empty(),
                "{}",
                trial.scenario
            );
            let mut seeds = (0..experiment.len()).map(|number| experiment.point(number).unwrap().scenario.run.seed);
            assert!(seeds.all(|seed| (FIRST_SEED..FIRST_SEED + 3).contains(&seed)));
            for comparison in trial.comparisons {
                let axis = scenario.axes.iter().find(|axis| axis.name() == comparison.columns);
                let labels: Vec<&str> = axis.unwrap_or_else(|| panic!("{}", trial.scenario)).labels().collect();
                let among = comparison.limits.iter().flat_map(|limit| match limit.bound {
                    Bound::OfBest(_, among) => among,
                    _ => &[],
                });
                let named = comparison.shown.iter().chain(comparison.plotted).chain(among);
                for column in named.chain(comparison.limits.iter().map(|limit| &limit.of)) {
                    assert!(labels.contains(column), "{}: {column}", trial.scenario);
                }
                let metric = comparison.metric.split(' ').next().unwrap_or_default();
                let known: Vec<String> = scenario.report.metrics.iter().map(ToString::to_string).collect();
                assert!(known.contains(&metric.to_owned()), "{}: {metric}", trial.scenario);
            }
        }
    }
    let asked: Vec<&str> = QUESTIONS.iter().flat_map(|question| question.trials).map(|trial| trial.scenario).collect();
    assert!(SCENARIOS.iter().all(|scenario| asked.contains(&scenario.name)));
}

/// Two cases, two columns, five seeds.
fn record() -> SweepRecord {
    let axis = |name: &str, values: &[&str]| Axis {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let mut record = SweepRecord {
        axes: vec![axis("case", &["easy", "hard"]), axis("who", &["ours", "theirs"])],
        metrics: vec![Metric { name: "goodput".to_owned(), unit: Unit::BitsPerSecond, better: Better::Higher }],
        ..SweepRecord::default()
    };
    for (case, who, values) in [
        (0, 0, [10e6, 11e6, 12e6, 13e6, 14e6]),
        (0, 1, [10e6, 10e6, 10e6, 10e6, 10e6]),
        (1, 0, [1e6, 9e6, 9e6, 9e6, 9e6]),
        (1, 1, [10e6, 10e6, 10e6, 10e6, 10e6]),
    ] {
        record.points.extend((0..5).zip(values).map(|(seed, value)| SweepPoint {
            position: vec![case, who],
            seed,
            command: String::new(),
            metrics: vec![Some(value)],
            failures: Vec::new(),
        }));
    }
    record
}

const LIMITS: &[Limit] = &[
    Limit { of: "ours", statistic: Statistic::Median, bound: Bound::OfBest(|_| Some(0.95), &["theirs"]) },
    Limit {
        of: "ours",
        statistic: Statistic::Worst,
        bound: Bound::ByCase(|case| (case.get("case") == "hard").then_some(5e6)),
    },
];

const COMPARISON: Comparison = Comparison {
    caption: "Goodput",
    metric: "goodput",
    over: None,
    view: None,
    columns: "who",
    shown: &[],
    limits: LIMITS,
    plotted: &["ours"],
};

fn finding(record: &SweepRecord) -> Finding {
    let sheets = vec![sheet("eval-small-window", &COMPARISON, record)];
    Finding { question: "small-window".to_owned(), version: "1".to_owned(), first_seed: 7, seeds: 5, sheets }
}

#[test]
fn what_is_short_of_its_limit_is_told() {
    let finding = finding(&record());
    let rows = &finding.sheets[0].rows;
    assert_eq!(rows.iter().map(|row| row.case.as_str()).collect::<Vec<_>>(), ["easy", "hard"]);
    assert!(rows[0].verdicts[0].met && rows[0].verdicts.len() == 1);
    let [median, worst] = &*rows[1].verdicts else { panic!("{:?}", rows[1].verdicts) };
    assert_eq!((median.met, median.found, median.against.as_deref()), (false, Some(9e6), Some("theirs")));
    assert_eq!((worst.met, worst.found, worst.limit), (false, Some(1e6), Some(5e6)));
    assert_eq!(finding.tally(), (3, 1));
    let cell = rows[1].cells[0].unwrap();
    assert_eq!((cell.worst, cell.twentieth, cell.median, cell.best, cell.runs), (1e6, 1e6, 9e6, 9e6, 5));
}

#[test]
fn a_run_without_a_value_fails() {
    let mut record = record();
    record.points[0].metrics[0] = None;
    let verdict = &finding(&record).sheets[0].rows[0].verdicts[0];
    assert_eq!((verdict.met, verdict.found), (false, None));
}

/// Seeds without a value of whoever is compared with count as its best: then they must not matter.
#[test]
fn what_gave_no_value_to_compare_with_makes_a_demand_harder() {
    let mut record = record();
    for (point, value) in record.points.iter_mut().filter(|point| point.position == [0, 1]).zip([None, Some(12.5e6)]) {
        point.metrics[0] = value;
    }
    let verdict = |record: &SweepRecord| finding(record).sheets[0].rows[0].verdicts[0].clone();
    // Of what is known the middle one is 10: with one more that is better, too.
    let found = verdict(&record);
    assert_eq!((found.met, found.limit), (true, Some(9.5e6)));
    assert_eq!(found.against.as_deref(), Some("theirs, of which 1 runs without a value count as the best"));
    for point in record.points.iter_mut().filter(|point| point.position == [0, 1]).skip(2).take(1) {
        point.metrics[0] = None;
    }
    // With two more it is 12.5.
    assert_eq!(verdict(&record).limit, Some(0.95 * 12.5e6));
}

/// Who is to be compared with has to have answered, and with so many seeds that the others cannot matter.
#[test]
fn a_demand_does_not_go_away_with_what_it_is_compared_with() {
    for failed in [3, 5] {
        let mut record = record();
        let theirs = record.points.iter_mut().filter(|point| point.position == [0, 1]);
        theirs.take(failed).for_each(|point| point.metrics[0] = None);
        let finding = finding(&record);
        let verdict = &finding.sheets[0].rows[0].verdicts[0];
        assert_eq!((verdict.met, verdict.limit, verdict.against.as_deref()), (false, None, Some("theirs")));
        assert_eq!(finding.tally(), (3, 0));
        let text = render("", std::slice::from_ref(&finding), "plots");
        assert!(text.contains("some runs of theirs gave no value to compare with"), "{text}");
        assert_eq!(read_findings(&findings_json(std::slice::from_ref(&finding))).unwrap(), [finding]);
    }
}

/// By the nearest rank, of the worst first: the 99th percentile of 100 seeds leaves out one of them.
#[test]
fn the_99th_percentile_is_not_the_worst_of_a_hundred() {
    for (seeds, hundredth, twentieth) in [(100, 99.0, 96.0), (99, 99.0, 95.0), (200, 198.0, 191.0), (1, 1.0, 1.0)] {
        let cell = Cell::of((1..=seeds).map(f64::from).collect(), seeds as usize, Better::Lower).unwrap();
        assert_eq!((cell.worst, cell.hundredth, cell.twentieth), (f64::from(seeds), hundredth, twentieth), "{seeds}");
    }
    let cell = Cell::of((1..=100).map(f64::from).collect(), 100, Better::Higher).unwrap();
    assert_eq!((cell.worst, cell.hundredth), (1.0, 2.0));
}

#[test]
fn what_people_wrote_survives() {
    let finding = finding(&record());
    let written =
        "# Title\n\nBefore.\n\n<!-- generated: small-window -->\nold\n<!-- end of small-window -->\n\nAfter.\n";
    let first = render(written, std::slice::from_ref(&finding), "plots");
    for text in [
        "# Title\n\nBefore.",
        "\n\nAfter.\n",
        "**short**: 9.000 Mbit/s, not ≥ 9.500 Mbit/s by theirs",
        "plots/eval-small-window.svg",
    ] {
        assert!(first.contains(text), "{text} in\n{first}");
    }
    assert!(!first.contains("old") && first.contains("| Aggregation within a small window | 3 | 1 | hard, ours: "));
    assert_eq!(render(&first, &[finding], "plots"), first);
}

/// TCP is no scheduler, and a scheduler without a value is no better one.
#[test]
fn the_summary_tells_where_the_default_is_not_the_best() {
    let cell = |median: f64| Cell::of(vec![median], 1, Better::Lower);
    let row = |case: &str, cells: [Option<Cell>; 4]| Row {
        case: case.to_owned(),
        cells: cells.to_vec(),
        verdicts: Vec::new(),
    };
    let mut finding = finding(&record());
    let sheet = &mut finding.sheets[0];
    sheet.columns = ["tcp", "completion-time", "ecf", "qaware"].map(str::to_owned).to_vec();
    (sheet.unit, sheet.better) = (Unit::Seconds, Better::Lower);
    sheet.rows = vec![
        row("even", [cell(0.5), cell(1.0), cell(2.0), None]),
        row("close", [cell(0.5), cell(1.009), cell(1.0), cell(3.0)]),
        row("behind", [cell(0.5), cell(1.25), cell(2.0), cell(1.0)]),
    ];
    let text = render("", std::slice::from_ref(&finding), "plots");
    // The cube root of 1.009 * 1.25.
    let expected = "| Goodput, `eval-small-window` | 3 | 2 | 8.0 % | behind: 1.250 s, qaware has 1.000 s |";
    assert!(text.contains(expected), "{text}");
    finding.sheets[0].columns = ["tcp", "completion-time", "tcp p1", "tcp p2"].map(str::to_owned).to_vec();
    let text = render("", &[finding], "plots");
    assert!(!text.contains("| Goodput, `"), "one scheduler is not compared: {text}");
}

#[test]
fn findings_are_read_back() {
    let findings = vec![finding(&record())];
    assert_eq!(read_findings(&findings_json(&findings)).unwrap(), findings);
    let charts = charts(&findings[0]);
    assert_eq!(charts.len(), 1);
    assert!(charts[0].1.contains(">easy<") && charts[0].1.contains(">ours<"));
}
