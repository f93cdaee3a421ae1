//! The values of a scenario file, each with its line, that can be changed and printed again.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{At, Place, ScenarioError};

/// Characters of a list on one line.
const LINE: usize = 100;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    /// It stands elsewhere in the file: it is not printed, and a list in it is another's sweep.
    pub(crate) hidden: bool,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Bool(bool),
    /// What the language has no use for (a float, a date), as it was written.
    Other(String),
    List(Vec<Node>),
    Table(Table),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Other(number.to_string()), Self::Integer)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// A list of texts.
impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts.into_iter().map(|text| Node::default(Self::Text(text))).collect())
    }
}

/// Values by name, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// It is printed under a header of its own.
    pub(crate) block: bool,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(place: Place, value: Value) -> Self {
        Self { place, hidden: false, value }
    }

    /// A value that nobody wrote.
    pub(crate) fn default(value: Value) -> Self {
        Self::new(Place::Default, value)
    }

    /// Reads the value of an override: TOML, or else the text itself.
    pub(crate) fn parse_override(path: &str, text: &str) -> Self {
        let place = Place::Override(format!("{path}={text}"));
        match DeValue::parse(text) {
            Ok(value) if !value.get_ref().is_datetime() => {
                let mut node = convert(&Lines::new(text), &value);
                node.relocate(&place);
                node
            }
            _ => Self::new(place, Value::Text(text.to_owned())),
        }
    }

    /// Marks the value and all in it as standing elsewhere.
    pub(crate) fn hide(&mut self) {
        self.hidden = true;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(Self::hide),
            Value::Table(table) => table.entries.iter_mut().for_each(|entry| entry.node.hide()),
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => (),
        }
    }

    /// Whether this text is a value in it.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        match &self.value {
            Value::Text(found) => found == text,
            Value::List(items) => items.iter().any(|item| item.mentions(text)),
            Value::Table(table) => table.entries.iter().any(|entry| entry.node.mentions(text)),
            Value::Integer(_) | Value::Bool(_) | Value::Other(_) => false,
        }
    }

    pub(crate) fn relocate(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Value::Table(table) => table.entries.iter_mut().for_each(|entry| {
                entry.place = place.clone();
                entry.node.relocate(place);
            }),
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => (),
        }
    }

    /// As TOML on one line.
    pub(crate) fn print(&self) -> String {
        match &self.value {
            Value::Text(text) => quote(text),
            Value::Integer(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Other(text) => text.clone(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Self::print).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Table(table) => {
                let entries: Vec<String> = table
                    .entries
                    .iter()
                    .filter(|entry| !entry.node.hidden)
                    .map(|entry| format!("{} = {}", print_key(&entry.key), entry.node.print()))
                    .collect();
                if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
            }
        }
    }

    /// As TOML, a long list with a line for each element.
    fn print_wrapped(&self) -> String {
        let line = self.print();
        match &self.value {
            Value::List(items) if line.len() > LINE => {
                let items: String = items.iter().map(|item| format!("  {},\n", item.print())).collect();
                format!("[\n{items}]")
            }
            _ => line,
        }
    }

    /// As people see it: text without quotes.
    pub(crate) fn label(&self) -> String {
        match &self.value {
            Value::Text(text) => text.clone(),
            _ => self.print(),
        }
    }
}

