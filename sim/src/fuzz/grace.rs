//! What may become of traffic that middleboxes meddle with, or whose hosts were forbidden to evade what fails.
//!
//! RFC 8684 lets no connection survive everything: where it does not, nothing is demanded. What is demanded regardless is
//! told at [`Fault`](super::Fault).

use super::patience::writes;
use crate::network::{all_ways, links, middleboxes};
use crate::run::may_be_wrong;
use crate::run::rest::FlowEnd;
use crate::scenario::{
    Action, Behaviour, CarrierLoss, Congestion, DirectionChoice, Endpoints, Event, Flow, Hop, Host, Link, LinkSpec,
    Middlebox, OptionChoice, OptionMatch, Probability, Queue, Scenario, Segments, Size, StackChoice, Traffic,
    Transport, Work,
};

/// What is forgiven to the connections of some traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grace {
    /// When they may break, of which both ends are told.
    breaks: When,
    /// When they may wait for ever for what never comes.
    hangs: When,
}

/// When something is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct When {
    always: bool,
    /// As long as a connection has not had a second subflow: whatever announces or opens one may be lost.
    alone: bool,
    /// If it has fallen back to TCP or never was anything else. As long as it is not, it has a path that nothing
    /// meddles with.
    plain: bool,
}

impl When {
    const NEVER: Self = Self { always: false, alone: false, plain: false };
    const ALWAYS: Self = Self { always: true, ..Self::NEVER };
    const ALONE: Self = Self { alone: true, ..Self::NEVER };
    const PLAIN: Self = Self { plain: true, ..Self::NEVER };
    const ALONE_OR_PLAIN: Self = Self { always: false, alone: true, plain: true };

    fn or(self, other: Self) -> Self {
        if self.always || other.always {
            return Self::ALWAYS;
        }
        Self { always: false, alone: self.alone || other.alone, plain: self.plain || other.plain }
    }

    fn is_now(self, flow: &FlowEnd, traffic: &Traffic) -> bool {
        let is_plain = flow.fell_back || !is_multipath(traffic);
        self.always || (self.alone && !flow.joined) || (self.plain && is_plain)
    }
}

impl Grace {
    /// Everything arrives.
    const NOTHING: Self = Self { breaks: When::NEVER, hangs: When::NEVER };
    const BREAK: Self = Self::breaks(When::ALWAYS);
    const HANG: Self = Self::hangs(When::ALWAYS);

    const fn breaks(when: When) -> Self {
        Self { breaks: when, hangs: When::NEVER }
    }

    /// Who may wait for ever may break as well.
    const fn hangs(when: When) -> Self {
        Self { breaks: when, hangs: when }
    }

    pub(super) fn of(scenario: &Scenario, traffic: &Traffic) -> Self {
        // Who sends without regard to losses may fill a queue so that nothing that is missing ever comes through, for
        // others as well (RFC 5681).
        if scenario.hosts.iter().any(|host| host.congestion == Congestion::None) {
            return Self::HANG;
        }
        let meddlers = middleboxes(scenario, traffic);
        let worst = meddlers.map(|middlebox| of_middlebox(scenario, traffic, middlebox)).fold(Self::NOTHING, Self::or);
        let worst = if matches!(traffic.work, Work::Nvme(_)) { of_queues(scenario, traffic, worst) } else { worst };
        let fixed = is_multipath(traffic) && !may_move(scenario);
        let alone = fixed || !is_multipath(traffic);
        if fixed && loses_an_address(scenario, traffic) {
            Self::HANG
        } else if !repairs_slowly(scenario, traffic) {
            worst
        } else if alone {
            worst.or(Self::BREAK)
        } else {
            worst.or(Self::breaks(When::PLAIN))
        }
    }

    /// What forgives whatever one of both does.
    fn or(self, other: Self) -> Self {
        Self { breaks: self.breaks.or(other.breaks), hangs: self.hangs.or(other.hangs) }
    }

    /// Whether it is enough for a connection that broke.
    pub(super) fn forgives_breaking(self, flow: &FlowEnd, traffic: &Traffic) -> bool {
        self.breaks.is_now(flow, traffic)
    }

    /// Whether a connection may wait until its only path is given up, before it has another one.
    pub(super) fn forgives_waiting(self) -> bool {
        self.hangs.alone
    }

