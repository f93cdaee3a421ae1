//! What `tshark` makes of a connection: an implementation of the protocol that neither end knows, which works out tokens
//! and initial data sequence numbers from the keys by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::capture::tshark;
use crate::error::{LabError, Result};

/// Severity from which on `tshark` calls something an error rather than a warning. It warns of lawful things too, such as the
/// padding that Linux sends.
const ERROR: u32 = 8_388_608;

/// How far before the first data of an end a mapping must not start.
const BEFORE: u64 = 1000;

/// What is read of each frame.
const FIELDS: [&str; 17] = [
    "frame.number",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "tcp.flags",
    "mptcp.expected_token",
    "mptcp.expected_idsn",
    "tcp.options.mptcp.checksumreq.flags",
    "tcp.options.mptcp.recvtok",
    "tcp.options.mptcp.rawdataseqno",
    "tcp.options.mptcp.subflowseqno",
    "tcp.options.mptcp.datalvllen",
    "tcp.options.mptcp.datafin.flag",
];

/// Bits of `tcp.flags`.
const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;

/// One capture of one connection, as decoded. The keys of the maps are source addresses where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Frames that are malformed, or in which `tshark` sees an error, with what it says.
    pub errors: Vec<String>,
    /// Token that belongs to the key of each end, as `tshark` works it out.
    pub tokens: BTreeMap<String, u32>,
    /// Initial data sequence number that belongs to the key of each end, as `tshark` works it out.
    pub idsns: BTreeMap<String, u64>,
    /// Tokens in the SYN of each MP_JOIN, with the destination of it.
    pub join_tokens: Vec<(String, u32)>,
    /// The data sequence numbers at which mappings start, on all subflows and from both ends, which both send all 64 bits.
    pub mappings: BTreeSet<u64>,
    /// Bytes of the first data where it came with an MP_CAPABLE, whose mapping names no data sequence number.
    pub data_with_keys: BTreeMap<String, u64>,
    /// Whether each MP_CAPABLE of the handshake asks for checksums.
    pub checksums: Vec<bool>,
    /// Frames with RST, with their source.
    pub resets: Vec<String>,
    /// Sources of DATA_FIN signals on any subflow.
    pub data_fins: BTreeSet<String>,
}

impl Decoded {
    /// Reads a capture that has one connection.
    ///
    /// # Errors
    /// `tshark` is missing or does not understand the file.
    pub fn read(file: &Path) -> Result<Self> {
        let mut decoded = Self::default();
        for row in tshark(file, "tcp", &FIELDS)? {
            decoded.add(&Frame { row: &row })?;
        }
        Ok(decoded)
    }

    /// What is wrong with the connection, in sentences; empty if tokens and sequence numbers are those of the keys and
    /// the decoder has nothing to complain about.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self.errors.iter().map(|error| format!("frame {error}")).collect();
        if self.tokens.len() != 2 || self.idsns.len() != 2 {
            complaints.push(format!("keys of both ends are needed, tokens {:?}, IDSNs {:?}", self.tokens, self.idsns));
        }
        for (to, token) in &self.join_tokens {
            // The destination of a join may be any address of its end, so all that is known is that one end has this token.
            if !self.tokens.values().any(|known| known == token) {
                complaints.push(format!("a join to {to} has the token {token}, the keys give {:?}", self.tokens));
            }
        }
        for (from, idsn) in &self.idsns {
            // The key itself takes the first number, and data in MP_CAPABLE the next ones.
            let first = idsn.wrapping_add(1).wrapping_add(self.data_with_keys.get(from).copied().unwrap_or(0));
            if !self.mappings.contains(&first) {
                complaints.push(format!("no mapping starts at {first}, the first data in a DSS of {from} by its key"));
            }
            let early = self.mappings.iter().find(|start| (1..=BEFORE).contains(&first.wrapping_sub(**start)));
            if let Some(early) = early {
                complaints.push(format!("a mapping starts at {early}, before {first}, the first data of {from}"));
            }
        }
        complaints
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<()> {
        if frame.is_broken() {
            self.errors.push(format!("{}: {}", frame.get("frame.number"), frame.get("_ws.expert.message")));
        }
        if let (Some(token), Some(idsn)) = (frame.number("mptcp.expected_token")?, frame.number("mptcp.expected_idsn")?)
        {
            self.tokens.entry(frame.source()).or_insert(token);
            self.idsns.entry(frame.source()).or_insert(idsn);
        }
        if let Some(flag) = frame.number::<u8>("tcp.options.mptcp.checksumreq.flags")? {
            self.checksums.push(flag == 1);
        }
        let flags = frame.flags()?;
        if let Some(token) = frame.number("tcp.options.mptcp.recvtok")?
            && flags & (SYN | ACK) == SYN
        {
            self.join_tokens.push((frame.destination(), token));
        }
        if flags & RST != 0 {
            self.resets.push(format!("frame {} from {}", frame.get("frame.number"), frame.source()));
        }
        if frame.number("tcp.options.mptcp.datafin.flag")? == Some(1_u8) {
            self.data_fins.insert(frame.source());
        }
        // A DATA_FIN without data has the subflow sequence number 0.
        let ssn = frame.number::<u32>("tcp.options.mptcp.subflowseqno")?;
        if let (Some(dsn), Some(1..)) = (frame.number("tcp.options.mptcp.rawdataseqno")?, ssn) {
            self.mappings.insert(dsn);
        } else if let Some(len @ 1..) = frame.number("tcp.options.mptcp.datalvllen")?
            && ssn.is_none()
        {
            self.data_with_keys.insert(frame.source(), len);
        }
        Ok(())
    }
}

