//! How long nothing may arrive though something is under way.
//!
//! A bound, not an estimate: what holds packets up on the ways of some traffic adds up, each part at its worst.

use std::sync::Arc;
use std::time::Duration;

use mptcp_core::TrafficClass;

use crate::link::{DelayTrace, MahimahiTrace};
use crate::network;
use crate::scenario::{
    Action, Change, Distribution, Draw, Event, Host, Jitter, Link, LinkSpec, NamedFile, Probability, Queue, RateSpec,
    Scenario, StackChoice, Traffic, Transport, Work,
};
use crate::traffic::parse_trace;

/// Beyond it nothing holds up what waits for a timer.
const SLACK: Duration = Duration::from_secs(1);

/// Round trips before the first byte, and to ask again for what is missing.
const ROUND_TRIPS: u32 = 4;

/// How often each byte is sent at most, be it on another subflow.
const COPIES: u64 = 3;

/// Bytes of headers that come with each write, and with each piece of one.
const HEADERS: u64 = 100;

/// Bytes of the smallest packets that links ask for.
const LEAST_MTU: u64 = 576;

/// Losses of the same segment in a row, after which stacks are about to give up.
const LOST_IN_A_ROW: u32 = 6;

/// Segments that smoltcp repeats one after the other, each after a timeout, until those arrive that were sent before (it has neither SACK nor timestamps).
const REPEATED_ONE_BY_ONE: u32 = 4;

/// First timeout of who knows nothing of the round trip (RFC 6298 section 2), and the longest.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection of the traffic may stall.
pub(super) fn patience(scenario: &Scenario, traffic: &Traffic) -> Duration {
    let links = network::links(scenario, traffic);
    let links: Vec<&Link> = links.into_iter().map(|link| &scenario.links[link]).collect();
    let load = scenario.traffic.iter().map(load).fold(0, u64::saturating_add);
    let trip: Duration = links.iter().map(|link| delay(link, &link.up) + delay(link, &link.down)).sum();
    let wait = drain(scenario, &links, load);
    // What is too long for a link may be lost for some timeouts before a host learns that (RFC 8899 section 4.3).
    let is_even = links.windows(2).all(|pair| pair[0].mtu == pair[1].mtu);
    let is_clean = is_even && scenario.middleboxes.is_empty() && links.iter().all(|link| is_clean(link, load));
    let timers = if is_clean { Duration::ZERO } else { timeouts(trip + wait) * repetitions(scenario, traffic) };
    // A timeout that has grown during an outage is as long as that was.
    let outages = links.iter().flat_map(|link| &link.events).map(lasts);
    let others = outages.fold(overload(scenario), Duration::saturating_add);
    (SLACK + ROUND_TRIPS * trip + wait + timers).saturating_add(others.saturating_mul(2))
}

/// Bytes of all connections of some traffic, with their headers.
fn load(traffic: &Traffic) -> u64 {
    let pieces = |bytes: u64| bytes + HEADERS * bytes.div_ceil(LEAST_MTU);
    let each = match &traffic.work {
        Work::Bulk { bytes, back, .. } => 2 * pieces(bytes.map_or(0, |bytes| bytes.0)) + pieces(back.0),
        Work::Request { request, response, count, .. } => {
            count.unwrap_or(0).saturating_mul(pieces(request.0) + pieces(response.0))
        }
        Work::Message { size, count, .. } => count.unwrap_or(0).saturating_mul(2 * pieces(size.0)),
        Work::Paced { size, rate, .. } => {
            // Nobody asks for more seconds than there are in a day.
            let bits = rate.0.saturating_mul(traffic.time.map_or(0, |time| time.as_secs() + 1));
            (bits / 8 / size.0.max(1) + 1).saturating_mul(2 * pieces(size.0))
        }
        Work::Nvme(load) => load.count.unwrap_or(0).saturating_mul(2 * pieces(load.block.0)),
        Work::Trace { file, .. } => writes(file).iter().map(|(_, bytes)| 2 * pieces(*bytes)).sum(),
    };
    each.saturating_mul(traffic.connections)
}

