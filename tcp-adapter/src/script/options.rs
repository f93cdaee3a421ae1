//! TCP options as bytes.

use super::number::Bound;

pub(super) const MSS: u8 = 2;
pub(super) const SCALE: u8 = 3;
pub(super) const SACK_PERMITTED: u8 = 4;
pub(super) const SACK: u8 = 5;
pub(super) const TIMESTAMPS: u8 = 8;

/// A number of a sequence space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seq {
    /// From the initial sequence number on.
    Relative(i64),
    /// As in the header.
    Raw(u32),
}

/// One of the two numbers of a timestamps option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Stated by the script: our own numbers as they are, the stack's from its first one on.
    Number(Bound),
    /// The last one that the stack has sent.
    Last,
}

/// An option of a segment, as a script states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OptionSpec {
    Mss(Bound),
    Scale(Bound),
    SackPermitted,
    Sack(Vec<(Seq, Seq)>),
    Timestamps(Stamp, Stamp),
    /// Kind, and value unless any will do.
    Other(u8, Option<Vec<u8>>),
    /// What the stack has sent last with this kind.
    Last(u8),
    /// Bytes that need not be an option.
    Raw(Vec<u8>),
}

/// An option read from a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TcpOption {
    Mss(u16),
    Scale(u8),
    SackPermitted,
    Sack(Vec<(u32, u32)>),
    Timestamps(u32, u32),
    Other(u8, Vec<u8>),
}

impl TcpOption {
    pub(super) fn kind(&self) -> u8 {
        match *self {
            Self::Mss(_) => MSS,
            Self::Scale(_) => SCALE,
            Self::SackPermitted => SACK_PERMITTED,
            Self::Sack(_) => SACK,
            Self::Timestamps(..) => TIMESTAMPS,
            Self::Other(kind, _) => kind,
        }
    }

    /// Appends the option to a header.
    pub(super) fn emit(&self, bytes: &mut Vec<u8>) {
        let value = match self {
            Self::Mss(mss) => mss.to_be_bytes().to_vec(),
            Self::Scale(shift) => vec![*shift],
            Self::SackPermitted => Vec::new(),
            Self::Sack(blocks) => {
                blocks.iter().flat_map(|(from, to)| [*from, *to]).flat_map(u32::to_be_bytes).collect()
            }
            Self::Timestamps(value, echo) => [value.to_be_bytes(), echo.to_be_bytes()].concat(),
            Self::Other(_, value) => value.clone(),
        };
        bytes.push(self.kind());
        bytes.push(u8::try_from(value.len() + 2).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&value);
    }
}

/// The options of a header, or what is wrong with them.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<TcpOption>, String> {
    let mut options = Vec::new();
    loop {
        match *bytes {
            [] | [0, ..] => return Ok(options),
            [1, ref rest @ ..] => bytes = rest,
            [kind, len, ..] if len >= 2 && usize::from(len) <= bytes.len() => {
                let (option, rest) = bytes.split_at(len.into());
                options.push(known(kind, &option[2..])?);
                bytes = rest;
            }
            _ => return Err(format!("malformed options: {bytes:02x?} is no whole option")),
        }
    }
}

fn known(kind: u8, value: &[u8]) -> Result<TcpOption, String> {
    let word = |at: usize| u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
    match (kind, value.len()) {
        (MSS, 2) => Ok(TcpOption::Mss(u16::from_be_bytes([value[0], value[1]]))),
        (SCALE, 1) => Ok(TcpOption::Scale(value[0])),
        (SACK_PERMITTED, 0) => Ok(TcpOption::SackPermitted),
        (SACK, 8 | 16 | 24 | 32) => {
            Ok(TcpOption::Sack((0..value.len()).step_by(8).map(|at| (word(at), word(at + 4))).collect()))
        }
        (TIMESTAMPS, 8) => Ok(TcpOption::Timestamps(word(0), word(4))),
        (MSS | SCALE | SACK_PERMITTED | SACK | TIMESTAMPS, len) => {
            Err(format!("option {kind} with a value of {len} bytes"))
        }
        _ => Ok(TcpOption::Other(kind, value.to_vec())),
    }
}
