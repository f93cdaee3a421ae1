//! What a run leaves behind.
//!
//! The simulator fills a [`RunRecord`]; a [`Report`] is one run, or several of one scenario that are to be compared;
//! a [`Comparison`] has several of these; a [`SweepRecord`] holds one line per run of a sweep. From these come
//! * the table for the terminal, [`summary_text`] and [`sweep_text`];
//! * `summary.json`, [`summary_json`] and [`sweep_json`];
//! * tidy tables of all samples, [`SERIES`], as [`csv`] and [`series_json`], and one number that tells whether two runs had the same, [`digest()`];
//! * one self-contained page with plots, [`html::report`] and [`html::sweep`].
//!
//! While a run is going on, an [`EventLog`] and [`Captures`] take what is too large to keep.
//! [`Folder`] puts everything in its place.
//!
//! All of it is a function of the record alone: the same record gives the same bytes on every machine. Nothing here
//! reads a clock, a path or the locale, iterates in hash order, or uses a mathematical function whose last digit
//! depends on the platform.

mod captures;
mod comparison;
pub mod csv;
mod digest;
mod events;
mod folder;
pub mod html;
mod json;
mod latency;
mod record;
mod samples;
mod series;
mod summary;
mod sweep;
mod table;
mod tables;
mod unit;

#[cfg(test)]
mod fixture;

pub use captures::{CaptureId, Captures};
pub use comparison::{Case, CaseFigures, Comparison, comparison_json, comparison_text};
pub use digest::digest;
#[cfg(test)]
pub(crate) use digest::hex;
pub use events::{Event, EventLog, EventLogHeader, PacketRef};
pub(crate) use folder::until_new;
pub use folder::{Folder, WriteError, file_name};
pub use json::{series_json, summary_json, sweep_json};
pub use latency::{Latency, PERCENTILES};
pub use record::{
    ConnectionRecord, ConnectionSample, Expectation, FailedConnection, LatencyRecord, LatencySample, LinkRecord,
    LinkSample, Mark, PublishedFigure, Report, RunMeta, RunRecord, SubflowRecord, SubflowSample,
};
pub use samples::{SampleClock, Samples};
pub use series::{Datum, SERIES, Series};
pub use summary::{ConnectionSummary, LinkSummary, PathSummary, RunSummary};
pub use sweep::{Axis, Better, Cell, Metric, Spread, SweepPoint, SweepRecord, sweep_text};
pub use table::{Align, Table};
pub use tables::summary_text;
pub(crate) use unit::significant;
pub use unit::{Prefix, Unit};