/// How long it takes until a slowest link has sent everything.
fn drain(scenario: &Scenario, links: &[&Link], load: u64) -> Duration {
    let rates = links.iter().flat_map(|link| rates(link));
    let cards = scenario.hosts.iter().filter_map(|host: &Host| host.nic.rate.map(|rate| rate.0));
    let classes = scenario.qos.iter().flat_map(|qos| TrafficClass::ALL.map(|class| qos.of(class).limit));
    let limits = classes.flatten().map(|bytes| 8 * bytes);
    let Some(slowest) = rates.chain(cards).chain(limits).filter(|rate| *rate > 0).min() else { return Duration::ZERO };
    let time = u128::from(load) * u128::from(8 * COPIES) * 1_000_000 / u128::from(slowest);
    let pauses: Duration = links.iter().map(|link| pause(&link.up) + pause(&link.down)).sum();
    Duration::from_micros(u64::try_from(time).unwrap_or(u64::MAX)) + pauses
}

/// Rates that a link may have, in bit/s.
fn rates(link: &Link) -> Vec<u64> {
    let of = |rate: &RateSpec| match rate {
        RateSpec::Constant(rate) => vec![rate.0],
        RateSpec::Steps { steps, .. } => steps.iter().map(|(_, rate)| rate.0).collect(),
        RateSpec::Unlimited => Vec::new(),
        RateSpec::Trace(_) => opportunities(rate).map(|trace| trace.average_rate()).into_iter().collect(),
    };
    let stepped = |spec: &LinkSpec| match spec.steps.as_ref().and_then(|steps| steps.rates.as_ref()) {
        Some(Draw::Between(least, _)) => vec![least.0],
        Some(Draw::OneOf(all)) => all.iter().map(|rate| rate.0).collect(),
        None => Vec::new(),
    };
    let changed = changes(link).filter_map(|change| change.rate.as_ref()).flat_map(of);
    let always = [&link.up, &link.down].into_iter().flat_map(|spec| [of(&spec.rate), stepped(spec)].concat());
    changed.chain(always).collect()
}

/// When a link of a trace may send.
fn opportunities(rate: &RateSpec) -> Option<MahimahiTrace> {
    let RateSpec::Trace(file) = rate else { return None };
    // The run has read it.
    file.read("trace of delivery opportunities", MahimahiTrace::parse).ok()
}

pub(super) fn writes(file: &NamedFile) -> Arc<[(Duration, u64)]> {
    file.read("trace of writes", parse_trace).unwrap_or_default()
}

/// How long a direction does not send at all, now and then.
fn pause(spec: &LinkSpec) -> Duration {
    if let Some(trace) = opportunities(&spec.rate) {
        return trace.period();
    }
    let RateSpec::Steps { steps, .. } = &spec.rate else { return Duration::ZERO };
    steps.iter().filter(|(_, rate)| rate.0 == 0).map(|(lasts, _)| *lasts).sum()
}

/// The longest that a packet is under way on an empty link.
fn delay(link: &Link, spec: &LinkSpec) -> Duration {
    // Beyond that there is next to nothing of a distribution.
    let varies = |jitter: &Jitter| match &jitter.distribution {
        Distribution::Trace(file) => {
            file.read("trace of delays", DelayTrace::parse).map_or(Duration::ZERO, |trace| trace.longest())
        }
        _ => 8 * jitter.amount,
    };
    let stepped = spec.steps.iter().filter_map(|steps| match steps.delays.as_ref()? {
        Draw::Between(_, most) => Some(*most),
        Draw::OneOf(all) => all.iter().max().copied(),
    });
    let changed = changes(link).filter_map(|change| change.delay);
    let jitters = changes(link).filter_map(|change| change.jitter.as_ref()?.as_ref()).chain(&spec.jitter);
    let longest = changed.chain(stepped).fold(spec.delay, Duration::max);
    // Whatever comes alone waits for the next opportunity.
    let waits = opportunities(&spec.rate).map_or(Duration::ZERO, |trace| trace.period());
    longest + waits + jitters.map(varies).max().unwrap_or_default()
}

fn changes(link: &Link) -> impl Iterator<Item = &Change> {
    link.events.iter().filter_map(|event| match &event.action {
        Action::Set(change) => Some(&**change),
        _ => None,
    })
}

/// How long an event has its way, in all; once, if it comes again without end.
fn lasts(event: &Event) -> Duration {
    let times = event.times.map_or(1, |times| u32::try_from(times).unwrap_or(u32::MAX));
    event.lasts.unwrap_or_default().saturating_mul(times)
}

