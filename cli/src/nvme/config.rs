//! The file that says what a target exports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use clap::ValueEnum;
use nvme_io::FileOptions;
use nvme_tcp::auth::{HostSecrets, UnknownGroup, UnknownHash};
use nvme_tcp::command::AnaState;
use nvme_tcp::target::{AllowedHosts, Credentials, Namespace, Referral, Subsystem, TargetConfig};
use serde::Deserialize;

use super::ana::AnaWord;
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
    /// The smallest identifier of controllers, 1 to 65519; 1 if left out.
    pub(super) cntlid_min: Option<u16>,
    /// The largest one, likewise; 65519 if left out.
    pub(super) cntlid_max: Option<u16>,
    /// Other discovery services, which hosts are told of.
    #[serde(default)]
    pub(super) referrals: Vec<ReferralConfig>,
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

/// Another discovery service.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ReferralConfig {
    address: SocketAddr,
    /// PORTID of its entry, by which nothing is found.
    #[serde(default)]
    portid: u16,
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
    /// How groups of namespaces are reached; optimized where nothing is said.
    #[serde(default)]
    pub(super) ana: Vec<AnaConfig>,
}

/// How a group of namespaces is reached at a port.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AnaConfig {
    /// PORTID: the place of its address in `listen`, from 1.
    port: u16,
    group: u32,
    state: AnaWord,
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
    /// ANAGRPID: namespaces of one group are always reached equally well.
    #[serde(default = "default_ana_group")]
    pub(super) ana_group: u32,
}

pub(super) const fn default_block_size() -> u32 {
    4096
}

pub(super) const fn default_ana_group() -> u32 {
    1
}

/// Characters of a serial number: the field has as many bytes.
const SERIAL_LEN: usize = 20;

impl Config {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            // A message may repeat what is wrong, which may be a secret.
            let message = error.message().split("DHHC-1:").next().unwrap_or_default().replace('\n', " ");
            Failure::Usage(format!("{}:{line}: {message}", path.display()))
        })?;
        if config.subsystems.is_empty() {
            return Err(Failure::Usage(format!("{}: there is nothing to export: no [[subsystem]]", path.display())));
        }
        Ok(config)
    }

    /// The identifiers that controllers are given.
    pub(super) fn controller_ids(&self) -> Result<RangeInclusive<u16>, Failure> {
        let all = TargetConfig::default().controller_ids;
        let least = self.cntlid_min.unwrap_or(*all.start());
        let most = self.cntlid_max.unwrap_or(*all.end());
        for (key, id) in [("cntlid-min", least), ("cntlid-max", most)] {
            if !all.contains(&id) {
                return Err(Failure::Usage(format!("{key} cannot be {id}: {} to {}", all.start(), all.end())));
            }
        }
        if least > most {
            return Err(Failure::Usage(format!("cntlid-min cannot be {least}: it is more than cntlid-max, {most}")));
        }
        Ok(least..=most)
    }

    /// The other discovery services.
    pub(super) fn referrals(&self) -> Result<Vec<Referral>, Failure> {
        let referral = |ReferralConfig { address, portid }: &ReferralConfig| {
            if address.ip().is_unspecified() || address.port() == 0 {
                return Err(Failure::Usage(format!("referrals: {address} is nothing that a host could connect to")));
            }
            Ok(Referral { port: *portid, address: *address })
        };
        self.referrals.iter().map(referral).collect()
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
        Ok(Subsystem { nqn, serial: self.serial()?, model: "mptcp".to_owned(), hosts })
    }

    fn serial(&self) -> Result<String, Failure> {
        let Some(said) = &self.serial else { return Ok(serial(&self.nqn)) };
        // Cut or mended, it would be another one than whoever looks for it knows.
        if said.len() > SERIAL_LEN || !said.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(Failure::Usage(format!(
                "the serial of {} cannot be {said:?}: up to {SERIAL_LEN} printable ASCII characters",
                self.nqn
            )));
        }
        Ok(said.clone())
    }

    /// The ANA states that are said, by port and group, of a target with so many ports.
    pub(super) fn ana_states(&self, ports: usize) -> Result<BTreeMap<(u16, u32), AnaState>, Failure> {
        let mistake = |what: String| Failure::Usage(format!("[[subsystem.ana]] of {}: {what}", self.nqn));
        let mut states = BTreeMap::new();
        for AnaConfig { port, group, state: AnaWord(state) } in self.ana.iter().copied() {
            if !(1..=ports).contains(&usize::from(port)) {
                return Err(mistake(format!(
                    "there is no port {port}: a port is the place of its address in listen, from 1 to {ports}"
                )));
            }
            if self.namespaces.iter().all(|namespace| namespace.ana_group != group) {
                return Err(mistake(format!("there is no group {group}: no namespace has it as ana-group")));
            }
            if states.insert((port, group), state).is_some() {
                return Err(mistake(format!("the state of group {group} at port {port} is said twice")));
            }
        }
        Ok(states)
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
            let NamespaceConfig { read_only, block_size, buffered, ana_group: group, .. } = *namespace;
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
            opened.push(Namespace { nsid, store, block_size, uuid, group, read_only });
        }
        Ok(opened)
    }
}

