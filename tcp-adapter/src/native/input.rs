//! Segments of a connection: what RFC 9293 section 3.10.7 has them do, with RFC 5961's answers to what may be forged.

use super::Context;
use super::challenge::Occasion;
use super::connection::{Connection, Handshake, Phase};
use super::fast_open::Attempt;
use super::path_mtu::Report;
use super::receiver::Arrival;
use super::send::Acknowledgement;
use super::wire::{Ecn, Flags, Options, Segment};
use crate::congestion::EcnResponse;
use crate::mss::default_mss;
use crate::{CloseReason, OptionSpace, SegmentIn, TcpEvent, TcpFlags, Verdict};

/// What is to be done about a segment.
#[derive(Debug)]
pub(super) enum Disposition {
    /// Nothing more.
    Done,
    /// The payload is to be taken, see [`Connection::take_payload`].
    Take(Take),
    /// The connection is over.
    Ends(CloseReason),
    /// A RST answers the segment, which is of another connection; this one lives on.
    Refuse,
    /// A RST with these options answers the segment, and the connection is over.
    Reset(OptionSpace),
}

/// Payload that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Take {
    /// Offset of the first byte of the segment.
    pub(super) offset: u64,
    /// Bytes of it within the window.
    pub(super) len: usize,
    /// The FIN is within the window too.
    pub(super) fin: bool,
    /// Payload bytes of a full segment of the peer.
    pub(super) segment: u32,
    /// A router has marked it.
    pub(super) marked: bool,
}

/// The flags that the layer above knows.
pub(super) fn tcp_flags(flags: Flags) -> TcpFlags {
    TcpFlags {
        syn: flags.contains(Flags::SYN),
        ack: flags.contains(Flags::ACK),
        fin: flags.contains(Flags::FIN),
        rst: flags.contains(Flags::RST),
    }
}

/// Milliseconds after which the echo of a timestamp tells nothing of a round trip: it may be a lie.
const OLDEST_ECHO: u32 = 300_000;

impl Connection {
    /// Takes a segment that is addressed to this connection.
    pub(super) fn on_segment(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        // The window of a SYN is never scaled (RFC 7323 section 2.2).
        let shift = if segment.flags.contains(Flags::SYN) { 0 } else { self.send.window_shift };
        match self.phase {
            Phase::SynSent(ref handshake) => self.on_syn_sent(cx, segment, **handshake),
            Phase::SynReceived(_) if self.answers_both_syns(segment) => {
                // Both have opened at the same time: without its SYN, which we have, it is the acknowledgement of ours.
                let flags = Flags(segment.flags.0 & !Flags::SYN.0);
                let segment = Segment { flags, seq: segment.seq.wrapping_add(1), ..segment.clone() };
                self.on_synchronized(cx, &segment, shift)
            }
            Phase::SynReceived(_) | Phase::FastOpen(_) | Phase::Open => self.on_synchronized(cx, segment, shift),
        }
    }

