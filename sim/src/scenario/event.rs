//! What happens to a link at given times.

use std::time::Duration;

use super::error::ScenarioError;
use super::field::{Field, NONE, tag, words};
use super::loss::{Chance, Loss, Reorder};
use super::pace::{Jitter, LONGEST_DELAY, MOST_OVERHEAD, RateSpec};
use super::queue::Queue;
use super::section::{Context, Section};
use super::tree::Node;
use super::units::Size;

/// A change of a link, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happens first, from the start of the run.
    pub at: Duration,
    /// How long it lasts before the link is as it was; `None`: until another event.
    pub lasts: Option<Duration>,
    /// It happens again this long after it began.
    pub every: Option<Duration>,
    /// With `every`: how often it happens in all; `None`: to the end of the run.
    pub times: Option<u64>,
    /// The directions that it changes.
    pub direction: DirectionChoice,
    /// What it changes.
    pub action: Action,
}

impl Event {
    /// When it happens, each time.
    pub fn begins(&self) -> impl Iterator<Item = Duration> + use<> {
        let every = self.every;
        let all = std::iter::successors(Some(self.at), move |begin| begin.checked_add(every?));
        all.take(self.times.map_or(usize::MAX, |times| usize::try_from(times).unwrap_or(usize::MAX)))
    }

    /// How often it happens; [`u64::MAX`] if to the end of the run.
    pub fn repetitions(&self) -> u64 {
        self.times.unwrap_or(if self.every.is_some() { u64::MAX } else { 1 })
    }

    /// When the link is as it was, for good; `None`: never.
    pub fn over(&self) -> Option<Duration> {
        let again = u32::try_from(self.repetitions() - 1).ok()?;
        let last = self.at.checked_add(self.every.unwrap_or_default().checked_mul(again)?)?;
        last.checked_add(self.lasts?)
    }
}

words! {
    /// Directions of a link.
    pub enum DirectionChoice {
        /// From `from` to `to`.
        Up = "up",
        /// From `to` to `from`.
        Down = "down",
        /// Both.
        Both = "both",
    }
}

/// What an event does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The link loses its carrier: the hosts at its ends notice, and packets on the way are lost.
    Down,
    /// The link carries packets again.
    Up,
    /// Packets vanish, and no host notices.
    Blackhole,
    /// Conditions change.
    Set(Box<Change>),
}

/// New conditions; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New rate.
    pub rate: Option<RateSpec>,
    /// New overhead of each packet, 0-65535 bytes.
    pub overhead: Option<Size>,
    /// New delay.
    pub delay: Option<Duration>,
    /// New jitter; `Some(None)`: no more.
    pub jitter: Option<Option<Jitter>>,
    /// New losses; `Some(None)`: no more.
    pub loss: Option<Option<Loss>>,
    /// New chance of duplication.
    pub duplicate: Option<Chance>,
    /// New chance of corruption.
    pub corrupt: Option<Chance>,
    /// New reordering; `Some(None)`: no more.
    pub reorder: Option<Option<Reorder>>,
    /// New queue.
    pub queue: Option<Queue>,
    /// New MTU, 576-65535.
    pub mtu: Option<u16>,
}

words! {
    /// The actions by name.
    enum ActionKind {
        /// [`Action::Down`].
        Down = "down",
        /// [`Action::Up`].
        Up = "up",
        /// [`Action::Blackhole`].
        Blackhole = "blackhole",
        /// [`Action::Set`].
        Set = "set",
    }
}

const COMMON_KEYS: [&str; 6] = ["at", "for", "every", "times", "direction", "action"];
const CHANGE_KEYS: [&str; 10] =
    ["rate", "overhead", "delay", "jitter", "loss", "duplicate", "corrupt", "reorder", "queue", "mtu"];

impl Field for Event {
    const SWEPT: bool = false;

    fn read(cx: &mut Context, node: &mut Node, key: &str) -> Result<Self, ScenarioError> {
        let kind = tag(cx, node, key, "action", ActionKind::ALL, None)?;
        let extra = if kind == ActionKind::Set { &CHANGE_KEYS[..] } else { &[] };
        let keys: Vec<&str> = COMMON_KEYS.iter().chain(extra).copied().collect();
        let mut section = Section::open(cx, node, key, &keys)?;
        let at = section.require("at", "when it happens")?;
        let above_zero = |time: &Option<Duration>| time.is_none_or(|time| !time.is_zero());
        let expected = r#"a time above 0, or "none""#;
        let lasts = section.get_if("for", NONE, expected, above_zero)?;
        let every = section.get_if("every", NONE, expected, above_zero)?;
        let at_least_one = |times: &Option<u64>| times.is_none_or(|times| times > 0);
        let times = section.get_if("times", NONE, r#"at least 1, or "none""#, at_least_one)?;
        if times.is_some() && every.is_none() {
            return Err(section.invalid("times", "used with 'every', which says after what time it happens again"));
        }
        if let (Some(lasts), Some(every)) = (lasts, every)
            && lasts >= every
        {
            return Err(section.invalid("for", "less than 'every'"));
        }
        let direction = section.get("direction", "both")?;
        let action = match kind {
            ActionKind::Down => Action::Down,
            ActionKind::Up => Action::Up,
            ActionKind::Blackhole => Action::Blackhole,
            ActionKind::Set => Action::Set(Box::new(read_change(&mut section)?)),
        };
        Ok(Self { at, lasts, every, times, direction, action })
    }
}

fn read_change(section: &mut Section<'_>) -> Result<Change, ScenarioError> {
    let change = Change {
        rate: if_written(section, "rate")?,
        overhead: if_written(section, "overhead")?,
        delay: if_written(section, "delay")?,
        jitter: if_written(section, "jitter")?,
        loss: if_written(section, "loss")?,
        duplicate: if_written(section, "duplicate")?,
        corrupt: if_written(section, "corrupt")?,
        reorder: if_written(section, "reorder")?,
        queue: if_written(section, "queue")?,
        // The range of the count is that of the type.
        mtu: if section.has("mtu") {
            Some(u16::try_from(section.count("mtu", 1500, 576..=65_535)?).unwrap_or(u16::MAX))
        } else {
            None
        },
    };
    if change.overhead.is_some_and(|overhead: Size| overhead.0 > MOST_OVERHEAD) {
        return Err(section.invalid("overhead", "at most 65535B"));
    }
    if change.delay.is_some_and(|delay| delay > LONGEST_DELAY) {
        return Err(section.invalid("delay", "at most 1h"));
    }
    if change == Change::default() {
        let (place, key) = (section.place.clone(), section.path.clone());
        return Err(section.cx.contradiction(
            &place,
            &key,
            format!("sets nothing: give one of {}", CHANGE_KEYS.join(", ")),
        ));
    }
    Ok(change)
}

fn if_written<T: Field>(section: &mut Section<'_>, key: &str) -> Result<Option<T>, ScenarioError> {
    if section.has(key) { section.require(key, "").map(Some) } else { Ok(None) }
}
