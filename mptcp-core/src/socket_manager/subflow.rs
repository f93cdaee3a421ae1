//! A subflow: one TCP connection of a multipath connection.

use std::net::SocketAddr;
use std::time::Duration;

use tcp_adapter::{IdleQueue, Instant, TcpId, TcpInfo};

use super::keepalive::Watch;
use super::policy::Judged;
use crate::event::SubflowId;
use crate::info::{SubflowInfo, SubflowState};
use crate::path_manager::Site;
use crate::path_manager::strategy::Pair;
use crate::seq::LowPosition;
use crate::stream::{MappedReader, ReceivedMap, SentMap};
use crate::wire::{AddrId, MptcpOption, RawDss, ResetReason};

/// Mappings that a subflow remembers for data that it has not delivered yet. A mapping per
/// segment of a 16 MiB window would be 11,600.
const MAX_RECEIVED_MAPPINGS: usize = 16_384;

/// Pause after that many: with a peer that has data outstanding, acknowledgements that advance come in between.
pub(crate) const SIGNAL_PAUSE: Duration = Duration::from_millis(100);

/// Options that wait to be sent at most. A peer that never takes its options must not make us queue without bound.
const MAX_QUEUED: usize = 64;

/// Duplicate ACKs for signalling that may leave in a row (RFC 8684 section 4, "Duplicate ACK").
pub(crate) const MAX_SIGNALS_IN_A_ROW: u8 = 2;

/// How far a subflow has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// First subflow, active: the SYN is out, sent so often.
    CapableSyn { sent: u32 },
    /// First subflow, passive: the SYN is answered.
    CapableAnswered,
    /// Join, active: the SYN is out.
    JoinSyn { nonce: u32 },
    /// Join, passive: the SYN is answered.
    JoinAnswered { local_nonce: u32, remote_nonce: u32 },
    /// Join, active: the third ACK is out and must be acknowledged before anything else is sent (RFC 8684
    /// section 3.2, PRE_ESTABLISHED).
    PreEstablished(Box<ThirdAck>),
    /// Carries data.
    Established,
    /// Carries no new data: this side has sent its FIN, or the peer has.
    Closing,
}

/// The third ACK of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThirdAck {
    pub(crate) hmac: [u8; 20],
    /// When it is sent again.
    pub(crate) again: Instant,
    /// How often it was.
    pub(crate) sent: u32,
}

/// The option of a segment with payload, which is that of the next one most often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// Offset of the chunk, and so the mapping.
    pub(crate) chunk: u64,
    pub(crate) data_ack: u64,
    /// Only the first segment of the mapping says so.
    pub(crate) once: bool,
    pub(crate) option: RawDss,
}

/// What the last segments with payload have said, in either direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lately {
    /// The last one that came.
    pub(crate) heard: RawDss,
    pub(crate) heard_window: u32,
    /// The last one that left.
    pub(crate) said: Option<Said>,
    /// One has acknowledged data with a DATA_ACK: the peer knows that options pass.
    pub(crate) has_acked: bool,
}

/// A subflow that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) since: Instant,
    pub(crate) probe_at: Instant,
    pub(crate) probe_wait: Duration,
    /// Its link was down, as the system has told: that it answers again shows no mistake in what was made of its silence.
    pub(crate) told: bool,
    /// What TCP had acknowledged then, and how many segments it had sent again.
    pub(crate) snd_una: u64,
    pub(crate) retransmissions: u64,
}

impl Stale {
    /// Whether what was missed has come without having been sent again: it was late, and not lost.
    pub(crate) fn was_only_late(&self, now: &TcpInfo) -> bool {
        !self.told && now.snd_una > self.snd_una && now.retransmissions == self.retransmissions
    }
}

