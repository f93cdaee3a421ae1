//! Middleboxes.

use std::fmt::Write;

use super::topology::{Topology, Wire};
use crate::fuzz::dice::Dice;

const OPTIONS: [&str; 15] = [
    "mptcp",
    "mp_capable",
    "mp_join",
    "dss",
    "add_addr",
    "remove_addr",
    "mp_prio",
    "mp_fail",
    "mp_fastclose",
    "mp_tcprst",
    "sack",
    "timestamps",
    "window_scale",
    "mss",
    "all",
];
const SEGMENTS: [&str; 7] = ["all", "all", "syn", "syn-ack", "data", "ack", "fin"];

/// None in most scenarios, up to three in the others.
pub(super) fn write(topology: &Topology, dice: &mut Dice, text: &mut String) {
    let number = dice.pick(&[0, 0, 0, 1, 1, 2, 3]);
    for index in 0..number {
        // An index below the number of links.
        let link = &topology.links[dice.between(0, topology.links.len() as u64 - 1) as usize];
        let direction = dice.pick(&["both", "both", "up", "down"]);
        let (kind, direction) = behaviour(link, direction, dice);
        let _ = writeln!(text, "[middlebox.m{index}]\nlink = \"{}\"\ndirection = \"{direction}\"\n{kind}\n", link.name);
    }
}

fn behaviour(link: &Wire, direction: &'static str, dice: &mut Dice) -> (String, &'static str) {
    let text = match dice.between(0, 11) {
        0 | 1 => format!("kind = \"strip-option\"\n{}", choice(dice)),
        2 => format!("kind = \"alter-option\"\n{}", choice(dice)),
        // Only what connects can be behind a translator.
        3 if link.from == "client" || link.to == "client" => {
            let rebind = if dice.percent(50) { "\"none\"".to_owned() } else { dice.time(3_000_000, 30_000_000) };
            let direction = if link.from == "client" { "up" } else { "down" };
            return (format!("kind = \"nat\"\nrebind = {rebind}"), direction);
        }
        3 | 4 => "kind = \"rewrite-sequence\"".to_owned(),
        5 => format!("kind = \"split\"\nsize = \"{}B\"", dice.scaled(50, 4000)),
        6 => format!("kind = \"coalesce\"\nsize = \"{}B\"\nhold = {}", dice.scaled(100, 8192), dice.time(10, 5_000)),
        7 => format!("kind = \"alter-payload\"\nevery = {}", dice.scaled(50, 400)),
        8 => "kind = \"proxy-ack\"".to_owned(),
        9 => format!("kind = \"drop-syn\"\noption = \"{}\"", dice.pick(&["mptcp", "mp_capable", "mp_join"])),
        10 => format!("kind = \"replay\"\nevery = {}\ndelay = {}", dice.scaled(2, 200), dice.time(100, 2_000_000)),
        _ => match dice.between(0, 3) {
            0 => "kind = \"reset\"".to_owned(),
            _ => format!("kind = \"reset\"\nafter = \"{}B\"", dice.scaled(100, 200_000)),
        },
    };
    (text, direction)
}

fn choice(dice: &mut Dice) -> String {
    let mut text = format!("option = \"{}\"\nsegments = \"{}\"", dice.pick(&OPTIONS), dice.pick(&SEGMENTS));
    if dice.percent(30) {
        let _ = write!(text, "\nskip = {}", dice.scaled(1, 64));
    }
    if dice.percent(30) {
        let _ = write!(text, "\ncount = {}", dice.scaled(1, 64));
    }
    text
}
