//! Plain TCP between the native engine and the kernel: both roles, both directions at once, every byte compared, and every extension
//! shown to be in use, or not, by the capture and by what the kernel says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use interop::cli::Tcp;
use interop::encounter::{Encounter, Role};
use interop::lab::{Lab, TRANSFER_LIMIT};
use interop::peer::TcpState;
use interop::relay::{Passage, Relay};
use interop::tcp::{Agreed, Trace};
use interop::topology::{Family, Link, stack_addr};

/// A row of the tables below. The rest of it is as in [`USUAL`].
struct Case {
    name: &'static str,
    family: Family,
    /// Settings of the kernel, below `net.ipv4`, which are those of IPv6 as well.
    kernel: &'static [(&'static str, &'static str)],
    /// Options of our program.
    ours: &'static str,
    /// Congestion control of the kernel.
    control: &'static str,
    /// Largest segment that the kernel's socket allows.
    mss: Option<u16>,
    /// What is between the two, as options of `mptcp sim relay`; nothing if empty.
    path: &'static str,
    /// Bytes in each direction.
    len: u64,
    /// What must have been agreed on.
    agreed: Agreed,
    /// Bytes of the longest payload that each end must have sent.
    longest: usize,
    /// What else must have happened.
    shows: &'static [Sign],
}

/// Something that must be seen in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Packets lost on the path, and repaired.
    Loss,
    /// Packets that overtook others, and packets that arrived twice.
    Mischief,
    /// Packets with a flipped bit.
    Damage,
    /// Selective acknowledgements of received data.
    SelectiveAcks,
    /// Marks of congestion, echoes of them, and answers to those; and nothing lost.
    Marks,
}

const ALL: Agreed = Agreed { timestamps: true, sack: true, window_scale: true, ecn: false };

const NONE: Agreed = Agreed { timestamps: false, sack: false, window_scale: false, ecn: false };

const USUAL: Case = Case {
    name: "as they are",
    family: Family::V4,
    kernel: &[],
    ours: "",
    control: "cubic",
    mss: None,
    path: "",
    len: 4 << 20,
    agreed: ALL,
    longest: 1448,
    shows: &[],
};

/// A path with a delay that a window must cover.
const LONG: &str = "--rate 60Mbit --delay 5ms";

/// A path that loses packets.
const LOSSY: &str = "--rate 60Mbit --delay 5ms --loss 1%";

/// A path that does everything to packets that a path may do.
const WICKED: &str =
    "--rate 60Mbit --delay 5ms --loss 1% --set reorder=\"3%\" --set duplicate=\"1%\" --set corrupt=\"0.5%\"";

/// The same, but for damage: that of the header of IPv6, which has no checksum, would change what the trace shows.
const WICKED_V6: &str = "--rate 60Mbit --delay 5ms --loss 1% --set reorder=\"3%\" --set duplicate=\"1%\"";

/// A path that marks what waits behind 30 kB, and has room for so much more that nothing is lost.
const MARKING: &str = "--rate 40Mbit --delay 2ms --set queue={kind=\"step\",packets=1000,mark=\"30kB\"}";

#[test]
fn either_family_as_it_is() {
    meet(&[USUAL, Case { name: "IPv6", family: Family::V6, longest: 1428, ..USUAL }]);
}

#[test]
fn every_congestion_control_of_the_kernel() {
    let sender = |name, control| Case { name, control, path: LONG, ..USUAL };
    meet(&[sender("CUBIC", "cubic"), sender("Reno", "reno"), sender("BBR", "bbr")]);
}

#[test]
fn every_congestion_control_of_ours() {
    let control = |name, ours| Case { name, ours, path: LOSSY, shows: &[Sign::Loss], ..USUAL };
    meet(&[
        control("our CUBIC", "--congestion cubic"),
        control("our Reno", "--congestion reno"),
        control("our BBR", "--congestion bbr"),
    ]);
}

#[test]
fn extensions_that_are_off() {
    let off = |name, kernel, agreed| Case { name, kernel, agreed, path: LOSSY, shows: &[Sign::Loss], ..USUAL };
    meet(&[
        Case { longest: 1460, ..off("no timestamps", &[("tcp_timestamps", "0")], Agreed { timestamps: false, ..ALL }) },
        off("no SACK", &[("tcp_sack", "0")], Agreed { sack: false, ..ALL }),
        off("no window scale", &[("tcp_window_scaling", "0")], Agreed { window_scale: false, ..ALL }),
        Case {
            longest: 1460,
            ..off("none", &[("tcp_timestamps", "0"), ("tcp_sack", "0"), ("tcp_window_scaling", "0")], NONE)
        },
    ]);
}

