//! The end that asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::MAX_LINE;
use super::message::{Reply, Request};

/// A connection to a control socket.
#[derive(Debug)]
pub struct ControlClient {
    stream: BufReader<UnixStream>,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The socket cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server could not do it as things are now, and says why.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is wrong, and the server says why.
    #[error("{0}")]
    Mistake(String),
}

/// How long a server may take. It answers between two turns of its driver, or is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

impl ControlClient {
    /// Connects to the process whose control socket is at `path`.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` if there is none, `PermissionDenied` if it is another user's.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the reply, which is never [`Reply::Error`] or [`Reply::Mistake`].
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn request(&mut self, request: &Request) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut reply = String::new();
        if (&mut self.stream).take(MAX_LINE).read_line(&mut reply)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_str(&reply).map_err(io::Error::from)? {
            Reply::Error(sentence) => Err(ControlError::Refused(sentence)),
            Reply::Mistake(sentence) => Err(ControlError::Mistake(sentence)),
            reply => Ok(reply),
        }
    }
}
