//! How the connections of a stack share its interfaces, by the class of what they send.

use crate::scheduler::TrafficClass;

/// Shares and limits of the classes. A connection's class at any time is that of the next byte that it has to send ([`Message`](crate::Message),
/// [`Stack::set_class`](crate::Stack::set_class)).
///
/// * More important classes are served first wherever several connections have something to send at the same time.
/// * *Weights*: while a more important class has more to send over an interface than its congestion windows allow, a class gets no more of the
///   interface than its weight is of the other one's: with 8 and 1 an eighth of what the other one gets. Otherwise it gets all that
///   its congestion windows allow. What is held back by the peer's receive window, or by its own limit, holds back nobody; nor
///   does anything over a TCP that does not tell its congestion windows. Nobody knows where in the network a window is held back; so what a class leaves to
///   another one may be wasted if their bottlenecks are different ones behind the same interface.
/// * *Limits* are strict and of the whole stack: what a class hands to its subflows is, in any span of time, no more than the limit times the
///   span and a burst of 16 KiB or 2 ms. Headers and TCP's own retransmissions come on top.
///
/// No queue in the network is shorter for weights. To keep it empty for `latency`, limit the other classes to less than the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qos {
    /// Of [`TrafficClass::Latency`]. Default: weight 64.
    pub latency: ClassShare,
    /// Of [`TrafficClass::Bulk`], which is everything that nothing is said of. Default: weight 8.
    pub bulk: ClassShare,
    /// Of [`TrafficClass::Background`]. Default: weight 1.
    pub background: ClassShare,
}

/// What a class may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassShare {
    /// Share beside the other classes, from 1 to 1000, not above that of a more important class.
    pub weight: u32,
    /// Payload bytes per second at most, of all connections together, from 1000 on. Default: none.
    pub limit: Option<u64>,
}

/// Why shares cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QosError {
    /// A weight is out of its range.
    #[error("the weight of class '{class}' is {weight}, but must be from 1 to {}", Qos::MAX_WEIGHT)]
    Weight {
        /// The class.
        class: TrafficClass,
        /// Its weight.
        weight: u32,
    },
    /// A class must not have more than a more important one.
    #[error("class '{class}' has more weight than '{above}', which is more important")]
    Order {
        /// The class.
        class: TrafficClass,
        /// The more important one.
        above: TrafficClass,
    },
    /// Nothing could be sent at a steady pace.
    #[error("class '{class}' is limited to {limit} bytes per second, but {} are the least", Qos::MIN_LIMIT)]
    Limit {
        /// The class.
        class: TrafficClass,
        /// Its limit.
        limit: u64,
    },
}

impl Default for Qos {
    fn default() -> Self {
        let of = |weight| ClassShare { weight, limit: None };
        Self { latency: of(64), bulk: of(8), background: of(1) }
    }
}

impl Qos {
    /// The largest weight.
    pub const MAX_WEIGHT: u32 = 1000;
    /// The smallest limit, in bytes per second.
    pub const MIN_LIMIT: u64 = 1000;

    /// Those of a class.
    pub fn of(&self, class: TrafficClass) -> ClassShare {
        match class {
            TrafficClass::Latency => self.latency,
            TrafficClass::Bulk => self.bulk,
            TrafficClass::Background => self.background,
        }
    }

    /// Checks that it can be used.
    ///
    /// # Errors
    /// The first share that cannot; see [`QosError`].
    pub fn validate(&self) -> Result<(), QosError> {
        let mut above: Option<TrafficClass> = None;
        for class in TrafficClass::ALL {
            let ClassShare { weight, limit } = self.of(class);
            if !(1..=Self::MAX_WEIGHT).contains(&weight) {
                return Err(QosError::Weight { class, weight });
            }
            if let Some(above) = above.filter(|above| self.of(*above).weight < weight) {
                return Err(QosError::Order { class, above });
            }
            if let Some(limit) = limit.filter(|limit| *limit < Self::MIN_LIMIT) {
                return Err(QosError::Limit { class, limit });
            }
            above = Some(class);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_a_sentence() {
        assert_eq!(Qos::default().validate(), Ok(()));
        let broken = |change: fn(&mut Qos)| {
            let mut qos = Qos::default();
            change(&mut qos);
            qos.validate().unwrap_err().to_string()
        };
        assert_eq!(broken(|qos| qos.bulk.weight = 0), "the weight of class 'bulk' is 0, but must be from 1 to 1000");
        assert_eq!(
            broken(|qos| qos.background.weight = 9),
            "class 'background' has more weight than 'bulk', which is more important"
        );
        assert_eq!(
            broken(|qos| qos.latency.limit = Some(10)),
            "class 'latency' is limited to 10 bytes per second, but 1000 are the least"
        );
    }
}
