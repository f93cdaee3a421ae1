//! Reading a table: defaults, sweeps and messages.
//!
//! A value that a file leaves out is put into the tree as it is read, so that the tree, once read, is the
//! scenario with all its defaults. A list where one value belongs is a sweep over its elements; the first
//! is read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{At, Place, ScenarioError, nearest};
use super::field::{Field, NONE, Text};
use super::file::NamedFile;
use super::sweep::Axis;
use super::tree::{Node, Table, Value};
use super::units::{Size, expand_range};

/// What reading a file needs and finds.
#[derive(Debug)]
pub(crate) struct Context {
    /// Name of the file, for messages.
    pub(crate) file: String,
    /// Where the files are that the scenario names.
    pub(crate) dir: PathBuf,
    /// What those hold that it carries itself, by name.
    pub(crate) files: BTreeMap<String, Arc<str>>,
    /// Sweeps, in the order in which they were met.
    pub(crate) axes: Vec<Axis>,
    /// Keys that a `[sweep.NAME]` sets.
    pub(crate) swept_keys: Vec<String>,
    /// Defaults are not printed, as what they complete stands elsewhere.
    pub(crate) hide_defaults: bool,
}

impl Context {
    pub(crate) fn at(&self, place: &Place) -> At {
        At::new(&self.file, place.clone())
    }

    pub(crate) fn invalid(&self, node: &Node, key: &str, expected: impl Into<String>) -> ScenarioError {
        let (at, key, found) = (self.at(&node.place), key.to_owned(), node.print());
        ScenarioError::Invalid { at, key, found, expected: expected.into() }
    }

    pub(crate) fn contradiction(&self, place: &Place, key: &str, problem: impl Into<String>) -> ScenarioError {
        ScenarioError::Contradiction { at: self.at(place), key: key.to_owned(), problem: problem.into() }
    }

    /// A name that must be one of `known`.
    pub(crate) fn unknown_name<'n>(
        &self,
        place: &Place,
        key: &str,
        kind: &'static str,
        found: &str,
        known: impl Iterator<Item = &'n str>,
    ) -> ScenarioError {
        let known_names: Vec<String> = known.map(str::to_owned).collect();
        let suggestion = nearest(found, known_names.iter().map(String::as_str));
        let (at, key, found) = (self.at(place), key.to_owned(), found.to_owned());
        ScenarioError::UnknownName { at, key, found, kind, known_names, suggestion }
    }
}

/// A table that is being read.
pub(crate) struct Section<'a> {
    pub(crate) cx: &'a mut Context,
    pub(crate) table: &'a mut Table,
    pub(crate) path: String,
    pub(crate) place: Place,
}

impl<'a> Section<'a> {
    /// Starts to read a table, which may have these keys.
    pub(crate) fn open(
        cx: &'a mut Context,
        node: &'a mut Node,
        path: &str,
        keys: &[&str],
    ) -> Result<Self, ScenarioError> {
        let place = node.place.clone();
        if !matches!(node.value, Value::Table(_)) {
            return Err(cx.invalid(node, path, format!("a table with the keys {}", keys.join(", "))));
        }
        let Value::Table(table) = &mut node.value else { unreachable!("a table, as just seen") };
        let section = Self { cx, table, path: path.to_owned(), place };
        section.check_keys(keys)?;
        Ok(section)
    }

    pub(crate) fn check_keys(&self, keys: &[&str]) -> Result<(), ScenarioError> {
        let Some(entry) = self.table.entries.iter().find(|entry| !keys.contains(&entry.key.as_str())) else {
            return Ok(());
        };
        Err(ScenarioError::UnknownKey {
            at: self.cx.at(&entry.place),
            section: self.name(),
            key: entry.key.clone(),
            allowed: keys.iter().map(|key| (*key).to_owned()).collect(),
            suggestion: nearest(&entry.key, keys.iter().copied()),
        })
    }

    /// The table as messages name it.
    pub(crate) fn name(&self) -> String {
        match (self.path.as_str(), self.table.block) {
            ("", _) => "the file".to_owned(),
            (path, true) => format!("[{path}]"),
            (path, false) => path.to_owned(),
        }
    }

