//! What may become of traffic that middleboxes meddle with, or whose hosts were forbidden to evade what fails.
//!
//! RFC 8684 lets no connection survive everything: where it does not, nothing is demanded. What is demanded regardless is
//! told at [`Fault`](super::Fault).

use crate::run::rest::FlowEnd;
use crate::scenario::{
    Action, Behaviour, CarrierLoss, Congestion, DirectionChoice, Endpoints, Flow, Host, Link, LinkSpec, Middlebox,
    OptionChoice, OptionMatch, Probability, Queue, Scenario, Segments, Size, StackChoice, Traffic, Transport, Work,
};
use crate::traffic::State;

/// What is forgiven to the connections of some traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grace {
    /// Nothing: everything arrives.
    Nothing,
    /// They may break as long as they have not had a second subflow: whatever announces or opens one may be lost.
    IfAlone,
    /// They may break, or wait for ever, if they have fallen back to TCP or never were anything else. As long as they
    /// are not, they have a path that nothing meddles with.
    IfPlain,
    /// Both of these.
    IfAloneOrPlain,
    /// They may break, and both ends are told.
    Break,
    /// They may wait for ever for what never comes, or break.
    Hang,
}

impl Grace {
    pub(super) fn of(scenario: &Scenario, traffic: &Traffic) -> Self {
        let meddlers = meddlers(scenario, traffic);
        let worst = meddlers.map(|middlebox| of_middlebox(scenario, traffic, middlebox)).fold(Self::Nothing, Self::or);
        // Who sends without regard to losses may fill a queue so that nothing that is missing ever comes through, for
        // others as well (RFC 5681).
        if scenario.hosts.iter().any(|host| host.congestion == Congestion::None) {
            return Self::Hang;
        }
        let fixed = is_multipath(traffic) && !may_move(scenario);
        let alone = fixed || !is_multipath(traffic);
        if fixed && loses_an_address(scenario, traffic) {
            worst.max(Self::Hang)
        } else if !repairs_slowly(scenario, traffic) {
            worst
        } else if alone {
            worst.max(Self::Break)
        } else {
            worst.or(Self::IfPlain)
        }
    }

    /// What forgives whatever one of both does.
    fn or(self, other: Self) -> Self {
        match (self.min(other), self.max(other)) {
            (Self::IfAlone, Self::IfPlain) => Self::IfAloneOrPlain,
            (_, more) => more,
        }
    }

    fn spares_plain(self) -> bool {
        matches!(self, Self::IfPlain | Self::IfAloneOrPlain)
    }

    /// Whether it is enough for what has become of a connection.
    pub(super) fn forgives(self, flow: &FlowEnd, traffic: &Traffic) -> bool {
        let is_plain = flow.fell_back || !is_multipath(traffic);
        match flow.state {
            State::Complete | State::Stopped | State::Replaced => true,
            State::Failed(_) => {
                let alone = matches!(self, Self::IfAlone | Self::IfAloneOrPlain) && !flow.joined;
                self >= Self::Break || alone || (self.spares_plain() && is_plain)
            }
            State::Waiting | State::Running => self == Self::Hang || (self.spares_plain() && is_plain),
        }
    }
}

/// Whether a handshake, or an announcement, may come to nothing. Both ends try half a dozen times, at ever longer intervals, and give up: an
/// outage may take all but one or two of these, and losses those.
pub(super) fn loses_much(scenario: &Scenario) -> bool {
    let outage = |link: &Link| link.events.iter().any(|event| matches!(event.action, Action::Down | Action::Blackhole));
    let loses = |spec: &LinkSpec| spec.loss.is_some() || spec.corrupt.p > Probability::ZERO;
    let lossy = |link: &Link| loses(&link.up) || loses(&link.down);
    scenario.links.iter().any(outage) && scenario.links.iter().any(lossy)
}

/// Whether bytes may arrive that were not sent: RFC 8684 protects what DSS checksums cover, and nothing after a fallback
/// (section 3.7).
pub(super) fn may_be_wrong(scenario: &Scenario, traffic: &Traffic, fell_back: bool) -> bool {
    let (mut altered, mut disarmed) = (false, false);
    for middlebox in meddlers(scenario, traffic) {
        match middlebox.behaviour {
            Behaviour::AlterPayload { .. } => altered = true,
            Behaviour::AlterOption(which) if is_multipath(traffic) => {
                let all = matches!(which.option, OptionChoice::All | OptionChoice::Mptcp);
                altered |= all || which.option == OptionChoice::Dss;
                // The flag that asks for checksums.
                disarmed |= all || which.option == OptionChoice::MpCapable;
            }
            _ => {}
        }
    }
    let protected = is_multipath(traffic) && scenario.mptcp.checksum && !fell_back && !disarmed;
    altered && !protected
}

/// Whether who connects says nothing until the other end has written. It waits for ever for one that has given up the handshake, if
/// the segment that completes it was lost.
pub(super) fn only_listens(traffic: &Traffic) -> bool {
    match &traffic.work {
        Work::Bulk { direction, back, .. } => *direction == Flow::Down && back.0 == 0,
        Work::Paced { direction, .. } => *direction == Flow::Down,
        _ => false,
    }
}

fn is_multipath(traffic: &Traffic) -> bool {
    traffic.transport == Transport::Mptcp
}

