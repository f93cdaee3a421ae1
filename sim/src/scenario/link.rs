//! Links: two directions, each with its own conditions, and what happens to them over time.

use std::net::IpAddr;
use std::time::Duration;

use tcp_adapter::IpCidr;

use super::Scenario;
use super::error::{At, Place, ScenarioError};
use super::event::Event;
use super::field::{Field, Name, Text, words};
use super::loss::{Chance, Loss, Reorder};
use super::pace::{Jitter, LONGEST_DELAY, MOST_OVERHEAD, RateSpec, Steps};
use super::queue::Queue;
use super::section::{Context, Section, is_name, mark_block};
use super::tree::{Entry, Node, Table, Value};
use super::units::Size;
use crate::profiles;

/// A link between two hosts or routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name, by which traffic and events mean it.
    pub name: String,
    /// Host or router at one end.
    pub from: String,
    /// Host or router at the other end.
    pub to: String,
    /// Addresses of the ends with the prefix of the link's network: of `from`, of `to`.
    pub addresses: [IpCidr; 2],
    /// Largest IP packet in bytes, 576-65535.
    pub mtu: u16,
    /// Conditions from `from` to `to`.
    pub up: LinkSpec,
    /// Conditions from `to` to `from`.
    pub down: LinkSpec,
    /// What happens to it, in the order of the file.
    pub events: Vec<Event>,
    /// What hosts at its ends lose with its carrier.
    pub carrier_loss: CarrierLoss,
    /// The profile that its conditions come from.
    pub profile: Option<String>,
}

impl Link {
    /// A link outside of any scenario. `settings` are keys and values as below `[links.NAME]`, such as `("profile", "lte")` and
    /// `("up.loss", "1%")`, the values written as for [`Scenario::set`]; later ones replace earlier ones.
    ///
    /// # Errors
    /// The first mistake; a value that is a sweep is one.
    pub fn from_settings<'a>(
        name: &str,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ScenarioError> {
        // Without traffic it would be no scenario.
        let text = format!("[links.{name}]\n[[traffic]]\nbytes = \"1B\"\n");
        let mut scenario = Scenario::parse(&text, "link")?;
        for (key, value) in settings {
            let path = format!("links.{name}.{key}");
            scenario.set(&path, value)?;
            if !scenario.axes.is_empty() {
                let at = At::new("link", Place::Override(format!("{path}={value}")));
                return Err(ScenarioError::Contradiction {
                    at,
                    key: path,
                    problem: "must be one value, not several".to_owned(),
                });
            }
        }
        Ok(scenario.links.remove(0))
    }
}

words! {
    /// What hosts at the ends of a link lose while it has no carrier. They are told of it, as a system tells of it, and of its return.
    pub enum CarrierLoss {
        /// The link: their addresses stay.
        Link = "link",
        /// Their addresses too, as those of mobile networks and those that are leased.
        Address = "address",
    }
}

/// Conditions of one direction of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// How fast it sends.
    pub rate: RateSpec,
    /// Bytes that each packet takes on the link beyond its Ethernet frame without FCS.
    pub overhead: Size,
    /// Propagation delay, one way.
    pub delay: Duration,
    /// Variation of the delay.
    pub jitter: Option<Jitter>,
    /// Packets that get lost.
    pub loss: Option<Loss>,
    /// Packets that arrive twice.
    pub duplicate: Chance,
    /// Packets of which one bit is flipped.
    pub corrupt: Chance,
    /// Packets that overtake others.
    pub reorder: Option<Reorder>,
    /// What waits in front of the link.
    pub queue: Queue,
    /// Conditions that are drawn anew from time to time.
    pub steps: Option<Steps>,
}

/// Keys of one direction; at the link itself they are for both.
const DIRECTION_KEYS: [&str; 10] =
    ["rate", "overhead", "delay", "jitter", "loss", "duplicate", "corrupt", "reorder", "queue", "steps"];
const LINK_KEYS: [&str; 10] =
    ["from", "to", "like", "profile", "addresses", "mtu", "events", "carrier_loss", "up", "down"];

/// Reads all links, each of which can be `like` an earlier one.
pub(crate) fn read_links(root: &mut Section<'_>) -> Result<Vec<Link>, ScenarioError> {
    let Some(node) = root.table.get_mut("links") else {
        return Err(root.invalid("links", "the links, each under [links.NAME]"));
    };
    mark_block(node);
    let place = node.place.clone();
    let Value::Table(tables) = &mut node.value else {
        return Err(root.cx.invalid(node, "links", "tables, each under [links.NAME]"));
    };
    let mut links = Vec::new();
    for index in 0..tables.entries.len() {
        let (earlier, rest) = tables.entries.split_at_mut(index);
        let Some(entry) = rest.first_mut() else { break };
        links.push(read_link(root.cx, earlier, entry, index)?);
    }
    if links.is_empty() {
        return Err(root.cx.contradiction(&place, "links", "is empty: at least one link is needed"));
    }
    Ok(links)
}

