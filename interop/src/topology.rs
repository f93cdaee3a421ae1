//! Several paths between the kernel and the stack under test.
//!
//! ```text
//!   kernel namespace          wire namespace              stack namespace
//!   kI 10.77.I.1/24 ===== bI  brI (bridge)  wI ========== oI 10.77.I.2/24    (Veth)
//!                                           tI  TAP, opened from here        (Tap)
//! ```
//!
//! The bridge between them is where a path is shaped or goes silent without either end seeing its
//! interface go down. A path can be cut in the middle, see [`Topology::cut`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::counters::{Mib, Traffic};
use crate::error::Result;
use crate::netns::Netns;

/// How the stack under test is attached to the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A TAP device per path.
    Tap,
    /// One end of a veth pair per path, for packet sockets, or for a second kernel.
    Veth,
}

/// One end of all paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The kernel and its peers.
    Kernel,
    /// The stack under test.
    Stack,
}

/// An Internet protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Paths between the kernel and the stack under test, in namespaces of their own.
#[derive(Debug)]
pub struct Topology {
    link: Link,
    paths: usize,
    kernel: Netns,
    wire: Netns,
    stack: Netns,
}

impl Topology {
    /// Makes `paths` paths, each a subnet of its own in both families.
    ///
    /// # Errors
    /// Not root, or the system refuses.
    pub fn new(label: &str, link: Link, paths: usize) -> Result<Self> {
        let space = |side: &str| Netns::new(&format!("{label}-{side}"));
        let topology = Self { link, paths, kernel: space("kernel")?, wire: space("wire")?, stack: space("stack")? };
        for netns in [&topology.kernel, &topology.wire, &topology.stack] {
            // Addresses are unique here by construction; waiting for their detection takes seconds.
            netns.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
            netns.sysctl("net.ipv6.conf.default.accept_ra", "0")?;
        }
        topology.kernel.sysctl("net.ipv6.conf.default.keep_addr_on_down", "1")?;
        topology.wire.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        for path in 0..paths {
            topology.add_path(path)?;
        }
        Ok(topology)
    }

    /// How the stack is attached.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Number of paths.
    #[must_use]
    pub fn paths(&self) -> usize {
        self.paths
    }

    /// The namespace of the kernel's side, where its peers and its `ip mptcp` run.
    #[must_use]
    pub fn kernel(&self) -> &Netns {
        &self.kernel
    }

    /// The namespace in which the stack under test finds its interfaces.
    #[must_use]
    pub fn stack(&self) -> &Netns {
        match self.link {
            Link::Tap => &self.wire,
            Link::Veth => &self.stack,
        }
    }

    /// The interface of a path that the stack under test opens.
    #[must_use]
    pub fn stack_interface(&self, path: usize) -> String {
        match self.link {
            Link::Tap => format!("t{path}"),
            Link::Veth => format!("o{path}"),
        }
    }

    /// The interface of a path on the kernel's side.
    #[must_use]
    pub fn kernel_interface(&self, path: usize) -> String {
        format!("k{path}")
    }

    /// What the kernel has counted on its side.
    ///
    /// # Errors
    /// The kernel has no Multipath TCP.
    pub fn mib(&self) -> Result<Mib> {
        Mib::of(&self.kernel)
    }

    /// Bytes that the kernel has received and sent on a path.
    ///
    /// # Errors
    /// The interface cannot be read.
    pub fn traffic(&self, path: usize) -> Result<Traffic> {
        Traffic::of(&self.kernel, &self.kernel_interface(path))
    }

