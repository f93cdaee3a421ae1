//! Tables as comma-separated values, as RFC 4180 has them. What is not known is empty.

use std::fmt::Write as _;

use super::record::RunRecord;
use super::series::{Datum, Series};
use super::sweep::SweepRecord;
use super::unit::fixed;

/// A table of a run.
pub fn series(series: &Series, record: &RunRecord) -> String {
    let mut text = series.columns.join(",") + "\n";
    series.for_each_row(record, |row| {
        for (index, datum) in row.iter().enumerate() {
            let _ = match datum {
                Datum::Text(name) => write!(text, "{}", field(name)),
                _ => write!(text, "{}", datum.number().unwrap_or_default()),
            };
            text.push(if index + 1 < row.len() { ',' } else { '\n' });
        }
    });
    text
}

/// All runs of a sweep, one row each: its parameters, its seed, its metrics, and how many expectations failed.
pub fn points(sweep: &SweepRecord) -> String {
    let axes = sweep.axes.iter().map(|axis| field(&axis.name));
    let metrics = sweep.metrics.iter().map(|metric| field(&metric.name));
    let names: Vec<_> = axes.chain(["seed".to_owned()]).chain(metrics).chain(["failures".to_owned()]).collect();
    let mut text = names.join(",") + "\n";
    for point in sweep.sorted_points() {
        for (axis, index) in sweep.axes.iter().zip(&point.position) {
            let _ = write!(text, "{},", axis.values.get(*index).map(|value| field(value)).unwrap_or_default());
        }
        let _ = write!(text, "{}", point.seed);
        for value in &point.metrics {
            let _ = write!(text, ",{}", value.map(|value| fixed(value, 9)).unwrap_or_default());
        }
        let _ = writeln!(text, ",{}", point.failures.len());
    }
    text
}

/// A field as RFC 4180 wants it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{SERIES, fixture};

    fn of(name: &str, record: &RunRecord) -> String {
        series(SERIES.iter().find(|series| series.name == name).unwrap(), record)
    }

    #[test]
    fn subflows_have_rates_and_leave_out_what_is_not_known() {
        let report = fixture::report();
        let text = of("subflows", &report.runs[1]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "0.000000000,bulk,1,p1,0,0,14480,,0,0,0,0,0,0");
        assert_eq!(lines[2], "1.000000000,bulk,1,p1,4000000,500000,28960,10.000000,14480,1448,1,1,0,2896");
        let columns = lines[0].split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == columns));
    }

    #[test]
    fn a_reason_begins_with_its_first_drop() {
        let report = fixture::report();
        assert_eq!(
            of("drops", &report.runs[0]),
            "time_s,link,reason,dropped\n2.000000000,p1 up,queue full,1\n3.000000000,p1 up,queue full,3\n\
             4.000000000,p1 up,queue full,5\n"
        );
    }

    #[test]
    fn latencies_are_empty_where_nothing_has_ended() {
        let report = fixture::report();
        assert_eq!(
            of("latency-over-time", &report.runs[0]),
            "time_s,latency,ended,p50_ms,p99_ms,max_ms\n0.000000000,request,0,,,\n\
             1.000000000,request,100,1.000000,2.000000,30.000000\n2.000000000,request,0,,,\n\
             3.000000000,request,300,3.000000,6.000000,90.000000\n4.000000000,request,400,4.000000,8.000000,120.000000\n"
        );
    }

    #[test]
    fn points_of_a_sweep_are_sorted() {
        let text = points(&fixture::sweep());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "rate,delay,loss,seed,goodput,p99,failures");
        assert_eq!(lines[1], "10Mbit,5ms,random,1,9000000.000000000,0.011111111,0");
        assert_eq!(lines[19], "100Mbit,50ms,random,1,36000000.000000000,,0");
        assert_eq!(lines.len(), 22);
    }

    #[test]
    fn awkward_names_are_quoted() {
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(field("plain"), "plain");
    }
}
