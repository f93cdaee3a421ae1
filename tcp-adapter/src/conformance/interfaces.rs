//! Interfaces, addresses and routes.

use std::time::Duration;

use bytes::BytesMut;

use super::Factory;
use super::hook::TestHook;
use super::packet::{ACK, Packet, SYN};
use crate::{
    ConnectError, ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, MacAddr, Route, TcpEvent,
    TcpId, TcpStack,
};

const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const OWN: [u8; 6] = [2, 0, 0, 0, 1, 0];

fn interface(index: u8, routes: Vec<Route>) -> InterfaceConfig {
    InterfaceConfig {
        mac: MacAddr([2, 0, 0, 0, index, 0]),
        mtu: 1500,
        addrs: vec![IpCidr { addr: [10, 0, index, 1].into(), prefix: 24 }],
        routes,
    }
}

fn frames(stack: &mut dyn TcpStack, now: Instant) -> Vec<(InterfaceId, Frame)> {
    let mut frames = Vec::new();
    stack.poll_transmit(now, &mut TestHook::default(), &mut |interface, frame| frames.push((interface, frame)));
    frames
}

/// A connection leaves by the interface of its source address, over the router of that interface, and ignores
/// what comes in elsewhere.
pub fn connections_keep_to_their_interface(factory: Factory) {
    let mut stack = factory(90);
    let mut now = Instant::from_millis(5_000);
    let (conn, answer) = connect_over_router(&mut *stack, now);
    let mut hook = TestHook::default();
    now += Duration::from_millis(1);
    stack.handle_frame(now, InterfaceId(0), answer.to_frame(), &mut hook);
    let elsewhere = Packet { link: [ROUTER, ROUTER], ..answer.clone() };
    stack.handle_frame(now, InterfaceId(1), elsewhere.to_frame(), &mut hook);
    assert!(hook.segments.is_empty(), "a frame for somebody else was taken");
    stack.handle_frame(now, InterfaceId(1), answer.to_frame(), &mut hook);
    assert_eq!(hook.segments.len(), 1);
    let info = stack.info(conn).expect("open");
    assert!(info.established && info.interface == InterfaceId(1));
}

/// Everything that was received is acknowledged, although the router has to be asked for again in between.
pub fn acknowledgements_survive_resolution(factory: Factory) {
    let mut stack = factory(91);
    let mut now = Instant::from_millis(5_000);
    let (conn, answer) = connect_over_router(&mut *stack, now);
    let hook = &mut TestHook::default();
    stack.handle_frame(now, InterfaceId(1), answer.to_frame(), hook);
    assert!(matches!(&frames(&mut *stack, now)[..], [(_, frame)] if Packet::parse(frame).is_some()));
    // Nobody keeps the router's address for so long.
    now += Duration::from_secs(3600);
    let first = answer.seq.wrapping_add(1);
    for (seq, payload) in [(first.wrapping_add(10), vec![1; 10]), (first, vec![2; 5])] {
        let data = Packet { seq, flags: ACK, options: Vec::new(), payload, ..answer.clone() };
        stack.handle_frame(now, InterfaceId(1), data.to_frame(), hook);
        frames(&mut *stack, now);
    }
    now += Duration::from_millis(1);
    stack.handle_frame(now, InterfaceId(1), resolution(), hook);
    stack.ack_now(now, conn);
    let sent = frames(&mut *stack, now);
    let last = sent.iter().filter_map(|(_, frame)| Packet::parse(frame)).next_back().expect("an acknowledgement");
    assert_eq!(last.ack.wrapping_sub(first), 5);
}

/// A peer that has filled the window learns that it is open again, although the router had to be asked for meanwhile, so that answers were lost.
pub fn windows_survive_resolution(factory: Factory) {
    const PIECE: u16 = 1_000;
    let mut stack = factory(100);
    let mut now = Instant::from_millis(5_000);
    let (conn, answer) = connect_over_router(&mut *stack, now);
    let hook = &mut TestHook::default();
    stack.handle_frame(now, InterfaceId(1), answer.to_frame(), hook);
    let sent = frames(&mut *stack, now);
    let opening = sent.iter().find_map(|(_, frame)| Packet::parse(frame)).expect("an acknowledgement");
    // It is not scaled, as the peer has not offered that.
    let window = opening.window;
    // Nobody keeps the router's address for so long.
    now += Duration::from_secs(3600);
    let first = answer.seq.wrapping_add(1);
    let mut starts: Vec<u16> = (0..window).step_by(PIECE.into()).collect();
    // What comes out of order, and what fills the gap, is answered at once.
    let count = starts.len();
    starts.swap(count - 2, count - 1);
    for start in starts {
        let payload = vec![1; PIECE.min(window - start).into()];
        let seq = first.wrapping_add(start.into());
        let data = Packet { seq, flags: ACK, options: Vec::new(), payload, ..answer.clone() };
        stack.handle_frame(now, InterfaceId(1), data.to_frame(), hook);
        while stack.recv(conn).is_some() {}
        frames(&mut *stack, now);
    }
    now += Duration::from_millis(1);
    stack.handle_frame(now, InterfaceId(1), resolution(), hook);
    stack.ack_now(now, conn);
    let sent = frames(&mut *stack, now);
    let last = sent.iter().filter_map(|(_, frame)| Packet::parse(frame)).next_back().expect("an acknowledgement");
    assert_eq!(last.ack.wrapping_sub(first), u32::from(window));
    assert!(last.window >= window / 4, "a window of {} bytes is left of {window}, and all were read", last.window);
}

