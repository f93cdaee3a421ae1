//! A script as a whole: settings, then lines.

use std::time::Duration;

use super::StackSetting;
use super::line::Line;
use super::number::{small, time};

/// A script.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) settings: Settings,
    pub(super) lines: Vec<Line>,
}

/// What holds for a whole script.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) stack: Vec<StackSetting>,
    pub(super) mtu: usize,
    pub(super) ipv6: bool,
    pub(super) offload: bool,
    pub(super) isn: u32,
    pub(super) seed: u64,
    pub(super) tolerance: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stack: Vec::new(),
            mtu: 1500,
            ipv6: false,
            offload: false,
            isn: 0xffff_f000,
            seed: 1,
            tolerance: Duration::from_micros(1),
        }
    }
}

/// Reads a script whose first line has the number `first`; an error comes with its line.
pub(super) fn parse(text: &str, first: u32) -> Result<Script, (u32, String)> {
    let mut script = Script { settings: Settings::default(), lines: Vec::new() };
    for (number, line) in (first..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        let parsed = match words[..] {
            [] => Ok(()),
            ["set" | "stack", ..] if !script.lines.is_empty() => Err("settings come before the first time".to_owned()),
            ["set", ref words @ ..] => script.settings.set(words),
            ["stack", key, value] => {
                script.settings.stack.push((key.to_owned(), value.to_owned()));
                Ok(())
            }
            [when, open, ref words @ ..] if open.trim_end_matches(|c: char| c.is_ascii_digit()) == "open" => {
                expand_open(number, line, when, &open["open".len()..], words).map(|lines| script.lines.extend(lines))
            }
            _ => Line::parse(number, line).map(|line| script.lines.push(line)),
        };
        parsed.map_err(|wrong| (number, format!("{wrong}\n    {line}")))?;
    }
    Ok(script)
}

/// A handshake that the peer begins, as the lines that it is short for.
fn expand_open(number: u32, text: &str, when: &str, peer: &str, words: &[&str]) -> Result<Vec<Line>, String> {
    let (mut syn, mut ack, mut round_trip) = (String::new(), String::new(), "10ms");
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("'{word}' needs a value"));
        match word {
            "rtt" => round_trip = value()?,
            "win" => ack += &format!(" win {}", value()?),
            "ts" => {
                syn += " ts 1000/0";
                ack += " ts 1001/last";
            }
            "sackOK" => syn += " sackOK",
            word => syn += &format!(" {word} {}", value()?),
        }
    }
    let listen = if peer.is_empty() { vec![format!("{when} app listen")] } else { Vec::new() };
    let when = if peer.is_empty() { "+0" } else { when };
    let handshake = [
        format!("{when} <<{peer} S 0:0 win 65535{syn}"),
        format!("+0 >>{peer} S. 0:0 ack 1"),
        format!("+{round_trip} <<{peer} . 1:1 ack 1{ack}"),
        format!("+0 event{peer} established"),
    ];
    let lines = listen.into_iter().chain(handshake);
    lines
        .map(|line| Line::parse(number, &line).map_err(|wrong| format!("{wrong} in '{line}', of\n    {text}")))
        .collect()
}

impl Settings {
    fn set(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["mtu", mtu] => self.mtu = small(mtu)?,
            ["ipv6"] => self.ipv6 = true,
            ["offload"] => self.offload = true,
            ["isn", isn] => self.isn = small(isn)?,
            ["seed", seed] => self.seed = small(seed)?,
            ["tolerance", tolerance] => self.tolerance = Duration::from_nanos(time(tolerance)?),
            _ => return Err("not a setting: mtu N, ipv6, offload, isn N, seed N, tolerance TIME".to_owned()),
        }
        Ok(())
    }
}
