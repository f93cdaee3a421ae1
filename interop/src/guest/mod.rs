//! Kernels that run as guests: User-Mode Linux, one ordinary process each, up in half a second.
//!
//! A guest has what the machine's own kernel may lack (netem, another version) and needs no privileges: its network
//! cards are descriptors of the host, each one end of a socket pair that carries Ethernet frames.

mod apt;
mod console;
mod kernel;
pub mod links;

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

pub use kernel::{KERNEL_VARIABLE, is_built, kernel};

use crate::error::{IoContext, LabError, Result};
use crate::netns::Netns;
use crate::process::{end_with_us, inherit, wait_until};
use crate::workdir::WorkDir;
use console::Console;

/// Time in which a guest boots, a hundred times what it takes on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// Time after which a command that has not started is asked for again.
const NUDGE: Duration = Duration::from_millis(300);

/// Memory of a guest in MiB unless told otherwise; the host gives pages only when the guest uses them.
const MEMORY: u32 = 256;

/// Frames that wait in a socket pair between a guest's NIC and its peer; the default of the system would
/// drop bursts.
const NIC_BUFFER: usize = 4 << 20;

/// First process of a guest.
const INIT: &str = include_str!("../../guest/init.sh");

/// Number of the next guest of this process, which makes its MAC addresses its own.
static NEXT_GUEST: AtomicU16 = AtomicU16::new(0);

/// A network card of a guest. The guest knows them as `vec0`, `vec1` and so on, in the order in which they were given.
#[derive(Debug)]
pub enum Nic {
    /// One end of a socket that carries one Ethernet frame per message, see [`nic_pair`].
    Socket(OwnedFd),
    /// A TAP device of the namespace that the guest runs in.
    Tap(String),
}

/// A pair of sockets that carry Ethernet frames, one per message: a cable between two guests, or
/// between a guest and a stack of ours.
///
/// # Errors
/// The system is out of descriptors.
pub fn nic_pair() -> Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (a, b) = pair.map_err(Into::into).context(|| "making a socket pair".to_owned())?;
    for end in [&a, &b] {
        let set = sockopt::set_socket_send_buffer_size_force(end, NIC_BUFFER)
            .or_else(|_| sockopt::set_socket_send_buffer_size(end, NIC_BUFFER));
        set.map_err(Into::into).context(|| "sizing a socket pair".to_owned())?;
    }
    Ok((a, b))
}

/// A guest that is about to be started.
#[derive(Debug)]
pub struct GuestBuilder<'a> {
    name: String,
    nics: Vec<Nic>,
    netns: Option<&'a Netns>,
    memory: u32,
}

impl<'a> GuestBuilder<'a> {
    /// Adds a network card.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Runs the guest in a namespace, where its TAP devices are.
    #[must_use]
    pub fn netns(mut self, netns: &'a Netns) -> Self {
        self.netns = Some(netns);
        self
    }

    /// Memory of the guest in MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Starts the guest and waits until it takes commands.
    ///
    /// # Errors
    /// There is no kernel and none can be built, or the guest does not come up.
    pub fn boot(self) -> Result<UmlGuest> {
        let kernel = kernel()?;
        let dir = WorkDir::new(&format!("guest-{}", self.name))?;
        let init = dir.file("init.sh");
        write_script(&init)?;

        let mut command = match self.netns {
            Some(netns) => netns.command(&kernel),
            None => Command::new(&kernel),
        };
        command.args(["rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1"]);
        command.args(["con0=fd:0,fd:1", "con=null", "ssl=null"]);
        command.arg(format!("mem={}M", self.memory));
        command.arg(format!("uml_dir={}/uml", dir.path().display())).arg(format!("umid={}", self.name));
        command.arg(format!("init={}", init.display())).arg(format!("lab.dir={}", dir.path().display()));
        let guest = NEXT_GUEST.fetch_add(1, Ordering::Relaxed);
        for (number, nic) in self.nics.iter().enumerate() {
            command.arg(nic_argument(guest, number, nic));
        }
        let sockets = self.nics.into_iter().filter_map(|nic| match nic {
            Nic::Socket(fd) => Some(fd),
            Nic::Tap(_) => None,
        });
        inherit(&mut command, sockets.collect());
        end_with_us(&mut command, Signal::KILL);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().context(|| format!("starting {}", kernel.display()))?;
        // The parent's copies of the NICs close with the command, so that either end of a cable sees the other go.
        drop(command);
        let console = Console::new(self.name, child)?;
        console.wait_for("lab: ready", BOOT_LIMIT)?;
        Ok(UmlGuest { console, dir, next: AtomicU32::new(0) })
    }
}

