//! The handshakes of MP_CAPABLE and MP_JOIN, as far as received segments move them (RFC 8684 sections 3.1, 3.2).

use std::sync::Arc;

use rand::Rng;
use tcp_adapter::{Instant, OptionSpace, SegmentIn, SynSegment, SynVerdict, TcpId, Verdict};

use super::connection::{Connection, Multipath, Negotiating, NewConnection, Protocol};
use super::shared::{KeyMaterial, Owner, Shared};
use super::subflow::{NewSubflow, Stage, Subflow, ThirdAck};
use crate::config::StackConfig;
use crate::event::{ConnId, FallbackCause, SubflowId};
use crate::keys::{join_hmac, truncate_64, truncate_160, verify};
use crate::mib::Counter;
use crate::stream::ReceivedMapping;
use crate::wire::{self, AddrId, CapableFlags, MpCapable, MpJoin, MpTcprst, MptcpOption, ResetReason};

/// The first acknowledgement of a third ACK is waited for this long, then the ACK is repeated, doubling.
pub(crate) const PRE_ESTABLISHED_WAIT: std::time::Duration = std::time::Duration::from_millis(500);
/// Repetitions of the third ACK of a join before the subflow is given up.
pub(crate) const PRE_ESTABLISHED_TRIES: u32 = 5;

/// A SYN that opens a connection, and what it asks for.
pub(crate) struct CapableRequest {
    pub(crate) checksum: bool,
    pub(crate) deny_join_initial: bool,
}

/// What the MPTCP options of a SYN mean.
pub(crate) enum SynOptions {
    /// None that is usable: regular TCP.
    Plain,
    Capable(CapableRequest),
    Join {
        backup: bool,
        addr_id: AddrId,
        token: crate::keys::Token,
        nonce: u32,
    },
    /// A contradiction; no honest host sends it.
    Contradictory,
}

/// Reads the MPTCP options of a SYN. What is malformed or of another version is ignored, which makes the
/// connection a regular one (RFC 8684 section 3.1).
pub(crate) fn read_syn(syn: &SynSegment<'_>, shared: &mut Shared) -> SynOptions {
    let mut found = SynOptions::Plain;
    for option in wire::options(syn.options) {
        let meaning = match option {
            Ok(MptcpOption::Capable(MpCapable::Syn { version, flags })) if acceptable(version, flags) => {
                shared.mib.bump(Counter::MPCapableSYNRX);
                SynOptions::Capable(CapableRequest {
                    checksum: flags.checksum,
                    deny_join_initial: flags.deny_join_initial,
                })
            }
            Ok(MptcpOption::Join(MpJoin::Syn { backup, addr_id, token, nonce })) => {
                shared.mib.bump(Counter::MPJoinSynRx);
                if backup {
                    shared.mib.bump(Counter::MPJoinSynBackupRx);
                }
                SynOptions::Join { backup, addr_id, token, nonce }
            }
            Ok(_) => continue,
            Err(_) => {
                shared.mib.bump(Counter::OptionMalformed);
                continue;
            }
        };
        found = match found {
            SynOptions::Plain => meaning,
            _ => SynOptions::Contradictory,
        };
    }
    found
}

/// Whether a MP_CAPABLE is one that this implementation can answer: version 1 or a later one that will come down
/// to it, no extensibility flag, and HMAC-SHA256 on offer.
fn acceptable(version: u8, flags: CapableFlags) -> bool {
    version >= wire::VERSION && !flags.extensibility && flags.crypto & CapableFlags::HMAC_SHA256 != 0
}

/// A RST with MP_TCPRST.
pub(crate) fn reset_options(reason: ResetReason, shared: &mut Shared) -> OptionSpace {
    let mut space = OptionSpace::new(OptionSpace::MAX);
    // Whether to try again: not when the answer would be the same.
    let transient = matches!(
        reason,
        ResetReason::LackOfResources | ResetReason::TooMuchOutstanding | ResetReason::UnacceptablePerformance
    );
    if (MptcpOption::Tcprst(MpTcprst { transient, reason })).emit(&mut space) {
        shared.mib.bump(Counter::MPRstTx);
    }
    space
}