    pub(crate) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where the value of a key stands, or else the table.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    /// Reads the value of a key, which is `default` unless it is written.
    pub(crate) fn get<T: Field>(&mut self, key: &str, default: impl Into<Value>) -> Result<T, ScenarioError> {
        self.get_if(key, default, "", |_| true)
    }

    /// Like [`get`](Self::get), of a value that must pass `check`, or else is not what is `expected`.
    pub(crate) fn get_if<T: Field>(
        &mut self,
        key: &str,
        default: impl Into<Value>,
        expected: &str,
        check: impl Fn(&T) -> bool,
    ) -> Result<T, ScenarioError> {
        let path = self.key(key);
        if !self.has(key) {
            let mut node = Node::default(default.into());
            node.hidden = self.cx.hide_defaults;
            self.table.put(key, node);
        }
        // It was put there just now if it was missing.
        let Some(node) = self.table.get_mut(key) else { unreachable!("'{path}' is in the table") };
        read_swept(self.cx, node, &path, expected, &check)
    }

    /// A value that may be missing, which is written `"none"`.
    pub(crate) fn optional<T: Field>(&mut self, key: &str) -> Result<Option<T>, ScenarioError> {
        self.get(key, NONE)
    }

    /// A value that says something only if it is written: it has no default here.
    pub(crate) fn own<T: Field>(&mut self, key: &str) -> Result<Option<T>, ScenarioError> {
        let path = self.key(key);
        let Some(node) = self.table.get_mut(key) else { return Ok(None) };
        read_swept(self.cx, node, &path, "", &|_| true).map(Some)
    }

