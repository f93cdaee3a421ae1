//! Packets on their way from station to station, until each is in a pipe, at a host, or gone.

use tcp_adapter::{Frame, InterfaceId};

use super::{Arrival, Network, NetworkContext, Router, Station, Way, forward, too_big};
use crate::link::longest_ip_packet;
use crate::packet::Packet;
use crate::scenario::TooBig;

impl Network {
    /// Moves packets on until each is in a pipe, at a host, or gone.
    #[inline]
    pub(super) fn carry(&mut self, cx: &mut NetworkContext<'_>) {
        while let Some((station, packet)) = self.moving.pop_front() {
            self.enter(station, packet, cx);
        }
    }

    /// A packet is at a station.
    pub(super) fn enter(&mut self, station: Station, packet: Packet, cx: &mut NetworkContext<'_>) {
        match station {
            Station::Chain(link, direction) => {
                self.chains[link].handle(cx.now, packet, direction, &mut self.passed);
                self.take_passed(link, cx);
            }
            Station::Pipe(index) => {
                self.pipes[index].pipe.offer(cx.now, packet, &mut self.output);
                self.follow(index, cx);
            }
            Station::Host(host, interface) => self.arrive(host, interface, packet, cx),
            Station::Router(index) => self.forward(index, packet, cx),
        }
    }

    fn arrive(&mut self, host: usize, interface: InterfaceId, mut packet: Packet, cx: &mut NetworkContext<'_>) {
        self.counters.received += 1;
        let interface = self.receiver(host, interface, &mut packet.frame);
        cx.observer.received(cx.now, host, interface, &packet);
        cx.arrivals.push_back(Arrival { host, interface, frame: packet.frame });
    }

    /// Goes on with what has come out of a pipe that was the only one to be called. One packet that is at a host then, as mostly, has arrived, unless
    /// others are under way that come before it.
    pub(super) fn follow(&mut self, index: usize, cx: &mut NetworkContext<'_>) {
        self.settle(index, cx);
        // As when it has only taken a packet in.
        if self.output.delivered.is_empty() {
            return;
        }
        let next = self.pipes[index].next;
        match next {
            Station::Host(host, interface) if self.moving.is_empty() && self.output.delivered.len() == 1 => {
                if let Some(packet) = self.output.delivered.pop() {
                    self.arrive(host, interface, packet, cx);
                }
            }
            _ => self.take_delivered(index),
        }
    }

    /// Takes what has come out of a pipe. What follows from that waits for [`carry`](Self::carry).
    pub(super) fn take_output(&mut self, index: usize, cx: &mut NetworkContext<'_>) {
        self.settle(index, cx);
        self.take_delivered(index);
    }

    /// Notes what a pipe has dropped, and when it has something to do next.
    fn settle(&mut self, index: usize, cx: &mut NetworkContext<'_>) {
        let segment = &self.pipes[index];
        // Mostly it is empty, and to drain it costs as much as to move a packet.
        if !self.output.dropped.is_empty() {
            for (packet, reason) in self.output.dropped.drain(..) {
                cx.observer.dropped(cx.now, &segment.name, &packet, reason.as_str());
            }
        }
        cx.agenda.set(self.first_slot + 1 + index, segment.pipe.poll_timeout());
    }

    /// Sends what has come out of a pipe on its way.
    fn take_delivered(&mut self, index: usize) {
        let next = self.pipes[index].next;
        self.moving.extend(self.output.delivered.drain(..).map(|packet| (next, packet)));
    }

    pub(super) fn take_passed(&mut self, link: usize, cx: &mut NetworkContext<'_>) {
        let output = &mut self.passed;
        for dropped in output.dropped.drain(..) {
            cx.observer.dropped(cx.now, &dropped.by, &dropped.packet, dropped.reason.as_str());
        }
        let (beyond, back) = (self.beyond[link], Station::Pipe(2 * link + 1));
        self.moving.extend(output.up.drain(..).map(|packet| (beyond, packet)));
        self.moving.extend(output.down.drain(..).map(|packet| (back, packet)));
        cx.agenda.set(self.first_slot + 1 + self.pipes.len() + link, self.chains[link].poll_timeout());
    }

    fn forward(&mut self, index: usize, mut packet: Packet, cx: &mut NetworkContext<'_>) {
        let router = &self.routers[index];
        let way = forward::destination(&packet.frame).and_then(|addr| router.table.get(&addr));
        match way {
            Some(way) if forward::next_hop(&mut packet.frame, way.from, way.to) => {
                let answer = self.answer(router, way, &packet);
                self.moving.push_back((way.station, packet));
                if let Some((station, frame)) = answer {
                    self.moving.push_back((station, Packet::new(self.next_id, Box::new(frame), cx.now)));
                    self.next_id += 1;
                    self.counters.answers += 1;
                }
            }
            way => {
                self.counters.unroutable += 1;
                let reason = if way.is_some() { "ttl-exceeded" } else { "no-route" };
                cx.observer.dropped(cx.now, &router.name, &packet, reason);
            }
        }
    }

    /// What a router answers to the sender of a packet that the next link will not take as it is too long, and where that goes.
    fn answer(&self, router: &Router, way: &Way, packet: &Packet) -> Option<(Station, Frame)> {
        let mtu = self.pipes[way.pipe].pipe.config().mtu.filter(|mtu| longest_ip_packet(&packet.frame) > *mtu)?;
        if router.too_big != TooBig::Report {
            return None;
        }
        let back = router.table.get(&forward::source(&packet.frame)?)?;
        let mut answer = too_big::answer(&packet.frame, mtu, back.addr)?;
        forward::next_hop(&mut answer, back.from, back.to).then_some((back.station, answer))
    }

    /// The interface that a frame is for: on a bond that with the address, whichever link it came on.
    fn receiver(&self, host: usize, interface: InterfaceId, frame: &mut Frame) -> InterfaceId {
        if !self.bonds.iter().any(|bond| bond.has(host, frame)) {
            return interface;
        }
        let to = forward::destination(frame);
        let Some(own) = self.ports[host].iter().position(|port| Some(port.addr) == to) else { return interface };
        frame.head[..6].copy_from_slice(&self.ports[host][own].mac.0);
        InterfaceId(own)
    }
}
