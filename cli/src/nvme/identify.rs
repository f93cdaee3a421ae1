//! `mptcp nvme identify`: what a controller says of itself and of its namespaces.

use std::fmt::LowerHex;

use clap::Args;
use nvme_tcp::command::{IdentifyController, NamespaceId, trimmed};
use nvme_tcp::host::{AnaStates, Namespace};
use serde_json::{Map, Value};

use super::ana::word;
use super::host::{SubsystemOptions, leave};
use super::names::format_uuid;
use crate::failure::Failure;
use crate::say;

/// Show what a controller says of itself and of its namespaces
///
/// Fields are called as in nvme-cli's id-ctrl and id-ns.
#[derive(Args)]
pub(crate) struct IdentifyArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    subsystem: SubsystemOptions,
}

/// A field, with the name that the specification and nvme-cli give it.
struct Field {
    name: &'static str,
    text: String,
    value: Value,
}

pub(super) fn run(args: &IdentifyArgs) -> Result<(), Failure> {
    let host = args.subsystem.connect()?;
    let controller = host.controller();
    let known = controller.identify().map(|known| {
        let described = controller.namespaces().values().map(|one| (one.nsid, namespace_fields(one, controller.ana())));
        (controller_fields(known), described.collect::<Vec<_>>())
    });
    leave(host);
    let Some((fields, namespaces)) = known else {
        return Err(Failure::Runtime("the controller was not identified".to_owned()));
    };
    if args.json {
        let mut all = object(fields);
        let namespaces = namespaces.into_iter().map(|(nsid, fields)| {
            let mut namespace = object(fields);
            namespace.insert("nsid".to_owned(), nsid.into());
            Value::Object(namespace)
        });
        all.insert("namespaces".to_owned(), namespaces.collect());
        say(&Value::Object(all).to_string());
    } else {
        print("NVME Identify Controller:", &fields);
        for (nsid, fields) in &namespaces {
            print(&format!("NVME Identify Namespace {nsid}:"), fields);
        }
    }
    Ok(())
}

fn print(title: &str, fields: &[Field]) {
    say(title);
    for Field { name, text, .. } in fields {
        say(&format!("{name:<10}: {text}"));
    }
}

fn object(fields: Vec<Field>) -> Map<String, Value> {
    fields.into_iter().map(|field| (field.name.to_owned(), field.value)).collect()
}

fn text(name: &'static str, text: String) -> Field {
    Field { name, value: text.clone().into(), text }
}

fn number(name: &'static str, number: impl Into<u64>) -> Field {
    let number: u64 = number.into();
    Field { name, text: number.to_string(), value: number.into() }
}

/// What consists of bits: in text they are hexadecimal, and without prefix if there are none, as C prints them.
fn bits(name: &'static str, bits: impl Into<u64> + LowerHex + Copy) -> Field {
    let number: u64 = bits.into();
    let text = if number == 0 { "0".to_owned() } else { format!("{bits:#x}") };
    Field { name, text, value: number.into() }
}

