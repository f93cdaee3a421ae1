//! Connections that must end, and must not end too early: silence, loss at the worst moment, handles reused at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{CloseReason, Counter, Event, ListenConfig, Recv, StackConfig, SubflowId};
use tcp_adapter::conformance::packet::{FIN, Packet};

use crate::middlebox::{is_syn, on_packets, remove_options, subtypes};
use super::world::{Link, PORT, World, config};

const CAPABLE: u8 = 0;

fn has_data_fin(packet: &Packet) -> bool {
    packet.option(30).is_some_and(|option| option[0] >> 4 == 2 && option[1] & 0x10 != 0)
}

#[test]
fn a_tcp_handle_that_is_reused_at_once_leaves_nothing_behind() {
    let mut world = World::simple(1, 1);
    let conns = world.open();
    world.hosts[0].flows.remove(&conns[0]);
    let now = world.now;
    world.hosts[0].stack.abort(now, conns[0]);
    let next = world.connect(true);
    assert!(world.run_until(10, |world| world.saw(0, Event::Established(next)) && world.hosts[1].flows.len() == 2));
    world.close_all();
}

#[test]
fn a_connection_that_was_closed_can_still_be_aborted() {
    let mut world = World::simple(1, 2);
    let conns = world.open();
    for host in 0..2 {
        world.hosts[host].flows.remove(&conns[host]);
    }
    // The peer does not close, so that the close would take long.
    let now = world.now;
    world.hosts[0].stack.close(now, conns[0]);
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.mib(0, Counter::MPFastcloseTx), 0);
    let now = world.now;
    world.hosts[0].stack.abort(now, conns[0]);
    assert_eq!(world.mib(0, Counter::MPFastcloseTx), 1);
    assert!(world.run_until(1, |world| world.saw(1, Event::Closed(conns[1], CloseReason::Reset))));
}

#[test]
fn a_data_fin_that_is_lost_on_an_idle_connection_is_repeated() {
    let mut world = World::simple(2, 1);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    // Applications that do nothing while nothing happens.
    for host in 0..2 {
        world.hosts[host].lazy = true;
    }
    let mut lost = false;
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        if has_data_fin(&packet) && !std::mem::replace(&mut lost, true) {
            return Vec::new();
        }
        vec![packet]
    }));
    world.send(0, conns[0], 0, true);
    assert!(world.run_until(10, |world| world.saw(1, Event::Finished(conns[1]))));
}

#[test]
fn a_data_fin_does_not_wait_for_a_dss_from_the_peer() {
    // A server that acknowledges nothing at the connection level before it has received something, as Linux.
    let mut world = World::simple(3, 1);
    let mut fin_seen = false;
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        fin_seen |= host == 0 && has_data_fin(&packet);
        if host == 1 && !fin_seen && !is_syn(&packet) {
            return Vec::new();
        }
        vec![packet]
    }));
    let conns = world.open();
    world.send(0, conns[0], 0, true);
    assert!(world.run_until(5, |world| world.saw(1, Event::Finished(conns[1]))));
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Closed(conns[0], CloseReason::Normal))));
    world.close_all();
}