/// Characters that stay as long as the name does.
fn serial(nqn: &str) -> String {
    format_uuid(&uuid(nqn.as_bytes())).replace('-', "")[..SERIAL_LEN].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn mistake<T>(result: Result<T, Failure>) -> String {
        let Err(Failure::Usage(sentence)) = result else { panic!("accepted") };
        sentence
    }

    #[test]
    fn files_in_documents_are_understood() {
        let documents = [include_str!("../../../README.md"), include_str!("../../../docs/nvme-target.md")];
        let blocks = documents.iter().flat_map(|text| text.split("```toml\n").skip(1));
        let files: Vec<&str> = blocks
            .map(|block| block.split("```").next().unwrap_or_default())
            .filter(|file| file.contains("listen = "))
            .collect();
        assert_eq!(files.len(), 2);
        for file in files {
            let config: Config = toml::from_str(file).unwrap_or_else(|error| panic!("{error}"));
            assert!(config.controller_ids().is_ok() && config.referrals().is_ok(), "{file}");
            for subsystem in &config.subsystems {
                assert!(subsystem.ana_states(config.listen.len()).is_ok() && subsystem.subsystem().is_ok(), "{file}");
            }
        }
    }

    #[test]
    fn namespaces_have_groups_that_are_reached_in_several_ways() {
        let text = "listen = [\"10.0.1.2:4420\", \"10.0.2.2:4420\"]\n[[subsystem]]\nnqn = \"nqn.2026-11.org.example:disk\"\n\
                    [[subsystem.namespace]]\nstore = \"null:1M\"\n[[subsystem.namespace]]\nstore = \"null:1M\"\nana-group = 7\n\
                    [[subsystem.ana]]\nport = 1\ngroup = 7\nstate = \"non-optimized\"\n\
                    [[subsystem.ana]]\nport = 2\ngroup = 1\nstate = \"persistent-loss\"\n";
        let config = parsed(text);
        let namespaces = config.subsystems[0].namespaces(&mut Vec::new()).unwrap();
        assert_eq!(namespaces.iter().map(|one| one.group).collect::<Vec<_>>(), [1, 7]);
        let states = config.subsystems[0].ana_states(2).unwrap();
        assert_eq!(
            states.into_iter().collect::<Vec<_>>(),
            [((1, 7), AnaState::NonOptimized), ((2, 1), AnaState::PersistentLoss)]
        );
        let mistakes = [
            ("port = 2", "port = 3", "there is no port 3: a port is the place of its address in listen, from 1 to 2"),
            ("port = 2", "port = 0", "there is no port 0: a port is the place of its address in listen, from 1 to 2"),
            ("\ngroup = 7", "\ngroup = 2", "there is no group 2: no namespace has it as ana-group"),
            ("port = 2\ngroup = 1", "port = 1\ngroup = 7", "the state of group 7 at port 1 is said twice"),
        ];
        for (from, to, sentence) in mistakes {
            let changed = parsed(&text.replace(from, to));
            assert_eq!(
                mistake(changed.subsystems[0].ana_states(2)),
                format!("[[subsystem.ana]] of nqn.2026-11.org.example:disk: {sentence}")
            );
        }
        for (from, to) in [("non-optimized", "slow"), ("port = 2", ""), ("port = 2", "port = 2\nadrfam = 1")] {
            assert!(toml::from_str::<Config>(&text.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn a_target_has_numbers_for_controllers_and_knows_other_discovery_services() {
        let with = |top: &str| parsed(&format!("listen = []\n{top}\nsubsystem = []\n"));
        assert_eq!(with("").controller_ids().unwrap(), TargetConfig::default().controller_ids);
        assert_eq!(with("cntlid-min = 5\ncntlid-max = 9").controller_ids().unwrap(), 5..=9);
        assert_eq!(with("cntlid-max = 9").controller_ids().unwrap(), 1..=9);
        for (top, sentence) in [
            ("cntlid-min = 0", "cntlid-min cannot be 0: 1 to 65519"),
            ("cntlid-max = 65520", "cntlid-max cannot be 65520: 1 to 65519"),
            ("cntlid-min = 3\ncntlid-max = 2", "cntlid-min cannot be 3: it is more than cntlid-max, 2"),
        ] {
            assert_eq!(mistake(with(top).controller_ids()), sentence);
        }
        let referrals =
            with("referrals = [{ address = \"10.0.3.1:8009\", portid = 7 }, { address = \"[fd00::1]:8009\" }]");
        let known: Vec<_> =
            referrals.referrals().unwrap().iter().map(|one| (one.port, one.address.to_string())).collect();
        assert_eq!(known, [(7, "10.0.3.1:8009".to_owned()), (0, "[fd00::1]:8009".to_owned())]);
        for address in ["0.0.0.0:8009", "10.0.3.1:0"] {
            let sentence = mistake(with(&format!("referrals = [{{ address = \"{address}\" }}]")).referrals());
            assert_eq!(sentence, format!("referrals: {address} is nothing that a host could connect to"));
        }
    }

    #[test]
    fn a_serial_number_is_taken_as_it_is_or_not_at_all() {
        let with = |serial: &str| {
            let subsystem = format!("[[subsystem]]\nnqn = \"nqn.2026-11.org.example:disk\"\nserial = \"{serial}\"\n");
            parsed(&format!("listen = []\n{subsystem}")).subsystems.remove(0).subsystem()
        };
        let longest = "S 123456789-12345678";
        assert_eq!(with(longest).unwrap().serial, longest);
        for serial in [format!("{longest}9").as_str(), "Sérial", "tab\\t"] {
            let sentence = mistake(with(serial));
            let start = "the serial of nqn.2026-11.org.example:disk cannot be \"";
            assert!(
                sentence.starts_with(start) && sentence.ends_with(": up to 20 printable ASCII characters"),
                "{sentence}"
            );
        }
    }

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
