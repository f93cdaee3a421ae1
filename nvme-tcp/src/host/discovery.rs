//! The discovery log: which subsystems there are, and where.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use zerocopy::FromBytes;

use crate::command::{
    AdminCommand, DiscoveryEntry, DiscoveryHeader, GetLogPage, Nqn, SubsystemType, TRANSPORT_TCP, lid, trimmed,
};

/// Bytes of the header, and of each entry.
const UNIT: u64 = 1024;
/// Entries that one command asks for: what fits into 4 KiB, which every controller can transfer.
const ENTRIES_PER_READ: u64 = 4;
/// Entries that are looked at, at most.
const MAX_ENTRIES: u64 = 4096;
/// How often the log may change while it is read.
const MAX_ATTEMPTS: u32 = 10;

/// The log of a discovery controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryLog {
    /// GENCTR: changes with the log.
    pub generation: u64,
    /// What it lists; the first 4096 entries.
    pub records: Vec<DiscoveryRecord>,
    /// Entries that were left out because they make no sense.
    pub malformed: usize,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryRecord {
    /// What it is.
    pub subtype: SubsystemType,
    /// SUBNQN.
    pub subsystem: Nqn,
    /// TRTYPE; see [`TRANSPORT_TCP`].
    pub transport: u8,
    /// ADRFAM: 1 for IPv4, 2 for IPv6.
    pub family: u8,
    /// TRADDR.
    pub address: String,
    /// TRSVCID.
    pub service: String,
    /// PORTID.
    pub port: u16,
    /// CNTLID.
    pub controller: u16,
    /// ASQSZ: entries of the longest admin queue.
    pub admin_entries: u16,
    /// TREQ: see [`DiscoveryEntry::requirements`].
    pub requirements: u8,
    /// SECTYPE: 0 for none, 2 for TLS 1.3.
    pub security: u8,
    /// EFLAGS.
    pub flags: u16,
}

impl DiscoveryRecord {
    /// What the entry says; None if it makes no sense.
    pub fn new(entry: &DiscoveryEntry) -> Option<Self> {
        Some(Self {
            subtype: SubsystemType::from_byte(entry.subtype)?,
            subsystem: Nqn::from_field(&entry.subnqn).ok()?,
            transport: entry.transport,
            family: entry.family,
            address: trimmed(&entry.address),
            service: trimmed(&entry.service),
            port: entry.port.get(),
            controller: entry.controller.get(),
            admin_entries: entry.admin_queue.get(),
            requirements: entry.requirements,
            security: entry.security,
            flags: entry.flags.get(),
        })
    }

    /// Where to connect to, if it is reached over TCP.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        let address: IpAddr = self.address.parse().ok()?;
        (self.transport == TRANSPORT_TCP).then_some(SocketAddr::new(address, self.service.parse().ok()?))
    }
}

/// Which discovery services to ask: the first, and those to which their logs refer, each once.
#[derive(Debug)]
pub struct Referrals {
    to_ask: VecDeque<SocketAddr>,
    seen: BTreeSet<SocketAddr>,
}

impl Referrals {
    /// Services that are asked at most: referrals may go in circles, or have no end.
    pub const MAX_SERVICES: usize = 64;

    /// Begins with a service.
    pub fn new(first: SocketAddr) -> Self {
        Self { to_ask: VecDeque::from([first]), seen: BTreeSet::from([first]) }
    }

    /// The next service to ask.
    pub fn next_service(&mut self) -> Option<SocketAddr> {
        self.to_ask.pop_front()
    }

    /// Takes the referrals of a log.
    pub fn add(&mut self, log: &DiscoveryLog) {
        for record in log.records.iter().filter(|record| record.subtype == SubsystemType::Referral) {
            if let Some(address) = record.socket_address()
                && self.seen.len() < Self::MAX_SERVICES
                && self.seen.insert(address)
            {
                self.to_ask.push_back(address);
            }
        }
    }
}

/// Reads a log in parts, and again if it changed meanwhile.
#[derive(Debug)]
pub(super) struct LogReader {
    attempts: u32,
    stage: Stage,
    log: DiscoveryLog,
}

#[derive(Debug)]
enum Stage {
    Header,
    Entries {
        next: u64,
        total: u64,
    },
    /// The header once more.
    Verify,
}

/// What to do after a part was read.
#[derive(Debug)]
pub(super) enum Progress {
    /// The next part has to be read.
    More(LogReader),
    Complete(DiscoveryLog),
    /// It changes all the time.
    Unstable,
}

impl LogReader {
    pub(super) fn new() -> Self {
        Self { attempts: 1, stage: Stage::Header, log: DiscoveryLog::default() }
    }

    /// The command that reads the next part, and how many bytes it returns.
    pub(super) fn command(&self) -> (AdminCommand, u32) {
        let (offset, length) = match self.stage {
            Stage::Header | Stage::Verify => (0, UNIT),
            Stage::Entries { next, total } => (UNIT * (next + 1), UNIT * (total - next).min(ENTRIES_PER_READ)),
        };
        // Only the last read makes room for the next event: what changes after it is not missed.
        let retain_event = !matches!(self.stage, Stage::Verify);
        let get = GetLogPage { page: lid::DISCOVERY, specific: 0, retain_event, length, offset };
        (AdminCommand::GetLogPage(get), length as u32)
    }

