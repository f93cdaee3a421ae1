//! Which charts show a run, and how its samples become curves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::plot::{Axis, Chart, Curve, Form, Point, Stroke, averages, bridged, sums};
use crate::results::record::{LatencySample, LinkRecord, RunRecord, SubflowRecord, SubflowSample};
use crate::results::samples::SampleClock;
use crate::results::unit::Unit;

/// The same thing has the same colour in all charts of a page.
#[derive(Debug)]
pub(super) struct Palette {
    paths: BTreeMap<String, usize>,
    kinds: Vec<String>,
}

/// Rates are averaged so that a chart shows about this many.
const BINS: usize = 240;
pub(super) const Y_TICKS: usize = 5;
const X_TICKS: usize = 10;
/// More curves than that in one chart help nobody; the tables have them all.
pub(super) const MAX_CURVES: usize = 16;

/// All subflows of one kind of connection on one path.
struct Group<'a> {
    label: String,
    colour: usize,
    stroke: Stroke,
    subflows: Vec<&'a SubflowRecord>,
}

/// Something that a sample tells.
type Quantity = fn(&SubflowSample) -> u64;

/// A latency that a sample tells.
type Percentile = fn(&LatencySample) -> Option<Duration>;

/// What becomes of a quantity when a subflow ends.
#[derive(Clone, Copy)]
enum Kind {
    /// It is gone.
    Gauge,
    /// It keeps its value.
    Counter,
}

impl Palette {
    pub(super) fn new(runs: &[RunRecord]) -> Self {
        let mut paths = BTreeSet::new();
        let mut kinds = BTreeSet::new();
        for connection in runs.iter().flat_map(|run| &run.connections) {
            kinds.insert(connection.kind.clone());
            paths.extend(connection.subflows.iter().map(|subflow| subflow.path.clone()));
        }
        Self { paths: paths.into_iter().zip(0..).collect(), kinds: kinds.into_iter().collect() }
    }

    /// A link that is named after a path has its colour.
    fn link(&self, name: &str) -> usize {
        let of_path = |path: &&String| {
            name.strip_prefix(path.as_str()).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let path = self.paths.keys().filter(of_path).max_by_key(|path| path.len());
        path.and_then(|path| self.paths.get(path).copied()).unwrap_or(self.paths.len())
    }
}

/// What happened in a run, as a chart wants it.
pub(super) fn marks(run: &RunRecord) -> Vec<(f64, String)> {
    let mark = |mark: &crate::results::Mark| {
        let time = seconds(mark.time);
        (time, format!("{}: {}", Unit::Seconds.format(time, 4), mark.text))
    };
    run.marks.iter().map(mark).collect()
}

/// Charts of one run.
pub(super) fn of_run(run: &RunRecord, palette: &Palette) -> Vec<Chart<'static>> {
    let groups = groups(run, palette);
    let has_cwnd = groups.iter().flat_map(|group| &group.subflows).flat_map(|subflow| &subflow.samples.values);
    let has_cwnd = has_cwnd.into_iter().any(|sample| sample.cwnd.is_some());
    let in_flight = |stroke| subflow_curves(run, &groups, stroke, Kind::Gauge, |sample| Some(sample.in_flight));
    let cwnd = subflow_curves(run, &groups, None, Kind::Gauge, |sample| sample.cwnd);
    let mut charts = vec![goodput(run, &groups), round_trip(run, &groups)];
    charts.extend(latency(run));
    if has_cwnd && groups.len() <= 3 {
        let labelled =
            |what: &'static str| move |curve: Curve| Curve { label: format!("{} {what}", curve.label), ..curve };
        let mut curves: Vec<_> = cwnd.into_iter().map(labelled("window")).collect();
        curves.extend(in_flight(Some(Stroke::Dotted)).into_iter().map(labelled("in flight")));
        charts.push(time_chart(run, "Congestion window and bytes in flight", Unit::Bytes, curves));
    } else {
        if has_cwnd {
            charts.push(time_chart(run, "Congestion window", Unit::Bytes, cwnd));
        }
        charts.push(time_chart(run, "Bytes in flight", Unit::Bytes, in_flight(None)));
    }
    charts.extend(queues(run, palette));
    charts.extend(throughput(run, palette));
    charts.extend(drops(run, palette));
    charts.extend(reordering(run));
    let others: [(&str, Unit, Kind, Quantity); 5] = [
        ("Bytes out of order within subflows", Unit::Bytes, Kind::Gauge, |sample| sample.out_of_order),
        ("Bytes waiting in subflows", Unit::Bytes, Kind::Gauge, |sample| sample.queued),
        ("Segments taken for lost, so far", Unit::Count, Kind::Counter, |sample| sample.losses.unwrap_or(0)),
        ("Segments retransmitted, so far", Unit::Count, Kind::Counter, |sample| sample.retransmissions),
        ("Bytes re-injected, so far", Unit::Bytes, Kind::Counter, |sample| sample.reinjected),
    ];
    for (title, unit, kind, value) in others {
        let curves = subflow_curves(run, &groups, None, kind, |sample| Some(value(sample)));
        if curves.iter().flat_map(|curve| &curve.points).any(|(_, value)| *value > 0.0) {
            charts.push(time_chart(run, title, unit, curves));
        }
    }
    charts.retain(|chart| !chart.curves.is_empty());
    charts
}

