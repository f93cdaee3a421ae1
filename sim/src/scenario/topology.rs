//! Ways through the network, and whether everything that is named exists.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use mptcp_core::Coupling;

use super::error::{Place, ScenarioError};
use super::event::{Action, DirectionChoice};
use super::host::StackChoice;
use super::metric::Condition;
use super::queue::Queue;
use super::section::Context;
use super::settings::Endpoints;
use super::traffic::Transport;
use super::traffic::{Traffic, Work};
use super::tree::{Node, Table, Value};
use super::units::Unit;
use super::{Link, LinkSpec, Scenario};

/// One link of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Index in [`Scenario::links`].
    pub link: usize,
    /// From the link's `from` to its `to`.
    pub up: bool,
}

impl Hop {
    /// The same link the other way round.
    pub fn back(self) -> Self {
        Self { up: !self.up, ..self }
    }
}

impl Scenario {
    /// The shortest way between two hosts or routers, over the link `first` if that is given; of several, that over the links
    /// that come first in the file. Hosts do not forward. `None` also from a host to itself.
    ///
    /// Packets for `from` on `first` take it the other way round: what is routed is the destination.
    pub fn route(&self, from: &str, first: Option<usize>, to: &str) -> Option<Vec<Hop>> {
        let mut reached = BTreeSet::from([from]);
        let mut ways = VecDeque::from([(from, Vec::<Hop>::new())]);
        while let Some((node, way)) = ways.pop_front() {
            for (index, link) in self.links.iter().enumerate() {
                let Some((next, up)) = other_end(link, node) else { continue };
                let wrong_start = way.is_empty() && first.is_some_and(|first| first != index);
                if wrong_start || !reached.insert(next) {
                    continue;
                }
                let mut way = way.clone();
                way.push(Hop { link: index, up });
                if next == to {
                    return Some(way);
                }
                if self.routers.iter().any(|router| router.name == next) {
                    ways.push_back((next, way));
                }
            }
        }
        None
    }

    /// The links that end at a host or router, as indices in [`Scenario::links`].
    pub fn links_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.links.iter().enumerate().filter(move |(_, link)| other_end(link, node).is_some()).map(|(index, _)| index)
    }

    /// The links that traffic may use at its source, in the order in which it uses them: those that it
    /// names, or else all that lead to its destination. Of multipath TCP only the first one counts, where it begins: see [`Endpoints`] for the others.
    pub fn paths_of(&self, traffic: &Traffic) -> Vec<usize> {
        let index = |name: &String| self.links.iter().position(|link| link.name == *name);
        if !traffic.paths.is_empty() {
            return traffic.paths.iter().filter_map(index).collect();
        }
        self.links_of(&traffic.from)
            .filter(|link| self.route(&traffic.from, Some(*link), &traffic.to).is_some())
            .collect()
    }

    /// The paths that the connections of some traffic begin on or use: of several, TCP and UDP have the first only, and balanced connections as many as they are.
    pub fn paths_in_use(&self, traffic: &Traffic) -> Vec<usize> {
        let mut paths = self.paths_of(traffic);
        match traffic.transport {
            _ if traffic.is_on_each_path() => {}
            Transport::Tcp | Transport::Udp => paths.truncate(1),
            Transport::TcpBalanced => paths.truncate(usize::try_from(traffic.connections).unwrap_or(usize::MAX)),
            Transport::Mptcp | Transport::BondRoundRobin | Transport::BondHash => {}
        }
        paths
    }

    /// How many connections some traffic makes: where NVMe has a policy for its paths, one of each job over each path.
    pub fn connections_of(&self, traffic: &Traffic) -> u64 {
        let paths = if traffic.is_on_each_path() { self.paths_of(traffic).len() as u64 } else { 1 };
        traffic.connections * paths
    }
}

fn other_end<'l>(link: &'l Link, node: &str) -> Option<(&'l str, bool)> {
    if link.from == node {
        Some((&link.to, true))
    } else if link.to == node {
        Some((&link.from, false))
    } else {
        None
    }
}