    /// RFC 9293 section 3.10.7.3.
    fn on_syn_sent(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>, handshake: Handshake) -> Disposition {
        let flags = segment.flags;
        let rst = flags.contains(Flags::RST);
        if handshake.sent == 0 {
            return Disposition::Done;
        }
        let ack = flags.contains(Flags::ACK);
        let early = segment.ack.wrapping_sub(self.send.seq(0));
        let acked = ack && early <= self.offered_on_syn();
        if ack && !acked {
            if let Phase::SynSent(handshake) = &mut self.phase
                && !rst
                && !flags.contains(Flags::SYN)
                && handshake.sent == 1
            {
                // The peer still has a connection of before. The RST ends that (RFC 9293 section 3.5.1), so the next SYN need not wait.
                handshake.resend_at = cx.now;
            }
            return if rst { Disposition::Done } else { Disposition::Refuse };
        }
        if (rst && !acked) || (!rst && (!flags.contains(Flags::SYN) || flags.contains(Flags::FIN))) {
            return Disposition::Done;
        }
        let options = Options::parse(segment.options);
        let seen = SegmentIn {
            flags: tcp_flags(flags),
            offset: 0,
            len: 0,
            acked: ack.then_some(early.into()),
            window: u32::from(segment.window),
            options: options.foreign.as_slice(),
        };
        match cx.hook.on_segment(cx.now, self.id, &seen) {
            Verdict::Accept | Verdict::AcceptSignal => {}
            Verdict::Drop => return Disposition::Done,
            Verdict::Reset(space) if rst => {
                let _ = space;
                return Disposition::Ends(CloseReason::Aborted);
            }
            Verdict::Reset(space) => return Disposition::Reset(space),
        }
        if rst {
            return Disposition::Ends(CloseReason::Refused);
        }
        self.take_peer_syn(cx, segment, &options);
        // RFC 3168 section 6.1.1: ECE alone answers a SYN with both.
        self.agreed.ecn = cx.config.ecn && flags.contains(Flags::ECE) && !flags.contains(Flags::CWR);
        // The peer may mark what it sends and must be told of that, but a SYN of ours without ECN forbids us to.
        self.send.not_capable = handshake.sent > 1;
        if ack {
            self.send.skip(early.into());
            self.open(cx, handshake);
            self.send.update_window(0, early.into(), u64::from(segment.window));
            self.ack_now = true;
        } else {
            // Both open at the same time (RFC 9293 section 3.5, MUST-10).
            self.agreed.ecn = false;
            let repeated = Handshake { resend_at: cx.now, crossed: true, ..handshake };
            self.phase = Phase::SynReceived(Box::new(repeated));
            self.send.window = u64::from(segment.window);
        }
        Disposition::Done
    }

    /// What will have become of an active open that has to do with Fast Open, if this segment completes it.
    pub(super) fn fast_open_attempt(&self, segment: &Segment<'_>) -> Option<Attempt> {
        self.syn_data.as_ref()?;
        let Phase::SynSent(handshake) = &self.phase else { return None };
        let (offered, taken) = (self.offered_on_syn(), segment.ack.wrapping_sub(self.send.seq(0)));
        Some(Attempt { offered, taken, syns: handshake.sent })
    }

    /// `take` bytes of the peer's SYN are taken before the handshake is complete.
    pub(super) fn open_fast(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>, take: usize) -> Take {
        self.touch(cx.now);
        self.send.start(cx.now);
        self.send.update_window(0, 0, u64::from(segment.window));
        cx.events.push_back(TcpEvent::Established(self.id));
        let segment = u32::try_from(take).unwrap_or(u32::MAX);
        Take { offset: 0, len: take, fin: false, segment, marked: false }
    }

    /// Learns from the peer's SYN, in either role.
    pub(super) fn take_peer_syn(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>, options: &Options<'_>) {
        let config = cx.config;
        self.template.set_link_destination(segment.link_source);
        self.routed = true;
        self.waits_for_neighbour = false;
        self.last_received = cx.now;
        let default_mss = default_mss(self.template.is_ipv6());
        self.peer_mss = u32::from(options.mss.filter(|mss| *mss > 0).unwrap_or(default_mss));
        // Scaling is for both directions or for none (RFC 7323 section 2.2).
        self.agreed.window_scaling = config.window_scaling && options.window_shift.is_some();
        if let Some(shift) = options.window_shift.filter(|_| config.window_scaling) {
            self.send.window_shift = shift;
        }
        self.send.sack = config.sack && options.sack_permitted;
        self.receive.peer_syn(cx.now, segment.seq, self.agreed.window_scaling, self.send.sack, config);
        self.agreed.timestamps = config.timestamps && options.timestamps.is_some();
        if let Some((value, _)) = options.timestamps.filter(|_| config.timestamps) {
            self.receive.timestamps.start(cx.now, value);
        }
        self.send.max_window = u64::from(segment.window);
        self.update_mss();
    }