/// A number that JSON has as text if it is more than most programs can read as a number.
fn large(name: &'static str, number: u128) -> Field {
    let text = number.to_string();
    let value = u64::try_from(number).map_or_else(|_| Value::from(text.clone()), Value::from);
    Field { name, text, value }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of Identify Controller, in their order, without those that have no meaning with Fabrics.
fn controller_fields(known: &IdentifyController) -> Vec<Field> {
    let [low, middle, high] = known.ieee;
    let ieee = u32::from_be_bytes([0, high, middle, low]);
    vec![
        bits("vid", known.vid.get()),
        bits("ssvid", known.ssvid.get()),
        text("sn", trimmed(&known.sn)),
        text("mn", trimmed(&known.mn)),
        text("fr", trimmed(&known.fr)),
        number("rab", known.rab),
        Field { name: "ieee", text: format!("{ieee:06x}"), value: ieee.into() },
        bits("cmic", known.cmic),
        number("mdts", known.mdts),
        bits("cntlid", known.cntlid.get()),
        bits("ver", known.ver.get()),
        bits("rtd3r", known.rtd3r.get()),
        bits("rtd3e", known.rtd3e.get()),
        bits("oaes", known.oaes.get()),
        bits("ctratt", known.ctratt.get()),
        number("cntrltype", known.cntrltype),
        text("fguid", format_uuid(&known.fguid)),
        number("crdt1", known.crdt[0].get()),
        number("crdt2", known.crdt[1].get()),
        number("crdt3", known.crdt[2].get()),
        bits("oacs", known.oacs.get()),
        number("acl", known.acl),
        number("aerl", known.aerl),
        bits("frmw", known.frmw),
        bits("lpa", known.lpa),
        number("elpe", known.elpe),
        number("npss", known.npss),
        number("wctemp", known.wctemp.get()),
        number("cctemp", known.cctemp.get()),
        large("tnvmcap", known.tnvmcap.get()),
        large("unvmcap", known.unvmcap.get()),
        number("kas", known.kas.get()),
        number("anatt", known.anatt),
        number("anacap", known.anacap),
        number("anagrpmax", known.anagrpmax.get()),
        number("nanagrpid", known.nanagrpid.get()),
        bits("sqes", known.sqes),
        bits("cqes", known.cqes),
        number("maxcmd", known.maxcmd.get()),
        number("nn", known.nn.get()),
        bits("oncs", known.oncs.get()),
        bits("fuses", known.fuses.get()),
        bits("fna", known.fna),
        bits("vwc", known.vwc),
        number("awun", known.awun.get()),
        number("awupf", known.awupf.get()),
        number("nvscc", known.nvscc),
        number("nwpc", known.nwpc),
        number("acwu", known.acwu.get()),
        bits("ocfs", known.ocfs.get()),
        bits("sgls", known.sgls.get()),
        number("mnan", known.mnan.get()),
        large("maxdna", known.maxdna.get()),
        number("maxcna", known.maxcna.get()),
        text("subnqn", trimmed(&known.subnqn)),
        number("ioccsz", known.ioccsz.get()),
        number("iorcsz", known.iorcsz.get()),
        number("icdoff", known.icdoff.get()),
        number("fcatt", known.fcatt),
        number("msdbd", known.msdbd),
        number("ofcs", known.ofcs.get()),
    ]
}

/// What the host has kept of a namespace, in the order of Identify Namespace, with its identifiers, and its ANA state, called as in Linux' sysfs.
fn namespace_fields(namespace: &Namespace, ana: &AnaStates) -> Vec<Field> {
    let (ranges, range_blocks, blocks) = namespace.copy_limits;
    let mut fields = vec![
        bits("nsze", namespace.blocks),
        bits("ncap", namespace.capacity),
        bits("nuse", namespace.used),
        bits("nmic", u8::from(namespace.is_shared)),
        bits("rescap", namespace.reservations),
        number("mssrl", range_blocks),
        number("mcl", blocks),
        number("msrc", ranges - 1),
        number("anagrpid", namespace.ana_group),
        bits("nsattr", u8::from(namespace.is_write_protected)),
        number("lbads", namespace.block_size.ilog2()),
    ];
    fields.extend(namespace.identifiers.iter().filter_map(|identifier| match identifier {
        NamespaceId::Eui64(bytes) => Some(text("eui64", hex(bytes))),
        NamespaceId::Nguid(bytes) => Some(text("nguid", hex(bytes))),
        NamespaceId::Uuid(bytes) => Some(text("uuid", format_uuid(bytes))),
        NamespaceId::CommandSet(_) => None,
    }));
    // Where ANA is not reported, there is no group.
    let state = (namespace.ana_group > 0).then(|| word(ana.state(namespace.ana_group)));
    fields.extend(state.map(|state| text("ana_state", state.to_owned())));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_they_do_in_nvme_cli() {
        let shown = |field: Field| (field.text, field.value);
        assert_eq!(shown(bits("cmic", 0xb_u8)), ("0xb".to_owned(), Value::from(11_u64)));
        assert_eq!(shown(bits("vid", 0_u16)), ("0".to_owned(), Value::from(0_u64)));
        assert_eq!(shown(number("mdts", 8_u8)), ("8".to_owned(), Value::from(8_u64)));
        assert_eq!(shown(large("tnvmcap", 1 << 40)), ("1099511627776".to_owned(), Value::from(1_u64 << 40)));
        let most = "340282366920938463463374607431768211455";
        assert_eq!(shown(large("tnvmcap", u128::MAX)), (most.to_owned(), Value::from(most)));
        assert_eq!(hex(&[0, 0x5d]), "005d");
    }
}