/// One TCP connection of a multipath connection.
#[derive(Debug)]
pub(crate) struct Subflow {
    pub(crate) id: SubflowId,
    pub(crate) tcp: TcpId,
    pub(crate) stage: Stage,
    /// Opened by this side.
    pub(crate) initiator: bool,
    pub(crate) local: Site,
    pub(crate) remote: Site,
    pub(crate) local_id: AddrId,
    pub(crate) remote_id: AddrId,
    /// This side asks the peer to send here only if nothing else works.
    pub(crate) backup: bool,
    /// The peer was told so: by flag B in the handshake, and by MP_PRIO.
    pub(crate) backup_told: bool,
    /// The peer asks this side to.
    pub(crate) backup_by_peer: bool,
    /// The TCP handshake is complete.
    pub(crate) connected: bool,
    /// Which of several between the same addresses it is.
    pub(crate) lane: u8,
    /// What the policy says of its path; nothing as long as there has never been any.
    pub(crate) judged: Option<Box<Judged>>,
    /// The link that it goes over is down.
    pub(crate) link_down: bool,
    /// Share of the traffic that weighted schedulers give it.
    pub(crate) weight: u32,
    /// The application was told that the join is complete.
    pub(crate) announced: bool,
    /// Data was acknowledged with a DATA_ACK, or a signal in its place: options pass in both directions (RFC 8684
    /// section 3.7).
    pub(crate) confirmed: bool,
    pub(crate) sent: SentMap,
    /// Offset of the next byte given to TCP.
    pub(crate) next_offset: u64,
    pub(crate) received: ReceivedMap,
    /// What the last segments with payload have said; forgotten while there are none.
    pub(crate) lately: Option<Box<Lately>>,
    /// The payload was altered on the way: nothing that follows can be trusted (RFC 8684 section 3.7).
    pub(crate) altered: bool,
    pub(crate) reader: MappedReader,
    /// When bytes without a mapping began to wait.
    pub(crate) unmapped_since: Option<Instant>,
    /// Options that wait for a segment without payload.
    pub(crate) control: IdleQueue<MptcpOption>,
    pub(crate) signals_in_a_row: u8,
    /// When more signals may leave, after as many in a row as are allowed.
    pub(crate) signal_at: Option<Instant>,
    /// A hook wants a segment without payload to leave; only the socket manager can ask TCP for it.
    pub(crate) ack_wanted: bool,
    /// It was stale, and has answered.
    pub(crate) recovered: Option<Box<Stale>>,
    /// The peer has removed its address.
    pub(crate) withdrawn: bool,
    /// It is to be probed for that.
    pub(crate) removal_asked: bool,
    pub(crate) stale: Option<Box<Stale>>,
    /// Since when something has been outstanding without an answer.
    pub(crate) waiting_since: Option<Instant>,
    /// When to look whether an answer is overdue.
    pub(crate) miss_at: Option<Instant>,
    /// Times that it was taken for stale and was only late.
    pub(crate) false_alarms: u8,
    /// When it was last made to send less because it held up the others.
    pub(crate) penalised: Option<Instant>,
    /// When a segment was last received.
    pub(crate) heard_at: Instant,
    /// Keep-alive: how it is watched, once it is. Boxed, as few connections have it.
    pub(crate) watch: Option<Box<Watch>>,
    /// The peer has removed its address: reset at this time unless it answers (RFC 8684 section 3.4.2).
    pub(crate) remove_at: Option<Instant>,
    /// In its FIN exchange: reset at this time if that is not complete.
    pub(crate) close_by: Option<Instant>,
    /// How often it was given more time.
    pub(crate) extensions: u8,
    pub(crate) fin_sent: bool,
    pub(crate) fin_received: bool,
    /// Where that ended which had been written when the peer's FIN came.
    pub(crate) written_before_fin: LowPosition,
    /// The peer has opened the same subflow at the same time.
    pub(crate) crossed: bool,
    /// MP_TCPRST of the peer's RST.
    pub(crate) peer_reset: Option<(ResetReason, bool)>,
    /// The reason given in our own RST.
    pub(crate) own_reset: Option<ResetReason>,
    /// Payload bytes taken from TCP.
    pub(crate) bytes_received: u64,
    pub(crate) bytes_reinjected: u64,
}

/// What identifies a new subflow.
pub(crate) struct NewSubflow {
    pub(crate) id: SubflowId,
    pub(crate) tcp: TcpId,
    pub(crate) stage: Stage,
    pub(crate) initiator: bool,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) local_id: AddrId,
    pub(crate) remote_id: AddrId,
    pub(crate) lane: u8,
    pub(crate) backup: bool,
    pub(crate) backup_by_peer: bool,
}