    /// Whether it is enough for a connection on which nothing arrived any more, or not for very long.
    pub(super) fn forgives_hanging(self, flow: &FlowEnd, traffic: &Traffic) -> bool {
        self.hangs.is_now(flow, traffic)
    }
}

/// Whether a handshake, or an announcement, may come to nothing. Both ends try half a dozen times, at ever longer intervals, and give up: an
/// outage that is not over when they begin may take all but one or two of these, and losses those.
pub(super) fn loses_much(scenario: &Scenario, traffic: &Traffic) -> bool {
    let takes_all = |event: &Event| {
        matches!(event.action, Action::Down | Action::Blackhole) && event.over().is_none_or(|over| over > traffic.start)
    };
    let links: Vec<&Link> = links(scenario, traffic).into_iter().map(|link| &scenario.links[link]).collect();
    links.iter().any(|link| link.events.iter().any(takes_all)) && links.iter().any(|link| loses(link))
}

/// Whether packets get lost on a link, or are damaged.
fn loses(link: &Link) -> bool {
    let loses = |spec: &LinkSpec| spec.loss.is_some() || spec.corrupt.p > Probability::ZERO;
    loses(&link.up) || loses(&link.down)
}

/// Whether a packet that is sent once may not arrive.
fn may_lose_one(scenario: &Scenario, traffic: &Traffic) -> bool {
    let fails = |event: &Event| matches!(event.action, Action::Down | Action::Blackhole);
    let links = links(scenario, traffic).into_iter().map(|link| &scenario.links[link]);
    links.into_iter().any(|link| loses(link) || link.events.iter().any(fails))
}

/// Whether a packet may arrive after later ones: one without data is then too old to be taken (RFC 9293 section 3.10.7.4).
fn may_be_overtaken(scenario: &Scenario, traffic: &Traffic) -> bool {
    let reorders = |spec: &LinkSpec| spec.reorder.is_some() || spec.jitter.is_some();
    let links = links(scenario, traffic).into_iter().map(|link| &scenario.links[link]);
    links.into_iter().any(|link| reorders(&link.up) || reorders(&link.down))
}

/// Whether the address that a connection is to begin from may be gone when it does: nobody can connect from it then.
pub(super) fn begins_without_address(scenario: &Scenario, traffic: &Traffic) -> bool {
    let gone = |event: &Event| {
        let covers = |begin| event.lasts.is_none_or(|lasts| traffic.start <= begin + lasts);
        event.action == Action::Down && event.begins().take_while(|begin| *begin <= traffic.start).any(covers)
    };
    let paths = scenario.paths_in_use(traffic).into_iter().map(|path| &scenario.links[path]);
    paths.into_iter().any(|link| link.carrier_loss == CarrierLoss::Address && link.events.iter().any(gone))
}

/// Whether an address may have gone before the first answer of the other end came: until then no other subflow may be opened (RFC 8684 section 3.1), and
/// no more than an initial window has arrived (RFC 6928 section 2).
pub(super) fn may_have_lost_its_first_path(scenario: &Scenario, traffic: &Traffic, flow: &FlowEnd) -> bool {
    const INITIAL_WINDOW: u64 = 10;
    let mtu = scenario.links.iter().map(|link| link.mtu).max().unwrap_or_default();
    let is_yet_to_be = |event: &Event| event.over().is_none_or(|over| over > traffic.start);
    is_multipath(traffic)
        && !flow.joined
        && flow.delivered <= INITIAL_WINDOW * u64::from(mtu)
        && withdrawals(scenario, traffic).any(is_yet_to_be)
}

/// Whether who connects says nothing until the other end has written. It waits for ever for one that has given up the handshake, if
/// the segment that completes it was lost.
pub(super) fn only_listens(traffic: &Traffic) -> bool {
    match &traffic.work {
        Work::Bulk { direction, back, .. } => *direction == Flow::Down && back.0 == 0,
        Work::Paced { direction, .. } | Work::Trace { direction, .. } => *direction == Flow::Down,
        _ => false,
    }
}

fn is_multipath(traffic: &Traffic) -> bool {
    traffic.transport == Transport::Mptcp
}

/// Whether path managers may open all the subflows they want.
fn may_move(scenario: &Scenario) -> bool {
    // What a scenario has that says nothing of them.
    const ENOUGH: u8 = 8;
    let mptcp = &scenario.mptcp;
    mptcp.endpoints == Endpoints::Auto && mptcp.subflows >= ENOUGH && mptcp.add_addr_accepted >= ENOUGH
}