fn groups<'a>(run: &'a RunRecord, palette: &Palette) -> Vec<Group<'a>> {
    let mut subflows: BTreeMap<(&str, &str), Vec<&SubflowRecord>> = BTreeMap::new();
    for connection in run.with_series() {
        for subflow in &connection.subflows {
            subflows.entry((&connection.kind, &subflow.path)).or_default().push(subflow);
        }
    }
    let kinds = run.kinds();
    let group = |((kind, path), subflows): ((&str, &str), Vec<&'a SubflowRecord>)| {
        let order = palette.kinds.iter().filter(|of_page| kinds.contains(of_page.as_str())).position(|of| of == kind);
        let stroke = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][order.unwrap_or(0) % 3];
        let name = if kinds.len() > 1 { format!("{kind} {path}") } else { path.to_owned() };
        let label = if subflows.len() > 1 { format!("{name} ({} subflows)", subflows.len()) } else { name };
        Group { label, colour: palette.paths.get(path).copied().unwrap_or(0), stroke, subflows }
    };
    subflows.into_iter().map(group).take(MAX_CURVES).collect()
}

fn goodput(run: &RunRecord, groups: &[Group<'_>]) -> Chart<'static> {
    let curves: Vec<Curve> = groups
        .iter()
        .map(|group| {
            let rate = |index| {
                let rates = group
                    .subflows
                    .iter()
                    .map(|subflow| subflow.samples.bit_rate(&run.clock, index, |sample| sample.delivered));
                rates.sum::<u64>() as f64
            };
            let points = averages(&rate_points(&run.clock, rate), bin(&run.clock));
            Curve { label: group.label.clone(), colour: group.colour, stroke: group.stroke, points }
        })
        .collect();
    let length = curves.first().map_or(0, |curve| curve.points.len());
    let sum = |index: usize| curves.iter().map(|curve| curve.points[index].1).sum::<f64>();
    let max = (0..length).map(sum).fold(0.0, f64::max);
    let y = Axis::from_zero(max, Unit::BitsPerSecond, Y_TICKS);
    Chart {
        form: Form::Stacked,
        y,
        note: average_note(&run.clock),
        ..time_chart(run, "Goodput by path", Unit::BitsPerSecond, curves)
    }
}

fn round_trip(run: &RunRecord, groups: &[Group<'_>]) -> Chart<'static> {
    let curve = |group: &Group<'_>| {
        let mean = |index| {
            let times = group.subflows.iter().filter_map(|subflow| subflow.samples.get(index)?.srtt);
            let (sum, count) = times.fold((0u128, 0u32), |(sum, count), srtt| (sum + srtt.as_nanos(), count + 1));
            if count > 0 { sum as f64 / 1e9 / f64::from(count) } else { f64::NAN }
        };
        let points = points(&run.clock, mean);
        Curve { label: group.label.clone(), colour: group.colour, stroke: group.stroke, points }
    };
    let mut chart = time_chart(run, "Smoothed round-trip time", Unit::Seconds, groups.iter().map(curve).collect());
    if groups.iter().any(|group| group.subflows.len() > 1) {
        chart.note = "average of the subflows of a path".to_owned();
    }
    chart
}

/// The latencies of each interval.
fn latency(run: &RunRecord) -> Option<Chart<'static>> {
    if run.latency_series.is_empty() {
        return None;
    }
    let percentiles: [(&str, Stroke, Percentile); 3] = [
        ("p50", Stroke::Solid, |sample| sample.p50),
        ("p99", Stroke::Dashed, |sample| sample.p99),
        ("max", Stroke::Dotted, |sample| sample.max),
    ];
    let mut curves = Vec::new();
    for (colour, latency) in run.latency_series.iter().take(MAX_CURVES / percentiles.len()).enumerate() {
        for (name, stroke, percentile) in percentiles {
            let value = |index| {
                let known = latency.samples.get(index).and_then(percentile);
                known.map_or(f64::NAN, |known| known.as_nanos() as f64 / 1e9)
            };
            let points = bridged(&points(&run.clock, value), bin(&run.clock));
            let label = if run.latency_series.len() > 1 { format!("{} {name}", latency.name) } else { name.to_owned() };
            curves.push(Curve { label, colour, stroke, points });
        }
    }
    let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value);
    let values = values.filter(|value| value.is_finite());
    let (min, max) = values.fold((f64::MAX, 0.0), |(min, max): (f64, f64), value| (min.min(value), max.max(value)));
    // What takes no time has no place on an axis whose decades are equally long.
    let y = Axis::logarithmic(min.max(1e-9), max.max(1e-9), Unit::Seconds);
    let interval = Unit::Seconds.format(run.clock.interval.as_nanos() as f64 / 1e9, 3);
    let note = format!("of what ended in each interval of {interval}");
    Some(Chart { y, note, ..time_chart(run, "Latency over time", Unit::Seconds, curves) })
}

/// The sum over the subflows of each group.
fn subflow_curves<'a>(
    run: &RunRecord,
    groups: &[Group<'a>],
    stroke: Option<Stroke>,
    kind: Kind,
    value: impl Fn(&SubflowSample) -> Option<u64>,
) -> Vec<Curve> {
    let curve = |group: &Group<'a>| {
        let sum = |index| {
            let sample = |subflow: &&'a SubflowRecord| match kind {
                Kind::Gauge => subflow.samples.get(index),
                Kind::Counter => subflow.samples.latest(index),
            };
            let values = group.subflows.iter().filter_map(sample).filter_map(&value);
            let sum = values.fold(None, |sum: Option<u64>, value| Some(sum.unwrap_or(0).saturating_add(value)));
            sum.map_or(f64::NAN, |sum| sum as f64)
        };
        let points = points(&run.clock, sum);
        let stroke = stroke.unwrap_or(group.stroke);
        Curve { label: group.label.clone(), colour: group.colour, stroke, points }
    };
    groups.iter().map(curve).collect()
}

