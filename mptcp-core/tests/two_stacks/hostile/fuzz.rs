//! Random options on an established connection, many of them nearly right.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mptcp_core::wire::{
    AddAddr, AddAddrKind, AddrId, Dss, DssMapping, MpCapable, MpFail, MpFastclose, MpJoin, MpPrio, MpTcprst,
    MptcpOption, RemoveAddr, ResetReason, VERSION, WireSeq,
};
use mptcp_core::{Key, Token, add_addr_hmac};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tcp_adapter::OptionSpace;
use tcp_adapter::conformance::packet::{FIN, Packet, RST, SYN};

use super::attacker::{Attacker, OWN_KEY, Raw, flags, options, raw_option};
use super::{beside_a_good_connection, good_connection_is_unharmed};
use super::super::world::{World, config};

const CASES: u32 = 20_000;

/// By then the victim has acknowledged what it took, in milliseconds.
const DELAYED_ACK: u64 = 15;

#[test]
fn random_options_neither_crash_nor_disturb_others() {
    let mut random = StdRng::seed_from_u64(2024);
    let (mut world, conns) = beside_a_good_connection(30, config());
    let attacker = Attacker::new(&mut world);
    let mut port = 1024;
    let mut raw = open_confirmed(&attacker, &mut world, port);
    let (mut opened, mut fallen_back) = (1, 0);
    for case in 0..CASES {
        if case % 100 == 0 {
            world.send(0, conns[0], 10_000, false);
            world.send(1, conns[1], 10_000, false);
        }
        let payload: Vec<u8> = match random.random_bool(0.5) {
            true => (0..random.random_range(1..300)).map(|_| random.random()).collect(),
            false => Vec::new(),
        };
        let mut packet = raw.segment(random_area(&mut random, &raw, payload.len()), &payload);
        if random.random_bool(0.1) {
            packet.seq = packet.seq.wrapping_add(random.random_range(0..600)).wrapping_sub(300);
        }
        if random.random_bool(0.01) {
            packet.flags |= [FIN, RST, SYN][random.random_range(0..3)];
        }
        let wait = if random.random_bool(0.1) { random.random_range(1..3000) } else { DELAYED_ACK };
        let alive = send_and_wait(&attacker, &mut world, &mut raw, &packet, wait);
        let info = world.hosts[1].stack.info(raw.conn);
        let bound = config().recv_buffer_max + config().send_buffer;
        assert!(world.hosts[1].stack.memory_held() <= 2 * bound, "case {case}");
        assert!(world.hosts[1].stack.table_sizes().2 <= 3 + usize::from(config().limits.subflows), "case {case}");
        let plain = info.as_ref().is_some_and(|info| info.fallback.is_some());
        let over = !alive || packet.flags & (FIN | RST) != 0 || info.is_none() || random.random_bool(0.01);
        if over || (plain && random.random_bool(0.2)) {
            fallen_back += u32::from(plain);
            raw.forget(&mut world);
            port += 1;
            opened += 1;
            raw = open_confirmed(&attacker, &mut world, port);
        }
    }
    assert!(opened > 100 && fallen_back > 100 && opened < CASES / 4, "{opened} connections, {fallen_back} fell back");
    raw.forget(&mut world);
    assert!(world.run_until(30, |world| world.transferred(conns, false)));
    good_connection_is_unharmed(world, conns);
}

/// A connection on which data was mapped, so that it speaks MPTCP for good unless it is told otherwise.
fn open_confirmed(attacker: &Attacker, world: &mut World, port: u16) -> Raw {
    let mut raw = attacker.open(world, port);
    world.flow(1, raw.conn).to_send = 5000;
    let mapping = DssMapping { dsn: WireSeq::Long(raw.first_dsn()), ssn: raw.ssn(), len: 1, checksum: None };
    let first = Dss { data_ack: Some(WireSeq::Long(raw.data_ack())), mapping: Some(mapping), data_fin: false };
    let packet = raw.segment(options(&[MptcpOption::Dss(first)]), &[0]);
    assert!(send_and_wait(attacker, world, &mut raw, &packet, DELAYED_ACK));
    raw
}

/// Sends a segment and takes in what comes back within so many milliseconds; false if that was a RST.
fn send_and_wait(attacker: &Attacker, world: &mut World, raw: &mut Raw, packet: &Packet, wait: u64) -> bool {
    attacker.launch(world, packet);
    world.run_for(Duration::from_millis(wait));
    raw.follow(&attacker.replies())
}