fn read_link(cx: &mut Context, earlier: &[Entry], entry: &mut Entry, index: usize) -> Result<Link, ScenarioError> {
    let path = format!("links.{}", entry.key);
    if !is_name(&entry.key) {
        return Err(cx.contradiction(&entry.place, &path, "must be named by letters, digits, '-' and '_'"));
    }
    mark_block(&mut entry.node);
    let keys: Vec<&str> = LINK_KEYS.into_iter().chain(DIRECTION_KEYS).collect();
    let mut section = Section::open(cx, &mut entry.node, &path, &keys)?;
    inherit(&mut section, earlier)?;
    let profile = apply_profile(&mut section)?;
    let link = read_ends(&mut section, &entry.key, index, profile);
    cx.hide_defaults = false;
    link
}

/// Takes over what an earlier link says and this one does not.
fn inherit(section: &mut Section<'_>, earlier: &[Entry]) -> Result<(), ScenarioError> {
    if !section.has("like") {
        return Ok(());
    }
    if section.has("profile") {
        let (place, key) = (section.place_of("like"), section.path.clone());
        return Err(section.cx.contradiction(&place, &key, "has both 'like' and 'profile': choose one"));
    }
    let Text(like) = section.require("like", "the name of an earlier link")?;
    let found = earlier.iter().find(|entry| entry.key == like);
    let Some(Entry { node: Node { value: Value::Table(model), .. }, .. }) = found else {
        let known = earlier.iter().map(|entry| entry.key.as_str());
        let place = section.place_of("like");
        return Err(section.cx.unknown_name(&place, &section.key("like"), "earlier link", &like, known));
    };
    section.cx.hide_defaults = true;
    let mut model = model.clone();
    model.take("addresses");
    model.take("like");
    merge(section.table, model, true);
    Ok(())
}

/// Takes over what a profile says and the link does not.
fn apply_profile(section: &mut Section<'_>) -> Result<Option<String>, ScenarioError> {
    // With a sweep over profiles none of them may become the explicit choice of all.
    let swept = matches!(section.table.get("profile"), Some(Node { value: Value::List(_), .. }))
        || section.cx.swept_keys.contains(&section.key("profile"));
    let Some(Name(name)) = section.optional::<Name>("profile")? else { return Ok(None) };
    let known = || profiles::ALL.iter().map(|profile| profile.name);
    let names: Vec<String> = match section.table.get("profile").map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().map(Node::label).collect(),
        _ => vec![name.clone()],
    };
    if let Some(unknown) = names.iter().find(|name| profiles::find(name).is_none()) {
        let place = section.place_of("profile");
        return Err(section.cx.unknown_name(&place, &section.key("profile"), "profile", unknown, known()));
    }
    let Some(profile) = profiles::find(&name) else { return Ok(None) };
    let mut model = Table::parse(profile.link, &format!("profile {name}"))?;
    let place = section.place_of("profile");
    for entry in &mut model.entries {
        entry.place = place.clone();
        entry.node.relocate(&place);
    }
    let hide = swept || section.cx.hide_defaults;
    section.cx.hide_defaults = hide;
    merge(section.table, model, hide);
    Ok(Some(name))
}

/// Adds the entries of `model` that `table` does not have. What the table says for both directions
/// replaces what the model says for one.
fn merge(table: &mut Table, mut model: Table, hide: bool) {
    for direction in ["up", "down"] {
        let Some(mut entry) = model.take(direction) else { continue };
        if let Value::Table(conditions) = &mut entry.node.value {
            conditions.entries.retain(|condition| table.get(&condition.key).is_none());
            let own = table.get_mut(direction).map(|node| &mut node.value);
            match own {
                Some(Value::Table(own)) => merge(own, std::mem::take(conditions), hide),
                Some(_) => (),
                None if conditions.entries.is_empty() => (),
                None => {
                    if hide {
                        entry.node.hide();
                    }
                    table.entries.push(entry);
                }
            }
        }
    }
    for mut entry in model.entries {
        if table.get(&entry.key).is_none() {
            if hide {
                entry.node.hide();
            }
            table.entries.push(entry);
        }
    }
}

fn read_ends(
    section: &mut Section<'_>,
    name: &str,
    index: usize,
    profile: Option<String>,
) -> Result<Link, ScenarioError> {
    let Text(from) = section.get("from", "client")?;
    let Text(to) = section.get("to", "server")?;
    if from == to {
        return Err(section.invalid("to", "another host or router than 'from'"));
    }
    let mtu = section.count("mtu", 1500, 576..=65_535)?;
    let hidden = std::mem::take(&mut section.cx.hide_defaults);
    let addresses = read_addresses(section, index);
    section.cx.hide_defaults = hidden;
    let addresses = addresses?;
    let (up, down) = (read_direction(section, "up")?, read_direction(section, "down")?);
    let events = section.get("events", Vec::new())?;
    let carrier_loss = section.get("carrier_loss", "link")?;
    Ok(Link {
        name: name.to_owned(),
        from,
        to,
        addresses,
        // The range of the count is that of the type.
        mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        up,
        down,
        events,
        carrier_loss,
        profile,
    })
}

