//! Curves over time or over another quantity.

use std::fmt::Write as _;

use super::axis::Axis;
use super::decimate::{Point, extremes};
use crate::results::html::markup::Markup;

/// A chart with its heading, its legend and its plot.
#[derive(Debug)]
pub(in crate::results::html) struct Chart<'a> {
    pub(in crate::results::html) title: String,
    /// A sentence beneath the title; may be empty.
    pub(in crate::results::html) note: String,
    pub(in crate::results::html) x: Axis,
    /// What the horizontal axis shows.
    pub(in crate::results::html) x_title: &'a str,
    pub(in crate::results::html) y: Axis,
    pub(in crate::results::html) curves: Vec<Curve>,
    pub(in crate::results::html) form: Form,
    /// Vertical lines, with what happened there.
    pub(in crate::results::html) marks: &'a [(f64, String)],
}

/// How curves are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::results::html) enum Form {
    /// Lines that keep all extremes.
    Lines,
    /// Areas one on top of the other; all curves have the same positions.
    Stacked,
    /// Bars side by side around each position, which are whole numbers.
    Bars,
}

/// One line of a chart.
#[derive(Debug)]
pub(in crate::results::html) struct Curve {
    pub(in crate::results::html) label: String,
    /// Which colour of the palette.
    pub(in crate::results::html) colour: usize,
    pub(in crate::results::html) stroke: Stroke,
    /// Rising positions; a value that is not a number makes a gap.
    pub(in crate::results::html) points: Vec<Point>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::results::html) enum Stroke {
    Solid,
    Dashed,
    Dotted,
    /// For what stands behind the others.
    Thin,
}

/// Colours of the palette, `--c0` and so on in the style sheet.
const COLOURS: usize = 8;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 264.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 36.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT: f64 = HEIGHT - TOP - BOTTOM;

/// Points of curves are whole tenths of a pixel, which keeps pages small.
const FINE: f64 = 10.0;