#[test]
fn explicit_congestion_notification() {
    let marks = |name| Case {
        name,
        ours: "--ecn",
        kernel: &[("tcp_ecn", "1")],
        path: MARKING,
        agreed: Agreed { ecn: true, ..ALL },
        shows: &[Sign::Marks],
        ..USUAL
    };
    meet(&[
        marks("ECN"),
        Case { family: Family::V6, longest: 1428, ..marks("ECN over IPv6") },
        Case { name: "ECN that the kernel refuses", ours: "--ecn", kernel: &[("tcp_ecn", "0")], ..USUAL },
    ]);
}

#[test]
fn small_segments() {
    let small = |name, mss| Case { name, mss: Some(mss), longest: usize::from(mss) - 12, ..USUAL };
    meet(&[
        small("MSS 536", 536),
        Case { len: 512 << 10, ..small("MSS 88", 88) },
        Case { len: 512 << 10, family: Family::V6, ..small("MSS 88 over IPv6", 88) },
        Case {
            len: 256 << 10,
            path: LOSSY,
            shows: &[Sign::Loss, Sign::SelectiveAcks],
            ..small("MSS 88 with loss", 88)
        },
    ]);
}

#[test]
fn bad_paths() {
    const SIGNS: &[Sign] = &[Sign::Loss, Sign::Mischief, Sign::SelectiveAcks, Sign::Damage];
    meet(&[
        Case { name: "loss, reordering, duplicates, damage", path: WICKED, shows: SIGNS, ..USUAL },
        Case {
            name: "loss, reordering, duplicates over IPv6",
            family: Family::V6,
            longest: 1428,
            path: WICKED_V6,
            shows: &SIGNS[..3],
            ..USUAL
        },
    ]);
}

fn meet(cases: &[Case]) {
    for case in cases {
        for role in Role::ALL {
            case.meet(role);
        }
    }
}

impl Case {
    fn meet(&self, role: Role) {
        let name = format!("{}, we are the {role}", self.name);
        let lab = Lab::with_paths("tcp", Link::Tap, 1).unwrap();
        for (key, value) in self.kernel {
            lab.topology.kernel().sysctl(&format!("net.ipv4.{key}"), value).unwrap();
        }
        let relay = (!self.path.is_empty()).then(|| Relay::start(&lab.topology, &[self.path], lab.dir.path()).unwrap());
        let encounter = Encounter::new(Tcp::Native, role, self.family, self.len).options("--no-mptcp");
        let encounter = encounter.options(self.ours).capture().peer(|peer| {
            let peer = peer.tcp().congestion(self.control);
            if let Some(mss) = self.mss { peer.mss(mss) } else { peer }
        });
        // This compares every byte.
        let outcome = encounter.start(&lab).unwrap().finish(TRANSFER_LIMIT);
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let path = relay.map(|relay| relay.stop().unwrap().paths[0]);

        let trace = Trace::read(&lab.dir.file("stack.pcapng"), stack_addr(self.family, 0)).unwrap();
        let kernel = outcome.peer.tcp.unwrap();
        assert_eq!(trace.complaints, [""; 0], "{name}");
        assert_eq!(trace.agreed, self.agreed, "{name}: the capture");
        assert_eq!(kernel.agreed, self.agreed, "{name}: the kernel");
        assert_eq!(kernel.congestion, self.control, "{name}");
        assert_eq!([trace.ours.resets, trace.theirs.resets], [0; 2], "{name}: segments with RST");
        assert_eq!([trace.ours.longest, trace.theirs.longest], [self.longest; 2], "{name}: the longest payloads");
        for sign in self.shows {
            sign.assert_shown(&trace, &kernel, path.unwrap_or_default(), &name);
        }
    }
}

impl Sign {
    fn assert_shown(self, trace: &Trace, kernel: &TcpState, path: [Passage; 2], name: &str) {
        let Trace { ours, theirs, .. } = trace;
        let both = |seen: [u64; 2]| assert!(seen.iter().all(|seen| *seen > 0), "{name}, {self:?}: {seen:?}; {path:?}");
        match self {
            Self::Loss => {
                both(path.map(|way| way.dropped));
                assert!(kernel.retransmissions > 0, "{name}: {kernel:?}");
            }
            Self::Mischief => {
                both(path.map(|way| way.reordered));
                both(path.map(|way| way.duplicated));
            }
            Self::Damage => both(path.map(|way| way.corrupted)),
            Self::SelectiveAcks => both([ours.sacks, theirs.sacks]),
            Self::Marks => {
                both(path.map(|way| way.marked));
                both([ours.ece, theirs.ece]);
                both([ours.cwr, theirs.cwr]);
                both([ours.ect, theirs.ect]);
                assert!(theirs.ce > 0 && kernel.ecn_seen, "{name}: {theirs:?} {kernel:?}");
                assert_eq!(path.map(|way| way.dropped), [0; 2], "{name}: marks come instead of losses");
                assert_eq!(kernel.retransmissions, 0, "{name}");
            }
        }
    }
}
