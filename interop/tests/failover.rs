//! Paths that fail in the middle of a transfer, in every way in which they can, and come back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::cli::Tcp;
use interop::encounter::{Encounter, Role, Running};
use interop::endpoints;
use interop::lab::{Lab, PATHS};
use interop::over_every_tcp;
use interop::topology::{End, Family, Link};

/// Bytes that each side sends again and again, so that the transfer lasts until a path has failed and come back.
const LEN: u64 = 256 << 10;

/// Megabits (10^6) per second of each path.
const RATE: u32 = 10;

/// Before each path towards us there is room for more than the kernel keeps under way on a subflow, since this is not about loss: without
/// selective acknowledgements and timestamps, which smoltcp lacks, each of several losses in a row doubles the kernel's timer.
const LONG_QUEUE: Duration = Duration::from_millis(400);

/// Least, initial and most bytes that the kernel keeps under way on a subflow.
const KERNEL_SEND_BUFFER: &str = "4096 16384 262144";

/// Subflows besides the first that both ends allow: room to make one anew.
const ROOM: u8 = 8;

/// What a path must carry to be called in use.
const IN_USE: u64 = 512 << 10;

/// Time in which a path comes into use that can be. A subflow whose retransmissions have backed off may take most of it.
const USE_LIMIT: Duration = Duration::from_secs(30);

const LIMIT: Duration = Duration::from_secs(120);

/// How the first path fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// Frames disappear between two interfaces that stay up.
    Silence,
    /// The kernel's interface goes down.
    KernelLink,
    /// Our interface goes down.
    StackLink,
}

impl Failure {
    fn begin(self, lab: &Lab) {
        match self {
            Self::Silence => lab.topology.silence(0),
            Self::KernelLink => lab.topology.set_kernel_link(0, false),
            Self::StackLink => lab.topology.set_stack_link(0, false),
        }
        .unwrap();
    }

    fn end(self, lab: &Lab) {
        match self {
            Self::Silence => lab.topology.unsilence(0),
            Self::KernelLink => lab.topology.set_kernel_link(0, true),
            Self::StackLink => lab.topology.set_stack_link(0, true),
        }
        .unwrap();
    }
}

over_every_tcp!(
    a_silent_path_is_left_and_taken_up_again,
    a_kernel_link_that_goes_down_is_left_and_taken_up_again,
    a_link_of_ours_that_goes_down_is_left_and_taken_up_again,
    a_transfer_ends_on_the_last_path_that_is_left,
);

fn a_silent_path_is_left_and_taken_up_again(tcp: Tcp) {
    fail_and_return(tcp, Link::Tap, Role::Client, Failure::Silence);
    fail_and_return(tcp, Link::Veth, Role::Server, Failure::Silence);
}

fn a_kernel_link_that_goes_down_is_left_and_taken_up_again(tcp: Tcp) {
    fail_and_return(tcp, Link::Veth, Role::Client, Failure::KernelLink);
    fail_and_return(tcp, Link::Tap, Role::Server, Failure::KernelLink);
}

fn a_link_of_ours_that_goes_down_is_left_and_taken_up_again(tcp: Tcp) {
    fail_and_return(tcp, Link::Tap, Role::Client, Failure::StackLink);
    fail_and_return(tcp, Link::Veth, Role::Server, Failure::StackLink);
}

fn a_transfer_ends_on_the_last_path_that_is_left(tcp: Tcp) {
    for role in Role::ALL {
        let (lab, running) = start(tcp, Link::Tap, role);
        lab.topology.silence(0).unwrap();
        lab.topology.silence(1).unwrap();
        running.wait_for_traffic(&lab, 2, IN_USE, USE_LIMIT).unwrap_or_else(|error| panic!("{role}: {error}"));
        running.finish(LIMIT).unwrap_or_else(|error| panic!("{role}: {error}"));
    }
}

fn start(tcp: Tcp, link: Link, role: Role) -> (Lab, Running) {
    let lab = Lab::new("failover", link).unwrap();
    for path in 0..PATHS {
        lab.topology.shape(path, End::Kernel, RATE, Duration::from_millis(50)).unwrap();
        lab.topology.shape(path, End::Stack, RATE, LONG_QUEUE).unwrap();
    }
    lab.topology.kernel().sysctl("net.ipv4.tcp_wmem", KERNEL_SEND_BUFFER).unwrap();
    let encounter = Encounter::new(tcp, role, Family::V4, LEN).subflows(ROOM.into()).endless().capture();
    encounter.admit_joins(&lab).unwrap();
    endpoints::set_limits(lab.topology.kernel(), ROOM, ROOM).unwrap();
    let running = encounter.start(&lab).unwrap();
    for path in 0..PATHS {
        running.wait_for_traffic(&lab, path, IN_USE, USE_LIMIT).unwrap();
    }
    (lab, running)
}

fn fail_and_return(tcp: Tcp, link: Link, role: Role, failure: Failure) {
    let mode = format!("{tcp} {link} {role} {failure:?}");
    let (lab, running) = start(tcp, link, role);
    failure.begin(&lab);
    let before = lab.topology.traffic(0).unwrap();
    for path in 1..PATHS {
        let used = running.wait_for_traffic(&lab, path, IN_USE, USE_LIMIT);
        used.unwrap_or_else(|error| panic!("{mode}, while the first path is away: {error}"));
    }
    let after = lab.topology.traffic(0).unwrap();
    assert!(after.rx - before.rx < IN_USE, "{mode}: the first path should carry nothing");

    failure.end(&lab);
    let used = running.wait_for_traffic(&lab, 0, IN_USE, USE_LIMIT);
    used.unwrap_or_else(|error| panic!("{mode}, after the first path is back: {error}"));
    running.finish(LIMIT).unwrap_or_else(|error| panic!("{mode}: {error}"));
}
