//! Draws a scenario, as the text of a file that anybody can run, explain and change.
//!
//! What is drawn may be harsh, but every path comes back: outages end, losses leave most packets, and packets fit the
//! links on their way, or hosts can learn what does. So whatever is sent can arrive, unless a middlebox prevents it.
//!
//! Each part has dice of its own, and what is added to a part later has others: so what a seed drew before stays, beside what is new.

mod conditions;
mod meddlers;
mod topology;
mod traces;
mod work;

use std::fmt::Write;

use super::dice::Dice;
use crate::random::Streams;
use topology::Topology;
use traces::Traces;

/// What a part is drawn from.
#[derive(Debug)]
struct Drawn<'a> {
    /// As old as seeds are.
    dice: Dice,
    /// Of what has come later.
    more: Dice,
    /// Of what is in files.
    traces: &'a mut Traces,
}

/// The text of the scenario of a seed.
pub(super) fn draw(seed: u64) -> String {
    let streams = Streams::new(seed);
    let dice = |part: &str| Dice(streams.stream(&format!("fuzz.{part}")));
    let topology = Topology::draw(&mut dice("topology"));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "[meta]\nname = \"random-{seed}\"\n\n[run]\nseed = {seed}\n");
    hosts(&topology, &mut dice("hosts"), &mut text);
    let [mut on_links, mut of_writes] =
        ["links", "traffic"].map(|part| Traces::new(part, dice(&format!("{part}.traces"))));
    let mut drawn = Drawn { dice: dice("links"), more: dice("links.more"), traces: &mut on_links };
    topology.write(&mut drawn, &mut dice("links.narrow"), &mut text);
    meddlers::write(&topology, &mut dice("middleboxes"), &mut text);
    mptcp(&topology, &mut dice("mptcp"), &mut dice("mptcp.more"), &mut text);
    let is_shared = qos(&mut dice("qos"), &mut text);
    let mut drawn = Drawn { dice: dice("traffic"), more: dice("traffic.more"), traces: &mut of_writes };
    work::write(&topology, is_shared, &mut drawn, &mut text);
    traces::write(&[on_links, of_writes], &mut text);
    text
}

fn hosts(topology: &Topology, dice: &mut Dice, text: &mut String) {
    for host in &topology.hosts {
        let recv = if dice.percent(10) { dice.scaled(4096, 16_384) } else { dice.scaled(32_768, 1 << 20) };
        let send = recv * dice.between(1, 3);
        let native = dice.percent(70);
        let (stack, congestion) = if native {
            ("native", dice.pick(&["cubic", "cubic", "cubic", "reno", "reno", "dctcp", "bbr"]))
        } else {
            ("smoltcp", dice.pick(&["cubic", "cubic", "cubic", "reno", "reno", "none"]))
        };
        let ecn = native && dice.percent(30);
        let _ = writeln!(
            text,
            "[hosts.{host}]\nstack = \"{stack}\"\ncongestion = \"{congestion}\"\necn = {ecn}\n\
             recv_buffer = \"{recv}B\"\nsend_buffer = \"{send}B\""
        );
        if dice.percent(20) {
            let (packet, byte) = (dice.scaled(10, 20_000), dice.between(0, 5_000));
            let _ = writeln!(text, "cpu = {{ per_packet = \"{packet}ns\", per_byte = \"{byte}ps\" }}");
        }
        if dice.percent(20) {
            let (rate, ring) = (dice.scaled(2, 4000), dice.scaled(16, 1024));
            let _ = writeln!(text, "nic = {{ rate = \"{rate}Mbit\", ring = {ring}, tso = {} }}", dice.percent(50));
        }
        text.push('\n');
    }
}

fn mptcp(topology: &Topology, dice: &mut Dice, more: &mut Dice, text: &mut String) {
    let scheduler = dice.pick(&mptcp_core::SchedulerKind::ALL);
    let _ = writeln!(text, "[mptcp]\nscheduler = \"{scheduler}\"\nchecksum = {}", dice.percent(50));
    if dice.percent(40) {
        let (subflows, accepted) = (dice.between(0, 8), dice.between(0, 8));
        let _ = writeln!(text, "subflows = {subflows}\nadd_addr_accepted = {accepted}");
    }
    if dice.percent(35) {
        let endpoints: Vec<String> = topology.ends().filter_map(|(host, link)| endpoint(dice, host, link)).collect();
        let _ = writeln!(text, "endpoints = [{}]", endpoints.join(", "));
    }
    let coupling = dice.pick(&mptcp_core::Coupling::ALL);
    // One of the stacks cannot.
    if !text.contains("stack = \"smoltcp\"") {
        let _ = writeln!(text, "coupling = \"{coupling}\"");
    }
    if more.percent(20) {
        text.push_str("map_every_segment = true\n");
    }
    text.push('\n');
}

/// Shares of classes, now and then; whether there are any.
fn qos(dice: &mut Dice, text: &mut String) -> bool {
    let is_shared = dice.percent(20);
    if is_shared {
        text.push_str("[qos]\nenabled = true\n");
        let mut most = 1000;
        for class in ["latency", "bulk", "background"] {
            // None has more weight than what is more important.
            most = dice.scaled(1, most);
            let limit =
                if dice.percent(25) { format!("\"{}kbit\"", dice.scaled(1000, 50_000)) } else { "\"none\"".to_owned() };
            let _ = writeln!(text, "{class} = {{ weight = {most}, limit = {limit} }}");
        }
        text.push('\n');
    }
    is_shared
}

fn endpoint(dice: &mut Dice, host: &str, link: &str) -> Option<String> {
    let flags = dice.pick(&[
        "",
        "\"subflow\"",
        "\"subflow\"",
        "\"signal\"",
        "\"subflow\", \"backup\"",
        "\"signal\", \"backup\"",
        "\"subflow\", \"fullmesh\"",
        "\"subflow\", \"signal\"",
    ]);
    (!flags.is_empty()).then(|| format!("{{ host = \"{host}\", link = \"{link}\", flags = [{flags}] }}"))
}
