//! Segments that leave.

use std::num::NonZeroU16;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Context;
use super::connection::{Connection, Handshake, Phase};
use super::fast_open::{Offer, SynData};
use super::send::{Limits, MayProbe, Plan};
use super::wire::{ChecksumMode, Ecn, Flags, HeadPool, OptionWriter, SegmentFields};
use crate::congestion::EcnResponse;
use crate::{ChecksumState, Frame, FrameMeta, InterfaceId, Offload, OptionSpace, SegmentKind, SegmentOut};

/// Where frames go, and what they are made of.
pub(super) struct Output<'a> {
    pub(super) heads: &'a mut HeadPool,
    pub(super) sink: &'a mut dyn FnMut(InterfaceId, Frame),
    pub(super) offload: Offload,
    pub(super) ident: &'a mut u16,
}

/// What a segment says besides its payload.
struct Header<'a> {
    seq: u32,
    /// What is acknowledged and whether a mark is echoed, if not what has arrived last.
    acknowledges: Option<(u64, bool)>,
    flags: Flags,
    window: u16,
    ecn: Ecn,
    options: &'a OptionWriter,
}

impl Connection {
    /// Sends everything that may leave now.
    pub(super) fn transmit(&mut self, cx: &mut Context<'_>, out: &mut Output<'_>) {
        // Every segment carries a window.
        self.receive.note_memory(cx.memory.room());
        match self.phase {
            Phase::SynSent(ref handshake) => self.transmit_syn(cx, out, **handshake, false),
            Phase::SynReceived(ref handshake) => self.transmit_syn(cx, out, **handshake, true),
            Phase::FastOpen(ref handshake) => {
                self.transmit_syn(cx, out, **handshake, true);
                self.transmit_open(cx, out);
            }
            Phase::Open => self.transmit_open(cx, out),
        }
    }

    fn transmit_syn(&mut self, cx: &mut Context<'_>, out: &mut Output<'_>, mut handshake: Handshake, answer: bool) {
        if handshake.resend_at <= cx.now {
            handshake.leaves(cx.now);
            match &mut self.phase {
                Phase::SynSent(kept) | Phase::SynReceived(kept) | Phase::FastOpen(kept) => **kept = handshake,
                Phase::Open => {}
            }
            let first = handshake.sent == 1;
            let fast = if first { self.take_syn_data() } else { None };
            // ECN too may be why the first SYN got no answer (RFC 3168 section 6.1.1.1).
            let ecn = if answer { self.agreed.ecn } else { first && cx.config.ecn };
            // Nor may what marks a packet be why its repetition gets none.
            let codepoint = self.control_codepoint(ecn && first);
            self.emit_syn(cx, out, answer, (ecn, codepoint), fast);
            (self.ack_now, self.bare_now) = (false, false);
        }
    }

    /// The option and the data of the first SYN or SYN/ACK. Those that are sent again go without, as one or the other may be why the
    /// first got no answer (RFC 7413 sections 4.2.1 and 4.2.2).
    fn take_syn_data(&mut self) -> Option<(Offer, Bytes)> {
        let (fast, left) = match *self.syn_data.take()? {
            SynData::Ask => ((Offer::Request, Bytes::new()), Some(0)),
            SynData::Send { cookie, data } => {
                let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
                ((Offer::Cookie(cookie), data), Some(bytes))
            }
            SynData::Answer(cookie) => ((Offer::Cookie(cookie), Bytes::new()), None),
            SynData::Left { .. } => return None,
        };
        self.syn_data = left.map(|bytes| Box::new(SynData::Left { bytes }));
        Some(fast)
    }

