//! Plots as inline SVG.

mod axis;
mod chart;
mod decimate;
mod heat;

pub(super) use axis::Axis;
pub(super) use chart::{Chart, Curve, Form, Stroke};
pub(super) use decimate::{Point, averages, bridged, sums};
pub(super) use heat::{HeatCell, HeatMap, HeatScale};
