//! What the layer above does in a script, and what it is told.

use super::number::{Bound, bytes, number, small, time};
use crate::TcpInfo;

/// A call of the layer above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Listen {
        backlog: usize,
        /// Opens with data on their SYN at a time.
        fast: usize,
    },
    Unlisten,
    Connect {
        port: Option<u16>,
        /// Bytes offered for the SYN, and how many of them it takes.
        fast: Option<(u64, Bound)>,
    },
    Send {
        len: u64,
        chunk: u64,
        tag: Option<u64>,
    },
    Receive(Receive),
    Shutdown,
    Abort(Vec<u8>),
    AckNow,
    Probe,
    ProbeTail,
    /// The rate to send at, at most, in bytes per second.
    Pace(Option<u64>),
    /// What the hook advertises from now on.
    Window(Option<u32>),
    /// What the hook pushes onto every segment from now on.
    Options(Vec<u8>),
    /// What the hook says of segments from now on.
    Verdict(HookVerdict),
    /// What the hook says of SYNs from now on.
    SynVerdict(HookVerdict),
}

/// How much to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// All there is, which must be so much.
    All(Bound),
    /// One slice.
    One,
}

/// A verdict of the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookVerdict {
    Accept,
    Signal,
    Drop,
    Reset,
}

impl Command {
    /// `NAME [WORD...] [-> ERROR]`.
    pub(super) fn parse(words: &[&str]) -> Result<(Self, Option<String>), String> {
        let (words, error) = match *words {
            [ref words @ .., "->", error] => (words, Some(error.to_owned())),
            ref words => (words, None),
        };
        let command = match *words {
            ["listen"] => Self::Listen { backlog: 128, fast: 0 },
            ["listen", "backlog", backlog] => Self::Listen { backlog: small(backlog)?, fast: 0 },
            ["listen", "fast", fast] => Self::Listen { backlog: 128, fast: small(fast)? },
            ["unlisten"] => Self::Unlisten,
            ["connect"] => Self::Connect { port: None, fast: None },
            ["connect", "port", port] => Self::Connect { port: Some(small(port)?), fast: None },
            ["connect", "fast", offered, "takes", taken] => {
                Self::Connect { port: None, fast: Some((number(offered)?, Bound::parse(taken, number)?)) }
            }
            ["send", len, ref rest @ ..] => {
                let len = number(len)?;
                let (chunk, tag) = match *rest {
                    [] => (len, None),
                    ["by", chunk] => (number(chunk)?, None),
                    ["tag", tag] => (len, Some(number(tag)?)),
                    _ => return Err("not 'send N [by CHUNK | tag TAG]'".to_owned()),
                };
                Self::Send { len, chunk: chunk.max(1), tag }
            }
            ["recv", "one"] => Self::Receive(Receive::One),
            ["recv", len] => Self::Receive(Receive::All(Bound::parse(len, number)?)),
            ["shutdown"] => Self::Shutdown,
            ["abort"] => Self::Abort(Vec::new()),
            ["abort", options] => Self::Abort(bytes(options)?),
            ["ack_now"] => Self::AckNow,
            ["probe"] => Self::Probe,
            ["probe_tail"] => Self::ProbeTail,
            ["pace", "off"] => Self::Pace(None),
            ["pace", rate] => Self::Pace(Some(number(rate)?)),
            ["window", "own"] => Self::Window(None),
            ["window", window] => Self::Window(Some(small(window)?)),
            ["option", "none"] => Self::Options(Vec::new()),
            ["option", options] => Self::Options(bytes(options)?),
            ["verdict", verdict] => Self::Verdict(HookVerdict::parse(verdict)?),
            ["syn", verdict] => Self::SynVerdict(HookVerdict::parse(verdict)?),
            _ => return Err(format!("'{}' is no call of the application", words.join(" "))),
        };
        Ok((command, error))
    }
}

impl HookVerdict {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "accept" => Ok(Self::Accept),
            "signal" => Ok(Self::Signal),
            "drop" => Ok(Self::Drop),
            "reset" => Ok(Self::Reset),
            _ => Err(format!("'{text}' is no verdict: accept, signal, drop, reset")),
        }
    }
}

/// What the stack must tell of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InfoSpec {
    /// It is forgotten.
    Gone,
    /// These fields have these values.
    Fields(Vec<(&'static str, Bound)>),
}

impl InfoSpec {
    /// `gone`, or `FIELD VALUE` any number of times.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        if words == ["gone"] {
            return Ok(Self::Gone);
        }
        let mut fields = Vec::new();
        for pair in words.chunks(2) {
            let &[name, value] = pair else { return Err(format!("'{}' needs a value", pair[0])) };
            let known = FIELDS.iter().find(|field| field.name == name);
            let known = known.ok_or_else(|| {
                let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
                format!("'{name}' is no field: {}", names.join(", "))
            })?;
            fields.push((known.name, Bound::parse(value, if known.is_time { time } else { number })?));
        }
        Ok(Self::Fields(fields))
    }
}

/// The value of a field, times in nanoseconds; `None` if the stack does not tell.
pub(super) fn field(name: &str, info: &TcpInfo, room: usize) -> Option<u64> {
    FIELDS.iter().find(|field| field.name == name).and_then(|field| (field.value)(info, room))
}

struct Field {
    name: &'static str,
    is_time: bool,
    value: fn(&TcpInfo, usize) -> Option<u64>,
}

const FIELDS: [Field; 20] = [
    Field { name: "established", is_time: false, value: |info, _| Some(info.established.into()) },
    Field { name: "srtt", is_time: true, value: |info, _| info.srtt.map(nanos) },
    Field { name: "rttvar", is_time: true, value: |info, _| info.rttvar.map(nanos) },
    Field { name: "min_rtt", is_time: true, value: |info, _| info.min_rtt.map(nanos) },
    Field { name: "rto", is_time: true, value: |info, _| info.rto.map(nanos) },
    Field { name: "cwnd", is_time: false, value: |info, _| info.cwnd },
    Field { name: "ssthresh", is_time: false, value: |info, _| info.ssthresh },
    Field { name: "in_flight", is_time: false, value: |info, _| Some(info.in_flight) },
    Field { name: "queued", is_time: false, value: |info, _| Some(info.queued) },
    Field { name: "delivery_rate", is_time: false, value: |info, _| info.delivery_rate },
    Field { name: "pacing_rate", is_time: false, value: |info, _| info.pacing_rate },
    Field { name: "max_pacing_rate", is_time: false, value: |info, _| info.max_pacing_rate },
    Field { name: "mss", is_time: false, value: |info, _| Some(info.mss as u64) },
    Field { name: "bytes_sent", is_time: false, value: |info, _| Some(info.bytes_sent) },
    Field { name: "bytes_retransmitted", is_time: false, value: |info, _| Some(info.bytes_retransmitted) },
    Field { name: "retransmissions", is_time: false, value: |info, _| Some(info.retransmissions) },
    Field { name: "timeouts", is_time: false, value: |info, _| Some(info.timeouts.into()) },
    Field { name: "snd_una", is_time: false, value: |info, _| Some(info.snd_una) },
    Field { name: "rcv_nxt", is_time: false, value: |info, _| Some(info.rcv_nxt) },
    Field { name: "room", is_time: false, value: |_, room| Some(room as u64) },
];

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
