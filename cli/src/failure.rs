//! Why the program gives up: one sentence for people, and an exit code.

use std::fmt;
use std::io;
use std::path::Path;

/// A sentence for standard error, without the leading `mptcp: `, and whose fault it is.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or a configuration is wrong: exit code 2.
    Usage(String),
    /// Something went wrong while running: exit code 1.
    Runtime(String),
}

impl Failure {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Runtime(_) => 1,
        }
    }

    /// A failed operation on a file. To name one to be read that is not there, or a directory, is a mistake.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        let sentence = format!("cannot {action} {}: {}", path.display(), plain(error));
        let is_mistake = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory);
        if action == "read" && is_mistake { Self::Usage(sentence) } else { Self::Runtime(sentence) }
    }

    /// A failed operation, `what` being the start of the sentence such as `cannot listen on port 80`.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::Runtime(format!("{what}: {}", plain(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Runtime(sentence) => f.write_str(sentence),
        }
    }
}

/// An I/O error in words, without the number of the operating system's error.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the peer refused the connection".to_owned(),
        io::ErrorKind::ConnectionReset => "the peer reset the connection".to_owned(),
        io::ErrorKind::ConnectionAborted => "the connection was aborted".to_owned(),
        io::ErrorKind::BrokenPipe => "the peer no longer takes data".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::AddrInUse => "the port is already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "the address belongs to no local interface".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::UnexpectedEof => "the peer closed the connection too early".to_owned(),
        _ => {
            let text = error.to_string();
            match text.split_once(" (os error ") {
                Some((sentence, _)) => sentence.to_lowercase(),
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_hide_error_numbers() {
        let error = io::Error::from_raw_os_error(libc::EHOSTUNREACH);
        assert_eq!(plain(&error), "no route to host");
        let failure = Failure::io("cannot connect to 10.0.0.1:80", &io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(failure.to_string(), "cannot connect to 10.0.0.1:80: the peer refused the connection");
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let codes = ["read", "write"].map(|action| Failure::file(action, Path::new("a"), &missing).exit_code());
        assert_eq!(codes, [2, 1]);
    }
}