/// Whether data may take longer than a connection waits for a subflow before it gives it up: with smoltcp at one end there are neither
/// timestamps nor SACK, so that a segment is repeated for each timeout, and a timeout that has grown stays a minute until something is
/// acknowledged that was not repeated (RFC 6298 section 3).
fn repairs_slowly(scenario: &Scenario, traffic: &Traffic) -> bool {
    let of = |host: &Host| host.name == traffic.from || host.name == traffic.to;
    scenario.hosts.iter().any(|host| of(host) && host.stack == StackChoice::Smoltcp)
}

/// Whether a host withdraws an address.
fn loses_an_address(scenario: &Scenario, traffic: &Traffic) -> bool {
    withdrawals(scenario, traffic).next().is_some()
}

/// Events for which a host withdraws an address.
fn withdrawals<'a>(scenario: &'a Scenario, traffic: &'a Traffic) -> impl Iterator<Item = &'a Event> {
    let links = [&traffic.from, &traffic.to].into_iter().flat_map(|host| scenario.links_of(host));
    let links = links.map(|index| &scenario.links[index]).filter(|link| link.carrier_loss == CarrierLoss::Address);
    links.flat_map(|link| &link.events).filter(|event| event.action == Action::Down)
}

/// Whether subflows are opened over a link from end to end that has no middleboxes.
fn has_refuge(scenario: &Scenario, traffic: &Traffic) -> bool {
    let joins = |link: &Link| {
        let ends = [&link.from, &link.to];
        ends == [&traffic.from, &traffic.to] || ends == [&traffic.to, &traffic.from]
    };
    let is_free = |link: &Link| scenario.middleboxes.iter().all(|middlebox| middlebox.link != link.name);
    // A subflow to the first address, of the other family, cannot be; an announced one can.
    is_multipath(traffic) && may_move(scenario) && scenario.links.iter().any(|link| joins(link) && is_free(link))
}

/// Bytes on a subflow after which the addresses of a host are known to its peer, whatever is lost.
const ANNOUNCED_BY: u64 = 20_000;

/// Whether connections are closed before they surely have all their subflows: a closed one gets no more.
fn ends_early(traffic: &Traffic) -> bool {
    let bytes = match &traffic.work {
        Work::Bulk { bytes: Some(bytes), .. } => bytes.0,
        Work::Request { request, response, count: Some(count), .. } => (request.0 + response.0).saturating_mul(*count),
        Work::Message { size, count: Some(count), .. } => size.0.saturating_mul(*count),
        Work::Trace { file, .. } => writes(file).iter().map(|(_, bytes)| bytes).sum(),
        // Their shares of the jobs may be anything.
        Work::Nvme(_) => return true,
        _ => return false,
    };
    bytes < ANNOUNCED_BY
}

