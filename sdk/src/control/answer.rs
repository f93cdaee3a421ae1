//! From a request to its reply.

use crate::{
    ConnId, ConnReport, Endpoint, EndpointFlags, EndpointId, Engine, SchedulerKind, SubflowId, UnknownScheduler,
};

use super::message::{Connection, EndpointEntry, Reply, Request};

/// Does what is asked of an engine.
pub(super) fn answer(engine: &mut Engine, request: Request) -> Reply {
    answered(engine, request).unwrap_or_else(Reply::Error)
}

fn answered(engine: &mut Engine, request: Request) -> Result<Reply, String> {
    Ok(match request {
        Request::Connections => {
            let reports = crate::runtime::all_connections(engine);
            Reply::Connections(reports.iter().map(Connection::from).collect())
        }
        Request::Endpoints => Reply::Endpoints(engine.stack().endpoints().map(EndpointEntry::from).collect()),
        Request::Counters => {
            Reply::Counters(engine.stack().mib().iter().map(|(name, count)| (name.to_owned(), count)).collect())
        }
        Request::AddEndpoint { addr, port, signal, subflow, backup, fullmesh } => {
            let flags = EndpointFlags { signal, subflow, backup, fullmesh };
            let added = engine.add_endpoint(Endpoint { addr, port, flags });
            Reply::EndpointAdded(added.map_err(|error| error.to_string())?.0)
        }
        Request::RemoveEndpoint { id } => {
            engine.remove_endpoint(EndpointId(id)).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::SetBackup { id, backup } => {
            engine.set_endpoint_backup(EndpointId(id), backup).map_err(|error| error.to_string())?;
            Reply::Done
        }
        Request::CreateSubflow { connection, local, remote, backup } => {
            let conn = find(engine, &connection)?;
            let created = engine.create_subflow(conn, local, remote, backup);
            Reply::SubflowCreated(created.map_err(|error| error.to_string())?.0)
        }
        Request::SetScheduler { connection, scheduler } => {
            let conn = find(engine, &connection)?;
            let kind: SchedulerKind = scheduler.parse().map_err(|error: UnknownScheduler| error.to_string())?;
            engine.set_scheduler(conn, kind);
            Reply::Done
        }
        Request::CloseSubflow { connection, subflow } => {
            let conn = find(engine, &connection)?;
            engine.close_subflow(conn, SubflowId(subflow)).map_err(|error| error.to_string())?;
            Reply::Done
        }
    })
}

fn find(engine: &mut Engine, handle: &str) -> Result<ConnId, String> {
    let reports: Vec<ConnReport> = crate::runtime::all_connections(engine);
    let found = reports.iter().find(|report| report.id.to_string() == handle);
    found.map(|report| report.id).ok_or_else(|| format!("there is no connection {handle}"))
}
