//! What becomes of announcements and withdrawals, and of the subflows concerned (RFC 8684 sections 3.4 and 4).

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::wire::{AddAddr, AddAddrKind, AddrId, MptcpOption, RemoveAddr};
use mptcp_core::{
    ConnId, Counter, Endpoint, EndpointFlags, Event, Key, Limits, ResetReason, StackConfig, SubflowCloseReason, SubflowError,
    SubflowId, add_addr_hmac,
};
use tcp_adapter::OptionSpace;
use tcp_adapter::conformance::packet::{FIN, Packet, RST};

use super::log::{Log, Sent};
use crate::middlebox::{on_packets, subtypes};
use crate::tcp::Tcp;
use super::TCPS;
use super::world::{PORT, World, address, config};

const ADD_ADDR: u8 = 3;

/// Options that replace those of the next segment without payload that host 1 sends over the first link.
type Injected = Rc<RefCell<Option<MptcpOption>>>;

fn injector(world: &mut World) -> Injected {
    let injected = Injected::default();
    let next = injected.clone();
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 1
            && packet.payload.is_empty()
            && let Some(option) = next.borrow_mut().take()
        {
            packet.options = emitted(&option);
        }
        vec![packet]
    }));
    injected
}

fn emitted(option: &MptcpOption) -> Vec<u8> {
    let mut space = OptionSpace::new(OptionSpace::MAX);
    assert!(option.emit(&mut space));
    space.as_slice().to_vec()
}

/// Has host 1 say something to host 0.
fn say(world: &mut World, conns: [ConnId; 2], injected: &Injected, option: MptcpOption) {
    *injected.borrow_mut() = Some(option);
    world.send(0, conns[0], 100, false);
    world.run_for(Duration::from_millis(100));
    assert!(injected.borrow().is_none());
}

fn announcement(keys: [Key; 2], id: u8, addr: IpAddr, port: Option<u16>) -> MptcpOption {
    let hmac = add_addr_hmac(keys[1], keys[0], AddrId(id), addr, port);
    MptcpOption::AddAddr(AddAddr { addr_id: AddrId(id), addr, port, kind: AddAddrKind::Announce { hmac } })
}

fn removal(ids: &[u8]) -> MptcpOption {
    let ids: Vec<_> = ids.iter().map(|id| AddrId(*id)).collect();
    MptcpOption::RemoveAddr(RemoveAddr::new(&ids).unwrap())
}

fn retransmissions(world: &World, conn: ConnId) -> u64 {
    world.hosts[0].stack.subflows(conn)[0].tcp.unwrap().retransmissions
}

#[test]
fn duplicate_acknowledgements_with_a_signal_start_no_retransmission() {
    for signal in [true, false] {
        let mut world = World::simple(1, 1);
        let log = Log::watch(&mut world);
        let conns = world.open();
        world.send(0, conns[0], 10_000, false);
        world.run_for(Duration::from_secs(1));
        let template = log.of(1).last().unwrap().packet.clone();
        assert!(template.payload.is_empty());
        world.send(0, conns[0], 14_000, false);
        world.step(world.now + Duration::from_millis(1));
        for _ in 0..5 {
            let mut packet = template.clone();
            if signal {
                packet.options = vec![30, 3, 0x50, 1];
            }
            world.launch(1, 0, packet.to_frame());
        }
        world.run_for(Duration::from_secs(1));
        assert!(world.transferred(conns, false));
        // With selective acknowledgements, only those that tell of something new are duplicates (RFC 6675 section 2).
        let harmless = signal || TCPS == [Tcp::Native; 2];
        assert_eq!(retransmissions(&world, conns[0]) == 0, harmless, "signal: {signal}");
        assert_eq!(world.mib(0, Counter::MPPrioRx), if signal { 5 } else { 0 });
    }
}

