//! Our connections as an independent decoder sees them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::path::Path;

use interop::capture::Capture;
use interop::cli::Tcp;
use interop::decoded::Decoded;
use interop::encounter::{Encounter, Role};
use interop::lab::{Lab, TRANSFER_LIMIT};
use interop::over_every_tcp;
use interop::topology::{Family, Link};

const LEN: u64 = 4 << 20;

over_every_tcp!(
    a_capture_of_the_wire_has_nothing_to_complain_about,
    a_capture_of_our_own_has_nothing_to_complain_about,
);

fn a_capture_of_the_wire_has_nothing_to_complain_about(tcp: Tcp) {
    for (role, checksum) in [(Role::Client, false), (Role::Server, false), (Role::Client, true), (Role::Server, true)] {
        let lab = Lab::new("capture", Link::Veth).unwrap();
        let capture = Capture::start(lab.topology.kernel(), &["k0", "k1", "k2"], lab.dir.path()).unwrap();
        run(&lab, &encounter(&lab, tcp, role, Family::V4, checksum));
        assert_sound(&capture.stop().unwrap(), checksum, &format!("{role} checksum {checksum}"));
    }
}

fn a_capture_of_our_own_has_nothing_to_complain_about(tcp: Tcp) {
    for role in Role::ALL {
        let lab = Lab::new("pcap", Link::Tap).unwrap();
        run(&lab, &encounter(&lab, tcp, role, Family::V6, false).capture());
        assert_sound(&lab.dir.file("stack.pcapng"), false, &format!("{role}"));
    }
}

fn encounter(lab: &Lab, tcp: Tcp, role: Role, family: Family, checksum: bool) -> Encounter {
    let encounter = Encounter::new(tcp, role, family, LEN);
    encounter.admit_joins(lab).unwrap();
    if !checksum {
        return encounter;
    }
    lab.topology.kernel().sysctl("net.mptcp.checksum_enabled", "1").unwrap();
    encounter.options("--checksum")
}

fn run(lab: &Lab, encounter: &Encounter) {
    encounter.run(lab, TRANSFER_LIMIT).unwrap();
}

fn assert_sound(file: &Path, checksum: bool, mode: &str) {
    let decoded = Decoded::read(file).unwrap();
    assert_eq!(decoded.complaints(), [""; 0], "{mode}");
    assert_eq!(decoded.resets, [""; 0], "{mode}: nothing here calls for a reset");
    assert_eq!(decoded.join_tokens.len(), 2, "{mode}: {decoded:?}");
    assert!(decoded.checksums.iter().all(|asked| *asked == checksum), "{mode}: {:?}", decoded.checksums);
    for end in ["1", "2"] {
        assert!(decoded.data_fins.iter().any(|from| from.ends_with(end)), "{mode}: no DATA_FIN from host {end}");
    }
}