/// Where two interfaces have an address, a connection leaves by the one that it was bound to.
pub fn connections_leave_by_the_interface_that_they_are_bound_to(factory: Factory) {
    let mut stack = factory(92);
    let now = Instant::from_millis(5_000);
    for index in 0..2 {
        let mut config = interface(index, Vec::new());
        config.addrs = interface(0, Vec::new()).addrs;
        stack.add_interface(config);
    }
    let request = ConnectRequest { local: [10, 0, 0, 1].into(), local_port: None, remote: ([10, 0, 0, 7], 80).into() };
    for index in [1, 0] {
        let conn = stack.connect_by(now, InterfaceId(index), &request).expect("an address of the interface");
        assert_eq!(stack.info(conn).map(|info| info.interface), Some(InterfaceId(index)));
        let asked = frames(&mut *stack, now);
        assert!(asked.iter().any(|(interface, _)| interface.0 == index), "{asked:?}");
    }
    let foreign = ConnectRequest { local: [10, 0, 1, 1].into(), ..request };
    let refused = stack.connect_by(now, InterfaceId(1), &foreign);
    assert_eq!(refused, Err(ConnectError::NotLocal(foreign.local)));
    assert_eq!(stack.connect_by(now, InterfaceId(2), &request), Err(ConnectError::NotLocal(request.local)));
}

/// Addresses and routes come and go while the stack runs.
pub fn addresses_can_be_exchanged(factory: Factory) {
    let mut stack = factory(93);
    let mut now = Instant::from_millis(5_000);
    stack.add_interface(interface(1, Vec::new()));
    let old = ConnectRequest { local: [10, 0, 1, 1].into(), local_port: None, remote: ([192, 0, 2, 7], 80).into() };
    let new = ConnectRequest { local: [10, 0, 2, 1].into(), ..old };
    let near = ConnectRequest { remote: ([10, 0, 1, 7], 80).into(), ..old };
    assert!(stack.connect(now, &near).is_ok());
    frames(&mut *stack, now);
    assert_eq!(stack.connect(now, &new), Err(ConnectError::NotLocal(new.local)));
    let routes = vec![Route::default_via([10, 0, 2, 254].into())];
    assert!(stack.set_addresses(InterfaceId(0), interface(2, Vec::new()).addrs, routes.clone()));
    assert!(!stack.set_addresses(InterfaceId(1), Vec::new(), Vec::new()), "there is no such interface");
    let [config] = stack.interfaces() else { panic!("one interface") };
    assert_eq!((&config.addrs, &config.routes), (&interface(2, Vec::new()).addrs, &routes));
    assert_eq!(stack.connect(now, &near), Err(ConnectError::NotLocal(near.local)));
    // Questions for neighbours have a pace.
    now += Duration::from_secs(2);
    assert!(stack.connect(now, &new).is_ok());
    let asked = frames(&mut *stack, now);
    let for_router = |frame: &Frame| frame.head[12..14] == [0x08, 0x06] && frame.head[38..42] == [10, 0, 2, 254];
    assert!(asked.iter().any(|(_, frame)| for_router(frame)), "{asked:?}");
}

/// A connection whose route is taken away keeps quiet, and goes on by the next one.
pub fn connections_follow_the_routes(factory: Factory) {
    let mut stack = factory(94);
    let mut now = Instant::from_millis(5_000);
    let (conn, answer) = connect_over_router(&mut *stack, now);
    stack.handle_frame(now, InterfaceId(1), answer.to_frame(), &mut TestHook::default());
    frames(&mut *stack, now);
    let addrs = interface(1, Vec::new()).addrs;
    assert!(stack.set_addresses(InterfaceId(1), addrs.clone(), Vec::new()));
    stack.send(now, conn, bytes::Bytes::from_static(b"later"), 0).expect("room");
    assert!(frames(&mut *stack, now).iter().all(|(_, frame)| frame.head[12..14] == [0x08, 0x06]), "no route");
    now += Duration::from_secs(2);
    stack.handle_timeout(now, &mut TestHook::default());
    assert!(frames(&mut *stack, now).iter().all(|(_, frame)| frame.head[12..14] == [0x08, 0x06]), "still none");
    assert!(stack.set_addresses(InterfaceId(1), addrs, vec![Route::default_via([10, 0, 1, 253].into())]));
    // At once, or when what was lost is sent again.
    let mut asked = frames(&mut *stack, now);
    for _ in 0..20 {
        now += Duration::from_millis(500);
        stack.handle_timeout(now, &mut TestHook::default());
        asked.extend(frames(&mut *stack, now));
    }
    let for_other = |frame: &Frame| frame.head[12..14] == [0x08, 0x06] && frame.head[38..42] == [10, 0, 1, 253];
    assert!(asked.iter().any(|(_, frame)| for_other(frame)), "{asked:?}");
}

