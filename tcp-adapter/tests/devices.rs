//! Devices against the kernel, each test in a network namespace of its own. Needs root and ip(8).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

mod devices {
    mod packet;
    mod tap;
}
