//! `mptcp nvme`: NVMe/TCP over paths in user space or the kernel's sockets.

mod config;
mod store;
mod target;

use clap::{Args, Subcommand};

use crate::failure::Failure;

/// NVMe/TCP: export disks, and use those of others
#[derive(Args)]
pub(crate) struct NvmeArgs {
    #[command(subcommand)]
    command: NvmeCommand,
}

#[derive(Subcommand)]
enum NvmeCommand {
    Target(target::TargetArgs),
}

pub(crate) fn run(args: &NvmeArgs) -> Result<(), Failure> {
    match &args.command {
        NvmeCommand::Target(args) => target::run(args),
    }
}
