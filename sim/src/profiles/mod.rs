//! A library of link profiles: conditions by name, for `profile = "lte"` in a scenario.
//!
//! A profile is what a link says unless the scenario says otherwise. Each tells where its figures come
//! from; where they are round numbers of our own, it says that too.

use std::fmt::Write as _;

use crate::evaluation;
use crate::scenario::SHIPPED;

/// Conditions of a link by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in scenarios.
    pub name: &'static str,
    /// What it stands for.
    pub summary: &'static str,
    /// Where its figures come from, and what is assumed.
    pub source: &'static str,
    /// The keys of a link, as TOML.
    pub link: &'static str,
}

/// The profile of this name.
pub fn find(name: &str) -> Option<&'static Profile> {
    ALL.iter().find(|profile| profile.name == name)
}

/// What there is: the scenarios of the house and the profiles, as `sim list` prints them.
pub fn list() -> String {
    let scenarios = || SHIPPED.iter().chain(evaluation::SCENARIOS);
    let widest = scenarios().map(|scenario| scenario.name).chain(ALL.iter().map(|profile| profile.name)).map(str::len);
    let width = widest.max().unwrap_or(0);
    let mut text = String::from("Scenarios:\n");
    // Writing to a String cannot fail.
    for scenario in scenarios() {
        let _ = writeln!(text, "  {:width$}  {}", scenario.name, scenario.title());
    }
    text.push_str("\nLink profiles:\n");
    for profile in ALL {
        let _ = writeln!(text, "  {:width$}  {}", profile.name, profile.summary);
    }
    text
}