impl Chart<'_> {
    /// Draws the chart, with about so many points in all.
    pub(in crate::results::html) fn draw(&self, budget: usize) -> Markup {
        let mut out = Markup::new();
        out.open("figure", &[("class", "chart")]);
        out.open("figcaption", &[]);
        out.element("h4", &[], &self.title);
        if !self.note.is_empty() {
            out.element("p", &[("class", "note")], &self.note);
        }
        self.legend(&mut out);
        out.close();
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        let (x, y) = (axis_data(&self.x), axis_data(&self.y));
        let stacked = if self.form == Form::Stacked { "1" } else { "" };
        let frame = format!("{LEFT} {TOP} {PLOT_WIDTH} {PLOT_HEIGHT}");
        out.open(
            "svg",
            &[
                ("viewBox", &view),
                ("role", "img"),
                ("aria-label", &self.title),
                ("data-x", &x),
                ("data-y", &y),
                ("data-xunit", self.x.readout.symbol),
                ("data-yunit", self.y.readout.symbol),
                ("data-stacked", stacked),
                ("data-frame", &frame),
            ],
        );
        self.grid(&mut out);
        self.mark(&mut out);
        let columns = (budget / (2 * self.curves.len().max(1))).clamp(40, PLOT_WIDTH as usize);
        let place = format!("translate({LEFT} {TOP}) scale({})", 1.0 / FINE);
        out.open("g", &[("transform", &place)]);
        match self.form {
            Form::Lines => self.lines(&mut out, columns),
            Form::Stacked => self.stack(&mut out, columns),
            Form::Bars => self.bars(&mut out),
        }
        out.close();
        out.close();
        out.close();
        out
    }

    /// Draws the chart as a file of its own, with this style sheet.
    pub(in crate::results::html) fn draw_alone(&self, out: &mut Markup, style: &'static str) {
        const LINE: f64 = 16.0;
        const COLUMNS: usize = 3;
        let rows = self.curves.len().div_ceil(COLUMNS) as f64;
        let head = LINE * (rows + 1.5);
        let view = format!("0 0 {WIDTH} {}", coordinate(HEIGHT + head));
        out.open(
            "svg",
            &[("xmlns", "http://www.w3.org/2000/svg"), ("viewBox", &view), ("class", "chart"), ("role", "img")],
        );
        out.open("style", &[]);
        out.raw(style);
        out.close();
        out.empty("rect", &[("width", "100%"), ("height", "100%"), ("fill", "var(--card)")]);
        out.element("text", &[("x", "8"), ("y", &coordinate(LINE))], &self.title);
        for (index, curve) in self.curves.iter().enumerate() {
            let x = LEFT + (index % COLUMNS) as f64 * PLOT_WIDTH / COLUMNS as f64;
            let y = LINE * ((index / COLUMNS) as f64 + 2.0);
            let path = format!("M{} {}h22", coordinate(x), coordinate(y));
            out.empty("path", &[("class", &curve.class()), ("d", &path)]);
            out.element("text", &[("x", &coordinate(x + 28.0)), ("y", &coordinate(y + 4.0))], &curve.label);
        }
        out.open("g", &[("transform", &format!("translate(0 {})", coordinate(head)))]);
        self.grid(out);
        out.open("g", &[("transform", &format!("translate({LEFT} {TOP}) scale({})", 1.0 / FINE))]);
        self.lines(out, PLOT_WIDTH as usize);
        out.close();
        out.close();
        out.close();
    }

    fn legend(&self, out: &mut Markup) {
        out.open("ul", &[("class", "legend")]);
        for (index, curve) in self.curves.iter().enumerate() {
            out.open("li", &[]);
            let index = index.to_string();
            out.open("button", &[("type", "button"), ("data-curve", &index), ("title", "show or hide")]);
            out.open("svg", &[("class", "key"), ("viewBox", "0 0 22 10"), ("aria-hidden", "true")]);
            match self.form {
                Form::Lines => {
                    out.empty("path", &[("class", &curve.class()), ("d", "M1 5h20")]);
                }
                Form::Stacked | Form::Bars => {
                    let kind = if self.form == Form::Bars { "bar" } else { "area" };
                    let class = format!("{kind} {}", curve.class());
                    out.empty("path", &[("class", &class), ("d", "M1 1h20v8h-20z")]);
                }
            }
            out.close();
            out.element("span", &[], &curve.label);
            out.close();
            out.close();
        }
        out.close();
    }

    fn grid(&self, out: &mut Markup) {
        let (right, bottom) = (LEFT + PLOT_WIDTH, TOP + PLOT_HEIGHT);
        out.element("text", &[("class", "unit"), ("x", &coordinate(LEFT - 6.0)), ("y", "11")], self.y.symbol);
        for tick in &self.y.ticks {
            let y = TOP + (1.0 - self.y.position(tick.value)) * PLOT_HEIGHT;
            let path = format!("M{LEFT} {}H{right}", coordinate(y));
            out.empty("path", &[("class", "grid"), ("d", &path)]);
            let (x, y) = (coordinate(LEFT - 6.0), coordinate(y + 3.5));
            out.element("text", &[("class", "ylabel"), ("x", &x), ("y", &y)], &tick.label);
        }
        for tick in &self.x.ticks {
            let x = coordinate(LEFT + self.x.position(tick.value) * PLOT_WIDTH);
            let path = format!("M{x} {TOP}V{}", bottom + 4.0);
            out.empty("path", &[("class", "grid"), ("d", &path)]);
            let y = coordinate(bottom + 16.0);
            out.element("text", &[("class", "xlabel"), ("x", &x), ("y", &y)], &tick.label);
        }
        let title = match self.x.symbol {
            "" => self.x_title.to_owned(),
            symbol => format!("{} ({symbol})", self.x_title),
        };
        let (x, y) = (coordinate(LEFT + PLOT_WIDTH / 2.0), coordinate(HEIGHT - 5.0));
        out.element("text", &[("class", "xlabel"), ("x", &x), ("y", &y)], &title);
        let path = format!("M{LEFT} {TOP}V{bottom}H{right}");
        out.empty("path", &[("class", "axis"), ("d", &path)]);
    }

    /// Lines with numbers above, which the list beneath the charts explains. Where numbers would touch, the later
    /// one is left out.
    fn mark(&self, out: &mut Markup) {
        const NUMBER_WIDTH: f64 = 16.0;
        let mut free_from = LEFT;
        for ((time, text), number) in self.marks.iter().zip(1..) {
            let x = LEFT + self.x.position(*time) * PLOT_WIDTH;
            out.open("g", &[("class", "mark")]);
            out.element("title", &[], text);
            let path = format!("M{} {TOP}V{}", coordinate(x), TOP + PLOT_HEIGHT);
            out.empty("path", &[("d", &path)]);
            if x >= free_from {
                out.element("text", &[("x", &coordinate(x)), ("y", &coordinate(TOP - 6.0))], &number.to_string());
                free_from = x + NUMBER_WIDTH;
            }
            out.close();
        }
    }

    fn lines(&self, out: &mut Markup, columns: usize) {
        for (index, curve) in self.curves.iter().enumerate() {
            let mut path = String::new();
            for piece in curve.points.split(|(_, value)| !value.is_finite()).filter(|piece| !piece.is_empty()) {
                let share = (columns * piece.len()).div_ceil(curve.points.len());
                let values: Vec<f64> = piece.iter().map(|(_, value)| *value).collect();
                let kept = extremes(&values, share).into_iter().map(|index| self.place(piece[index]));
                trace(&mut path, kept);
            }
            let index = index.to_string();
            out.open("path", &[("class", &curve.class()), ("data-curve", &index), ("d", &path)]);
            out.element("title", &[], &curve.label);
            out.close();
        }
    }

    fn stack(&self, out: &mut Markup, columns: usize) {
        let Some(first) = self.curves.first() else { return };
        let mut floor = vec![0.0; first.points.len()];
        let mut layers = Vec::new();
        for curve in &self.curves {
            let add = |(below, (_, value)): (&f64, &Point)| below + if value.is_finite() { *value } else { 0.0 };
            let ceiling: Vec<f64> = floor.iter().zip(&curve.points).map(add).collect();
            layers.push((floor, ceiling.clone()));
            floor = ceiling;
        }
        // The same positions for all layers, chosen by the sum.
        let kept = extremes(&floor, columns);
        let place = |values: &[f64], index: usize| self.place((first.points[index].0, values[index]));
        for (number, ((floor, ceiling), curve)) in layers.iter().zip(&self.curves).enumerate() {
            let mut line = String::new();
            trace(&mut line, kept.iter().map(|index| place(ceiling, *index)));
            let mut area = String::new();
            let back = kept.iter().rev().map(|index| place(floor, *index));
            trace(&mut area, kept.iter().map(|index| place(ceiling, *index)).chain(back));
            area.push('z');
            let number = number.to_string();
            let area_class = format!("area {}", curve.class());
            out.open("path", &[("class", &area_class), ("data-area", &number), ("d", &area)]);
            out.element("title", &[], &curve.label);
            out.close();
            out.empty("path", &[("class", &curve.class()), ("data-curve", &number), ("d", &line)]);
        }
    }

    fn bars(&self, out: &mut Markup) {
        /// Of the way from one position to the next.
        const GROUP: f64 = 0.8;
        const GAP: f64 = 0.1;
        let width = GROUP / self.curves.len().max(1) as f64;
        for (index, curve) in self.curves.iter().enumerate() {
            let class = format!("bar {}", curve.class());
            let index_text = index.to_string();
            for (x, y) in curve.points.iter().copied().filter(|(_, value)| value.is_finite()) {
                let left = x - GROUP / 2.0 + width * (index as f64 + GAP / 2.0);
                let (from, top) = self.place((left, y));
                let (to, floor) = self.place((left + width * (1.0 - GAP), self.y.min));
                let path = format!("M{from} {floor}V{top}H{to}V{floor}z");
                out.open("path", &[("class", &class), ("data-area", &index_text), ("d", &path)]);
                out.element("title", &[], &format!("{}: {}", curve.label, self.y.readout.format(y, 4)));
                out.close();
            }
        }
    }

    fn place(&self, (x, y): Point) -> (i64, i64) {
        let x = self.x.position(x) * PLOT_WIDTH * FINE;
        let y = (1.0 - self.y.position(y)) * PLOT_HEIGHT * FINE;
        (x.round() as i64, y.round() as i64)
    }
}

