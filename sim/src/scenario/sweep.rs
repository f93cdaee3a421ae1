//! Sweeps: a file with lists and ranges is many scenarios.

use super::Scenario;
use super::error::{Place, ScenarioError};
use super::field::Text;
use super::section::{Context, Section, is_name, sweep_values};
use super::tree::{Entry, Node, Table, Value};

/// Points that a sweep may have.
pub const POINT_LIMIT: u64 = 10_000_000;

/// Name of the axis of seeds.
pub(crate) const SEEDS: &str = "run.seed";

/// One parameter of a sweep with its values.
#[derive(Clone, Debug)]
pub struct Axis {
    name: String,
    /// Paths that are set together.
    keys: Vec<String>,
    rows: Vec<Row>,
}

/// One value of an axis.
#[derive(Clone, Debug)]
struct Row {
    label: String,
    /// One for each key.
    nodes: Vec<Node>,
}

/// Axes are equal if they have the same names, keys and values, wherever they stand in a file.
impl PartialEq for Axis {
    fn eq(&self, other: &Self) -> bool {
        let rows = |axis: &Self| -> Vec<(String, Vec<String>)> {
            axis.rows.iter().map(|row| (row.label.clone(), row.nodes.iter().map(Node::print).collect())).collect()
        };
        (&self.name, &self.keys, rows(self)) == (&other.name, &other.keys, rows(other))
    }
}

impl Eq for Axis {}

impl Axis {
    /// An axis that changes one key, and is named by it.
    pub(crate) fn of_key(key: &str, nodes: Vec<Node>) -> Self {
        let rows = nodes.into_iter().map(|node| Row { label: node.label(), nodes: vec![node] }).collect();
        Self { name: key.to_owned(), keys: vec![key.to_owned()], rows }
    }

    /// The axis of seeds: `count` of them, from the first up.
    pub(crate) fn of_seeds(first: u64, count: u64) -> Self {
        let rows = (first..first.saturating_add(count)).map(|seed| {
            let node = |value: u64| Node::default(value.into());
            Row { label: seed.to_string(), nodes: vec![node(seed), node(1)] }
        });
        Self { name: SEEDS.to_owned(), keys: vec![SEEDS.to_owned(), "run.seeds".to_owned()], rows: rows.collect() }
    }

    /// Its name: the path of the key, as `links.p1.delay`, or the name of a `[sweep.NAME]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys that it changes together.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Its values as people see them.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rows.iter().map(|row| row.label.as_str())
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Sets the keys of this axis to its `index`-th value.
    pub(crate) fn apply(&self, index: usize, cx: &Context, tree: &mut Table) -> Result<(), ScenarioError> {
        let Some(row) = self.rows.get(index) else { return Ok(()) };
        for (key, node) in self.keys.iter().zip(&row.nodes) {
            assign(cx, tree, key, node.clone())?;
        }
        Ok(())
    }
}

/// Sets a value of what there is: a name that is not there must be a mistake, and not a new host or link.
pub(crate) fn assign(cx: &Context, tree: &mut Table, path: &str, node: Node) -> Result<(), ScenarioError> {
    let cannot = |place: &Place, part: &str| {
        cx.contradiction(place, path, format!("cannot be set, as there is no '{part}' that it could belong to"))
    };
    let mut parts = path.split('.');
    let (section, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if ["hosts", "links", "middlebox", "routers", "traffic"].contains(&section) {
        match tree.get(section).map(|node| &node.value) {
            Some(Value::Table(named)) if named.get(name).is_some() && parts.next().is_some() => (),
            Some(Value::List(_)) => (),
            _ => return Err(cannot(&node.place, name)),
        }
    }
    let place = node.place.clone();
    tree.set(path, node).map_err(|part| cannot(&place, &part))
}

/// Takes a key away from the axes under `[sweep]` that set it, so that what is set for all points holds at each. An axis that sets nothing else goes.
pub(crate) fn release(cx: &Context, tree: &mut Table, path: &str, place: &Place) -> Result<(), ScenarioError> {
    let Some(Value::Table(sweeps)) = tree.get_mut("sweep").map(|node| &mut node.value) else { return Ok(()) };
    for Entry { key: name, node, .. } in &mut sweeps.entries {
        let Value::Table(axis) = &mut node.value else { continue };
        let Some(Value::List(keys)) = axis.get_mut("keys").map(|keys| &mut keys.value) else { continue };
        let is_part = |key: &Node| matches!(&key.value, Value::Text(key) if is_below(path, key));
        if let Some(whole) = keys.iter().find(|key| is_part(key)) {
            let problem = format!("cannot be set, as [sweep.{name}] sets all of {} at each point", whole.label());
            return Err(cx.contradiction(place, path, problem));
        }
        let is_it = |key: &Node| matches!(&key.value, Value::Text(key) if key == path);
        let Some(at) = keys.iter().position(is_it) else { continue };
        keys.remove(at);
        let left = keys.len();
        if let Some(Value::List(rows)) = axis.get_mut("values").map(|values| &mut values.value) {
            rows.iter_mut().for_each(|row| take_from_row(row, at, left));
        }
    }
    sweeps.entries.retain(|axis| !sets_nothing(&axis.node));
    Ok(())
}

/// Whether `path` names a part of what `whole` names.
fn is_below(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'))
}

/// Takes one value of several out of a row, of which `left` are left. One that is left is no list, as a single key takes lists as they are.
fn take_from_row(row: &mut Node, at: usize, left: usize) {
    let Value::List(values) = &mut row.value else { return };
    if left == 0 || values.len() != left + 1 {
        return;
    }
    values.remove(at);
    if left == 1 {
        *row = values.remove(0);
    }
}

fn sets_nothing(axis: &Node) -> bool {
    let Value::Table(axis) = &axis.value else { return false };
    matches!(axis.get("keys").map(|keys| &keys.value), Some(Value::List(keys)) if keys.is_empty())
}

/// One point of a sweep: which value each axis has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Number of the point, from 0.
    pub index: u64,
    /// The name of each axis and its value, outermost first.
    pub parameters: Vec<(String, String)>,
    /// The scenario of the point; it is no sweep.
    pub scenario: Scenario,
}

