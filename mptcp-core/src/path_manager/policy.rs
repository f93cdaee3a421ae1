//! Policy: what paths are for, what they cost, and how much may be sent over them.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use tcp_adapter::{Instant, InterfaceId, IpCidr};

use super::links::Links;

/// What a path is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathUse {
    /// For data.
    #[default]
    Regular,
    /// Its subflows are there, and carry data only if no regular one works (MP_PRIO, RFC 8684 section 3.3.8).
    Backup,
    /// Metered: subflows are opened only while no other path works, the cheapest first, and closed when one works again.
    Spare,
    /// Not at all: no subflow is opened or accepted over it, and its addresses are not announced.
    Never,
}

/// What holds for some paths. A path is meant if everything that is named fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRule {
    /// The interface that it leaves by.
    pub interface: Option<InterfaceId>,
    /// The network that our address is in.
    pub source: Option<IpCidr>,
    /// The network that the peer's address is in.
    pub destination: Option<IpCidr>,
    /// What these paths are for.
    pub usage: Option<PathUse>,
    /// What they cost, in units of the user's own: where not all can be had, cheaper ones are opened first.
    pub cost: Option<u32>,
    /// Payload bytes per second that all of them together may send, on all connections.
    pub max_rate: Option<NonZeroU64>,
    /// Payload bytes that all of them together may carry in both directions, on all connections, from the moment that the rule
    /// was set, to within a segment and what is on its way. When they have, nothing more is sent over them and the peer is asked not to either (MP_PRIO).
    pub max_bytes: Option<u64>,
}

/// Rules for the paths of a stack. Of each setting, the first rule that fits a path and says something of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPolicy {
    /// The rules, at most [`PathPolicy::MAX_RULES`].
    pub rules: Vec<PathRule>,
    /// How long a path must have worked before spare ones are closed, so that a flapping path does not have them opened
    /// and closed all the time. Default: 3 s.
    pub return_after: Duration,
    /// The NUMA node of the core that the stack runs on, if that matters.
    pub node: Option<u32>,
    /// What a path over an interface of another NUMA node costs more ([`Stack::set_interface_node`](crate::Stack::set_interface_node)).
    /// Default: 1.
    pub remote_node_cost: u32,
}

impl PathPolicy {
    /// Rules at most.
    pub const MAX_RULES: usize = 256;
}

impl Default for PathPolicy {
    fn default() -> Self {
        Self { rules: Vec::new(), return_after: Duration::from_secs(3), node: None, remote_node_cost: 1 }
    }
}

/// Why a policy cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Every path is held against every rule.
    #[error("the policy has {0} rules, more than 256")]
    TooManyRules(usize),
    /// A rule without effect is a mistake.
    #[error("rule {0} of the policy says nothing: give it a use, a cost, a rate or a number of bytes")]
    SaysNothing(usize),
}

impl PathPolicy {
    /// Checks what [`Stack::set_policy`](crate::Stack::set_policy) needs.
    ///
    /// # Errors
    /// The first mistake.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if self.rules.len() > Self::MAX_RULES {
            return Err(PolicyError::TooManyRules(self.rules.len()));
        }
        let empty = |rule: &PathRule| {
            rule.usage.is_none() && rule.cost.is_none() && rule.max_rate.is_none() && rule.max_bytes.is_none()
        };
        self.rules.iter().position(empty).map_or(Ok(()), |index| Err(PolicyError::SaysNothing(index)))
    }
}

/// What the policy says of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) usage: PathUse,
    pub(crate) cost: u32,
    /// The rules whose meters count.
    rate: Option<u16>,
    volume: Option<u16>,
}

impl Terms {
    pub(crate) fn is_capped(&self) -> bool {
        self.rate.is_some() || self.volume.is_some()
    }

    /// Whether subflows are to be marked as backups, where they are not opened on demand.
    pub(crate) fn is_secondary(&self) -> bool {
        matches!(self.usage, PathUse::Backup | PathUse::Spare)
    }
}

