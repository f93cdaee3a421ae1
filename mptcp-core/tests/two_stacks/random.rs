//! Thousands of random runs: loss, duplication, reordering, segments split and joined. Every byte must
//! arrive once and in place, and nothing may be left in memory.

use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{ConnId, ConnState, Coupling, Endpoint, EndpointFlags, SchedulerKind, StackConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tcp_adapter::Frame;
use tcp_adapter::congestion::Algorithm;
use tcp_adapter::conformance::packet::{FIN, Packet, RST, SYN};

use crate::middlebox::{Middlebox, on_packets, strip};
use crate::tcp::TcpSettings;
use super::world::{Flow, Link, PORT, World, address, config};

/// Runs over each pair of TCPs.
const RUNS: u64 = 4_000;
const UNRULY_RUNS: u64 = 1_500;

/// Runs the seeds of `MPTCP_SEEDS`, such as `17` or `0..100`, or the usual ones.
fn seeds(runs: u64) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MPTCP_SEEDS") else { return 0..runs };
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => text.parse().unwrap()..text.parse::<u64>().unwrap() + 1,
    }
}

#[test]
fn random_runs_deliver_every_byte() {
    let failed = failures(seeds(RUNS), run);
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// Every congestion control in turn.
fn any_congestion_control(seed: u64) -> TcpSettings {
    let turn = usize::try_from(seed).unwrap() % Algorithm::ALL.len();
    TcpSettings { congestion: Algorithm::ALL[turn], ..TcpSettings::default() }
}

/// Every coupling in turn, where the TCP allows it.
fn any_coupling(seed: u64, mut configs: [StackConfig; 2]) -> [StackConfig; 2] {
    let turn = usize::try_from(seed).unwrap() / Algorithm::ALL.len() % Coupling::ALL.len();
    for host in (0..2).filter(|host| super::TCPS[*host] == crate::tcp::Tcp::Native) {
        configs[host].coupling = Coupling::ALL[turn];
    }
    configs
}

/// Runs every seed on all cores; gives those that failed.
fn failures(seeds: std::ops::Range<u64>, run: fn(u64)) -> Vec<u64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    let runs = (seeds.start + thread..seeds.end).step_by(usize::try_from(threads).unwrap());
                    runs.filter(|seed| std::panic::catch_unwind(|| run(*seed)).is_err()).collect::<Vec<u64>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let links = random.random_range(1..=3);
    let scheduler = SchedulerKind::ALL[random.random_range(0..SchedulerKind::ALL.len())];
    let checksum = random.random_bool(0.5);
    let config = || StackConfig { checksum, scheduler, ..config() };
    let mut world = World::with_tcp(seed, links, any_coupling(seed, [config(), config()]), any_congestion_control(seed));
    let mut split = false;
    for link in 0..links {
        world.links[link] = Link {
            delay: Duration::from_micros(random.random_range(0..20_000)),
            jitter: Duration::from_micros(if random.random_bool(0.5) { random.random_range(0..5_000) } else { 0 }),
            loss: if random.random_bool(0.5) { random.random_range(0..60) } else { 0 },
            duplicate: if random.random_bool(0.3) { random.random_range(0..50) } else { 0 },
            rate: random.random_bool(0.5).then(|| random.random_range(1_000_000..100_000_000)),
            down: false,
        };
        if random.random_bool(0.4) {
            split = true;
            world.middleboxes[link] = Some(resegment(random.random()));
        }
    }
    if random.random_bool(0.9) {
        world.mesh(random.random_bool(0.8));
    }
    let client = world.connect(random.random_bool(0.8));
    let bytes = [0, 1].map(|_| random.random_range(0..60_000) * u64::from(random.random_bool(0.9)));
    // The client may write before it is connected.
    world.send(0, client, bytes[0], true);
    let open = world.run_until(600, |world| world.server_conn().is_some());
    assert!(open, "seed {seed}: not open");
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], bytes[1], true);
    if links > 1 && random.random_bool(0.2) {
        // A path goes away for a while, and comes back.
        let link = random.random_range(0..links);
        world.run_for(Duration::from_millis(random.random_range(0..200)));
        world.links[link].down = true;
        world.run_for(Duration::from_millis(random.random_range(100..5_000)));
        world.links[link].down = false;
    }
    let done = world.run_until(3600, |world| world.transferred(conns, true));
    let state =
        [0, 1].map(|host| (world.hosts[host].stack.info(conns[host]), world.hosts[host].stack.subflows(conns[host])));
    assert!(done, "seed {seed}: stuck at {} (split: {split}): {state:#?}", world.now.as_nanos());
    world.close_all();
}

