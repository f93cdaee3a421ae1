//! States, cookie and framing of the control connection.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::network::Stream;

/// What one side tells the other about the progress of a test: one signed byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The server has all streams.
    TestStart,
    /// Payload may flow.
    TestRunning,
    /// The client has had enough.
    TestEnd,
    /// The server wants the parameters.
    ParamExchange,
    /// The server wants the streams.
    CreateStreams,
    /// The server gives up.
    ServerTerminate,
    /// The client gives up.
    ClientTerminate,
    /// Both tell their results, the client first.
    ExchangeResults,
    /// The client may print.
    DisplayResults,
    /// The client has printed.
    Done,
    /// The server is busy with another test.
    AccessDenied,
    /// The server cannot run the test; two 32-bit error numbers follow.
    ServerError,
}

/// Every state with its byte.
const STATES: [(State, i8); 12] = [
    (State::TestStart, 1),
    (State::TestRunning, 2),
    (State::TestEnd, 4),
    (State::ParamExchange, 9),
    (State::CreateStreams, 10),
    (State::ServerTerminate, 11),
    (State::ClientTerminate, 12),
    (State::ExchangeResults, 13),
    (State::DisplayResults, 14),
    (State::Done, 16),
    (State::AccessDenied, -1),
    (State::ServerError, -2),
];

/// iperf3's number for a test that is not implemented.
pub(super) const NOT_IMPLEMENTED: u32 = 13;

/// Longest JSON text that either side sends; results have an entry per stream, and there are 128 at most.
const MAX_JSON: u32 = 256 * 1024;

/// What ties the connections of a test together: 36 characters and a zero byte.
pub(super) type Cookie = [u8; 37];

impl State {
    fn byte(self) -> i8 {
        STATES.iter().find(|(state, _)| *state == self).map_or(0, |(_, byte)| *byte)
    }

    fn from_byte(byte: i8) -> io::Result<Self> {
        let known = STATES.iter().find(|(_, known)| *known == byte).map(|(state, _)| *state);
        known.ok_or_else(|| io::Error::other(format!("the peer sent {byte}, which is no state of iperf3")))
    }
}

/// Tells the peer a state.
pub(super) fn write_state(mut to: impl Write, state: State) -> io::Result<()> {
    to.write_all(&state.byte().to_be_bytes())
}

/// Reads the next state.
pub(super) fn read_state(mut from: impl Read) -> io::Result<State> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    State::from_byte(i8::from_be_bytes(byte))
}

/// Reads the next state, which must be `expected`; what else a server may say becomes an error.
pub(super) fn expect_state(stream: &Stream, expected: State) -> io::Result<()> {
    let sentence = match read_state(stream)? {
        state if state == expected => return Ok(()),
        State::AccessDenied => "the server is busy with another test".to_owned(),
        State::ServerError => {
            let mut numbers = [0; 8];
            let mut from = stream;
            from.read_exact(&mut numbers)?;
            let [.., number, _, _, _, _] = numbers;
            format!("the server refused the test (error {number} of iperf3)")
        }
        State::ServerTerminate => "the server gave up".to_owned(),
        State::ClientTerminate => "the client gave up".to_owned(),
        state => format!("the peer is in state {state:?} instead of {expected:?}"),
    };
    Err(io::Error::other(sentence))
}

/// Writes a JSON text with its length.
pub(super) fn write_json(mut to: impl Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    let len = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    to.write_all(&len.to_be_bytes())?;
    to.write_all(&text)
}

/// Reads a JSON text with its length.
pub(super) fn read_json<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > MAX_JSON {
        return Err(io::Error::other(format!(
            "the peer announced {len} bytes of JSON, and at most {MAX_JSON} are read"
        )));
    }
    let mut text = vec![0; len as usize];
    from.read_exact(&mut text)?;
    serde_json::from_slice(&text)
        .map_err(|error| io::Error::other(format!("the peer's JSON is not understood: {error}")))
}

/// Draws a cookie from the operating system's random numbers.
pub(super) fn draw_cookie() -> io::Result<Cookie> {
    // The alphabet that iperf3 uses: 32 characters, so five bits of each random byte choose one.
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = [0; 36];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut cookie = [0; 37];
    for (character, random) in cookie.iter_mut().zip(random) {
        *character = ALPHABET[usize::from(random) % ALPHABET.len()];
    }
    Ok(cookie)
}

/// Processor time of this process in seconds, in user space and in the kernel.
pub(super) fn processor_seconds() -> (f64, f64) {
    // Fields 14 and 15 of proc_pid_stat(5), counted from the state (field 3) that follows the closing parenthesis.
    let read = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<f64>().ok();
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        Some((next()? / per_second, next()? / per_second))
    };
    read().unwrap_or((0.0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip_and_unknown_ones_are_refused() {
        for (state, byte) in STATES {
            let mut wire = Vec::new();
            write_state(&mut wire, state).unwrap();
            assert_eq!(wire, byte.to_be_bytes());
            assert_eq!(read_state(&wire[..]).unwrap(), state);
        }
        assert!(read_state(&[3][..]).unwrap_err().to_string().contains("no state of iperf3"));
    }

    #[test]
    fn cookies_are_printable_and_end_with_zero() {
        let cookie = draw_cookie().unwrap();
        assert!(cookie[..36].iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(cookie[36], 0);
        assert_ne!(cookie, draw_cookie().unwrap());
    }

    #[test]
    fn json_is_bounded() {
        let error = read_json::<u32>(&[0x7f, 0, 0, 0][..]).unwrap_err();
        assert!(error.to_string().contains("at most"), "{error}");
        let mut wire = Vec::new();
        write_json(&mut wire, &7).unwrap();
        assert_eq!(read_json::<u32>(&wire[..]).unwrap(), 7);
    }
}
