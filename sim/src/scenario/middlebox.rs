//! What meddles with packets on the way.

use std::time::Duration;

use super::error::ScenarioError;
use super::event::DirectionChoice;
use super::field::{NONE, Text, tag, words};
use super::section::{Context, Section};
use super::tree::Node;
use super::units::Size;

/// A middlebox on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Middlebox {
    /// Its name.
    pub name: String,
    /// The link that it sits on, at the end of `to`. Several on one link follow each other in the order of the file.
    pub link: String,
    /// The direction that it meddles with.
    pub direction: DirectionChoice,
    /// What it does.
    pub behaviour: Behaviour,
}

/// What a middlebox does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Replaces an option by NOPs.
    StripOption(OptionMatch),
    /// Flips a bit in the body of an option.
    AlterOption(OptionMatch),
    /// Gives what comes from the side of `from` (with the direction `down`: of `to`) the address that this end of the
    /// link has, and each connection a port of its own. Nothing comes in from the other side but answers.
    Nat {
        /// Uses another port for every connection this often; `None`: never.
        rebind: Option<Duration>,
    },
    /// Adds a random offset to the sequence numbers of each connection.
    RewriteSequence,
    /// Cuts segments into pieces, copying the options to each.
    Split {
        /// Payload bytes of a piece.
        size: Size,
    },
    /// Joins contiguous segments to one that fits the link, keeping the options of the first.
    Coalesce {
        /// Payload bytes of what it makes, at most; what fits the link's MTU is less.
        size: Size,
        /// How long a segment waits for the next.
        hold: Duration,
    },
    /// Changes a byte of the payload, keeping its length, and mends the checksum.
    AlterPayload {
        /// Distance of altered segments of a connection and direction, in segments with payload.
        every: u64,
    },
    /// Acknowledges data on behalf of the receiver, then carries it on, and repeats what gets lost behind it.
    ProxyAck,
    /// Drops SYNs that carry an option.
    DropSyn {
        /// The option.
        option: OptionChoice,
    },
    /// Sends a packet a second time, later.
    Replay {
        /// Distance of replayed packets of a direction.
        every: u64,
        /// How much later.
        delay: Duration,
    },
    /// Resets connections at both ends.
    Reset {
        /// After this much payload of a connection; `None`: it answers the SYN.
        after: Option<Size>,
    },
}

/// Which options of which segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionMatch {
    /// The option.
    pub option: OptionChoice,
    /// The segments.
    pub segments: Segments,
    /// Segments of each connection that have the option and are left alone first.
    pub skip: u64,
    /// Segments of each connection that are changed then; `None`: all.
    pub count: Option<u64>,
}

words! {
    /// TCP options, those of RFC 8684 by subtype.
    pub enum OptionChoice {
        /// All of RFC 8684.
        Mptcp = "mptcp",
        /// MP_CAPABLE.
        MpCapable = "mp_capable",
        /// MP_JOIN.
        MpJoin = "mp_join",
        /// DSS.
        Dss = "dss",
        /// ADD_ADDR.
        AddAddr = "add_addr",
        /// REMOVE_ADDR.
        RemoveAddr = "remove_addr",
        /// MP_PRIO.
        MpPrio = "mp_prio",
        /// MP_FAIL.
        MpFail = "mp_fail",
        /// MP_FASTCLOSE.
        MpFastclose = "mp_fastclose",
        /// MP_TCPRST.
        MpTcprst = "mp_tcprst",
        /// Selective acknowledgements (RFC 2018).
        Sack = "sack",
        /// Timestamps (RFC 7323).
        Timestamps = "timestamps",
        /// Window scale (RFC 7323).
        WindowScale = "window_scale",
        /// Maximum segment size (RFC 9293).
        Mss = "mss",
        /// Every option.
        All = "all",
    }
}

words! {
    /// Kinds of segments.
    pub enum Segments {
        /// Every segment.
        All = "all",
        /// With SYN and without ACK.
        Syn = "syn",
        /// With SYN and ACK.
        SynAck = "syn-ack",
        /// Without SYN, with payload.
        Data = "data",
        /// Without SYN and payload.
        Ack = "ack",
        /// With FIN.
        Fin = "fin",
        /// With RST.
        Rst = "rst",
    }
}

