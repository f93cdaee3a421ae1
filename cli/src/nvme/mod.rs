//! `mptcp nvme`: NVMe/TCP over paths in user space or the kernel's sockets.

mod ana;
mod config;
mod connect;
mod copy;
mod crew;
mod host;
mod identity;
mod look;
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
    Discover(look::DiscoverArgs),
    Connect(connect::ConnectArgs),
    List(look::ListArgs),
    Identify(look::IdentifyArgs),
    Read(copy::ReadArgs),
    Write(copy::WriteArgs),
    Perf(perf::PerfArgs),
    Nbd(nbd::NbdArgs),
    GenDhchapKey(secrets::GenerateArgs),
}

pub(crate) fn run(args: &NvmeArgs) -> Result<(), Failure> {
    match &args.command {
        NvmeCommand::Target(args) => target::run(args),
        NvmeCommand::Discover(args) => look::discover(args),
        NvmeCommand::Connect(args) => connect::run(args),
        NvmeCommand::List(args) => look::list(args),
        NvmeCommand::Identify(args) => look::identify(args),
        NvmeCommand::Read(args) => copy::read(args),
        NvmeCommand::Write(args) => copy::write(args),
        NvmeCommand::Perf(args) => perf::run(args),
        NvmeCommand::Nbd(args) => nbd::run(args),
        NvmeCommand::GenDhchapKey(args) => secrets::generate(args),
    }
}
