//! The lines of a script.

use super::command::{Command, InfoSpec};
use super::number::{small, time};
use super::segment::SegmentSpec;
use crate::CloseReason;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Number in the file.
    pub(super) number: u32,
    /// As it was written.
    pub(super) text: String,
    pub(super) when: When,
    /// Which peer it is about: 1 to 9.
    pub(super) peer: u8,
    pub(super) action: Action,
}

/// When a line happens, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// After the line before, rather than after the start of the script.
    pub(super) relative: bool,
    pub(super) low: u64,
    pub(super) high: u64,
}

/// What a line is for.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A segment from the peer reaches the stack.
    Inject(SegmentSpec),
    /// An ICMP error reaches the stack.
    InjectIcmp(IcmpSpec),
    /// The stack sends a segment.
    Expect(SegmentSpec),
    /// The stack may send any number of segments, all like this if it is stated.
    ExpectAny(Option<SegmentSpec>),
    /// The stack has sent nothing that was not expected.
    Nothing,
    /// A call of the layer above, and the error that it gets.
    App(Command, Option<String>),
    /// Something is reported to the layer above.
    Event(EventSpec),
    /// The same must not have been reported.
    NoEvent(EventSpec),
    /// What the stack tells of the connection.
    Info(InfoSpec),
    /// The peer forgets the connection, and starts the next one this far from the old initial sequence number.
    NewPeer(i64),
}

/// An ICMP error about a segment of the stack's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IcmpSpec {
    pub(super) kind: IcmpKind,
    /// Sequence number of the quoted segment, from the initial one on.
    pub(super) seq: i64,
    pub(super) len: u32,
}

/// Kinds of ICMP errors, by their names in RFC 792 and RFC 1122.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IcmpKind {
    /// With the MTU of the next hop.
    FragmentationNeeded(u32),
    NetUnreachable,
    HostUnreachable,
    ProtocolUnreachable,
    PortUnreachable,
    Prohibited,
    TimeExceeded,
    SourceQuench,
}

/// An event of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventSpec {
    Established,
    Readable,
    Writable,
    Finished,
    Closed(CloseReason),
}

impl Line {
    /// `TIME ACTION...`; the line is not empty.
    pub(super) fn parse(number: u32, text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let when = When::parse(words.next().ok_or("an empty line")?)?;
        let verb = words.next().ok_or("an action is missing after the time")?;
        let words: Vec<&str> = words.collect();
        let (verb, peer) = match verb.split_at_checked(verb.len() - 1) {
            Some((verb, digit)) if !verb.is_empty() && digit.parse::<u8>().is_ok() => (verb, small(digit)?),
            _ => (verb, 1),
        };
        let action = match verb {
            "<<" if words.first() == Some(&"icmp") => Action::InjectIcmp(IcmpSpec::parse(&words[1..])?),
            "<<" => Action::Inject(injectable(SegmentSpec::parse(&words)?)?),
            ">>" => Action::Expect(SegmentSpec::parse(&words)?),
            ">>*" if words.is_empty() => Action::ExpectAny(None),
            ">>*" => Action::ExpectAny(Some(SegmentSpec::parse(&words)?)),
            "none" if words.is_empty() => Action::Nothing,
            "app" => {
                let (command, error) = Command::parse(&words)?;
                Action::App(command, error)
            }
            "event" => match words[..] {
                ["no", ref rest @ ..] => Action::NoEvent(EventSpec::parse(rest)?),
                ref rest => Action::Event(EventSpec::parse(rest)?),
            },
            "info" => Action::Info(InfoSpec::parse(&words)?),
            "peer" => Action::NewPeer(new_peer(&words)?),
            _ => {
                return Err(format!("'{verb}' is no action: <<, >>, >>*, none, app, event, info, peer"));
            }
        };
        let may_range = matches!(action, Action::Expect(_) | Action::Event(_));
        if when.low != when.high && !may_range {
            return Err("only what the stack does can have a range of times".to_owned());
        }
        Ok(Self { number, text: text.to_owned(), when, peer, action })
    }
}