/// A policy at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyState {
    policy: PathPolicy,
    /// One for each rule.
    meters: Vec<Meter>,
    /// Counts the policies: what was judged by an earlier one is judged again. 0 is the empty one from the start.
    generation: u32,
}

/// What has gone over the paths of a rule.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    bytes: u64,
    /// The bucket of a rate: billionths of a byte, so that nothing is lost to rounding. Less than nothing while somebody waits.
    tokens: i128,
    refilled: Instant,
}

/// A part of a rate that a subflow has waited for, and that nobody else takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    bytes: u64,
    /// When they may leave.
    at: Instant,
}

/// What is waited for at a high rate is that of a thousandth of a second, so that waiting costs little.
const GRANTS_PER_SECOND: u64 = 1000;

/// Bytes that may leave at once at a limited rate: what is sent in this time, but some segments at least.
const BURST_TIME: Duration = Duration::from_millis(20);
const LEAST_BURST: u64 = 32 << 10;

/// Payload of a segment at most: what an IP packet can hold.
const LARGEST_SEGMENT: u64 = 65_535;

const BILLION: i128 = 1_000_000_000;

impl PolicyState {
    pub(crate) fn new(policy: PathPolicy) -> Self {
        let mut state = Self::default();
        if policy != PathPolicy::default() {
            state.set(policy);
        }
        state
    }

    /// Takes another policy. Rules that were there before keep their meters.
    pub(crate) fn set(&mut self, policy: PathPolicy) {
        let meter = |rule: &PathRule| match self.policy.rules.iter().position(|known| known == rule) {
            Some(index) => self.meters[index],
            None => Meter { tokens: rule.max_rate.map_or(0, full), ..Meter::default() },
        };
        self.meters = policy.rules.iter().map(meter).collect();
        self.policy = policy;
        self.generation += 1;
    }