/// The points of a sweep, the last axis fastest. A scenario without axes has one point.
#[derive(Debug)]
pub struct Sweep<'a> {
    pub(crate) scenario: &'a Scenario,
}

impl Sweep<'_> {
    /// How many points there are.
    pub fn len(&self) -> u64 {
        self.scenario.axes.iter().map(|axis| axis.rows.len() as u64).product()
    }

    /// Never: even what is not swept is one point.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The point with this number; `None` beyond the last.
    ///
    /// # Errors
    /// Values that are right each for itself but not together.
    pub fn point(&self, index: u64) -> Option<Result<Point, ScenarioError>> {
        (index < self.len()).then(|| self.build(index))
    }

    /// All points in order.
    pub fn points(&self) -> impl Iterator<Item = Result<Point, ScenarioError>> {
        (0..self.len()).map(|index| self.build(index))
    }

    fn build(&self, index: u64) -> Result<Point, ScenarioError> {
        let mut rest = index;
        let mut choice: Vec<usize> = Vec::with_capacity(self.scenario.axes.len());
        for axis in self.scenario.axes.iter().rev() {
            let rows = axis.rows.len() as u64;
            // The remainder is below the number of rows, which is a usize.
            choice.push(usize::try_from(rest % rows).unwrap_or(usize::MAX));
            rest /= rows;
        }
        choice.reverse();
        let chosen = || self.scenario.axes.iter().zip(&choice);
        let parameters = chosen().map(|(axis, row)| (axis.name.clone(), axis.rows[*row].label.clone())).collect();
        let scenario = self.scenario.at_point(chosen().map(|(axis, row)| (axis, *row)))?;
        Ok(Point { index, parameters, scenario })
    }
}

/// Reads `[sweep.NAME]`: keys that change together.
pub(crate) fn read_sweeps(root: &mut Section<'_>) -> Result<Vec<Axis>, ScenarioError> {
    let Some(node) = root.table.get_mut("sweep") else { return Ok(Vec::new()) };
    super::section::mark_block(node);
    let Value::Table(sweeps) = &mut node.value else {
        return Err(root.cx.invalid(node, "sweep", "tables, each under [sweep.NAME]"));
    };
    let mut axes = Vec::new();
    for entry in &mut sweeps.entries {
        super::section::mark_block(&mut entry.node);
        axes.push(read_sweep(root.cx, &entry.key, &mut entry.node)?);
    }
    Ok(axes)
}

fn read_sweep(cx: &mut Context, name: &str, node: &mut Node) -> Result<Axis, ScenarioError> {
    let path = format!("sweep.{name}");
    let mut section = Section::open(cx, node, &path, &["keys", "values", "labels"])?;
    let expected_keys = r#"a list of what to set, such as ["links.p1.rate", "links.p2.rate"]"#;
    if !is_name(name) {
        return Err(section.cx.contradiction(&section.place, &path, "must be named by letters, digits, '-' and '_'"));
    }
    let keys: Vec<Text> = section.require("keys", expected_keys)?;
    let keys: Vec<String> = keys.into_iter().map(|Text(key)| key).collect();
    if keys.is_empty() {
        return Err(section.invalid("keys", expected_keys));
    }
    // Other keys come and go with these, so that they are not one parameter but another scenario.
    let structural =
        |key: &&String| key.rsplit('.').next().is_some_and(|last| ["kind", "model", "like"].contains(&last));
    if let Some(key) = keys.iter().find(structural) {
        let expected = format!("without '{key}': sweep over the whole table, or write a scenario for each");
        return Err(section.invalid("keys", expected));
    }
    let Some(values) = section.table.get("values") else {
        return Err(section.invalid("values", "the values in turn"));
    };
    let values = sweep_values(section.cx, values, &section.key("values"))?;
    let labels: Option<Vec<Text>> = section.optional("labels")?;
    if labels.as_ref().is_some_and(|labels| labels.len() != values.len()) {
        return Err(section.invalid("labels", format!("a list of {} labels, one for each value", values.len())));
    }
    let mut rows = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let label = match &labels {
            Some(labels) => labels[index].0.clone(),
            None => row_label(&value),
        };
        rows.push(Row { label, nodes: spread(section.cx, &path, &keys, value)? });
    }
    Ok(Axis { name: name.to_owned(), keys, rows })
}

/// One value for each key: the same for all, or a list with one for each. A single key takes lists as they are.
fn spread(cx: &Context, path: &str, keys: &[String], value: Node) -> Result<Vec<Node>, ScenarioError> {
    match value.value {
        Value::List(items) if keys.len() > 1 && items.len() == keys.len() => Ok(items),
        Value::List(_) if keys.len() > 1 => {
            let expected = format!("a list with one value for each of the {} keys", keys.len());
            Err(cx.invalid(&value, &format!("{path}.values"), expected))
        }
        _ => Ok(vec![value; keys.len()]),
    }
}

fn row_label(value: &Node) -> String {
    match &value.value {
        Value::List(items) => items.iter().map(Node::label).collect::<Vec<_>>().join(" "),
        _ => value.label(),
    }
}