/// Creates the connection that a SYN opens. `key` is what it is to use if that asks for MPTCP; without one it is a regular connection.
pub(crate) fn passive_open(
    id: ConnId,
    tcp: TcpId,
    syn: &SynSegment<'_>,
    request: Option<CapableRequest>,
    key: Option<KeyMaterial>,
    shared: &mut Shared,
) -> Connection {
    let offered = request.is_some();
    if offered && key.is_none() {
        shared.mib.bump(Counter::MPFallbackTokenInit);
    }
    let protocol = match (&request, key) {
        (Some(request), Some(local)) => {
            Protocol::Negotiating(Negotiating { local, checksum: request.checksum || shared.config.checksum })
        }
        _ => plain_from_start(FallbackCause::NotRequested),
    };
    let stage = match &protocol {
        Protocol::Negotiating(_) => Stage::CapableAnswered,
        Protocol::Multipath(_) | Protocol::Plain(_) => Stage::Established,
    };
    let new = NewConnection {
        id,
        listener: syn.listener,
        protocol,
        local: syn.local,
        remote: syn.remote,
        scheduler: shared.config.scheduler.build_with(&shared.config.learning),
        coupling: shared.config.coupling,
        strategy: Arc::clone(&shared.strategy),
    };
    let mut conn = Connection::new(new, shared);
    conn.paths.deny_remote_initial = request.is_some_and(|request| request.deny_join_initial);
    let first = NewSubflow {
        id: conn.draw_subflow_id(),
        tcp,
        stage,
        initiator: false,
        local: syn.local,
        remote: syn.remote,
        local_id: AddrId(0),
        remote_id: AddrId(0),
        lane: 0,
        backup: false,
        backup_by_peer: false,
    };
    conn.add_subflow(first, shared);
    conn
}

/// Regular TCP from the first byte on.
pub(crate) fn plain_from_start(cause: FallbackCause) -> Protocol {
    Protocol::Plain(super::connection::Plain {
        cause,
        tx_base: 0,
        rx_base: 0,
        rx_idsn: None,
        infinite: None,
        altered: None,
    })
}

impl Connection {
    /// Enters a subflow and makes its TCP connection known as ours.
    pub(crate) fn add_subflow(&mut self, new: NewSubflow, shared: &mut Shared) {
        shared.owners.set(new.tcp, Owner { conn: self.id, subflow: new.id });
        // They are large, and there are few.
        self.subflows.reserve_exact(1);
        self.subflows.push(Subflow::new(new));
    }

    /// The SYN of a join to this connection.
    pub(crate) fn on_join_syn(
        &mut self,
        tcp: TcpId,
        syn: &SynSegment<'_>,
        join: (bool, AddrId, u32),
        shared: &mut Shared,
    ) -> SynVerdict {
        let (backup_by_peer, remote_id, remote_nonce) = join;
        let initial = self.paths.local == syn.local;
        let limit = shared.config.limits.subflows;
        let refused = if self.closed.is_some() || self.multipath().is_none() {
            Some(ResetReason::MptcpSpecific)
        } else if limit == 0
            || (initial && !shared.config.allow_join_initial_addr)
            || self.is_forbidden(syn.local.ip(), syn.remote, shared)
        {
            Some(ResetReason::Prohibited)
        } else if self.is_full(limit)
            || self.half_open_joins() >= shared.config.max_half_open_joins
            || self.is_id_taken(syn.local.ip(), shared)
        {
            Some(ResetReason::LackOfResources)
        } else {
            None
        };
        if let Some(reason) = refused {
            shared.mib.bump(Counter::MPJoinRejected);
            return SynVerdict::Reset(reset_options(reason, shared));
        }
        let local_id = self.paths.local_id(&mut shared.endpoints, syn.local.ip());
        let backup = shared.endpoints.is_backup(syn.local.ip());
        let new = NewSubflow {
            id: self.draw_subflow_id(),
            tcp,
            stage: Stage::JoinAnswered { local_nonce: shared.rng.next_u32(), remote_nonce },
            initiator: false,
            local: syn.local,
            remote: syn.remote,
            local_id,
            remote_id,
            lane: 0,
            backup,
            backup_by_peer,
        };
        self.add_subflow(new, shared);
        SynVerdict::Accept
    }