    /// Takes the part that was read.
    pub(super) fn on_data(mut self, data: &[u8]) -> Progress {
        match self.stage {
            Stage::Header | Stage::Verify => {
                let Ok((header, _)) = DiscoveryHeader::read_from_prefix(data) else { return self.again() };
                let generation = header.generation.get();
                if matches!(self.stage, Stage::Verify) {
                    if generation == self.log.generation {
                        return Progress::Complete(self.log);
                    }
                    return self.again();
                }
                self.log.generation = generation;
                let total = header.records.get().min(MAX_ENTRIES);
                self.stage = if total == 0 { Stage::Verify } else { Stage::Entries { next: 0, total } };
            }
            Stage::Entries { next, total } => {
                for entry in data.chunks_exact(UNIT as usize) {
                    match DiscoveryEntry::read_from_bytes(entry).ok().as_ref().and_then(DiscoveryRecord::new) {
                        Some(record) => self.log.records.push(record),
                        None => self.log.malformed += 1,
                    }
                }
                let next = (next + ENTRIES_PER_READ).min(total);
                self.stage = if next == total { Stage::Verify } else { Stage::Entries { next, total } };
            }
        }
        Progress::More(self)
    }

    /// Begins anew, unless that was tried often enough.
    pub(super) fn again(self) -> Progress {
        if self.attempts == MAX_ATTEMPTS {
            return Progress::Unstable;
        }
        Progress::More(Self { attempts: self.attempts + 1, ..Self::new() })
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    fn log(generation: u64, count: u64) -> Vec<u8> {
        let mut log = DiscoveryHeader::new(generation, count).as_bytes().to_vec();
        for index in 0..count {
            let nqn = Nqn::new(&format!("nqn.2026-01.example:disk{index}")).unwrap();
            let address = SocketAddr::from(([10, 0, 0, index as u8], 4420));
            log.extend_from_slice(DiscoveryEntry::tcp(SubsystemType::Nvm, 1, address, &nqn).as_bytes());
        }
        log
    }

    /// Reads with a log that `at` returns for each read.
    fn read(mut at: impl FnMut(usize) -> Vec<u8>) -> (Option<DiscoveryLog>, usize) {
        let mut reader = LogReader::new();
        for reads in 1.. {
            let (AdminCommand::GetLogPage(get), length) = reader.command() else { panic!("another command") };
            assert_eq!(u64::from(length), get.length);
            let log = at(reads);
            let begin = (get.offset as usize).min(log.len());
            let mut data = log[begin..(begin + get.length as usize).min(log.len())].to_vec();
            data.resize(get.length as usize, 0);
            match reader.on_data(&data) {
                Progress::More(next) => reader = next,
                Progress::Complete(log) => return (Some(log), reads),
                Progress::Unstable => return (None, reads),
            }
        }
        unreachable!("a number of reads above 2^64")
    }

    #[test]
    fn logs_of_any_length() {
        for count in [0, 1, 4, 5, 9] {
            let (found, reads) = read(|_| log(3, count));
            let found = found.unwrap();
            assert_eq!((found.generation, found.records.len() as u64, found.malformed), (3, count, 0));
            assert_eq!(reads as u64, 2 + count.div_ceil(4));
            if let Some(last) = found.records.last() {
                assert_eq!(last.socket_address(), Some(SocketAddr::from(([10, 0, 0, count as u8 - 1], 4420))));
            }
        }
    }

    #[test]
    fn a_log_that_changes_is_read_again() {
        let (found, _) = read(|reads| if reads < 3 { log(1, 2) } else { log(2, 3) });
        assert_eq!(found.unwrap(), read(|_| log(2, 3)).0.unwrap());
        let (found, reads) = read(|reads| log(reads as u64, 2));
        assert_eq!((found, reads), (None, 30));
    }

    #[test]
    fn a_log_without_end_and_entries_without_sense() {
        let (found, reads) =
            read(|_| log(1, 0).into_iter().enumerate().map(|(i, b)| if i == 15 { 0xff } else { b }).collect());
        let found = found.unwrap();
        assert_eq!((found.records.len(), found.malformed as u64, reads as u64), (0, MAX_ENTRIES, 2 + MAX_ENTRIES / 4));
    }

    #[test]
    fn referrals_go_nowhere_twice() {
        let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 8009));
        let referring = |to: &[u8]| DiscoveryLog {
            records: to
                .iter()
                .map(|last| DiscoveryEntry::tcp(SubsystemType::Referral, 1, address(*last), &Nqn::discovery()))
                .filter_map(|entry| DiscoveryRecord::new(&entry))
                .collect(),
            ..DiscoveryLog::default()
        };
        let mut referrals = Referrals::new(address(1));
        assert_eq!(referrals.next_service(), Some(address(1)));
        referrals.add(&referring(&[1, 2, 3, 2]));
        assert_eq!(referrals.next_service(), Some(address(2)));
        referrals.add(&referring(&[1, 3]));
        assert_eq!(referrals.next_service(), Some(address(3)));
        assert_eq!(referrals.next_service(), None);
        referrals.add(&referring(&(0..=255).collect::<Vec<_>>()));
        assert_eq!(std::iter::from_fn(|| referrals.next_service()).count(), Referrals::MAX_SERVICES - 3);
    }
}
