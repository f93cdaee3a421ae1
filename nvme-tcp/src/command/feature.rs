//! Features, which hosts set and get, and the events that one of them selects.

/// Identifiers of features: FID.
pub mod fid {
    /// Arbitration.
    pub const ARBITRATION: u8 = 0x01;
    /// Power Management.
    pub const POWER_MANAGEMENT: u8 = 0x02;
    /// Temperature Threshold.
    pub const TEMPERATURE_THRESHOLD: u8 = 0x04;
    /// Error Recovery.
    pub const ERROR_RECOVERY: u8 = 0x05;
    /// Volatile Write Cache: bit 0 enables it.
    pub const VOLATILE_WRITE_CACHE: u8 = 0x06;
    /// Number of Queues: [`QueueCounts`](super::QueueCounts).
    pub const NUMBER_OF_QUEUES: u8 = 0x07;
    /// Write Atomicity Normal.
    pub const WRITE_ATOMICITY: u8 = 0x0a;
    /// Asynchronous Event Configuration: [`EventMask`](super::EventMask).
    pub const ASYNC_EVENTS: u8 = 0x0b;
    /// Keep Alive Timer, in ms.
    pub const KEEP_ALIVE_TIMER: u8 = 0x0f;
    /// Host Behavior Support, with 512 bytes of data.
    pub const HOST_BEHAVIOR: u8 = 0x16;
    /// Host Identifier, with 16 bytes of data.
    pub const HOST_IDENTIFIER: u8 = 0x81;
    /// Reservation Notification Mask.
    pub const RESERVATION_NOTIFICATIONS: u8 = 0x82;
    /// Reservation Persistence.
    pub const RESERVATION_PERSISTENCE: u8 = 0x83;
}

/// How many I/O queues a host asks for, or was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// Submission queues, 1 to 65535. (The field counts from 0.)
    pub submission: u32,
    /// Completion queues, 1 to 65535. (The field counts from 0.)
    pub completion: u32,
}

impl QueueCounts {
    /// As many of each.
    pub const fn pairs(count: u32) -> Self {
        Self { submission: count, completion: count }
    }

    /// From CDW11 of Set Features, and from the result of both commands.
    pub const fn from_bits(bits: u32) -> Self {
        Self { submission: (bits & 0xffff) + 1, completion: (bits >> 16) + 1 }
    }

    /// CDW11 of Set Features, and the result of both commands.
    pub const fn bits(self) -> u32 {
        self.submission.saturating_sub(1) & 0xffff | (self.completion.saturating_sub(1) & 0xffff) << 16
    }
}

/// Which events a host wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventMask(pub u32);

impl EventMask {
    /// Namespaces appear, change or go.
    pub const NAMESPACE_ATTRIBUTES: Self = Self(1 << 8);
    /// The states of ANA groups change.
    pub const ANA_CHANGE: Self = Self(1 << 11);
    /// The discovery log changes.
    pub const DISCOVERY_LOG: Self = Self(1 << 31);

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// All of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What an Asynchronous Event Request completes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AsyncEvent {
    /// What kind of event.
    pub kind: AsyncEventType,
    /// Which of its kind.
    pub information: u8,
    /// LID: the log page that says more. Reading it makes room for the next event of this kind.
    pub log_page: u8,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsyncEventType {
    /// Something failed.
    Error,
    /// The health of the subsystem.
    Health,
    /// Something changed.
    Notice,
    /// An event of a command set.
    CommandSet,
    /// Another kind; its code.
    Other(u8),
}

impl AsyncEvent {
    /// Namespaces changed; [`lid::CHANGED_NAMESPACES`](super::lid::CHANGED_NAMESPACES) says which.
    pub const NAMESPACES_CHANGED: Self = Self::notice(0x00, 0x04);
    /// ANA states changed; [`lid::ANA`](super::lid::ANA) has them.
    pub const ANA_CHANGED: Self = Self::notice(0x03, 0x0c);
    /// The discovery log changed.
    pub const DISCOVERY_CHANGED: Self = Self::notice(0xf0, 0x70);

    /// From dword 0 of the completion.
    pub const fn from_bits(bits: u32) -> Self {
        let kind = match bits as u8 & 0b111 {
            0 => AsyncEventType::Error,
            1 => AsyncEventType::Health,
            2 => AsyncEventType::Notice,
            6 => AsyncEventType::CommandSet,
            other => AsyncEventType::Other(other),
        };
        Self { kind, information: (bits >> 8) as u8, log_page: (bits >> 16) as u8 }
    }

    /// Dword 0 of the completion.
    pub const fn bits(self) -> u32 {
        let kind = match self.kind {
            AsyncEventType::Error => 0,
            AsyncEventType::Health => 1,
            AsyncEventType::Notice => 2,
            AsyncEventType::CommandSet => 6,
            AsyncEventType::Other(code) => code & 0b111,
        };
        kind as u32 | (self.information as u32) << 8 | (self.log_page as u32) << 16
    }

    const fn notice(information: u8, log_page: u8) -> Self {
        Self { kind: AsyncEventType::Notice, information, log_page }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_counts_count_from_zero_on_the_wire() {
        assert_eq!(QueueCounts::pairs(1).bits(), 0);
        assert_eq!(QueueCounts::from_bits(0x0003_0007), QueueCounts { submission: 8, completion: 4 });
        assert_eq!(QueueCounts::pairs(1024).bits(), 0x03ff_03ff);
    }

    #[test]
    fn events() {
        assert_eq!(AsyncEvent::ANA_CHANGED.bits(), 0x000c_0302);
        assert_eq!(AsyncEvent::NAMESPACES_CHANGED.bits(), 0x0004_0002);
        assert_eq!(AsyncEvent::DISCOVERY_CHANGED.bits(), 0x0070_f002);
        for bits in (0..8).map(|kind| kind | 0x0070_f000) {
            assert_eq!(AsyncEvent::from_bits(bits).bits(), bits);
        }
        assert!(EventMask(0x91f).contains(EventMask::NAMESPACE_ATTRIBUTES.union(EventMask::ANA_CHANGE)));
    }
}
