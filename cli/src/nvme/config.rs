//! The file that says what a target exports.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use nvme_tcp::target::{AllowedHosts, Namespace, Subsystem};
use serde::Deserialize;

use super::host::{format_uuid, parse_nqn, uuid};
use super::store::StoreSpec;
use crate::failure::Failure;

/// What a target exports, and where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Addresses to listen on.
    pub(super) listen: Vec<SocketAddr>,
    /// Subsystems.
    #[serde(rename = "subsystem")]
    pub(super) subsystems: Vec<SubsystemConfig>,
}

/// A subsystem.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SubsystemConfig {
    pub(super) nqn: String,
    /// Up to 20 characters; made from the name if left out.
    pub(super) serial: Option<String>,
    /// Hosts that may connect; all if left out.
    pub(super) allowed_hosts: Option<Vec<String>>,
    #[serde(rename = "namespace", default)]
    pub(super) namespaces: Vec<NamespaceConfig>,
}

/// A namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NamespaceConfig {
    /// From 1; the next number if left out.
    pub(super) nsid: Option<u32>,
    pub(super) store: StoreSpec,
    #[serde(default = "default_block_size")]
    pub(super) block_size: u32,
    #[serde(default)]
    pub(super) read_only: bool,
}

pub(super) const fn default_block_size() -> u32 {
    4096
}

impl Config {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            Failure::Usage(format!("{}:{line}: {}", path.display(), error.message().replace('\n', " ")))
        })
    }
}

impl SubsystemConfig {
    /// The subsystem without its namespaces.
    pub(super) fn subsystem(&self) -> Result<Subsystem, Failure> {
        let nqn = parse_nqn(&self.nqn)?;
        let hosts = match &self.allowed_hosts {
            None => AllowedHosts::Any,
            Some(names) => {
                AllowedHosts::Only(names.iter().map(|name| parse_nqn(name)).collect::<Result<BTreeSet<_>, _>>()?)
            }
        };
        let serial = self.serial.clone().unwrap_or_else(|| serial(&self.nqn));
        Ok(Subsystem { nqn, serial, model: "mptcp".to_owned(), hosts })
    }

    /// The namespaces, opened.
    pub(super) fn namespaces(&self) -> Result<Vec<Namespace>, Failure> {
        let mut next = 1;
        let mut opened = Vec::new();
        for namespace in &self.namespaces {
            let nsid = namespace.nsid.unwrap_or(next);
            next = nsid.saturating_add(1);
            let store = namespace.store.open(namespace.read_only).map_err(Failure::Usage)?;
            opened.push(Namespace {
                nsid,
                store,
                block_size: namespace.block_size,
                uuid: uuid(format!("{}#{nsid}", self.nqn).as_bytes()),
                group: 1,
                read_only: namespace.read_only,
            });
        }
        Ok(opened)
    }
}

/// 20 characters that stay as long as the name does.
fn serial(nqn: &str) -> String {
    format_uuid(&uuid(nqn.as_bytes())).replace('-', "")[..20].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_is_exported() {
        let text = "listen = [\"127.0.0.1:4420\"]\n[[subsystem]]\nnqn = \"nqn.2026-11.org.example:disk\"\n\
                    [[subsystem.namespace]]\nstore = \"memory:1M\"\n[[subsystem.namespace]]\nstore = \"null:2M\"\nblock-size = 512\n";
        let config: Config = toml::from_str(text).unwrap();
        let namespaces = config.subsystems[0].namespaces().unwrap();
        let known: Vec<_> = namespaces.iter().map(|one| (one.nsid, one.block_size, one.store.size())).collect();
        assert_eq!(known, [(1, 4096, 1 << 20), (2, 512, 2 << 20)]);
        assert_ne!(namespaces[0].uuid, namespaces[1].uuid);
        assert_eq!(config.subsystems[0].subsystem().unwrap().serial.len(), 20);
        let mistakes = ["listen = 3", "listen = []\nsubsystem = []\nport = 1", "[[subsystem]]\nnqn = \"x\""];
        for mistake in mistakes {
            assert!(toml::from_str::<Config>(mistake).is_err(), "{mistake}");
        }
    }
}
