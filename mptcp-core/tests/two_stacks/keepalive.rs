//! Peers that vanish while nothing is sent.

use std::time::Duration;

use mptcp_core::{CloseReason, Event, KeepAlive, ResetReason, StackConfig, SubflowCloseReason, SubflowId};

use super::world::{World, config};

/// Three probes, 2 s apart, after 10 s; a connection without subflows lives for another 20 s.
fn watchful() -> StackConfig {
    let keepalive = KeepAlive { idle: Duration::from_secs(10), interval: Duration::from_secs(2), probes: 3 };
    StackConfig { keepalive: Some(keepalive), close_timeout: Duration::from_secs(20), ..config() }
}

const GONE: SubflowCloseReason = SubflowCloseReason::Aborted(ResetReason::UnacceptablePerformance);

#[test]
fn a_peer_that_is_there_is_left_alone() {
    // One side watches, the other one only answers.
    let mut world = World::new(1, 2, [watchful(), config()]);
    let conns = world.open_mesh();
    let before = world.delivered.clone();
    world.run_for(Duration::from_secs(1000));
    for (link, [answers, probes]) in world.delivered.iter().enumerate() {
        let (answers, probes) = (answers - before[link][0], probes - before[link][1]);
        assert!((90..130).contains(&answers) && (90..130).contains(&probes), "{answers} answers to {probes} probes");
    }
    assert!(world.hosts[0].stack.past_subflows(conns[0]).is_empty());
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(10, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn an_idle_connection_whose_peer_has_vanished_ends() {
    let mut world = World::new(2, 1, [watchful(), config()]);
    let conns = world.open();
    world.run_for(Duration::from_secs(3));
    world.links[0].down = true;
    let lost = Event::SubflowClosed(conns[0], SubflowId(0), GONE);
    world.run_for(Duration::from_secs(12));
    assert!(!world.saw(0, lost), "the last probe may still be answered");
    assert!(world.run_until(5, |world| world.saw(0, lost)));
    assert!(world.run_until(25, |world| world.saw(0, Event::Closed(conns[0], CloseReason::TimedOut))));
    world.run_for(Duration::from_secs(10_000));
    assert!(world.hosts[1].stack.info(conns[1]).is_some(), "without keep-alive no one notices");
}

#[test]
fn an_idle_path_that_is_dead_is_made_again_when_it_is_back() {
    let mut world = World::new(3, 2, [watchful(), watchful()]);
    let conns = world.open_mesh();
    world.links[1].down = true;
    for host in 0..2 {
        assert!(world.run_until(30, |world| world.saw(host, Event::SubflowClosed(conns[host], SubflowId(1), GONE))));
    }
    world.run_for(Duration::from_secs(100));
    world.links[1].down = false;
    assert!(world.run_until(80, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
}

#[test]
fn regular_tcp_is_watched_too() {
    let mut world = World::new(4, 1, [StackConfig { mptcp: false, ..watchful() }, config()]);
    let conns = world.open();
    world.run_for(Duration::from_secs(100));
    assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 1);
    world.links[0].down = true;
    assert!(world.run_until(20, |world| world.saw(0, Event::Closed(conns[0], CloseReason::TimedOut))));
}
