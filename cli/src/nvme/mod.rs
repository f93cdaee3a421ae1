//! `mptcp nvme`: NVMe/TCP over paths in user space or the kernel's sockets.

mod ana;
mod config;
mod connect;
mod copy;
mod crew;
mod discover;
mod host;
mod identify;
mod identity;
mod list;
mod machine;
mod names;
mod nbd;
mod perf;
mod persistence;
mod secrets;
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
    Discover(discover::DiscoverArgs),
    Connect(connect::ConnectArgs),
    List(list::ListArgs),
    Identify(identify::IdentifyArgs),
    Read(copy::ReadArgs),
    Write(copy::WriteArgs),
    Perf(perf::PerfArgs),
    Nbd(nbd::NbdArgs),
    GenDhchapKey(secrets::GenerateArgs),
}

pub(crate) fn run(args: &NvmeArgs) -> Result<(), Failure> {
    match &args.command {
        NvmeCommand::Target(args) => target::run(args),
        NvmeCommand::Discover(args) => discover::run(args),
        NvmeCommand::Connect(args) => connect::run(args),
        NvmeCommand::List(args) => list::run(args),
        NvmeCommand::Identify(args) => identify::run(args),
        NvmeCommand::Read(args) => copy::read(args),
        NvmeCommand::Write(args) => copy::write(args),
        NvmeCommand::Perf(args) => perf::run(args),
        NvmeCommand::Nbd(args) => nbd::run(args),
        NvmeCommand::GenDhchapKey(args) => secrets::generate(args),
    }
}