impl When {
    /// `+10ms`, `1s`, `200ms..220ms`, `+1s~5ms`.
    fn parse(text: &str) -> Result<Self, String> {
        let (relative, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let (low, high) = if let Some((low, high)) = rest.split_once("..") {
            (time(low)?, time(high.trim_start_matches('+'))?)
        } else if let Some((middle, tolerance)) = rest.split_once('~') {
            let (middle, tolerance) = (time(middle)?, time(tolerance)?);
            (middle.saturating_sub(tolerance), middle.saturating_add(tolerance))
        } else {
            let exact = time(rest)?;
            (exact, exact)
        };
        if low > high {
            return Err(format!("'{text}' ends before it begins"));
        }
        Ok(Self { relative, low, high })
    }
}

/// What a peer sends must be stated in full.
fn injectable(spec: SegmentSpec) -> Result<SegmentSpec, String> {
    const ACK: u8 = 0x10;
    let flags = spec.flags.ok_or("the flags of what the peer sends must be stated")?;
    if spec.seq.is_none() {
        return Err("the sequence number of what the peer sends must be stated".to_owned());
    }
    if flags & ACK != 0 && spec.ack.is_none() {
        return Err("'ack' is missing".to_owned());
    }
    if !spec.absent.is_empty() {
        return Err("'no' has no meaning in what the peer sends".to_owned());
    }
    Ok(spec)
}

impl IcmpSpec {
    /// `frag-needed mtu 1300 for 1:1461`, `port-unreachable for 0`.
    fn parse(words: &[&str]) -> Result<Self, String> {
        let (kind, range) = match *words {
            ["frag-needed", "mtu", mtu, "for", range] => (IcmpKind::FragmentationNeeded(small(mtu)?), range),
            ["net-unreachable", "for", range] => (IcmpKind::NetUnreachable, range),
            ["host-unreachable", "for", range] => (IcmpKind::HostUnreachable, range),
            ["protocol-unreachable", "for", range] => (IcmpKind::ProtocolUnreachable, range),
            ["port-unreachable", "for", range] => (IcmpKind::PortUnreachable, range),
            ["prohibited", "for", range] => (IcmpKind::Prohibited, range),
            ["time-exceeded", "for", range] => (IcmpKind::TimeExceeded, range),
            ["source-quench", "for", range] => (IcmpKind::SourceQuench, range),
            _ => return Err("not 'icmp KIND for FROM:TO' with a known kind".to_owned()),
        };
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        let from: i64 = from.parse().map_err(|_| format!("'{range}' is no range"))?;
        let to: i64 = to.parse().map_err(|_| format!("'{range}' is no range"))?;
        let len = u32::try_from(to - from).map_err(|_| format!("'{range}' ends before it begins"))?;
        Ok(Self { kind, seq: from, len })
    }
}

impl EventSpec {
    fn parse(words: &[&str]) -> Result<Self, String> {
        Ok(match *words {
            ["established"] => Self::Established,
            ["readable"] => Self::Readable,
            ["writable"] => Self::Writable,
            ["finished"] => Self::Finished,
            ["closed", "normal"] => Self::Closed(CloseReason::Normal),
            ["closed", "refused"] => Self::Closed(CloseReason::Refused),
            ["closed", "reset"] => Self::Closed(CloseReason::Reset),
            ["closed", "timed-out"] => Self::Closed(CloseReason::TimedOut),
            ["closed", "aborted"] => Self::Closed(CloseReason::Aborted),
            _ => {
                return Err(format!(
                    "'{}' is no event: established, readable, writable, finished, closed \
                     normal|refused|reset|timed-out|aborted",
                    words.join(" ")
                ));
            }
        })
    }
}

fn new_peer(words: &[&str]) -> Result<i64, String> {
    match *words {
        ["new"] => Ok(0),
        ["new", distance] => {
            distance.replace('_', "").parse().map_err(|_| format!("'{distance}' is no distance such as +100000"))
        }
        _ => Err("not 'peer new [+N|-N]'".to_owned()),
    }
}
