//! `mptcp sim relay`.

mod order;
mod report;

use std::time::{Duration, Instant};

use clap::Args;
use mptcp_sdk::adapter;
use mptcp_sdk::adapter::device::{Device, Tap};
use mptcp_sim::relay::{DriveError, Driver, Relay};
use mptcp_sim::scenario::Link;

use super::stop::Stop;
use crate::failure::Failure;
use crate::human::parse_seconds;
use crate::say;
use order::{Ordered, Pair};
use report::Report;

const LONG_HELP: &str = "\
Connect TAP interfaces by links that are as slow and lossy as in the simulator, in real time

Two --tap make a link: what the kernel sends into the one comes out of the other, after its delay, at its rate, if it is not lost.
Conditions hold for the link whose --tap they follow; those before the first --tap hold for all links. Where two values are given, the first is
for packets from the first interface to the second, the other for those back. Each is said once for a link. An interface that does not exist is made, and vanishes in the end.

  mptcp sim relay --tap a0 --tap b0 --profile lte --tap a1 --tap b1 --rate 10Mbit --delay 5ms,20ms --loss 1%

Ctrl-C ends it and prints what became of the packets.";

/// Connect TAP interfaces by links that are as slow and lossy as in the simulator, in real time
#[derive(Args, Debug)]
#[command(long_about = LONG_HELP)]
pub(super) struct RelayArgs {
    #[command(flatten)]
    ordered: Ordered,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End after this time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    time: Option<Duration>,
    /// Print what became of the packets as one line of JSON, and nothing else on standard output
    #[arg(long)]
    json: bool,
}

/// How soon an interrupt is noticed while nothing happens.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs the subcommand.
pub(super) fn run(args: &RelayArgs) -> Result<(), Failure> {
    let pairs = args.ordered.pairs().map_err(Failure::Usage)?;
    // Mistakes come before anything that needs privileges.
    pairs.iter().try_for_each(|pair| link(pair, None).map(drop))?;
    let ends = pairs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let links = pairs.iter().zip(&ends).map(|(pair, ends)| link(pair, Some(ends))).collect::<Result<Vec<_>, _>>()?;
    let relay = Relay::new(&links, args.seed).map_err(|error| Failure::Usage(error.to_string()))?;

    let stop = Stop::on_interrupt()?;
    if !args.json {
        pairs.iter().for_each(|pair| say(&format!("relaying between {} and {}", pair.taps[0], pair.taps[1])));
    }
    let started = Instant::now();
    let clock = || adapter::Instant::from_nanos(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut driver = Driver::new(relay, ends, clock);
    let is_over = || args.time.is_some_and(|time| started.elapsed() >= time);
    let result = driver.run(PATIENCE, || is_over() || stop.is_asked());
    let report = Report::of(&driver, &pairs, started.elapsed());
    say(&if args.json { report.json()? } else { report.text() });
    stop.done();
    result.map_err(|DriveError { link, end, source }| {
        Failure::io(format_args!("the interface {} has failed", pairs[link].taps[end]), &source)
    })
}

fn open(pair: &Pair) -> Result<[Tap; 2], Failure> {
    let [from, to] = &pair.taps;
    let open = |name: &str| Tap::open(name).map_err(|error| Failure::Runtime(error.to_string()));
    Ok([open(from)?, open(to)?])
}

/// The link of a pair. What fits into both interfaces fits through, unless the link says otherwise.
fn link(pair: &Pair, ends: Option<&[Tap; 2]>) -> Result<Link, Failure> {
    let mtu = ends.and_then(|ends| ends.iter().map(|tap| tap.capabilities().mtu).min());
    // What a link can have.
    let mtu = mtu.map(|mtu| mtu.clamp(576, 65_535).to_string());
    let mtu = mtu.as_deref().map(|mtu| ("mtu", mtu));
    let settings = pair.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Link::from_settings(&pair.name(), mtu.into_iter().chain(settings))
        .map_err(|error| Failure::Usage(error.to_string()))
}
