//! What plain TCP looks like on the wire: what two ends agree on, and whether they keep to it.

use std::net::IpAddr;
use std::path::Path;

use crate::capture::tshark;
use crate::error::{LabError, Result};

/// Extensions of TCP that both ends want, as their SYNs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Timestamps (RFC 7323).
    pub timestamps: bool,
    /// Selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Window scaling (RFC 7323).
    pub window_scale: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: bool,
}

/// What one end has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Bytes of the longest payload.
    pub longest: usize,
    /// Segments with blocks of a selective acknowledgement.
    pub sacks: u64,
    /// Packets of a transport that is capable of ECN, as they passed here: with or without a mark.
    pub ect: u64,
    /// Packets with the mark of congestion.
    pub ce: u64,
    /// Segments after the handshake that echo a mark.
    pub ece: u64,
    /// Bytes that it has acknowledged with the echo of a mark.
    pub echoed: u64,
    /// Segments after the handshake that tell of a smaller window.
    pub cwr: u64,
    /// Segments with RST.
    pub resets: u64,
    /// The highest number that it has acknowledged, counted from the other end's SYN.
    acknowledged: u32,
}

/// A capture of one connection, as `tshark` decodes it. Frames that were damaged on the way are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What the SYN and its answer say.
    pub agreed: Agreed,
    /// What the end with the given address has sent.
    pub ours: Sender,
    /// What the other end has sent.
    pub theirs: Sender,
    /// Segments that `tshark` does not like, and those that do not keep to what was agreed on.
    pub complaints: Vec<String>,
}

/// Severity from which on `tshark` calls something an error.
const ERROR: u32 = 8_388_608;

/// What is read of each segment whose checksum is right.
const FIELDS: [&str; 14] = [
    "frame.number",
    "ip.src",
    "ipv6.src",
    "tcp.flags",
    "tcp.len",
    "tcp.ack",
    "tcp.options.wscale.shift",
    "tcp.options.sack_perm",
    "tcp.options.timestamp.tsval",
    "tcp.options.sack_le",
    "ip.dsfield.ecn",
    "ipv6.tclass.ecn",
    "_ws.expert.severity",
    "_ws.expert.message",
];

const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;
const ECE: u32 = 0x40;
const CWR: u32 = 0x80;

/// Both bits of the ECN field (RFC 3168 section 5).
const CE: u32 = 0b11;

impl Trace {
    /// Reads a capture; `ours` is the address of one end.
    ///
    /// # Errors
    /// `tshark` is missing or does not understand the file.
    pub fn read(file: &Path, ours: IpAddr) -> Result<Self> {
        let segments = tshark(file, "tcp.checksum.status == 1", &FIELDS)?;
        let segments = segments.iter().map(|row| Segment::of(row)).collect::<Result<Vec<_>>>()?;
        let mut trace = Self { agreed: Agreed::of(&segments), ..Self::default() };
        for segment in &segments {
            trace.complaints.extend(segment.complaint(trace.agreed));
            let sender = if segment.source == ours.to_string() { &mut trace.ours } else { &mut trace.theirs };
            sender.add(segment);
        }
        Ok(trace)
    }
}

impl Agreed {
    /// What the first SYN and the first answer to it have in common.
    fn of(segments: &[Segment]) -> Self {
        let with = |flags: u32| segments.iter().find(|segment| segment.flags & (SYN | ACK) == flags);
        let (Some(syn), Some(answer)) = (with(SYN), with(SYN | ACK)) else { return Self::default() };
        Self {
            timestamps: syn.timestamps && answer.timestamps,
            sack: syn.sack_permitted && answer.sack_permitted,
            window_scale: syn.window_scale && answer.window_scale,
            // RFC 3168 section 6.1.1: both flags in the SYN, only the echo in the answer.
            ecn: syn.flags & (ECE | CWR) == ECE | CWR && answer.flags & (ECE | CWR) == ECE,
        }
    }
}

impl Sender {
    fn add(&mut self, segment: &Segment) {
        let established = segment.flags & SYN == 0;
        self.longest = self.longest.max(segment.payload);
        self.sacks += u64::from(segment.sacks);
        self.ect += u64::from(segment.ecn != 0);
        self.ce += u64::from(segment.ecn == CE);
        self.ece += u64::from(established && segment.flags & ECE != 0);
        self.acknowledge(segment);
        self.cwr += u64::from(established && segment.flags & CWR != 0);
        self.resets += u64::from(segment.flags & RST != 0);
    }

    /// Counts what is acknowledged for the first time.
    fn acknowledge(&mut self, segment: &Segment) {
        if segment.flags & (SYN | ACK) != ACK {
            return;
        }
        let new = segment.acknowledged.saturating_sub(self.acknowledged);
        self.acknowledged += new;
        if segment.flags & ECE != 0 {
            self.echoed += u64::from(new);
        }
    }
}

