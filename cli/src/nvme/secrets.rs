//! Secrets of DH-HMAC-CHAP: where they are found, and `mptcp nvme gen-dhchap-key`.

use std::env::VarError;
use std::io::Read;
use std::path::Path;

use clap::Args;
use nvme_tcp::auth::{Entropy, Hash, HostAuthentication, Secret, SecretError};

use super::machine::local_nqn;
use super::names::parse_nqn;
use crate::failure::Failure;
use crate::human::parse_hex;
use crate::say;

/// What a host authenticates with. The names are those of nvme-cli.
#[derive(Args)]
pub(super) struct SecretOptions {
    /// Secret of this host: DHHC-1:..., or @FILE with it [default: the environment's NVME_DHCHAP_SECRET]
    #[arg(short = 'S', long, value_name = "SECRET")]
    dhchap_secret: Option<String>,
    /// Secret by which the controller has to prove who it is, likewise [default: the environment's NVME_DHCHAP_CTRL_SECRET]
    #[arg(short = 'C', long, value_name = "SECRET")]
    dhchap_ctrl_secret: Option<String>,
}

/// Make a secret for --dhchap-secret, or for a host in the file of a target
#[derive(Args)]
pub(crate) struct GenerateArgs {
    /// Hash function that keys are made of it with: 0 for none, 1 for SHA-256, 2 for SHA-384, 3 for SHA-512
    #[arg(short = 'm', long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=3))]
    hmac: u8,
    /// Bytes: 32, 48 or 64, and with a hash function as many as it makes [default: those, or 32]
    #[arg(short = 'l', long, value_name = "BYTES")]
    key_length: Option<usize>,
    /// Make it of these bytes, in hexadecimal, instead of random ones
    #[arg(short = 's', long, value_name = "HEX")]
    secret: Option<String>,
    /// With a hash function, make it for the host of this name [default: this host's]
    #[arg(short = 'n', long, value_name = "NQN")]
    nqn: Option<String>,
}

impl SecretOptions {
    /// What to authenticate with, if anything was said.
    pub(super) fn authentication(&self) -> Result<Option<HostAuthentication>, Failure> {
        let own = find(self.dhchap_secret.as_deref(), "NVME_DHCHAP_SECRET", "--dhchap-secret")?;
        let controller = find(self.dhchap_ctrl_secret.as_deref(), "NVME_DHCHAP_CTRL_SECRET", "--dhchap-ctrl-secret")?;
        match (own, controller) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Failure::Usage(
                "--dhchap-ctrl-secret needs --dhchap-secret: the controller proves something only to a host that does"
                    .to_owned(),
            )),
            (Some(own), controller) => {
                let authentication = HostAuthentication::new(own, entropy()?);
                Ok(Some(match controller {
                    Some(secret) => authentication.expecting(secret),
                    None => authentication,
                }))
            }
        }
    }
}

pub(super) fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    let hash = Hash::from_id(args.hmac);
    let length = args.key_length.unwrap_or_else(|| hash.map_or(32, Hash::len));
    if !matches!(length, 32 | 48 | 64) || hash.is_some_and(|hash| hash.len() != length) {
        return Err(Failure::Usage(format!("--key-length {length} does not go with --hmac {}", args.hmac)));
    }
    let mut bytes = vec![0; length];
    match &args.secret {
        Some(hex) => {
            bytes = parse_hex(hex).filter(|bytes| bytes.len() == length).ok_or_else(|| {
                Failure::Usage(format!("--secret needs {length} bytes, as {} hexadecimal digits", 2 * length))
            })?
        }
        None => draw(&mut bytes)?,
    }
    let secret = match hash {
        None => Secret::new(None, &bytes).map_err(|error| Failure::Usage(error.to_string()))?,
        Some(hash) => {
            let host = args.nqn.as_deref().map_or_else(local_nqn, parse_nqn)?;
            Secret::derive(hash, &bytes, &host)
        }
    };
    say(&secret.to_text());
    Ok(())
}

/// A secret that was said, as itself or as @FILE. A mistake is told without what was said.
pub(super) fn read(said: &str, what: &str) -> Result<Secret, Failure> {
    let text = match said.strip_prefix('@') {
        Some(path) => {
            let path = Path::new(path);
            std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?
        }
        None => said.to_owned(),
    };
    Secret::parse(text.trim()).map_err(|error| Failure::Usage(format!("{what}: {error}")))
}

/// Random numbers of the operating system's.
pub(super) fn entropy() -> Result<Entropy, Failure> {
    let mut seed = [0; 32];
    draw(&mut seed)?;
    Ok(Entropy::from_seed(seed))
}

fn find(said: Option<&str>, variable: &str, option: &str) -> Result<Option<Secret>, Failure> {
    match (said, std::env::var(variable)) {
        (Some(said), _) => read(said, option).map(Some),
        (None, Ok(said)) => read(&said, variable).map(Some),
        (None, Err(VarError::NotPresent)) => Ok(None),
        // Somebody wants authentication: going on without would leave him without what he asked for.
        (None, Err(VarError::NotUnicode(_))) => Err(Failure::Usage(format!("{variable}: {}", SecretError::Form))),
    }
}

/// Fills it with random numbers of the operating system's.
pub(super) fn draw(bytes: &mut [u8]) -> Result<(), Failure> {
    let drawn = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes));
    drawn.map_err(|error| Failure::io("cannot draw random numbers", &error))
}
