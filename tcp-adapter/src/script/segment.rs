//! A segment as a script states it.

use super::number::{Bound, bytes, number, small};
use super::options::{MSS, OptionSpec, SACK, SACK_PERMITTED, SCALE, Seq, Stamp, TIMESTAMPS};

/// Letters of the flags, from the lowest bit on.
const LETTERS: [(char, u8); 8] =
    [('F', 0x01), ('S', 0x02), ('R', 0x04), ('P', 0x08), ('.', 0x10), ('U', 0x20), ('E', 0x40), ('W', 0x80)];
/// PSH: says nothing about the protocol, so an expectation without it takes it too.
pub(super) const PUSH: u8 = 0x08;

/// A segment to be sent by a peer, or expected of the stack. What is not stated is left to the peer, or not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentSpec {
    pub(super) flags: Option<u8>,
    pub(super) seq: Option<Seq>,
    pub(super) len: u32,
    pub(super) ack: Option<Seq>,
    pub(super) window: Option<Bound>,
    /// Whether `window` is the field of the header instead of bytes.
    pub(super) window_is_raw: bool,
    pub(super) urgent: Option<u16>,
    pub(super) ecn: Option<u8>,
    pub(super) options: Vec<OptionSpec>,
    /// Kinds of options that must not be there.
    pub(super) absent: Vec<u8>,
    /// Payload bytes, if they are not the pattern.
    pub(super) fill: Option<u8>,
    pub(super) wrong_checksum: bool,
    /// The range is a burst of segments of this size, and a smaller last one.
    pub(super) by: Option<u32>,
    /// Size of the pieces of a super-segment.
    pub(super) pieces: Option<u16>,
}

impl SegmentSpec {
    /// `FLAGS SEQ[:END] [WORD...]`, see the documentation of the module above.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut words = words.iter().copied();
        let flags = words.next().ok_or("flags such as S. are missing")?;
        let mut spec = Self { flags: parse_flags(flags)?, ..Self::default() };
        let range = words.next().ok_or("a sequence number such as 1:1461 is missing")?;
        (spec.seq, spec.len) = parse_range(range)?;
        while let Some(word) = words.next() {
            spec.parse_word(word, &mut words)?;
        }
        Ok(spec)
    }

    fn parse_word<'a>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
        let mut value = || rest.next().ok_or_else(|| format!("'{word}' needs a value"));
        match word {
            "ack" => self.ack = parse_seq_or_any(value()?)?,
            "win" => self.window = Some(Bound::parse(value()?, number)?),
            "rawwin" => {
                self.window = Some(Bound::parse(value()?, number)?);
                self.window_is_raw = true;
            }
            "urg" => self.urgent = Some(small(value()?)?),
            "notect" => self.ecn = Some(0),
            "ect1" => self.ecn = Some(1),
            "ect0" => self.ecn = Some(2),
            "ce" => self.ecn = Some(3),
            "mss" => self.options.push(OptionSpec::Mss(Bound::parse(value()?, number)?)),
            "wscale" => self.options.push(OptionSpec::Scale(Bound::parse(value()?, number)?)),
            "sackOK" => self.options.push(OptionSpec::SackPermitted),
            "sack" => {
                let blocks: Result<_, String> = value()?.split(',').map(parse_block).collect();
                self.options.push(OptionSpec::Sack(blocks?));
            }
            "ts" => {
                let text = value()?;
                let (sent, echo) = text.split_once('/').ok_or_else(|| format!("'{text}' is not VALUE/ECHO"))?;
                self.options.push(OptionSpec::Timestamps(parse_stamp(sent)?, parse_stamp(echo)?));
            }
            "opt" => {
                let text = value()?;
                let (kind, content) = text.split_once(':').ok_or_else(|| format!("'{text}' is not KIND:BYTES"))?;
                self.options.push(match content {
                    "last" => OptionSpec::Last(small(kind)?),
                    "*" => OptionSpec::Other(small(kind)?, None),
                    content => OptionSpec::Other(small(kind)?, Some(bytes(content)?)),
                });
            }
            "rawopt" => self.options.push(OptionSpec::Raw(bytes(value()?)?)),
            "no" => self.absent.push(parse_kind(value()?)?),
            "fill" => self.fill = Some(small(value()?)?),
            "badsum" => self.wrong_checksum = true,
            "by" => self.by = Some(small::<u32>(value()?)?).filter(|&size| size > 0),
            "pieces" => self.pieces = Some(small(value()?)?),
            _ => return Err(format!("'{word}' is no word of a segment")),
        }
        Ok(())
    }

    /// The burst as single segments: sequence offset and length of each.
    pub(super) fn burst(&self) -> Vec<Self> {
        let (Some(by), Some(Seq::Relative(start))) = (self.by, self.seq) else { return vec![self.clone()] };
        let pieces = (0..self.len).step_by(usize::try_from(by).unwrap_or(usize::MAX));
        let piece = |from: u32| Self {
            seq: Some(Seq::Relative(start + i64::from(from))),
            len: by.min(self.len - from),
            by: None,
            ..self.clone()
        };
        pieces.map(piece).collect()
    }
}

