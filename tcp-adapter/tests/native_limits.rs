//! What the native engine keeps within limits: memory, and handshakes that are not finished.

use std::time::Duration;

use bytes::Bytes;
use tcp_adapter::conformance::packet::{ACK, Packet, SYN};
use tcp_adapter::conformance::wire::{Link, Pump, Wire, assert_pattern};
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::{CloseReason, SendError, TcpEvent, TcpId, TcpStack};

const MEMORY: usize = 1 << 20;

fn little_memory(seed: u64) -> Box<dyn TcpStack> {
    Box::new(NativeStack::new(NativeConfig { memory_limit: MEMORY, ..NativeConfig::default() }, seed))
}

/// Twenty connections that nobody reads hold no more than the limit together, and lose nothing.
#[test]
fn memory_of_all_connections_stays_within_the_limit() {
    const TOTAL: u64 = 400_000;
    let mut wire = Wire::new(little_memory, 1);
    wire.listen();
    let ids: Vec<_> = (0..20).map(|_| wire.open(true)).collect();
    wire.ends[1].reading = false;
    wire.set_links(Link { loss: 20, ..Link::default() });
    for [first, _] in &ids {
        wire.ends[0].pumps.insert(*first, Pump::new(TOTAL));
    }
    let mut most = 0;
    wire.run_until(Duration::from_secs(60), |wire| {
        let held = |&[_, second]: &[TcpId; 2]| wire.ends[1].stack.info(second).map_or(0, |info| info.rcv_nxt);
        most = most.max(ids.iter().map(held).sum::<u64>());
        false
    });
    assert!((MEMORY as u64 / 2..=MEMORY as u64).contains(&most), "{most} bytes held");
    wire.ends[1].reading = true;
    for [_, second] in &ids {
        wire.ends[1].read(*second);
        let now = wire.now;
        wire.ends[1].stack.ack_now(now, *second);
    }
    let done = wire.run_until(Duration::from_secs(2_000), |wire| {
        ids.iter().all(|[_, second]| wire.inbox(1, *second).len() as u64 == TOTAL)
    });
    assert!(done, "{:?}", ids.iter().map(|[_, second]| wire.inbox(1, *second).len()).collect::<Vec<_>>());
    for [_, second] in &ids {
        assert_pattern(wire.inbox(1, *second), TOTAL);
    }
}

/// A connection that was refused for what others hold hears of it once they have given it back, though nothing happens to itself.
#[test]
fn memory_that_is_free_again_is_announced() {
    let mut wire = Wire::new(little_memory, 3);
    wire.listen();
    let [first, _] = wire.open(true);
    let [second, _] = wire.open(true);
    let now = wire.now;
    let stack = &mut wire.ends[0].stack;
    let piece = Bytes::from(vec![0; 1 << 10]);
    while stack.send(now, first, piece.clone(), 0).is_ok() {}
    assert_eq!(stack.send_room(second), 0);
    assert_eq!(stack.send(now, second, piece, 0), Err(SendError::Full));
    assert_eq!(stack.poll_event(), None);
    stack.abort(now, first, &[]).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| stack.poll_event()).collect();
    assert_eq!(events, [TcpEvent::Closed(first, CloseReason::Aborted), TcpEvent::Writable(second)]);
    assert!(stack.send_room(second) > 0);
}

