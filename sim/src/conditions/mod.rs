//! From what a scenario says of a link to what the two pipes of the link are told.
//!
//! [`Link::pipe`] is the configuration of a direction at the start, [`Link::timetable`] everything that happens to it
//! later: scheduled events, and conditions that are drawn anew from time to time.

mod convert;
mod timetable;

use std::path::Path;

use crate::link::{LinkError, PipeConfig, TraceError};
use crate::random::Streams;
use crate::scenario::{Link, reason};
pub use timetable::Timetable;

/// Why a link of a scenario cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionsError {
    /// A file that the scenario names cannot be read.
    #[error("link '{link}' names the file '{path}', which cannot be read: {reason}")]
    Read {
        /// The link.
        link: String,
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A file is not what the scenario takes it for.
    #[error("link '{link}' names the file '{path}', which is no {kind}: {error}")]
    Trace {
        /// The link.
        link: String,
        /// The file.
        path: String,
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        error: TraceError,
    },
    /// Conditions that contradict each other.
    #[error("link '{link}': {error}")]
    Link {
        /// The link.
        link: String,
        /// What is wrong.
        error: LinkError,
    },
}

impl Link {
    /// Name of a direction, up being from `from` to `to`: that of its pipe and of its random streams.
    pub fn pipe_name(&self, up: bool) -> String {
        format!("link.{}.{}", self.name, if up { "up" } else { "down" })
    }

    /// Conditions of a direction at the start of a run.
    ///
    /// # Errors
    /// A trace that is missing or malformed, or conditions that contradict each other.
    pub fn pipe(&self, up: bool) -> Result<PipeConfig, ConditionsError> {
        let spec = if up { &self.up } else { &self.down };
        let config = convert::pipe(self, spec)?;
        config.validate().map_err(|error| self.wrong(error))?;
        Ok(config)
    }

    /// Everything that happens to a direction in the course of a run.
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe), of the conditions that events set.
    pub fn timetable(&self, up: bool, streams: Streams) -> Result<Timetable, ConditionsError> {
        Timetable::new(self, up, streams)
    }

    fn wrong(&self, error: LinkError) -> ConditionsError {
        ConditionsError::Link { link: self.name.clone(), error }
    }

    /// Reads a file that this link names.
    fn read<T>(
        &self,
        path: &Path,
        kind: &'static str,
        parse: impl Fn(&str) -> Result<T, TraceError>,
    ) -> Result<T, ConditionsError> {
        let (link, shown) = (self.name.clone(), path.display().to_string());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return Err(ConditionsError::Read { link, path: shown, reason: reason(&error) }),
        };
        parse(&text).map_err(|error| ConditionsError::Trace { link, path: shown, kind, error })
    }
}

#[cfg(test)]
mod tests;
