//! From what a scenario says of a link to what the two pipes of the link are told.
//!
//! [`Link::pipe`] is the configuration of a direction at the start, [`Link::timetable`] everything that happens to it
//! later: scheduled events, and conditions that are drawn anew from time to time.

mod convert;
mod timetable;

use crate::link::{LinkError, PipeConfig};
use crate::random::Streams;
use crate::scenario::{Link, ScenarioError};
pub use timetable::Timetable;

/// Why a link of a scenario cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionsError {
    /// A file that the scenario names cannot be read, or is not what the scenario takes it for.
    #[error(transparent)]
    File(Box<ScenarioError>),
    /// Conditions that contradict each other.
    #[error("link '{link}': {error}")]
    Link {
        /// The link.
        link: String,
        /// What is wrong.
        error: LinkError,
    },
}

impl From<ScenarioError> for ConditionsError {
    fn from(error: ScenarioError) -> Self {
        Self::File(Box::new(error))
    }
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
}

#[cfg(test)]
mod tests;