#[test]
fn an_address_id_announced_with_another_port_is_joined_there_and_with_another_address_is_not() {
    let mut world = World::simple(2, 3);
    let injected = injector(&mut world);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let keys = log.keys();
    let announced = address(1, 1, true);
    say(&mut world, conns, &injected, announcement(keys, 9, announced, None));
    assert!(world.run_until(2, |world| world.subflows_up(0, conns[0]) == 2));
    say(&mut world, conns, &injected, announcement(keys, 9, announced, Some(PORT + 7)));
    assert!(world.run_until(2, |world| world.subflows_up(0, conns[0]) == 3));
    let remotes: Vec<_> = world.hosts[0].stack.subflows(conns[0]).iter().map(|subflow| subflow.remote).collect();
    let expected = [(address(1, 0, true), PORT), (announced, PORT), (announced, PORT + 7)];
    assert_eq!(remotes, expected.map(SocketAddr::from));
    say(&mut world, conns, &injected, announcement(keys, 9, address(1, 2, true), None));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.mib(0, Counter::AddAddrDrop), 1);
    assert_eq!(world.subflows_up(0, conns[0]), 3);
}

#[test]
fn a_repeated_announcement_says_the_same_and_an_id_is_removed_before_it_names_another_address() {
    let mut world = World::simple(3, 3);
    world.middleboxes[0] = Some(on_packets(|host, packet| {
        let lost = host == 1 && subtypes(&packet).contains(&ADD_ADDR);
        if lost { Vec::new() } else { vec![packet] }
    }));
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let signal = EndpointFlags { signal: true, ..EndpointFlags::default() };
    let first = world.endpoint(1, 1, true, signal);
    world.run_for(Duration::from_secs(20));
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, first).unwrap();
    world.run_for(Duration::from_secs(20));
    world.endpoint(1, 2, true, signal);
    world.run_for(Duration::from_secs(20));
    let mut bound: [Option<IpAddr>; 256] = [None; 256];
    let (mut announced, mut removed) = (0, 0);
    for option in log.of(1).iter().flat_map(Sent::options) {
        match option {
            MptcpOption::AddAddr(add) => {
                announced += 1;
                assert_eq!(*bound[usize::from(add.addr_id.0)].get_or_insert(add.addr), add.addr);
            }
            MptcpOption::RemoveAddr(remove) => {
                removed += 1;
                remove.iter().for_each(|id| bound[usize::from(id.0)] = None);
            }
            _ => {}
        }
    }
    assert_eq!((announced, removed), (8, 3));
    assert_eq!(bound.iter().flatten().collect::<Vec<_>>(), [&address(1, 2, true)]);
}

#[test]
fn an_unknown_address_id_is_ignored_and_one_option_removes_several() {
    let mut world = World::simple(4, 3);
    let injected = injector(&mut world);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    for link in 1..3 {
        world.endpoint(1, link, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    }
    assert!(world.run_until(2, |world| world.subflows_up(0, conns[0]) == 3));
    say(&mut world, conns, &injected, removal(&[77]));
    assert_eq!((world.mib(0, Counter::RmAddr), world.mib(0, Counter::RmAddrDrop)), (1, 1));
    let told =
        |world: &World| world.hosts[0].events.iter().filter(|event| matches!(event, Event::AddressRemoved(..))).count();
    assert_eq!(told(&world), 0);
    say(&mut world, conns, &injected, removal(&[2, 78, 1]));
    assert_eq!((world.mib(0, Counter::RmAddrDrop), told(&world)), (2, 2));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.subflows_up(0, conns[0]), 3, "their paths have answered");
}

#[test]
fn an_address_known_from_a_join_only_is_withdrawn_after_its_subflow_is_gone() {
    for withdrawn in [false, true] {
        let config = || StackConfig { subflow_timeout: Duration::from_secs(5), ..config() };
        let mut world = World::new(10, 2, [config(), config()]);
        let injected = injector(&mut world);
        let conns = world.open();
        world.send(0, conns[0], 1000, false);
        world.run_for(Duration::from_secs(1));
        let (now, remote) = (world.now, SocketAddr::new(address(1, 1, true), PORT));
        world.hosts[0].stack.create_subflow(now, conns[0], address(0, 1, true), remote, false).unwrap();
        assert!(world.run_until(2, |world| world.subflows_up(0, conns[0]) == 2));
        let id = world.hosts[0].stack.subflows(conns[0])[1].remote_addr_id;
        assert_ne!(id, AddrId(0));
        world.links[1].down = true;
        world.send(0, conns[0], 2_000_000, false);
        assert!(world.run_until(60, |world| world.hosts[0].stack.subflows(conns[0]).len() == 1));
        if withdrawn {
            say(&mut world, conns, &injected, removal(&[id.0]));
            assert!(world.saw(0, Event::AddressRemoved(conns[0], id)), "{:?}", world.hosts[0].events);
        }
        let before = world.mib(0, Counter::MPJoinSynTx);
        world.links[1].down = false;
        world.run_for(Duration::from_secs(60));
        assert_eq!(world.mib(0, Counter::MPJoinSynTx) == before, withdrawn);
        assert_eq!(world.subflows_up(0, conns[0]), if withdrawn { 1 } else { 2 });
    }
}

