//! The options by which every subcommand is told what carries its bytes.

use clap::Args;

use super::{KernelProtocol, Network};
use crate::failure::Failure;

/// What carries the bytes.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkOptions {
    /// Use the kernel's own sockets
    #[arg(long, value_name = "PROTOCOL")]
    kernel: Option<KernelProtocol>,
}

impl NetworkOptions {
    /// Opens what the options name.
    pub(crate) fn open(&self) -> Result<Network, Failure> {
        match self.kernel {
            Some(protocol) => Ok(Network::Kernel(protocol)),
            None => Err(Failure::Usage("say what carries the bytes: --kernel tcp or --kernel mptcp".to_owned())),
        }
    }
}