    /// The SYN/ACK of the first subflow.
    pub(crate) fn on_capable_syn_ack(&mut self, now: Instant, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        if !segment.flags.ack {
            // Both ends open at once: neither is the one to choose.
            shared.mib.bump(Counter::SimultConnectFallback);
            self.fall_back(FallbackCause::SynAckWithoutCapable, 0, shared);
            return Verdict::Accept;
        }
        let answer = wire::options(segment.options).filter_map(Result::ok).find_map(|option| match option {
            MptcpOption::Capable(MpCapable::SynAck { version, flags, key }) => Some((version, flags, key)),
            _ => None,
        });
        let usable = answer.filter(|(version, flags, _)| {
            *version == wire::VERSION && !flags.extensibility && flags.crypto == CapableFlags::HMAC_SHA256
        });
        let Protocol::Negotiating(state) = &self.protocol else { return Verdict::Accept };
        self.sender.open_window(u64::from(segment.window));
        match usable {
            Some((_, flags, key)) => {
                shared.mib.bump(Counter::MPCapableSYNACKRX);
                shared.blackholes.passes(self.paths.remote.ip());
                self.paths.deny_remote_initial = flags.deny_join_initial;
                self.protocol = Protocol::Multipath(Multipath {
                    local: state.local,
                    remote: KeyMaterial::from(key),
                    checksum: state.checksum || flags.checksum,
                    introduced: false,
                    confirmed: false,
                    single_path: true,
                    has_acked: false,
                    has_confirmed: false,
                    maps_all: false,
                });
                self.subflows[0].stage = Stage::Established;
            }
            None => {
                self.note_blackhole(now, shared);
                self.fall_back(FallbackCause::SynAckWithoutCapable, 0, shared);
            }
        }
        Verdict::Accept
    }

    /// If it took a SYN without the option to get an answer, the next connections need not wait for that (RFC 8684 section
    /// 3.9.3).
    fn note_blackhole(&mut self, now: Instant, shared: &mut Shared) {
        let Stage::CapableSyn { sent } = self.subflows[0].stage else { return };
        let StackConfig { syn_retries_before_fallback, blackhole_scope, blackhole_timeout, .. } = shared.config;
        if sent > syn_retries_before_fallback + 1 {
            shared.mib.bump(Counter::Blackhole);
            shared.blackholes.found(now, self.paths.remote.ip(), blackhole_scope, blackhole_timeout);
        }
    }

    /// The third ACK of the first subflow, or the first data in its place.
    pub(crate) fn on_capable_ack(&mut self, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        let Protocol::Negotiating(state) = &self.protocol else { return Verdict::Accept };
        let local = state.local;
        let mut checksum = state.checksum;
        let mut remote = None;
        let mut mapping = None;
        let mut later = segment.offset > 0;
        for option in wire::options(segment.options).filter_map(Result::ok) {
            match option {
                MptcpOption::Capable(MpCapable::Ack { flags, sender_key, receiver_key, version })
                    if receiver_key == local.key && version == wire::VERSION =>
                {
                    remote = Some(sender_key);
                    checksum |= flags.checksum;
                }
                MptcpOption::Capable(MpCapable::AckData {
                    flags,
                    sender_key,
                    receiver_key,
                    version,
                    data_len,
                    checksum: sum,
                }) if receiver_key == local.key && version == wire::VERSION => {
                    remote = Some(sender_key);
                    checksum |= flags.checksum;
                    mapping = Some((data_len, sum));
                }
                MptcpOption::Dss(_) => later = true,
                _ => {}
            }
        }
        if remote.is_none() && later {
            // A later segment has overtaken the third ACK, whose MP_CAPABLE the first data repeats: that one decides.
            return Verdict::Drop;
        }
        self.sender.open_window(u64::from(segment.window));
        let Some(remote) = remote else {
            self.fall_back(FallbackCause::AckWithoutCapable, 0, shared);
            return Verdict::Accept;
        };
        shared.mib.bump(Counter::MPCapableACKRX);
        self.protocol = Protocol::Multipath(Multipath {
            local,
            remote: KeyMaterial::from(remote),
            checksum,
            // The third ACK bears both keys.
            introduced: true,
            confirmed: false,
            single_path: true,
            has_acked: false,
            has_confirmed: false,
            maps_all: false,
        });
        let first = &mut self.subflows[0];
        first.stage = Stage::Established;
        if first.connected {
            // It has been open since the SYN, whose data was taken: as after any other handshake, a first DSS.
            first.ack_wanted = true;
            if self.app.announced {
                shared.mib.bump(Counter::MPCurrEstab);
            }
        }
        if let Some((len, sum)) = mapping {
            return self.on_first_mapping(len, sum, segment, shared);
        }
        if segment.len > 0 {
            // Data behind a bare MP_CAPABLE has no mapping.
            return self.on_established(SubflowId(0), segment, shared);
        }
        Verdict::Accept
    }