/// Pairs of a link and its stroke: directions of one path differ in the stroke.
fn link_styles<'a>(run: &'a RunRecord, palette: &Palette) -> Vec<(&'a LinkRecord, usize, Stroke)> {
    let mut seen = vec![0; palette.paths.len() + 1];
    let style = |link: &'a LinkRecord| {
        let colour = palette.link(&link.name);
        let number = seen[colour];
        seen[colour] += 1;
        let stroke = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][number % 3];
        // Links of no path get the colours that no path has, one each.
        if colour == palette.paths.len() { (link, colour + number, Stroke::Solid) } else { (link, colour, stroke) }
    };
    run.links.iter().map(style).collect()
}

fn queues(run: &RunRecord, palette: &Palette) -> Option<Chart<'static>> {
    let used = |link: &LinkRecord| link.samples.values.iter().any(|sample| sample.queue_bytes > 0);
    let curve = |(link, colour, stroke): (&LinkRecord, usize, Stroke)| {
        let points =
            points(&run.clock, |index| link.samples.get(index).map_or(f64::NAN, |sample| sample.queue_bytes as f64));
        Curve { label: link.name.clone(), colour, stroke, points }
    };
    let links = link_styles(run, palette).into_iter().filter(|(link, ..)| used(link)).take(MAX_CURVES);
    let curves: Vec<_> = links.map(curve).collect();
    (!curves.is_empty()).then(|| time_chart(run, "Queues of the links", Unit::Bytes, curves))
}

