//! The measuring protocol: records, and blocks of payload.
//!
//! Everything travels over the one connection that is measured. A record is a 32-bit big-endian length and that
//! many bytes of JSON. The client opens with a [`Test`]; the server answers with an [`Answer`]. In a bulk test every sender
//! then sends blocks, each a 32-bit length and that many bytes, ended by a block of length 0; when
//! the server has sent and received everything, it ends with its [`Results`]. In a request test the server
//! returns every request as its response until the client closes.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Direction, Limit};

/// Raised with every change that an older peer would not understand.
pub(super) const VERSION: u32 = 1;

/// Longest record, far above what either side ever writes.
const MAX_RECORD: u32 = 64 * 1024;

/// Payload bytes of a block. Large, as its length costs a read of its own.
pub(super) const BLOCK: usize = 1 << 20;

/// What the client wants.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Test {
    /// [`VERSION`] of the client.
    pub(super) version: u32,
    /// Which test.
    pub(super) kind: Kind,
}

/// Which test.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Throughput.
    Bulk {
        /// Who sends.
        direction: Direction,
        /// When the server stops sending, if it sends.
        limit: Limit,
    },
    /// Latency.
    Requests {
        /// Bytes of a request and of its response.
        size: u64,
    },
}

/// Whether the server runs the test.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Why not; `None` if it does.
    pub(super) refused: Option<String>,
}

/// What one side has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    /// Payload bytes sent.
    pub(super) sent: u64,
    /// Seconds from the start to the last byte handed to the stack.
    pub(super) send_seconds: f64,
    /// Payload bytes received.
    pub(super) received: u64,
    /// Seconds from the start to the last byte received.
    pub(super) receive_seconds: f64,
}

/// Writes a record.
pub(super) fn write_record(mut to: impl Write, record: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(record)?;
    let len = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    to.write_all(&bytes)
}

/// Reads a record.
pub(super) fn read_record<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > MAX_RECORD {
        return Err(io::Error::other("the peer does not speak the protocol of 'mptcp perf'"));
    }
    let mut body = vec![0; len as usize];
    from.read_exact(&mut body)?;
    serde_json::from_slice(&body).map_err(|_| io::Error::other("the peer does not speak the protocol of 'mptcp perf'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let mut wire = Vec::new();
        let results = Results { sent: 1, send_seconds: 0.5, received: 2, receive_seconds: 1.5 };
        write_record(&mut wire, &results).unwrap();
        assert_eq!(read_record::<Results>(&wire[..]).unwrap(), results);
    }

    #[test]
    fn foreign_bytes_are_refused_without_allocating_them() {
        let error = read_record::<Test>(&b"GET / HTTP/1.1\r\n"[..]).unwrap_err();
        assert!(error.to_string().contains("does not speak"), "{error}");
        let error = read_record::<Test>(&b"\0\0\0\x02{}"[..]).unwrap_err();
        assert!(error.to_string().contains("does not speak"), "{error}");
    }
}