/// What the peer of a connection that is gone has sent counts until it is read: else who resets what is not read could fill any memory.
#[test]
fn what_a_connection_left_unread_counts_until_it_is_read() {
    const UNREAD: u64 = 120_000;
    let mut wire = Wire::new(little_memory, 4);
    wire.listen();
    let gone: Vec<_> = (0..7).map(|_| wire.open(true)).collect();
    let [_, other] = wire.open(true);
    wire.ends[1].reading = false;
    for [first, _] in &gone {
        wire.ends[0].pumps.insert(*first, Pump::new(UNREAD));
    }
    let arrived = |wire: &Wire, id| wire.ends[1].stack.info(id).is_some_and(|info| info.rcv_nxt == UNREAD);
    let all = |wire: &mut Wire| gone.iter().all(|&[_, second]| arrived(wire, second));
    assert!(wire.run_until(Duration::from_secs(60), all));
    for [first, _] in &gone {
        let now = wire.now;
        wire.ends[0].stack.abort(now, *first, &[]).unwrap();
    }
    wire.run_for(Duration::from_millis(100));
    let stack = &mut wire.ends[1].stack;
    assert!(gone.iter().all(|[_, second]| stack.info(*second).is_none()), "they are gone");
    assert_eq!(stack.send_room(other), 0);
    for [_, second] in &gone {
        let unread: usize = std::iter::from_fn(|| stack.recv(*second)).map(|received| received.bytes.len()).sum();
        assert_eq!(unread as u64, UNREAD);
    }
    assert!(stack.send_room(other) > 0);
    let events: Vec<_> = std::iter::from_fn(|| stack.poll_event()).collect();
    assert!(events.contains(&TcpEvent::Writable(other)), "{events:?}");
}

/// Writers cannot take what is needed to receive: the other end reads only once it is answered, and that answer must come in.
#[test]
fn what_is_written_leaves_room_to_receive() {
    let mut wire = Wire::new(little_memory, 5);
    wire.listen();
    let [first, second] = wire.open(true);
    // The peer acknowledges nothing of it.
    wire.ends[0].mangle = Some(Box::new(|_| vec![]));
    let now = wire.now;
    while wire.ends[0].stack.send(now, first, Bytes::from(vec![0; 1 << 10]), 0).is_ok() {}
    wire.ends[1].pumps.insert(second, Pump::new(100_000));
    let answered = |wire: &mut Wire| wire.inbox(0, first).len() as u64 >= 14_000;
    assert!(wire.run_until(Duration::from_secs(10), answered), "{}", wire.inbox(0, first).len());
}

fn default(seed: u64) -> Box<dyn TcpStack> {
    Box::new(NativeStack::new(NativeConfig::default(), seed))
}

/// While half-open connections fill the backlog, others get through by cookies, with all their options.
#[test]
fn a_full_backlog_keeps_nobody_out() {
    let mut wire = Wire::new(default, 2);
    wire.ends[1].stack.listen(None, tcp_adapter::conformance::wire::PORT, 2).unwrap();
    // Two that never finish their handshake.
    wire.ends[0].mangle = Some(Box::new(|frame| match Packet::parse(&frame) {
        Some(packet) if !packet.has(SYN) => vec![],
        _ => vec![frame],
    }));
    let lost = [wire.connect(true), wire.connect(true)];
    wire.run_for(Duration::from_millis(100));
    wire.ends[0].mangle = None;
    for id in lost {
        let now = wire.now;
        wire.ends[0].stack.abort(now, id, &[]).unwrap();
    }
    wire.ends[0].mangle = None;
    let mut ids = Vec::new();
    for round in 0..5 {
        ids.push(wire.open(round % 2 == 0));
    }
    assert!(wire.now.as_nanos() < 2_000_000_000, "nobody had to try twice: {:?}", wire.now);
    for [first, second] in &ids {
        for (end, id) in [(0, *first), (1, *second)] {
            wire.ends[end].pumps.insert(id, Pump { close: true, ..Pump::new(100_000) });
        }
    }
    wire.run_for(Duration::from_secs(10));
    for &[first, second] in &ids {
        assert_pattern(wire.inbox(0, first), 100_000);
        assert_pattern(wire.inbox(1, second), 100_000);
    }
    let answers: Vec<_> = wire.sent(1).filter(|packet| packet.has(SYN | ACK)).collect();
    assert!(answers.iter().all(|answer| answer.option(4).is_some() && answer.option(3).is_some()));
    assert!(answers.len() >= 7);
}
