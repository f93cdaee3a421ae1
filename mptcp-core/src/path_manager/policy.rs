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
    /// The bucket of a rate: billionths of a byte, so that nothing is lost to rounding. Less than nothing after a burst.
    tokens: i128,
    refilled: Instant,
}

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

    /// Payload bytes that may leave now. If nothing has left for long, that is a whole segment of this size, however large: it
    /// would never leave otherwise.
    pub(crate) fn allowance(&self, terms: &Terms, now: Instant, segment: usize) -> usize {
        let by_rate = self.bucket(terms).map_or(i128::MAX, |(rate, meter)| match filled(rate, meter, now) {
            tokens if tokens >= full(rate) => (tokens / BILLION).max(i128::try_from(segment).unwrap_or(i128::MAX)),
            tokens => tokens / BILLION,
        });
        // The last segment may exceed the volume: a part of one might never be asked for.
        let by_volume = match self.volume_left(terms) {
            0 => 0,
            left => i128::from(left.max(LARGEST_SEGMENT)),
        };
        usize::try_from(by_rate.clamp(0, by_volume)).unwrap_or(usize::MAX)
    }

    /// When so many bytes may leave again, or as many as may ever leave at once; `None` if waiting does not help.
    pub(crate) fn allowed_at(&self, terms: &Terms, now: Instant, bytes: usize) -> Option<Instant> {
        if self.is_exhausted(terms) {
            return None;
        }
        let (rate, meter) = self.bucket(terms)?;
        let wanted = (i128::try_from(bytes).unwrap_or(i128::MAX).saturating_mul(BILLION)).min(full(rate));
        let missing = (wanted - filled(rate, meter, now)).max(0);
        let wait = missing / i128::from(rate.get()) + 1;
        Some(now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX >> 1)))
    }

    /// Counts bytes that are sent.
    pub(crate) fn sent(&mut self, terms: &Terms, now: Instant, bytes: u64) {
        if let Some((rate, meter)) = self.bucket(terms) {
            let tokens = filled(rate, meter, now) - i128::from(bytes) * BILLION;
            if let Some(meter) = terms.rate.and_then(|rule| self.meters.get_mut(usize::from(rule))) {
                (meter.tokens, meter.refilled) = (tokens, now);
            }
        }
        self.carried(terms, bytes);
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

    #[test]
    fn a_rate_holds_over_time_and_allows_small_bursts() {
        let rate = 1_000_000;
        let rule = PathRule { max_rate: NonZeroU64::new(rate), ..PathRule::default() };
        let (mut state, links) = state(vec![rule]);
        let capped = terms(&state, &links, 0);
        let start = Instant::from_millis(1000);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(10) {
            let bytes = state.allowance(&capped, now, 1400).min(1400) as u64;
            if bytes < 1400 {
                now = state.allowed_at(&capped, now, 1400).unwrap();
                continue;
            }
            state.sent(&capped, now, bytes);
            sent += bytes;
        }
        assert!((10 * rate..10 * rate + LEAST_BURST + 1400).contains(&sent), "{sent}");
        assert_eq!(state.used().collect::<Vec<_>>(), [Some(sent)]);
        let rest = now + Duration::from_secs(100);
        assert_eq!(state.allowance(&capped, rest, 1400) as u64, LEAST_BURST, "what was not used is not saved up");
        assert!(state.allowed_at(&capped, rest, 1 << 30).is_some(), "more than a burst is never waited for");
    }

    #[test]
    fn a_volume_ends_and_a_new_rule_starts_anew() {
        let rule = PathRule { max_bytes: Some(10_000), ..PathRule::default() };
        let (mut state, links) = state(vec![rule]);
        let capped = terms(&state, &links, 0);
        let now = Instant::from_millis(1000);
        state.sent(&capped, now, 3_000);
        state.carried(&capped, 4_000);
        assert_eq!(state.allowance(&capped, now, 1400) as u64, LARGEST_SEGMENT);
        assert_eq!(state.allowed_at(&capped, now, 100_000), None, "waiting does not help");
        state.sent(&capped, now, 3_500);
        assert!(state.is_exhausted(&capped) && state.allowance(&capped, now, 1400) == 0);
        assert_eq!(state.allowed_at(&capped, now, 1), None);
        state.set(state.policy().clone());
        assert!(state.is_exhausted(&capped), "the rule is the same");
        state.set(PathPolicy { rules: vec![PathRule { max_bytes: Some(20_000), ..rule }], ..PathPolicy::default() });
        assert_eq!((state.allowance(&capped, now, 1400) as u64, state.generation()), (LARGEST_SEGMENT, 3));
    }

    #[test]
    fn segments_larger_than_a_burst_keep_to_the_rate_too() {
        let (rate, segment) = (1_000_000, 60_000_usize);
        let rule = PathRule { max_rate: NonZeroU64::new(rate), ..PathRule::default() };
        let (mut state, links) = state(vec![rule]);
        let capped = terms(&state, &links, 0);
        let start = Instant::from_millis(1000);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(10) {
            if state.allowance(&capped, now, segment) < segment {
                let next = state.allowed_at(&capped, now, segment).unwrap();
                assert!(next > now + Duration::from_micros(10), "{:?}", next - now);
                now = next;
                continue;
            }
            state.sent(&capped, now, segment as u64);
            sent += segment as u64;
        }
        assert!((9 * rate..10 * rate + 2 * segment as u64).contains(&sent), "{sent}");
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
