//! SYNs that are answered without being remembered, while a listener's backlog is full (RFC 4987 section 3.6).
//!
//! MP_CAPABLE allows it: the third packet repeats both keys (RFC 8684 section 3.1). Ours is derived from the addresses by a secret
//! instead of drawn, so that it can be derived again and compared. MP_JOIN does not allow it, since its third packet does not repeat
//! the token; such a SYN is dropped and comes again.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;
use tcp_adapter::{OptionSpace, SynSegment, SynVerdict, TcpId};

use super::SocketManager;
use super::handshake::{CapableRequest, SynOptions, passive_open, read_syn, reset_options};
use super::shared::{KeyMaterial, Shared};
use crate::keys::Key;
use crate::mib::Counter;
use crate::wire::{self, CapableFlags, MpCapable, MptcpOption, ResetReason};

impl SocketManager {
    /// The options of the answer to a SYN of which nothing will be kept; false if it must not be answered.
    pub(super) fn answer_stateless(&mut self, syn: &SynSegment<'_>, space: &mut OptionSpace) -> bool {
        if self.is_full(syn) {
            // Who was answered would take the connection for open, and there is no room for it.
            self.shared.mib.bump(Counter::BacklogDrop);
            return false;
        }
        let shared = &mut self.shared;
        let request = match read_syn(syn, shared) {
            SynOptions::Plain => return true,
            SynOptions::Capable(request) => request,
            SynOptions::Join { .. } | SynOptions::Contradictory => return false,
        };
        if !shared.config.mptcp {
            return true;
        }
        let flags = CapableFlags {
            checksum: request.checksum || shared.config.checksum,
            extensibility: false,
            deny_join_initial: !shared.config.allow_join_initial_addr,
            crypto: CapableFlags::HMAC_SHA256,
        };
        let KeyMaterial { key, token, .. } = shared.derive_key(syn.local, syn.remote);
        if shared.tokens.find(token).is_some() {
            // No other key could be derived again: regular TCP (RFC 8684 section 3.1).
            return true;
        }
        (MptcpOption::Capable(MpCapable::SynAck { version: wire::VERSION, flags, key })).emit(space)
    }

    /// The third packet of a handshake whose SYN was answered so: the connection comes into being now.
    pub(super) fn resume(&mut self, tcp: TcpId, ack: &SynSegment<'_>) -> SynVerdict {
        if self.is_full(ack) {
            self.shared.mib.bump(Counter::BacklogDrop);
            return SynVerdict::Drop;
        }
        let Some(accepting) = ack.listener.and_then(|listener| self.listeners.get_mut(&listener)) else {
            return SynVerdict::Reset(OptionSpace::new(0));
        };
        let shared = &mut self.shared;
        let keys = wire::options(ack.options).filter_map(Result::ok).find_map(|option| match option {
            MptcpOption::Capable(
                MpCapable::Ack { flags, receiver_key, .. } | MpCapable::AckData { flags, receiver_key, .. },
            ) => Some((flags, receiver_key)),
            _ => None,
        });
        let derived = keys.map(|_| shared.derive_key(ack.local, ack.remote));
        let request = match (keys, derived) {
            (Some((flags, key)), Some(derived)) if key == derived.key => {
                Some(CapableRequest { checksum: flags.checksum, deny_join_initial: flags.deny_join_initial })
            }
            (Some(_), _) => return SynVerdict::Reset(reset_options(ResetReason::MptcpSpecific, shared)),
            (None, _) => None,
        };
        accepting.opening += 1;
        self.conns.insert(|id| {
            // A token that another connection happens to have leaves regular TCP, as a drawn one would after several attempts.
            let key = derived.filter(|derived| shared.tokens.register(derived.token, id));
            passive_open(id, tcp, ack, request, key, shared)
        });
        SynVerdict::Accept
    }

    /// Whether there is no room for another connection whose handshake is complete.
    fn is_full(&self, segment: &SynSegment<'_>) -> bool {
        let accepting = segment.listener.and_then(|listener| self.listeners.get(&listener));
        accepting.is_some_and(|accepting| accepting.ready.len() >= accepting.backlog)
            || self.conns.len() >= self.shared.config.max_connections
            || self.shared.memory_scarce()
    }
}

impl Shared {
    /// The key for a connection between these two, the same each time, and unknown to others. Its token names this core.
    fn derive_key(&mut self, local: SocketAddr, remote: SocketAddr) -> KeyMaterial {
        let (core, cores) = self.config.core;
        let rng = &mut self.rng;
        let secret = self.stateless_secret.get_or_insert_with(|| {
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            secret
        });
        let mut attempt: u32 = 0;
        loop {
            let mut mac = Hmac::<Sha256>::new(&padded(secret));
            for end in [local, remote] {
                match end.ip() {
                    IpAddr::V4(addr) => mac.update(&addr.octets()),
                    IpAddr::V6(addr) => mac.update(&addr.octets()),
                }
                mac.update(&end.port().to_be_bytes());
            }
            mac.update(&attempt.to_be_bytes());
            let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(mac.finalize().into_bytes());
            let material = KeyMaterial::from(Key(u64::from_be_bytes([a, b, c, d, e, f, g, h])));
            if material.token.0 % cores == core {
                return material;
            }
            attempt += 1;
        }
    }
}

/// A key of HMAC as long as the hash's block (RFC 2104 section 2).
fn padded(secret: &[u8; 32]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(secret);
    block.into()
}