#[test]
fn a_data_fin_does_not_keep_the_keys_from_being_repeated() {
    let mut lost = 0;
    let mut world = World::simple(4, 1);
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        if host == 0 && !is_syn(&packet) && subtypes(&packet).contains(&CAPABLE) && lost < 3 {
            lost += 1;
            return Vec::new();
        }
        vec![packet]
    }));
    let client = world.connect(true);
    world.send(0, client, 0, true);
    assert!(world.run_until(20, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    assert!(world.run_until(20, |world| world.saw(1, Event::Finished(conns[1]))));
    assert_eq!(world.hosts[1].stack.info(conns[1]).unwrap().fallback, None);
}

#[test]
fn a_peer_that_does_not_answer_any_more_is_given_up() {
    for mptcp in [true, false] {
        for bytes in [100_000, 0] {
            let config = || StackConfig {
                mptcp,
                subflow_timeout: Duration::from_secs(20),
                close_timeout: Duration::from_secs(10),
                ..config()
            };
            let mut world = World::new(5, 1, [config(), config()]);
            let conns = world.open();
            world.run_for(Duration::from_secs(1));
            world.links[0].down = true;
            if bytes == 0 && !mptcp {
                // A FIN that is not acknowledged is TCP's own affair.
                continue;
            }
            world.send(0, conns[0], bytes, true);
            let over = |world: &World| world.saw(0, Event::Closed(conns[0], CloseReason::TimedOut));
            assert!(!world.run_until(19, over), "MPTCP {mptcp}, {bytes} bytes: too early");
            assert!(world.run_until(200, over), "MPTCP {mptcp}, {bytes} bytes: {:?}", world.hosts[0].events);
        }
    }
}

#[test]
fn a_closed_connection_goes_on_as_long_as_the_peer_takes_its_data() {
    for mptcp in [true, false] {
        let config = || StackConfig {
            mptcp,
            close_timeout: Duration::from_secs(5),
            recv_buffer_initial: 16 << 10,
            recv_buffer_max: 16 << 10,
            ..config()
        };
        let mut world = World::new(6, 1, [config(), config()]);
        world.links[0] = Link { rate: Some(200_000), ..Link::default() };
        let conns = world.open();
        world.send(0, conns[0], 400_000, false);
        let now = world.now;
        assert_eq!(world.hosts[0].flows.remove(&conns[0]).unwrap().sent, 400_000);
        world.hosts[0].stack.close(now, conns[0]);
        assert!(world.run_until(60, |world| world.saw(1, Event::Finished(conns[1]))), "MPTCP {mptcp}");
        assert_eq!(world.hosts[1].flows[&conns[1]].received, 400_000);
        world.close_all();
    }
}

#[test]
fn a_peer_that_keeps_talking_but_never_sends_its_fin_is_given_up() {
    let mut world = World::simple(7, 1);
    let conns = world.open();
    let last = Rc::new(RefCell::new(None));
    let seen = last.clone();
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        if host == 1 && packet.has(FIN) {
            return Vec::new();
        }
        if host == 1 && packet.payload.is_empty() {
            *seen.borrow_mut() = Some(packet.clone());
        }
        vec![packet]
    }));
    world.send(0, conns[0], 1000, true);
    world.send(1, conns[1], 1000, true);
    for _ in 0..40 {
        world.run_for(Duration::from_secs(1));
        let again = last.borrow().as_ref().map(Packet::to_frame);
        world.launch(1, 0, again.unwrap());
    }
    assert!(world.saw(0, Event::Closed(conns[0], CloseReason::Normal)));
}

#[test]
fn a_writer_that_waits_for_memory_hears_of_it_whoever_frees_it() {
    let small = || StackConfig { memory_limit: 100_000, ..config() };
    let mut world = World::new(8, 1, [small(), config()]);
    let conns = world.open();
    let idle = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(idle))));
    world.hosts[0].flows.remove(&idle);
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 10_000_000, false);
    world.run_for(Duration::from_secs(2));
    let now = world.now;
    assert_eq!(world.hosts[0].stack.send(now, idle, Bytes::from_static(b"stuck")), Ok(0));
    world.run_for(Duration::from_secs(1));
    assert!(!world.saw(0, Event::Writable(idle)));
    let now = world.now;
    world.hosts[0].flows.clear();
    world.hosts[0].stack.abort(now, conns[0]);
    assert!(world.run_until(5, |world| world.saw(0, Event::Writable(idle))));
}