/// One row of `tshark`, with the columns of [`FIELDS`].
struct Frame<'a> {
    row: &'a [String],
}

impl Frame<'_> {
    /// A field; of one that the frame has several times the first.
    fn get(&self, field: &str) -> &str {
        let column = FIELDS.iter().position(|known| *known == field).and_then(|column| self.row.get(column));
        column.map_or("", |text| text.split(',').next().unwrap_or_default())
    }

    fn number<T: std::str::FromStr>(&self, field: &str) -> Result<Option<T>> {
        let text = self.get(field);
        let unexpected =
            |_| LabError::Unexpected { what: format!("the field {field} of tshark"), found: text.to_owned() };
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(unexpected) }
    }

    fn flags(&self) -> Result<u32> {
        let text = self.get("tcp.flags");
        let unexpected = |_| LabError::Unexpected { what: "tcp.flags of tshark".to_owned(), found: text.to_owned() };
        u32::from_str_radix(text.trim_start_matches("0x"), 16).map_err(unexpected)
    }

    fn is_broken(&self) -> bool {
        let column = FIELDS.iter().position(|known| *known == "_ws.expert.severity");
        let severities = column.and_then(|column| self.row.get(column)).map_or("", String::as_str);
        !self.get("_ws.malformed").is_empty()
            || severities.split(',').filter_map(|severity| severity.parse().ok()).any(|severity: u32| severity >= ERROR)
    }

    fn source(&self) -> String {
        format!("{}{}", self.get("ip.src"), self.get("ipv6.src"))
    }

    fn destination(&self) -> String {
        format!("{}{}", self.get("ip.dst"), self.get("ipv6.dst"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Decoded {
        let ends = ["a", "b"].map(str::to_owned);
        Decoded {
            tokens: BTreeMap::from([(ends[0].clone(), 7), (ends[1].clone(), 8)]),
            idsns: BTreeMap::from([(ends[0].clone(), 1 << 40 | 5), (ends[1].clone(), 6000)]),
            join_tokens: vec![("c".to_owned(), 8)],
            mappings: BTreeSet::from([1 << 40 | 6, 1 << 40 | 1506, 6001]),
            ..Decoded::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_complained_about() {
        assert_eq!(sound().complaints(), [""; 0]);
        let mut wrong_token = sound();
        wrong_token.join_tokens[0].1 = 9;
        assert!(wrong_token.complaints()[0].contains("token 9"));
        let mut wrong_idsn = sound();
        wrong_idsn.mappings.remove(&6001);
        assert!(wrong_idsn.complaints()[0].contains("starts at 6001"));
        wrong_idsn.mappings.insert(6101);
        wrong_idsn.data_with_keys.insert("b".to_owned(), 100);
        assert_eq!(wrong_idsn.complaints(), [""; 0]);
        let mut too_early = sound();
        too_early.mappings.insert(5900);
        assert!(too_early.complaints()[0].contains("before 6001"));
        assert_eq!(Decoded::default().complaints().len(), 1);
    }
}