    fn emit_syn(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Output<'_>,
        answer: bool,
        (ecn, codepoint): (bool, Ecn),
        fast: Option<(Offer, Bytes)>,
    ) {
        let mut options = OptionWriter::default();
        // The true MSS of the interface: options do not count (RFC 6691).
        let headers = self.template.packet_overhead();
        let mss = (self.path_mtu.current() as usize).saturating_sub(headers);
        options.mss(u16::try_from(mss).unwrap_or(u16::MAX));
        // What the peer has not offered is not agreed on.
        let (scaling, sack, stamps) = if answer {
            (self.agreed.window_scaling, self.send.sack, self.agreed.timestamps)
        } else {
            (cx.config.window_scaling, cx.config.sack, cx.config.timestamps)
        };
        if sack {
            options.sack_permitted();
        }
        if stamps {
            let echo = if answer { self.receive.timestamps.recent() } else { 0 };
            let bytes = timestamps(self.timestamp(cx.now), echo);
            options.raw(&bytes);
        }
        if scaling {
            options.window_scale(self.receive.window_shift());
        }
        options.pad();
        let mut space = OptionSpace::new(options.room());
        let segment = SegmentOut {
            kind: if answer { SegmentKind::SynAck } else { SegmentKind::Syn },
            fin: false,
            offset: 0,
            len: 0,
            chunk: None,
            retransmission: false,
            window_shift: 0,
        };
        let window = cx.hook.on_transmit(cx.now, self.id, &segment, &mut space);
        options.raw(space.as_slice());
        // Without room for the cookie there is no Fast Open (RFC 7413 section 4.2.2, step 1a).
        let data = match fast {
            Some((offer, data)) if offer.emit(&mut options) => data,
            Some(_) => {
                self.syn_data = None;
                Bytes::new()
            }
            None => Bytes::new(),
        };
        options.pad();
        let mut flags = Flags::SYN;
        if answer {
            flags |= Flags::ACK;
        }
        if ecn {
            flags |= if answer { Flags::ECE } else { Flags::ECE | Flags::CWR };
        }
        let window = self.receive.window_field(cx.now, window, true, self.send.mss);
        let seq = self.send.iss;
        let header = Header { seq, acknowledges: None, flags, window, ecn: codepoint, options: &options };
        let len = data.len();
        let pieces = Some(data).filter(|data| !data.is_empty()).into_iter().collect();
        self.emit(out, &header, pieces, len, None);
        if self.receive.owes_ack() {
            // Data of the peer's SYN.
            self.receive.on_ack_sent(false);
        }
    }

    fn transmit_open(&mut self, cx: &mut Context<'_>, out: &mut Output<'_>) {
        let segmented = out.offload.cuts();
        while let Some(before) = self.receive.take_before_mark() {
            self.emit_bare(cx, out, self.send.nxt, Some(before));
        }
        // Before data that leaves at the same time: that may have no room for what the layer above has to say.
        if std::mem::take(&mut self.bare_now) {
            self.emit_bare(cx, out, self.send.nxt, None);
        }
        // Data carries no blocks: what is due for their sake leaves beside it (RFC 2018 section 4).
        self.ack_now |= self.receive.has_more_to_tell() && self.receive.ack_is_due(cx.now);
        let mut carried_ack = false;
        loop {
            let burst = if segmented { cx.config.max_segmented as u64 } else { u64::from(self.send.mss) };
            let limits = Limits { burst, nagle: cx.config.nagle, pacing: cx.config.pacing };
            let plan = match self.may_probe_mtu(cx.now) {
                MayProbe::No => self.send.plan(cx.now, limits),
                MayProbe::Soon => None,
                MayProbe::Now(probe) => {
                    Some(probe).filter(|_| !limits.pacing || self.send.pacer.ready_at(cx.now).is_none())
                }
            };
            let Some(plan) = plan else { break };
            self.emit_data(cx, out, &plan);
            carried_ack = true;
        }
        if carried_ack {
            self.send.arm_probe(cx.now);
        }
        self.send.came_to_rest();
        self.send.watch_window(cx.now);
        if carried_ack && !self.receive.has_more_to_tell() {
            self.ack_now = false;
        }
        let duplicates = if self.send.sack { 0 } else { self.receive.duplicates_due() };
        if std::mem::take(&mut self.ack_now) || self.receive.ack_is_due(cx.now) || duplicates > 0 {
            for _ in 0..duplicates.max(1) {
                self.emit_bare(cx, out, self.send.nxt, None);
            }
        }
        if std::mem::take(&mut self.probe) {
            // The number before the first that the peer may not have: not acceptable, so it must be answered (RFC 9293 section 3.8.4).
            self.emit_bare(cx, out, self.send.una.wrapping_sub(1), None);
        }
    }

