//! The file that says what a target exports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;
use nvme_io::FileOptions;
use nvme_tcp::auth::{HostSecrets, UnknownGroup, UnknownHash};
use nvme_tcp::target::{AllowedHosts, Credentials, Namespace, Subsystem};
use serde::Deserialize;

use super::identity;
use super::names::{Uuid, format_uuid, parse_nqn, uuid};
use super::secrets;
use super::store::StoreSpec;
use crate::failure::Failure;

/// What a target exports, and where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    /// Addresses to listen on.
    pub(super) listen: Vec<SocketAddr>,
    /// How files are read and written.
    #[serde(default)]
    pub(super) backend_io: BackendIo,
    /// Seconds that a host may take to connect a queue and to authenticate, 1 to 3600; 10 if left out.
    pub(super) setup_timeout: Option<u64>,
    /// Subsystems.
    #[serde(rename = "subsystem")]
    pub(super) subsystems: Vec<SubsystemConfig>,
}

/// What reads and writes files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BackendIo {
    /// io_uring, or the threads themselves where there is none
    #[default]
    Auto,
    /// The kernel, over io_uring, while the threads go on
    Uring,
    /// The threads themselves, one operation after the other
    Sync,
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
    /// Hosts that may connect if they know a secret.
    #[serde(rename = "host", default)]
    pub(super) hosts: Vec<HostConfig>,
    #[serde(rename = "namespace", default)]
    pub(super) namespaces: Vec<NamespaceConfig>,
}

/// A host, and what it has to know. The words are those of the Linux target.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct HostConfig {
    nqn: String,
    /// Its secret, or @FILE.
    #[serde(alias = "dhchap_secret")]
    dhchap_secret: String,
    /// The subsystem's, by which it answers a host that wants a proof, or @FILE.
    #[serde(alias = "dhchap_ctrl_secret")]
    dhchap_ctrl_secret: Option<String>,
    /// The hash function to be used; any if left out.
    #[serde(alias = "dhchap_hash")]
    dhchap_hash: Option<String>,
    /// The Diffie-Hellman group to be used; any if left out.
    #[serde(alias = "dhchap_dhgroup")]
    dhchap_dhgroup: Option<String>,
}

impl std::fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostConfig").field("nqn", &self.nqn).finish_non_exhaustive()
    }
}

impl HostConfig {
    fn secrets(&self) -> Result<HostSecrets, Failure> {
        let what = |word: &str| format!("{word} of {}", self.nqn);
        let mut known = HostSecrets::new(secrets::read(&self.dhchap_secret, &what("dhchap-secret"))?);
        if let Some(said) = &self.dhchap_ctrl_secret {
            known.controller_secret = Some(secrets::read(said, &what("dhchap-ctrl-secret"))?);
        }
        if let Some(name) = &self.dhchap_hash {
            known.algorithms.hashes =
                vec![name.parse().map_err(|error: UnknownHash| Failure::Usage(error.to_string()))?];
        }
        if let Some(name) = &self.dhchap_dhgroup {
            known.algorithms.groups =
                vec![name.parse().map_err(|error: UnknownGroup| Failure::Usage(error.to_string()))?];
        }
        Ok(known)
    }
}

/// A namespace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NamespaceConfig {
    /// From 1; the next number if left out.
    pub(super) nsid: Option<u32>,
    pub(super) store: StoreSpec,
    /// What it is called everywhere; if left out, that depends on what holds the data.
    pub(super) uuid: Option<Uuid>,
    #[serde(default = "default_block_size")]
    pub(super) block_size: u32,
    #[serde(default)]
    pub(super) read_only: bool,
    /// Through the page cache, even where there is O_DIRECT.
    #[serde(default)]
    pub(super) buffered: bool,
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
            // A message may repeat what is wrong, which may be a secret.
            let message = error.message().split("DHHC-1:").next().unwrap_or_default().replace('\n', " ");
            Failure::Usage(format!("{}:{line}: {message}", path.display()))
        })
    }
}