#[test]
fn bytes_that_come_after_everything_was_read_are_told_of() {
    let mut world = World::simple(9, 1);
    let conns = world.open();
    world.hosts[1].lazy = true;
    for _ in 0..3 {
        world.hosts[1].events.clear();
        world.send(0, conns[0], 1000, false);
        assert!(world.run_until(5, |world| world.saw(1, Event::Readable(conns[1]))));
        world.run_for(Duration::from_secs(1));
        let now = world.now;
        let mut read = 0;
        // Exactly what there is, without asking once more.
        while read < 1000 {
            let Ok(Recv::Data(bytes)) = world.hosts[1].stack.recv(now, conns[1], 1000 - read) else { panic!("{read}") };
            read += bytes.len();
        }
    }
}

#[test]
fn a_priority_set_before_the_first_dss_leaves_once_it_may() {
    let mut world = World::simple(10, 1);
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(client))));
    let now = world.now;
    world.hosts[0].stack.set_backup(now, client, SubflowId(0), true).unwrap();
    let end = now + Duration::from_secs(5);
    let mut steps = 0;
    while steps < 1000 && world.step(end) {
        steps += 1;
    }
    assert!(steps < 1000, "segments without end at {:?}", world.now);
    let server = world.server_conn().unwrap();
    assert!(world.saw(1, Event::SubflowPriority(server, SubflowId(0), true)));
}

#[test]
fn a_connection_that_died_while_it_waited_does_not_hide_the_next_one() {
    let mut world = World::simple(11, 1);
    let now = world.now;
    let listener = world.hosts[1].listener.unwrap();
    world.hosts[1].stack.unlisten(now, listener);
    let listener = world.hosts[1].stack.listen(None, PORT, ListenConfig { backlog: 2, ..ListenConfig::default() }).unwrap();
    world.hosts[1].deaf = true;
    let first = world.connect(true);
    let second = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(first))));
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(second))));
    let now = world.now;
    world.hosts[0].flows.remove(&first);
    world.hosts[0].stack.abort(now, first);
    world.run_for(Duration::from_secs(1));
    // The place of the dead one is free.
    let third = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(third))));
    assert_eq!(world.hosts[1].stack.table_sizes().0, 2);
    for _ in 0..2 {
        let accepted = world.hosts[1].stack.accept(listener).unwrap();
        world.hosts[1].flows.insert(accepted, Default::default());
    }
    assert_eq!(world.hosts[1].stack.accept(listener), None);
    world.close_all();
}

#[test]
fn a_signal_alone_does_not_look_like_stripped_options() {
    // An acknowledgement of the first data may carry a signal that leaves no room for a DATA_ACK, as Linux' ADD_ADDR.
    let mut signals = 0;
    let mut world = World::simple(12, 1);
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 1 && !is_syn(&packet) && packet.payload.is_empty() && signals < 3 {
            signals += 1;
            remove_options(&mut packet, |_| true);
            packet.options.extend_from_slice(&[30, 3, 0x50, 1]);
        }
        vec![packet]
    }));
    let client = world.connect(true);
    world.send(0, client, 100_000, true);
    assert!(world.run_until(10, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(20, |world| world.transferred(conns, true)));
    for host in 0..2 {
        assert_eq!(world.hosts[host].stack.info(conns[host]).unwrap().fallback, None);
    }
}

#[test]
fn what_tcp_has_acknowledged_is_done_with_after_a_fallback() {
    let mut world = World::simple(13, 1);
    let conns = world.open();
    world.run_for(Duration::from_secs(1));
    let mut infinite = false;
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 0 {
            return vec![packet];
        }
        if infinite || packet.payload.is_empty() {
            return Vec::new();
        }
        infinite = true;
        remove_options(&mut packet, |_| true);
        packet.options.extend_from_slice(&[30, 14, 0x20, 0x04, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
        vec![packet]
    }));
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_millis(100));
    world.send(1, conns[1], 10, false);
    let acked = |world: &World| world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked == 1000;
    assert!(world.run_until(5, acked), "{:?}", world.hosts[0].stack.info(conns[0]));
}