/// A connection whose address is taken away is not over, and what it has to send leaves once the address is back.
pub fn connections_outlive_their_address(factory: Factory) {
    let mut stack = factory(98);
    let mut now = Instant::from_millis(5_000);
    let (conn, answer) = connect_over_router(&mut *stack, now);
    let hook = &mut TestHook::default();
    stack.handle_frame(now, InterfaceId(1), answer.to_frame(), hook);
    frames(&mut *stack, now);
    let InterfaceConfig { addrs, routes, .. } = stack.interfaces()[1].clone();
    assert!(stack.set_addresses(InterfaceId(1), Vec::new(), routes.clone()));
    stack.send(now, conn, bytes::Bytes::from_static(b"later"), 0).expect("room");
    for _ in 0..10 {
        frames(&mut *stack, now);
        now += Duration::from_millis(500);
        stack.handle_timeout(now, hook);
    }
    while let Some(event) = stack.poll_event() {
        assert!(!matches!(event, TcpEvent::Closed(..)), "{event:?}");
    }
    assert!(stack.set_addresses(InterfaceId(1), addrs, routes));
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.extend(frames(&mut *stack, now));
        stack.handle_frame(now, InterfaceId(1), resolution(), hook);
        now += Duration::from_millis(500);
        stack.handle_timeout(now, hook);
    }
    let carries = |frame: &Frame| Packet::parse(frame).is_some_and(|packet| packet.payload == b"later");
    assert!(sent.iter().any(|(_, frame)| carries(frame)), "{sent:?}");
}

/// What the peer has asked for again is sent again, although the router has to be asked for first.
pub fn retransmissions_survive_resolution(factory: Factory) {
    let mut stack = factory(99);
    let mut now = Instant::from_millis(5_000);
    let (conn, answer) = connect_over_router(&mut *stack, now);
    let hook = &mut TestHook::default();
    stack.handle_frame(now, InterfaceId(1), answer.to_frame(), hook);
    frames(&mut *stack, now);
    // Nothing of it may wait to be sent: a window of it all, and no more of it than the window takes.
    let acknowledgement =
        Packet { seq: answer.seq.wrapping_add(1), flags: ACK, options: Vec::new(), window: 400, ..answer.clone() };
    stack.handle_frame(now, InterfaceId(1), acknowledgement.to_frame(), hook);
    let mut sent = Vec::new();
    for tag in 0..4 {
        stack.send(now, conn, bytes::Bytes::from(vec![7; 100]), tag).expect("room");
        sent.extend(frames(&mut *stack, now));
    }
    let payload = |frames: &[(InterfaceId, Frame)]| -> usize {
        frames.iter().filter_map(|(_, frame)| Packet::parse(frame)).map(|packet| packet.payload.len()).sum()
    };
    assert_eq!(payload(&sent), 400);
    // Addresses that are exchanged take the neighbours with them.
    let InterfaceConfig { addrs, routes, .. } = stack.interfaces()[1].clone();
    assert!(stack.set_addresses(InterfaceId(1), Vec::new(), routes.clone()));
    assert!(stack.set_addresses(InterfaceId(1), addrs, routes));
    now += Duration::from_millis(20);
    for _ in 0..3 {
        stack.handle_frame(now, InterfaceId(1), acknowledgement.to_frame(), hook);
        frames(&mut *stack, now);
    }
    // The router answers late, and no timer of a stack is due before.
    let mut again = Vec::new();
    for _ in 0..100 {
        now += Duration::from_millis(100);
        stack.handle_timeout(now, hook);
        stack.handle_frame(now, InterfaceId(1), resolution(), hook);
        again.extend(frames(&mut *stack, now));
        now += Duration::from_millis(2);
        stack.handle_timeout(now, hook);
        again.extend(frames(&mut *stack, now));
    }
    assert!(payload(&again) > 0, "nothing is sent again: {again:?}");
}