/// The n-th link has the network 10.x.y.0/24 with x.y = n from 1, the ends being .1 and .2, unless it says otherwise.
fn read_addresses(section: &mut Section<'_>, index: usize) -> Result<[IpCidr; 2], ScenarioError> {
    let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
    let default: Vec<String> = (1..=2).map(|end| format!("10.{high}.{low}.{end}/24")).collect();
    let addresses: Vec<IpCidr> = section.get("addresses", default)?;
    let expected = "two addresses of one network: that of 'from' and that of 'to'";
    match addresses[..] {
        [from, to] if from.addr != to.addr && from.contains(to.addr) && to.contains(from.addr) => {
            let expected = "addresses of hosts: no multicast, loopback, unspecified, network or broadcast addresses";
            match is_of_host(&from) && is_of_host(&to) {
                true => Ok([from, to]),
                false => Err(section.invalid("addresses", expected)),
            }
        }
        _ => Err(section.invalid("addresses", expected)),
    }
}

/// Whether a host can have the address. The first and the last one of a network of IPv4 are the network's own (RFC 1122 section 3.2.1.3), unless it is of
/// one or two addresses (RFC 3021).
fn is_of_host(cidr: &IpCidr) -> bool {
    let addr = cidr.addr;
    let is_of_network = match addr {
        IpAddr::V4(addr) if cidr.prefix < 31 => {
            let mask = u32::MAX >> cidr.prefix;
            let host = u32::from(addr) & mask;
            host == 0 || host == mask
        }
        IpAddr::V4(addr) => addr.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !is_of_network && !addr.is_multicast() && !addr.is_unspecified() && !addr.is_loopback()
}

/// Reads a direction: its own table first, then the link's, then the defaults, which are put in the link's.
fn read_direction(link: &mut Section<'_>, direction: &str) -> Result<LinkSpec, ScenarioError> {
    let own = link.table.entries.iter().position(|entry| entry.key == direction);
    let mut own = own.map(|index| (index, link.table.entries.remove(index)));
    let read = {
        let path = link.key(direction);
        match &mut own {
            Some((_, entry)) => {
                mark_block(&mut entry.node);
                let place = entry.node.place.clone();
                Section::open(link.cx, &mut entry.node, &path, &DIRECTION_KEYS)?;
                let Value::Table(table) = &mut entry.node.value else { unreachable!("opened as a table") };
                read_conditions(&mut Conditions { link, own: Some((table, path, place)) })
            }
            None => read_conditions(&mut Conditions { link, own: None }),
        }
    };
    if let Some((index, entry)) = own {
        let index = index.min(link.table.entries.len());
        link.table.entries.insert(index, entry);
    }
    read
}

/// A direction's own table before the link's.
struct Conditions<'l, 'a> {
    link: &'l mut Section<'a>,
    own: Option<(&'l mut Table, String, Place)>,
}

impl Conditions<'_, '_> {
    fn get<T: Field>(&mut self, key: &str, default: impl Into<Value>) -> Result<T, ScenarioError> {
        self.get_if(key, default, "", |_| true)
    }

    fn get_if<T: Field>(
        &mut self,
        key: &str,
        default: impl Into<Value>,
        expected: &str,
        check: impl Fn(&T) -> bool,
    ) -> Result<T, ScenarioError> {
        match &mut self.own {
            Some((table, path, place)) if table.get(key).is_some() => {
                let (path, place) = (path.clone(), place.clone());
                Section { cx: self.link.cx, table, path, place }.get_if(key, default, expected, check)
            }
            _ => self.link.get_if(key, default, expected, check),
        }
    }
}

fn read_conditions(conditions: &mut Conditions<'_, '_>) -> Result<LinkSpec, ScenarioError> {
    Ok(LinkSpec {
        rate: conditions.get("rate", super::field::NONE)?,
        overhead: conditions.get_if("overhead", "0B", "at most 65535B", |size: &Size| size.0 <= MOST_OVERHEAD)?,
        delay: conditions.get_if("delay", "0ms", "at most 1h", |delay: &Duration| *delay <= LONGEST_DELAY)?,
        jitter: conditions.get("jitter", super::field::NONE)?,
        loss: conditions.get("loss", super::field::NONE)?,
        duplicate: conditions.get("duplicate", "0%")?,
        corrupt: conditions.get("corrupt", "0%")?,
        reorder: conditions.get("reorder", super::field::NONE)?,
        queue: conditions.get("queue", Value::Table(Table::default()))?,
        steps: conditions.get("steps", super::field::NONE)?,
    })
}