/// Checks what cannot be seen in one section alone.
pub(crate) fn check(scenario: &Scenario, cx: &Context, tree: &Table) -> Result<(), ScenarioError> {
    Check { scenario, cx, tree }.run()
}

struct Check<'a> {
    scenario: &'a Scenario,
    cx: &'a Context,
    tree: &'a Table,
}

/// Samples of a run at most: beyond, they fill memory, and a plot shows no more.
const MOST_SAMPLES: u128 = 1_000_000;

/// How long a run without a time of its own is taken to be for this.
const OPEN_END: Duration = Duration::from_secs(1000);

impl Check<'_> {
    /// The series must have an end.
    fn samples(&self) -> Result<(), ScenarioError> {
        let Scenario { run, report, .. } = self.scenario;
        let samples = run.time.unwrap_or(OPEN_END).as_nanos() / report.interval.as_nanos().max(1);
        if samples <= MOST_SAMPLES {
            return Ok(());
        }
        let of = match run.time {
            Some(time) => format!("a run of {}", time.print()),
            None => "a run without run.time, which may be long,".to_owned(),
        };
        let problem = format!("is {}: {of} would have more than {MOST_SAMPLES} samples", report.interval.print());
        Err(self.cx.contradiction(&self.place(&["report", "interval"]), "report.interval", problem))
    }

    fn run(&self) -> Result<(), ScenarioError> {
        let Scenario { hosts, routers, links, middleboxes, traffic, .. } = self.scenario;
        if let Some(router) = routers.iter().find(|router| hosts.iter().any(|host| host.name == router.name)) {
            let key = format!("routers.{}", router.name);
            return Err(self.cx.contradiction(&self.place(&[&key, ""]), &key, "has the name of a host"));
        }
        for link in links {
            self.link(link)?;
        }
        for middlebox in middleboxes {
            let path = format!("middlebox.{}", middlebox.name);
            self.known(&path, "link", "link", &middlebox.link, || links.iter().map(|link| link.name.as_str()))?;
        }
        self.samples()?;
        if traffic.is_empty() {
            return Err(self.cx.contradiction(
                &Place::Default,
                "traffic",
                "is missing: at least one [[traffic]] is needed",
            ));
        }
        for (index, one) in traffic.iter().enumerate() {
            let path = format!("traffic.{index}");
            if traffic[..index].iter().any(|earlier| earlier.name == one.name) {
                let place = self.place(&[&path, "name"]);
                let problem = format!("is '{}', as other traffic is called", one.name);
                return Err(self.cx.contradiction(&place, &format!("{path}.name"), problem));
            }
            self.traffic(&path, one)?;
        }
        self.coupling()?;
        self.endpoints()?;
        self.results()
    }

    /// Windows are coupled from above, which one of the stacks does not allow.
    fn coupling(&self) -> Result<(), ScenarioError> {
        let Scenario { hosts, mptcp, .. } = self.scenario;
        let sealed = hosts.iter().find(|host| host.stack == StackChoice::Smoltcp);
        match sealed.filter(|_| mptcp.coupling != Coupling::Uncoupled) {
            None => Ok(()),
            Some(host) => {
                let problem = format!(
                    "is \"{}\", but host '{}' runs smoltcp, which can only be uncoupled",
                    mptcp.coupling, host.name
                );
                Err(self.cx.contradiction(&self.place(&["mptcp", "coupling"]), "mptcp.coupling", problem))
            }
        }
    }

    fn link(&self, link: &Link) -> Result<(), ScenarioError> {
        let path = format!("links.{}", link.name);
        let Scenario { hosts, routers, links, .. } = self.scenario;
        let nodes = || hosts.iter().map(|host| &host.name).chain(routers.iter().map(|router| &router.name));
        self.known(&path, "from", "host or router", &link.from, || nodes().map(String::as_str))?;
        self.known(&path, "to", "host or router", &link.to, || nodes().map(String::as_str))?;
        let earlier = links.iter().take_while(|other| other.name != link.name);
        for other in earlier {
            let shared = link.addresses.iter().find(|own| other.addresses.iter().any(|theirs| theirs.addr == own.addr));
            if let Some(shared) = shared {
                let problem = format!("has {}, which link '{}' has too", shared.addr, other.name);
                let place = self.place(&[&path, "addresses"]);
                return Err(self.cx.contradiction(&place, &format!("{path}.addresses"), problem));
            }
        }
        self.mtu(&path, link)?;
        self.queues(&path, link)
    }

    /// IPv6 needs more than other links may have.
    fn mtu(&self, path: &str, link: &Link) -> Result<(), ScenarioError> {
        /// RFC 8200 section 5.
        const LEAST_OF_IPV6: u16 = 1280;
        if !link.addresses.iter().any(|addr| addr.addr.is_ipv6()) {
            return Ok(());
        }
        let changes = link.events.iter().enumerate().filter_map(|(index, event)| match &event.action {
            Action::Set(change) => change.mtu.map(|mtu| (format!("{path}.events.{index}.mtu"), mtu)),
            _ => None,
        });
        let mut all = std::iter::once((format!("{path}.mtu"), link.mtu)).chain(changes);
        let Some((key, mtu)) = all.find(|(_, mtu)| *mtu < LEAST_OF_IPV6) else { return Ok(()) };
        let problem = format!("is {mtu}, but links with IPv6 addresses have an MTU of at least {LEAST_OF_IPV6}");
        Err(self.cx.contradiction(&self.place(&[&key]), &key, problem))
    }

    /// What a queue counts is how the link is put together, which no event can change.
    fn queues(&self, path: &str, link: &Link) -> Result<(), ScenarioError> {
        let counts = |queue: &Queue| matches!(queue, Queue::DropTail { count_in_flight: true, .. });
        for (index, event) in link.events.iter().enumerate() {
            let Action::Set(change) = &event.action else { continue };
            let Some(new) = &change.queue else { continue };
            let concerned = [(&link.up, DirectionChoice::Down), (&link.down, DirectionChoice::Up)];
            let differs = |(spec, other): &(&LinkSpec, DirectionChoice)| {
                event.direction != *other && counts(&spec.queue) != counts(new)
            };
            if concerned.iter().any(differs) {
                let key = format!("{path}.events.{index}.queue");
                let problem = "must have the same 'count_in_flight' as the queue of the link";
                return Err(self.cx.contradiction(&self.place(&[&key]), &key, problem));
            }
        }
        Ok(())
    }

    fn traffic(&self, path: &str, traffic: &Traffic) -> Result<(), ScenarioError> {
        let Scenario { hosts, links, run, .. } = self.scenario;
        let names = || hosts.iter().map(|host| host.name.as_str());
        self.known(path, "from", "host", &traffic.from, names)?;
        self.known(path, "to", "host", &traffic.to, names)?;
        let unreachable = |at: &str, through: String| ScenarioError::Unreachable {
            at: self.cx.at(&self.place(&[path, at])),
            key: format!("traffic '{}'", traffic.name),
            from: traffic.from.clone(),
            to: traffic.to.clone(),
            through,
        };
        for name in &traffic.paths {
            let own = || links.iter().filter(|link| other_end(link, &traffic.from).is_some());
            self.known(path, "paths", "link at its source", name, || own().map(|link| link.name.as_str()))?;
            let first = links.iter().position(|link| link.name == *name);
            if self.scenario.route(&traffic.from, first, &traffic.to).is_none() {
                return Err(unreachable("paths", format!(" through link '{name}'")));
            }
        }
        if self.scenario.paths_of(traffic).is_empty() {
            return Err(unreachable("to", String::new()));
        }
        let endless = match &traffic.work {
            Work::Bulk { bytes, .. } => bytes.is_none(),
            Work::Request { count, .. } | Work::Message { count, .. } => count.is_none(),
            Work::Nvme(load) => load.count.is_none(),
            Work::Paced { .. } => true,
            Work::Trace { .. } => false,
        };
        if endless && traffic.time.is_none() && run.time.is_none() {
            let problem = "has no end: give it bytes, a count or a time, or give [run] a time";
            return Err(self.cx.contradiction(
                &self.place(&[path, ""]),
                &format!("traffic '{}'", traffic.name),
                problem,
            ));
        }
        Ok(())
    }

    fn endpoints(&self) -> Result<(), ScenarioError> {
        let Endpoints::List(endpoints) = &self.scenario.mptcp.endpoints else { return Ok(()) };
        for (index, endpoint) in endpoints.iter().enumerate() {
            let path = format!("mptcp.endpoints.{index}");
            let Scenario { hosts, links, .. } = self.scenario;
            self.known(&path, "host", "host", &endpoint.host, || hosts.iter().map(|host| host.name.as_str()))?;
            let own = || links.iter().filter(|link| other_end(link, &endpoint.host).is_some());
            self.known(&path, "link", "link at this host", &endpoint.link, || own().map(|link| link.name.as_str()))?;
        }
        Ok(())
    }

    fn results(&self) -> Result<(), ScenarioError> {
        let Scenario { report, expect, published, traffic, axes, .. } = self.scenario;
        let traffic = || traffic.iter().map(|one| one.name.as_str());
        let axis_names = || axes.iter().map(|axis| axis.name());
        for (index, map) in report.heatmaps.iter().enumerate() {
            let path = format!("report.heatmaps.{index}");
            self.known(&path, "x", "axis of the sweep", &map.x, axis_names)?;
            self.known(&path, "y", "axis of the sweep", &map.y, axis_names)?;
        }
        for (index, expectation) in expect.iter().enumerate() {
            let path = format!("expect.{index}");
            self.known(&path, "of", "traffic", &expectation.of, traffic)?;
            self.condition(&path, "when", &expectation.when)?;
        }
        for (index, figure) in published.iter().enumerate() {
            let path = format!("published.{index}");
            self.known(&path, "of", "traffic", &figure.of, traffic)?;
            for (key, condition) in [("when", &figure.when), ("relative_to", &figure.relative_to)] {
                if let Some(condition) = condition {
                    self.condition(&path, key, condition)?;
                }
            }
        }
        Ok(())
    }

    fn condition(&self, path: &str, key: &str, condition: &Condition) -> Result<(), ScenarioError> {
        let axes = &self.scenario.axes;
        for (name, label) in &condition.parameters {
            self.known(path, key, "axis of the sweep", name, || axes.iter().map(|axis| axis.name()))?;
            let axis = axes.iter().find(|axis| axis.name() == name);
            if let Some(axis) = axis {
                self.known(path, key, "value of this axis", label, || axis.labels())?;
            }
        }
        Ok(())
    }

    fn known<'n, I: Iterator<Item = &'n str>>(
        &self,
        path: &str,
        key: &str,
        kind: &'static str,
        found: &str,
        known: impl Fn() -> I,
    ) -> Result<(), ScenarioError> {
        if known().any(|name| name == found) {
            return Ok(());
        }
        Err(self.cx.unknown_name(&self.place(&[path, key]), &format!("{path}.{key}"), kind, found, known()))
    }

    /// Where the value of a path stands, or else what is nearest above it.
    fn place(&self, path: &[&str]) -> Place {
        let mut parts = path.iter().flat_map(|part| part.split('.')).filter(|part| !part.is_empty());
        let mut place = Place::Default;
        let Some(mut node) = parts.next().and_then(|first| self.tree.get(first)) else { return place };
        loop {
            if node.place != Place::Default {
                place = node.place.clone();
            }
            let Some(part) = parts.next() else { return place };
            let below: Option<&Node> = match &node.value {
                Value::Table(table) => table.get(part),
                Value::List(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            let Some(below) = below else { return place };
            node = below;
        }
    }
}
