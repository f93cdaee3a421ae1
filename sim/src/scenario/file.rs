//! Files that a scenario names.

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{At, ScenarioError};
use super::section::{Context, Section, mark_block, reason};
use super::tree::{Table, Value};

/// The section with the texts of files that a scenario carries itself.
const FILES: &str = "files";

/// A file that a scenario names, and where it does. What it holds is read when a run needs it.
#[derive(Clone, Debug)]
pub struct NamedFile {
    path: PathBuf,
    /// What it holds, if the scenario itself says so.
    text: Option<Arc<str>>,
    at: At,
    key: String,
}

/// What is meant is the file, wherever it is named.
impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.text) == (&other.path, &other.text)
    }
}

impl Eq for NamedFile {}

impl NamedFile {
    /// One that is in `[files]`, or else can be read now, relative to the scenario's own folder.
    pub(crate) fn find(cx: &Context, name: &str, at: At, key: String) -> Result<Self, ScenarioError> {
        if let Some(text) = cx.files.get(name) {
            return Ok(Self { path: name.into(), text: Some(text.clone()), at, key });
        }
        let file = Self { path: cx.dir.join(name), text: None, at, key };
        // A folder can be opened, but not read.
        match std::fs::File::open(&file.path).and_then(|mut file| file.read(&mut [0])) {
            Ok(_) => Ok(file),
            Err(error) => Err(file.unreadable(&error)),
        }
    }

    /// Where it is; its name, if the scenario carries it.
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
        let parsed = match &self.text {
            Some(text) => parse(text),
            None => parse(&std::fs::read_to_string(&self.path).map_err(|error| self.unreadable(&error))?),
        };
        parsed.map_err(|error| ScenarioError::WrongFile {
            at: self.at.clone(),
            key: self.key.clone(),
            path: self.shown(),
            kind,
            reason: error.to_string(),
        })
    }

    fn unreadable(&self, error: &std::io::Error) -> ScenarioError {
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

/// Reads `[files]`: what files hold that the scenario names, so that it needs no others beside it.
pub(crate) fn read_files(root: &mut Section<'_>) -> Result<(), ScenarioError> {
    let Some(node) = root.table.get_mut(FILES) else { return Ok(()) };
    mark_block(node);
    let Value::Table(table) = &node.value else {
        return Err(root.cx.invalid(node, FILES, "a table with the name and the text of each file"));
    };
    for entry in &table.entries {
        let Value::Text(text) = &entry.node.value else {
            return Err(root.cx.invalid(&entry.node, &format!("{FILES}.{}", entry.key), "the text of the file"));
        };
        root.cx.files.insert(entry.key.clone(), text.as_str().into());
    }
    Ok(())
}

/// That all of `[files]` are named somewhere: another one may be meant where none of them is.
pub(crate) fn check_files(tree: &Table, cx: &Context) -> Result<(), ScenarioError> {
    let Some(Value::Table(files)) = tree.get(FILES).map(|node| &node.value) else { return Ok(()) };
    let others = || tree.entries.iter().filter(|entry| entry.key != FILES);
    match files.entries.iter().find(|file| !others().any(|entry| entry.node.mentions(&file.key))) {
        None => Ok(()),
        Some(file) => Err(cx.contradiction(&file.place, &format!("{FILES}.{}", file.key), "is named by nothing")),
    }
}
