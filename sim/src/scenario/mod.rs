//! The scenario language: TOML files that say what is simulated.
//!
//! ```toml
//! [links.wifi]
//! rate = "50Mbit"
//! delay = "10ms"
//!
//! [links.lte]
//! profile = "lte"
//! delay = ["20ms", "40ms", "80ms"]     # a list where one value belongs is a sweep
//!
//! [[traffic]]
//! bytes = "20MiB"
//! ```
//!
//! # Sections
//!
//! | Section | What it says |
//! |---|---|
//! | `[meta]` | `name`, `description`, `assumptions`, for people |
//! | `[tcp]` | [`Tcp`]: the stack, its congestion control and ECN, for all hosts that say nothing else |
//! | `[hosts.NAME]` | [`Host`]; without any there are `client` and `server` |
//! | `[routers.NAME]` | [`Router`]; links join hosts and routers, so that several paths can share a link |
//! | `[links.NAME]` | [`Link`]: `from`, `to`, conditions for both directions |
//! | `[links.NAME.up]`, `[links.NAME.down]` | conditions for one direction |
//! | `[middlebox.NAME]` | [`Middlebox`] on a link |
//! | `[[traffic]]` | [`Traffic`] |
//! | `[mptcp]`, `[run]`, `[report]` | [`Mptcp`], [`Run`], [`Report`] |
//! | `[sweep.NAME]` | `keys` that are set together, `values` in turn, `labels` for them |
//! | `[[expect]]` | [`Expectation`] |
//! | `[[published]]` | [`Published`] figures of others, shown beside ours |
//! | `[files]` | what files hold that the scenario names, by name; others are looked for beside it |
//!
//! A link takes over what it does not say itself from a `profile` ([`profiles`](crate::profiles)), or from an
//! earlier link by `like = "NAME"` (all but the addresses). `"none"` stands for what is not there.
//!
//! # Sweeps
//!
//! Where one value belongs, a list or a range (`"5ms..250ms step 5ms"`, `"1Mbit..1000Mbit x 10"`) is an
//! [`Axis`] named by the path of its key; where a list belongs, a list of lists is. `[sweep.NAME]` is one that
//! sets several keys, and `[run] seeds` one over seeds. The axes are nested in this order: those of `[tcp]`, hosts, links,
//! middleboxes and traffic as the file has them, `[mptcp]`, `[run]`, `[sweep]`, seeds; the last is the fastest.
//! What names a variant (`kind`, `model`) cannot be swept over, as other keys come and go with it, but a whole
//! table can (`loss = ["none", { model = "random", p = "1%" }]`).
//!
//! # Mistakes
//!
//! No key is ignored. Every mistake is a [`ScenarioError`] that names the key, what was found, what is allowed, and
//! the line.

mod error;
mod event;
mod field;
mod file;
mod host;
mod link;
mod loss;
mod metric;
mod middlebox;
mod pace;
mod qos;
mod queue;
mod section;
mod settings;
mod shipped;
mod sweep;
mod topology;
mod traffic;
mod tree;
mod units;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mptcp_core::Qos;

pub use error::{At, ScenarioError, UnitError};
pub use event::{Action, Change, DirectionChoice, Event};
pub use file::NamedFile;
pub use host::{Congestion, Cpu, Host, Nic, Router, StackChoice, Tcp, TooBig};
pub use link::{CarrierLoss, Link, LinkSpec};
pub use loss::{Chance, Loss, LossModel, LossUnit, Reorder};
pub use metric::{Amount, Bound, Condition, Dimension, Expectation, Metric, Published};
pub use middlebox::{Behaviour, Middlebox, OptionChoice, OptionMatch, Segments};
pub use pace::{Distribution, Draw, Jitter, Order, RateSpec, Steps, Timing};
pub use queue::Queue;
pub use settings::{EndpointFlag, EndpointSpec, Endpoints, Heatmap, MOST_SERIES, Meta, Mptcp, Report, Run};
pub use shipped::{SHIPPED, Shipped};
pub use sweep::{Axis, POINT_LIMIT, Point, Sweep};
pub use topology::Hop;
pub use traffic::{AccessPattern, BlockLoad, Flow, PathPolicy, PhaseDistribution, Phases, Traffic, Transport, Work};
pub use units::{Picoseconds, Probability, Rate, Share, Size, Unit};

use error::Place;
use section::{Context, Section, reason};
use tree::{Node, Table, Value};

