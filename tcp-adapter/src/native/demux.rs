//! Frames that arrive, and what they are for.

use super::fast_open::Attempt;
use super::input::{Disposition, Take};
use super::pairs::Entry;
use super::slice_lists;
use super::stateless::Resumed;
use super::time_wait::Answer;
use super::wire::{
    self, ChecksumMode, Flags, IcmpErrorKind, IcmpMessage, OptionWriter, Parsed, Segment, headers_are_linear, parse,
};
use super::{Context, NativeStack, State, neighbours};
use crate::table::FourTuple;
use crate::{CloseReason, Frame, InterfaceId, MacAddr, SegmentHook, TcpEvent, TcpId};

impl NativeStack {
    /// Takes a frame.
    pub(super) fn receive_frame(&mut self, interface: InterfaceId, mut frame: Frame, hook: &mut dyn SegmentHook) {
        let Some(config) = self.interface_configs.get(interface.0) else { return };
        let Some(destination) = frame.head.first_chunk() else { return };
        if !neighbours::accepts(config, MacAddr(*destination)) {
            return;
        }
        if !headers_are_linear(&frame) {
            frame.linearize();
        }
        // Looked at where it is: whatever is moved out of here is copied, for each frame.
        match &parse(&frame) {
            Parsed::Tcp(segment) => {
                // What a connection was found for before has been looked at.
                let taken = match self.found_before(segment) {
                    Some(id) => self.receive_found(interface, id, segment, hook),
                    None if self.is_for_us(interface, &frame, segment) => {
                        let tuple = FourTuple { local: segment.destination, remote: segment.source };
                        self.receive_segment(interface, tuple, segment, hook)
                    }
                    None => return,
                };
                let payload_at = segment.payload_at;
                match taken {
                    Some((id, take)) => self.take_payload(id, &take, &mut frame, payload_at, hook),
                    None => self.heads.give_back(frame.head),
                }
            }
            other => self.receive_other(interface, other),
        }
    }

    /// Takes what is no segment, or nothing at all.
    #[cold]
    #[inline(never)]
    fn receive_other(&mut self, interface: InterfaceId, parsed: &Parsed<'_>) {
        match parsed {
            Parsed::Arp(message) => {
                let config = &self.interface_configs[interface.0];
                let neighbours = &mut self.interfaces[interface.0].neighbours;
                let reply = neighbours.on_arp(self.now, config, message);
                self.after_neighbour(interface, reply);
            }
            Parsed::Neighbour(message) => {
                let config = &self.interface_configs[interface.0];
                let neighbours = &mut self.interfaces[interface.0].neighbours;
                let reply = neighbours.on_neighbour(self.now, config, message);
                self.after_neighbour(interface, reply);
            }
            Parsed::Icmp(IcmpMessage::Echo(echo)) => {
                let config = &self.interface_configs[interface.0];
                if config.addrs.iter().any(|own| own.addr == echo.destination) {
                    let reply = wire::echo_reply(config.mac, echo);
                    self.ready.push_back((interface, reply));
                }
            }
            Parsed::Icmp(IcmpMessage::Error(error)) => self.receive_error(error),
            Parsed::Tcp(_) | Parsed::Nothing => {}
        }
    }

    /// The connection of a segment, if it is one of those found lately.
    #[inline]
    fn found_before(&self, segment: &Segment<'_>) -> Option<TcpId> {
        let id = self.found.guess(&segment.destination, &segment.source);
        let is_it = self.live(id)?.template.is_between(&segment.destination, &segment.source);
        is_it.then_some(id)
    }

    fn is_for_us(&self, interface: InterfaceId, frame: &Frame, segment: &Segment<'_>) -> bool {
        let config = &self.interface_configs[interface.0];
        frame.head[..6] == config.mac.0
            && config.addrs.iter().any(|own| own.addr == segment.destination.ip())
            && neighbours::is_peer_address(config, segment.source.ip())
            && segment.source != segment.destination
    }

    /// Queues the answer to a question for an address, and wakes whoever waited for this one.
    fn after_neighbour(&mut self, interface: InterfaceId, reply: Option<Frame>) {
        if let Some(reply) = reply {
            self.ready.push_back((interface, reply));
        }
        for id in std::mem::take(&mut self.interfaces[interface.0].waiting) {
            if let Some(conn) = self.live_mut(id) {
                conn.waits_for_neighbour = false;
            }
            self.wake(id);
        }
        self.note_questions();
    }

    /// A segment; what is to be done with its payload, if anything.
    pub(super) fn receive_segment(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment<'_>,
        hook: &mut dyn SegmentHook,
    ) -> Option<(TcpId, Take)> {
        let id = match self.pair(&tuple) {
            Some(Entry::Connection(id)) => *id,
            Some(Entry::TimeWait(_)) => {
                return self.receive_in_time_wait(interface, tuple, segment, hook);
            }
            None => return self.receive_unknown(interface, tuple, segment, hook),
        };
        if self.live(id).is_some_and(|conn| conn.interface == interface) {
            self.found.note(&segment.destination, &segment.source, id);
        }
        self.receive_found(interface, id, segment, hook)
    }