impl Curve {
    fn class(&self) -> String {
        let stroke = match self.stroke {
            Stroke::Solid => "",
            Stroke::Dashed => " dashed",
            Stroke::Dotted => " dotted",
            Stroke::Thin => " thin",
        };
        format!("curve c{}{stroke}", self.colour % COLOURS)
    }
}

/// What the script needs to turn positions back into numbers.
fn axis_data(axis: &Axis) -> String {
    let one = axis.readout.one;
    let kind = if axis.is_logarithmic() { "log" } else { "lin" };
    format!("{kind} {} {}", axis.min / one, axis.max / one)
}

/// Appends a line through the points, leaving out those that change nothing.
fn trace(path: &mut String, points: impl Iterator<Item = (i64, i64)>) {
    let mut kept: Vec<(i64, i64)> = Vec::new();
    for point in points {
        let flat = matches!(*kept, [.., before, last] if before.1 == last.1 && last.1 == point.1);
        let same = kept.last() == Some(&point);
        if flat {
            kept.pop();
        }
        if !same || flat {
            kept.push(point);
        }
    }
    let (mut last, mut is_first) = (None, true);
    for (x, y) in kept {
        match last {
            None => {
                let _ = write!(path, "M{x} {y}");
            }
            Some((before_x, before_y)) => {
                for step in [x - before_x, y - before_y] {
                    // A minus sign separates numbers as well as a space.
                    let gap = if is_first {
                        "l"
                    } else if step < 0 {
                        ""
                    } else {
                        " "
                    };
                    let _ = write!(path, "{gap}{step}");
                    is_first = false;
                }
            }
        }
        last = Some((x, y));
    }
    if last.is_some() && is_first {
        // A point alone, which round ends of lines make visible.
        path.push_str("h0");
    }
}