/// Whether nothing gets lost on a link, not even if everything comes at once.
fn is_clean(link: &Link, load: u64) -> bool {
    let packets = COPIES * (load / LEAST_MTU + 1);
    [&link.up, &link.down].into_iter().all(|spec| {
        let holds_all = match spec.queue {
            Queue::DropTail { packets: limit, bytes, count_in_flight: false } => {
                limit.is_none_or(|limit| limit >= packets) && bytes.is_none_or(|bytes| bytes.0 >= COPIES * load)
            }
            _ => false,
        };
        holds_all && spec.loss.is_none() && spec.corrupt.p == Probability::ZERO && link.events.is_empty()
    })
}

/// Timeouts, each twice as long as the one before (RFC 6298 section 5.5).
fn timeouts(round_trip: Duration) -> Duration {
    let first = FIRST_TIMEOUT.max(round_trip);
    (0..LOST_IN_A_ROW).map(|number| first.saturating_mul(1 << number).min(LONGEST_TIMEOUT)).sum()
}

fn repetitions(scenario: &Scenario, traffic: &Traffic) -> u32 {
    let of = |host: &Host| host.name == traffic.from || host.name == traffic.to;
    let slow = scenario.hosts.iter().any(|host| of(host) && host.stack == StackChoice::Smoltcp);
    if slow { REPEATED_ONE_BY_ONE } else { 1 }
}

/// How long there is traffic that never gives way, whatever it takes from others.
fn overload(scenario: &Scenario) -> Duration {
    let datagrams = scenario.traffic.iter().filter(|traffic| traffic.transport == Transport::Udp);
    datagrams.filter_map(|traffic| traffic.time).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience_with(rest: &str) -> Duration {
        let text = format!("[links.p1]\nrate = \"8Mbit\"\ndelay = \"10ms\"\n{rest}\n[[traffic]]\nbytes = \"50kB\"\n");
        let scenario = Scenario::parse(&text, "test").unwrap();
        patience(&scenario, &scenario.traffic[0])
    }

    #[test]
    fn a_clean_path_explains_no_timeouts_and_others_do() {
        let clean = patience_with("");
        assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&clean), "{clean:?}");
        let lossy = patience_with("loss = \"1%\"");
        assert!((Duration::from_secs(60)..Duration::from_secs(80)).contains(&lossy), "{lossy:?}");
        let meddled = patience_with("[middlebox.m]\nlink = \"p1\"\nkind = \"proxy-ack\"");
        assert_eq!(meddled, lossy);
        let outage = patience_with("events = [{ at = \"1s\", for = \"2s\", action = \"down\" }]");
        assert_eq!(outage, lossy + Duration::from_secs(4));
        assert!(patience_with("queue = { packets = 10 }") > clean);
        let repeated = |more: &str| {
            patience_with(&format!(
                "events = [{{ at = \"1s\", for = \"2s\", every = \"5s\"{more}, action = \"down\" }}]"
            ))
        };
        assert_eq!(repeated(", times = 3"), lossy + Duration::from_secs(12));
        assert_eq!(repeated(""), outage, "no more than until it is back");
    }

    #[test]
    fn a_narrower_link_explains_timeouts() {
        let over = |mtu: u16| {
            let text = format!(
                "[routers.r]\n[links.p1]\nto = \"r\"\n[links.p2]\nfrom = \"r\"\nmtu = {mtu}\n[[traffic]]\nbytes = \"50kB\"\n"
            );
            let scenario = Scenario::parse(&text, "test").unwrap();
            patience(&scenario, &scenario.traffic[0])
        };
        assert!(over(1400) > over(1500) + Duration::from_secs(30));
    }

    #[test]
    fn traces_are_read() {
        let traffic = |lines: &str| {
            let text = format!(
                "[links.p1]\nrate = {{ trace = \"opportunities\" }}\njitter = {{ distribution = \"trace\", file = \"delays\" }}\n\
                 [[traffic]]\nkind = \"trace\"\nfile = \"writes\"\n[files]\nwrites = {lines:?}\n\
                 opportunities = \"1\\n500\\n\"\ndelays = \"0\\n2000\\n\"\n"
            );
            let scenario = Scenario::parse(&text, "test").unwrap();
            patience(&scenario, &scenario.traffic[0])
        };
        let (short, long) = (traffic("0 100\n"), traffic("0 100\n1 60000\n"));
        // Four times there and back.
        assert!(short > 8 * Duration::from_millis(2500), "{short:?}");
        // 48 kbit/s, three times over.
        assert!(long - short > Duration::from_secs(60), "{long:?}");
    }
}
