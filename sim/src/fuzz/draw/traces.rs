//! Traces: what happens to one packet after the other, or at one time after the other, as a file has it.

use std::fmt::Write;

use crate::fuzz::dice::Dice;

/// Draws files for one part of a scenario, which the scenario carries itself.
#[derive(Debug)]
pub(super) struct Traces {
    part: &'static str,
    dice: Dice,
    texts: Vec<String>,
}

impl Traces {
    pub(super) fn new(part: &'static str, dice: Dice) -> Self {
        Self { part, dice, texts: Vec::new() }
    }

    /// A rate that is a trace, now and then.
    pub(super) fn rate(&mut self) -> Option<String> {
        self.dice.percent(5).then(|| {
            let (usual, most) = (self.dice.scaled(1, 8), self.dice.scaled(8, 300));
            let mut at = 0;
            let times = self.lines(5, 400, |dice| {
                // Several in the same millisecond, and pauses.
                at += if dice.percent(95) { dice.between(0, usual) } else { dice.between(usual, most) };
                at.to_string()
            });
            // A trace ends at a time above 0.
            let file = self.add(format!("{times}{}\n", at + usual));
            format!("{{ trace = {file} }}")
        })
    }

    /// Jitter that is a trace or comes from a table, now and then.
    pub(super) fn jitter(&mut self, order: &str) -> Option<String> {
        self.dice.percent(15).then(|| {
            if self.dice.percent(40) {
                let text = self.lines(3, 300, |dice| (dice.between(0, 32_768) as i64 - 16_384).to_string());
                let (file, amount) = (self.add(text), self.dice.time(50, 20_000));
                return format!(
                    "{{ amount = {amount}, distribution = \"table\", file = {file}, order = \"{order}\" }}"
                );
            }
            let (by_time, most) = (self.dice.percent(50), self.dice.scaled(50, 40_000));
            let mut at = 0;
            let text = self.lines(1, 300, |dice| {
                let delay = millis(dice.between(0, most));
                let line = if by_time { format!("{} {delay}", millis(at)) } else { delay };
                at += dice.scaled(100, 500_000);
                line
            });
            let file = self.add(text);
            format!("{{ distribution = \"trace\", file = {file}, order = \"{order}\" }}")
        })
    }

    /// The keys of losses that are a trace, now and then.
    pub(super) fn losses(&mut self) -> Option<String> {
        self.dice.percent(15).then(|| {
            let gap = self.dice.scaled(20, 200);
            // One at a time, and never as often as a sender that goes back would need to be in step with them for ever.
            let text = self.lines(1, 12, |dice| {
                let gap = usize::try_from(dice.between(gap, 2 * gap)).unwrap_or(0);
                format!("{}1", "0".repeat(gap))
            });
            format!("model = \"trace\", file = {}", self.add(text))
        })
    }

    /// The keys of traffic whose writes are a trace, of at most `most` bytes in all, now and then.
    pub(super) fn writes(&mut self, most: u64) -> Option<String> {
        self.dice.percent(8).then(|| {
            let count = self.dice.scaled(1, 60);
            let largest = self.dice.scaled(1, (most / count).max(2));
            let (mut at, longest) = (0, self.dice.scaled(100, 200_000));
            let text = self.lines(count, count, |dice| {
                at += dice.between(0, longest);
                format!("{} {}", millis(at), dice.between(1, largest))
            });
            let (file, direction) = (self.add(text), self.dice.pick(&["up", "down", "both"]));
            format!("kind = \"trace\"\ndirection = \"{direction}\"\nfile = {file}\n")
        })
    }

    fn lines(&mut self, least: u64, most: u64, mut line: impl FnMut(&mut Dice) -> String) -> String {
        (0..self.dice.scaled(least, most)).map(|_| line(&mut self.dice) + "\n").collect()
    }

    /// The name of the file with this text, in quotes.
    fn add(&mut self, text: String) -> String {
        self.texts.push(text);
        format!("\"{}-{}\"", self.part, self.texts.len())
    }
}

/// The section with the files of all parts.
pub(super) fn write(parts: &[Traces], text: &mut String) {
    if parts.iter().all(|part| part.texts.is_empty()) {
        return;
    }
    text.push_str("[files]\n");
    for part in parts {
        for (number, file) in (1..).zip(&part.texts) {
            // What is in them needs no other quotes than Rust's.
            let _ = writeln!(text, "{}-{number} = {file:?}", part.part);
        }
    }
}

/// Microseconds as traces have times.
fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}
