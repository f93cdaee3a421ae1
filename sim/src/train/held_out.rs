//! The conditions that nothing is trained in.

use std::fmt::Write;

use mptcp_core::SchedulerKind;

use super::draw::TRAFFIC;
use crate::fuzz::Dice;
use crate::random::Streams;

/// The first seed of comparisons. Training uses lower ones only.
pub(super) const FIRST_HELD_OUT_SEED: u64 = 1_000_000_000;

/// Paths and traffic.
#[derive(Debug)]
pub(super) struct HeldOut {
    pub(super) name: &'static str,
    paths: &'static [Path],
    /// Receive buffer in KiB.
    window: u64,
    work: Work,
}

/// What is carried; the smaller its figure, the better.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// So many kilobytes: the time until all are delivered.
    Bulk(u64),
    /// Objects of so many kilobytes, one after the other, and how many: the mean time of one.
    Objects(u64, u64),
}

#[derive(Debug)]
struct Path {
    /// kbit/s.
    rate: u64,
    /// One way, in microseconds.
    delay: u64,
    /// Packets.
    queue: u64,
    /// Further keys of the link.
    more: &'static str,
}

const fn path(mbit: u64, delay_ms: u64, queue: u64, more: &'static str) -> Path {
    Path { rate: mbit * 1000, delay: delay_ms * 1000, queue, more }
}

const LOSS: &str = "loss = \"1%\"";
const BURSTS: &str = r#"loss = { model = "gilbert-elliott", p = "0.3%", r = "25%", loss_bad = "75%" }"#;
const JITTER: &str = r#"jitter = { amount = "4ms", distribution = "normal", order = "kept" }"#;
const STEPS_FAST: &str =
    r#"steps = { every = "2s", timing = "exponential", rates = ["2Mbit", "5Mbit", "10Mbit", "20Mbit"] }"#;
const STEPS_SLOW: &str =
    r#"steps = { every = "2s", timing = "exponential", rates = ["1Mbit", "4Mbit", "8Mbit", "16Mbit"] }"#;

use Work::{Bulk, Objects};

/// All of them. The paths of each are drawn anew for every seed, within a quarter of the rates and delays given here.
pub(super) const HELD_OUT: &[HeldOut] = &[
    HeldOut {
        name: "bulk, RTT ratio 2, wide window",
        paths: &[path(10, 10, 60, ""), path(10, 20, 60, "")],
        window: 4096,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, RTT ratio 2, tight window",
        paths: &[path(10, 10, 60, ""), path(10, 20, 60, "")],
        window: 96,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, RTT ratio 6, tight window",
        paths: &[path(20, 10, 60, ""), path(10, 60, 100, "")],
        window: 256,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, RTT ratio 25, tight window",
        paths: &[path(20, 6, 60, ""), path(10, 150, 200, "")],
        window: 384,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, RTT ratio 10, thin slow path",
        paths: &[path(30, 8, 60, ""), path(2, 80, 60, "")],
        window: 512,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, 1 % loss on the fast path",
        paths: &[path(20, 10, 60, LOSS), path(10, 50, 60, "")],
        window: 512,
        work: Bulk(6000),
    },
    HeldOut {
        name: "bulk, 1 % loss on the slow path",
        paths: &[path(20, 10, 60, ""), path(10, 50, 60, LOSS)],
        window: 512,
        work: Bulk(6000),
    },
    HeldOut {
        name: "bulk, bursts of loss on both",
        paths: &[path(20, 10, 60, BURSTS), path(20, 40, 60, BURSTS)],
        window: 512,
        work: Bulk(6000),
    },
    HeldOut {
        name: "bulk, rates that change",
        paths: &[path(10, 12, 60, STEPS_FAST), path(8, 50, 60, STEPS_SLOW)],
        window: 512,
        work: Bulk(16_000),
    },
    HeldOut {
        name: "bulk, delays that vary",
        paths: &[path(20, 15, 60, JITTER), path(15, 60, 80, JITTER)],
        window: 512,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, a second of queue on the slow path",
        paths: &[path(15, 12, 60, ""), path(4, 30, 400, "")],
        window: 1024,
        work: Bulk(8000),
    },
    HeldOut {
        name: "bulk, three paths",
        paths: &[path(15, 8, 60, ""), path(10, 30, 60, ""), path(5, 90, 80, "")],
        window: 512,
        work: Bulk(8000),
    },
    HeldOut {
        name: "objects of 16 kB, RTT ratio 5",
        paths: &[path(10, 10, 60, ""), path(10, 50, 60, "")],
        window: 4096,
        work: Objects(16, 60),
    },
    HeldOut {
        name: "objects of 64 kB, RTT ratio 3",
        paths: &[path(10, 15, 60, ""), path(10, 45, 60, "")],
        window: 4096,
        work: Objects(64, 40),
    },
    HeldOut {
        name: "objects of 256 kB, RTT ratio 10",
        paths: &[path(10, 8, 60, ""), path(20, 80, 120, "")],
        window: 4096,
        work: Objects(256, 20),
    },
    HeldOut {
        name: "objects of 1 MB, RTT ratio 25",
        paths: &[path(20, 6, 60, ""), path(10, 150, 200, "")],
        window: 1024,
        work: Objects(1000, 10),
    },
    HeldOut {
        name: "objects of 128 kB, 1 % loss on both",
        paths: &[path(20, 12, 60, LOSS), path(10, 40, 60, LOSS)],
        window: 4096,
        work: Objects(128, 30),
    },
    HeldOut {
        name: "objects of 256 kB, rates that change",
        paths: &[path(10, 12, 60, STEPS_FAST), path(8, 50, 60, STEPS_SLOW)],
        window: 4096,
        work: Objects(256, 40),
    },
    HeldOut {
        name: "objects of 128 kB, delays that vary, three paths",
        paths: &[path(12, 10, 60, JITTER), path(10, 35, 60, JITTER), path(8, 80, 60, JITTER)],
        window: 4096,
        work: Objects(128, 30),
    },
];

impl HeldOut {
    /// The scenario for a seed.
    pub(super) fn scenario(&self, seed: u64, scheduler: SchedulerKind) -> String {
        let mut dice = Dice(Streams::new(seed).stream("held-out"));
        let mut text = format!("[mptcp]\nscheduler = \"{scheduler}\"\n\n[run]\nseed = {seed}\n");
        // Writing to a string cannot fail.
        for (index, Path { rate, delay, queue, more }) in self.paths.iter().enumerate() {
            let [rate, delay] = [rate, delay].map(|given| given * dice.between(80, 125) / 100);
            let _ = writeln!(
                text,
                "\n[links.p{index}]\nrate = \"{rate}kbit\"\ndelay = \"{delay}us\"\nqueue = {{ packets = {queue} }}\n{more}"
            );
        }
        let window = self.window;
        let _ = writeln!(
            text,
            "\n[hosts.client]\nrecv_buffer = \"{window}KiB\"\n\n[hosts.server]\nrecv_buffer = \"{window}KiB\"\n\n[[traffic]]\nname = \"{TRAFFIC}\""
        );
        let _ = match self.work {
            Work::Bulk(size) => writeln!(text, "kind = \"bulk\"\nbytes = \"{size}kB\""),
            Work::Objects(size, count) => {
                writeln!(text, "kind = \"request\"\nrequest = \"200B\"\nresponse = \"{size}kB\"\ncount = {count}")
            }
        };
        text
    }
}
