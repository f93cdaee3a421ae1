//! What must hold of every run.

use std::time::Duration;

use mptcp_core::CloseReason;

use super::counters;
use super::grace::{self, Grace};
use super::patience::patience;
use crate::run::Effort;
use crate::run::may_be_wrong;
use crate::run::rest::{FlowEnd, HostRest, Outcome};
use crate::scenario::{Scenario, Transport};
use crate::traffic::State;

/// What was wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// What was drawn is no scenario.
    #[error("{0}")]
    Scenario(String),
    /// The run did not come to its end.
    #[error("{0}")]
    Run(String),
    /// The program panicked.
    #[error("panic: {0}")]
    Panic(String),
    /// Bytes arrived that nobody had sent, and nothing on the way could have changed them unnoticed.
    #[error("{flow} delivered {wrong} bytes that were not those that were sent")]
    WrongBytes {
        /// The connection.
        flow: String,
        /// How many.
        wrong: u64,
    },
    /// A connection broke though nothing on the way could break it.
    #[error("{flow}: {reason} after {delivered} bytes")]
    Broken {
        /// The connection.
        flow: String,
        /// What its end was told.
        reason: String,
        /// Bytes that had arrived, both ways.
        delivered: u64,
    },
    /// Nothing arrived for very long though the path was there.
    #[error("{flow} stalled after {delivered} bytes")]
    Stalled {
        /// The connection.
        flow: String,
        /// Bytes that had arrived, both ways.
        delivered: u64,
    },
    /// Nothing arrived for longer than anything on the way could hold it up, be it that more came then or that its time was over.
    #[error(
        "{flow} waited for {stall:?}, at most {longest:?} of which the network explains: {delivered} bytes arrived in all"
    )]
    Held {
        /// The connection.
        flow: String,
        /// Bytes that had arrived, both ways.
        delivered: u64,
        /// How long nothing arrived though something was under way.
        stall: Duration,
        /// How long that may be.
        longest: Duration,
    },
    /// Packets are missing in the books, or nobody has made them.
    #[error("packets are unaccounted for at {part}")]
    Unaccounted {
        /// Whose books are wrong.
        part: String,
    },
    /// Packets that never arrive.
    #[error("{0} packets are still under way when everything is over")]
    UnderWay(u64),
    /// Something is left of connections that are closed.
    #[error("host '{host}' keeps {bytes} bytes and {entries:?} entries of connections that are closed")]
    LeftBehind {
        /// The host.
        host: String,
        /// Bytes that it accounts for.
        bytes: usize,
        /// Entries in its tables.
        entries: (usize, usize, usize),
    },
    /// A stack waits for something though it has no connection.
    #[error("host '{host}' still has a timer though it has no connection")]
    Timer {
        /// The host.
        host: String,
    },
    /// A host has counted other options than the network has seen.
    #[error("host '{host}': {counter} is {value}, but the network has seen {seen}")]
    Miscounted {
        /// The host.
        host: String,
        /// Name of its counter.
        counter: String,
        /// Its value.
        value: u64,
        /// What the network has seen of what it counts.
        seen: u64,
    },
    /// A counter has a value that nothing in the scenario explains.
    #[error("host '{host}': {counter} is {value}")]
    Counter {
        /// The host.
        host: String,
        /// Its name.
        counter: String,
        /// Its value.
        value: u64,
    },
}

/// Looks for faults.
pub(super) fn judge(scenario: &Scenario, outcome: &Outcome) -> Result<Effort, Vec<Fault>> {
    let mut faults = Vec::new();
    for flow in &outcome.flows {
        judge_flow(scenario, flow, &mut faults);
    }
    if let Some(part) = outcome.unbalanced.clone() {
        faults.push(Fault::Unaccounted { part });
    }
    if outcome.under_way > 0 {
        faults.push(Fault::UnderWay(outcome.under_way));
    }
    for host in &outcome.hosts {
        judge_host(scenario, host, &mut faults);
    }
    if faults.is_empty() { Ok(outcome.effort) } else { Err(faults) }
}

