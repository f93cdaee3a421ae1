//! Closing connections.

use std::time::Duration;

use super::Factory;
use super::packet::{FIN, Packet, RST};
use super::wire::{Link, PORT, Pump, Wire, address, assert_pattern};
use crate::{CloseReason, ConnectRequest, SendError};

/// After both FINs both ends report a normal close and forget the connection.
pub fn both_ends_close(factory: Factory) {
    for closer in [0, 1] {
        let mut wire = Wire::new(factory, 70);
        wire.listen();
        let ids = wire.open(true);
        let other = 1 - closer;
        let now = wire.now;
        wire.ends[closer].stack.shutdown(now, ids[closer]);
        wire.run_for(Duration::from_secs(1));
        assert!(wire.finished(other, ids[other]) && !wire.finished(closer, ids[closer]));
        assert_eq!((wire.closed(0, ids[0]), wire.closed(1, ids[1])), (None, None));
        let now = wire.now;
        wire.ends[other].stack.shutdown(now, ids[other]);
        wire.run_for(Duration::from_secs(1));
        for end in [0, 1] {
            assert!(wire.finished(end, ids[end]));
            assert_eq!(wire.closed(end, ids[end]), Some(CloseReason::Normal));
            assert!(wire.ends[end].stack.info(ids[end]).is_none());
        }
    }
}

/// One direction goes on after the other has ended.
pub fn half_closed_connection_carries_data(factory: Factory) {
    for closer in [0, 1] {
        let mut wire = Wire::new(factory, 71);
        wire.listen();
        let ids = wire.open(true);
        let other = 1 - closer;
        wire.ends[closer].pumps.insert(ids[closer], Pump { close: true, ..Pump::new(10_000) });
        assert!(wire.run_until(Duration::from_secs(5), |wire| wire.finished(other, ids[other])));
        assert_pattern(wire.inbox(other, ids[other]), 10_000);
        let now = wire.now;
        let refused = wire.ends[closer].stack.send(now, ids[closer], bytes::Bytes::from_static(b"late"), 0);
        assert_eq!(refused, Err(SendError::Closed));
        assert_eq!(wire.ends[closer].stack.send_room(ids[closer]), 0);
        wire.run_for(Duration::from_secs(20));
        wire.ends[other].pumps.insert(ids[other], Pump { close: true, ..Pump::new(200_000) });
        assert!(wire.run_until(Duration::from_secs(20), |wire| wire.closed(closer, ids[closer]).is_some()));
        assert_pattern(wire.inbox(closer, ids[closer]), 200_000);
        wire.run_for(Duration::from_secs(1));
        for end in [0, 1] {
            assert_eq!(wire.closed(end, ids[end]), Some(CloseReason::Normal));
        }
    }
}

/// A connection that is shut down before it is established opens, and closes in one direction only.
pub fn shutdown_waits_for_the_handshake(factory: Factory) {
    let mut wire = Wire::new(factory, 74);
    wire.listen();
    let first = wire.connect(true);
    let now = wire.now;
    wire.ends[0].stack.shutdown(now, first);
    assert!(wire.run_until(Duration::from_secs(5), |wire| !wire.established(1).is_empty()));
    let second = wire.established(1)[0];
    assert!(wire.run_until(Duration::from_secs(5), |wire| wire.finished(1, second)));
    assert_eq!(wire.established(0), [first]);
    wire.ends[1].pumps.insert(second, Pump { close: true, ..Pump::new(50_000) });
    assert!(wire.run_until(Duration::from_secs(5), |wire| wire.closed(0, first).is_some()));
    assert_pattern(wire.inbox(0, first), 50_000);
    assert_eq!(wire.closed(0, first), Some(CloseReason::Normal));
}

/// A reset that comes after everything was exchanged is no failure (RFC 9293 section 3.10.7.4): the peer has
/// left TIME-WAIT.
pub fn reset_after_the_end_is_a_normal_close(factory: Factory) {
    let mut wire = Wire::new(factory, 75);
    wire.listen();
    let [first, second] = wire.open(true);
    let now = wire.now;
    wire.ends[0].stack.shutdown(now, first);
    wire.run_for(Duration::from_secs(1));
    let fin = wire.sent(0).find(|packet| packet.has(FIN)).expect("a FIN").clone();
    wire.ends[1].mangle = Some(Box::new(|_| vec![]));
    wire.ends[1].stack.shutdown(wire.now, second);
    wire.settle();
    wire.inject(1, Packet { seq: fin.seq.wrapping_add(1), flags: RST, ..fin }.to_frame());
    wire.settle();
    assert_eq!(wire.closed(1, second), Some(CloseReason::Normal));
}

