//! `mptcp nvme list`: the namespaces of a subsystem.

use std::net::SocketAddr;

use clap::Args;
use nvme_tcp::command::{IdentifyController, NamespaceId, trimmed};
use nvme_tcp::host::Namespace;
use serde::Serialize;

use super::host::{SubsystemOptions, leave};
use super::names::format_uuid;
use crate::failure::Failure;
use crate::human::bytes;
use crate::say;

/// Show the namespaces of a subsystem
///
/// The columns are those of nvme-cli. As there is no device, a namespace stands beside the address of its controller. How much of it is in use is what the
/// controller says: all of it, unless storage is given to a namespace as it is written.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    subsystem: SubsystemOptions,
}

/// A namespace, in the words of nvme-cli.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Disk {
    #[serde(skip)]
    node: SocketAddr,
    name_space: u32,
    transport: &'static str,
    /// As Linux has it of a controller.
    address: String,
    #[serde(rename = "SubsystemNQN")]
    subsystem: String,
    firmware: String,
    model_number: String,
    serial_number: String,
    /// In bytes.
    used_bytes: u64,
    /// In blocks: not the last address, whatever nvme-cli calls it.
    #[serde(rename = "MaximumLBA")]
    blocks: u64,
    /// In bytes.
    physical_size: u64,
    /// In bytes.
    sector_size: u32,
    #[serde(rename = "UUID")]
    uuid: Option<String>,
}

pub(super) fn run(args: &ListArgs) -> Result<(), Failure> {
    let host = args.subsystem.connect()?;
    let known = host.controllers().next().and_then(|(address, controller)| {
        let identify = controller.identify()?;
        let namespaces = controller.namespaces().values();
        Some(namespaces.map(|namespace| Disk::new(address, identify, namespace)).collect::<Vec<_>>())
    });
    leave(host);
    let disks = known.ok_or_else(|| Failure::Runtime("the controller was not identified".to_owned()))?;
    if args.json {
        say(&serde_json::json!({ "Devices": disks }).to_string());
    } else {
        print(&disks);
    }
    Ok(())
}

fn print(disks: &[Disk]) {
    say(&line(["Node", "SN", "Model", "Namespace", "Usage", "Format", "FW Rev"]));
    say(&line([21, 20, 40, 10, 26, 16, 8].map(|width| "-".repeat(width)).each_ref().map(String::as_str)));
    for disk in disks {
        let (node, nsid) = (disk.node.to_string(), format!("{:#x}", disk.name_space));
        let usage = format!("{} / {}", bytes(disk.used_bytes), bytes(disk.physical_size));
        let format = format!("{} B + 0 B", disk.sector_size);
        say(&line([&node, &disk.serial_number, &disk.model_number, &nsid, &usage, &format, &disk.firmware]));
    }
}

fn line(columns: [&str; 7]) -> String {
    let [node, serial, model, nsid, usage, format, firmware] = columns;
    format!("{node:21} {serial:20} {model:40} {nsid:10} {usage:26} {format:16} {firmware}")
}

impl Disk {
    fn new(address: SocketAddr, controller: &IdentifyController, namespace: &Namespace) -> Self {
        let uuid = namespace.identifiers.iter().find_map(|identifier| match identifier {
            NamespaceId::Uuid(uuid) => Some(format_uuid(uuid)),
            _ => None,
        });
        Self {
            node: address,
            name_space: namespace.nsid,
            transport: "tcp",
            address: format!("traddr={},trsvcid={}", address.ip(), address.port()),
            subsystem: trimmed(&controller.subnqn),
            firmware: trimmed(&controller.fr),
            model_number: trimmed(&controller.mn),
            serial_number: trimmed(&controller.sn),
            used_bytes: namespace.used_bytes(),
            blocks: namespace.blocks,
            physical_size: namespace.bytes(),
            sector_size: namespace.block_size,
            uuid,
        }
    }
}
