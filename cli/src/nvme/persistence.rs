//! What is to become of a controller that is lost, and which of several paths commands take.

use std::time::Duration;

use clap::Args;
use nvme_io::{PathChange, PathEvent};
use nvme_tcp::host::{Policy, ReconnectPolicy};

use super::host::{AnyHost, SubsystemOptions};
use crate::complain;
use crate::failure::Failure;

/// The delay before the first attempt; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// A subsystem whose controllers are connected again. The names are those of nvme-cli.
#[derive(Args)]
pub(super) struct LastingOptions {
    /// Seconds between attempts to connect to a controller that was lost; the first ones come sooner
    #[arg(short = 'c', long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    reconnect_delay: u64,
    /// Seconds after which a lost controller is given up; 0 for at once, -1 for never
    #[arg(short = 'l', long, value_name = "SECONDS", default_value = "600", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=31_536_000))]
    ctrl_loss_tmo: i64,
    /// With several --traddr, which of them a command takes: numa, round-robin or queue-depth
    #[arg(long, value_name = "POLICY", default_value_t)]
    iopolicy: Policy,
    #[command(flatten)]
    subsystem: SubsystemOptions,
}

impl LastingOptions {
    /// Connects, and from then on says on standard error what becomes of controllers.
    pub(super) fn connect(&self) -> Result<AnyHost, Failure> {
        let mut host = self.subsystem.connect_with(self.reconnect(), self.iopolicy)?;
        host.watch(|event| complain(&describe(event)));
        Ok(host)
    }

    /// The same for who may stop driving the host for a while, and so cannot keep anything alive.
    pub(super) fn connect_at_leisure(&self) -> Result<AnyHost, Failure> {
        let mut host = self.subsystem.connect_at_leisure(self.reconnect(), self.iopolicy)?;
        host.watch(|event| complain(&describe(event)));
        Ok(host)
    }

    fn reconnect(&self) -> ReconnectPolicy {
        let max_delay = Duration::from_secs(self.reconnect_delay);
        let loss_timeout = u64::try_from(self.ctrl_loss_tmo).ok().map(Duration::from_secs);
        ReconnectPolicy { first_delay: FIRST_DELAY, max_delay, loss_timeout, fast_fail: None }
    }
}

/// What has become of a path, in a sentence.
pub(super) fn describe(PathEvent { address, change }: &PathEvent) -> String {
    match change {
        PathChange::Live { controller, queues } => {
            format!("live: controller {controller} at {address}, I/O queues: {queues}")
        }
        PathChange::Lost { reason } => format!("reconnecting to {address}: {reason}"),
        PathChange::Failed { attempts, reason } => {
            format!("reconnecting to {address}, after {attempts} attempts: {reason}")
        }
        PathChange::GivenUp { reason } => format!("{address} is given up: {reason}"),
    }
}
