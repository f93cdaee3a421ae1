//! `mptcp nvme connect`: stays connected to a controller and says what changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use clap::Args;
use nvme_io::net::Net;
use nvme_tcp::command::trimmed;
use nvme_tcp::host::ControllerEvent;

use super::host::{AnyHost, FAREWELL, failed, leave};
use super::persistence::{LastingOptions, describe};
use crate::failure::Failure;
use crate::human::bytes;
use crate::interrupt::{on_interrupt, yield_to_interrupt};
use crate::say;

/// Stay connected to a subsystem until Ctrl-C, and say what changes
///
/// A controller that is lost is connected again.
///
/// The namespaces are no devices of this machine: 'mptcp nvme nbd' makes them disks for other programs.
#[derive(Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    subsystem: LastingOptions,
}

pub(super) fn run(args: &ConnectArgs) -> Result<(), Failure> {
    let mut host = args.subsystem.connect()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (done, is_done) = mpsc::channel::<()>();
    let (asked, waker) = (Arc::clone(&stop), host.net().waker());
    on_interrupt(move || {
        asked.store(true, Ordering::Release);
        waker.wake();
        let _ = is_done.recv_timeout(FAREWELL);
    })?;
    introduce(&host);
    host.watch(|event| say(&describe(event)));
    let result = watch(&mut host, &stop);
    leave(host);
    drop(done);
    // If this is the end because of a signal, its exit code counts.
    yield_to_interrupt();
    result
}

fn introduce(host: &AnyHost) {
    for (_, controller) in host.controllers() {
        let subsystem = controller.identify().map(|known| trimmed(&known.subnqn)).unwrap_or_default();
        let (id, queues) = (controller.id(), controller.io_queues());
        say(&format!("connected to controller {id} of {subsystem}, I/O queues: {queues}"));
    }
    show_namespaces(host);
}

fn show_namespaces(host: &AnyHost) {
    for namespace in host.controller().namespaces().values() {
        let format = format!("{} in blocks of {} bytes", bytes(namespace.bytes()), namespace.block_size);
        say(&format!("namespace {}: {format}", namespace.nsid));
    }
}

fn watch(host: &mut AnyHost, stop: &AtomicBool) -> Result<(), Failure> {
    while !stop.load(Ordering::Acquire) {
        host.turn(None).map_err(|error| failed(&error))?;
        while let Some(change) = host.poll_change() {
            match change {
                ControllerEvent::NamespacesChanged => {
                    say("namespaces have changed");
                    show_namespaces(host);
                }
                ControllerEvent::AnaChanged => say("access states have changed"),
                other => say(&format!("the controller tells: {other:?}")),
            }
        }
    }
    Ok(())
}