    pub(crate) fn policy(&self) -> &PathPolicy {
        &self.policy
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Bytes that have gone over the paths of each rule that limits any.
    pub(crate) fn used(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        let limits = |terms: &&PathRule| terms.max_bytes.is_some() || terms.max_rate.is_some();
        self.policy
            .rules
            .iter()
            .zip(&self.meters)
            .map(move |(rule, meter)| Some(&rule).filter(|r| limits(r)).map(|_| meter.bytes))
    }

    /// Whether some path is spare.
    pub(crate) fn has_spares(&self) -> bool {
        self.policy.rules.iter().any(|rule| rule.usage == Some(PathUse::Spare))
    }

    /// What holds for a path.
    pub(crate) fn terms(&self, links: &Links, interface: InterfaceId, local: IpAddr, remote: IpAddr) -> Terms {
        let mut terms = Terms::default();
        let (mut usage, mut cost) = (None, None);
        let fits = |rule: &PathRule| {
            rule.interface.is_none_or(|wanted| wanted == interface)
                && rule.source.is_none_or(|network| network.contains(local))
                && rule.destination.is_none_or(|network| network.contains(remote))
        };
        for (index, rule) in self.policy.rules.iter().enumerate().filter(|(_, rule)| fits(rule)) {
            let index = u16::try_from(index).ok();
            usage = usage.or(rule.usage);
            cost = cost.or(rule.cost);
            terms.rate = terms.rate.or(rule.max_rate.and(index));
            terms.volume = terms.volume.or(rule.max_bytes.and(index));
        }
        let node = links.get(interface).and_then(|link| link.node);
        let is_remote = self.policy.node.is_some() && node.is_some() && node != self.policy.node;
        terms.usage = usage.unwrap_or_default();
        terms.cost = cost.unwrap_or(0).saturating_add(if is_remote { self.policy.remote_node_cost } else { 0 });
        terms
    }

    /// Whether the paths of a rule have carried all that they may.
    pub(crate) fn is_exhausted(&self, terms: &Terms) -> bool {
        self.volume_left(terms) == 0
    }

    /// Payload bytes per second that may leave, if that is limited.
    pub(crate) fn rate(&self, terms: &Terms) -> Option<u64> {
        self.bucket(terms).map(|(rate, _)| rate.get())
    }

    /// Payload bytes that may leave now on a subflow that has this grant.
    pub(crate) fn allowance(&self, terms: &Terms, grant: Option<Grant>, now: Instant) -> usize {
        let granted = grant.filter(|grant| grant.at <= now).map_or(0, |grant| i128::from(grant.bytes));
        let free = |(rate, meter)| (filled(rate, meter, now) / BILLION).max(0);
        let by_rate = self.bucket(terms).map_or(i128::MAX, |bucket| free(bucket) + granted);
        // The last segment may exceed the volume: a part of one might never be asked for.
        let by_volume = match self.volume_left(terms) {
            0 => 0,
            left => i128::from(left.max(LARGEST_SEGMENT)),
        };
        usize::try_from(by_rate.min(by_volume)).unwrap_or(usize::MAX)
    }

    /// Has a subflow wait for a segment's worth of the rate, behind those that wait already: when it may leave. `None` if it may now, or if
    /// waiting does not help.
    pub(crate) fn wait(
        &mut self,
        terms: &Terms,
        grant: &mut Option<Grant>,
        now: Instant,
        segment: usize,
    ) -> Option<Instant> {
        if let Some(waiting) = grant.filter(|grant| grant.at > now) {
            return Some(waiting.at);
        }
        if self.is_exhausted(terms) || self.allowance(terms, *grant, now) >= segment {
            return None;
        }
        self.give_back(terms, grant, now);
        let (rate, meter) = self.bucket(terms)?;
        let bytes = u64::try_from(segment).unwrap_or(u64::MAX).max(rate.get() / GRANTS_PER_SECOND);
        let tokens = filled(rate, meter, now).saturating_sub(i128::from(bytes) * BILLION);
        self.set_tokens(terms, now, tokens);
        let wait = tokens.saturating_neg().max(0) / i128::from(rate.get()) + 1;
        let at = now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX >> 1));
        *grant = Some(Grant { bytes, at });
        Some(at)
    }

    /// Lets others have what a subflow has waited for and does not need.
    pub(crate) fn give_back(&mut self, terms: &Terms, grant: &mut Option<Grant>, now: Instant) {
        if let (Some(Grant { bytes, .. }), Some((rate, meter))) = (grant.take(), self.bucket(terms)) {
            let tokens = filled(rate, meter, now) + i128::from(bytes) * BILLION;
            self.set_tokens(terms, now, tokens.min(full(rate)));
        }
    }

    /// Counts bytes that are sent, on the subflow's own grant as far as that goes.
    pub(crate) fn sent(&mut self, terms: &Terms, grant: &mut Option<Grant>, now: Instant, bytes: u64) {
        let granted = grant.as_mut().filter(|grant| grant.at <= now).map_or(0, |grant| {
            let granted = grant.bytes.min(bytes);
            grant.bytes -= granted;
            granted
        });
        *grant = grant.filter(|grant| grant.bytes > 0);
        if let Some((rate, meter)) = self.bucket(terms) {
            let tokens = filled(rate, meter, now) - i128::from(bytes - granted) * BILLION;
            self.set_tokens(terms, now, tokens);
        }
        self.carried(terms, bytes);
    }

    fn set_tokens(&mut self, terms: &Terms, now: Instant, tokens: i128) {
        if let Some(meter) = terms.rate.and_then(|rule| self.meters.get_mut(usize::from(rule))) {
            (meter.tokens, meter.refilled) = (tokens, now);
        }
    }

    /// Counts bytes that were received, or sent.
    pub(crate) fn carried(&mut self, terms: &Terms, bytes: u64) {
        for rule in [terms.volume, terms.rate.filter(|rate| terms.volume != Some(*rate))].into_iter().flatten() {
            if let Some(meter) = self.meters.get_mut(usize::from(rule)) {
                meter.bytes = meter.bytes.saturating_add(bytes);
            }
        }
    }

    fn volume_left(&self, terms: &Terms) -> u64 {
        let Some(rule) = terms.volume.map(usize::from) else { return u64::MAX };
        let most = self.policy.rules.get(rule).and_then(|rule| rule.max_bytes);
        let used = self.meters.get(rule).map_or(0, |meter| meter.bytes);
        most.map_or(u64::MAX, |most| most.saturating_sub(used))
    }

    fn bucket(&self, terms: &Terms) -> Option<(NonZeroU64, Meter)> {
        let rule = usize::from(terms.rate?);
        Some((self.policy.rules.get(rule)?.max_rate?, *self.meters.get(rule)?))
    }
}

