//! Links and addresses of the kernel that come and go under our stack: the kernel tells, and the stack follows at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::time::Duration;

use interop::cli::{Stack, StackProcess, Tcp};
use interop::encounter::{Encounter, Role};
use interop::endpoints;
use interop::lab::{Lab, PATHS, PORT};
use interop::over_every_tcp;
use interop::process::wait_until;
use interop::topology::{Family, Link};
use rustix::process::Signal;

/// What a path must carry to be called in use.
const IN_USE: u64 = 512 << 10;

const LIMIT: Duration = Duration::from_secs(60);

over_every_tcp!(a_link_is_left_and_taken_up_again_when_the_kernel_says_so, addresses_come_and_go_with_the_kernels);

/// Waits until a line of what a command prints begins with `wanted`.
fn wait_for_line(stack: &StackProcess, command: &str, wanted: &str) {
    let there = || Ok(stack.control(command)?.lines().any(|line| line.starts_with(wanted)));
    let waited = wait_until(wanted, LIMIT, there);
    waited.unwrap_or_else(|error| panic!("{error}: {}", stack.control(command).unwrap_or_default()));
}

/// States of the subflows over the first path of a running stack.
fn first_path(stack: &StackProcess) -> Vec<String> {
    let shown: serde_json::Value = serde_json::from_str(&stack.control("ss --json").unwrap()).unwrap();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let subflows =
        list(&shown["connections"]).iter().flat_map(|connection| list(&connection["subflows"])).collect::<Vec<_>>();
    let first =
        subflows.iter().filter(|subflow| subflow["local"].as_str().is_some_and(|addr| addr.starts_with("10.77.0.")));
    first.map(|subflow| subflow["state"].as_str().unwrap_or_default().to_owned()).collect()
}

fn a_link_is_left_and_taken_up_again_when_the_kernel_says_so(tcp: Tcp) {
    for link in [Link::Veth, Link::Tap] {
        let lab = Lab::new("links", link).unwrap();
        let encounter = Encounter::new(tcp, Role::Client, Family::V4, IN_USE).subflows(8).endless();
        encounter.admit_joins(&lab).unwrap();
        endpoints::set_limits(lab.topology.kernel(), 8, 8).unwrap();
        let running = encounter.start(&lab).unwrap();
        for path in 0..PATHS {
            running.wait_for_traffic(&lab, path, IN_USE, LIMIT).unwrap();
        }
        let interface = lab.topology.stack_interface(0);
        wait_for_line(&running.stack, "path link", &format!("{interface} up"));
        lab.topology.set_stack_link(0, false).unwrap();
        wait_for_line(&running.stack, "path link", &format!("{interface} down"));
        let states = first_path(&running.stack);
        assert!(!states.is_empty() && states.iter().all(|state| state == "stale"), "{link}: {states:?}");
        lab.topology.set_stack_link(0, true).unwrap();
        wait_for_line(&running.stack, "path link", &format!("{interface} up"));
        running.wait_for_traffic(&lab, 0, IN_USE, LIMIT).unwrap_or_else(|error| panic!("{link}: {error}"));
        running.finish(LIMIT).unwrap_or_else(|error| panic!("{link}: {error}"));
    }
}

fn addresses_come_and_go_with_the_kernels(tcp: Tcp) {
    let lab = Lab::new("addresses", Link::Veth).unwrap();
    let stack = Stack::listen(PORT).tcp(tcp).with("--path eth:o0,10.77.0.2/24 --path eth:o1,auto,signal");
    let stack = stack.spawn(Some(lab.topology.stack()), "stack", lab.dir.path()).unwrap();
    wait_for_line(&stack, "path link", "o1 up");
    assert_eq!(stack.control("path list").unwrap(), "");
    let addr = "10.77.1.2";
    lab.topology.stack().ip(&format!("addr add {addr}/24 dev o1")).unwrap();
    wait_for_line(&stack, "path link", &format!("o1 up {addr}/24"));
    wait_for_line(&stack, "path list", &format!("1    {addr} signal"));
    lab.topology.stack().ip(&format!("addr del {addr}/24 dev o1")).unwrap();
    wait_until("the address to go", LIMIT, || Ok(!stack.control("path link")?.contains(addr))).unwrap();
    assert_eq!(stack.control("path list").unwrap(), "");
    lab.topology.stack().ip(&format!("addr add {addr}/24 dev o1")).unwrap();
    wait_for_line(&stack, "path list", &format!("2    {addr} signal"));
    stack.process.signal(Signal::INT).unwrap();
}
