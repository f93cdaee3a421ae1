//! Packet scripts: one [`TcpStack`] against a scripted peer in virtual time, as a table.
//!
//! ```text
//! # A lost segment is sent again after the retransmission timeout.
//! stack min_rto 1s
//! 0        app    listen
//! +0       <<     S   0:0     win 65535 mss 1460 sackOK
//! +0       >>     S.  0:0     ack 1 mss 1460
//! +10ms    <<     .   1:1     ack 1
//! +0       event  established
//! +0       app    send 1000
//! +0       >>     .   1:1001  ack 1
//! +1s      >>     .   1:1001  ack 1
//! +10ms    <<     .   1:1     ack 1001
//! +1s      none
//! ```
//!
//! The peer's side of everything is forged, and everything that the stack sends must be expected: what leaves beside it
//! is an error, as is what does not leave. Payload is a pattern that is verified in both directions.
//!
//! # Lines
//!
//! `#` starts a comment. Before the first line with a time, settings: `stack KEY VALUE` is for whoever makes the stack;
//! `set mtu N`, `set ipv6`, `set offload` (the interface completes checksums and cuts super-segments), `set isn N` (of
//! the peers; the default wraps after 4096 bytes), `set seed N`, `set tolerance TIME` (default 1us).
//!
//! Each further line is `TIME ACTION...`. A time is a number with `ns`, `us`, `ms`, `s` or `min`, from the start of the
//! script on, or with `+` from when the line before happened. What the stack does can have a range, `+200ms..220ms` or
//! `+1s~5ms`.
//!
//! An action may end with the digit of the peer it is about, as in `<<2`; without, it is 1. Each peer is one
//! connection: port 500N, and 4420 of a stack that listens.
//!
//! | action | |
//! |---|---|
//! | `<< SEGMENT` | a segment reaches the stack |
//! | `<< icmp KIND for FROM:TO` | so does an ICMP error that quotes a segment of the stack's: `frag-needed mtu N`, `net-unreachable`, `host-unreachable`, `protocol-unreachable`, `port-unreachable`, `prohibited`, `time-exceeded`, `source-quench` |
//! | `>> SEGMENT` | the stack sends a segment |
//! | `>>* [SEGMENT]` | it may have sent any number of segments until now, all as stated |
//! | `none` | it has sent nothing else until now |
//! | `app listen [backlog N \| fast N]`, `unlisten`, `connect [port N \| fast N takes N]` (with bytes offered for the SYN), `send N [by CHUNK \| tag TAG]`, `recv N`, `recv one`, `shutdown`, `abort [OPTIONS]`, `ack_now`, `probe`, `probe_tail`, `pace RATE`, `pace off` | a call of the layer above; `-> NAME` after it: it fails with that variant |
//! | `app window N` or `own`, `option BYTES` or `none`, `verdict accept`, `signal`, `drop`, `reset`, `syn accept`, `drop`, `reset` | what the hook says from now on |
//! | `event NAME` | has been reported since it was last asked for: `established`, `readable`, `writable`, `finished`, `closed normal`, `refused`, `reset`, `timed-out`, `aborted` |
//! | `event no NAME` | has not |
//! | `info FIELD VALUE...`, `info gone` | fields of [`TcpInfo`](crate::TcpInfo), and `room` |
//! | `open [mss N] [sackOK] [wscale N] [ts] [win N] [rtt TIME]` | short for a handshake that the peer begins, after `app listen` for peer 1; `win` is that of its third segment, `rtt` how long after the SYN that comes (10 ms) |
//! | `peer new [+N]` | the peer forgets the connection; its next initial sequence number is this far from the old one |
//!
//! # Segments
//!
//! `FLAGS FROM:TO WORD...`. Flags are `S`, `F`, `R`, `P`, `.` (ACK), `U`, `E` (ECE), `W` (CWR), `-` for none. Sequence
//! numbers count from the sender's initial one, so that data starts at 1; `=N` is a number as in the header. Words:
//! `ack N`, `win N` (in bytes), `rawwin N` (the field), `mss N`, `wscale N`, `sackOK`, `sack FROM:TO,FROM:TO`,
//! `ts VALUE/ECHO` (the stack's count from its first; `last` echoes its last one), `opt KIND:BYTES` (or `last`: what the stack has
//! sent last with this kind), `urg N`, `notect`,
//! `ect0`, `ect1`, `ce`, `by N` (the range is a burst of segments of this size), `pieces N` (of a super-segment). Only of what is sent: `rawopt BYTES`,
//! `fill BYTE` (instead of the pattern), `badsum`. Only of what is expected: `no OPTION`, `*` for flags or
//! range. What an expectation does not state is not looked at, PSH included. Expected
//! numbers can be `*`, `5..9`, `>=5`, `<=5`, `>5`, `<5`.

mod command;
mod expect;
mod line;
mod number;
mod options;
mod parse;
mod peer;
mod run;
mod segment;
#[cfg(all(test, feature = "smoltcp"))]
mod tests;

use crate::TcpStack;

/// A setting of the stack under test: key and value of a `stack` line.
pub type StackSetting = (String, String);

/// Makes a stack without interfaces from the `stack` lines of a script and a seed, or says what is wrong with them.
pub type StackFactory<'a> = &'a dyn Fn(&[StackSetting], u64) -> Result<Box<dyn TcpStack>, String>;

/// What went wrong in a script, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(String);

/// Runs a script. `file` and `first_line` are where its text starts, for messages.
///
/// # Errors
///
/// The line that cannot be read, or at which the stack did something else, with what was expected, what was
/// sent, and everything that happened until then.
pub fn run(text: &str, file: &str, first_line: u32, factory: StackFactory<'_>) -> Result<(), ScriptError> {
    let script =
        parse::parse(text, first_line).map_err(|(line, wrong)| ScriptError(format!("{file}:{line}: {wrong}")))?;
    run::run(&script, file, factory).map_err(ScriptError)
}