fn of_middlebox(scenario: &Scenario, traffic: &Traffic, middlebox: &Middlebox) -> Grace {
    let multipath = is_multipath(traffic);
    let bonded = matches!(traffic.transport, Transport::BondRoundRobin | Transport::BondHash);
    // What becomes of subflows over this link is their own affair.
    // An address that was withdrawn cannot be announced again when the only other path has failed by then.
    let evades = has_refuge(scenario, traffic) && !ends_early(traffic) && !loses_an_address(scenario, traffic);
    let path_fails = if evades { Grace::hangs(When::PLAIN) } else { Grace::HANG };
    // What a middlebox has acknowledged, or joined, is too long for a link behind it, and the sender, which could cut it, never hears of that.
    let stranded = if narrows(scenario, traffic, middlebox) { path_fails } else { Grace::NOTHING };
    match middlebox.behaviour {
        Behaviour::StripOption(which) => of_stripping(which, middlebox.direction, multipath, path_fails),
        Behaviour::AlterOption(which) => of_altering(which, multipath, path_fails),
        // Without a word from inside nobody learns that a port is not the old one any more. Until then the other addresses must have come through.
        Behaviour::Nat { rebind: Some(_) } if !bonded && is_inside(scenario, traffic, middlebox) => {
            if loses_much(scenario, traffic) { Grace::HANG } else { path_fails.or(Grace::breaks(When::ALONE_OR_PLAIN)) }
        }
        Behaviour::Nat { rebind: None } if !bonded && is_inside(scenario, traffic, middlebox) => Grace::NOTHING,
        // Nobody connects to a host behind a translator, or over a bond of which one link translates.
        Behaviour::Nat { .. } => Grace::HANG,
        // They see one part of the connection only.
        Behaviour::RewriteSequence | Behaviour::ProxyAck if bonded => Grace::HANG,
        // Of several subflows each that is altered is reset, and none may be left (RFC 8684 section 3.7).
        Behaviour::AlterPayload { .. } if multipath && scenario.mptcp.checksum => {
            if has_refuge(scenario, traffic) {
                Grace::breaks(When::ALONE)
            } else {
                Grace::BREAK
            }
        }
        Behaviour::AlterPayload { .. } => Grace::NOTHING,
        // Who gets data without the MP_CAPABLE that belongs to it falls back, unheard: the proxy has acknowledged that data with the DATA_ACK of before.
        Behaviour::ProxyAck if multipath && takes_mp_capable_of_data(scenario, traffic) => stranded.or(Grace::BREAK),
        // What is lost behind a proxy only the proxy can repeat, on the only path. It does so segment by segment, each of which is cut into more pieces than a
        // queue takes: that can be slower than hosts are patient.
        Behaviour::ProxyAck if multipath && splits(scenario, traffic) => stranded.or(Grace::BREAK),
        // The mappings of the joined segments but the first are gone.
        Behaviour::Coalesce { .. } if multipath => path_fails,
        Behaviour::ProxyAck | Behaviour::Coalesce { .. } => stranded,
        // A SYN that is refused ends a connection like any other.
        Behaviour::Reset { after: None } => Grace::BREAK,
        // Each new subflow is reset as well. By then a host must have been able to announce its other addresses.
        // An announcement that got lost, or that data has overtaken, is made again only after a while.
        Behaviour::Reset { after: Some(after) } if multipath && after.0 >= ANNOUNCED_BY => {
            let may_be_late = may_lose_one(scenario, traffic) || may_be_overtaken(scenario, traffic);
            if may_be_late { path_fails.or(Grace::hangs(When::ALONE)) } else { path_fails }
        }
        Behaviour::Reset { after: Some(_) } if multipath => Grace::HANG,
        // Who only waits for an answer is told once.
        Behaviour::Reset { after: Some(_) } if may_lose_one(scenario, traffic) => Grace::HANG,
        Behaviour::Reset { after: Some(_) } => Grace::BREAK,
        Behaviour::Split { size } if floods(scenario, middlebox, size) => Grace::HANG,
        Behaviour::RewriteSequence | Behaviour::Split { .. } | Behaviour::DropSyn { .. } | Behaviour::Replay { .. } => {
            Grace::NOTHING
        }
    }
}

/// Whether pieces of this size fill a queue of the link again and again: smoltcp sends all of a window anew after a timeout, whatever of it has arrived, and
/// when the queue drops the first pieces of it each time, nothing ever comes of that.
fn floods(scenario: &Scenario, middlebox: &Middlebox, size: Size) -> bool {
    // Headers and options of each piece, about.
    const EXTRA: u64 = 80;
    let pieces = |host: &Host| host.recv_buffer.0 / size.0.max(1);
    let most = scenario.hosts.iter().map(pieces).max().unwrap_or(0);
    let overflows = |spec: &LinkSpec| match &spec.queue {
        Queue::DropTail { packets, bytes, .. } => {
            packets.is_some_and(|limit| limit < most) || bytes.is_some_and(|limit| limit.0 < most * (size.0 + EXTRA))
        }
        Queue::Red { max, .. } => max.0 < most * (size.0 + EXTRA),
        // What keeps delays short drops before it is full.
        Queue::Codel { .. } | Queue::FqCodel { .. } | Queue::Pie { .. } | Queue::Step { .. } => true,
    };
    let sends_all_anew = scenario.hosts.iter().any(|host| host.stack == StackChoice::Smoltcp);
    let link = scenario.links.iter().find(|link| link.name == middlebox.link);
    sends_all_anew && link.is_some_and(|link| overflows(&link.up) || overflows(&link.down))
}

