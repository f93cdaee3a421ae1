//! Files that a scenario names.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::error::{At, ScenarioError};
use super::section::reason;

/// A file that a scenario names, and where it does. What it holds is read when a run needs it.
#[derive(Clone, Debug)]
pub struct NamedFile {
    path: PathBuf,
    at: At,
    key: String,
}

/// What is meant is the file, wherever it is named.
impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for NamedFile {}

impl NamedFile {
    pub(crate) fn new(path: PathBuf, at: At, key: String) -> Self {
        Self { path, at, key }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it as what it should be: a `kind`, such as `trace of losses`.
    ///
    /// # Errors
    /// [`ScenarioError::MissingFile`] if it cannot be read, or [`ScenarioError::WrongFile`] with what `parse` says.
    pub fn read<T, E: Display>(
        &self,
        kind: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ScenarioError> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| self.unreadable(&error))?;
        parse(&text).map_err(|error| ScenarioError::WrongFile {
            at: self.at.clone(),
            key: self.key.clone(),
            path: self.shown(),
            kind,
            reason: error.to_string(),
        })
    }

    pub(crate) fn unreadable(&self, error: &std::io::Error) -> ScenarioError {
        ScenarioError::MissingFile {
            at: self.at.clone(),
            key: self.key.clone(),
            path: self.shown(),
            reason: reason(error),
        }
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}