    /// The mapping that MP_CAPABLE with data carries: it starts both sequence spaces.
    pub(crate) fn on_first_mapping(
        &mut self,
        len: u16,
        checksum: Option<u16>,
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let mapping = ReceivedMapping { offset: 0, pos: 0, len: u32::from(len), checksum, data_fin: false };
        self.take_mapping(SubflowId(0), mapping, segment, shared)
    }

    /// The SYN/ACK of a join that this side has started.
    pub(crate) fn on_join_syn_ack(
        &mut self,
        now: Instant,
        id: SubflowId,
        nonce: u32,
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let answer = wire::options(segment.options).filter_map(Result::ok).find_map(|option| match option {
            MptcpOption::Join(MpJoin::SynAck { backup, addr_id, hmac, nonce }) => Some((backup, addr_id, hmac, nonce)),
            _ => None,
        });
        let keys = self.multipath().map(|state| (state.local.key, state.remote.key));
        let (Some((backup, remote_id, hmac, remote_nonce)), Some((local, remote)), true) =
            (answer, keys, segment.flags.ack)
        else {
            if let Some(subflow) = self.subflow_mut(id) {
                subflow.crossed = segment.flags.syn && !segment.flags.ack;
            }
            return self.refuse_join(id, shared);
        };
        shared.mib.bump(Counter::MPJoinSynAckRx);
        if !verify(&hmac, &truncate_64(&join_hmac(remote, local, remote_nonce, nonce))) {
            shared.mib.bump(Counter::MPJoinSynAckHMacFailure);
            return self.refuse_join(id, shared);
        }
        if backup {
            shared.mib.bump(Counter::MPJoinSynAckBackupRx);
        }
        let Some(subflow) = self.subflow_mut(id) else { return Verdict::Drop };
        subflow.backup_by_peer = backup;
        subflow.remote_id = remote_id;
        let remote_addr = subflow.remote;
        let hmac = truncate_160(&join_hmac(local, remote, nonce, remote_nonce));
        subflow.stage = Stage::PreEstablished(Box::new(ThirdAck { hmac, again: now + PRE_ESTABLISHED_WAIT, sent: 0 }));
        self.paths.remotes.observe(remote_id, remote_addr);
        Verdict::Accept
    }

    /// The third ACK of a join that the peer has started.
    pub(crate) fn on_join_ack(
        &mut self,
        id: SubflowId,
        nonces: (u32, u32),
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let (local_nonce, remote_nonce) = nonces;
        let proof = wire::options(segment.options).filter_map(Result::ok).find_map(|option| match option {
            MptcpOption::Join(MpJoin::Ack { hmac }) => Some(hmac),
            _ => None,
        });
        let expected = self
            .multipath()
            .map(|state| truncate_160(&join_hmac(state.remote.key, state.local.key, remote_nonce, local_nonce)));
        if proof.is_some() {
            shared.mib.bump(Counter::MPJoinAckRx);
        }
        match (proof, expected) {
            (Some(proof), Some(expected)) if verify(&proof, &expected) => {
                if let Some(subflow) = self.subflow_mut(id) {
                    subflow.stage = Stage::Established;
                    let (remote_id, remote) = (subflow.remote_id, subflow.remote);
                    self.paths.remotes.observe(remote_id, remote);
                }
                Verdict::Accept
            }
            _ => {
                shared.mib.bump(Counter::MPJoinAckHMacFailure);
                self.refuse_join(id, shared)
            }
        }
    }

    fn refuse_join(&mut self, id: SubflowId, shared: &mut Shared) -> Verdict {
        if let Some(subflow) = self.subflow_mut(id) {
            subflow.own_reset = Some(ResetReason::MptcpSpecific);
        }
        Verdict::Reset(reset_options(ResetReason::MptcpSpecific, shared))
    }
}