    /// The handshake is complete.
    fn open(&mut self, cx: &mut Context<'_>, handshake: Handshake) {
        match handshake.sent {
            // When the SYN was answered by a cookie is not remembered.
            0 => {}
            1 => {
                let rtt = cx.now.saturating_since(handshake.first_at).as_nanos();
                let rtt = u64::try_from(rtt).unwrap_or(u64::MAX);
                self.send.rtt.sample(cx.now, rtt, rtt);
            }
            _ => self.send.rtt.after_lost_syn(),
        }
        let before = std::mem::replace(&mut self.phase, Phase::Open);
        self.touch(cx.now);
        if self.agreed.ecn && self.send.control.ecn() == EcnResponse::Proportional {
            // Both ends of a data centre are alike (RFC 8257 section 5).
            self.receive.echo_exactly();
        }
        if !matches!(before, Phase::FastOpen(_)) {
            self.send.start(cx.now);
            cx.events.push_back(TcpEvent::Established(self.id));
        }
    }

    /// RFC 9293 section 3.10.7.4. The window of the segment is scaled by `shift`.
    fn on_synchronized(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>, shift: u8) -> Disposition {
        let flags = segment.flags;
        let (syn, rst) = (flags.contains(Flags::SYN), flags.contains(Flags::RST));
        if syn && !rst && !flags.contains(Flags::ACK) && self.repeats_the_syn(cx, segment) {
            return Disposition::Done;
        }
        let options = Options::parse(segment.options);
        let has_data = segment.payload_len > 0 || flags.contains(Flags::FIN);
        if let Some((value, _)) = options.timestamps.filter(|_| self.agreed.timestamps && !rst)
            && self.receive.timestamps.is_old(cx.now, value)
        {
            // RFC 7323 section 5.3 step R1.
            self.answer_stray(cx, has_data && !syn);
            return Disposition::Done;
        }
        let fin = flags.contains(Flags::FIN);
        let Arrival::Acceptable { offset, len, fin, cut } = self.receive.check(segment.seq, segment.payload_len, fin)
        else {
            if !rst {
                if !syn {
                    self.receive.note_duplicate(segment.seq, segment.payload_len);
                }
                self.answer_stray(cx, has_data && !syn);
            }
            return Disposition::Done;
        };
        if (rst && !self.receive.is_in_sequence(segment.seq)) || (syn && !rst) {
            self.challenge(cx, Occasion::Signal);
            return Disposition::Done;
        }
        let acked = self.send.offset(segment.ack);
        if !rst {
            if !flags.contains(Flags::ACK) {
                return Disposition::Done;
            }
            if !self.is_synchronized() && !self.answers_handshake(acked) {
                return Disposition::Refuse;
            }
            if self.is_open() && !self.send.acknowledgement_is_acceptable(acked) {
                self.challenge(cx, Occasion::Stray);
                return Disposition::Done;
            }
        }
        let acked = u64::try_from(acked).unwrap_or(0);
        let window = u32::from(segment.window) << shift;
        let seen = SegmentIn {
            flags: TcpFlags { fin, ..tcp_flags(flags) },
            offset,
            len,
            acked: flags.contains(Flags::ACK).then_some(acked),
            window,
            options: options.foreign.as_slice(),
        };
        let signal = match cx.hook.on_segment(cx.now, self.id, &seen) {
            Verdict::Accept => false,
            Verdict::AcceptSignal => true,
            Verdict::Drop => return Disposition::Done,
            Verdict::Reset(_) if rst => return Disposition::Ends(CloseReason::Aborted),
            Verdict::Reset(space) => return Disposition::Reset(space),
        };
        if rst {
            return Disposition::Ends(self.end_by_reset());
        }
        self.last_received = cx.now;
        self.touch(cx.now);
        self.keep_alive.heard();
        self.ack_now |= cut;
        if let Some((value, _)) = options.timestamps.filter(|_| self.agreed.timestamps) {
            self.receive.timestamps.take(cx.now, value, offset <= self.receive.acked());
        }
        if !self.is_synchronized() {
            self.complete_handshake(cx, acked);
        }
        self.acknowledged(cx, segment, &options, &seen, signal);
        if self.agreed.ecn && flags.contains(Flags::CWR) {
            self.receive.reduced();
        }
        if len == 0 && !fin {
            return Disposition::Done;
        }
        if let Some((_, echo)) = options.timestamps.filter(|_| self.agreed.timestamps) {
            self.receive.timed(self.timestamp(cx.now).wrapping_sub(echo));
        }
        Disposition::Take(Take {
            offset,
            len,
            fin,
            segment: segment.segment_size.map_or(self.payload_limit(), |size| u32::from(size.get())),
            marked: self.agreed.ecn && segment.ecn == Ecn::Ce,
        })
    }