impl Table {
    /// Parses a file.
    pub(crate) fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let lines = Lines::new(text);
        let parsed = DeTable::parse(text).map_err(|error| {
            let found = error.span().and_then(|span| text.get(span)).unwrap_or_default().trim();
            // The parser says what it is about where it is short: the key that is there twice, the value that is none.
            let found = if found.is_empty() || found.contains('\n') { String::new() } else { format!(": {found}") };
            ScenarioError::Syntax {
                at: At::new(file, error.span().map_or(Place::Default, |span| Place::Line(lines.line(span.start)))),
                reason: format!("{}{found}", error.message().replace('\n', ", ")),
            }
        })?;
        Ok(convert_table(&lines, parsed.get_ref()))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    /// Adds or replaces a value.
    pub(crate) fn put(&mut self, key: &str, node: Node) -> &mut Node {
        let index = match self.entries.iter().position(|entry| entry.key == key) {
            Some(index) => {
                self.entries[index].node = node;
                index
            }
            None => {
                self.entries.push(Entry { key: key.to_owned(), place: node.place.clone(), node });
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].node
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Replaces the value at a path such as `links.p1.delay` or `traffic.bulk.size`: of a list of tables, a
    /// part names the element with that `name`, or counts from 0.
    ///
    /// Missing tables are added. Fails with the part that is neither.
    pub(crate) fn set(&mut self, path: &str, node: Node) -> Result<(), String> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        if first.is_empty() {
            return Err(path.to_owned());
        }
        let Some(rest) = rest else {
            self.put(first, node);
            return Ok(());
        };
        if self.get(first).is_none() {
            self.put(first, Node::new(node.place.clone(), Value::Table(Self::default())));
        }
        let child = self.get_mut(first).ok_or_else(|| first.to_owned())?;
        match &mut child.value {
            Value::Table(table) => table.set(rest, node),
            Value::List(items) => {
                let (element, rest) = rest.split_once('.').ok_or_else(|| rest.to_owned())?;
                match find_element(items, element) {
                    Some(table) => table.set(rest, node),
                    None => Err(element.to_owned()),
                }
            }
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => Err(first.to_owned()),
        }
    }

    /// As a TOML file.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        self.print_under("", &mut text);
        text
    }

    fn print_under(&self, path: &str, text: &mut String) {
        let shown = || self.entries.iter().filter(|entry| !entry.node.hidden);
        for entry in shown().filter(|entry| !is_block(&entry.node)) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} = {}", print_key(&entry.key), entry.node.print_wrapped());
        }
        for entry in shown().filter(|entry| is_block(&entry.node)) {
            let path =
                if path.is_empty() { print_key(&entry.key) } else { format!("{path}.{}", print_key(&entry.key)) };
            match &entry.node.value {
                Value::Table(table) => table.print_block(&path, "[", "]", text),
                Value::List(items) => {
                    for item in items {
                        if let Value::Table(table) = &item.value {
                            table.print_block(&path, "[[", "]]", text);
                        }
                    }
                }
                Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => (),
            }
        }
    }

    fn print_block(&self, path: &str, open: &str, close: &str, text: &mut String) {
        let only_blocks = !self.entries.is_empty() && self.entries.iter().all(|entry| is_block(&entry.node));
        if !only_blocks || open == "[[" {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{open}{path}{close}");
        }
        self.print_under(path, text);
    }
}

fn is_block(node: &Node) -> bool {
    match &node.value {
        Value::Table(table) => table.block,
        Value::List(items) => {
            !items.is_empty() && items.iter().all(|item| matches!(&item.value, Value::Table(table) if table.block))
        }
        Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => false,
    }
}

fn find_element<'a>(items: &'a mut [Node], element: &str) -> Option<&'a mut Table> {
    let named = |item: &Node| match &item.value {
        Value::Table(table) => {
            matches!(table.get("name").map(|name| &name.value), Some(Value::Text(n)) if n == element)
        }
        _ => false,
    };
    let index = items.iter().position(named).or_else(|| element.parse().ok())?;
    match &mut items.get_mut(index)?.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

/// Finds the line of a byte.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Self { starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn line(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }
}

fn convert(lines: &Lines, value: &Spanned<DeValue<'_>>) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.as_str().to_owned()), Value::Integer),
        DeValue::Float(number) => Value::Other(number.as_str().to_owned()),
        DeValue::Datetime(moment) => Value::Other(moment.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| convert(lines, item)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(lines, table)),
    };
    Node::new(Place::Line(lines.line(value.span().start)), converted)
}

fn convert_table(lines: &Lines, table: &DeTable<'_>) -> Table {
    let mut entries: Vec<(usize, Entry)> = table
        .iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let place = Place::Line(lines.line(start));
            (start, Entry { key: key.get_ref().to_string(), place, node: convert(lines, value) })
        })
        .collect();
    // The parser sorts by name, but the first link of the file is the first path.
    entries.sort_by_key(|(start, _)| *start);
    Table { block: false, entries: entries.into_iter().map(|(_, entry)| entry).collect() }
}

fn print_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { key.to_owned() } else { quote(key) }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