fn throughput(run: &RunRecord, palette: &Palette) -> Option<Chart<'static>> {
    let group = bin(&run.clock);
    let mut curves = Vec::new();
    for (link, colour, stroke) in link_styles(run, palette).into_iter().take(MAX_CURVES) {
        let rate = |index| link.samples.bit_rate(&run.clock, index, |sample| sample.delivered_bytes) as f64;
        let points = averages(&rate_points(&run.clock, rate), group);
        curves.push(Curve { label: link.name.clone(), colour, stroke, points });
    }
    let (capacities, left_out) = capacities(run, palette, &curves);
    curves.extend(capacities);
    let mut note = average_note(&run.clock);
    if left_out {
        note.push_str("; capacities far above are left out");
    }
    (!curves.is_empty())
        .then(|| Chart { note, ..time_chart(run, "Throughput of the links", Unit::BitsPerSecond, curves) })
}

/// What the links of these curves can carry, as steps, and whether some are left out: one far above all that is carried
/// would leave nothing else to see.
fn capacities(run: &RunRecord, palette: &Palette, throughput: &[Curve]) -> (Vec<Curve>, bool) {
    const FAR: f64 = 4.0;
    let group = bin(&run.clock);
    let most = throughput.iter().flat_map(|curve| &curve.points).map(|(_, rate)| *rate).fold(0.0, f64::max);
    let mut curves: Vec<Curve> = Vec::new();
    let mut left_out = false;
    for (link, colour, _) in link_styles(run, palette).into_iter().take(throughput.len()) {
        if link.samples.last().is_none_or(|sample| sample.capacity.is_none()) {
            continue;
        }
        let rate = |index| link.capacity(&run.clock, index).map_or(f64::NAN, |rate| rate as f64);
        let points = steps(&averages(&rate_points(&run.clock, rate), group));
        // Both directions of a link often have the same one.
        let name = link.name.trim_end_matches(" up").trim_end_matches(" down");
        let twin = curves.iter_mut().find(|curve| curve.points == points && curve.label.starts_with(name));
        if let Some(twin) = twin {
            twin.label = format!("{name} capacity");
        } else if points.iter().all(|(_, rate)| *rate > FAR * most) {
            left_out = true;
        } else {
            curves.push(Curve { label: format!("{} capacity", link.name), colour, stroke: Stroke::Thin, points });
        }
    }
    (curves, left_out)
}

/// Values that each hold since the point before, as a line with steps.
fn steps(points: &[Point]) -> Vec<Point> {
    let mut line: Vec<Point> = Vec::new();
    let mut since = 0.0;
    for (time, value) in points {
        match line.last_mut() {
            Some(last) if last.1 == *value => last.0 = *time,
            _ => line.extend([(since, *value), (*time, *value)]),
        }
        since = *time;
    }
    line
}