/// What is simulated. Of a file with sweeps, the values are those of its first point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// For people.
    pub meta: Meta,
    /// What hosts do that do not say otherwise.
    pub tcp: Tcp,
    /// Hosts, in the order of the file.
    pub hosts: Vec<Host>,
    /// Routers, in the order of the file.
    pub routers: Vec<Router>,
    /// Links, in the order of the file.
    pub links: Vec<Link>,
    /// Middleboxes, in the order of the file.
    pub middleboxes: Vec<Middlebox>,
    /// What applications do, in the order of the file.
    pub traffic: Vec<Traffic>,
    /// Multipath TCP.
    pub mptcp: Mptcp,
    /// How the classes of traffic share what each host sends; `None`: nobody looks at classes.
    pub qos: Option<Qos>,
    /// How long, and with which random numbers.
    pub run: Run,
    /// What the report shows.
    pub report: Report,
    /// What must hold.
    pub expect: Vec<Expectation>,
    /// Figures of others.
    pub published: Vec<Published>,
    /// Sweeps; none in a scenario that is one point.
    pub axes: Vec<Axis>,
    source: Source,
}

/// Where a scenario came from.
#[derive(Clone, Debug)]
struct Source {
    file: String,
    dir: PathBuf,
    /// As written.
    written: Table,
    /// With all defaults.
    complete: Table,
}

/// Scenarios that say the same are the same, wherever they came from.
impl PartialEq for Source {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Source {}

/// Sections, in the order in which they are printed.
const SECTIONS: [&str; 15] = [
    "meta",
    "tcp",
    "hosts",
    "routers",
    "links",
    "middlebox",
    "traffic",
    "mptcp",
    "qos",
    "run",
    "report",
    "sweep",
    "expect",
    "published",
    "files",
];

impl Scenario {
    /// Reads the scenario of the house that has this name, or else the file at this path.
    ///
    /// # Errors
    /// There is neither, or the first mistake in the file.
    pub fn open(name: &str) -> Result<Self, ScenarioError> {
        if let Some(shipped) = Shipped::find(name) {
            return shipped.scenario();
        }
        let path = Path::new(name);
        if path.extension().is_none() && !path.exists() {
            let suggestion = error::nearest(name, shipped::names());
            return Err(ScenarioError::NoSuchScenario { name: name.to_owned(), suggestion });
        }
        Self::load(path)
    }

    /// Reads a file. Files that it names are looked for beside it.
    ///
    /// # Errors
    /// The file cannot be read, or the first mistake in it.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError::Read { path: name.clone(), reason: reason(&error) })?;
        Self::from_text(&text, &name, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a text; `name` stands for the file in messages. Files that it names are looked for in the current folder.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str, name: &str) -> Result<Self, ScenarioError> {
        Self::from_text(text, name, Path::new(""))
    }

    fn from_text(text: &str, name: &str, dir: &Path) -> Result<Self, ScenarioError> {
        let mut written = Table::parse(text, name)?;
        if written.get("hosts").is_none() {
            let mut hosts = Table::default();
            for host in ["client", "server"] {
                hosts.put(host, Node::default(Value::Table(Table::default())));
            }
            written.put("hosts", Node::default(Value::Table(hosts)));
        }
        let scenario = Self::read(written, name, dir)?;
        file::check_files(&scenario.source.written, &context(name, dir))?;
        scenario.check_rows()?;
        Ok(scenario)
    }

    /// Replaces a value, as `--set links.p1.delay=20ms` does: `value` is TOML, or text without its quotes. A list
    /// or a range makes a sweep. What a sweep of the file sets at `path` is left out of that. On an error nothing changes.
    ///
    /// # Errors
    /// There is nothing at `path`, or the value is not right there.
    pub fn set(&mut self, path: &str, value: &str) -> Result<(), ScenarioError> {
        self.set_all([(path, value)])
    }

    /// Replaces several values, one after the other, of which only all together need to make a scenario. On an error nothing changes.
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn set_all<'a>(&mut self, settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), ScenarioError> {
        let Source { file, dir, written, .. } = &self.source;
        let mut written = written.clone();
        let cx = context(file, dir);
        for (path, value) in settings {
            let node = Node::parse_override(path, value);
            sweep::release(&cx, &mut written, path, &node.place)?;
            sweep::assign(&cx, &mut written, path, node)?;
        }
        let scenario = Self::read(written, file, dir)?;
        scenario.check_rows()?;
        *self = scenario;
        Ok(())
    }

    /// The file with all defaults. It reads as an equal scenario, sweeps included.
    pub fn explain(&self) -> String {
        let mut complete = self.source.complete.clone();
        let order = |key: &str| SECTIONS.iter().position(|section| *section == key);
        complete.entries.sort_by_key(|entry| order(&entry.key));
        let mut text = complete.print();
        let connections: u64 = self.traffic.iter().map(|traffic| self.connections_of(traffic)).sum();
        if connections > MOST_SERIES as u64 {
            let _ = writeln!(
                text,
                "\n# Of the {connections} connections the first {MOST_SERIES} have series and plots; the tables count all."
            );
        }
        text
    }