/// A running guest. Stopped when dropped.
#[derive(Debug)]
pub struct UmlGuest {
    // Before the directory, because the guest must be gone when that is removed.
    console: Console,
    dir: WorkDir,
    next: AtomicU32,
}

/// What a command in a guest has written, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOutput {
    /// Exit code; 124 where it ran out of time.
    pub code: i32,
    /// Standard output and standard error.
    pub text: String,
}

/// A command that runs in a guest.
#[derive(Debug)]
pub struct GuestJob<'a> {
    guest: &'a UmlGuest,
    id: String,
    script: String,
    limit: Duration,
}

impl UmlGuest {
    /// A guest to be, without network cards.
    #[must_use]
    pub fn builder<'a>(name: &str) -> GuestBuilder<'a> {
        GuestBuilder { name: name.to_owned(), nics: Vec::new(), netns: None, memory: MEMORY }
    }

    /// Runs a shell script in the guest to its end.
    ///
    /// # Errors
    /// It fails, or takes longer than `limit`, or the guest is gone.
    pub fn exec(&self, script: &str, limit: Duration) -> Result<String> {
        self.start(script, limit)?.succeed()
    }

    /// Starts a shell script in the guest; the guest ends it after `limit`.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn start(&self, script: &str, limit: Duration) -> Result<GuestJob<'_>> {
        let id = format!("job{}", self.next.fetch_add(1, Ordering::Relaxed));
        let file = self.dir.file(&format!("{id}.sh"));
        std::fs::write(&file, script).context(|| format!("writing {}", file.display()))?;
        self.console.send(&format!("run {id} {}\n", limit.as_secs().max(1)))?;
        // Now and then User-Mode Linux misses that there is input, until there is more.
        let output = self.dir.file(&format!("{id}.out"));
        while wait_until("the start of a command", NUDGE, || Ok(output.exists())).is_err() {
            self.console.send("\n")?;
        }
        Ok(GuestJob { guest: self, id, script: script.to_owned(), limit })
    }

    /// A directory that has the same path and content on the host and in the guest.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the kernel and the first process have written to the console, for messages.
    #[must_use]
    pub fn console(&self) -> String {
        self.console.text()
    }
}

impl GuestJob<'_> {
    /// Waits for the end of the command, successful or not.
    ///
    /// # Errors
    /// The guest is gone or does not answer.
    pub fn wait(self) -> Result<GuestOutput> {
        // The guest's own limit ends the command; the rest is for the answer of a busy machine.
        let limit = self.limit + Duration::from_secs(60);
        let line = self.guest.console.wait_for(&format!("lab: done {} ", self.id), limit)?;
        let code = line.split_whitespace().last().and_then(|word| word.parse().ok());
        let code = code.ok_or_else(|| LabError::Unexpected { what: "a guest's answer".to_owned(), found: line })?;
        let text = self.output();
        Ok(GuestOutput { code, text })
    }

    /// Waits for the command to end with success and returns what it has written.
    ///
    /// # Errors
    /// It failed, the guest is gone, or it ran out of time.
    pub fn succeed(self) -> Result<String> {
        let line = format!("`{}` in a guest", self.script.lines().next().unwrap_or_default());
        let GuestOutput { code, text } = self.wait()?;
        if code == 0 {
            return Ok(text);
        }
        Err(LabError::Unexpected { what: line, found: format!("exit code {code}, {}", text.trim()) })
    }

    /// What the command has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        let file = self.guest.dir.file(&format!("{}.out", self.id));
        String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
    }
}

fn write_script(path: &PathBuf) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, INIT)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)))
        .context(|| format!("writing {}", path.display()))
}

/// The kernel's argument for a NIC. `depth` is the number of frames that one system call moves.
fn nic_argument(guest: u16, number: usize, nic: &Nic) -> String {
    let [high, low] = guest.to_be_bytes();
    let mac = format!("02:75:6d:{high:02x}:{low:02x}:{number:02x}");
    match nic {
        Nic::Socket(fd) => format!("vec{number}:transport=fd,fd={},depth=64,mac={mac}", fd.as_raw_fd()),
        Nic::Tap(name) => format!("vec{number}:transport=tap,ifname={name},depth=64,mac={mac}"),
    }
}
