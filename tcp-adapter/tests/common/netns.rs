//! Network namespaces that vanish with the test.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How the names of all our namespaces start.
const PREFIX: &str = "mptcp-tcp-";

/// A network namespace of its own, deleted on drop.
pub(crate) struct NetNs {
    name: String,
}

impl NetNs {
    /// A new namespace whose loopback interface is up; `purpose` becomes part of its name.
    pub(crate) fn new(purpose: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let netns = Self { name: format!("{PREFIX}{}-{number}-{purpose}", std::process::id()) };
        run("ip", &["netns", "add", &netns.name]);
        netns.ip("link set lo up");
        netns
    }

    /// Runs ip(8) in the namespace and returns what it printed; the words of `args` are separated by blanks.
    pub(crate) fn ip(&self, args: &str) -> String {
        let mut words = vec!["-n", self.name.as_str()];
        words.extend(args.split_whitespace());
        run("ip", &words)
    }

    /// Calls `work` on a thread that is in the namespace. What it opens stays usable from any thread.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("network namespace {} is left behind", self.name);
        }
    }
}

/// Deletes what tests left behind that were killed before they could.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Two that sweep may both try; the second finds nothing, which is what it wants.
            let _ = Command::new("ip").args(["netns", "del"]).arg(&name).output();
        }
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
