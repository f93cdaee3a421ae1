//! Passive opens while a listener's backlog is full: the SYN is answered by a cookie, and the connection comes into being with
//! the segment that brings it back.

use super::connection::{Handshake, Phase, timestamp};
use super::cookies::stamp;
use super::pairs::Entry;
use super::wire::{ChecksumMode, Ecn, Flags, HeaderTemplate, OptionWriter, Options, Segment, SegmentFields};
use super::{Context, NativeStack, State};
use crate::mss::default_mss;
use crate::table::FourTuple;
use crate::{Frame, InterfaceId, ListenerId, OptionSpace, SegmentHook, SynSegment, SynVerdict};

/// What a segment of no connection may turn out to be.
pub(super) enum Resumed {
    /// Not the answer to a cookie, or there is no room.
    Unknown,
    /// The layer above does not want the connection; it has said all there is to say.
    Refused,
    /// The connection is there, and the segment is for it.
    Open,
}

impl NativeStack {
    /// Answers a SYN without keeping anything of it, if that is wanted.
    pub(super) fn answer_stateless(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment<'_>,
        options: &Options<'_>,
        listener: ListenerId,
        hook: &mut dyn SegmentHook,
    ) {
        if !self.config.syn_cookies {
            return;
        }
        let config = &self.interface_configs[interface.0];
        let template = HeaderTemplate::new(config.mac, segment.link_source, tuple.local, tuple.remote);
        let own_mss = config.mtu.saturating_sub(template.packet_overhead());
        let mut writer = OptionWriter::default();
        writer.mss(u16::try_from(own_mss).unwrap_or(u16::MAX));
        let ecn = segment.flags.contains(Flags::ECE | Flags::CWR);
        // Without the timestamp, which brings them back, the other options would be forgotten.
        if let Some((value, _)) = options.timestamps.filter(|_| self.config.timestamps) {
            let clock = timestamp(self.now, self.timestamp_offset(&tuple));
            writer.timestamps(stamp(clock, options, ecn), value);
            if options.sack_permitted && self.config.sack {
                writer.sack_permitted();
            }
            if options.window_shift.is_some() && self.config.window_scaling {
                writer.window_scale(self.config.window_shift());
            }
        }
        writer.pad();
        let mut space = OptionSpace::new(writer.room());
        let syn = SynSegment {
            listener: Some(listener),
            local: tuple.local,
            remote: tuple.remote,
            early: 0,
            options: options.foreign.as_slice(),
        };
        if !hook.on_stateless_syn(self.now, &syn, &mut space) {
            return;
        }
        writer.raw(space.as_slice());
        writer.pad();
        let mut flags = Flags::SYN | Flags::ACK;
        if ecn && options.timestamps.is_some() && self.config.timestamps {
            flags |= Flags::ECE;
        }
        self.ident = self.ident.wrapping_add(1);
        let fields = SegmentFields {
            seq: self.cookies.make(
                self.now,
                &self.keys,
                &tuple,
                segment,
                options.mss.unwrap_or(default_mss(tuple.remote.is_ipv6())),
            ),
            ack: segment.seq.wrapping_add(1),
            flags,
            window: u16::try_from(self.config.recv_buffer_initial).unwrap_or(u16::MAX),
            urgent: 0,
            ecn: Ecn::NotEct,
            options: writer.as_slice(),
            payload_len: 0,
            ident: self.ident,
        };
        let mut head = self.heads.take();
        template.write(&mut head, &fields, &[], ChecksumMode::Full);
        self.ready.push_back((interface, Frame::linear(head)));
    }

    /// Whether a segment of no connection brings back a cookie; if so, the connection is there now, in SYN-RECEIVED.
    pub(super) fn resume(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment<'_>,
        hook: &mut dyn SegmentHook,
    ) -> Resumed {
        let Some((listener, _)) = self.listeners.find(tuple.local) else { return Resumed::Unknown };
        let options = Options::parse(segment.options);
        let known = self.cookies.recognise(self.now, &self.keys, &tuple, segment, &options);
        let Some(remembered) = known.filter(|_| segment.flags.contains(Flags::ACK)) else {
            let refused = self.cookies.was_refused(self.now, &tuple);
            return if refused { Resumed::Refused } else { Resumed::Unknown };
        };
        let Some(id) = self.connections.reserve() else { return Resumed::Unknown };
        let ack = SynSegment {
            listener: Some(listener),
            local: tuple.local,
            remote: tuple.remote,
            early: 0,
            options: options.foreign.as_slice(),
        };
        let verdict = hook.on_cookie(self.now, id, &ack);
        if verdict == SynVerdict::Drop {
            self.cookies.refuse(self.now, tuple);
        }
        if !self.admit(interface, id, segment, verdict) {
            return Resumed::Refused;
        }
        let handshake = Handshake::new(self.now, self.config.handshake_timeout);
        let mut conn = self.connection(id, interface, tuple, Phase::SynReceived(Box::new(handshake)));
        conn.send.iss = segment.ack.wrapping_sub(1);
        let offered = Options {
            mss: Some(remembered.mss),
            window_shift: remembered.window_shift,
            sack_permitted: remembered.sack_permitted,
            timestamps: options.timestamps.filter(|_| remembered.timestamps),
            ..Options::default()
        };
        let syn = Segment { seq: segment.seq.wrapping_sub(1), ..segment.clone() };
        let mut cx =
            Context { now: self.now, config: &self.config, memory: &self.memory, hook, events: &mut self.events };
        conn.take_peer_syn(&mut cx, &syn, &offered);
        conn.agreed.ecn = remembered.ecn;
        conn.receive.permitted_in_syn(&self.config);
        self.enter_pair(&tuple, Entry::Connection(id));
        self.connections.put(id, State::Live(Box::new(conn)));
        Resumed::Open
    }
}