/// While there is no neighbour or no route, a stack wants to be served when it may ask again, and not all the time, whatever is overdue.
pub fn nothing_spins_without_a_way_to_the_peer(factory: Factory) {
    let start = Instant::from_millis(5_000);
    let hook = &mut TestHook::default();

    // Nobody answers for the router from the start.
    let mut stack = factory(95);
    stack.add_interface(interface(1, vec![Route::default_via([10, 0, 1, 254].into())]));
    let request = ConnectRequest { local: [10, 0, 1, 1].into(), local_port: None, remote: ([192, 0, 2, 7], 80).into() };
    stack.connect(start, &request).expect("a default route");
    assert_serves_rarely(&mut *stack, start, "a SYN without a neighbour");

    // The way leads over another router, whom nobody knows, or there is none any more; what was received is to be acknowledged, and there
    // is data.
    let unknown = vec![Route::default_via([10, 0, 1, 253].into())];
    for (seed, routes, what) in [(96, unknown, "without a neighbour"), (97, Vec::new(), "without a route")] {
        let mut stack = factory(seed);
        let mut now = start;
        let (conn, answer) = connect_over_router(&mut *stack, now);
        stack.handle_frame(now, InterfaceId(1), answer.to_frame(), hook);
        frames(&mut *stack, now);
        now += Duration::from_secs(5);
        assert!(stack.set_addresses(InterfaceId(1), interface(1, Vec::new()).addrs, routes));
        let data = Packet {
            seq: answer.seq.wrapping_add(1),
            flags: ACK,
            options: Vec::new(),
            payload: vec![1; 10],
            ..answer.clone()
        };
        stack.handle_frame(now, InterfaceId(1), data.to_frame(), hook);
        assert_serves_rarely(&mut *stack, now, &format!("an acknowledgement {what}"));
        now += Duration::from_secs(20);
        stack.send(now, conn, bytes::Bytes::from_static(b"answer"), 0).expect("room");
        assert_serves_rarely(&mut *stack, now, &format!("data {what}"));
    }
}

/// Drives a stack that hears nothing for ten seconds as a program would that sleeps until the time it is told.
fn assert_serves_rarely(stack: &mut dyn TcpStack, start: Instant, what: &str) {
    const MOST: usize = 100;
    let (mut now, mut turns) = (start, 0);
    while now < start + Duration::from_secs(10) {
        frames(stack, now);
        while stack.poll_event().is_some() {}
        let Some(deadline) = stack.poll_timeout() else { return };
        // Time passes while a program works.
        now = deadline.max(now + Duration::from_micros(1));
        stack.handle_timeout(now, &mut TestHook::default());
        turns += 1;
        assert!(turns <= MOST, "{what}: {turns} turns in {:?}, and the next one is due at {deadline:?}", now - start);
    }
}

/// Adds two interfaces, the second of which has a router, and connects over it: the connection, and the SYN-ACK
/// that it waits for.
fn connect_over_router(stack: &mut dyn TcpStack, now: Instant) -> (TcpId, Packet) {
    assert_eq!(stack.add_interface(interface(0, Vec::new())), InterfaceId(0));
    let routes = vec![Route::default_via([10, 0, 1, 254].into())];
    assert_eq!(stack.add_interface(interface(1, routes)), InterfaceId(1));
    assert_eq!(stack.interfaces().len(), 2);
    let request = ConnectRequest { local: [10, 0, 1, 1].into(), local_port: None, remote: ([192, 0, 2, 7], 80).into() };
    let conn = stack.connect(now, &request).expect("a default route");
    let asked = frames(stack, now);
    assert!(matches!(&asked[..], [(InterfaceId(1), frame)] if frame.head[12..14] == [0x08, 0x06]), "{asked:?}");
    assert_eq!(asked[0].1.head[38..42], [10, 0, 1, 254], "the router is asked for, not the destination");
    stack.handle_frame(now, InterfaceId(1), resolution(), &mut TestHook::default());
    let sent = frames(stack, now);
    let syn = match &sent[..] {
        [(InterfaceId(1), frame)] => Packet::parse(frame).expect("a SYN"),
        other => panic!("{other:?}"),
    };
    assert!(syn.has(SYN) && syn.link == [ROUTER, OWN]);
    assert_eq!(syn.destination, request.remote);
    let answer = Packet {
        link: [OWN, ROUTER],
        source: syn.destination,
        destination: syn.source,
        seq: 7_000,
        ack: syn.seq.wrapping_add(1),
        flags: SYN | ACK,
        window: 1_000,
        urgent: 0,
        ecn: 0,
        options: vec![2, 4, 5, 0xb4],
        payload: Vec::new(),
    };
    (conn, answer)
}

/// The router's answer to an ARP request (RFC 826).
fn resolution() -> Frame {
    let mut bytes = BytesMut::new();
    for part in [&OWN[..], &ROUTER, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &ROUTER, &[10, 0, 1, 254], &OWN, &[10, 0, 1, 1]] {
        bytes.extend_from_slice(part);
    }
    Frame::linear(bytes)
}