/// Data and FINs both ways over a wire that loses a tenth of everything.
pub fn closing_survives_loss(factory: Factory) {
    for seed in 0..30 {
        let mut wire = Wire::new(factory, 300 + seed);
        wire.listen();
        let ids = wire.open(seed.is_multiple_of(2));
        wire.set_links(Link { loss: 100, duplicate: 30, reorder: 100, ..Link::default() });
        for end in [0, 1] {
            wire.ends[end].pumps.insert(ids[end], Pump { close: true, ..Pump::new(3_000) });
        }
        let done = wire.run_until(Duration::from_secs(600), |wire| {
            wire.closed(0, ids[0]).is_some() && wire.closed(1, ids[1]).is_some()
        });
        assert!(done, "seed {seed}: {:?} {:?}", wire.ends[0].events, wire.ends[1].events);
        for end in [0, 1] {
            assert_pattern(wire.inbox(end, ids[end]), 3_000);
            assert_eq!(wire.closed(end, ids[end]), Some(CloseReason::Normal), "seed {seed}");
        }
    }
}

/// What was received before the close can still be read; `Closed` comes after it.
pub fn unread_bytes_outlive_the_connection(factory: Factory) {
    for aborted in [false, true] {
        let mut wire = Wire::new(factory, 72);
        wire.listen();
        let [first, second] = wire.open(true);
        wire.ends[1].reading = false;
        wire.ends[0].pumps.insert(first, Pump { close: !aborted, ..Pump::new(5_000) });
        wire.run_for(Duration::from_secs(1));
        let now = wire.now;
        if aborted {
            wire.ends[0].stack.abort(now, first, &[]).expect("open");
        } else {
            wire.ends[1].stack.shutdown(now, second);
        }
        wire.run_for(Duration::from_secs(1));
        assert_eq!(wire.closed(1, second), None);
        wire.ends[1].read(second);
        wire.settle();
        assert_pattern(wire.inbox(1, second), 5_000);
        let expected = if aborted { CloseReason::Reset } else { CloseReason::Normal };
        assert_eq!(wire.closed(1, second), Some(expected));
    }
}

/// A thousand connections, one after the other, from one port, leave no handle behind.
pub fn thousand_connections_in_turn_leave_nothing(factory: Factory) {
    let mut wire = Wire::new(factory, 73);
    wire.listen();
    let mut ids = Vec::new();
    for round in 0..1_000 {
        // The end that listens closes first, so TIME-WAIT is there and the port can be used again at once.
        let request = ConnectRequest {
            local: address(0, true),
            local_port: Some(5_000),
            remote: (address(1, true), PORT).into(),
        };
        let first = wire.ends[0].stack.connect(wire.now, &request).expect("the port is free again");
        let opened = wire.run_until(Duration::from_secs(5), |wire| {
            wire.established(0).len() > round && wire.established(1).len() > round
        });
        assert!(opened, "connection {round} did not open");
        let second = wire.established(1)[round];
        wire.ends[1].pumps.insert(second, Pump { close: true, ..Pump::new(100) });
        assert!(wire.run_until(Duration::from_secs(5), |wire| wire.finished(0, first)));
        let now = wire.now;
        wire.ends[0].stack.shutdown(now, first);
        let closed =
            wire.run_until(Duration::from_secs(5), |wire| wire.closed(0, first).and(wire.closed(1, second)).is_some());
        assert!(closed, "connection {round} did not close");
        assert_pattern(wire.inbox(0, first), 100);
        wire.ends[1].pumps.clear();
        ids.push([first, second]);
    }
    wire.run_for(Duration::from_secs(300));
    for [first, second] in ids {
        assert!(wire.ends[0].stack.info(first).is_none() && wire.ends[1].stack.info(second).is_none());
    }
    for end in &mut wire.ends {
        assert_eq!(end.stack.poll_timeout(), None, "a timer is left");
    }
}
