//! Who this machine is as a host: the name that subsystems allow, and the identifier by which reservations know it.

use std::io;
use std::path::Path;

use nvme_tcp::command::Nqn;
use nvme_tcp::host::HostIdentity;

use super::names::{Uuid, format_uuid, parse_nqn, uuid};
use crate::failure::Failure;

/// Where a machine says who it is.
const ETC: &str = "/etc";

/// What the names of hosts begin with that have nothing but a UUID to be known by.
const UUID_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// HOSTNQN of this machine.
///
/// # Errors
/// The file with its name cannot be read, or what is in it is no name.
pub(super) fn local_nqn() -> Result<Nqn, Failure> {
    own_nqn(Path::new(ETC))
}

/// Who connects to a subsystem: the host of the name that was said, or this machine.
///
/// # Errors
/// What was said is no name, or the machine's files are malformed or cannot be read.
pub(super) fn identity(said: Option<&str>, subsystem: Nqn) -> Result<HostIdentity, Failure> {
    let (host, host_id) = who(Path::new(ETC), said)?;
    Ok(HostIdentity { host_id, host, subsystem })
}

/// HOSTNQN and HOSTID.
fn who(etc: &Path, said: Option<&str>) -> Result<(Nqn, [u8; 16]), Failure> {
    let (host, is_machine) = match said {
        None => (own_nqn(etc)?, true),
        Some(name) => {
            let host = parse_nqn(name)?;
            let is_machine = own_nqn(etc).is_ok_and(|own| own == host);
            (host, is_machine)
        }
    };
    // With the machine's identifier, hosts that are others by name would be one to reservations.
    let known = if is_machine { own_id(etc)? } else { None };
    let host_id = known.unwrap_or_else(|| id_of(&host));
    Ok((host, host_id))
}

/// The name that nvme-cli has given to the machine, or else one that is made of what sets this machine apart.
fn own_nqn(etc: &Path) -> Result<Nqn, Failure> {
    let path = etc.join("nvme/hostnqn");
    match first_line(&path)? {
        Some(name) => parse_nqn(&name).map_err(|error| malformed(&path, &error)),
        None => parse_nqn(&format!("{UUID_NQN}{}", format_uuid(&machine(etc)))),
    }
}

/// The identifier that nvme-cli has given to the machine.
fn own_id(etc: &Path) -> Result<Option<[u8; 16]>, Failure> {
    let path = etc.join("nvme/hostid");
    let Some(text) = first_line(&path)? else { return Ok(None) };
    let Uuid(id) = Uuid::try_from(text).map_err(|error| malformed(&path, &error))?;
    Ok(Some(id))
}

/// The identifier that goes with a name: the UUID in it, as with nvme-cli, or one that is made of it.
fn id_of(host: &Nqn) -> [u8; 16] {
    let told = host.as_str().strip_prefix(UUID_NQN).and_then(|text| Uuid::try_from(text.to_owned()).ok());
    told.map_or_else(|| uuid(host.as_str().as_bytes()), |Uuid(id)| id)
}

/// What sets this machine apart from others: its machine-id, or at worst its name.
fn machine(etc: &Path) -> [u8; 16] {
    let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    // An image that was never started has "uninitialized" in it.
    match first_line(&etc.join("machine-id")).ok().flatten().filter(is_id) {
        // Networks are not to see it as it is (machine-id(5)).
        Some(id) => uuid(format!("mptcp host {id}").as_bytes()),
        None => uuid(rustix::system::uname().nodename().to_bytes()),
    }
}

/// The first line of a file. None if there is no file, or nothing in the line: nvme-cli takes it so.
fn first_line(path: &Path) -> Result<Option<String>, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
    };
    let text = String::from_utf8(bytes).map_err(|_| malformed(path, &"it is no text"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

fn malformed(path: &Path, what: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11";

    /// A directory in place of `/etc`, which goes with this.
    struct Etc(std::path::PathBuf);

    impl Etc {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mptcp-machine-{}-{name}", std::process::id()));
            std::fs::create_dir_all(path.join("nvme")).unwrap();
            Self(path)
        }

        fn write(&self, file: &str, text: impl AsRef<[u8]>) {
            std::fs::write(self.0.join(file), text).unwrap();
        }

        fn who(&self, said: Option<&str>) -> (String, String) {
            let (host, id) = who(&self.0, said).unwrap();
            (host.as_str().to_owned(), format_uuid(&id))
        }

        fn mistake(&self) -> String {
            let failure = who(&self.0, None).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            failure.to_string().replace(self.0.to_str().unwrap(), "ETC")
        }
    }

    impl Drop for Etc {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_machine_is_who_nvme_cli_says() {
        let etc = Etc::new("files");
        etc.write("nvme/hostnqn", format!("  {NQN}\nanything\n"));
        assert_eq!(etc.who(None), (NQN.to_owned(), NQN[NQN.len() - 36..].to_owned()), "the UUID in the name");
        let id = "00000000-0000-0000-0000-000000000001";
        etc.write("nvme/hostid", format!("{id}\n"));
        assert_eq!(etc.who(None), (NQN.to_owned(), id.to_owned()));
        assert_eq!(etc.who(Some(NQN)), etc.who(None), "it is this machine, whoever says so");
        let (other, other_id) = etc.who(Some("nqn.2026-11.org.example:other"));
        assert_eq!(other, "nqn.2026-11.org.example:other");
        assert_ne!(other_id, id, "another host by name is another to reservations");
    }

    #[test]
    fn machines_of_one_name_are_two_hosts() {
        let (first, second) = (Etc::new("first"), Etc::new("second"));
        let by_name = first.who(None);
        assert_eq!(by_name, second.who(None), "there is only the name to go by");
        first.write("machine-id", "0123456789abcdef0123456789abcdef\n");
        second.write("machine-id", "0123456789abcdef0123456789abcde0\n");
        let (nqn, id) = first.who(None);
        assert_eq!(nqn, format!("{UUID_NQN}{id}"));
        assert_eq!((nqn.clone(), id), first.who(None), "it stays");
        assert_ne!(nqn, by_name.0);
        assert_ne!(nqn, second.who(None).0);
        assert!(!nqn.contains("0123456789ab"), "the machine-id is not told: {nqn}");
        for text in ["uninitialized\n", "", "0123"] {
            first.write("machine-id", text);
            first.write("nvme/hostnqn", "\n");
            assert_eq!(first.who(None), by_name, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_a_mistake() {
        let etc = Etc::new("mistakes");
        etc.write("nvme/hostid", "1234\n");
        assert_eq!(etc.mistake(), "ETC/nvme/hostid: '1234' is no UUID, such as 5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11");
        etc.write("nvme/hostnqn", "localhost\n");
        assert_eq!(
            etc.mistake(),
            "ETC/nvme/hostnqn: 'localhost' is not the name of a subsystem or host: a name begins with nqn.yyyy-mm. and \
             goes on with a domain"
        );
        assert!(who(&etc.0, Some("nqn.2026-11.org.example:other")).is_ok(), "who says a name needs none");
        etc.write("nvme/hostnqn", b"nqn.2014-08.org.\xff\n");
        assert_eq!(etc.mistake(), "ETC/nvme/hostnqn: it is no text");
        std::fs::remove_file(etc.0.join("nvme/hostnqn")).unwrap();
        std::fs::create_dir(etc.0.join("nvme/hostnqn")).unwrap();
        assert_eq!(etc.mistake(), "cannot read ETC/nvme/hostnqn: is a directory");
    }
}
