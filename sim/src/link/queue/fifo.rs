//! The list of packets under every discipline.

use std::collections::VecDeque;

use tcp_adapter::Instant;

use crate::packet::Packet;

/// Packets in order of arrival, with their time of arrival.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    packets: VecDeque<(Instant, Packet)>,
    bytes: usize,
}

impl Fifo {
    pub(super) fn push(&mut self, now: Instant, packet: Packet) {
        self.bytes += packet.offered_len;
        self.packets.push_back((now, packet));
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, Packet)> {
        let first = self.packets.pop_front()?;
        self.bytes -= first.1.offered_len;
        Some(first)
    }

    /// When the first packet arrived.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.packets.front().map(|first| first.0)
    }

    pub(super) fn packets(&self) -> usize {
        self.packets.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn drain(&mut self) -> Vec<Packet> {
        self.bytes = 0;
        self.packets.drain(..).map(|(_, packet)| packet).collect()
    }
}
