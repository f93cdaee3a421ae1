//! All middleboxes of a link, one behind the other.

use std::collections::VecDeque;

use tcp_adapter::Instant;

use super::{Direction, Middlebox, MiddleboxStats, Output};
use crate::packet::Packet;
use crate::random::Streams;
use crate::scenario::Scenario;

/// The middleboxes at the `to` end of a link in the order of the scenario: the first is next to the link.
#[derive(Debug, Default)]
pub struct Chain {
    boxes: Vec<Middlebox>,
    /// What one of them has just produced.
    output: Output,
}

impl Chain {
    /// Those of a link, by its index in [`Scenario::links`].
    pub fn new(scenario: &Scenario, link: usize, streams: Streams) -> Self {
        let link = &scenario.links[link];
        let own = scenario.middleboxes.iter().filter(|middlebox| middlebox.link == link.name);
        Self { boxes: own.map(|config| Middlebox::new(config, link, streams)).collect(), output: Output::default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// A packet arrives: from the way up, or from the link's `to`.
    pub fn handle(&mut self, now: Instant, packet: Packet, direction: Direction, out: &mut Output) {
        let first = match direction {
            Direction::Up => Some(0),
            Direction::Down => self.boxes.len().checked_sub(1),
        };
        self.walk(now, VecDeque::from([(first, direction, packet)]), out);
    }

    /// When [`Chain::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.boxes.iter().filter_map(Middlebox::poll_timeout).min()
    }

    /// Does everything that is due at `now` or before.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Output) {
        for index in 0..self.boxes.len() {
            self.boxes[index].handle_timeout(now, &mut self.output);
            let mut way = VecDeque::new();
            self.pass_on(index, &mut way, out);
            self.walk(now, way, out);
        }
    }

    /// Name and books of each.
    pub fn stats(&self) -> impl Iterator<Item = (&str, &MiddleboxStats)> {
        self.boxes.iter().map(|middlebox| (middlebox.name(), middlebox.stats()))
    }

    /// Carries packets from one to the next until they leave the chain.
    fn walk(&mut self, now: Instant, mut way: VecDeque<(Option<usize>, Direction, Packet)>, out: &mut Output) {
        while let Some((next, direction, packet)) = way.pop_front() {
            match next.filter(|next| *next < self.boxes.len()) {
                Some(index) => {
                    self.boxes[index].handle(now, packet, direction, &mut self.output);
                    self.pass_on(index, &mut way, out);
                }
                None if direction == Direction::Up => out.up.push(packet),
                None => out.down.push(packet),
            }
        }
    }

    fn pass_on(&mut self, index: usize, way: &mut VecDeque<(Option<usize>, Direction, Packet)>, out: &mut Output) {
        let Output { up, down, dropped } = &mut self.output;
        way.extend(up.drain(..).map(|packet| (Some(index + 1), Direction::Up, packet)));
        way.extend(down.drain(..).map(|packet| (index.checked_sub(1), Direction::Down, packet)));
        out.dropped.append(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::segment::{ACK, SYN};
    use crate::middlebox::testing::{DSS, Family, option_area, payload, summary, tcp};

    fn chain(boxes: &str) -> Chain {
        let text = format!("[links.p1]\n{boxes}\n[[traffic]]\nbytes = \"1MB\"\n");
        let scenario = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
        Chain::new(&scenario, 0, Streams::new(1))
    }

    #[test]
    fn packets_go_through_all_in_order() {
        let split = "[middlebox.split]\nlink = \"p1\"\nkind = \"split\"\nsize = \"2B\"";
        let join = "[middlebox.join]\nlink = \"p1\"\nkind = \"coalesce\"\nhold = \"1ms\"";
        let mut chain = chain(&format!("{split}\n{join}"));
        let mut out = Output::default();
        let data = |seq: u32| tcp(Family::V4).seq(seq).options(&DSS).payload(b"abcde");
        // Up they are cut and then joined; down what was joined is cut.
        chain.handle(Instant::ZERO, data(0).up(), Direction::Up, &mut out);
        chain.handle(Instant::ZERO, data(0).down(), Direction::Down, &mut out);
        assert!(out.up.is_empty() && out.down.is_empty());
        assert_eq!(chain.poll_timeout(), Some(Instant::from_millis(1)));
        chain.handle_timeout(Instant::from_millis(1), &mut out);
        assert_eq!(out.up.iter().map(payload).collect::<Vec<_>>(), [b"abcde"]);
        assert_eq!(out.down.iter().map(payload).collect::<Vec<_>>(), [&b"ab"[..], b"cd", b"e"]);
        assert!(out.up.iter().chain(&out.down).all(|packet| option_area(packet) == DSS));
        assert!(chain.stats().all(|(_, stats)| stats.balance()));
    }

    #[test]
    fn what_one_makes_goes_through_those_on_its_way() {
        let reset = "[middlebox.reset]\nlink = \"p1\"\nkind = \"reset\"";
        let nat = "[middlebox.nat]\nlink = \"p1\"\nkind = \"nat\"";
        let mut chain = chain(&format!("{nat}\n{reset}"));
        let mut out = Output::default();
        let syn = tcp(Family::V4).ports(5, 80).flags(SYN).up();
        chain.handle(Instant::ZERO, syn, Direction::Up, &mut out);
        // The reset is for the translated port, and the translator hands it to the right one.
        let [answer] = &mut out.down[..] else { panic!("a reset") };
        assert_eq!(summary(answer).1 & ACK, ACK);
        let segment = crate::middlebox::segment::Segment::open(&mut answer.frame).unwrap();
        assert_eq!(segment.destination().port(), 5);
    }

    #[test]
    fn an_empty_chain_is_a_way() {
        let mut chain = chain("");
        let mut out = Output::default();
        chain.handle(Instant::ZERO, tcp(Family::V4).up(), Direction::Up, &mut out);
        chain.handle(Instant::ZERO, tcp(Family::V4).down(), Direction::Down, &mut out);
        assert!(chain.is_empty() && out.up.len() == 1 && out.down.len() == 1);
    }
}
