//! What kernels count: the witnesses of a test that are not our own.

use std::collections::BTreeMap;
use std::ops::Index;

use crate::error::{LabError, Result};
use crate::netns::Netns;

/// The Multipath TCP counters of a kernel, by the names of `nstat` without the `MPTcpExt` prefix.
///
/// Indexing with a name that the kernel does not have gives 0, since older kernels lack counters for
/// events that they cannot have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mib {
    counters: BTreeMap<String, u64>,
}

impl Mib {
    /// Reads the counters of a namespace.
    ///
    /// # Errors
    /// The kernel has no Multipath TCP.
    pub fn of(netns: &Netns) -> Result<Self> {
        Self::parse(&netns.read("/proc/net/netstat")?)
    }

    /// Reads the counters from the text of `/proc/net/netstat`: pairs of lines, names above values.
    ///
    /// # Errors
    /// There are none.
    pub fn parse(netstat: &str) -> Result<Self> {
        let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("MPTcpExt: "));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
            return Err(LabError::Unexpected {
                what: "/proc/net/netstat".to_owned(),
                found: "no MPTcpExt lines; the kernel has no Multipath TCP".to_owned(),
            });
        };
        let values = values.split_whitespace().map(|value| value.parse().unwrap_or(0));
        let counters = names.split_whitespace().map(str::to_owned).zip(values).collect();
        Ok(Self { counters })
    }

    /// Reads counters that a program of ours wrote as one JSON object of names and numbers; the `MPTcpExt` prefix is
    /// taken off.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_json(text: &str) -> Result<Self> {
        let counters: BTreeMap<String, u64> = serde_json::from_str(text).map_err(|error| LabError::Unexpected {
            what: "counters".to_owned(),
            found: format!("{error} in {text}"),
        })?;
        let short = |name: String| name.strip_prefix("MPTcpExt").map_or(name.clone(), str::to_owned);
        Ok(Self { counters: counters.into_iter().map(|(name, value)| (short(name), value)).collect() })
    }

    /// The counters that are not zero, for messages.
    #[must_use]
    pub fn nonzero(&self) -> BTreeMap<&str, u64> {
        self.counters.iter().filter(|(_, value)| **value != 0).map(|(name, value)| (name.as_str(), *value)).collect()
    }

    /// The names of the counters that are not zero and that tell of a connection which had to
    /// stop being multipath, or of a peer that broke the protocol.
    #[must_use]
    pub fn troubles(&self) -> Vec<&str> {
        let is_trouble = |name: &str| {
            name.contains("Fallback")
                || name.contains("InfiniteMap")
                || name.contains("Err")
                || name.contains("Corrupt")
                || name.contains("Mismatch")
                || name.contains("NoMatch")
                || name.contains("HMacFailure")
                || name.contains("MPFail")
        };
        self.nonzero().into_keys().filter(|name| is_trouble(name)).collect()
    }
}

impl Index<&str> for Mib {
    type Output = u64;

    fn index(&self, name: &str) -> &u64 {
        self.counters.get(name).unwrap_or(&0)
    }
}

/// Bytes that an interface has received and sent, by its own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub rx: u64,
    /// Bytes sent.
    pub tx: u64,
}

impl Traffic {
    /// Reads the counters of an interface.
    ///
    /// # Errors
    /// There is no such interface in the namespace.
    pub fn of(netns: &Netns, interface: &str) -> Result<Self> {
        let dir = format!("/sys/class/net/{interface}/statistics");
        let text = netns.read(&format!("{dir}/rx_bytes {dir}/tx_bytes"))?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [rx, tx] => Ok(Self { rx, tx }),
            _ => Err(LabError::Unexpected { what: dir, found: text }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstat_is_read_by_name() {
        let text =
            "TcpExt: A B\nTcpExt: 1 2\nMPTcpExt: MPCapableSYNRX MPCapableFallbackACK MPJoinSynRx\nMPTcpExt: 7 0 2\n";
        let mib = Mib::parse(text).unwrap();
        assert_eq!((mib["MPCapableSYNRX"], mib["MPJoinSynRx"], mib["NotThere"]), (7, 2, 0));
        assert!(mib.troubles().is_empty());
        assert!(Mib::parse("TcpExt: A\nTcpExt: 1\n").is_err());
    }

    #[test]
    fn our_counters_have_the_same_names() {
        let mib = Mib::from_json(r#"{"MPTcpExtMPJoinSynRx": 2, "MPTcpExtMPCapableFallbackACK": 1}"#).unwrap();
        assert_eq!(mib["MPJoinSynRx"], 2);
        assert_eq!(mib.troubles(), ["MPCapableFallbackACK"]);
    }
}
