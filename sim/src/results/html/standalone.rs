//! Plots as files of their own, for documents.

use super::markup::Markup;
use super::plot::{Axis, Chart, Curve, Form, Stroke};
use crate::results::unit::Unit;

/// A plot as SVG: a line for each curve, which has a value for each of the names side by side; what is not a number makes a gap.
pub fn lines(title: &str, names: &[String], unit: Unit, curves: Vec<(String, Vec<f64>)>) -> String {
    let values = curves.iter().flat_map(|(_, values)| values).copied().filter(|value| value.is_finite());
    let max = values.fold(0.0, f64::max);
    let strokes = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];
    let curve = |(index, (label, values)): (usize, (String, Vec<f64>))| Curve {
        label,
        colour: index,
        stroke: strokes[index % strokes.len()],
        points: values.into_iter().enumerate().map(|(position, value)| (position as f64, value)).collect(),
    };
    let chart = Chart {
        title: title.to_owned(),
        note: String::new(),
        x: Axis::of_names(names),
        x_title: "",
        y: Axis::from_zero(max, unit, 5),
        curves: curves.into_iter().enumerate().map(curve).collect(),
        form: Form::Lines,
        marks: &[],
    };
    let mut out = Markup::new();
    chart.draw_alone(&mut out, include_str!("page.css"));
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_stands_alone() {
        let names = ["a".to_owned(), "b & c".to_owned()];
        let svg = lines("title", &names, Unit::Seconds, vec![("one".into(), vec![1.0, 2.0]), ("<2>".into(), vec![])]);
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"));
        for text in ["<style>", "b &amp; c", "&lt;2&gt;", ">title<", "class=\"curve c0\""] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
    }
}
