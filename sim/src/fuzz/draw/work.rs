//! What applications do.

use std::fmt::Write;

use super::Drawn;
use super::topology::Topology;
use crate::fuzz::dice::Dice;

/// Bytes of all connections of some traffic, each direction, at most.
const MOST_BYTES: u64 = 400_000;

/// Writes of all paced connections of some traffic in a second, at most.
const MOST_WRITES: u64 = 200;

/// One to three kinds of traffic, the first of which is mostly Multipath TCP, and a disk now and then.
pub(super) fn write(topology: &Topology, is_shared: bool, drawn: &mut Drawn<'_>, text: &mut String) {
    let Drawn { dice, more, traces } = drawn;
    for index in 0..dice.pick(&[1, 1, 2, 3]) {
        let cross = index > 0 && topology.hosts.contains(&"other") && dice.percent(60);
        let _ = writeln!(text, "[[traffic]]\nname = \"t{index}\"");
        let back = !cross && dice.percent(10);
        if cross {
            text.push_str("from = \"other\"\n");
        } else if back {
            text.push_str("from = \"server\"\nto = \"client\"\n");
        }
        let paced = dice.percent(10);
        let transport = if paced && dice.percent(30) { "udp" } else { transport(index == 0, topology, dice) };
        let _ = writeln!(text, "transport = \"{transport}\"");
        if !cross && !back && dice.percent(25) {
            paths(topology, dice, text);
        }
        let connections = if dice.percent(60) { 1 } else { dice.scaled(2, 12) };
        let _ = writeln!(text, "connections = {connections}");
        if dice.percent(50) {
            let _ = writeln!(text, "start = {}", dice.time(100, 3_000_000));
        }
        if paced || dice.percent(8) {
            let (short, long) = (dice.time(50_000, 8_000_000), more.time(10_000_000, 120_000_000));
            // Long enough to tell who waits for a timer from who waits for ever.
            let lasts = if paced && transport != "udp" && more.percent(30) { long } else { short };
            let _ = writeln!(text, "time = {lasts}");
        }
        if transport != "udp" && is_shared {
            let _ = writeln!(text, "class = \"{}\"", more.pick(&["latency", "bulk", "background"]));
        }
        if paced {
            write_at_a_pace(connections, dice, text);
        } else {
            let most = MOST_BYTES / connections;
            let mut drawn = String::new();
            work(most, dice, &mut drawn);
            text.push_str(&traces.writes(most).unwrap_or(drawn));
        }
        text.push('\n');
    }
    if more.percent(8) {
        disk(more, text);
    }
}

/// Jobs on a disk at the other end.
fn disk(dice: &mut Dice, text: &mut String) {
    let transport = dice.pick(&["mptcp", "mptcp", "tcp", "tcp-balanced"]);
    let policy = if transport == "tcp-balanced" {
        "none"
    } else {
        dice.pick(&["none", "none", "numa", "round-robin", "queue-depth"])
    };
    let (connections, block) = (dice.between(1, 3), 512 * dice.scaled(1, 32));
    let count = dice.scaled(1, (MOST_BYTES / connections / block).max(1));
    let (depth, read) = (dice.scaled(1, 16), dice.between(0, 100));
    let pattern = dice.pick(&["random", "sequential"]);
    let _ = writeln!(
        text,
        "[[traffic]]\nname = \"disk\"\nkind = \"nvme\"\ntransport = \"{transport}\"\npolicy = \"{policy}\"\n\
         connections = {connections}\nblock = \"{block}B\"\ndepth = {depth}\nread = \"{read}%\"\n\
         pattern = \"{pattern}\"\nsize = \"1MiB\"\ncount = {count}\n"
    );
}

fn transport(first: bool, topology: &Topology, dice: &mut Dice) -> &'static str {
    let bonded = topology.is_direct() && topology.links.iter().all(|link| link.mtu == topology.links[0].mtu);
    match dice.between(0, 9) {
        0..=5 => "mptcp",
        _ if first && dice.percent(60) => "mptcp",
        6 | 7 => "tcp",
        8 if bonded => dice.pick(&["bond-rr", "bond-hash"]),
        _ => "tcp-balanced",
    }
}

/// A choice of the client's links, in any order.
fn paths(topology: &Topology, dice: &mut Dice, text: &mut String) {
    let mut names: Vec<&str> = topology.ends().filter(|(host, _)| *host == "client").map(|(_, link)| link).collect();
    let mut chosen = Vec::new();
    for _ in 0..dice.between(1, names.len() as u64) {
        // An index below the number of names.
        let name = names.swap_remove(dice.between(0, names.len() as u64 - 1) as usize);
        chosen.push(format!("\"{name}\""));
    }
    let _ = writeln!(text, "paths = [{}]", chosen.join(", "));
}

fn work(most: u64, dice: &mut Dice, text: &mut String) {
    let direction = dice.pick(&["up", "up", "down", "both"]);
    let _ = match dice.between(0, 8) {
        0..=5 => {
            let least = if dice.percent(20) { 1 } else { 10_000 };
            let bytes = dice.scaled(least, most);
            let back = if direction != "both" && dice.percent(20) { dice.scaled(1, most) } else { 0 };
            writeln!(text, "direction = \"{direction}\"\nbytes = \"{bytes}B\"\nback = \"{back}B\"")
        }
        6 | 7 => {
            let count = dice.scaled(1, 40);
            let size = (most / count).max(2);
            let (request, response) = (dice.scaled(1, size), dice.scaled(1, size));
            let (depth, think) = (dice.scaled(1, 16), dice.time(1, 50_000));
            writeln!(
                text,
                "kind = \"request\"\nrequest = \"{request}B\"\nresponse = \"{response}B\"\ndepth = {depth}\n\
                 think = {think}\ncount = {count}"
            )
        }
        _ => {
            let count = dice.scaled(1, 60);
            let size = dice.scaled(1, (most / count).max(2));
            let (interval, deadline) = (dice.time(100, 100_000), dice.time(1000, 300_000));
            writeln!(
                text,
                "kind = \"message\"\ndirection = \"{direction}\"\nsize = \"{size}B\"\ninterval = {interval}\n\
                 deadline = {deadline}\ncount = {count}"
            )
        }
    };
}

/// Has no end but that of its time.
fn write_at_a_pace(connections: u64, dice: &mut Dice, text: &mut String) {
    let (direction, size) = (dice.pick(&["up", "down", "both"]), dice.scaled(1, 20_000));
    // A packet for each write.
    let fastest = (8 * size * MOST_WRITES / connections).min(2_000_000);
    let _ = writeln!(text, "kind = \"paced\"\ndirection = \"{direction}\"\nsize = \"{size}B\"");
    if dice.percent(50) {
        let (on, off) = (dice.time(1000, 500_000), dice.time(1000, 500_000));
        let distribution = dice.pick(&["fixed", "exponential", "pareto"]);
        let _ = writeln!(text, "phases = {{ on = {on}, off = {off}, distribution = \"{distribution}\" }}");
    }
    let _ = writeln!(text, "rate = \"{}bit\"", dice.scaled(fastest.div_ceil(100), fastest));
}