/// Whether a link behind a middlebox, which is at the `to` end of its own, takes less than who sends can know: from its own link, from the segment size that the other
/// end announces for that end's link, and from what is said of the links before the middlebox. A proxy may also have to repeat what was joined before it.
fn narrows(scenario: &Scenario, traffic: &Traffic, middlebox: &Middlebox) -> bool {
    let mtu = |hop: &Hop| scenario.links[hop.link].mtu;
    // What is joined and too long is lost, and then repeated by who sends, one segment at a time.
    let repeats = matches!(middlebox.behaviour, Behaviour::ProxyAck);
    let joined = middleboxes(scenario, traffic).filter_map(|other| longest_joined(scenario, other)).max();
    let joined = joined.filter(|_| repeats);
    let strands = |way: &[Hop], at: usize| {
        let (before, behind) = way.split_at(if way[at].up { at + 1 } else { at });
        let known = before.iter().chain(way.first()).chain(way.last()).map(mtu).min();
        let longest = known.max(joined);
        behind.iter().map(mtu).min().is_some_and(|least| longest.is_some_and(|longest| least < longest))
    };
    let is_there = |hop: &Hop| scenario.links[hop.link].name == middlebox.link;
    all_ways(scenario, traffic).iter().flatten().any(|way| {
        let mut places = way.iter().enumerate().filter(|(_, hop)| is_there(hop));
        places.any(|(at, _)| strands(way, at))
    })
}

/// How long a packet of segments may be that a middlebox has joined, if it does that.
fn longest_joined(scenario: &Scenario, middlebox: &Middlebox) -> Option<u16> {
    // Of IPv6 and TCP, with all options.
    const HEADERS: u64 = 40 + 60;
    let Behaviour::Coalesce { size, .. } = middlebox.behaviour else { return None };
    let link = scenario.links.iter().find(|link| link.name == middlebox.link)?;
    Some(u16::try_from(size.0 + HEADERS).unwrap_or(u16::MAX).min(link.mtu))
}

fn splits(scenario: &Scenario, traffic: &Traffic) -> bool {
    middleboxes(scenario, traffic).any(|middlebox| matches!(middlebox.behaviour, Behaviour::Split { .. }))
}

fn takes_mp_capable_of_data(scenario: &Scenario, traffic: &Traffic) -> bool {
    middleboxes(scenario, traffic).any(|middlebox| {
        let Behaviour::StripOption(which) = middlebox.behaviour else { return false };
        which.option == OptionChoice::MpCapable && matches!(which.segments, Segments::All | Segments::Data)
    })
}

/// Whether who connects is on the inside of a translator.
fn is_inside(scenario: &Scenario, traffic: &Traffic, middlebox: &Middlebox) -> bool {
    let link = scenario.links.iter().find(|link| link.name == middlebox.link);
    let inside = link.map(|link| if middlebox.direction == DirectionChoice::Down { &link.to } else { &link.from });
    inside == Some(&traffic.from)
}

/// What becomes of the queues of a disk where `worst` becomes of connections.
fn of_queues(scenario: &Scenario, traffic: &Traffic, worst: Grace) -> Grace {
    // Headers of PDUs have no digests: a length that was altered has the host wait for what never comes.
    if may_be_wrong(scenario, traffic, true) {
        return Grace::HANG;
    }
    // With one of them the host gives up all that lead to the same controller.
    let one_breaks = worst.breaks != When::NEVER
        || loses_an_address(scenario, traffic)
        || loses_much(scenario, traffic)
        || repairs_slowly(scenario, traffic);
    if one_breaks { worst.or(Grace::BREAK) } else { worst }
}

/// `path_fails` is what becomes of a connection that has a path no longer.
fn of_stripping(which: OptionMatch, direction: DirectionChoice, multipath: bool, path_fails: Grace) -> Grace {
    let always = which.skip == 0 && which.count.is_none();
    let opening = matches!(which.segments, Segments::All | Segments::Syn | Segments::SynAck);
    let from_the_start = always && opening;
    // Both ends agree on window scaling if the SYN has no such option, but not if only its answer has none.
    let in_every_syn =
        always && matches!(which.segments, Segments::All | Segments::Syn) && direction == DirectionChoice::Both;
    let scaled = if in_every_syn || !opening { Grace::NOTHING } else { first_path_fails(multipath, path_fails) };
    match which.option {
        OptionChoice::WindowScale => scaled,
        OptionChoice::All if !multipath || from_the_start => scaled,
        OptionChoice::Mptcp if !multipath || from_the_start => Grace::NOTHING,
        OptionChoice::Dss if !multipath => Grace::NOTHING,
        // A subflow among others is reset, and the only one may be (RFC 8684 section 3.7).
        OptionChoice::Mptcp | OptionChoice::Dss => path_fails.or(Grace::breaks(When::ALONE)),
        OptionChoice::All => scaled.or(path_fails).or(Grace::breaks(When::ALONE)),
        _ => Grace::NOTHING,
    }
}

