//! Developer commands, run as `cargo xtask COMMAND`.

mod setup;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use interop::guest;

use steps::StepError;

/// Developer commands of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the tests need, with the system's package manager.
    Setup,
    /// Build the kernel of the guests where it is not cached yet, and print its path.
    GuestKernel,
    /// Run all tests, after installing and building what they need.
    Test,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::GuestKernel => guest::kernel().map(|path| println!("{}", path.display())).map_err(StepError::from),
        Command::Test => test::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