#[test]
fn unruly_applications_and_paths_never_see_a_wrong_byte() {
    let failed = failures(seeds(UNRULY_RUNS), run_unruly);
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// Several connections whose applications and paths do what they like. What arrives is always a prefix of what was
/// sent; without harm from outside it is all of it; and nothing is left behind.
fn run_unruly(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed ^ 0xbad);
    let links = random.random_range(1..=3);
    let scheduler = SchedulerKind::ALL[random.random_range(0..SchedulerKind::ALL.len())];
    let checksum = random.random_bool(0.5);
    let config = || StackConfig {
        checksum,
        scheduler,
        close_timeout: Duration::from_secs(20),
        subflow_timeout: Duration::from_secs(60),
        ..config()
    };
    let mut world = World::with_tcp(seed, links, any_coupling(seed, [config(), config()]), any_congestion_control(seed));
    let mut harmed = false;
    for link in 0..links {
        world.links[link].delay = Duration::from_micros(random.random_range(0..20_000));
        world.links[link].loss = if random.random_bool(0.3) { random.random_range(0..40) } else { 0 };
        if random.random_bool(0.2) {
            harmed = true;
            let mut strips = StdRng::seed_from_u64(random.random());
            let share = f64::from(strips.random_range(1..=20)) / 20.0;
            world.middleboxes[link] = Some(strip(move |_, _| strips.random_bool(share * share)));
        }
    }
    world.mesh(true);
    let clients: Vec<_> = (0..random.random_range(1..=4)).map(|_| world.connect(true)).collect();
    for _ in 0..random.random_range(2..25) {
        world.run_for(Duration::from_micros(random.random_range(0..400_000)));
        harmed |= act(&mut world, &mut random);
    }
    for link in &mut world.links {
        link.down = false;
    }
    let mut done = false;
    for _ in 0..1200 {
        // The server may hear of connections late.
        for host in 0..2 {
            world.hosts[host].lazy = false;
            let conns: Vec<_> = world.hosts[host].flows.keys().copied().collect();
            for conn in conns {
                world.send(host, conn, 0, true);
            }
        }
        world.run_for(Duration::from_secs(1));
        let over = |host: usize, conn, flow: &Flow| flow.over || flow.finished || is_alone(&world, host, conn);
        done = (0..2).all(|host| world.hosts[host].flows.iter().all(|(conn, flow)| over(host, *conn, flow)))
            && (harmed || world.hosts[1].flows.len() == clients.len());
        if done {
            break;
        }
    }
    let flows = [0, 1].map(|host| world.hosts[host].flows.clone());
    let stacks = [0, 1].map(|host| {
        let stack = &world.hosts[host].stack;
        stack.connections().map(|conn| (stack.info(conn), stack.subflows(conn))).collect::<Vec<_>>()
    });
    assert!(done, "seed {seed}: stuck at {:?} (harmed: {harmed}): {flows:#?} {stacks:#?}", world.now);
    if !harmed {
        let [sent, received] = [0, 1].map(|host| {
            let flows = world.hosts[host].flows.values();
            flows.fold((0, 0), |sum, flow| (sum.0 + flow.to_send, sum.1 + flow.received))
        });
        assert_eq!((sent.0, sent.1), (received.1, received.0), "seed {seed}: bytes are missing");
    }
    world.close_all();
}

/// Whether the peer of a connection has ended it, and its RST was lost: idle, a connection cannot learn of that.
fn is_alone(world: &World, host: usize, conn: ConnId) -> bool {
    let ends = |host: usize, conn| world.hosts[host].stack.info(conn).map(|info| [info.local, info.remote]);
    let peer = &world.hosts[1 - host].stack;
    let Some([local, remote]) = ends(host, conn) else { return true };
    !peer.connections().any(|other| {
        let open = peer.info(other).is_some_and(|info| !matches!(info.state, ConnState::Closed(_)));
        open && ends(1 - host, other) == Some([remote, local])
    })
}

