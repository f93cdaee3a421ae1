//! What links do to packets, and what happens to links.

use std::fmt::Write;
use std::time::Duration;

use super::Drawn;
use super::topology::Wire;
use crate::fuzz::dice::{Dice, text_of};

/// Conditions of both directions, or of each its own, and events.
pub(super) fn write(link: &Wire, drawn: &mut Drawn<'_>, text: &mut String) {
    // Most scenarios have links that differ in a few things; where everything goes wrong, little is learnt.
    let trouble = drawn.dice.pick(&[0, 10, 10, 30, 60]);
    let mut both = String::new();
    direction(link, trouble, drawn, &mut both);
    events(link, trouble, &mut drawn.dice, &mut both);
    if both.contains("action = \"down\"") && drawn.more.percent(50) {
        both.push_str("carrier_loss = \"address\"\n");
    }
    // No event may change what a queue counts.
    if !both.contains("queue = ") && drawn.more.percent(15) {
        let _ = writeln!(both, "queue = {{ packets = {}, count_in_flight = true }}", drawn.more.scaled(64, 4000));
    }
    text.push_str(&both);
    if drawn.dice.percent(20) {
        let _ = writeln!(text, "[links.{}.down]", link.name);
        direction(link, trouble, drawn, text);
    }
}

fn direction(link: &Wire, trouble: u64, drawn: &mut Drawn<'_>, text: &mut String) {
    let Drawn { dice, more, traces } = drawn;
    let rate = rate(dice);
    let _ = writeln!(text, "rate = {}", traces.rate().unwrap_or(rate));
    let _ = writeln!(text, "delay = {}", dice.time(50, 100_000));
    if dice.percent(trouble) {
        let distribution = dice.pick(&["uniform", "normal", "pareto", "paretonormal"]);
        let order = dice.pick(&["as-netem", "free", "kept"]);
        let (amount, correlation) = (dice.time(50, 30_000), dice.probability(0, 50_000));
        let drawn = format!(
            "{{ amount = {amount}, distribution = \"{distribution}\", order = \"{order}\", \
             correlation = {correlation} }}"
        );
        let _ = writeln!(text, "jitter = {}", traces.jitter(order).unwrap_or(drawn));
    }
    if dice.percent(2 * trouble) {
        let (loss, marks) = (loss(dice), more.percent(25));
        let _ = writeln!(text, "loss = {{ {}, ecn = {marks} }}", traces.losses().unwrap_or(loss));
    }
    if dice.percent(trouble) {
        let _ = writeln!(text, "duplicate = {}", dice.probability(1, 5000));
    }
    if dice.percent(trouble) && link.damages {
        let _ = writeln!(text, "corrupt = {}", dice.probability(1, 2000));
    }
    if dice.percent(trouble) {
        let (p, gap) = (dice.probability(1, 25_000), dice.between(1, 5));
        let _ = writeln!(text, "reorder = {{ p = {p}, gap = {gap} }}");
    }
    if dice.percent(30 + trouble) {
        let _ = writeln!(text, "queue = {}", queue(link.mtu, dice));
    }
    if dice.percent(trouble / 2) {
        let _ = writeln!(text, "overhead = \"{}B\"", dice.between(1, 40));
    }
    if dice.percent(trouble / 3) {
        let (every, delay) = (dice.time(50_000, 5_000_000), dice.between(1, 40));
        let timing = dice.pick(&["fixed", "exponential"]);
        let rate = dice.between(2, 20);
        let _ = writeln!(
            text,
            "steps = {{ every = {every}, timing = \"{timing}\", rates = {{ min = \"{rate}Mbit\", max = \"{}Mbit\" }}, \
             delays = [\"{delay}ms\", \"{}ms\"] }}",
            2 * rate,
            3 * delay,
        );
    }
}

fn rate(dice: &mut Dice) -> String {
    match dice.between(0, 19) {
        0 => "\"none\"".to_owned(),
        1 => {
            let (fast, slow) = (dice.scaled(2000, 100_000), dice.scaled(500, 2000));
            let (long, short) = (dice.time(20_000, 2_000_000), dice.time(20_000, 1_000_000));
            format!(
                "{{ steps = [{{ for = {long}, rate = \"{fast}kbit\" }}, {{ for = {short}, rate = \"{slow}kbit\" }}, \
                 {{ for = {short}, rate = \"0bit\" }}] }}"
            )
        }
        _ => format!("\"{}kbit\"", dice.scaled(1000, 1_000_000)),
    }
}

