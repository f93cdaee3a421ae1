//! Thousands of random runs: loss, duplication, reordering, segments split and joined. Every byte must
//! arrive once and in place, and nothing may be left in memory.

use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{SchedulerKind, StackConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tcp_adapter::Frame;
use tcp_adapter::conformance::packet::{FIN, Packet, RST, SYN};

use crate::middlebox::{Middlebox, on_packets};
use crate::world::{Link, World, config};

const RUNS: u64 = 10_000;

/// Runs the seeds of `MPTCP_SEEDS`, such as `17` or `0..100`, or the usual ones.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MPTCP_SEEDS") else { return 0..RUNS };
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => text.parse().unwrap()..text.parse::<u64>().unwrap() + 1,
    }
}

#[test]
fn random_runs_deliver_every_byte() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let seeds = seeds();
                    let runs = (seeds.start + thread..seeds.end).step_by(usize::try_from(threads).unwrap());
                    runs.filter(|seed| std::panic::catch_unwind(|| run(*seed)).is_err()).collect::<Vec<u64>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let links = random.random_range(1..=3);
    let scheduler = SchedulerKind::ALL[random.random_range(0..2)];
    let checksum = random.random_bool(0.5);
    let config = || StackConfig { checksum, scheduler, ..config() };
    let mut world = World::new(seed, links, [config(), config()]);
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