    /// The points of the sweep; of a scenario without one, one point.
    pub fn sweep(&self) -> Sweep<'_> {
        Sweep { scenario: self }
    }

    /// The scenario at a point of the sweep. What compares points (published figures, heat maps) stays
    /// behind, and so do the expectations of other points.
    fn at_point<'a>(&self, rows: impl Iterator<Item = (&'a Axis, usize)>) -> Result<Self, ScenarioError> {
        let Source { file, dir, written, .. } = &self.source;
        let cx = context(file, dir);
        let mut tree = written.clone();
        let mut chosen = Vec::new();
        for (axis, row) in rows {
            axis.apply(row, &cx, &mut tree)?;
            chosen.push((axis.name().to_owned(), axis.labels().nth(row).unwrap_or_default().to_owned()));
        }
        tree.take("sweep");
        tree.take("published");
        if let Some(Node { value: Value::Table(report), .. }) = tree.get_mut("report") {
            report.take("heatmaps");
        }
        let holds = |parameters: &[(String, String)]| parameters.iter().all(|parameter| chosen.contains(parameter));
        let mut expectations = self.expect.iter();
        if let Some(Node { value: Value::List(items), .. }) = tree.get_mut("expect") {
            items.retain(|_| expectations.next().is_none_or(|expectation| holds(&expectation.when.parameters)));
            for item in items {
                if let Value::Table(expectation) = &mut item.value {
                    expectation.take("when");
                }
            }
        }
        Self::read(tree, file, dir)
    }

    /// Reads every value of `[sweep]` once, so that mistakes are found before the first run.
    fn check_rows(&self) -> Result<(), ScenarioError> {
        let points: u128 = self.axes.iter().map(|axis| axis.rows() as u128).product();
        if points > u128::from(POINT_LIMIT) {
            let at = context(&self.source.file, &self.source.dir).at(&Place::Default);
            return Err(ScenarioError::TooManyPoints { at, points, limit: POINT_LIMIT });
        }
        for (varied, axis) in self.axes.iter().enumerate().filter(|(_, axis)| axis.name() != sweep::SEEDS) {
            for row in 0..axis.rows() {
                let chosen = self.axes.iter().enumerate();
                self.at_point(chosen.map(|(index, axis)| (axis, if index == varied { row } else { 0 })))?;
            }
        }
        Ok(())
    }

    fn read(written: Table, file: &str, dir: &Path) -> Result<Self, ScenarioError> {
        let mut cx = context(file, dir);
        let mut complete = written.clone();
        let mut root = root(&mut cx, &mut complete);
        root.check_keys(&SECTIONS)?;
        file::read_files(&mut root)?;
        let sweeps = sweep::read_sweeps(&mut root)?;
        for axis in &sweeps {
            root.cx.swept_keys.extend_from_slice(axis.keys());
            axis.apply(0, root.cx, root.table)?;
        }
        let tcp = host::read_tcp(&mut root)?;
        let mut scenario = Self {
            meta: settings::read_meta(&mut root)?,
            tcp,
            hosts: host::read_hosts(&mut root, tcp)?,
            routers: host::read_routers(&mut root)?,
            links: link::read_links(&mut root)?,
            middleboxes: host::named(&mut root, "middlebox", middlebox::read_middlebox)?,
            traffic: root.blocks("traffic", traffic::read_traffic)?,
            mptcp: settings::read_mptcp(&mut root)?,
            qos: qos::read_qos(&mut root)?,
            run: settings::read_run(&mut root)?,
            report: settings::read_report(&mut root)?,
            expect: root.blocks("expect", metric::read_expectation)?,
            published: root.blocks("published", metric::read_published)?,
            axes: Vec::new(),
            source: Source { file: file.to_owned(), dir: dir.to_owned(), written, complete: Table::default() },
        };
        scenario.axes = std::mem::take(&mut cx.axes);
        scenario.axes.extend(sweeps);
        if scenario.run.seeds > 1 {
            scenario.axes.push(Axis::of_seeds(scenario.run.seed, scenario.run.seeds));
        }
        topology::check(&scenario, &cx, &complete)?;
        scenario.source.complete = complete;
        Ok(scenario)
    }
}

fn context(file: &str, dir: &Path) -> Context {
    Context {
        file: file.to_owned(),
        dir: dir.to_owned(),
        files: BTreeMap::new(),
        axes: Vec::new(),
        swept_keys: Vec::new(),
        hide_defaults: false,
    }
}

fn root<'a>(cx: &'a mut Context, tree: &'a mut Table) -> Section<'a> {
    tree.block = true;
    Section { cx, table: tree, path: String::new(), place: Place::Default }
}

#[cfg(test)]
mod tests;
