//! Peers without Multipath TCP: the connection becomes plain TCP and carries every byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use interop::cli::Tcp;
use interop::encounter::{Encounter, Outcome, Role};
use interop::lab::{Lab, TRANSFER_LIMIT};
use interop::over_every_tcp;
use interop::topology::{Family, Link};

const LEN: u64 = 8 << 20;

fn meet(lab: &Lab, encounter: &Encounter) -> Outcome {
    encounter.start(lab).unwrap().finish(TRANSFER_LIMIT).unwrap()
}

over_every_tcp!(a_kernel_that_has_it_switched_off, a_program_that_asks_for_plain_tcp, our_side_switched_off,);

fn a_kernel_that_has_it_switched_off(tcp: Tcp) {
    for role in Role::ALL {
        for link in [Link::Tap, Link::Veth] {
            let lab = Lab::new("off", link).unwrap();
            lab.topology.kernel().sysctl("net.mptcp.enabled", "0").unwrap();
            let outcome = meet(&lab, &Encounter::new(tcp, role, Family::V4, LEN).peer(|peer| peer.tcp()));
            assert!(outcome.stack.fallback().is_some(), "{role}: {}", outcome.stack.summary);
            // A client of plain TCP has not asked for anything that could be refused.
            let refused = outcome.stack.mib["MPCapableFallbackSYNACK"];
            assert_eq!(refused, u64::from(role == Role::Client), "{role}: {:?}", outcome.stack.mib.nonzero());
        }
    }
}

fn a_program_that_asks_for_plain_tcp(tcp: Tcp) {
    for role in Role::ALL {
        let lab = Lab::new("plain", Link::Tap).unwrap();
        let outcome = meet(&lab, &Encounter::new(tcp, role, Family::V6, LEN).peer(|peer| peer.tcp()));
        assert!(outcome.stack.fallback().is_some(), "{role}: {}", outcome.stack.summary);
    }
}

fn our_side_switched_off(tcp: Tcp) {
    for role in Role::ALL {
        let lab = Lab::new("ours-off", Link::Veth).unwrap();
        let outcome = meet(&lab, &Encounter::new(tcp, role, Family::V4, LEN).options("--no-mptcp"));
        assert_eq!(outcome.peer.multipath, Some(false), "{role}");
        let kernel = lab.topology.mib().unwrap();
        let refused = kernel["MPCapableFallbackSYNACK"];
        assert_eq!(refused, u64::from(role == Role::Server), "{role}: {:?}", kernel.nonzero());
        assert_eq!(kernel["MPCapableSYNRX"], 0, "{role}");
    }
}
