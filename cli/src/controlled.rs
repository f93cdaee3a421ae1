//! Running processes that can be looked into, by their control sockets.

use std::io;
use std::path::{Path, PathBuf};

use mptcp_sdk::control::{ControlClient, ControlError, Reply, Request, default_directory};

use crate::failure::{Failure, plain};

/// A running process.
pub(crate) struct Controlled {
    /// Its control socket.
    pub(crate) path: PathBuf,
    client: ControlClient,
}

impl Controlled {
    /// The process whose control socket is at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let client = ControlClient::connect(path).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "there is no such socket".to_owned(),
                io::ErrorKind::ConnectionRefused => "the process that made it is gone".to_owned(),
                _ => plain(&error),
            };
            Failure::Runtime(format!("cannot use the control socket {}: {reason}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), client })
    }

    /// Every process whose control socket is where they are unless told otherwise, by the names of the sockets.
    pub(crate) fn all() -> Vec<Self> {
        let is_socket = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("mptcp-") && name.ends_with(".sock")
        };
        let entries = std::fs::read_dir(default_directory()).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_socket).collect();
        paths.sort();
        // Processes that were killed leave their sockets behind, and others' are none of our business.
        paths.iter().filter_map(|path| Self::open(path).ok()).collect()
    }

    /// The process to change: the named one, or the only one.
    pub(crate) fn only(path: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = path {
            return Self::open(path);
        }
        let mut all = Self::all();
        match (all.pop(), all.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(Failure::Runtime(format!(
                "no running process has a control socket in {}",
                default_directory().display()
            ))),
            (Some(_), more) => {
                Err(Failure::Usage(format!("{} processes are running: choose one with --control", more + 1)))
            }
        }
    }

    /// Asks it.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.client.request(request).map_err(|error| match error {
            ControlError::Io(error) => Failure::io(format_args!("no answer on {}", self.path.display()), &error),
            ControlError::Mistake(sentence) => Failure::Usage(sentence),
            refused => Failure::Runtime(refused.to_string()),
        })
    }

    /// An answer of the wrong kind.
    pub(crate) fn confused(&self) -> Failure {
        Failure::Runtime(format!("{} answered something else than it was asked", self.path.display()))
    }
}