    /// Gives the stack's side the addresses of the stack, so that another kernel stands where the stack under test would.
    /// Needs [`Link::Veth`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn use_kernel_as_stack(&self) -> Result<()> {
        (0..self.paths).try_for_each(|path| self.use_kernel_as_stack_on(path))
    }

    /// The same on one path only, so that the stack under test can have others.
    ///
    /// # Errors
    /// The system refuses.
    pub fn use_kernel_as_stack_on(&self, path: usize) -> Result<()> {
        for family in Family::ALL {
            let addr = stack_addr(family, path);
            self.stack.ip(&format!("addr add {addr}/{} dev o{path} nodad", family.prefix()))?;
        }
        Ok(())
    }

    /// Takes the kernel's interface of a path down, and makes a TAP device in its place for a [guest](crate::guest), which is to run in
    /// [`Self::wire`] and to take the kernel's address itself. Returns the name of the device.
    ///
    /// # Errors
    /// The system refuses.
    pub fn use_guest_as_kernel_on(&self, path: usize) -> Result<String> {
        self.set_kernel_link(path, false)?;
        let tap = format!("g{path}");
        self.wire.ip(&format!("tuntap add dev {tap} mode tap"))?;
        self.wire.ip(&format!("link set {tap} master br{path} up"))?;
        Ok(tap)
    }

    /// The namespace between the two ends, where a [`Relay`](crate::relay::Relay) or a guest runs.
    #[must_use]
    pub fn wire(&self) -> &Netns {
        &self.wire
    }

    /// Cuts a path into two halves, each with a bridge. Nothing passes before something relays between
    /// [`Self::cut_interfaces`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn cut(&self, path: usize) -> Result<()> {
        let [near, far] = self.cut_interfaces(path);
        self.wire.ip(&format!("link add bs{path} type bridge mcast_snooping 0"))?;
        self.wire.ip(&format!("link set bs{path} up"))?;
        for (tap, bridge) in [(near, format!("bs{path}")), (far, format!("br{path}"))] {
            self.wire.ip(&format!("tuntap add dev {tap} mode tap"))?;
            self.wire.ip(&format!("link set {tap} master {bridge} up"))?;
        }
        self.wire.ip(&format!("link set {} master bs{path}", self.stack_port(path))).map(drop)
    }

    /// The TAP interfaces at the cut of a path: that towards the stack, and that towards the kernel.
    #[must_use]
    pub fn cut_interfaces(&self, path: usize) -> [String; 2] {
        [format!("s{path}"), format!("r{path}")]
    }

    /// Limits what travels on a path towards one end to `megabits` (10^6) per second, with a queue of this length before it. What comes
    /// while the queue is full is lost.
    ///
    /// # Errors
    /// The system refuses.
    pub fn shape(&self, path: usize, towards: End, megabits: u32, queue: Duration) -> Result<()> {
        let port = match towards {
            End::Kernel => self.kernel_port(path),
            End::Stack => self.stack_port(path),
        };
        let queue = queue.as_millis();
        self.wire
            .tc(&format!("qdisc replace dev {port} root tbf rate {megabits}mbit burst 32k latency {queue}ms"))
            .map(drop)
    }

    /// Makes a path lose every frame in both directions, while both ends see it up.
    ///
    /// # Errors
    /// The system refuses.
    pub fn silence(&self, path: usize) -> Result<()> {
        let port = self.stack_port(path);
        self.wire.ip(&format!("link set {port} nomaster")).map(drop)
    }

    /// Ends [`Self::silence`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn unsilence(&self, path: usize) -> Result<()> {
        let port = self.stack_port(path);
        self.wire.ip(&format!("link set {port} master br{path}")).map(drop)
    }

    /// Takes the kernel's interface of a path down or up.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_kernel_link(&self, path: usize, up: bool) -> Result<()> {
        self.kernel.ip(&format!("link set k{path} {}", state(up))).map(drop)
    }

    /// Takes the stack's interface of a path down or up.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_stack_link(&self, path: usize, up: bool) -> Result<()> {
        let interface = self.stack_interface(path);
        self.stack().ip(&format!("link set {interface} {}", state(up))).map(drop)
    }

    fn add_path(&self, path: usize) -> Result<()> {
        let wire = self.wire.name();
        self.wire.ip(&format!("link add br{path} type bridge mcast_snooping 0"))?;
        self.kernel.ip(&format!("link add k{path} type veth peer name b{path} netns {wire}"))?;
        match self.link {
            Link::Tap => self.wire.ip(&format!("tuntap add dev t{path} mode tap"))?,
            Link::Veth => self.stack.ip(&format!("link add o{path} type veth peer name w{path} netns {wire}"))?,
        };
        plain(&self.kernel, &format!("k{path}"))?;
        if self.link == Link::Veth {
            plain(&self.stack, &format!("o{path}"))?;
            self.stack.ip(&format!("link set o{path} up"))?;
        }
        for port in [self.kernel_port(path), self.stack_port(path)] {
            self.wire.ip(&format!("link set {port} master br{path} up"))?;
        }
        self.wire.ip(&format!("link set br{path} up"))?;
        for family in [Family::V4, Family::V6] {
            let addr = kernel_addr(family, path);
            self.kernel.ip(&format!("addr add {addr}/{} dev k{path} nodad", family.prefix()))?;
        }
        self.kernel.ip(&format!("link set k{path} up")).map(drop)
    }

    fn kernel_port(&self, path: usize) -> String {
        format!("b{path}")
    }

    fn stack_port(&self, path: usize) -> String {
        match self.link {
            Link::Tap => format!("t{path}"),
            Link::Veth => format!("w{path}"),
        }
    }
}

/// The kernel's address on a path.
#[must_use]
pub fn kernel_addr(family: Family, path: usize) -> IpAddr {
    family.addr(path, 1)
}

/// The address of the stack under test on a path.
#[must_use]
pub fn stack_addr(family: Family, path: usize) -> IpAddr {
    family.addr(path, 2)
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Prefix length of a path's subnet.
    #[must_use]
    pub fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    fn addr(self, path: usize, host: u8) -> IpAddr {
        let path = u8::try_from(path).unwrap_or(u8::MAX);
        match self {
            Self::V4 => Ipv4Addr::new(10, 77, path, host).into(),
            Self::V6 => Ipv6Addr::new(0xfd77, path.into(), 0, 0, 0, 0, 0, host.into()).into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tap => "tap",
            Self::Veth => "eth",
        })
    }
}

fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// Makes a veth or a bridge send frames as a wire would carry them: whole checksums, no super-segments.
pub(crate) fn plain(netns: &Netns, interface: &str) -> Result<()> {
    netns.run(&format!("ethtool -K {interface} tx off tso off gso off gro off")).map(drop)
}