#[test]
fn a_withdrawn_path_is_asked_first_and_reset_only_if_it_is_silent() {
    for silent in [false, true] {
        let mut world = World::simple(5, 2);
        let injected = injector(&mut world);
        let log = Log::watch(&mut world);
        let conns = world.open();
        world.send(0, conns[0], 1000, false);
        world.endpoint(1, 1, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
        assert!(world.run_until(2, |world| world.subflows_up(0, conns[0]) == 2));
        world.run_for(Duration::from_secs(1));
        world.links[1].down = silent;
        log.clear();
        say(&mut world, conns, &injected, removal(&[1]));
        let asked = log.on(1, 0);
        assert!(
            matches!(&asked[..], [probe] if probe.packet.payload.is_empty() && !probe.packet.has(RST)),
            "{asked:?}"
        );
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.subflows_up(0, conns[0]), if silent { 1 } else { 2 });
        assert_eq!(world.mib(0, Counter::RmSubflow), u64::from(silent));
        assert_eq!(log.resets(1, 0), if silent { vec![Some(ResetReason::Unspecified)] } else { vec![] });
        assert!(log.resets(0, 0).is_empty(), "no other subflow is meant");
        let now = world.now;
        world.hosts[0].stack.set_limits(Limits { subflows: 9, add_addr_accepted: 9 });
        world.run_for(Duration::from_secs(60));
        assert!(world.now > now && world.mib(0, Counter::MPJoinSynTx) == 1, "not used for new subflows");
    }
}

#[test]
fn the_subflows_of_a_removed_endpoint_are_closed_by_fin_and_reset_if_that_fails() {
    for silent in [false, true] {
        let mut world = World::simple(6, 2);
        let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let endpoint = world.endpoint(0, 1, true, flags);
        let log = Log::watch(&mut world);
        let conns = world.open();
        assert!(world.run_until(5, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
        world.links[1].down = silent;
        log.clear();
        let now = world.now;
        world.hosts[0].stack.remove_endpoint(now, endpoint).unwrap();
        world.run_for(Duration::from_secs(30));
        let fins = |host: usize| log.on(1, host).iter().any(|sent| sent.packet.has(FIN));
        assert!(fins(0));
        assert_eq!(fins(1), !silent);
        assert_eq!(log.resets(1, 0).len(), usize::from(silent), "{:?}", log.resets(1, 0));
        assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 1);
        assert_eq!(world.hosts[1].stack.subflows(conns[1]).len(), 1);
        let normal = Event::SubflowClosed(conns[0], SubflowId(1), SubflowCloseReason::Normal);
        assert_eq!(world.saw(0, normal), !silent);
        world.send(0, conns[0], 100_000, true);
        world.send(1, conns[1], 100_000, true);
        assert!(world.run_until(30, |world| world.transferred(conns, true)));
    }
}

#[test]
fn the_last_subflow_that_works_is_not_closed_before_the_connection() {
    let mut world = World::simple(7, 2);
    let conns = world.open_mesh();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 2_000_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    let stack = &mut world.hosts[0].stack;
    assert_eq!(stack.close_subflow(now, conns[0], SubflowId(0)), Ok(()));
    assert_eq!(stack.close_subflow(now, conns[0], SubflowId(1)), Err(SubflowError::Needed));
    world.hosts[1].lazy = false;
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(1));
    // Whoever only receives cannot know what the other side still has.
    for host in 0..2 {
        let now = world.now;
        let last = world.hosts[host].stack.subflows(conns[host])[0].id;
        assert_eq!(world.hosts[host].stack.close_subflow(now, conns[host], last), Err(SubflowError::Needed));
    }
}

