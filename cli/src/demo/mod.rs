//! `mptcp demo`: what Multipath TCP is good for, in a simulation that anybody can run, or against the Linux kernel.

mod kernel;
mod namespace;
mod needs;
mod peer;
mod scratch;
mod summary;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::human::parse_count;
use crate::sim;

/// Watch NVMe over four paths: with TCP and NVMe's own multipath, a bond, and MPTCP, on paths that are well, lossy, slow or dying
///
/// All of it is simulated, with the stack's real code in virtual time; neither root nor a network is needed. A table is
/// printed, and a page with plots is left in the folder mptcp-sim/demo. With --kernel a real file goes over three TAP interfaces to the Linux kernel in a
/// network namespace, and one of them goes down half-way; that needs root, /dev/net/tun and a kernel with Multipath TCP,
/// and all of it is removed at the end.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Send a real file to the Linux kernel instead
    #[arg(long)]
    kernel: bool,
    /// Send this file instead of a random one
    #[arg(long, value_name = "FILE", requires = "kernel")]
    file: Option<PathBuf>,
    /// Length of the random file; K, M and G are powers of 1024
    #[arg(
        long,
        value_name = "N",
        value_parser = parse_count,
        default_value = "256M",
        conflicts_with = "file",
        requires = "kernel"
    )]
    size: u64,
    /// Print the results on standard output as JSON, and nothing else there
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    if args.kernel { kernel::run(args) } else { sim::demonstrate(Path::new("mptcp-sim/demo"), args.json) }
}
