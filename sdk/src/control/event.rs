//! What has happened to paths, as it is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ConnId, Event, PathEvent, PathLogEntry, SubflowCloseReason};

/// Something that happened to a path; see [`PathEvent`](crate::PathEvent).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEntry {
    /// Counts all events from 1.
    pub number: u64,
    /// Milliseconds since the process has started its stack.
    pub milliseconds: u64,
    /// What has happened, in one word, such as `subflow-established`.
    pub event: String,
    /// Handle of the connection, if it concerns one.
    pub connection: Option<String>,
    /// Whatever else there is to say, by name.
    pub details: BTreeMap<String, String>,
}

impl From<&PathLogEntry> for EventEntry {
    fn from(entry: &PathLogEntry) -> Self {
        let (event, connection, details) = match &entry.event {
            PathEvent::Stack(event) => of_stack(*event),
            PathEvent::Link { interface, up } => {
                (if *up { "link-up" } else { "link-down" }, None, vec![("interface", interface.clone())])
            }
            PathEvent::Address { interface, addr, there } => {
                let details = vec![("interface", interface.clone()), ("address", addr.to_string())];
                (if *there { "address-added" } else { "address-gone" }, None, details)
            }
        };
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let milliseconds = entry.at.as_micros() / 1000;
        let connection = connection.map(|conn| conn.to_string());
        Self { number: entry.number, milliseconds, event: event.to_owned(), connection, details }
    }
}

type Told = (&'static str, Option<ConnId>, Vec<(&'static str, String)>);

fn of_stack(event: Event) -> Told {
    match event {
        Event::Incoming(_) => ("incoming", None, Vec::new()),
        Event::Established(conn) => ("established", Some(conn), Vec::new()),
        Event::Readable(conn) => ("readable", Some(conn), Vec::new()),
        Event::Writable(conn) => ("writable", Some(conn), Vec::new()),
        Event::Finished(conn) => ("finished", Some(conn), Vec::new()),
        Event::Closed(conn, reason) => ("closed", Some(conn), vec![("reason", reason.to_string())]),
        Event::FellBack(conn, cause) => ("fell-back", Some(conn), vec![("cause", cause.to_string())]),
        Event::SubflowEstablished(conn, subflow) => {
            ("subflow-established", Some(conn), vec![("subflow", subflow.to_string())])
        }
        Event::SubflowClosed(conn, subflow, reason) => {
            let reason = match reason {
                SubflowCloseReason::Normal => "closed by both sides".to_owned(),
                SubflowCloseReason::Refused => "refused".to_owned(),
                SubflowCloseReason::Reset(None) => "reset by the peer".to_owned(),
                SubflowCloseReason::Reset(Some((reason, _))) => format!("reset by the peer: {reason:?}"),
                SubflowCloseReason::TimedOut => "no answer".to_owned(),
                SubflowCloseReason::Aborted(reason) => format!("reset by this side: {reason:?}"),
            };
            ("subflow-closed", Some(conn), vec![("subflow", subflow.to_string()), ("reason", reason)])
        }
        Event::SubflowPriority(conn, subflow, backup) => {
            let details = vec![("subflow", subflow.to_string()), ("backup", backup.to_string())];
            ("subflow-priority", Some(conn), details)
        }
        Event::AddressAnnounced(conn, id, addr, port) => {
            let mut details = vec![("id", id.0.to_string()), ("address", addr.to_string())];
            details.extend(port.map(|port| ("port", port.to_string())));
            ("announced", Some(conn), details)
        }
        Event::AddressRemoved(conn, id) => ("removed", Some(conn), vec![("id", id.0.to_string())]),
    }
}