    fn emit_data(&mut self, cx: &mut Context<'_>, out: &mut Output<'_>, plan: &Plan) {
        let len = usize::try_from(plan.len()).unwrap_or(usize::MAX);
        let chunk = if len == 0 { None } else { self.send.buffer.chunk(plan.start()) };
        let held = chunk.map_or(0, |chunk| usize::try_from(chunk.end() - plan.start()).unwrap_or(usize::MAX));
        let len = len.min(held);
        let mut options = self.own_options(cx);
        let segment = SegmentOut {
            kind: SegmentKind::Established,
            fin: plan.fin(),
            offset: plan.start(),
            len,
            chunk,
            retransmission: plan.is_retransmission(),
            window_shift: self.receive.window_shift(),
        };
        let (window, _) = self.add_foreign_options(cx, &segment, &mut options);
        let limit = match *plan {
            Plan::Probe { size, .. } => size.saturating_sub(self.headers()),
            Plan::Again { .. } | Plan::New { .. } => self.segment_limit(),
        };
        let size = limit.saturating_sub(u32::try_from(options.len()).unwrap_or(0)).max(1);
        let segmented = out.offload.cuts();
        // All of it, if the device cuts it into segments. What is left of the chunk after the last whole one leaves with it.
        let whole = segmented && !matches!(plan, Plan::Probe { .. });
        let len = if whole { len } else { len.min(size as usize) };
        let payload = self.send.buffer.gather(plan.start(), len);
        if !plan.is_retransmission() && len > 0 {
            self.note_foreign_options(if segmented { options.len() } else { 0 });
        }
        let fin = plan.fin() && len as u64 == plan.len();
        let end_of_data = plan.start() + len as u64;
        let mut flags = Flags::ACK;
        if end_of_data == self.send.buffer.end() {
            flags |= Flags::PSH;
        }
        if fin {
            flags |= Flags::FIN;
        }
        let fresh = !plan.is_retransmission() && len > 0;
        if fresh && std::mem::take(&mut self.send.tell_reduced) && self.agreed.ecn {
            flags |= Flags::CWR;
        }
        // Retransmissions are not marked (RFC 3168 section 6.1.5).
        let ecn = if self.agreed.ecn && fresh && !self.send.not_capable { Ecn::Ect0 } else { Ecn::NotEct };
        let timestamp = self.agreed.timestamps.then(|| self.timestamp(cx.now));
        let end = end_of_data + u64::from(fin);
        self.send.on_sent(cx.now, plan, end, len as u64, size, timestamp);
        let window = self.receive.window_field(cx.now, window, false, self.send.mss);
        let header =
            Header { seq: self.send.seq(plan.start()), acknowledges: None, flags, window, ecn, options: &options };
        let cut = (len > size as usize).then_some(size);
        self.touch(cx.now);
        self.receive.on_ack_sent(true);
        self.emit(out, &header, payload, len, cut);
    }

    /// A segment without payload, which tells what has arrived out of order unless it `acknowledges` something special.
    fn emit_bare(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Output<'_>,
        offset: u64,
        acknowledges: Option<(u64, bool)>,
    ) {
        let mut options = self.own_options(cx);
        let segment = SegmentOut {
            kind: SegmentKind::Established,
            fin: false,
            offset: self.send.nxt,
            len: 0,
            chunk: None,
            retransmission: false,
            window_shift: self.receive.window_shift(),
        };
        let (mut window, refused) = self.add_foreign_options(cx, &segment, &mut options);
        if refused && self.agreed.timestamps && acknowledges.is_none() {
            // What the layer above has to say comes first, as Linux does it: an acknowledgement without timestamps is one all the same.
            options = OptionWriter::default();
            (window, _) = self.add_foreign_options(cx, &segment, &mut options);
        }
        if acknowledges.is_none() && self.send.sack {
            self.receive.write_blocks(&mut options);
        }
        let window = self.receive.window_field(cx.now, window, false, self.send.mss);
        let header = Header {
            seq: self.send.seq(offset),
            acknowledges,
            flags: Flags::ACK,
            window,
            ecn: Ecn::NotEct,
            options: &options,
        };
        // One that acknowledges less leaves the rest to tell.
        if acknowledges.is_none() {
            self.receive.on_ack_sent(false);
        }
        self.emit(out, &header, SmallVec::new(), 0, None);
    }

    fn own_options(&self, cx: &Context<'_>) -> OptionWriter {
        let mut options = OptionWriter::default();
        if self.agreed.timestamps {
            options.timestamps(self.timestamp(cx.now), self.receive.timestamps.recent());
        }
        options
    }