/// All profiles, grouped by kind.
pub const ALL: &[Profile] = &[
    Profile {
        name: "datacentre-10g",
        summary: "10 Gbit/s within a data centre, 20 us one way",
        source: "Assumption: 40 us round trip over two switches; 512 KiB of a shared buffer per port.",
        link: r#"
            rate = "10Gbit"
            delay = "20us"
            queue = { kind = "droptail", bytes = "512KiB" }
        "#,
    },
    Profile {
        name: "datacentre-25g",
        summary: "25 Gbit/s within a data centre, 15 us one way",
        source: "Assumption: 30 us round trip over two switches; 1 MiB of a shared buffer per port.",
        link: r#"
            rate = "25Gbit"
            delay = "15us"
            queue = { kind = "droptail", bytes = "1MiB" }
        "#,
    },
    Profile {
        name: "datacentre-100g",
        summary: "100 Gbit/s within a data centre, 10 us one way, jumbo frames",
        source: "Assumption: 20 us round trip over two switches; 4 MiB of a shared buffer per port; MTU 9000.",
        link: r#"
            rate = "100Gbit"
            delay = "10us"
            mtu = 9000
            queue = { kind = "droptail", bytes = "4MiB" }
        "#,
    },
    Profile {
        name: "simult-10mbit",
        summary: "10 Mbit/s without delay, as in the kernel's simult_flows.sh",
        source: "Linux 6.12, tools/testing/selftests/net/mptcp/simult_flows.sh: netem rate 10mbit limit 50.",
        link: r#"
            rate = "10Mbit"
            queue = { packets = 50, count_in_flight = true }
        "#,
    },
    Profile {
        name: "simult-10mbit-1ms",
        summary: "10 Mbit/s, 1 ms one way, as in simult_flows.sh",
        source: "Linux 6.12, simult_flows.sh: netem rate 10mbit delay 1ms limit 50.",
        link: r#"
            rate = "10Mbit"
            delay = "1ms"
            queue = { packets = 50, count_in_flight = true }
        "#,
    },
    Profile {
        name: "simult-10mbit-25ms",
        summary: "10 Mbit/s, 25 ms one way, as in simult_flows.sh",
        source: "Linux 6.12, simult_flows.sh: netem rate 10mbit delay 25ms limit 50.",
        link: r#"
            rate = "10Mbit"
            delay = "25ms"
            queue = { packets = 50, count_in_flight = true }
        "#,
    },
    Profile {
        name: "simult-3mbit",
        summary: "3 Mbit/s without delay, as in simult_flows.sh",
        source: "Linux 6.12, simult_flows.sh: netem rate 3mbit limit 50.",
        link: r#"
            rate = "3Mbit"
            queue = { packets = 50, count_in_flight = true }
        "#,
    },
    Profile {
        name: "simult-3mbit-1ms",
        summary: "3 Mbit/s, 1 ms one way, as in simult_flows.sh",
        source: "Linux 6.12, simult_flows.sh: netem rate 3mbit delay 1ms limit 50.",
        link: r#"
            rate = "3Mbit"
            delay = "1ms"
            queue = { packets = 50, count_in_flight = true }
        "#,
    },
    Profile {
        name: "simult-3mbit-25ms",
        summary: "3 Mbit/s, 25 ms one way, as in simult_flows.sh",
        source: "Linux 6.12, simult_flows.sh: netem rate 3mbit delay 25ms limit 50.",
        link: r#"
            rate = "3Mbit"
            delay = "25ms"
            queue = { packets = 50, count_in_flight = true }
        "#,
    },
    Profile {
        name: "wifi",
        summary: "Wi-Fi at home: 80 Mbit/s, 3 ms, jitter, rare losses in bursts",
        source: "Assumption: round numbers for 802.11ac at some distance; link-layer retransmission hides most losses as jitter.",
        link: r#"
            rate = "80Mbit"
            delay = "3ms"
            jitter = { amount = "2ms", distribution = "pareto" }
            loss = { model = "gilbert-elliott", p = "0.02%", r = "30%", loss_bad = "50%" }
            queue = { kind = "fq-codel", packets = 8192, ecn = true }
        "#,
    },
    Profile {
        name: "lte",
        summary: "LTE: 30 Mbit/s down, 10 Mbit/s up, 25 ms, deep queue, no loss",
        source: "Assumption: round numbers; the link layer repeats what is lost, and queues hold about half a second.",
        link: r#"
            delay = "25ms"
            jitter = { amount = "5ms", distribution = "normal" }
            up = { rate = "10Mbit", queue = { bytes = "640KiB" } }
            down = { rate = "30Mbit", queue = { bytes = "1920KiB" } }
        "#,
    },
    Profile {
        name: "5g",
        summary: "5G below 6 GHz: 300 Mbit/s down, 50 Mbit/s up, 10 ms",
        source: "Assumption: round numbers; 100 ms of queue.",
        link: r#"
            delay = "10ms"
            jitter = { amount = "3ms", distribution = "normal" }
            up = { rate = "50Mbit", queue = { bytes = "640KiB" } }
            down = { rate = "300Mbit", queue = { bytes = "3840KiB" } }
        "#,
    },
    Profile {
        name: "starlink-like",
        summary: "Low orbit: rate, delay and loss change every 15 s",
        source: "The 15 s reconfiguration interval is measured (WWW 2024, WetLinks arXiv 2402.16448); that each is drawn evenly from a range, and the ranges, are assumptions.",
        link: r#"
            delay = "25ms"
            jitter = { amount = "4ms", distribution = "normal" }
            up = { rate = "15Mbit", queue = { bytes = "384KiB" }, steps = { every = "15s", rates = { min = "5Mbit", max = "25Mbit" }, delays = { min = "15ms", max = "45ms" }, losses = { min = "0%", max = "1.5%" } } }
            down = { rate = "150Mbit", queue = { bytes = "2MiB" }, steps = { every = "15s", rates = { min = "50Mbit", max = "250Mbit" }, delays = { min = "15ms", max = "45ms" }, losses = { min = "0%", max = "1.5%" } } }
        "#,
    },
    Profile {
        name: "transcontinental",
        summary: "1 Gbit/s over 140 ms one way, rare loss",
        source: "Assumption: Europe to Australia, one loss in 100,000 packets, half a bandwidth-delay product of queue.",
        link: r#"
            rate = "1Gbit"
            delay = "140ms"
            loss = "0.001%"
            queue = { bytes = "16MiB" }
        "#,
    },
    Profile {
        name: "lossy",
        summary: "100 Mbit/s, 20 ms, 1 % random loss each way",
        source: "Assumption: a bad radio link without repetition; losses are independent.",
        link: r#"
            rate = "100Mbit"
            delay = "20ms"
            loss = "1%"
            queue = { bytes = "512KiB" }
        "#,
    },
    Profile {
        name: "bufferbloat",
        summary: "10 Mbit/s, 15 ms, and 1.7 s of queue",
        source: "Assumption: a home router with 2 MiB of buffer in front of a slow uplink.",
        link: r#"
            rate = "10Mbit"
            delay = "15ms"
            queue = { bytes = "2MiB" }
        "#,
    },
    Profile {
        name: "flapping",
        summary: "100 Mbit/s, 10 ms, down for 1 s in every 5",
        source: "Assumption: a failing cable; hosts notice the loss of carrier.",
        link: r#"
            rate = "100Mbit"
            delay = "10ms"
            queue = { bytes = "256KiB" }
            events = [{ at = "2s", action = "down", for = "1s", every = "5s" }]
        "#,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_profile_is_a_link() {
        for profile in ALL {
            let text = format!("[links.p]\nprofile = \"{}\"\n[[traffic]]\nbytes = \"1MB\"\n", profile.name);
            let scenario = Scenario::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
            let explained = scenario.explain();
            assert_eq!(Scenario::parse(&explained, "explained").unwrap(), scenario, "{explained}");
            assert!(profile.source.ends_with('.') && !profile.summary.is_empty());
        }
    }

    #[test]
    fn the_list_has_one_line_for_each() {
        let list = list();
        let (scenarios, profiles) = list.split_once("\nLink profiles:\n").unwrap();
        let lines = |text: &str, name: &str| {
            text.lines().filter(|line| line.trim_start().split(' ').next() == Some(name)).count()
        };
        for scenario in SHIPPED {
            assert_eq!(lines(scenarios, scenario.name), 1, "{}", scenario.name);
        }
        for profile in ALL {
            assert_eq!(lines(profiles, profile.name), 1, "{}", profile.name);
        }
    }
}
