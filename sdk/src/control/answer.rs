//! From a request to its reply.

use std::fmt::Display;
use std::num::{NonZeroU8, NonZeroU32};

use crate::{
    Blackhole, ConnId, ConnReport, Endpoint, EndpointFlags, EndpointId, Engine, InterfaceId, InterfaceSpec, Limits,
    Link, PathPolicy, PathStrategyKind, SchedulerKind, SubflowId,
};

use super::entry::{BlackholeEntry, Connection, EndpointEntry, LinkEntry, RuleEntry};
use super::event::EventEntry;
use super::message::{Reply, Request};
use super::rule::{rule_from_text, rule_to_text};

/// Does what is asked of an engine.
pub(super) fn answer(engine: &mut Engine, request: Request) -> Reply {
    answered(engine, request).unwrap_or_else(|refusal| match refusal {
        Refusal::Mistake(sentence) => Reply::Mistake(sentence),
        Refusal::Now(sentence) => Reply::Error(sentence),
    })
}

/// Why something is not done.
enum Refusal {
    /// What is asked for is wrong, whatever connections, subflows and endpoints there are.
    Mistake(String),
    /// It cannot be done as things are now.
    Now(String),
}

impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Self::Now(sentence)
    }
}

fn mistake(error: impl Display) -> Refusal {
    Refusal::Mistake(error.to_string())
}

