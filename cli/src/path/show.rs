//! What a running process has answered, for people and for programs.

use mptcp_sdk::EndpointFlags;
use mptcp_sdk::control::{BlackholeEntry, EndpointEntry, EventEntry, LinkEntry, Reply, RuleEntry};
use serde_json::{Value, json};

/// For people; `None` if no question of this command has such an answer.
pub(super) fn lines(reply: Reply) -> Option<Vec<String>> {
    Some(match reply {
        Reply::Done => Vec::new(),
        Reply::Endpoints(endpoints) => endpoints.into_iter().map(endpoint).collect(),
        Reply::EndpointAdded(id) => vec![format!("endpoint {id}")],
        Reply::SubflowCreated(id) => vec![format!("subflow {id}")],
        Reply::Limits { subflows, add_addr_accepted } => {
            vec![format!("subflows {subflows} add-addr-accepted {add_addr_accepted}")]
        }
        Reply::Strategy(name) => vec![name],
        Reply::Links(links) => links.into_iter().map(link).collect(),
        Reply::Policy { rules, node } => {
            let rules = rules.into_iter().enumerate().map(|(number, entry)| rule(number, &entry));
            rules.chain(node.map(|node| format!("node {node}"))).collect()
        }
        Reply::Blackholes(list) => list.iter().map(blackhole).collect(),
        _ => return None,
    })
}

/// For programs: one line of JSON.
pub(super) fn json(reply: &Reply) -> Option<Vec<String>> {
    let value: Value = match reply {
        Reply::Done => json!({}),
        Reply::Endpoints(endpoints) => json!(endpoints),
        Reply::EndpointAdded(id) => json!({ "endpoint": id }),
        Reply::SubflowCreated(id) => json!({ "subflow": id }),
        Reply::Limits { subflows, add_addr_accepted } => {
            json!({ "subflows": subflows, "add_addr_accepted": add_addr_accepted })
        }
        Reply::Strategy(name) => json!({ "strategy": name }),
        Reply::Links(links) => json!(links),
        Reply::Policy { rules, node } => json!({ "rules": rules, "node": node }),
        Reply::Blackholes(list) => json!(list),
        _ => return None,
    };
    Some(vec![value.to_string()])
}

/// An event, for people.
pub(super) fn event(event: &EventEntry) -> String {
    let EventEntry { milliseconds, event, connection, details, .. } = event;
    let connection = connection.as_ref().map_or_else(String::new, |connection| format!(" {connection}"));
    let details: String = details.iter().map(|(name, value)| format!(" {name} {value}")).collect();
    format!("{:>8}.{:03} {event}{connection}{details}", milliseconds / 1000, milliseconds % 1000)
}

fn endpoint(entry: EndpointEntry) -> String {
    let EndpointEntry { id, addr, port, signal, subflow, backup, fullmesh, laminar, implicit, interface, ndiffports } =
        entry;
    let flags = EndpointFlags { signal, subflow, backup, fullmesh, laminar, implicit };
    let mut words: Vec<String> = vec![format!("{id:<4} {addr}")];
    words.extend(port.map(|port| format!("port {port}")));
    words.extend(interface.map(|name| format!("dev {name}")));
    words.extend((ndiffports > 1).then(|| format!("ndiffports {ndiffports}")));
    words.extend(flags.names().map(str::to_owned));
    words.join(" ")
}

fn link(entry: LinkEntry) -> String {
    let LinkEntry { interface, up, addrs, numa_node } = entry;
    let state = if up { "up" } else { "down" };
    let node = numa_node.map(|node| format!("node {node}"));
    [interface, state.to_owned()].into_iter().chain(addrs).chain(node).collect::<Vec<_>>().join(" ")
}

fn rule(number: usize, entry: &RuleEntry) -> String {
    let used = entry.used.map_or_else(String::new, |used| format!(" used {used}"));
    format!("{number:<4} {}{used}", entry.rule)
}

fn blackhole(entry: &BlackholeEntry) -> String {
    let BlackholeEntry { destination, seconds, times } = entry;
    let destination = destination.map_or_else(|| "everywhere".to_owned(), |addr| addr.to_string());
    format!("{destination} for {seconds} s, found {times} times in a row")
}
