//! What can go wrong in the laboratory, told to the person who runs a test.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Result of an operation of the laboratory.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// Why the laboratory could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The caller is not root; namespaces, TAPs and packet sockets need it.
    #[error("the laboratory needs root (network namespaces, TAP devices, packet sockets): run the tests as root")]
    NotRoot,
    /// A program is not installed.
    #[error("the program {0:?} is not installed: run `cargo xtask setup`")]
    MissingTool(String),
    /// A program ran and reported an error.
    #[error("`{line}` failed ({status}): {output}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error, or to standard output where that is empty.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}; {detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long it was waited for.
        limit: Duration,
        /// What there is to know about it.
        detail: String,
    },
    /// The operating system refused a file or process operation.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with its path or command.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program or the kernel wrote something that could not be understood.
    #[error("cannot understand {what}: {found}")]
    Unexpected {
        /// Whose output it is.
        what: String,
        /// The part that could not be understood.
        found: String,
    },
    /// A guest kernel ended, or could not be started.
    #[error("the guest kernel {name} is gone; its console said: {console}")]
    GuestGone {
        /// Name of the guest.
        name: String,
        /// Last lines of its console.
        console: String,
    },
    /// The guest kernel could not be built.
    #[error("the guest kernel could not be built: {why}; the log is {log}")]
    KernelBuild {
        /// The step that failed.
        why: String,
        /// The log of the build.
        log: PathBuf,
    },
}

/// Attaches what was attempted to an I/O error.
pub trait IoContext<T> {
    /// Turns an I/O error into a [`LabError`] that says what was attempted.
    ///
    /// # Errors
    /// The I/O error itself, with `what` before it.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| LabError::Io { what: what(), source })
    }
}
