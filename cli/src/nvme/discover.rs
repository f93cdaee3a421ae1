//! `mptcp nvme discover`: which subsystems there are.

use clap::Args;
use nvme_tcp::command::{SubsystemType, TRANSPORT_TCP};
use nvme_tcp::host::{DiscoveryLog, DiscoveryRecord};
use serde::Serialize;

use super::host::{HostOptions, leave};
use crate::failure::Failure;
use crate::say;

/// Show the subsystems that a discovery service knows
#[derive(Args)]
pub(crate) struct DiscoverArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostOptions,
}

/// An entry of the log, in the words of nvme-cli.
#[derive(Serialize)]
struct Record {
    trtype: &'static str,
    adrfam: &'static str,
    subtype: &'static str,
    treq: String,
    portid: u16,
    trsvcid: String,
    subnqn: String,
    traddr: String,
    eflags: String,
    /// Only TCP has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sectype: Option<&'static str>,
}

/// What nvme-cli calls a value that it does not know.
const UNKNOWN: &str = "unrecognized";

pub(super) fn run(args: &DiscoverArgs) -> Result<(), Failure> {
    let host = args.host.discovery()?;
    let log = host.controller().discovery_log().cloned().unwrap_or_default();
    leave(host);
    let records: Vec<Record> = log.records.iter().map(Record::new).collect();
    if args.json {
        say(&serde_json::json!({ "genctr": log.generation, "records": records }).to_string());
    } else {
        print_log(&log, &records);
    }
    Ok(())
}

fn print_log(log: &DiscoveryLog, records: &[Record]) {
    say(&format!("Discovery Log Number of Records {}, Generation counter {}", records.len(), log.generation));
    for (index, record) in records.iter().enumerate() {
        say(&format!("=====Discovery Log Entry {index}======"));
        say(&format!(
            "trtype:  {}\nadrfam:  {}\nsubtype: {}\ntreq:    {}",
            record.trtype, record.adrfam, record.subtype, record.treq
        ));
        say(&format!(
            "portid:  {}\ntrsvcid: {}\nsubnqn:  {}\ntraddr:  {}\neflags:  {}",
            record.portid, record.trsvcid, record.subnqn, record.traddr, record.eflags
        ));
        if let Some(sectype) = record.sectype {
            say(&format!("sectype: {sectype}"));
        }
    }
}

impl Record {
    fn new(record: &DiscoveryRecord) -> Self {
        let is_tcp = record.transport == TRANSPORT_TCP;
        Self {
            trtype: if is_tcp { "tcp" } else { "other" },
            adrfam: match record.family {
                1 => "ipv4",
                2 => "ipv6",
                _ => "other",
            },
            subtype: match record.subtype {
                SubsystemType::Nvm => "nvme subsystem",
                SubsystemType::Referral => "discovery subsystem referral",
                SubsystemType::CurrentDiscovery => "current discovery subsystem",
            },
            treq: requirements(record.requirements),
            portid: record.port,
            trsvcid: record.service.clone(),
            subnqn: record.subsystem.as_str().to_owned(),
            traddr: record.address.clone(),
            eflags: flags(record.flags),
            sectype: is_tcp.then_some(match record.security {
                0 => "none",
                1 => "tls",
                2 => "tls13",
                _ => UNKNOWN,
            }),
        }
    }
}

/// TREQ: whether a secure channel is needed, and whether SQ flow control can be disabled.
fn requirements(bits: u8) -> String {
    let channel = match bits & 0b11 {
        0 => "not specified",
        1 => "required",
        2 => "not required",
        _ => UNKNOWN,
    };
    let flow_control = if bits & 1 << 2 == 0 { "" } else { ", sq flow control disable supported" };
    format!("{channel}{flow_control}")
}

/// EFLAGS: what else there is to know of an entry. The order is that of nvme-cli.
fn flags(bits: u16) -> String {
    let known = [(1_u16 << 1, "explicit discovery connections"), (1 << 0, "duplicate discovery information")];
    let mut words: Vec<&str> = known.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| word).collect();
    if bits & !0b11 != 0 {
        words.push(UNKNOWN);
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use nvme_tcp::command::Nqn;

    use super::*;

    #[test]
    fn entries_are_told_in_the_words_of_nvme_cli() {
        let mut entry = DiscoveryRecord {
            subtype: SubsystemType::Referral,
            subsystem: Nqn::discovery(),
            transport: TRANSPORT_TCP,
            family: 2,
            address: "fd00::1".to_owned(),
            service: "8009".to_owned(),
            port: 7,
            controller: 0xffff,
            admin_entries: 32,
            requirements: 0,
            security: 0,
            flags: 0,
        };
        let words = |entry: &DiscoveryRecord| {
            let record = Record::new(entry);
            (record.treq, record.eflags, record.sectype)
        };
        assert_eq!(words(&entry), ("not specified".to_owned(), "none".to_owned(), Some("none")));
        (entry.requirements, entry.flags, entry.security) = (0b101, 0b11, 2);
        let flags = "explicit discovery connections, duplicate discovery information";
        assert_eq!(
            words(&entry),
            ("required, sq flow control disable supported".to_owned(), flags.to_owned(), Some("tls13"))
        );
        (entry.requirements, entry.flags, entry.security) = (0b11, 0x8001, 9);
        let flags = "duplicate discovery information, unrecognized";
        assert_eq!(words(&entry), (UNKNOWN.to_owned(), flags.to_owned(), Some(UNKNOWN)));
        entry.transport = 1;
        assert_eq!(Record::new(&entry).sectype, None, "what stands there has another meaning");
    }
}