#[test]
fn removing_the_last_address_waits_until_its_subflow_is_not_needed() {
    for another in [false, true] {
        let mut world = World::simple(11, 2);
        let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let first = world.endpoint(0, 0, true, flags);
        let conns = world.open();
        world.hosts[1].lazy = true;
        world.send(0, conns[0], 400_000, false);
        world.run_for(Duration::from_secs(1));
        let now = world.now;
        world.hosts[0].stack.remove_endpoint(now, first).unwrap();
        world.run_for(Duration::from_secs(5));
        assert_eq!((world.mib(1, Counter::RmAddr), world.subflows_up(0, conns[0])), (0, 1));
        if !another {
            // Nor while either side may still have something to say.
            world.hosts[1].lazy = false;
            assert!(world.run_until(20, |world| world.transferred(conns, false)));
            world.run_for(Duration::from_secs(2));
            assert_eq!((world.mib(1, Counter::RmAddr), world.subflows_up(0, conns[0])), (0, 1));
        }
        world.endpoint(0, 1, true, flags);
        world.run_for(Duration::from_secs(2));
        assert!(world.mib(1, Counter::RmAddr) > 0);
        let left: Vec<_> = world.hosts[0].stack.subflows(conns[0]).iter().map(|subflow| subflow.local.ip()).collect();
        assert_eq!(left, [address(0, 1, true)]);
        world.hosts[1].lazy = false;
        world.send(0, conns[0], 0, true);
        world.send(1, conns[1], 0, true);
        assert!(world.run_until(20, |world| world.transferred(conns, true)));
    }
}

/// Who only receives has nothing that is not acknowledged, and its peer would take its FIN for a wish.
#[test]
fn a_receiver_without_its_address_keeps_the_last_subflow() {
    let mut world = World::simple(32, 1);
    let first = world.endpoint(1, 0, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    let conns = world.open();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 2_000_000, true);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, first).unwrap();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.subflows_up(1, conns[1]), 1);
    world.hosts[1].lazy = false;
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn what_is_not_acknowledged_at_the_close_gets_another_subflow_if_the_last_is_gone() {
    let mut world = World::simple(33, 2);
    let conns = world.open();
    world.middleboxes[0] = Some(on_packets(|host, packet: Packet| {
        let lost = host == 0 && !packet.payload.is_empty();
        if lost { Vec::new() } else { vec![packet] }
    }));
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 0, true);
    world.run_for(Duration::from_secs(1));
    world.endpoint(1, 1, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    world.run_for(Duration::from_secs(2));
    let now = world.now;
    world.hosts[1].stack.close_subflow(now, conns[1], SubflowId(0)).unwrap();
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn an_endpoint_that_comes_back_while_its_removal_waits_is_kept() {
    let mut world = World::simple(12, 1);
    let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
    let first = world.endpoint(0, 0, true, flags);
    let conns = world.open();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 400_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    world.hosts[0].stack.remove_endpoint(now, first).unwrap();
    world.run_for(Duration::from_secs(1));
    world.endpoint(0, 0, true, flags);
    world.hosts[1].lazy = false;
    world.run_for(Duration::from_secs(20));
    assert!(world.transferred(conns, false));
    assert_eq!((world.mib(1, Counter::RmAddr), world.subflows_up(0, conns[0])), (0, 1));
}

#[test]
fn an_id_that_is_used_again_at_once_is_removed_before_it_names_another_address() {
    let mut world = World::simple(13, 3);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let signal = EndpointFlags { signal: true, ..EndpointFlags::default() };
    let first = world.endpoint(1, 1, true, signal);
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
    // All other ids have been in use in the meantime.
    for _ in 0..254 {
        let other = world.endpoint(1, 2, true, EndpointFlags::default());
        let now = world.now;
        world.hosts[1].stack.remove_endpoint(now, other).unwrap();
    }
    world.run_for(Duration::from_secs(2));
    log.clear();
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, first).unwrap();
    assert_eq!(world.endpoint(1, 2, true, signal), first);
    let remote = SocketAddr::new(address(0, 0, true), world.hosts[0].stack.info(conns[0]).unwrap().local.port());
    let early = world.hosts[1].stack.create_subflow(now, conns[1], address(1, 2, true), remote, false);
    assert_eq!(early, Err(SubflowError::IdTaken(address(1, 2, true))));
    world.run_for(Duration::from_secs(20));
    let said: Vec<_> = log.of(1).iter().flat_map(Sent::options).collect();
    let removal = |option: &MptcpOption| matches!(option, MptcpOption::RemoveAddr(_));
    let announced = |option: &MptcpOption| matches!(option, MptcpOption::AddAddr(_));
    assert_eq!(said.iter().filter(|option| removal(option)).count(), 1, "not on the subflow that is closed");
    assert!(said.iter().rposition(removal) < said.iter().position(announced), "{said:?}");
    let mut remotes: Vec<_> = world.hosts[0].stack.subflows(conns[0]).iter().map(|known| known.remote.ip()).collect();
    remotes.sort();
    assert_eq!(remotes, [address(1, 0, true), address(1, 2, true)]);
}