    /// A count in a range.
    pub(crate) fn count(
        &mut self,
        key: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ScenarioError> {
        let expected = match *range.end() {
            u64::MAX => format!("a whole number of at least {}", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        self.get_if(key, default, &expected, |count| range.contains(count))
    }

    /// Reads a value that must be there.
    pub(crate) fn require<T: Field>(&mut self, key: &str, expected: &str) -> Result<T, ScenarioError> {
        let path = self.key(key);
        match self.table.get_mut(key) {
            Some(node) => read_swept(self.cx, node, &path, "", &|_| true),
            None => Err(ScenarioError::MissingKey {
                at: self.cx.at(&self.place),
                section: self.name(),
                key: key.to_owned(),
                expected: expected.to_owned(),
            }),
        }
    }

    /// Reads a table under a header of its own, which is added if it is not there.
    pub(crate) fn block(&mut self, key: &str, keys: &[&str]) -> Result<Section<'_>, ScenarioError> {
        let path = self.key(key);
        if !self.has(key) {
            self.table.put(key, Node::default(Value::Table(Table::default())));
        }
        // It was put there just now if it was missing.
        let Some(node) = self.table.get_mut(key) else { unreachable!("'{path}' is in the table") };
        mark_block(node);
        Section::open(self.cx, node, &path, keys)
    }

    /// Reads each table of a list of tables under headers of their own (`[[traffic]]`). The path to an element
    /// is its name, if it has one, or its number from 0.
    pub(crate) fn blocks<T>(
        &mut self,
        key: &str,
        read: impl Fn(&mut Context, &mut Node, &str) -> Result<T, ScenarioError>,
    ) -> Result<Vec<T>, ScenarioError> {
        let path = self.key(key);
        let Some(node) = self.table.get_mut(key) else { return Ok(Vec::new()) };
        let Value::List(items) = &mut node.value else {
            return Err(self.cx.invalid(node, &path, format!("tables, each under [[{path}]]")));
        };
        items
            .iter_mut()
            .enumerate()
            .map(|(index, item)| {
                mark_block(item);
                let name = match &item.value {
                    Value::Table(table) => table.get("name").map(Node::label),
                    _ => None,
                };
                let name = name.filter(|name| is_name(name)).unwrap_or_else(|| index.to_string());
                read(self.cx, item, &format!("{path}.{name}"))
            })
            .collect()
    }

    pub(crate) fn invalid(&self, key: &str, expected: impl Into<String>) -> ScenarioError {
        match self.table.get(key) {
            Some(node) => self.cx.invalid(node, &self.key(key), expected),
            None => ScenarioError::MissingKey {
                at: self.cx.at(&self.place),
                section: self.name(),
                key: key.to_owned(),
                expected: expected.into(),
            },
        }
    }

    /// A file that the scenario carries, or that can be read.
    pub(crate) fn file(&mut self, key: &str) -> Result<NamedFile, ScenarioError> {
        let Text(name) = self.require(key, "the name of a file")?;
        NamedFile::find(self.cx, &name, self.cx.at(&self.place_of(key)), self.key(key))
    }
}

/// What an error of the operating system says, without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether a text can name a host, a link or traffic: it appears in paths and in file names.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

pub(crate) fn mark_block(node: &mut Node) {
    if let Value::Table(table) = &mut node.value {
        table.block = true;
    }
}

/// Reads one value of a table by its key, or each of a sweep.
fn read_swept<T: Field>(
    cx: &mut Context,
    node: &mut Node,
    key: &str,
    expected: &str,
    check: &impl Fn(&T) -> bool,
) -> Result<T, ScenarioError> {
    let checked = |cx: &mut Context, node: &mut Node| {
        let value = T::read(cx, node, key)?;
        if check(&value) { Ok(value) } else { Err(cx.invalid(node, key, expected)) }
    };
    let Some(mut nodes) = swept_nodes::<T>(cx, node, key)? else { return checked(cx, node) };
    let axes = cx.axes.len();
    let mut values = nodes.iter_mut().map(|node| checked(cx, &mut node.clone())).collect::<Result<Vec<_>, _>>()?;
    if cx.axes.len() > axes {
        return Err(cx.contradiction(&node.place, key, "is a sweep within a sweep"));
    }
    // What both directions of a link have in common is read twice.
    if !node.hidden && cx.axes.iter().all(|axis| axis.name() != key) {
        cx.axes.push(Axis::of_key(key, nodes));
    }
    Ok(values.swap_remove(0))
}

/// The values of a sweep; `None` if `node` is one value.
fn swept_nodes<T: Field>(cx: &Context, node: &Node, key: &str) -> Result<Option<Vec<Node>>, ScenarioError> {
    if !T::SWEPT {
        return Ok(None);
    }
    let nodes = match &node.value {
        Value::List(items) if !T::LIST || items.iter().any(|item| matches!(item.value, Value::List(_))) => {
            items.clone()
        }
        Value::Text(text) => match expand_range(text) {
            None => return Ok(None),
            Some(range) => {
                let range = range.map_err(|error| unit_error(cx, node, key, error))?;
                range.into_iter().map(|text| Node::new(node.place.clone(), number_or_text(text))).collect()
            }
        },
        _ => return Ok(None),
    };
    if nodes.is_empty() {
        Err(cx.invalid(node, key, "a value, or a list of values to sweep over"))
    } else {
        Ok(Some(nodes))
    }
}

/// The values of a list or of a range, wherever they will be used.
pub(crate) fn sweep_values(cx: &Context, node: &Node, key: &str) -> Result<Vec<Node>, ScenarioError> {
    let nodes = match &node.value {
        Value::List(items) => Some(items.clone()),
        Value::Text(_) => swept_nodes::<Size>(cx, node, key)?,
        _ => None,
    };
    nodes
        .filter(|nodes| !nodes.is_empty())
        .ok_or_else(|| cx.invalid(node, key, r#"a list, or a range such as "5ms..250ms step 5ms""#))
}

fn number_or_text(text: String) -> Value {
    text.parse().map_or_else(|_| Value::Text(text), Value::Integer)
}

pub(crate) fn unit_error(cx: &Context, node: &Node, key: &str, error: super::UnitError) -> ScenarioError {
    ScenarioError::Unit { at: cx.at(&node.place), key: key.to_owned(), found: node.print(), error }
}