/// One side has closed and hears nothing for long, as the other one computes: a lost DATA_ACK must not end that.
#[test]
fn a_half_closed_connection_survives_the_loss_of_the_last_data_ack() {
    let config = || StackConfig { subflow_timeout: Duration::from_secs(20), ..config() };
    let mut world = World::new(14, 1, [config(), config()]);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let mut lost = false;
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        if host == 1 && !std::mem::replace(&mut lost, true) {
            return Vec::new();
        }
        vec![packet]
    }));
    world.send(0, conns[0], 0, true);
    world.run_for(Duration::from_secs(120));
    let subflows = world.hosts[0].stack.subflows(conns[0]);
    assert!(subflows.iter().any(|subflow| subflow.id == SubflowId(0)), "{:?}", world.hosts[0].events);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(10, |world| world.transferred(conns, true)));
    world.close_all();
}

/// What comes over one path waits for what is lost on the other: more of it than the host may hold.
#[test]
fn bytes_out_of_order_do_not_exceed_the_memory_limit() {
    const LIMIT: usize = 100_000;
    let config = || StackConfig { recv_buffer_initial: 512 << 10, ..config() };
    let mut world = World::new(15, 2, [config(), StackConfig { memory_limit: LIMIT, ..config() }]);
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    // The first segment of the first path is lost each time.
    let mut first = None;
    let lose = |first: &mut Option<u32>, packet: Packet| {
        let start = !packet.payload.is_empty() && *first.get_or_insert(packet.seq) == packet.seq;
        if start { Vec::new() } else { vec![packet] }
    };
    world.middleboxes[0] = Some(on_packets(move |host, packet| match host {
        0 => lose(&mut first, packet),
        _ => vec![packet],
    }));
    world.send(0, conns[0], 3_000_000, false);
    let most = std::cell::Cell::new(0);
    let done = world.run_until(20, |world| {
        most.set(most.get().max(world.hosts[1].stack.memory_held()));
        world.transferred(conns, false)
    });
    assert!(done, "{:?}", world.hosts[1].stack.info(conns[1]));
    assert!(most.get() <= LIMIT, "{} bytes", most.get());
}

/// Several connections over paths that lose and reorder, with applications that write, and read when they like.
#[test]
fn the_memory_limit_holds_at_every_step() {
    const LIMIT: usize = 60_000;
    for seed in 0..4 {
        let mut world = World::new(seed, 2, [config(), StackConfig { memory_limit: LIMIT, ..config() }]);
        world.mesh(true);
        let mut pairs = Vec::new();
        for count in 1..=4 {
            let client = world.connect(true);
            let open = |world: &World| world.hosts[1].flows.len() == count && world.saw(0, Event::Established(client));
            assert!(world.run_until(20, open));
            pairs.push([client, world.server_conn().unwrap()]);
        }
        world.run_for(Duration::from_secs(1));
        for (link, delay) in world.links.iter_mut().zip([5, 30]) {
            let delay = Duration::from_millis(delay);
            *link = Link { delay, jitter: delay / 2, loss: 15, ..Link::default() };
        }
        for conns in &pairs {
            world.send(0, conns[0], 150_000, false);
            world.send(1, conns[1], 50_000, false);
        }
        let most = std::cell::Cell::new(0);
        let look = |world: &World| most.set(most.get().max(world.hosts[1].stack.memory_held()));
        for lazy in [true, false, true] {
            world.hosts[1].lazy = lazy;
            world.run_until(2, |world| {
                look(world);
                false
            });
        }
        world.hosts[1].lazy = false;
        let done = world.run_until(900, |world| {
            look(world);
            pairs.iter().all(|conns| world.transferred(*conns, false))
        });
        assert!((LIMIT / 2..=LIMIT).contains(&most.get()), "seed {seed}: {} bytes", most.get());
        assert!(done, "seed {seed}: {:?}", world.hosts[1].flows);
    }
}
