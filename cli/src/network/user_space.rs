//! Paths in user space: the SDK's runtime, with a control socket and the counters at the end.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mptcp_sdk::control::{ControlServer, default_path};
use mptcp_sdk::{ConnReport, MptcpStream, Runtime, SubflowInfo, SubflowState};

use super::report::{StreamReport, SubflowReport};
use crate::failure::Failure;
use crate::interrupt::on_interrupt;

/// A runtime and what belongs to it. Dropping it ends everything in order.
pub(crate) struct UserSpace {
    parts: Arc<Mutex<Option<Parts>>>,
    runtime: Runtime,
}

/// What must be dealt with once: at the end, or when the process is interrupted.
struct Parts {
    runtime: Runtime,
    control: Option<ControlServer>,
    mib: Option<PathBuf>,
}

/// How long the end waits for connections to close.
const LINGER: Duration = Duration::from_secs(10);

impl UserSpace {
    /// Makes the control socket, and sees to it that an interrupted process leaves in order.
    pub(crate) fn start(runtime: Runtime, control: Option<&Path>, mib: Option<PathBuf>) -> Result<Self, Failure> {
        let control = match control {
            Some(path) => {
                let started = ControlServer::start(&runtime, path);
                let failed = |error: io::Error| {
                    Failure::io(format_args!("cannot make the control socket {}", path.display()), &error)
                };
                Some(started.map_err(failed)?)
            }
            // Nobody has asked for it, so a directory that cannot be written is no failure.
            None => ControlServer::start(&runtime, &default_path(std::process::id())).ok(),
        };
        let parts = Arc::new(Mutex::new(Some(Parts { runtime: runtime.clone(), control, mib })));
        let interrupted = Arc::clone(&parts);
        on_interrupt(move || finish(&interrupted, Duration::ZERO))?;
        Ok(Self { parts, runtime })
    }

    /// What makes connections.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Drop for UserSpace {
    fn drop(&mut self) {
        finish(&self.parts, LINGER);
    }
}

fn finish(parts: &Mutex<Option<Parts>>, linger: Duration) {
    // Held to the end: whoever comes second, at an interruption, must not leave before the work is done.
    let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Parts { runtime, control, mib }) = parts.take() else { return };
    drop(control);
    let Some(path) = mib else {
        runtime.shutdown(linger);
        return;
    };
    let counters = runtime.shutdown_then(linger, |engine| engine.stack().mib().iter().collect());
    if let Err(error) = counters.and_then(|counters| write_counters(&counters, &path)) {
        crate::complain(&Failure::file("write", &path, &error));
    }
}

fn write_counters(counters: &BTreeMap<&str, u64>, path: &Path) -> io::Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(counters)?)
}

/// What is known of a connection.
pub(super) fn report(stream: &MptcpStream) -> StreamReport {
    // A connection that the runtime has forgotten has nothing to tell.
    let Ok(ConnReport { info, subflows, past_subflows, .. }) = stream.report() else {
        return StreamReport::default();
    };
    let transport = if info.fallback.is_some() { "user-space tcp" } else { "user-space mptcp" };
    let subflows = past_subflows.iter().chain(&subflows).map(subflow).collect();
    StreamReport { transport, fallback: info.fallback.map(|cause| cause.to_string()), subflows }
}

fn subflow(info: &SubflowInfo) -> SubflowReport {
    SubflowReport {
        id: info.id.0,
        local: info.local,
        remote: info.remote,
        sent: info.bytes_sent,
        received: info.bytes_received,
        live: info.state != SubflowState::Closed,
    }
}
