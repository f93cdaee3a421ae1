//! Many segments that each look acceptable.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mptcp_core::wire::{
    AddAddr, AddAddrKind, AddrId, Dss, MpCapable, MpJoin, MpPrio, MptcpOption, RemoveAddr, VERSION, WireSeq,
};
use mptcp_core::{
    Counter, Event, Limits, ListenConfig, ResetReason, StackConfig, Token, add_addr_hmac, join_hmac, truncate_160,
};
use tcp_adapter::conformance::packet::{ACK, RST, SYN};

use super::attacker::{Attacker, OWN_KEY, Raw, flags, options, reset_reason, segment};
use super::{beside_a_good_connection, good_connection_is_unharmed};
use super::super::world::{World, config};

#[test]
fn syns_fill_no_more_than_the_backlog() {
    let (mut world, conns) = beside_a_good_connection(1, config());
    let attacker = Attacker::new(&mut world);
    let before = world.hosts[1].stack.table_sizes();
    for number in 0..20_000_u32 {
        let port = u16::try_from(1024 + number % 50_000).unwrap();
        let syn = MptcpOption::Capable(MpCapable::Syn { version: VERSION, flags: flags() });
        attacker.launch(&mut world, &segment(port, SYN, [number, 0], options(&[syn])));
        if number % 1000 == 0 {
            world.run_for(Duration::from_millis(1));
        }
    }
    world.run_for(Duration::from_millis(1));
    let backlog = ListenConfig::default().backlog;
    let during = world.hosts[1].stack.table_sizes();
    assert_eq!((during.0 - before.0, during.1 - before.1, during.2 - before.2), (backlog, backlog, backlog));
    // They time out, and others can connect again.
    world.run_for(Duration::from_secs(70));
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
    let late = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(late))));
    good_connection_is_unharmed(world, conns);
}

#[test]
fn joins_with_a_stolen_token_fill_no_more_than_their_bound() {
    let limits = Limits { subflows: 32, add_addr_accepted: 8 };
    let (mut world, conns) = beside_a_good_connection(2, StackConfig { limits, ..config() });
    let attacker = Attacker::new(&mut world);
    let token = Token(world.hosts[1].stack.info(conns[1]).unwrap().local_token.unwrap());
    let before = world.hosts[1].stack.table_sizes();
    let mut answered = 0;
    for port in 2000..7000 {
        for answer in attacker.join(&mut world, port, token, 1) {
            if answer.has(SYN | ACK) && answer.destination.port() == port {
                answered += 1;
            } else if answer.has(RST) {
                assert_eq!(reset_reason(&answer), Some(ResetReason::LackOfResources));
            }
        }
    }
    let half_open = StackConfig::default().max_half_open_joins;
    assert_eq!(answered, half_open);
    assert_eq!(world.mib(1, Counter::MPJoinRejected), 5000 - half_open as u64);
    assert_eq!(world.hosts[1].stack.table_sizes().2, before.2 + half_open);
    world.run_for(Duration::from_secs(70));
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
    good_connection_is_unharmed(world, conns);
}

#[test]
fn joins_without_the_keys_are_refused() {
    let (mut world, conns) = beside_a_good_connection(3, config());
    let attacker = Attacker::new(&mut world);
    let token = Token(world.hosts[1].stack.info(conns[1]).unwrap().local_token.unwrap());
    let before = world.hosts[1].stack.table_sizes();
    for port in 2000..4000 {
        let answers = attacker.join(&mut world, port, Token(token.0 ^ u32::from(port)), 1);
        assert_eq!(answers.len(), 1);
        assert_eq!(reset_reason(&answers[0]), Some(ResetReason::MptcpSpecific));
    }
    assert_eq!(world.mib(1, Counter::MPJoinNoTokenFound), 2000);
    for port in 2000..4000 {
        let answers = attacker.join(&mut world, port, token, 1);
        let [seq, ack] = [answers[0].ack, answers[0].seq.wrapping_add(1)];
        let hmac = truncate_160(&join_hmac(OWN_KEY, OWN_KEY, u32::from(port), 1));
        let guess = options(&[MptcpOption::Join(MpJoin::Ack { hmac })]);
        let answers = attacker.send(&mut world, &segment(port, ACK, [seq, ack], guess));
        assert_eq!(reset_reason(&answers[0]), Some(ResetReason::MptcpSpecific));
    }
    assert_eq!(world.mib(1, Counter::MPJoinAckHMacFailure), 2000);
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
    good_connection_is_unharmed(world, conns);
}