    /// What a reset that the peer means makes of the connection.
    #[cold]
    fn end_by_reset(&self) -> CloseReason {
        match &self.phase {
            // As in SYN-SENT: it was this end that opened.
            Phase::SynReceived(handshake) if handshake.crossed => CloseReason::Refused,
            // Nothing is lost by a reset in CLOSING or LAST-ACK: the peer has left TIME-WAIT.
            _ if self.receive.finished() && self.send.all_but_fin_acknowledged() => CloseReason::Normal,
            _ => CloseReason::Reset,
        }
    }

    /// Whether an acknowledgement of everything before `acked` is of our SYN/ACK, before the handshake is complete.
    #[cold]
    fn answers_handshake(&self, acked: i64) -> bool {
        match self.phase {
            Phase::SynReceived(_) => (0..=i64::from(self.offered_on_syn())).contains(&acked),
            Phase::FastOpen(_) => acked >= 0,
            Phase::SynSent(_) | Phase::Open => true,
        }
    }

    /// Our SYN/ACK is acknowledged, with everything before `acked`.
    #[cold]
    #[inline(never)]
    fn complete_handshake(&mut self, cx: &mut Context<'_>, acked: u64) {
        match &self.phase {
            Phase::SynReceived(handshake) => {
                let handshake = **handshake;
                self.send.skip(acked);
                self.open(cx, handshake);
            }
            Phase::FastOpen(handshake) => {
                let handshake = **handshake;
                self.open(cx, handshake);
            }
            Phase::SynSent(_) | Phase::Open => {}
        }
    }

    /// A SYN/ACK of a peer whose SYN we have answered with one too (RFC 9293 section 3.5, figure 8).
    fn answers_both_syns(&self, segment: &Segment<'_>) -> bool {
        segment.flags.contains(Flags::SYN | Flags::ACK)
            && !segment.flags.contains(Flags::RST)
            && segment.seq == self.receive.irs()
            && segment.ack.wrapping_sub(self.send.seq(0)) <= self.offered_on_syn()
            && segment.payload_len == 0
    }

    /// A SYN that was seen before: the SYN/ACK may be lost. In SYN-RECEIVED it is repeated at once, which repairs sooner than its timer.
    fn repeats_the_syn(&mut self, cx: &mut Context<'_>, segment: &Segment<'_>) -> bool {
        if segment.seq != self.receive.irs() {
            return false;
        }
        // It may be for the marks that the first one got no answer: no data of ours asks for them then (RFC 3168 section 6.1.1).
        self.send.not_capable |= !self.is_synchronized() && !segment.flags.contains(Flags::ECE | Flags::CWR);
        match &mut self.phase {
            Phase::SynReceived(handshake) | Phase::FastOpen(handshake)
                if self.challenges.allow(cx.now, Occasion::Signal) =>
            {
                handshake.repeat(cx.now);
                true
            }
            Phase::SynReceived(_) | Phase::FastOpen(_) => true,
            Phase::SynSent(_) | Phase::Open => false,
        }
    }