/// An area of options: noise, or options that make sense but for some bits.
fn random_area(random: &mut StdRng, raw: &Raw, payload: usize) -> Vec<u8> {
    if random.random_bool(0.1) {
        return (0..random.random_range(0..=40)).map(|_| random.random::<u8>()).collect();
    }
    if random.random_bool(0.1) {
        let noise: Vec<u8> = (0..37).map(|_| random.random()).collect();
        return raw_option(random.random(), random.random_range(0..16), noise.into_iter());
    }
    let mut space = OptionSpace::new(OptionSpace::MAX);
    for _ in 0..random.random_range(1..4) {
        let option = random_option(random, raw, payload);
        let copies = if random.random_bool(0.1) { 2 } else { 1 };
        for _ in 0..copies {
            // What does not fit is left out.
            let _ = option.emit(&mut space);
        }
    }
    let mut area = space.as_slice().to_vec();
    if random.random_bool(0.4) && !area.is_empty() {
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..area.len());
            area[at] ^= 1 << random.random_range(0..8);
        }
    }
    area
}

/// A number that is right, a little off, or anything.
fn near(random: &mut StdRng, right: u64) -> u64 {
    match random.random_range(0..10) {
        0 => random.random(),
        1 => right ^ 1 << random.random_range(0..64),
        2 | 3 => right.wrapping_add(random.random_range(0..2000)).wrapping_sub(1000),
        _ => right,
    }
}

fn wire_seq(random: &mut StdRng, right: u64) -> WireSeq {
    let number = near(random, right);
    if random.random_bool(0.3) { WireSeq::Short(number as u32) } else { WireSeq::Long(number) }
}

fn random_option(random: &mut StdRng, raw: &Raw, payload: usize) -> MptcpOption {
    match random.random_range(0..24) {
        0..3 => MptcpOption::Capable(random_capable(random, raw, payload)),
        3 => MptcpOption::Join(MpJoin::Syn {
            backup: random.random(),
            addr_id: AddrId(random.random()),
            token: Token(near(random, raw.victim_key.token().0.into()) as u32),
            nonce: random.random(),
        }),
        4 => MptcpOption::Join(MpJoin::Ack { hmac: random.random() }),
        5..8 => MptcpOption::AddAddr(random_announcement(random, raw)),
        8 | 9 => {
            let ids: Vec<AddrId> = (0..random.random_range(1..5)).map(|_| AddrId(random.random_range(0..20))).collect();
            MptcpOption::RemoveAddr(RemoveAddr::new(&ids).unwrap())
        }
        10 => MptcpOption::Prio(MpPrio { backup: random.random() }),
        11 if random.random_bool(0.3) => MptcpOption::Fail(MpFail { dsn: near(random, raw.first_dsn()) }),
        12 => {
            let receiver_key = Key(raw.victim_key.0 ^ random.random_range(1..=u64::MAX));
            MptcpOption::Fastclose(MpFastclose { receiver_key })
        }
        13 => MptcpOption::Tcprst(MpTcprst { transient: random.random(), reason: ResetReason::MptcpSpecific }),
        _ => MptcpOption::Dss(random_dss(random, raw, payload)),
    }
}

fn random_capable(random: &mut StdRng, raw: &Raw, payload: usize) -> MpCapable {
    let receiver_key = Key(near(random, raw.victim_key.0));
    match random.random_range(0..3) {
        0 => MpCapable::Syn { version: VERSION, flags: flags() },
        1 => MpCapable::Ack { version: VERSION, flags: flags(), sender_key: OWN_KEY, receiver_key },
        _ => MpCapable::AckData {
            version: VERSION,
            flags: flags(),
            sender_key: OWN_KEY,
            receiver_key,
            data_len: near(random, payload as u64) as u16,
            checksum: random.random_bool(0.2).then(|| random.random()),
        },
    }
}

fn random_announcement(random: &mut StdRng, raw: &Raw) -> AddAddr {
    let addr_id = AddrId(random.random_range(0..20));
    let addr = Ipv4Addr::new(10, 0, 0, random.random_range(96..112));
    let addr = if random.random_bool(0.8) { IpAddr::V4(addr) } else { IpAddr::V6(addr.to_ipv6_mapped()) };
    let port = random.random_bool(0.5).then(|| random.random());
    let hmac = add_addr_hmac(OWN_KEY, raw.victim_key, addr_id, addr, port);
    let kind = if random.random_bool(0.2) { AddAddrKind::Echo } else { AddAddrKind::Announce { hmac } };
    AddAddr { addr_id, addr, port, kind }
}

fn random_dss(random: &mut StdRng, raw: &Raw, payload: usize) -> Dss {
    let data_ack = random.random_bool(0.8).then(|| wire_seq(random, raw.data_ack()));
    let stream = raw.first_dsn().wrapping_add(u64::from(raw.ssn().wrapping_sub(1)));
    // A mapping of no bytes is infinite, and ends multipath.
    let mapping = random.random_bool(if payload > 0 { 0.9 } else { 0.02 }).then(|| DssMapping {
        dsn: wire_seq(random, stream),
        ssn: near(random, raw.ssn().into()) as u32,
        len: near(random, payload as u64) as u16,
        checksum: random.random_bool(0.05).then(|| random.random()),
    });
    Dss { data_ack, mapping, data_fin: random.random_bool(0.05) }
}