fn drops(run: &RunRecord, palette: &Palette) -> Option<Chart<'static>> {
    let group = bin(&run.clock);
    let mut curves = Vec::new();
    for (link, colour, _) in link_styles(run, palette) {
        for (reason, samples) in &link.drops {
            // Whether of one direction or of both, those of a path differ.
            let number = curves.iter().filter(|known: &&Curve| known.colour == colour).count();
            let stroke = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted][number % 3];
            let growth = |index| samples.growth(index, |count| *count) as f64;
            let points = sums(&rate_points(&run.clock, growth), group);
            curves.push(Curve { label: format!("{}: {reason}", link.name), colour, stroke, points });
        }
    }
    curves.truncate(MAX_CURVES);
    let note = format!("packets in {}", bin_text(&run.clock));
    (!curves.is_empty()).then(|| Chart { note, ..time_chart(run, "Packets dropped", Unit::Count, curves) })
}

fn reordering(run: &RunRecord) -> Vec<Chart<'static>> {
    let kinds = run.kinds();
    let curves = |value: fn(&crate::results::ConnectionSample) -> u64| {
        let curve = |(colour, kind): (usize, &&str)| {
            let connections: Vec<_> = run.with_series().filter(|connection| connection.kind == **kind).collect();
            let sum = |index| {
                let values = connections.iter().filter_map(|connection| connection.samples.get(index).map(value));
                values.sum::<u64>() as f64
            };
            let label = match connections.len() {
                1 => connections[0].name.clone(),
                count => format!("{kind} ({count} connections)"),
            };
            Curve { label, colour, stroke: Stroke::Solid, points: points(&run.clock, sum) }
        };
        kinds.iter().enumerate().map(|(colour, kind)| curve((colour, kind))).take(MAX_CURVES).collect::<Vec<_>>()
    };
    let charts = [
        time_chart(run, "Reorder buffer of the connection", Unit::Bytes, curves(|sample| sample.reorder)),
        time_chart(run, "Receive window of the connection", Unit::Bytes, curves(|sample| sample.window)),
    ];
    let shows = |chart: &Chart<'_>| chart.curves.iter().flat_map(|curve| &curve.points).any(|(_, value)| *value > 0.0);
    charts.into_iter().filter(shows).collect()
}

pub(super) fn time_chart(run: &RunRecord, title: &str, unit: Unit, curves: Vec<Curve>) -> Chart<'static> {
    let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value);
    let max = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    Chart {
        title: title.to_owned(),
        note: String::new(),
        x: Axis::until(seconds(run.clock.end), Unit::Seconds, X_TICKS),
        x_title: "time",
        y: Axis::from_zero(max, unit, Y_TICKS),
        curves,
        form: Form::Lines,
        marks: &[],
    }
}

pub(super) fn points(clock: &SampleClock, value: impl Fn(usize) -> f64) -> Vec<Point> {
    (0..clock.len()).map(|index| (seconds(clock.time(index)), value(index))).collect()
}

/// There is no rate before the first interval.
pub(super) fn rate_points(clock: &SampleClock, value: impl Fn(usize) -> f64) -> Vec<Point> {
    (1..clock.len()).map(|index| (seconds(clock.time(index)), value(index))).collect()
}

/// How many samples to average: 1, 2 or 5 times a power of ten, so that the time is a round one.
pub(super) fn bin(clock: &SampleClock) -> usize {
    let wanted = clock.len() / BINS;
    let mut decade = 1;
    loop {
        for size in [1, 2, 5].map(|mantissa| mantissa * decade) {
            if size >= wanted {
                return size;
            }
        }
        decade *= 10;
    }
}

fn bin_text(clock: &SampleClock) -> String {
    Unit::Seconds.format(clock.interval.as_nanos() as f64 * bin(clock) as f64 / 1e9, 3)
}

pub(super) fn average_note(clock: &SampleClock) -> String {
    format!("average of {}", bin_text(clock))
}

pub(super) fn seconds(time: tcp_adapter::Instant) -> f64 {
    time.as_nanos() as f64 / 1e9
}