    /// The part of a segment that is about our own stream.
    fn acknowledged(
        &mut self,
        cx: &mut Context<'_>,
        segment: &Segment<'_>,
        options: &Options<'_>,
        seen: &SegmentIn<'_>,
        signal: bool,
    ) {
        let Some(acked) = seen.acked else { return };
        // An old one says nothing, nor does its window, however new the data beside it is (RFC 9293 section 3.10.7.4: SND.UNA =< SEG.ACK).
        if acked < self.send.una {
            return;
        }
        let was_shut = self.send.window == 0;
        let window_changed = self.send.update_window(seen.offset, acked, u64::from(seen.window));
        if acked == self.send.una {
            self.send.peer_without_progress(cx.now, was_shut);
        }
        let bare = seen.len == 0 && !seen.flags.fin;
        if acked == self.send.una && options.sack.as_slice().is_empty() && self.send.flight.is_empty() {
            // With data as well as without: whoever has some to send answers a probe by that.
            self.send.window_probe_answered();
            if bare || !self.send.judges_probe() {
                return;
            }
        }
        let mut blocks = [(0, 0); 4];
        let mut count = 0;
        for &(left, right) in options.sack.as_slice() {
            blocks[count] = (self.send.offset(left), self.send.offset(right));
            count += 1;
        }
        let echo = options.timestamps.map(|(_, echo)| echo).filter(|_| self.agreed.timestamps);
        let age = |echo| self.timestamp(cx.now).wrapping_sub(echo);
        let echo_age = echo.map(age).filter(|age| *age <= OLDEST_ECHO);
        self.send.on_ack(
            cx.now,
            &Acknowledgement {
                una: acked,
                sack: &blocks[..count],
                echo,
                echo_age,
                marked: self.agreed.ecn && segment.flags.contains(Flags::ECE),
                may_be_duplicate: bare && !signal && !window_changed && acked == self.send.una,
            },
        );
        self.learn_from_mtu_probe(cx.now);
    }

    /// Takes payload that was accepted, `pieces` being all of the segment's.
    pub(super) fn take_payload(
        &mut self,
        cx: &mut Context<'_>,
        take: &Take,
        pieces: &mut impl Iterator<Item = bytes::Bytes>,
    ) {
        let was_readable = self.receive.is_readable();
        self.receive.take(cx.now, take, pieces, cx.config, cx.memory.room());
        if !was_readable && self.receive.is_readable() {
            cx.events.push_back(TcpEvent::Readable(self.id));
        }
        if self.receive.just_finished() {
            self.note_peer_closed();
            cx.events.push_back(TcpEvent::Finished(self.id));
        }
    }

    /// Owes the peer an acknowledgement for a segment outside the window.
    fn answer_stray(&mut self, cx: &mut Context<'_>, has_data: bool) {
        // Data outside the window is a retransmission or a probe, paced by the peer's timers;
        // withholding the answer would strand it in backoff.
        if has_data && self.is_open() {
            self.ack_now = true;
        } else {
            self.challenge(cx, Occasion::Stray);
        }
    }

    /// Owes the peer an acknowledgement, within limits. Before the handshake is complete that is the SYN/ACK: whoever has not seen it learns what it
    /// says, and whoever knows nothing of the handshake resets it.
    fn challenge(&mut self, cx: &mut Context<'_>, occasion: Occasion) {
        if !self.challenges.allow(cx.now, occasion) {
            return;
        }
        match &mut self.phase {
            Phase::SynReceived(handshake) => handshake.repeat(cx.now),
            Phase::SynSent(_) | Phase::FastOpen(_) | Phase::Open => self.ack_now = true,
        }
    }

    /// A router says that a packet of ours was too big (RFC 1191, RFC 8201). `seq` is that of the packet: what is not
    /// outstanding was not ours (RFC 5927 section 4.1).
    ///
    /// A router that does not tell the MTU leaves the next lower one of RFC 1191 section 7.1 to be guessed; `packet_len` is that of the packet.
    pub(super) fn packet_too_big(&mut self, now: crate::Instant, seq: u32, packet_len: u32, mtu: u32) {
        let offset = self.send.offset(seq);
        let ours = (self.send.una.cast_signed()..self.send.nxt.cast_signed()).contains(&offset);
        if !self.is_open() || !ours {
            return;
        }
        match self.path_mtu.reported(now, packet_len, mtu) {
            Report::Nothing => {}
            Report::Smaller => {
                self.update_mss();
                // How much of a packet was options is not remembered. Few segments are in doubt, and to send one of them again for nothing
                // costs less than a timeout.
                let least = u64::from(self.segment_limit()).saturating_sub(OptionSpace::MAX as u64);
                self.send.resend_too_big(least);
            }
            Report::ProbeTooBig => self.send.resend_too_big(u64::from(self.send.mss)),
        }
    }
}
