//! Why an engine could not be started.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use mptcp_core::{ConfigError, EndpointError};

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error("{key} is {found}, but must be {allowed}")]
    Invalid {
        /// Which setting.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A setting of the stack is wrong.
    #[error(transparent)]
    Stack(#[from] ConfigError),
    /// A device could not be opened.
    #[cfg(feature = "devices")]
    #[error(transparent)]
    Device(#[from] tcp_adapter::device::OpenError),
    /// An address cannot be used as its flags say.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The capture file could not be written.
    #[error("cannot write the capture file {}: {source}", path.display())]
    Capture {
        /// Its name.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused something that every process should have.
    #[error("cannot {action}: {source}")]
    Os {
        /// What was tried.
        action: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

impl StartError {
    /// A setting is wrong.
    pub(crate) fn invalid(key: impl Display, found: impl Display, allowed: impl Display) -> Self {
        Self::Invalid { key: key.to_string(), found: found.to_string(), allowed: allowed.to_string() }
    }

    /// For `map_err`: the operating system refused `action`.
    pub(crate) fn os<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Os { action, source: error.into() }
    }

    /// Whether the caller's settings are at fault, not the system.
    pub fn is_mistake(&self) -> bool {
        matches!(self, Self::Invalid { .. } | Self::Stack(_) | Self::Endpoint(_))
    }
}