    /// The options of the layer above, and its window. Tells whether one of them did not fit.
    fn add_foreign_options(
        &self,
        cx: &mut Context<'_>,
        segment: &SegmentOut,
        options: &mut OptionWriter,
    ) -> (Option<u32>, bool) {
        let mut space = OptionSpace::new(options.room());
        let window = cx.hook.on_transmit(cx.now, self.id, segment, &mut space);
        let foreign = space.as_slice();
        // Our own are padded.
        if !foreign.is_empty() {
            options.raw(foreign);
            options.pad();
        }
        (window, space.has_refused())
    }

    /// A super-segment is cut into pieces that all carry its options, so these decide how long a full one is.
    fn note_foreign_options(&mut self, options: usize) {
        let own = if self.agreed.timestamps { super::connection::TIMESTAMPS_LEN as usize } else { 0 };
        let foreign = u8::try_from(options.saturating_sub(own)).unwrap_or(0);
        if foreign != self.foreign_options {
            self.foreign_options = foreign;
            self.update_mss();
        }
    }

    // As a call it would have its header written and read once more, and the slices of its payload copied, for each segment.
    #[inline(always)]
    fn emit(
        &mut self,
        out: &mut Output<'_>,
        header: &Header<'_>,
        payload: SmallVec<[Bytes; 2]>,
        payload_len: usize,
        cut: Option<u32>,
    ) {
        let mut head = out.heads.take();
        *out.ident = out.ident.wrapping_add(1);
        let acknowledging = header.flags.contains(Flags::ACK);
        let mut flags = header.flags;
        let (acknowledged, marked) =
            header.acknowledges.unwrap_or_else(|| (self.receive.next(), self.receive.echoes_mark()));
        if acknowledging && !flags.contains(Flags::SYN) && marked {
            flags |= Flags::ECE;
        }
        let fields = SegmentFields {
            seq: header.seq,
            ack: if acknowledging { self.receive.seq(acknowledged) } else { 0 },
            flags,
            window: header.window,
            urgent: 0,
            ecn: header.ecn,
            options: header.options.as_slice(),
            payload_len,
            ident: *out.ident,
        };
        let mode = if out.offload.checksum { ChecksumMode::Partial } else { ChecksumMode::Full };
        self.template.write(&mut head, &fields, &payload, mode);
        let meta = FrameMeta {
            checksum: if out.offload.checksum { ChecksumState::Partial } else { ChecksumState::Complete },
            segment_size: cut.and_then(|size| NonZeroU16::new(u16::try_from(size).unwrap_or(u16::MAX))),
        };
        (out.sink)(self.interface, Frame { head, payload, meta });
    }

    /// A RST that the peer believes, with `options`.
    pub(super) fn emit_reset(&mut self, out: &mut Output<'_>, options: &[u8]) {
        let mut writer = OptionWriter::default();
        writer.raw(options);
        writer.pad();
        let mut flags = Flags::RST;
        let seq = match self.phase {
            // A SYN that was never answered: there is nobody to tell.
            Phase::SynSent(_) => self.send.seq(0),
            _ => {
                flags |= Flags::ACK;
                self.send.seq(self.send.nxt)
            }
        };
        let ecn = self.control_codepoint(self.agreed.ecn);
        let header = Header { seq, acknowledges: None, flags, window: 0, ecn, options: &writer };
        self.emit(out, &header, SmallVec::new(), 0, None);
    }

    /// How a SYN, its answer or a RST may be treated where both ends understand marks: as data is, of a sender for switches that mark early and drop what
    /// they cannot mark (RFC 8257 section 3.6), and like any other packet of others (RFC 3168 section 6.1.1).
    fn control_codepoint(&self, agreed: bool) -> Ecn {
        let is_proportional = self.send.control.ecn() == EcnResponse::Proportional;
        if agreed && is_proportional { Ecn::Ect0 } else { Ecn::NotEct }
    }
}

/// A timestamps option without padding: a SYN has other options to align with.
fn timestamps(value: u32, echo: u32) -> [u8; 10] {
    let [a, b, c, d] = value.to_be_bytes();
    let [e, f, g, h] = echo.to_be_bytes();
    [8, 10, a, b, c, d, e, f, g, h]
}