fn answered(engine: &mut Engine, request: Request) -> Result<Reply, Refusal> {
    Ok(match request {
        Request::Connections => {
            let reports = crate::runtime::all_connections(engine);
            Reply::Connections(reports.iter().map(Connection::from).collect())
        }
        Request::Endpoints => {
            let entry = |(id, known): (EndpointId, &Endpoint)| {
                EndpointEntry::new(id, known, known.interface.map(|interface| name_of(engine, interface)).as_deref())
            };
            Reply::Endpoints(engine.stack().endpoints().map(entry).collect())
        }
        Request::Counters => {
            Reply::Counters(engine.stack().mib().iter().map(|(name, count)| (name.to_owned(), count)).collect())
        }
        Request::AddEndpoint { addr, port, signal, subflow, backup, fullmesh, laminar, interface, ndiffports } => {
            let flags = EndpointFlags { signal, subflow, backup, fullmesh, laminar, implicit: false };
            let interface = interface.map(|name| find_interface(engine, &name)).transpose()?;
            let ndiffports = NonZeroU8::new(ndiffports.unwrap_or(1));
            let ndiffports = ndiffports.ok_or_else(|| mistake("ndiffports is 0, but must be 1 to 64"))?;
            let endpoint = Endpoint { port, interface, ndiffports, ..Endpoint::new(addr, flags) };
            endpoint.validate().map_err(mistake)?;
            Reply::EndpointAdded(engine.add_endpoint(endpoint).map_err(|error| error.to_string())?.0)
        }
        Request::RemoveEndpoint { id } => {
            engine.remove_endpoint(EndpointId(id)).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::SetBackup { id, backup } => {
            engine.set_endpoint_backup(EndpointId(id), backup).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::SetFullmesh { id, fullmesh } => {
            engine.set_endpoint_fullmesh(EndpointId(id), fullmesh).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::CreateSubflow { connection, local, remote, backup } => {
            let conn = find(engine, &connection)?;
            let created = engine.create_subflow(conn, local, remote, backup);
            Reply::SubflowCreated(created.map_err(|error| error.to_string())?.0)
        }
        Request::SetScheduler { connection, scheduler } => {
            let conn = find(engine, &connection)?;
            let kind: SchedulerKind = scheduler.parse().map_err(mistake)?;
            engine.set_scheduler(conn, kind);
            Reply::Done
        }
        Request::SetWeight { connection, subflow, weight } => {
            let conn = find(engine, &connection)?;
            let weight = NonZeroU32::new(weight).ok_or_else(|| mistake("weight is 0, but must be 1 to 4294967295"))?;
            engine.set_weight(conn, SubflowId(subflow), weight).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::CloseSubflow { connection, subflow } => {
            let conn = find(engine, &connection)?;
            engine.close_subflow(conn, SubflowId(subflow)).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::Limits => {
            let Limits { subflows, add_addr_accepted } = engine.stack().limits();
            Reply::Limits { subflows, add_addr_accepted }
        }
        Request::SetLimits { subflows, add_addr_accepted } => set_limits(engine, subflows, add_addr_accepted)?,
        Request::Links => Reply::Links(links(engine)),
        Request::SetLink { interface, up } => {
            let interface = find_interface(engine, &interface)?;
            engine.set_link(interface, up);
            Reply::Done
        }
        Request::Policy => policy(engine),
        Request::SetNode { node } => change_policy(engine, |policy| policy.node = node)?,
        Request::AddInterface { interface } => add_interface(engine, &interface)?,
        Request::AddRule { rule } => {
            let rule = rule_from_text(&rule, &interface_names(engine)).map_err(mistake)?;
            change_policy(engine, |policy| policy.rules.push(rule))?
        }
        Request::RemoveRule { rule: None } => change_policy(engine, |policy| policy.rules.clear())?,
        Request::RemoveRule { rule: Some(index) } => {
            if index >= engine.stack().policy().rules.len() {
                return Err(format!("there is no rule {index}").into());
            }
            change_policy(engine, |policy| {
                policy.rules.remove(index);
            })?
        }
        Request::Strategy => Reply::Strategy(engine.stack().path_strategy().to_string()),
        Request::SetStrategy { strategy, connection } => set_strategy(engine, &strategy, connection.as_deref())?,
        Request::Blackholes => blackholes(engine),
        Request::ForgetBlackholes => {
            engine.forget_blackholes();
            Reply::Done
        }
        Request::Events { after } => {
            let after = after.unwrap_or(u64::MAX);
            Reply::Events {
                last: engine.path_log_end(),
                events: engine.path_log(after).map(EventEntry::from).collect(),
            }
        }
    })
}

fn set_limits(engine: &mut Engine, subflows: Option<u8>, add_addr_accepted: Option<u8>) -> Result<Reply, Refusal> {
    let before = engine.stack().limits();
    let subflows = subflows.unwrap_or(before.subflows);
    if subflows > Limits::MAX_SUBFLOWS {
        return Err(mistake(format_args!("subflows is {subflows}, but must be 0 to {}", Limits::MAX_SUBFLOWS)));
    }
    let add_addr_accepted = add_addr_accepted.unwrap_or(before.add_addr_accepted);
    engine.set_limits(Limits { subflows, add_addr_accepted });
    Ok(Reply::Done)
}

fn policy(engine: &Engine) -> Reply {
    let stack = engine.stack();
    let text = |rule| rule_to_text(rule, |interface| name_of(engine, interface));
    let rules = stack.policy().rules.iter().zip(stack.policy_usage());
    let rules = rules.map(|(rule, used)| RuleEntry { rule: text(rule), used }).collect();
    Reply::Policy { rules, node: stack.policy().node }
}

fn change_policy(engine: &mut Engine, change: impl FnOnce(&mut PathPolicy)) -> Result<Reply, String> {
    let mut policy = engine.stack().policy().clone();
    change(&mut policy);
    engine.set_policy(policy).map_err(|error| error.to_string())?;
    Ok(Reply::Done)
}

fn add_interface(engine: &mut Engine, interface: &str) -> Result<Reply, Refusal> {
    let spec: InterfaceSpec = interface.parse().map_err(mistake)?;
    if spec.device.is_descriptor() {
        let why = "names a descriptor, which only the start of a process can hand over";
        return Err(mistake(format_args!("'{interface}' {why}")));
    }
    spec.validate("interface").map_err(mistake)?;
    engine.add_interface(spec).map_err(|error| error.to_string())?;
    Ok(Reply::Done)
}

fn set_strategy(engine: &mut Engine, strategy: &str, connection: Option<&str>) -> Result<Reply, Refusal> {
    let kind: PathStrategyKind = strategy.parse().map_err(mistake)?;
    match connection {
        None => engine.set_path_strategy(&kind),
        Some(handle) => {
            let conn = find(engine, handle)?;
            engine.set_strategy_of(conn, &kind).map_err(|error| error.to_string())?;
        }
    }
    Ok(Reply::Done)
}

fn blackholes(engine: &Engine) -> Reply {
    let now = engine.now();
    let entry = |known: &Blackhole| BlackholeEntry {
        destination: known.destination,
        seconds: (known.until - now).as_secs(),
        times: known.times,
    };
    Reply::Blackholes(engine.stack().blackholes().iter().map(entry).collect())
}

fn links(engine: &Engine) -> Vec<LinkEntry> {
    let entry = |(index, link): (usize, &Link)| LinkEntry {
        interface: name_of(engine, InterfaceId(index)),
        up: link.up,
        addrs: link.config.addrs.iter().map(ToString::to_string).collect(),
        numa_node: link.node,
    };
    engine.stack().links().iter().enumerate().map(entry).collect()
}

fn name_of(engine: &Engine, interface: InterfaceId) -> String {
    engine.interface(interface).map_or_else(|| interface.0.to_string(), |(name, _)| name.to_owned())
}

fn interface_names(engine: &Engine) -> Vec<&str> {
    (0..).map_while(|index| engine.interface(InterfaceId(index))).map(|(name, _)| name).collect()
}

/// Not to know its name is a mistake: unlike connections and endpoints, interfaces do not go away.
fn find_interface(engine: &Engine, name: &str) -> Result<InterfaceId, Refusal> {
    let choices = || interface_names(engine).join(", ");
    let found = engine.interface_by_name(name);
    found.ok_or_else(|| mistake(format_args!("there is no interface '{name}': choose one of {}", choices())))
}

fn find(engine: &mut Engine, handle: &str) -> Result<ConnId, String> {
    let reports: Vec<ConnReport> = crate::runtime::all_connections(engine);
    let found = reports.iter().find(|report| report.id.to_string() == handle);
    found.map(|report| report.id).ok_or_else(|| format!("there is no connection {handle}"))
}