fn announce(raw: &Raw, number: u32, genuine: bool) -> MptcpOption {
    // Few ids, so that addresses and ports of one id change; few addresses, so that ids meet the same one.
    let addr_id = AddrId((number % 40) as u8);
    let addr = IpAddr::V4(Ipv4Addr::new(10, 0, (number / 7 % 2) as u8, 100 + (number % 31) as u8));
    let port = (!number.is_multiple_of(3)).then_some((number % 5003) as u16);
    let mut hmac = add_addr_hmac(OWN_KEY, raw.victim_key, addr_id, addr, port);
    hmac[7] ^= u8::from(!genuine);
    MptcpOption::AddAddr(AddAddr { addr_id, addr, port, kind: AddAddrKind::Announce { hmac } })
}

#[test]
fn announcements_by_others_than_the_peer_do_nothing() {
    let (mut world, conns) = beside_a_good_connection(4, config());
    let attacker = Attacker::new(&mut world);
    let mut raw = attacker.open(&mut world, 2000);
    let before = world.hosts[1].stack.table_sizes();
    for number in 0..5000 {
        let packet = raw.segment(options(&[announce(&raw, number, false)]), &[]);
        let replies = attacker.send(&mut world, &packet);
        assert!(raw.follow(&replies));
    }
    assert_eq!(world.mib(1, Counter::AddAddrHMacFailure), 5000);
    assert_eq!(world.mib(1, Counter::AddAddr) + world.mib(1, Counter::EchoAddTx), 0);
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
    good_connection_is_unharmed(world, conns);
}

#[test]
fn announcements_by_the_peer_lead_to_a_bounded_number_of_joins() {
    let (mut world, conns) = beside_a_good_connection(5, config());
    let attacker = Attacker::new(&mut world);
    let mut raw = attacker.open(&mut world, 2000);
    // A DSS, from which on subflows may be added.
    let dss = Dss { data_ack: Some(WireSeq::Long(raw.data_ack())), mapping: None, data_fin: false };
    attacker.send(&mut world, &raw.segment(options(&[MptcpOption::Dss(dss)]), &[]));
    let before = world.hosts[1].stack.table_sizes();
    let extra = usize::from(config().limits.subflows);
    for number in 0..5000 {
        let option = match number % 4 {
            // An id is withdrawn now and then, and its address announced under another one.
            3 => MptcpOption::RemoveAddr(RemoveAddr::new(&[AddrId((number % 256) as u8), AddrId(200)]).unwrap()),
            _ => announce(&raw, number, true),
        };
        let packet = raw.segment(options(&[option]), &[]);
        let replies = attacker.send(&mut world, &packet);
        assert!(raw.follow(&replies));
        assert!(world.hosts[1].stack.table_sizes().2 <= before.2 + extra);
        assert!(world.hosts[1].stack.subflows(raw.conn).len() <= 1 + extra);
    }
    assert_eq!(world.mib(1, Counter::AddAddr), 3750);
    assert!(world.mib(1, Counter::AddAddrDrop) > 0, "ids that name another address than before, and too many");
    let attempts = |world: &World| {
        let lost = |event: &&Event| matches!(event, Event::SubflowClosed(conn, ..) if *conn == raw.conn);
        world.hosts[1].events.iter().filter(lost).count()
    };
    world.run_for(Duration::from_secs(1000));
    let made = attempts(&world);
    world.run_for(Duration::from_secs(1000));
    assert_eq!(attempts(&world), made, "given up");
    assert!(made > 0 && world.hosts[1].stack.table_sizes() == before, "{made}");
    good_connection_is_unharmed(world, conns);
}

#[test]
fn withdrawals_and_priorities_of_what_is_not_there_do_nothing() {
    let (mut world, conns) = beside_a_good_connection(6, config());
    let attacker = Attacker::new(&mut world);
    let mut raw = attacker.open(&mut world, 2000);
    let before = world.hosts[1].stack.table_sizes();
    for number in 0..2000_u32 {
        let ids: Vec<AddrId> = (0..number % 37 + 1).map(|id| AddrId((1 + (number + id * 7) % 255) as u8)).collect();
        let remove = MptcpOption::RemoveAddr(RemoveAddr::new(&ids).unwrap());
        // With an address id, as in version 0: the priority of another subflow.
        let prio_of_other = vec![30, 4, 0x51, (number % 256) as u8];
        let prio = options(&[MptcpOption::Prio(MpPrio { backup: number.is_multiple_of(2) })]);
        for bytes in [options(&[remove]), prio_of_other, prio] {
            let replies = attacker.send(&mut world, &raw.segment(bytes, &[]));
            assert!(raw.follow(&replies));
        }
    }
    assert_eq!(world.mib(1, Counter::RmAddr), 2000);
    assert!(world.mib(1, Counter::RmAddrDrop) > 2000);
    assert_eq!(world.mib(1, Counter::MPPrioRx), 2000);
    assert_eq!(world.mib(1, Counter::OptionMalformed), 2000);
    for subflow in world.hosts[1].stack.subflows(conns[1]) {
        assert!(!subflow.backup_by_peer && !subflow.backup, "only the subflow that carries MP_PRIO is meant");
    }
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
    good_connection_is_unharmed(world, conns);
}