/// What a bucket holds at most.
fn full(rate: NonZeroU64) -> i128 {
    let burst = u128::from(rate.get()) * BURST_TIME.as_nanos();
    i128::try_from(burst).unwrap_or(i128::MAX).max(i128::from(LEAST_BURST) * BILLION)
}

/// What it holds now.
fn filled(rate: NonZeroU64, meter: Meter, now: Instant) -> i128 {
    let elapsed = i128::try_from((now - meter.refilled).as_nanos()).unwrap_or(i128::MAX);
    meter.tokens.saturating_add(elapsed.saturating_mul(i128::from(rate.get()))).min(full(rate))
}

#[cfg(test)]
mod tests {
    use super::super::tests::interfaces;
    use super::*;

    fn state(rules: Vec<PathRule>) -> (PolicyState, Links) {
        let mut links = Links::default();
        links.refresh(&interfaces(2));
        (PolicyState::new(PathPolicy { rules, ..PathPolicy::default() }), links)
    }

    fn terms(state: &PolicyState, links: &Links, interface: usize) -> Terms {
        let local = format!("10.0.{}.2", interface + 1).parse().unwrap();
        state.terms(links, InterfaceId(interface), local, "192.0.2.1".parse().unwrap())
    }

    #[test]
    fn the_first_rule_that_fits_and_says_something_counts() {
        let everywhere = PathRule { cost: Some(5), ..PathRule::default() };
        let by_source = PathRule {
            source: Some("10.0.2.0/24".parse().unwrap()),
            usage: Some(PathUse::Spare),
            cost: Some(9),
            ..PathRule::default()
        };
        let by_interface =
            PathRule { interface: Some(InterfaceId(1)), usage: Some(PathUse::Never), ..PathRule::default() };
        let elsewhere = PathRule {
            destination: Some("198.51.100.0/24".parse().unwrap()),
            usage: Some(PathUse::Backup),
            ..PathRule::default()
        };
        let (state, links) = state(vec![elsewhere, by_source, everywhere, by_interface]);
        let found = [0, 1].map(|interface| terms(&state, &links, interface));
        assert_eq!(found.map(|terms| (terms.usage, terms.cost)), [(PathUse::Regular, 5), (PathUse::Spare, 9)]);
        assert!(state.has_spares());
    }

    #[test]
    fn interfaces_of_another_node_cost_more() {
        let (mut state, mut links) = state(Vec::new());
        state.set(PathPolicy { node: Some(1), remote_node_cost: 7, ..PathPolicy::default() });
        let costs = |links: &Links| [0, 1].map(|interface| terms(&state, links, interface).cost);
        assert_eq!(costs(&links), [0, 0], "nobody knows where they are");
        links.get_mut(InterfaceId(0)).unwrap().node = Some(0);
        links.get_mut(InterfaceId(1)).unwrap().node = Some(1);
        assert_eq!(costs(&links), [7, 0]);
    }

    fn limited(rate: u64) -> (PolicyState, Terms) {
        let rule = PathRule { max_rate: NonZeroU64::new(rate), ..PathRule::default() };
        let (state, links) = state(vec![rule]);
        let capped = terms(&state, &links, 0);
        (state, capped)
    }