/// Middleboxes that packets of the traffic may pass.
fn meddlers<'a>(scenario: &'a Scenario, traffic: &'a Traffic) -> impl Iterator<Item = &'a Middlebox> {
    scenario.middleboxes.iter().filter(|middlebox| {
        // Subflows go from any address to any.
        is_multipath(traffic)
            || scenario.paths_of(traffic).into_iter().any(|path| {
                let way = scenario.route(&traffic.from, Some(&scenario.links[path].name), &traffic.to);
                way.into_iter().flatten().any(|hop| scenario.links[hop.link].name == middlebox.link)
            })
    })
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
    let takes_it = |link: &Link| {
        link.carrier_loss == CarrierLoss::Address && link.events.iter().any(|event| event.action == Action::Down)
    };
    [&traffic.from, &traffic.to]
        .into_iter()
        .any(|host| scenario.links_of(host).map(|index| &scenario.links[index]).any(takes_it))
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
    let path_fails = if evades { Grace::IfPlain } else { Grace::Hang };
    match middlebox.behaviour {
        Behaviour::StripOption(which) => of_stripping(which, middlebox.direction, multipath),
        Behaviour::AlterOption(which) => of_altering(which, multipath),
        // Without a word from inside nobody learns that a port is not the old one any more. Until then the other addresses must have come through.
        Behaviour::Nat { rebind: Some(_) } if !bonded && is_inside(scenario, traffic, middlebox) => {
            if loses_much(scenario) { Grace::Hang } else { path_fails.max(Grace::IfAloneOrPlain) }
        }
        Behaviour::Nat { rebind: None } if !bonded && is_inside(scenario, traffic, middlebox) => Grace::Nothing,
        // Nobody connects to a host behind a translator, or over a bond of which one link translates.
        Behaviour::Nat { .. } => Grace::Hang,
        // They see one part of the connection only.
        Behaviour::RewriteSequence | Behaviour::ProxyAck if bonded => Grace::Hang,
        // Of several subflows each that is altered is reset, and none may be left (RFC 8684 section 3.7).
        Behaviour::AlterPayload { .. } if multipath && scenario.mptcp.checksum => {
            if has_refuge(scenario, traffic) {
                Grace::IfAlone
            } else {
                Grace::Break
            }
        }
        Behaviour::AlterPayload { .. } => Grace::Nothing,
        // Who gets data without the MP_CAPABLE that belongs to it falls back, unheard: the proxy has acknowledged that data with the DATA_ACK of before.
        Behaviour::ProxyAck if multipath && takes_mp_capable_of_data(scenario, traffic) => Grace::Break,
        // What is lost behind a proxy only the proxy can repeat, on the only path. It does so segment by segment, each of which is cut into more pieces than a
        // queue takes: that can be slower than hosts are patient.
        Behaviour::ProxyAck if multipath && splits(scenario, traffic) => Grace::Break,
        // The mappings of the joined segments but the first are gone.
        Behaviour::Coalesce { .. } if multipath => path_fails,
        // A SYN that is refused ends a connection like any other.
        Behaviour::Reset { after: None } => Grace::Break,
        // Each new subflow is reset as well. By then a host must have been able to announce its other addresses.
        Behaviour::Reset { after: Some(after) } if multipath && after.0 >= ANNOUNCED_BY => path_fails,
        Behaviour::Reset { after: Some(_) } if multipath => Grace::Hang,
        Behaviour::Reset { after: Some(_) } => Grace::Break,
        Behaviour::Split { size } if floods(scenario, middlebox, size) => Grace::Hang,
        Behaviour::RewriteSequence
        | Behaviour::ProxyAck
        | Behaviour::Split { .. }
        | Behaviour::Coalesce { .. }
        | Behaviour::DropSyn { .. }
        | Behaviour::Replay { .. } => Grace::Nothing,
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

fn splits(scenario: &Scenario, traffic: &Traffic) -> bool {
    meddlers(scenario, traffic).any(|middlebox| matches!(middlebox.behaviour, Behaviour::Split { .. }))
}

fn takes_mp_capable_of_data(scenario: &Scenario, traffic: &Traffic) -> bool {
    meddlers(scenario, traffic).any(|middlebox| {
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

fn of_stripping(which: OptionMatch, direction: DirectionChoice, multipath: bool) -> Grace {
    let always = which.skip == 0 && which.count.is_none();
    let opening = matches!(which.segments, Segments::All | Segments::Syn | Segments::SynAck);
    let from_the_start = always && opening;
    // Both ends agree on window scaling if the SYN has no such option, but not if only its answer has none.
    let in_every_syn =
        always && matches!(which.segments, Segments::All | Segments::Syn) && direction == DirectionChoice::Both;
    let scaled = if in_every_syn || !opening { Grace::Nothing } else { Grace::Hang };
    match which.option {
        OptionChoice::WindowScale => scaled,
        OptionChoice::All if !multipath || from_the_start => scaled,
        OptionChoice::Mptcp if !multipath || from_the_start => Grace::Nothing,
        OptionChoice::Dss if !multipath => Grace::Nothing,
        OptionChoice::All | OptionChoice::Mptcp | OptionChoice::Dss => Grace::Hang,
        _ => Grace::Nothing,
    }
}

fn of_altering(which: OptionMatch, multipath: bool) -> Grace {
    let opens = matches!(which.segments, Segments::All | Segments::Syn | Segments::SynAck);
    match which.option {
        // A time far ahead makes all that follow look old (RFC 7323 section 5.2).
        OptionChoice::Timestamps | OptionChoice::All => Grace::Hang,
        OptionChoice::Mss | OptionChoice::WindowScale if opens => Grace::Hang,
        OptionChoice::MpCapable | OptionChoice::Mptcp | OptionChoice::Dss if multipath => Grace::Hang,
        OptionChoice::MpFastclose if multipath => Grace::Break,
        _ => Grace::Nothing,
    }
}
