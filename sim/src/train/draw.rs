//! The networks that the scheduler is trained in.

use std::fmt::Write;

use mptcp_core::SchedulerKind;

use crate::fuzz::Dice;
use crate::random::Streams;

/// Name of the traffic.
pub(super) const TRAFFIC: &str = "it";

/// Two paths, the second one 2 to 30 times as long as the first, with rates, queues and losses of all kinds, some of which change; bulk data on
/// windows from tight to wide, or objects one after the other.
pub(super) fn network(seed: u64, scheduler: SchedulerKind) -> String {
    let mut dice = Dice(Streams::new(seed).stream("train"));
    let delay = dice.scaled(2_000, 16_000);
    let longer = delay * dice.between(4, 60) / 2;
    let changing = dice.percent(25);
    let mut text = format!("[mptcp]\nscheduler = \"{scheduler}\"\n\n[run]\nseed = {seed}\n");
    // Writing to a string cannot fail.
    for (link, delay) in [("near", delay), ("far", longer)] {
        let (rate, packets) = (dice.scaled(2, 32), dice.scaled(16, 128));
        let loss = if dice.percent(30) { dice.probability(10, 1000) } else { "\"none\"".to_owned() };
        let _ = writeln!(
            text,
            "\n[links.{link}]\nrate = \"{rate}Mbit\"\ndelay = \"{delay}us\"\nqueue = {{ packets = {packets} }}\nloss = {loss}"
        );
        if changing {
            let _ = writeln!(
                text,
                "steps = {{ every = \"1s\", timing = \"exponential\", rates = [\"{rate}Mbit\", \"{}Mbit\"] }}",
                rate * 2
            );
        }
    }
    let window = dice.scaled(32, 1024);
    let _ = writeln!(
        text,
        "\n[hosts.client]\nrecv_buffer = \"{window}KiB\"\n\n[hosts.server]\nrecv_buffer = \"{window}KiB\""
    );
    if dice.percent(50) {
        let _ = writeln!(
            text,
            "\n[[traffic]]\nname = \"{TRAFFIC}\"\nkind = \"bulk\"\nbytes = \"{}kB\"",
            dice.scaled(512, 4096)
        );
    } else {
        let (size, count) = (dice.scaled(16, 512), dice.between(5, 30));
        let _ = writeln!(
            text,
            "\n[[traffic]]\nname = \"{TRAFFIC}\"\nkind = \"request\"\nrequest = \"200B\"\nresponse = \"{size}kB\"\ncount = {count}"
        );
    }
    text
}