impl SubsystemConfig {
    /// The subsystem without its namespaces.
    pub(super) fn subsystem(&self) -> Result<Subsystem, Failure> {
        let nqn = parse_nqn(&self.nqn)?;
        let hosts = match &self.allowed_hosts {
            _ if !self.hosts.is_empty() => AllowedHosts::Authenticated(self.credentials()?),
            None => AllowedHosts::Any,
            Some(names) => {
                AllowedHosts::Only(names.iter().map(|name| parse_nqn(name)).collect::<Result<BTreeSet<_>, _>>()?)
            }
        };
        let serial = self.serial.clone().unwrap_or_else(|| serial(&self.nqn));
        Ok(Subsystem { nqn, serial, model: "mptcp".to_owned(), hosts })
    }

    /// Hosts with secrets, and those that are allowed without.
    fn credentials(&self) -> Result<Credentials, Failure> {
        let mut hosts = BTreeMap::new();
        for name in self.allowed_hosts.iter().flatten() {
            hosts.insert(parse_nqn(name)?, None);
        }
        for host in &self.hosts {
            if hosts.insert(parse_nqn(&host.nqn)?, Some(host.secrets()?)).is_some() {
                return Err(Failure::Usage(format!("the host {} is named twice in {}", host.nqn, self.nqn)));
            }
        }
        Ok(Credentials { hosts, entropy: secrets::entropy()? })
    }

    /// The namespaces, opened. Says how files are read and written.
    pub(super) fn namespaces(&self, told: &mut Vec<String>) -> Result<Vec<Namespace>, Failure> {
        let mut next = 1;
        let mut opened = Vec::new();
        for namespace in &self.namespaces {
            let nsid = namespace.nsid.unwrap_or(next);
            next = nsid.saturating_add(1);
            let NamespaceConfig { read_only, block_size, buffered, .. } = *namespace;
            let options = FileOptions { read_only, block_size, direct: !buffered };
            let store = namespace.store.open(options, told).map_err(Failure::Usage)?;
            let uuid = match namespace.uuid {
                Some(Uuid(uuid)) => uuid,
                None => identity::of_store(&self.nqn, nsid, &namespace.store)?,
            };
            // Two of one number the target refuses, and says why.
            if opened.iter().any(|other: &Namespace| other.uuid == uuid && other.nsid != nsid) {
                let text = format_uuid(&uuid);
                return Err(Failure::Usage(format!("the UUID {text} is that of two namespaces of {}", self.nqn)));
            }
            opened.push(Namespace { nsid, store, block_size, uuid, group: 1, read_only });
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
        let mut told = Vec::new();
        let namespaces = config.subsystems[0].namespaces(&mut told).unwrap();
        assert_eq!((config.backend_io, told), (BackendIo::Auto, Vec::new()));
        let known: Vec<_> = namespaces.iter().map(|one| (one.nsid, one.block_size, one.store.size())).collect();
        assert_eq!(known, [(1, 4096, 1 << 20), (2, 512, 2 << 20)]);
        assert_ne!(namespaces[0].uuid, namespaces[1].uuid);
        let named: Config =
            toml::from_str(&format!("{text}uuid = \"5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11\"\n")).unwrap();
        assert_eq!(named.subsystems[0].namespaces(&mut Vec::new()).unwrap()[1].uuid[..4], [0x5d, 0x0d, 0x5e, 0x6f]);
        let twice = text.replace("store =", "uuid = \"5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11\"\nstore =");
        let twice: Config = toml::from_str(&twice).unwrap();
        let Err(Failure::Usage(sentence)) = twice.subsystems[0].namespaces(&mut Vec::new()) else { panic!("accepted") };
        assert_eq!(
            sentence,
            "the UUID 5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11 is that of two namespaces of nqn.2026-11.org.example:disk"
        );
        assert_eq!(config.subsystems[0].subsystem().unwrap().serial.len(), 20);
        let config: Config = toml::from_str(&format!("backend-io = \"uring\"\n{text}buffered = true\n")).unwrap();
        assert_eq!((config.backend_io, config.setup_timeout), (BackendIo::Uring, None));
        assert!(config.subsystems[0].namespaces[1].buffered && !config.subsystems[0].namespaces[0].buffered);
        let mistakes = [
            "listen = 3",
            "listen = []\nsubsystem = []\nbackend-io = \"threads\"",
            "listen = []\nsubsystem = []\nport = 1",
            "[[subsystem]]\nnqn = \"x\"",
        ];
        for mistake in mistakes {
            assert!(toml::from_str::<Config>(mistake).is_err(), "{mistake}");
        }
    }
}