    #[test]
    fn a_rate_holds_over_time_and_allows_small_bursts() {
        let (rate, start) = (1_000_000, Instant::from_millis(1000));
        for segment in [1400, 60_000] {
            let (mut state, capped) = limited(rate);
            let (mut now, mut sent, mut grant) = (start, 0, None);
            while now < start + Duration::from_secs(10) {
                if let Some(next) = state.wait(&capped, &mut grant, now, segment) {
                    assert!(next > now);
                    assert_eq!(state.wait(&capped, &mut grant, now, segment), Some(next), "it is waiting already");
                    now = next;
                    continue;
                }
                assert!(state.allowance(&capped, grant, now) >= segment);
                state.sent(&capped, &mut grant, now, segment as u64);
                sent += segment as u64;
            }
            assert!((9_900_000..10 * rate + LEAST_BURST + 2 * segment as u64).contains(&sent), "{segment}: {sent}");
            assert_eq!(state.used().collect::<Vec<_>>(), [Some(sent)]);
            state.give_back(&capped, &mut grant, now);
            let rest = now + Duration::from_secs(100);
            assert_eq!(state.allowance(&capped, None, rest) as u64, LEAST_BURST, "what was not used is not saved up");
        }
    }

    #[test]
    fn those_who_wait_for_a_rate_have_it_in_turn() {
        let (mut state, capped) = limited(1_000_000);
        let mut now = Instant::from_millis(1000);
        let mut all: [(Option<Grant>, Option<Instant>, u64); 3] = [(None, None, 0); 3];
        for _ in 0..3000 {
            for (grant, at, sent) in &mut all {
                if at.is_none_or(|at| at <= now) && state.allowance(&capped, *grant, now) >= 1400 {
                    state.sent(&capped, grant, now, 1400);
                    *sent += 1400;
                }
                *at = state.wait(&capped, grant, now, 1400);
            }
            now = all.iter().filter_map(|(_, at, _)| *at).min().unwrap_or(now);
        }
        let sent = all.map(|(_, _, sent)| sent);
        assert!(sent.iter().max().unwrap() - sent.iter().min().unwrap() <= LEAST_BURST, "{sent:?}");
        // One that goes leaves to the others what it has waited for.
        let [first, second] = [0, 1].map(|index| all[index].1.unwrap());
        let [a, b] = if first < second { [0, 1] } else { [1, 0] };
        state.give_back(&capped, &mut all[a].0, now);
        state.give_back(&capped, &mut all[b].0, now);
        let again = state.wait(&capped, &mut all[b].0, now, 1400).unwrap();
        assert!(again < first.max(second), "{again:?}");
    }

    #[test]
    fn a_volume_ends_and_a_new_rule_starts_anew() {
        let rule = PathRule { max_bytes: Some(10_000), ..PathRule::default() };
        let (mut state, links) = state(vec![rule]);
        let capped = terms(&state, &links, 0);
        let (now, grant) = (Instant::from_millis(1000), &mut None);
        let allowance = |state: &PolicyState| state.allowance(&capped, None, now) as u64;
        state.sent(&capped, grant, now, 3_000);
        state.carried(&capped, 4_000);
        assert_eq!(allowance(&state), LARGEST_SEGMENT);
        assert_eq!(state.wait(&capped, grant, now, 100_000), None, "waiting does not help");
        state.sent(&capped, grant, now, 3_500);
        assert!(state.is_exhausted(&capped) && allowance(&state) == 0);
        assert_eq!(state.wait(&capped, grant, now, 1), None);
        state.set(state.policy().clone());
        assert!(state.is_exhausted(&capped), "the rule is the same");
        state.set(PathPolicy { rules: vec![PathRule { max_bytes: Some(20_000), ..rule }], ..PathPolicy::default() });
        assert_eq!((allowance(&state), state.generation()), (LARGEST_SEGMENT, 3));
    }

    #[test]
    fn mistakes_are_named() {
        let policy = |rules| PathPolicy { rules, ..PathPolicy::default() }.validate();
        let cost = PathRule { cost: Some(1), ..PathRule::default() };
        assert_eq!(policy(vec![cost, PathRule::default()]), Err(PolicyError::SaysNothing(1)));
        assert_eq!(policy(vec![cost; 257]), Err(PolicyError::TooManyRules(257)));
        assert_eq!(policy(vec![cost; 256]), Ok(()));
    }
}
