//! When packets leave a link's transmitter.

use tcp_adapter::Instant;

use super::LinkError;
use super::mahimahi::Opportunities;
use super::rate::{Clocked, ClockedModel, RateModel, Work};

/// Bytes of an Ethernet header without VLAN tag.
pub(super) const ETHERNET_HEADER: usize = 14;

const NANOS_PER_SECOND: Work = 1_000_000_000;

/// What the link adds to each packet before it is timed: netem's `rate R [OVERHEAD [CELL [CELLOVERHEAD]]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Framing {
    /// Bytes per packet, for instance 24 for preamble, frame check sequence and gap of Ethernet, or -14 where the
    /// rate is of IP packets.
    pub overhead: i32,
    /// Bytes of a cell; 0 where packets are not cut into cells. The last cell is sent in full.
    pub cell: u16,
    /// Bytes per cell in addition.
    pub cell_overhead: u16,
}

impl Framing {
    pub(super) fn validate(self) -> Result<(), LinkError> {
        let allowed = -(ETHERNET_HEADER as i32)..=65_535;
        if allowed.contains(&self.overhead) { Ok(()) } else { Err(LinkError::Overhead(self.overhead)) }
    }

    /// Bytes to send for a frame of `len` bytes.
    pub(super) fn apply(self, len: usize) -> usize {
        let len = len.saturating_add_signed(self.overhead as isize);
        if self.cell == 0 {
            return len;
        }
        len.div_ceil(usize::from(self.cell)) * (usize::from(self.cell) + usize::from(self.cell_overhead))
    }
}

/// The transmitter of a link: one packet at a time at the link's rate.
#[derive(Debug)]
pub(super) struct Serializer {
    framing: Framing,
    model: Model,
}

#[derive(Debug)]
enum Model {
    /// Packets take no time.
    Unlimited,
    Clocked(Clocked),
    Trace(Opportunities),
}

impl Model {
    fn new(rate: Option<RateModel>, epoch: Instant) -> Self {
        match rate {
            None => Self::Unlimited,
            Some(RateModel::Constant(rate)) => Self::Clocked(Clocked::new(ClockedModel::Constant(rate), epoch)),
            Some(RateModel::Steps(steps)) => Self::Clocked(Clocked::new(ClockedModel::Steps(steps), epoch)),
            Some(RateModel::Trace(trace)) => Self::Trace(Opportunities::new(trace, epoch)),
        }
    }
}

impl Serializer {
    pub(super) fn new(rate: Option<RateModel>, framing: Framing, epoch: Instant) -> Self {
        Self { framing, model: Model::new(rate, epoch) }
    }

    /// Changes the framing of packets to come.
    pub(super) const fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    pub(super) const fn is_limited(&self) -> bool {
        !matches!(self.model, Model::Unlimited)
    }

    /// Bits that it can send from one time to a later one, as far as its rate was in effect; none if packets take no time.
    pub(super) fn capacity(&self, from: Instant, to: Instant) -> u128 {
        match &self.model {
            Model::Unlimited => 0,
            Model::Clocked(clocked) => clocked.capacity(from, to),
            Model::Trace(opportunities) => opportunities.capacity(from, to),
        }
    }

    /// When a packet that waits at `now` can be taken from the queue.
    pub(super) fn ready(&self, now: Instant) -> Instant {
        match &self.model {
            Model::Unlimited | Model::Clocked(_) => now,
            Model::Trace(opportunities) => opportunities.ready(now),
        }
    }

    /// Sends a frame of `len` bytes from `at` on; says when its last bit has left.
    pub(super) fn send(&mut self, at: Instant, len: usize) -> Instant {
        let bytes = self.framing.apply(len);
        match &mut self.model {
            Model::Unlimited => at,
            Model::Clocked(clocked) => clocked.send(at, bytes as Work * 8 * NANOS_PER_SECOND),
            Model::Trace(opportunities) => opportunities.send(at, bytes.saturating_sub(ETHERNET_HEADER)),
        }
    }

    /// Changes the rate. If a frame of `len` bytes is being sent, its rest goes at the new rate, and the answer is
    /// when that ends. A trace keeps no record of what it has sent of a frame, so it is sent again in full.
    pub(super) fn change(&mut self, now: Instant, rate: Option<RateModel>, sending: Option<usize>) -> Option<Instant> {
        let rest = sending.map(|len| match &self.model {
            Model::Unlimited => 0,
            Model::Clocked(clocked) => clocked.remaining(now),
            Model::Trace(_) => self.framing.apply(len) as Work * 8 * NANOS_PER_SECOND,
        });
        self.model = Model::new(rate, now);
        let rest = rest?;
        Some(match &mut self.model {
            Model::Unlimited => now,
            Model::Clocked(clocked) => clocked.send(now, rest),
            Model::Trace(opportunities) => {
                let bytes = rest.div_ceil(8 * NANOS_PER_SECOND) as usize;
                opportunities.send(now, bytes.saturating_sub(ETHERNET_HEADER))
            }
        })
    }

    /// Forgets the packet that was being sent.
    pub(super) fn abort(&mut self) {
        if let Model::Clocked(clocked) = &mut self.model {
            clocked.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_that_of_netem() {
        let framing = |overhead, cell, cell_overhead| Framing { overhead, cell, cell_overhead };
        assert_eq!(framing(0, 0, 0).apply(1514), 1514);
        assert_eq!(framing(24, 0, 0).apply(1514), 1538);
        assert_eq!(framing(-14, 0, 0).apply(1514), 1500);
        // ATM: 48 bytes of payload in cells of 53.
        assert_eq!(framing(0, 48, 5).apply(96), 106);
        assert_eq!(framing(0, 48, 5).apply(97), 159);
        assert_eq!(framing(-15, 0, 0).validate(), Err(LinkError::Overhead(-15)));
    }
}
