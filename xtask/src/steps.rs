//! Steps that a command runs one after the other.

use std::env;
use std::io;
use std::process::{Command, ExitStatus};

use interop::{LabError, tools};

/// Why a command of `cargo xtask` did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// A program ended with an error, which it has printed itself.
    #[error("`{line}` failed ({status})")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A program could not be started.
    #[error("cannot run `{line}`: {source}")]
    Start {
        /// The command line.
        line: String,
        /// The system's reason.
        source: io::Error,
    },
    /// This machine cannot install packages.
    #[error("cannot install packages here: {0}")]
    Setup(String),
    /// The laboratory could not do something.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// The `cargo` that runs this program.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words.split_whitespace());
    command
}

/// Says what is run, and runs it with this program's own input and output.
pub(crate) fn step(command: &mut Command) -> Result<(), StepError> {
    let line = tools::line(command);
    eprintln!("==> {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(StepError::Failed { line, status }),
        Err(source) => Err(StepError::Start { line, source }),
    }
}