/// One thing that an application or a path may do; whether some connection may fail from it.
fn act(world: &mut World, random: &mut StdRng) -> bool {
    let host = random.random_range(0..2);
    let mut conns: Vec<_> = world.hosts[host].flows.keys().copied().collect();
    conns.sort();
    let now = world.now;
    let link = random.random_range(0..world.links.len());
    let Some(&conn) = conns.get(random.random_range(0..conns.len().max(1))) else { return false };
    match random.random_range(0..16) {
        0..6 => {
            let open = !world.flow(host, conn).close;
            world.send(host, conn, if open { random.random_range(0..50_000) } else { 0 }, false);
        }
        6 => world.send(host, conn, 0, true),
        7 | 8 => world.hosts[host].lazy ^= true,
        9 => world.links[link].down ^= true,
        10 => {
            world.hosts[host].flows.remove(&conn);
            let stack = &mut world.hosts[host].stack;
            if random.random_bool(0.5) {
                stack.abort(now, conn)
            } else {
                stack.close(now, conn)
            }
            return true;
        }
        11 => {
            let subflows = world.hosts[host].stack.subflows(conn);
            if subflows.len() > 1 {
                let subflow = subflows[random.random_range(0..subflows.len())].id;
                let _ = world.hosts[host].stack.close_subflow(now, conn, subflow);
                // The other side may have closed or lost the rest at the same time.
                return true;
            }
        }
        12 => {
            if let Some(subflow) = world.hosts[host].stack.subflows(conn).first() {
                let _ = world.hosts[host].stack.set_backup(now, conn, subflow.id, random.random());
            }
        }
        13 | 14 => {
            let found = world.hosts[host].stack.endpoints().next().map(|(id, _)| id);
            match found {
                Some(id) if random.random_bool(0.5) => {
                    world.hosts[host].stack.remove_endpoint(now, id).unwrap();
                    return true;
                }
                _ => {
                    let flags = EndpointFlags { signal: host == 1, subflow: host == 0, ..EndpointFlags::default() };
                    let endpoint = Endpoint::new(address(host, link, true), flags);
                    let _ = world.hosts[host].stack.add_endpoint(endpoint);
                }
            }
        }
        _ => {
            let remote = std::net::SocketAddr::new(address(1, link, true), PORT);
            let _ = world.hosts[0].stack.create_subflow(now, conn, address(0, link, true), remote, random.random());
        }
    }
    false
}

/// Splits and joins data segments as proxies and offloads do, keeping the options on each piece.
fn resegment(seed: u64) -> Middlebox {
    let mut random = StdRng::seed_from_u64(seed);
    let mut held: [Option<Packet>; 2] = [None, None];
    on_packets(move |host, packet| {
        let plain = packet.flags & (SYN | FIN | RST) == 0 && packet.payload.len() > 1;
        let mut out = Vec::new();
        if let Some(first) = held[host].take() {
            match join(&first, &packet) {
                Some(joined) => return vec![joined],
                None => out.push(first),
            }
        }
        if plain && random.random_bool(0.2) {
            let at = random.random_range(1..packet.payload.len());
            let mut tail = packet.clone();
            tail.payload = packet.payload[at..].to_vec();
            tail.seq = packet.seq.wrapping_add(u32::try_from(at).unwrap());
            let mut head = packet;
            head.payload.truncate(at);
            out.extend([head, tail]);
        } else if plain && packet.payload.len() < 700 && random.random_bool(0.2) {
            // Held until the next segment of this direction comes by; if none does, it is lost, and TCP copes.
            held[host] = Some(packet);
        } else {
            out.push(packet);
        }
        out
    })
}

/// One segment of two that follow each other with the same options, as receive offload makes them.
fn join(first: &Packet, second: &Packet) -> Option<Packet> {
    let end = first.seq.wrapping_add(u32::try_from(first.payload.len()).unwrap());
    let fits = first.source == second.source
        && first.destination == second.destination
        && second.seq == end
        && second.flags & (SYN | FIN | RST) == 0
        && first.options == second.options
        && first.payload.len() + second.payload.len() <= 1400;
    fits.then(|| Packet { seq: first.seq, payload: [&first.payload[..], &second.payload].concat(), ..second.clone() })
}

#[test]
fn arbitrary_frames_disturb_nothing() {
    let mut random = StdRng::seed_from_u64(77);
    for seed in 0..200 {
        let mut world = World::simple(seed, 2);
        let conns = world.open_mesh();
        world.send(0, conns[0], 100_000, true);
        world.send(1, conns[1], 100_000, true);
        let mut mangler = StdRng::seed_from_u64(seed);
        // Copies of real segments with damaged options and headers, besides the real ones.
        world.middleboxes[1] = Some(Box::new(move |_, frame: Frame| {
            let mut out = vec![frame.clone()];
            if let Some(mut packet) = Packet::parse(&frame) {
                for byte in &mut packet.options {
                    if mangler.random_bool(0.1) {
                        *byte = mangler.random();
                    }
                }
                packet.seq = packet.seq.wrapping_sub(mangler.random_range(100_000..4_000_000_000));
                packet.options.truncate(40);
                out.push(packet.to_frame());
            }
            let mut noise = frame;
            let bytes = noise.linearize();
            for _ in 0..4 {
                let at = mangler.random_range(0..bytes.len());
                bytes[at] = mangler.random();
            }
            out.push(noise);
            out
        }));
        let junk: Bytes = (0..random.random_range(0..200)).map(|_| random.random::<u8>()).collect();
        world.launch(0, 0, Frame::from(&junk[..]));
        assert!(world.run_until(600, |world| world.transferred(conns, true)), "seed {seed}");
    }
}