impl Subflow {
    pub(crate) fn new(new: NewSubflow) -> Self {
        let NewSubflow { id, tcp, stage, initiator, local, remote, local_id, remote_id, .. } = new;
        let NewSubflow { lane, backup, backup_by_peer, .. } = new;
        Self {
            id,
            tcp,
            stage,
            initiator,
            local: local.into(),
            remote: remote.into(),
            local_id,
            remote_id,
            backup,
            // The handshake of the first subflow has no such flag.
            backup_told: backup && id != SubflowId(0),
            backup_by_peer,
            connected: false,
            lane,
            judged: None,
            link_down: false,
            weight: 1,
            announced: false,
            confirmed: false,
            sent: SentMap::default(),
            next_offset: 0,
            received: ReceivedMap::new(MAX_RECEIVED_MAPPINGS),
            lately: None,
            altered: false,
            reader: MappedReader::default(),
            unmapped_since: None,
            control: IdleQueue::new(),
            signals_in_a_row: 0,
            signal_at: None,
            ack_wanted: false,
            recovered: None,
            withdrawn: false,
            removal_asked: false,
            stale: None,
            waiting_since: None,
            miss_at: None,
            false_alarms: 0,
            penalised: None,
            heard_at: Instant::ZERO,
            watch: None,
            remove_at: None,
            close_by: None,
            extensions: 0,
            fin_sent: false,
            fin_received: false,
            written_before_fin: LowPosition::default(),
            crossed: false,
            peer_reset: None,
            own_reset: None,
            bytes_received: 0,
            bytes_reinjected: 0,
        }
    }

    /// Whether new data may be put on it now.
    pub(crate) fn usable(&self) -> bool {
        self.stage == Stage::Established && self.connected && self.stale.is_none() && !self.link_down
    }

    /// Whether segments can leave on it at all, data or not.
    pub(crate) fn alive(&self) -> bool {
        self.connected && matches!(self.stage, Stage::Established | Stage::Closing)
    }

    /// Whether it is or may become one that carries data.
    pub(crate) fn counts(&self) -> bool {
        self.stage != Stage::Closing
    }

    /// Whether a hook has noted something that only the socket manager can do.
    #[inline]
    pub(crate) fn has_notes(&self) -> bool {
        self.ack_wanted || self.removal_asked || self.recovered.is_some() || !self.control.is_empty()
    }

    /// Whether it is a join that is complete, of which nobody was told yet.
    #[inline]
    pub(crate) fn is_unannounced_join(&self) -> bool {
        self.is_join() && !self.announced && self.connected && self.stage == Stage::Established
    }

    /// Whether its address was withdrawn, and it has not answered since.
    pub(crate) fn is_leaving(&self) -> bool {
        self.removal_asked || self.remove_at.is_some()
    }

    /// Between which addresses it goes.
    pub(crate) fn pair(&self) -> Pair {
        Pair { local: self.local.ip(), remote: self.remote.into(), lane: self.lane }
    }

    pub(crate) fn is_join(&self) -> bool {
        self.id != SubflowId(0)
    }

    /// Whether an ADD_ADDR can leave on it.
    pub(crate) fn can_announce(&self) -> bool {
        self.usable() && self.control.len() < MAX_QUEUED
    }

    /// Whether a REMOVE_ADDR can leave on it. One that is stale may be so in the other direction only.
    pub(crate) fn can_withdraw(&self) -> bool {
        self.alive() && self.control.len() < MAX_QUEUED
    }

    /// Queues an option for the next segment without payload.
    pub(crate) fn signal(&mut self, option: MptcpOption) {
        if self.control.len() < MAX_QUEUED {
            self.control.push_back(option);
        }
    }

    pub(crate) fn state(&self) -> SubflowState {
        match self.stage {
            Stage::CapableSyn { .. } | Stage::JoinSyn { .. } => SubflowState::SynSent,
            Stage::CapableAnswered | Stage::JoinAnswered { .. } => SubflowState::SynReceived,
            Stage::PreEstablished { .. } => SubflowState::PreEstablished,
            Stage::Established if self.stale.is_some() || self.link_down => SubflowState::Stale,
            Stage::Established => SubflowState::Established,
            Stage::Closing => SubflowState::Closing,
        }
    }

    /// What is known without asking TCP.
    pub(crate) fn info(&self) -> SubflowInfo {
        SubflowInfo {
            id: self.id,
            state: self.state(),
            local: self.local.into(),
            remote: self.remote.into(),
            local_addr_id: self.local_id,
            remote_addr_id: self.remote_id,
            backup: self.backup,
            backup_by_peer: self.backup_by_peer,
            tcp: None,
            bytes_sent: self.next_offset,
            bytes_received: self.bytes_received,
            bytes_reinjected: self.bytes_reinjected,
        }
    }
}