    /// The same, of a connection that has been found.
    fn receive_found(
        &mut self,
        interface: InterfaceId,
        id: TcpId,
        segment: &Segment<'_>,
        hook: &mut dyn SegmentHook,
    ) -> Option<(TcpId, Take)> {
        let Some(State::Live(conn)) = self.connections.get_mut(id) else { return None };
        if conn.interface != interface {
            return None;
        }
        let mut cx =
            Context { now: self.now, config: &self.config, memory: &self.memory, hook, events: &mut self.events };
        let attempt = conn.fast_open_attempt(segment);
        let disposition = conn.on_segment(&mut cx, segment);
        conn.settle_memory(&mut self.memory);
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push_back(id);
        }
        if conn.is_synchronized()
            && let Some(listener) = conn.backlog.take()
        {
            self.listeners.end(listener);
        }
        let conn = if conn.is_synchronized() && (conn.fast_open.is_some() || conn.syn_data.is_some()) {
            self.conclude_fast_open(id, segment, attempt);
            let Some(State::Live(conn)) = self.connections.get_mut(id) else { return None };
            conn
        } else {
            conn
        };
        // Here rather than when the connection is served, since events are taken before that.
        if conn.no_longer_starved(&self.config, &self.memory) {
            self.events.push_back(TcpEvent::Writable(id));
        }
        match disposition {
            Disposition::Done if conn.is_over() => self.finish(id),
            Disposition::Done => {}
            Disposition::Take(take) => return Some((id, take)),
            Disposition::Ends(reason) => self.end(id, reason),
            Disposition::Refuse => self.refuse_with_hook(id, segment, hook),
            Disposition::Reset(space) => {
                self.reset_answering(id, segment, space.as_slice());
                self.end(id, CloseReason::Aborted);
            }
        }
        None
    }

    /// The handshake of a connection is complete that had to do with Fast Open.
    fn conclude_fast_open(&mut self, id: TcpId, segment: &Segment<'_>, attempt: Option<Attempt>) {
        let Some(conn) = self.live_mut(id) else { return };
        let (tuple, listener) = (conn.template.tuple(), conn.fast_open.take());
        conn.syn_data = None;
        if let Some(listener) = listener {
            self.no_longer_fast(listener, false);
        }
        if let Some(attempt) = attempt {
            self.learn_of_server(&tuple, segment, attempt);
        }
    }

    /// Takes the payload of a segment, which starts at `payload_at` of the head, out of its frame.
    fn take_payload(
        &mut self,
        id: TcpId,
        take: &Take,
        frame: &mut Frame,
        payload_at: usize,
        hook: &mut dyn SegmentHook,
    ) {
        let Some(State::Live(conn)) = self.connections.get_mut(id) else { return };
        let mut cx =
            Context { now: self.now, config: &self.config, memory: &self.memory, hook, events: &mut self.events };
        // The slices, and the rest of the head: shared from here on, never copied. What comes first is taken from the end.
        let pieces = &mut frame.payload;
        pieces.reverse();
        if frame.head.len() > payload_at {
            pieces.push(frame.head.split_off(payload_at).freeze());
        } else {
            self.heads.give_back(std::mem::take(&mut frame.head));
        }
        conn.take_payload(&mut cx, take, &mut std::iter::from_fn(|| pieces.pop()));
        slice_lists::give_back(pieces);
        conn.settle_memory(&mut self.memory);
    }

    fn receive_in_time_wait(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment<'_>,
        hook: &mut dyn SegmentHook,
    ) -> Option<(TcpId, Take)> {
        let Some(Entry::TimeWait(wait)) = self.pair(&tuple) else { return None };
        if wait.interface != interface {
            return None;
        }
        let answer = wait.answer(segment);
        // The number of a cookie cannot be chosen, so it might lie within the old connection's: such a SYN comes again.
        let no_room = self.listeners.find(tuple.local).is_some_and(|(_, room)| !room);
        if answer == Answer::Silence || (answer == Answer::NewConnection && no_room) {
            return None;
        }
        let Some(Entry::TimeWait(mut wait)) = self.remove_pair(&tuple) else { return None };
        if answer == Answer::NewConnection {
            let taken = self.receive_unknown(interface, tuple, segment, hook);
            if self.pair(&tuple).is_some() {
                self.time_waits.remove(&(wait.expires, tuple));
                self.begin_beyond(&tuple, wait.next_seq());
            } else {
                // Nobody wants the new one, or there is no room for it: the old one waits on (RFC 9293 section 3.6.1, MUST-13).
                self.enter_pair(&tuple, Entry::TimeWait(wait));
            }
            return taken;
        }
        if segment.flags.contains(Flags::FIN) {
            self.time_waits.remove(&(wait.expires, tuple));
            wait.expires = self.now + self.config.time_wait;
            self.time_waits.insert((wait.expires, tuple));
        }
        let mut head = self.heads.take();
        self.ident = self.ident.wrapping_add(1);
        let mut options = OptionWriter::default();
        let fields = wait.acknowledgement(self.now, &mut options, self.ident);
        wait.template.write(&mut head, &fields, &[], ChecksumMode::Full);
        self.ready.push_back((interface, Frame::linear(head)));
        self.enter_pair(&tuple, Entry::TimeWait(wait));
        None
    }

    /// A segment of no connection (RFC 9293 section 3.10.7.1 and 3.10.7.2). It may be what brings one back whose SYN was answered by a
    /// cookie, with payload.
    fn receive_unknown(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment<'_>,
        hook: &mut dyn SegmentHook,
    ) -> Option<(TcpId, Take)> {
        let flags = segment.flags;
        let syn = flags.contains(Flags::SYN);
        if flags.contains(Flags::RST) {
            return None;
        }
        // Nobody opens what is to be closed at once.
        if syn && !flags.intersects(Flags::ACK | Flags::FIN) {
            return self.open_passive(interface, tuple, segment, hook);
        }
        let resumed = if syn { Resumed::Unknown } else { self.resume(interface, tuple, segment, hook) };
        match resumed {
            Resumed::Open => return self.receive_segment(interface, tuple, segment, hook),
            Resumed::Refused => return None,
            Resumed::Unknown => {}
        }
        if flags.contains(Flags::ACK) || self.listeners.find(tuple.local).is_none() {
            self.refuse(interface, segment, &[]);
        }
        None
    }

    /// Answers a segment with a RST that carries `options`.
    pub(super) fn refuse(&mut self, interface: InterfaceId, segment: &Segment<'_>, options: &[u8]) {
        let mac = self.interface_configs[interface.0].mac;
        if let Some(frame) = wire::reset(self.heads.take(), mac, segment, options) {
            self.ready.push_back((interface, frame));
        }
    }

    /// A router or the other host says that a packet of ours did not get through.
    fn receive_error(&mut self, error: &wire::IcmpError) {
        let tuple = FourTuple { local: error.source, remote: error.destination };
        let Some(Entry::Connection(id)) = self.pair(&tuple) else { return };
        let id = *id;
        let Some(State::Live(conn)) = self.connections.get_mut(id) else { return };
        match error.kind {
            IcmpErrorKind::TooBig { mtu } => {
                conn.packet_too_big(self.now, error.seq, u32::from(error.packet_len), mtu);
            }
            // A soft error never ends a connection (RFC 9293 section 3.9.2.2, MUST-56). A hard one ends the attempt to open one, and
            // nothing later: anybody on the path can forge it (RFC 5927 section 5.2).
            IcmpErrorKind::Hard if conn.is_syn_sent() && error.seq == conn.send.iss => {
                if conn.syn_data.is_some() {
                    self.fast_open_failed(&tuple);
                }
                self.end(id, CloseReason::Refused);
                return;
            }
            _ => {}
        }
        self.wake(id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::native::NativeConfig;
    use crate::native::connection::Phase;
    use crate::native::wire::Ecn;
    use crate::{InterfaceConfig, TcpStack};

    fn tuple(port: u16) -> FourTuple {
        FourTuple { local: "10.0.0.1:80".parse().unwrap(), remote: SocketAddr::new("10.0.0.2".parse().unwrap(), port) }
    }

    fn segment(port: u16) -> Segment<'static> {
        Segment {
            link_source: MacAddr([2; 6]),
            source: tuple(port).remote,
            destination: tuple(port).local,
            seq: 0,
            ack: 0,
            flags: Flags::ACK,
            window: 1000,
            ecn: Ecn::NotEct,
            options: &[],
            payload_at: 0,
            payload_len: 0,
            segment_size: None,
        }
    }

    #[test]
    fn a_connection_found_lately_is_told_from_those_that_share_its_place() {
        let mut stack = NativeStack::new(NativeConfig::default(), 1);
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let interface = stack.add_interface(InterfaceConfig { mac, mtu: 1500, addrs: Vec::new(), routes: Vec::new() });
        let ports = [5000, 5000 + 1024, 5000 + 2048];
        let ids = ports.map(|port| {
            let id = stack.connections.reserve().unwrap();
            let conn = stack.connection(id, interface, tuple(port), Phase::Open);
            stack.connections.put(id, State::Live(Box::new(conn)));
            stack.enter_pair(&tuple(port), Entry::Connection(id));
            id
        });
        assert_eq!(stack.found_before(&segment(ports[0])), None, "no segment has come");
        for (port, id) in ports.into_iter().zip(ids) {
            stack.found.note(&tuple(port).local, &tuple(port).remote, id);
            let found = ports.map(|port| stack.found_before(&segment(port)));
            assert_eq!(found, ids.map(|known| (known == id).then_some(known)));
        }
        stack.end(ids[2], CloseReason::Aborted);
        assert_eq!(stack.found_before(&segment(ports[2])), None, "it is gone");
    }
}