/// The keys of losses.
fn loss(dice: &mut Dice) -> String {
    let unit = dice.pick(&["packet", "packet", "packet", "gso"]);
    match dice.between(0, 6) {
        0..=2 => {
            let (p, correlation) = (dice.probability(10, 5000), dice.probability(0, 30_000));
            format!("model = \"random\", p = {p}, correlation = {correlation}, unit = \"{unit}\"")
        }
        3 => {
            let (p, r) = (dice.probability(50, 1500), dice.probability(70_000, 95_000));
            let (bad, good) = (dice.probability(20_000, 100_000), dice.probability(0, 500));
            format!(
                "model = \"gilbert-elliott\", p = {p}, r = {r}, loss_bad = {bad}, loss_good = {good}, \
                 unit = \"{unit}\""
            )
        }
        4 => {
            let (p13, p31) = (dice.probability(50, 1500), dice.probability(70_000, 95_000));
            let (p32, p23) = (dice.probability(0, 5_000), dice.probability(5_000, 20_000));
            let p14 = dice.probability(0, 1500);
            format!(
                "model = \"four-state\", p13 = {p13}, p31 = {p31}, p32 = {p32}, p23 = {p23}, p14 = {p14}, \
                 unit = \"{unit}\""
            )
        }
        // Losses by numbers, few of them in a row: a sender that goes back can be in step with others for ever.
        5 => format!("model = \"periodic\", every = {}, first = {}", dice.scaled(50, 500), dice.between(1, 50)),
        _ => {
            let mut last = 0;
            let mut numbers = Vec::new();
            for _ in 0..dice.between(1, 6) {
                last += dice.scaled(3, 100);
                numbers.push(last.to_string());
            }
            format!("model = \"list\", packets = [{}]", numbers.join(", "))
        }
    }
}

fn queue(mtu: u64, dice: &mut Dice) -> String {
    let ecn = dice.percent(50);
    let limit = dice.scaled(16, 256) * (mtu + 14);
    match dice.between(0, 8) {
        8 => format!("{{ kind = \"step\", packets = {}, mark = \"{}B\" }}", dice.scaled(16, 1000), limit / 4),
        0..=2 => format!("{{ packets = {} }}", dice.scaled(16, 1000)),
        3 => format!("{{ bytes = \"{limit}B\" }}"),
        4 => {
            let (max, probability) = (limit / 2, dice.probability(500, 20_000));
            format!(
                "{{ kind = \"red\", limit = \"{limit}B\", min = \"{}B\", max = \"{max}B\", probability = {probability}, \
                 weight_log = {}, ecn = {ecn} }}",
                max / 3,
                dice.between(3, 9)
            )
        }
        5 => format!("{{ kind = \"codel\", packets = {}, ecn = {ecn} }}", dice.scaled(16, 1000)),
        6 => {
            let (packets, flows) = (dice.scaled(32, 4096), dice.scaled(1, 1024));
            format!("{{ kind = \"fq-codel\", packets = {packets}, flows = {flows}, ecn = {ecn} }}")
        }
        _ => format!("{{ kind = \"pie\", packets = {}, ecn = {ecn} }}", dice.scaled(16, 1000)),
    }
}

/// Outages and changes, all of which end. Together they leave time enough that no handshake and no retransmission, each
/// of which waits twice as long as the one before, always meets one.
fn events(link: &Wire, trouble: u64, dice: &mut Dice, text: &mut String) {
    if !dice.percent(trouble) {
        return;
    }
    let mut events = Vec::new();
    let mut at = Duration::ZERO;
    for _ in 0..dice.between(1, 3) {
        at += Duration::from_micros(dice.scaled(1000, 4_000_000));
        let times = if dice.percent(25) { dice.between(2, 5) } else { 1 };
        let lasts = Duration::from_micros(dice.scaled(10_000, 6_000_000 / times));
        let direction = dice.pick(&["both", "both", "both", "up", "down"]);
        let action = match dice.between(0, 5) {
            0 | 1 => "action = \"down\"".to_owned(),
            2 => "action = \"blackhole\"".to_owned(),
            _ => format!("action = \"set\", {}", change(link, dice)),
        };
        let period = lasts + Duration::from_micros(dice.scaled(50_000, 3_000_000));
        let again = match times {
            1 => String::new(),
            _ => format!(", every = {}, times = {times}", text_of(period)),
        };
        events.push(format!(
            "  {{ at = {}, for = {}{again}, direction = \"{direction}\", {action} }},\n",
            text_of(at),
            text_of(lasts)
        ));
        // At most five.
        at += period * times as u32;
    }
    let _ = writeln!(text, "events = [\n{}]", events.concat());
}

fn change(link: &Wire, dice: &mut Dice) -> String {
    match dice.between(0, 6) {
        0 => format!("rate = \"{}kbit\"", dice.scaled(500, 100_000)),
        1 => format!("delay = {}", dice.time(50, 300_000)),
        2 => format!("loss = {}", dice.probability(1000, 60_000)),
        3 => format!("duplicate = {}", dice.probability(1000, 30_000)),
        4 => format!("mtu = {}", dice.between(link.least_mtu(), link.mtu)),
        5 => format!("jitter = {}", dice.time(100, 50_000)),
        _ => format!("queue = {}", queue(link.mtu, dice)),
    }
}