fn of_altering(which: OptionMatch, multipath: bool, path_fails: Grace) -> Grace {
    let opens = matches!(which.segments, Segments::All | Segments::Syn | Segments::SynAck);
    match which.option {
        // A time far ahead makes all that follow look old (RFC 7323 section 5.2).
        OptionChoice::Timestamps => first_path_fails(multipath, path_fails),
        OptionChoice::All if !multipath => Grace::HANG,
        OptionChoice::Mss | OptionChoice::WindowScale if opens => first_path_fails(multipath, path_fails),
        // Nothing protects keys, nor a DATA_ACK that comes to acknowledge what never arrived, on whatever subflow.
        OptionChoice::MpCapable | OptionChoice::Mptcp | OptionChoice::Dss | OptionChoice::All if multipath => {
            Grace::HANG
        }
        OptionChoice::MpFastclose if multipath => Grace::BREAK,
        _ => Grace::NOTHING,
    }
}

/// What becomes of a connection of which a path fails from its first segment on, and may do so without a word: if it
/// is the first one, there are no others yet.
fn first_path_fails(multipath: bool, path_fails: Grace) -> Grace {
    if multipath { path_fails.or(Grace::hangs(When::ALONE)) } else { Grace::HANG }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::traffic::State;

    const TWO_PATHS: &str = "[links.p1]\n[links.p2]\n[[traffic]]\nbytes = \"100kB\"\n";

    fn scenario(network: &str, rest: &str) -> Scenario {
        Scenario::parse(&format!("{network}{rest}"), "test").unwrap()
    }

    fn grace(network: &str, rest: &str) -> Grace {
        let scenario = scenario(network, rest);
        Grace::of(&scenario, &scenario.traffic[0])
    }

    fn middlebox(kind: &str) -> String {
        format!("[middlebox.m]\nlink = \"p1\"\nkind = {kind}\n")
    }

    #[test]
    fn one_bad_subflow_does_not_excuse_a_connection_that_has_another() {
        let only_path = TWO_PATHS.replace("[links.p2]\n", "");
        for option in ["dss", "mptcp"] {
            let strip = middlebox(&format!("\"strip-option\"\noption = \"{option}\"\nskip = 20"));
            let evaded = Grace { breaks: When::ALONE_OR_PLAIN, hangs: When::PLAIN };
            assert_eq!((grace(TWO_PATHS, &strip), grace(&only_path, &strip)), (evaded, Grace::HANG), "{option}");
        }
        for option in ["timestamps", "window_scale", "mss"] {
            let alter = middlebox(&format!("\"alter-option\"\noption = \"{option}\""));
            let evaded = Grace::hangs(When::ALONE_OR_PLAIN);
            assert_eq!((grace(TWO_PATHS, &alter), grace(&only_path, &alter)), (evaded, Grace::HANG), "{option}");
        }
        let acknowledged = middlebox("\"alter-option\"\noption = \"dss\"");
        assert_eq!(grace(TWO_PATHS, &acknowledged), Grace::HANG);
    }

    #[test]
    fn who_is_reset_early_may_not_have_heard_of_another_address() {
        let reset = middlebox("\"reset\"\nafter = \"30kB\"");
        assert_eq!(grace(TWO_PATHS, &reset), Grace::hangs(When::PLAIN));
        for link in ["reorder = \"1%\"", "loss = \"1%\"", "[links.p1.up]\ndelay = \"9ms\"\njitter = \"1ms\""] {
            let network = TWO_PATHS.replace("[links.p1]\n", &format!("[links.p1]\n{link}\n"));
            assert_eq!(grace(&network, &reset), Grace::hangs(When::ALONE_OR_PLAIN), "{link}");
        }
    }

    #[test]
    fn what_is_beside_its_ways_excuses_no_connection() {
        let network = "[hosts.client]\n[hosts.server]\n[hosts.other]\n[routers.r]\n[links.p0]\nto = \"r\"\n[links.p1]\n\
                       from = \"other\"\nto = \"r\"\n[links.p2]\nfrom = \"r\"\n[[traffic]]\nbytes = \"100kB\"\n";
        let strip = middlebox("\"strip-option\"\noption = \"dss\"");
        assert_eq!(grace(network, &strip), Grace::NOTHING);
        assert_eq!(grace(network, &strip.replace("p1", "p2")), Grace::HANG);
    }

    /// Over three links in a row of this MTU each.
    fn in_a_row(mtus: [u16; 3], transport: &str) -> String {
        let [first, middle, last] = mtus;
        format!(
            "[hosts.client]\n[hosts.server]\n[routers.r]\n[routers.s]\n[links.p1]\nto = \"r\"\nmtu = {first}\n[links.p2]\n\
             from = \"r\"\nto = \"s\"\nmtu = {middle}\n[links.p3]\nfrom = \"s\"\nmtu = {last}\n[links.p4]\n[[traffic]]\n\
             transport = \"{transport}\"\npaths = [\"p1\"]\nbytes = \"100kB\"\n"
        )
    }

    #[test]
    fn who_acknowledges_or_joins_for_others_cannot_cut() {
        for kind in ["\"proxy-ack\"", "\"coalesce\"\nsize = \"3kB\"\nhold = \"1ms\""] {
            let on = |mtus, link: &str| grace(&in_a_row(mtus, "tcp"), &middlebox(kind).replace("p1", link));
            assert_eq!(on([1500, 1500, 1500], "p1"), Grace::NOTHING, "{kind}");
            assert_eq!(on([1500, 1400, 1500], "p1"), Grace::HANG, "{kind}");
            // On the way back.
            assert_eq!(on([1500, 1400, 1500], "p2"), Grace::HANG, "{kind}");
            assert_eq!(on([1500, 1400, 1500], "p3"), Grace::HANG, "{kind}");
            // The ends know how much their own links take, and tell each other.
            assert_eq!(on([1400, 1500, 1500], "p1"), Grace::NOTHING, "{kind}");
            assert_eq!(on([1500, 1500, 1400], "p1"), Grace::NOTHING, "{kind}");
            assert_eq!(on([1500, 1400, 1500], "p4"), Grace::NOTHING, "{kind}: it is not on the way");
        }
        let rewriting = middlebox("\"rewrite-sequence\"");
        assert_eq!(grace(&in_a_row([1500, 1400, 1500], "tcp"), &rewriting), Grace::NOTHING);
        // A link from end to end has nothing behind it.
        let direct = middlebox("\"proxy-ack\"").replace("p1", "p4");
        assert_eq!(grace(&in_a_row([1500, 1400, 1500], "mptcp"), &direct), Grace::NOTHING);
    }

    #[test]
    fn who_misses_the_only_reset_waits() {
        let reset = middlebox("\"reset\"\nafter = \"5kB\"");
        let network = |link: &str| format!("[links.p1]\n{link}[[traffic]]\ntransport = \"tcp\"\nbytes = \"100kB\"\n");
        assert_eq!(grace(&network(""), &reset), Grace::BREAK);
        for link in [
            "corrupt = \"1%\"\n",
            "[links.p1.down]\nloss = \"1%\"\n",
            "events = [{ at = \"1s\", for = \"1s\", action = \"down\" }]\n",
        ] {
            assert_eq!(grace(&network(link), &reset), Grace::HANG, "{link}");
        }
    }

    #[test]
    fn a_proxy_may_repeat_what_was_joined_before_it() {
        let boxes = |size: u16| {
            let join =
                format!("[middlebox.join]\nlink = \"p1\"\nkind = \"coalesce\"\nsize = \"{size}B\"\nhold = \"1ms\"\n");
            middlebox("\"proxy-ack\"") + &join
        };
        let network = in_a_row([1500, 1500, 600], "tcp");
        assert_eq!(grace(&network, &boxes(659)), Grace::HANG);
        assert_eq!(grace(&network, &boxes(500)), Grace::NOTHING);
        assert_eq!(
            grace(&network, &boxes(659).replace("proxy-ack", "replay\"\nevery = 9\ndelay = \"1ms")),
            Grace::NOTHING
        );
    }

    #[test]
    fn a_narrower_link_excuses_no_less() {
        let boxes = middlebox("\"proxy-ack\"") + "[middlebox.m2]\nlink = \"p1\"\nkind = \"split\"\nsize = \"100B\"\n";
        assert_eq!(grace(&in_a_row([1500, 1500, 1500], "mptcp"), &boxes), Grace::BREAK);
        let both = grace(&in_a_row([1500, 1400, 1500], "mptcp"), &boxes);
        assert_eq!(both, Grace::hangs(When::PLAIN).or(Grace::BREAK));
    }

    /// A connection that still runs as plain TCP.
    fn fallen_back() -> FlowEnd {
        FlowEnd {
            traffic: 0,
            name: "t".to_owned(),
            state: State::Running,
            delivered: 1,
            stall: Duration::ZERO,
            wrong: 0,
            fell_back: true,
            joined: true,
        }
    }

    #[test]
    fn who_repairs_slowly_may_give_up_but_not_hang() {
        let slow = "[tcp]\nstack = \"smoltcp\"\n";
        assert_eq!(grace(slow, TWO_PATHS), Grace::breaks(When::PLAIN));
        let plain = TWO_PATHS.replace("[[traffic]]", "[[traffic]]\ntransport = \"tcp\"");
        assert_eq!(grace(slow, &plain), Grace::BREAK);
        let fallen_back = fallen_back();
        let scenario = scenario(slow, TWO_PATHS);
        let grace = Grace::of(&scenario, &scenario.traffic[0]);
        assert!(grace.forgives_breaking(&fallen_back, &scenario.traffic[0]));
        assert!(!grace.forgives_hanging(&fallen_back, &scenario.traffic[0]));
    }

    #[test]
    fn nobody_connects_from_an_address_that_is_gone() {
        let text = |loss: &str, start: &str| {
            TWO_PATHS.replace(
                "[links.p2]",
                &format!(
                    "carrier_loss = \"{loss}\"\nevents = [{{ at = \"1s\", for = \"1s\", every = \"3s\", times = 2, \
                     action = \"down\" }}]\n[links.p2]"
                ),
            ) + &format!("start = \"{start}\"\n")
        };
        let begins = |loss: &str, start: &str| {
            let scenario = scenario(&text(loss, start), "");
            begins_without_address(&scenario, &scenario.traffic[0])
        };
        assert!(begins("address", "1500ms") && begins("address", "4s"));
        assert!(!begins("address", "2500ms") && !begins("address", "6s") && !begins("link", "1500ms"));
    }

    #[test]
    fn a_path_that_cannot_go_any_more_was_not_lost_with_its_address() {
        let lost = |transport: &str, repeated: &str, start: &str| {
            let events = format!("events = [{{ at = \"1s\", for = \"1s\", {repeated}action = \"down\" }}]\n");
            let text = TWO_PATHS.replace("[links.p2]", &format!("carrier_loss = \"address\"\n{events}[links.p2]"));
            let text =
                text.replace("[[traffic]]", &format!("[[traffic]]\ntransport = \"{transport}\"\nstart = \"{start}\""));
            let scenario = scenario(&text, "");
            let flow = FlowEnd { delivered: 0, joined: false, ..fallen_back() };
            may_have_lost_its_first_path(&scenario, &scenario.traffic[0], &flow)
        };
        assert!(lost("mptcp", "", "1500ms"));
        assert!(!lost("tcp", "", "1500ms"), "it could not have moved either way");
        assert!(!lost("mptcp", "", "2500ms"), "the address is back for good");
        assert!(lost("mptcp", "every = \"3s\", ", "2500ms") && lost("mptcp", "every = \"3s\", ", "1h"));
        assert!(!lost("mptcp", "every = \"3s\", times = 2, ", "6s"));
    }

    #[test]
    fn only_what_a_handshake_meets_may_prevent_it() {
        let loses = |start: &str, lossy: &str| {
            let text = format!(
                "[hosts.client]\n[hosts.server]\n[hosts.other]\n[routers.r]\n[links.p1]\nto = \"r\"\n[links.p2]\n\
                 from = \"r\"\nevents = [{{ at = \"1s\", for = \"1s\", every = \"3s\", times = 2, \
                 action = \"blackhole\" }}]\n[links.p3]\nfrom = \"other\"\nto = \"r\"\n[links.{lossy}.up]\n\
                 loss = \"1%\"\n[[traffic]]\nbytes = \"1B\"\nstart = \"{start}\"\n"
            );
            let scenario = Scenario::parse(&text, "test").unwrap();
            loses_much(&scenario, &scenario.traffic[0])
        };
        assert!(loses("4s", "p1"));
        assert!(!loses("5s", "p1"), "the outage is over");
        assert!(!loses("4s", "p3"), "nothing is lost on its way");
    }
}