words! {
    /// The behaviours by name.
    enum Kind {
        /// [`Behaviour::StripOption`].
        StripOption = "strip-option",
        /// [`Behaviour::AlterOption`].
        AlterOption = "alter-option",
        /// [`Behaviour::Nat`].
        Nat = "nat",
        /// [`Behaviour::RewriteSequence`].
        RewriteSequence = "rewrite-sequence",
        /// [`Behaviour::Split`].
        Split = "split",
        /// [`Behaviour::Coalesce`].
        Coalesce = "coalesce",
        /// [`Behaviour::AlterPayload`].
        AlterPayload = "alter-payload",
        /// [`Behaviour::ProxyAck`].
        ProxyAck = "proxy-ack",
        /// [`Behaviour::DropSyn`].
        DropSyn = "drop-syn",
        /// [`Behaviour::Replay`].
        Replay = "replay",
        /// [`Behaviour::Reset`].
        Reset = "reset",
    }
}

const COMMON_KEYS: [&str; 3] = ["link", "direction", "kind"];

fn keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::StripOption | Kind::AlterOption => &["option", "segments", "skip", "count"],
        Kind::Nat => &["rebind"],
        Kind::RewriteSequence | Kind::ProxyAck => &[],
        Kind::Split => &["size"],
        Kind::Coalesce => &["size", "hold"],
        Kind::AlterPayload => &["every"],
        Kind::DropSyn => &["option"],
        Kind::Replay => &["every", "delay"],
        Kind::Reset => &["after"],
    }
}

/// Reads one `[middlebox.NAME]`.
pub(crate) fn read_middlebox(
    cx: &mut Context,
    name: &str,
    node: &mut Node,
    path: &str,
) -> Result<Middlebox, ScenarioError> {
    let kind = tag(cx, node, path, "kind", Kind::ALL, None)?;
    let keys: Vec<&str> = COMMON_KEYS.iter().chain(keys(kind)).copied().collect();
    let mut section = Section::open(cx, node, path, &keys)?;
    let Text(link) = section.require("link", "the link that it sits on")?;
    Ok(Middlebox {
        name: name.to_owned(),
        link,
        direction: section.get("direction", "both")?,
        behaviour: read_behaviour(&mut section, kind)?,
    })
}

fn read_behaviour(section: &mut Section<'_>, kind: Kind) -> Result<Behaviour, ScenarioError> {
    let every = 1..=u64::from(u32::MAX);
    let segment = |size: &Size| (1..=65_535).contains(&size.0);
    Ok(match kind {
        Kind::StripOption => Behaviour::StripOption(read_match(section)?),
        Kind::AlterOption => Behaviour::AlterOption(read_match(section)?),
        Kind::Nat => Behaviour::Nat {
            rebind: section.get_if("rebind", NONE, r#"a time above 0, or "none""#, |time: &Option<Duration>| {
                time.is_none_or(|time| !time.is_zero())
            })?,
        },
        Kind::RewriteSequence => Behaviour::RewriteSequence,
        Kind::Split => Behaviour::Split { size: section.get_if("size", "536B", "from 1B to 65535B", segment)? },
        Kind::Coalesce => Behaviour::Coalesce {
            size: section.get_if("size", "8KiB", "from 1B to 65535B", segment)?,
            hold: section.get("hold", "1ms")?,
        },
        Kind::AlterPayload => Behaviour::AlterPayload { every: section.count("every", 100, every)? },
        Kind::ProxyAck => Behaviour::ProxyAck,
        Kind::DropSyn => Behaviour::DropSyn { option: section.get("option", "mptcp")? },
        Kind::Replay => {
            Behaviour::Replay { every: section.count("every", 100, every)?, delay: section.get("delay", "50ms")? }
        }
        Kind::Reset => Behaviour::Reset { after: section.optional("after")? },
    })
}

fn read_match(section: &mut Section<'_>) -> Result<OptionMatch, ScenarioError> {
    Ok(OptionMatch {
        option: section.get("option", "mptcp")?,
        segments: section.get("segments", "all")?,
        skip: section.count("skip", 0, 0..=u64::from(u32::MAX))?,
        count: section.optional("count")?,
    })
}