fn coordinate(value: f64) -> String {
    let text = crate::results::unit::fixed(value, 1);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::unit::Unit;

    fn chart(form: Form, curves: Vec<Vec<Point>>) -> Chart<'static> {
        let curve = |(colour, points)| Curve { label: format!("<p{colour}>"), colour, stroke: Stroke::Solid, points };
        Chart {
            title: "t".into(),
            note: String::new(),
            x: Axis::until(10.0, Unit::Seconds, 5),
            x_title: "time",
            y: Axis::from_zero(100.0, Unit::Plain, 5),
            curves: curves.into_iter().enumerate().map(curve).collect(),
            form,
            marks: &[],
        }
    }

    #[test]
    fn lines_are_relative_and_leave_out_what_changes_nothing() {
        let mut path = String::new();
        trace(&mut path, [(0, 9), (1, 9), (2, 9), (2, 9), (3, 4), (5, 6)].into_iter());
        assert_eq!(path, "M0 9l2 0 1-5 2 2");
    }

    #[test]
    fn a_peak_of_one_sample_is_drawn_to_its_top() {
        let points = (0..50_000).map(|index| (f64::from(index) / 5000.0, if index == 777 { 100.0 } else { 1.0 }));
        let svg = chart(Form::Lines, vec![points.collect()]).draw(600).finish();
        let path = svg.split("d=\"M").last().unwrap();
        // 99 of 100 units of 206 pixels, in tenths.
        assert!(path.contains("-2039"), "{path}");
        assert!(svg.len() < 6000, "{}", svg.len());
    }

    #[test]
    fn gaps_stay_open_and_stacks_add_up() {
        let gap = vec![(0.0, 50.0), (1.0, f64::NAN), (2.0, 50.0), (3.0, 60.0)];
        let svg = chart(Form::Lines, vec![gap]).draw(1000).finish();
        assert_eq!(svg.matches("M0 1030h0M1056 1030l528-206").count(), 1, "{svg}");
        let layer = vec![(0.0, 25.0), (10.0, 50.0)];
        let svg = chart(Form::Stacked, vec![layer.clone(), layer]).draw(1000).finish();
        assert!(svg.contains("d=\"M0 1030l5280-1030\""), "{svg}");
        assert!(svg.contains("&lt;p1&gt;"));
    }
}
