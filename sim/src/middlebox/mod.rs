//! Middleboxes: what meddles with packets between two hosts that know nothing of it.
//!
//! A [`Middlebox`] sits on a link at the end of its `to`, and sees every packet of both directions: those that come out
//! of the way up, and those that are about to enter the way down. [`Chain`] is all that sit on one link. They take
//! real bytes, and what they forward has right checksums: those of altered segments are updated (RFC 1624), not made
//! anew, and a segment that a link has damaged passes as it is, since its receiver will refuse it.
//!
//! Nothing here has a clock: callers hand in the time, and ask when the next [`Middlebox::handle_timeout`] is due.

mod alter;
mod build;
mod chain;
mod coalesce;
mod connections;
mod drop_syn;
mod nat;
mod options;
mod payload;
mod proxy;
mod quoted;
mod replay;
mod reset;
mod segment;
mod sequence;
mod split;
mod stats;
mod strip;
#[cfg(test)]
mod testing;

use std::fmt::Debug;
use std::sync::Arc;

use tcp_adapter::Instant;

pub(crate) use build::cut_super_segment;
pub use chain::Chain;
pub use stats::{DropReason, Dropped, MiddleboxStats, Output};

use crate::packet::Packet;
use crate::random::Streams;
use crate::scenario::{self, Behaviour, DirectionChoice, Link};
use stats::Passage;

/// Which way a packet goes over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the link's `from` to its `to`.
    Up,
    /// The other way.
    Down,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    const fn is_in(self, choice: DirectionChoice) -> bool {
        matches!(
            (self, choice),
            (_, DirectionChoice::Both) | (Self::Up, DirectionChoice::Up) | (Self::Down, DirectionChoice::Down)
        )
    }
}

/// What one kind of middlebox does.
trait Behave: Debug + Send {
    /// Takes a packet.
    fn handle(&mut self, now: Instant, packet: Packet, direction: Direction, passage: &mut Passage<'_>);

    /// When it has something to do without a packet.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn handle_timeout(&mut self, _now: Instant, _passage: &mut Passage<'_>) {}

    /// Packets that it holds back.
    fn held(&self) -> u64 {
        0
    }

    /// Whether it must see both directions although it meddles with one.
    fn sees_both(&self) -> bool {
        false
    }
}

/// A middlebox on a link.
#[derive(Debug)]
pub struct Middlebox {
    name: Arc<str>,
    direction: DirectionChoice,
    behaviour: Box<dyn Behave>,
    stats: MiddleboxStats,
}

impl Middlebox {
    /// The middlebox that a scenario describes, on this link.
    pub fn new(config: &scenario::Middlebox, link: &Link, streams: Streams) -> Self {
        let stream = |purpose: &str| streams.stream(&format!("middlebox.{}.{purpose}", config.name));
        let direction = config.direction;
        let behaviour: Box<dyn Behave> = match config.behaviour {
            Behaviour::StripOption(which) => Box::new(strip::StripOption::new(which)),
            Behaviour::AlterOption(which) => Box::new(alter::AlterOption::new(which, stream("bits"))),
            Behaviour::Nat { rebind } => Box::new(nat::Nat::new(direction, link, rebind, stream("ports"))),
            Behaviour::RewriteSequence => Box::new(sequence::RewriteSequence::new(direction, stream("offsets"))),
            Behaviour::Split { size } => Box::new(split::Split::new(size)),
            Behaviour::Coalesce { size, hold } => Box::new(coalesce::Coalesce::new(size, hold, link.mtu)),
            Behaviour::AlterPayload { every } => Box::new(payload::AlterPayload::new(every, stream("bytes"))),
            Behaviour::ProxyAck => Box::new(proxy::ProxyAck::new(direction)),
            Behaviour::DropSyn { option } => Box::new(drop_syn::DropSyn::new(option)),
            Behaviour::Replay { every, delay } => Box::new(replay::Replay::new(every, delay)),
            Behaviour::Reset { after } => Box::new(reset::Reset::new(direction, after)),
        };
        Self { name: config.name.as_str().into(), direction, behaviour, stats: MiddleboxStats::default() }
    }

    /// A packet arrives. Times must not go backwards from call to call.
    pub fn handle(&mut self, now: Instant, mut packet: Packet, direction: Direction, out: &mut Output) {
        let Self { name, behaviour, stats, .. } = self;
        stats.received += 1;
        let mut passage = Passage { by: name, stats, out };
        if !direction.is_in(self.direction) && !behaviour.sees_both() {
            passage.forward(packet, direction);
            return;
        }
        // On a real link there would be no super-segments.
        match cut_super_segment(&mut packet.frame) {
            None => behaviour.handle(now, packet, direction, &mut passage),
            Some(pieces) => {
                passage.stats.made += (pieces.len() as u64).saturating_sub(1);
                for piece in pieces {
                    behaviour.handle(now, packet.with_frame(piece), direction, &mut passage);
                }
            }
        }
        stats.held = behaviour.held();
    }

    /// When [`Middlebox::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.behaviour.poll_timeout()
    }

    /// Does everything that is due at `now` or before.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Output) {
        let Self { name, behaviour, stats, .. } = self;
        behaviour.handle_timeout(now, &mut Passage { by: name, stats, out });
        stats.held = behaviour.held();
    }

    /// The books, up to the last call.
    pub const fn stats(&self) -> &MiddleboxStats {
        &self.stats
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests;