/// What matters of a segment.
#[derive(Clone, Debug, Default)]
struct Segment {
    number: String,
    source: String,
    flags: u32,
    payload: usize,
    acknowledged: u32,
    timestamps: bool,
    sack_permitted: bool,
    window_scale: bool,
    sacks: bool,
    ecn: u32,
    error: Option<String>,
}

impl Segment {
    fn of(row: &[String]) -> Result<Self> {
        let get = |field: &str| {
            let column = FIELDS.iter().position(|known| *known == field).and_then(|column| row.get(column));
            column.map_or("", String::as_str)
        };
        let has = |field: &str| !get(field).is_empty();
        let number = |field: &str| {
            let text = get(field);
            let parsed = match text.strip_prefix("0x") {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None if text.is_empty() => Ok(0),
                None => text.parse(),
            };
            parsed.map_err(|_| LabError::Unexpected { what: format!("{field} of tshark"), found: text.to_owned() })
        };
        let worst = get("_ws.expert.severity").split(',').filter_map(|severity| severity.parse().ok()).max();
        Ok(Self {
            number: get("frame.number").to_owned(),
            source: format!("{}{}", get("ip.src"), get("ipv6.src")),
            flags: number("tcp.flags")?,
            payload: number("tcp.len")? as usize,
            acknowledged: number("tcp.ack")?,
            timestamps: has("tcp.options.timestamp.tsval"),
            sack_permitted: has("tcp.options.sack_perm"),
            window_scale: has("tcp.options.wscale.shift"),
            sacks: has("tcp.options.sack_le"),
            ecn: number("ip.dsfield.ecn")? | number("ipv6.tclass.ecn")?,
            error: worst.filter(|worst: &u32| *worst >= ERROR).map(|_| get("_ws.expert.message").to_owned()),
        })
    }

    /// What is wrong with it after this agreement.
    fn complaint(&self, agreed: Agreed) -> Option<String> {
        // A SYN offers what the other end may refuse. RFC 7323 section 3.2 leaves timestamps out of a RST.
        let bound = self.flags & (SYN | RST) == 0;
        let wrong = [
            (bound && self.timestamps != agreed.timestamps, "timestamps"),
            (bound && self.sacks && !agreed.sack, "a selective acknowledgement"),
            (bound && self.ecn != 0 && !agreed.ecn, "the ECN field"),
            (bound && self.flags & (ECE | CWR) != 0 && !agreed.ecn, "the flags of ECN"),
        ];
        let found = self.error.as_deref().or(wrong.iter().find(|(wrong, _)| *wrong).map(|(_, what)| *what))?;
        Some(format!("frame {} from {}: {found}, but {agreed:?}", self.number, self.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SACK: Agreed = Agreed { timestamps: false, sack: true, window_scale: false, ecn: false };

    fn segment(flags: u32) -> Segment {
        Segment { flags, ..Segment::default() }
    }

    #[test]
    fn both_ends_must_want_it() {
        let syn = Segment { timestamps: true, sack_permitted: true, ..segment(SYN | ECE | CWR) };
        let answer = Segment { sack_permitted: true, window_scale: true, ..segment(SYN | ACK) };
        assert_eq!(Agreed::of(&[syn.clone(), answer.clone()]), SACK);
        let capable = Segment { flags: SYN | ACK | ECE, ..answer };
        assert_eq!(Agreed::of(&[syn.clone(), capable]), Agreed { ecn: true, ..SACK });
        assert_eq!(Agreed::of(&[syn]), Agreed::default());
    }

    #[test]
    fn an_echo_is_about_what_its_segment_acknowledges_first() {
        let mut sender = Sender::default();
        let acknowledges = |flags, acknowledged| Segment { acknowledged, ..segment(flags) };
        let echo = ACK | ECE;
        for (flags, acknowledged) in
            [(SYN | echo, 1), (ACK, 1001), (echo, 3001), (echo, 3001), (ACK, 4001), (echo, 4000), (echo, 4501)]
        {
            sender.add(&acknowledges(flags, acknowledged));
        }
        assert_eq!((sender.ece, sender.echoed), (4, 2500));
    }

    #[test]
    fn what_was_not_agreed_on_is_complained_about() {
        let complains = |segment: Segment, agreed| segment.complaint(agreed).is_some();
        assert!(!complains(Segment { sacks: true, ..segment(ACK) }, SACK));
        assert!(complains(Segment { sacks: true, ..segment(ACK) }, Agreed::default()));
        assert!(complains(Segment { timestamps: true, ..segment(ACK) }, SACK));
        assert!(complains(segment(ACK), Agreed { timestamps: true, ..SACK }));
        assert!(!complains(segment(RST), Agreed { timestamps: true, ..SACK }));
        assert!(complains(Segment { ecn: 2, ..segment(ACK) }, SACK));
        assert!(complains(segment(ACK | ECE), SACK));
        assert!(!complains(segment(SYN | ECE | CWR), SACK));
    }
}