fn judge_flow(scenario: &Scenario, flow: &FlowEnd, faults: &mut Vec<Fault>) {
    let traffic = &scenario.traffic[flow.traffic];
    let (name, delivered) = (flow.name.clone(), flow.delivered);
    if flow.wrong > 0 && !may_be_wrong(scenario, traffic, flow.fell_back) {
        faults.push(Fault::WrongBytes { flow: name.clone(), wrong: flow.wrong });
    }
    // Datagrams have no end.
    if traffic.transport == Transport::Udp {
        return;
    }
    let grace = Grace::of(scenario, traffic);
    let never_opens = || delivered == 0 && grace::loses_much(scenario, traffic);
    match flow.state {
        State::Failed(reason) => {
            let refused = reason == CloseReason::Refused && delivered == 0;
            let cannot = (refused && grace::begins_without_address(scenario, traffic))
                || grace::may_have_lost_its_first_path(scenario, traffic, flow);
            if !grace.forgives_breaking(flow, traffic) && !never_opens() && !cannot {
                faults.push(Fault::Broken { flow: name, reason: reason.to_string(), delivered });
            }
        }
        State::Waiting | State::Running => {
            let never_hears = grace::only_listens(traffic) && never_opens();
            if !grace.forgives_hanging(flow, traffic) && !never_hears {
                faults.push(Fault::Stalled { flow: name, delivered });
            }
        }
        State::Complete | State::Stopped | State::Replaced => {
            let waits = if grace.forgives_waiting() { UNTIL_GIVEN_UP } else { Duration::ZERO };
            let longest = patience(scenario, traffic) + waits;
            if flow.stall > longest && !grace.forgives_hanging(flow, traffic) {
                faults.push(Fault::Held { flow: name, delivered, stall: flow.stall, longest });
            }
        }
    }
}

/// How long a subflow is kept on which nothing is acknowledged: three minutes, which are found to be over when the next repetition is due, a minute
/// later at most.
const UNTIL_GIVEN_UP: Duration = Duration::from_secs(4 * 60);

fn judge_host(scenario: &Scenario, host: &HostRest, faults: &mut Vec<Fault>) {
    if (host.memory, host.tables) != (0, (0, 0, 0)) {
        faults.push(Fault::LeftBehind { host: host.name.clone(), bytes: host.memory, entries: host.tables });
    } else if host.timer {
        faults.push(Fault::Timer { host: host.name.clone() });
    }
    counters::judge(scenario, host, faults);
}

/// How long the hosts have, after all traffic is over, to forget their connections: the longest that a stack waits for
/// peers, with some of it again for what was under way.
pub(super) const REST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    /// How the only connection of a scenario ended.
    fn end(state: State, delivered: u64, stall: u64) -> FlowEnd {
        let (name, stall) = ("t".to_owned(), Duration::from_secs(stall));
        FlowEnd { traffic: 0, name, state, delivered, stall, wrong: 0, fell_back: false, joined: false }
    }

    /// What is said of that.
    fn verdict(text: &str, flow: FlowEnd) -> Result<Effort, Vec<Fault>> {
        let scenario = Scenario::parse(text, "test").unwrap();
        let outcome =
            Outcome { flows: vec![flow], hosts: Vec::new(), unbalanced: None, under_way: 0, effort: Effort::default() };
        judge(&scenario, &outcome)
    }

    #[test]
    fn who_is_stopped_must_have_got_ahead() {
        let text = "[links.p1]\n[[traffic]]\nkind = \"paced\"\nrate = \"50kbit\"\ntime = \"8s\"\n";
        let stopped = |stall| verdict(text, end(State::Stopped, 0, stall));
        assert!(stopped(0).is_ok());
        assert!(matches!(stopped(8).unwrap_err()[..], [Fault::Held { delivered: 0, .. }]));
        let taken = format!("[middlebox.m]\nlink = \"p1\"\nkind = \"alter-option\"\noption = \"dss\"\n{text}");
        assert!(verdict(&taken, end(State::Stopped, 0, 1000)).is_ok());
    }

    #[test]
    fn who_is_alone_on_a_path_that_fails_waits_until_it_is_given_up() {
        let text = "[links.p1]\n[links.p2]\n[middlebox.m]\nlink = \"p1\"\nkind = \"alter-option\"\noption = \"timestamps\"\n\
                    [[traffic]]\nbytes = \"100kB\"\n";
        let joined = |stall| verdict(text, FlowEnd { joined: true, ..end(State::Complete, 100_000, stall) });
        assert!(joined(215).is_ok());
        assert!(matches!(joined(390).unwrap_err()[..], [Fault::Held { .. }]));
    }

    #[test]
    fn what_took_minutes_is_told_though_it_arrived() {
        let text = "[links.p1]\nloss = \"1%\"\n[[traffic]]\nbytes = \"10kB\"\n";
        let complete = |stall| verdict(text, end(State::Complete, 10_000, stall));
        assert!(complete(30).is_ok());
        assert!(matches!(complete(300).unwrap_err()[..], [Fault::Held { .. }]));
    }
}