#[test]
fn addresses_belong_to_one_connection_and_those_of_the_first_subflow_are_shown_for_ever() {
    let mut world = World::simple(8, 2);
    let first = world.open();
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.hosts[1].flows.len() == 2));
    let second = [client, world.server_conn().unwrap()];
    for conns in [first, second] {
        world.send(0, conns[0], 1000, false);
    }
    world.run_for(Duration::from_secs(1));
    let port = world.hosts[0].stack.info(client).unwrap().local.port();
    world.middleboxes[0] = Some(on_packets(move |_, packet: Packet| {
        let hidden = subtypes(&packet).contains(&ADD_ADDR) && packet.destination.port() == port;
        if hidden { Vec::new() } else { vec![packet] }
    }));
    world.endpoint(1, 1, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    assert!(world.run_until(5, |world| world.subflows_up(0, first[0]) == 2));
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.subflows_up(0, second[0]), 1);

    let shown = |world: &World| {
        [0, 1].map(|host| world.hosts[host].stack.info(first[host]).map(|info| (info.local, info.remote)))
    };
    let before = shown(&world);
    let now = world.now;
    world.hosts[0].stack.close_subflow(now, first[0], SubflowId(0)).unwrap();
    assert!(world.run_until(5, |world| (0..2).all(|host| world.hosts[host].stack.subflows(first[host]).len() == 1)));
    assert_eq!(shown(&world), before);
    assert_ne!(Some(world.hosts[0].stack.subflows(first[0])[0].remote), before[0].map(|(_, remote)| remote));
}

#[test]
fn attempts_to_join_what_refuses_are_not_repeated() {
    let few = || StackConfig { limits: Limits { subflows: 0, add_addr_accepted: 0 }, ..config() };
    let mut world = World::new(9, 2, [config(), few()]);
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.mib(1, Counter::MPJoinRejected), 1);
    assert_eq!(world.subflows_up(0, conns[0]), 1);
}

/// What a listening host with two networks does whose links lose their carriers in turn.
#[test]
fn the_first_address_is_announced_again_once_it_is_back() {
    let mut world = World::simple(31, 2);
    let signal = EndpointFlags { signal: true, ..EndpointFlags::default() };
    let first = world.endpoint(1, 0, true, signal);
    let second = world.endpoint(1, 1, true, signal);
    let conns = world.open();
    assert!(world.run_until(5, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
    world.send(0, conns[0], 200_000, false);
    assert!(world.run_until(30, |world| world.transferred(conns, false)));
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, first).unwrap();
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 1));
    world.run_for(Duration::from_secs(5));
    world.endpoint(1, 0, true, signal);
    assert!(world.run_until(10, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
    let announced = Event::AddressAnnounced(conns[0], AddrId(0), address(1, 0, true), None);
    assert!(world.saw(0, announced), "{:?}", world.hosts[0].events);
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, second).unwrap();
    world.send(0, conns[0], 200_000, true);
    world.send(1, conns[1], 200_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    world.close_all();
}

/// Its option and TCP's timestamps have no room beside each other.
#[test]
fn the_longest_announcement_arrives() {
    let mut world = World::simple(17, 2);
    let flags = EndpointFlags { signal: true, ..EndpointFlags::default() };
    let endpoint = Endpoint { port: Some(6001), ..Endpoint::new(address(1, 1, false), flags) };
    world.hosts[1].stack.add_endpoint(endpoint).unwrap();
    let conns = world.open();
    let told = |event: &Event| {
        matches!(event, Event::AddressAnnounced(conn, _, addr, Some(6001)) if *conn == conns[0] && *addr == address(1, 1, false))
    };
    assert!(world.run_until(5, |world| world.hosts[0].events.iter().any(told)), "{:?}", world.hosts[0].events);
    assert_eq!(world.mib(1, Counter::AddAddrTx), 1);
}
