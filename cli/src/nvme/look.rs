//! `mptcp nvme discover`, `list` and `identify`: what there is.

use clap::Args;
use nvme_tcp::command::{NamespaceId, SubsystemType, TRANSPORT_TCP, trimmed};
use nvme_tcp::host::{DiscoveryLog, DiscoveryRecord, Namespace};
use serde::Serialize;

use super::host::{AnyHost, HostOptions, SubsystemOptions, leave};
use super::names::format_uuid;
use crate::failure::Failure;
use crate::human::bytes;
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

/// Show the namespaces of a subsystem
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    subsystem: SubsystemOptions,
}

/// Show what a controller says of itself
#[derive(Args)]
pub(crate) struct IdentifyArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    subsystem: SubsystemOptions,
}

#[derive(Serialize)]
struct Record {
    trtype: &'static str,
    adrfam: &'static str,
    subtype: &'static str,
    portid: u16,
    trsvcid: String,
    subnqn: String,
    traddr: String,
}

#[derive(Serialize)]
struct Disk {
    nsid: u32,
    uuid: Option<String>,
    blocks: u64,
    block_size: u32,
    bytes: u64,
    write_protected: bool,
}

#[derive(Serialize)]
struct Identity {
    subnqn: String,
    cntlid: u16,
    model: String,
    serial: String,
    firmware: String,
    version: String,
    max_transfer: Option<u64>,
    in_capsule_data: u32,
    io_queues: u16,
    namespaces: Vec<Disk>,
}

pub(super) fn discover(args: &DiscoverArgs) -> Result<(), Failure> {
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
        say(&format!("trtype:  {}\nadrfam:  {}\nsubtype: {}", record.trtype, record.adrfam, record.subtype));
        say(&format!(
            "portid:  {}\ntrsvcid: {}\nsubnqn:  {}\ntraddr:  {}",
            record.portid, record.trsvcid, record.subnqn, record.traddr
        ));
    }
}

impl Record {
    fn new(record: &DiscoveryRecord) -> Self {
        Self {
            trtype: if record.transport == TRANSPORT_TCP { "tcp" } else { "other" },
            adrfam: match record.family {
                1 => "ipv4",
                2 => "ipv6",
                _ => "other",
            },
            subtype: match record.subtype {
                SubsystemType::Nvm => "nvme subsystem",
                SubsystemType::Referral => "discovery subsystem referral",
                _ => "current discovery subsystem",
            },
            portid: record.port,
            trsvcid: record.service.clone(),
            subnqn: record.subsystem.as_str().to_owned(),
            traddr: record.address.clone(),
        }
    }
}

pub(super) fn list(args: &ListArgs) -> Result<(), Failure> {
    let host = args.subsystem.connect()?;
    let disks = disks(&host);
    leave(host);
    if args.json {
        say(&serde_json::json!({ "namespaces": disks }).to_string());
        return Ok(());
    }
    say(&format!("{:>9}  {:36}  {:>10}  {:>10}", "Namespace", "UUID", "Size", "Format"));
    for disk in disks {
        let uuid = disk.uuid.as_deref().unwrap_or("-");
        let format = format!("{} B", disk.block_size);
        say(&format!("{:>9}  {uuid:36}  {:>10}  {format:>10}", disk.nsid, bytes(disk.bytes)));
    }
    Ok(())
}

pub(super) fn identify(args: &IdentifyArgs) -> Result<(), Failure> {
    let host = args.subsystem.connect()?;
    let controller = host.controller();
    let Some(known) = controller.identify() else {
        return Err(Failure::Runtime("the controller was not identified".to_owned()));
    };
    let identity = Identity {
        subnqn: trimmed(&known.subnqn),
        cntlid: controller.id(),
        model: trimmed(&known.mn),
        serial: trimmed(&known.sn),
        firmware: trimmed(&known.fr),
        version: controller
            .version()
            .map(|version| format!("{}.{}.{}", version.major, version.minor, version.tertiary))
            .unwrap_or_default(),
        max_transfer: controller.max_transfer(),
        in_capsule_data: known.in_capsule_data(),
        io_queues: controller.io_queues(),
        namespaces: disks(&host),
    };
    leave(host);
    let text = if args.json { serde_json::to_string(&identity) } else { serde_json::to_string_pretty(&identity) };
    let text = text.map_err(|error| Failure::Runtime(error.to_string()))?;
    if args.json {
        say(&text);
    } else {
        // A field a line, as people know it from nvme-cli.
        for line in text.lines().filter(|line| line.contains(':')) {
            say(line.trim().trim_end_matches(',').replace('"', "").as_str());
        }
    }
    Ok(())
}

fn disks(host: &AnyHost) -> Vec<Disk> {
    host.controller().namespaces().values().map(Disk::new).collect()
}

impl Disk {
    fn new(namespace: &Namespace) -> Self {
        let uuid = namespace.identifiers.iter().find_map(|identifier| match identifier {
            NamespaceId::Uuid(uuid) => Some(format_uuid(uuid)),
            _ => None,
        });
        Self {
            nsid: namespace.nsid,
            uuid,
            blocks: namespace.blocks,
            block_size: namespace.block_size,
            bytes: namespace.blocks * u64::from(namespace.block_size),
            write_protected: namespace.is_write_protected,
        }
    }
}