/// Flags as letters.
pub(super) fn show_flags(flags: u8) -> String {
    let letters: String = LETTERS.iter().filter(|(_, bit)| flags & bit != 0).map(|(letter, _)| letter).collect();
    if letters.is_empty() { "-".to_owned() } else { letters }
}

fn parse_flags(text: &str) -> Result<Option<u8>, String> {
    if text == "*" {
        return Ok(None);
    }
    if text == "-" {
        return Ok(Some(0));
    }
    let mut flags = 0;
    for letter in text.chars() {
        let bit = LETTERS.iter().find(|(known, _)| *known == letter);
        flags |= bit.ok_or_else(|| format!("'{letter}' in '{text}' is no flag: F, S, R, P, ., U, E, W"))?.1;
    }
    Ok(Some(flags))
}

fn parse_range(text: &str) -> Result<(Option<Seq>, u32), String> {
    if text == "*" {
        return Ok((None, 0));
    }
    let Some((from, to)) = text.split_once(':') else { return Ok((Some(parse_seq(text)?), 0)) };
    let from = parse_seq(from)?;
    let to = parse_seq(to)?;
    let len = match (from, to) {
        (Seq::Relative(from), Seq::Relative(to)) => u32::try_from(to - from).ok(),
        (Seq::Raw(from), Seq::Raw(to)) => Some(to.wrapping_sub(from)),
        _ => None,
    };
    Ok((Some(from), len.ok_or_else(|| format!("'{text}' is no range"))?))
}

fn parse_block(text: &str) -> Result<(Seq, Seq), String> {
    let (from, to) = text.split_once(':').ok_or_else(|| format!("'{text}' is not FROM:TO"))?;
    Ok((parse_seq(from)?, parse_seq(to)?))
}

fn parse_seq_or_any(text: &str) -> Result<Option<Seq>, String> {
    if text == "*" { Ok(None) } else { parse_seq(text).map(Some) }
}

/// `1461` and `-5` from the initial sequence number on; `=77` as in the header.
fn parse_seq(text: &str) -> Result<Seq, String> {
    if let Some(raw) = text.strip_prefix('=') {
        return small(raw).map(Seq::Raw);
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    Ok(Seq::Relative(sign * i64::from(small::<u32>(digits)?)))
}

fn parse_stamp(text: &str) -> Result<Stamp, String> {
    if text == "last" { Ok(Stamp::Last) } else { Bound::parse(text, number).map(Stamp::Number) }
}

fn parse_kind(text: &str) -> Result<u8, String> {
    match text {
        "mss" => Ok(MSS),
        "wscale" => Ok(SCALE),
        "sackOK" => Ok(SACK_PERMITTED),
        "sack" => Ok(SACK),
        "ts" => Ok(TIMESTAMPS),
        kind => small(kind),
    }
}
