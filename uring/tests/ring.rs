//! Rings on files and pipes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uring::{ALIGNMENT, Action, Done, Memory, Request, Ring};

fn ring(depth: u32) -> Ring {
    Ring::new(depth, Memory::new(1 << 20)).unwrap()
}

/// A file that is gone with its descriptor.
fn file(name: &str) -> Arc<File> {
    let path: PathBuf = std::env::temp_dir().join(format!("uring-{}-{name}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    Arc::new(file)
}

fn wait(ring: &mut Ring) -> Done {
    let started = std::time::Instant::now();
    loop {
        ring.submit().unwrap();
        if let Some(done) = ring.pop() {
            return done;
        }
        assert!(started.elapsed().as_secs() < 60, "nothing ends");
        std::thread::yield_now();
    }
}

fn run(ring: &mut Ring, file: &Arc<File>, action: Action) -> Done {
    ring.push(7, Request { file: Arc::clone(file), action }).unwrap();
    let done = wait(ring);
    assert_eq!((done.tag, ring.in_flight()), (7, 0));
    done
}

/// A pipe: what is read from it ends when something is written.
fn pipe() -> (Arc<File>, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Arc::new(File::from(OwnedFd::from(reader))), writer)
}

fn is_readable(ring: &Ring, seconds: i64) -> bool {
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut descriptors = [PollFd::new(ring, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut descriptors, Some(&timeout))).unwrap() == 1
}

fn read(ring: &mut Ring, len: usize) -> Action {
    Action::Read { offset: 0, buffer: ring.memory().allocate(len).unwrap(), range: 0..len }
}

#[test]
fn what_is_written_is_read() {
    let (mut ring, file) = (ring(4), file("written"));
    assert!(ring.is_registered(), "a mebibyte can be locked");
    for durable in [false, true] {
        let mut buffer = ring.memory().allocate(3 * ALIGNMENT).unwrap();
        buffer[100..105].copy_from_slice(b"hello");
        let done = run(&mut ring, &file, Action::Write { offset: 9000, buffer, range: 100..105, durable });
        assert_eq!(done.result.unwrap(), 5);
    }
    assert_eq!(run(&mut ring, &file, Action::Sync).result.unwrap(), 0);
    let done = run(&mut ring, &file, Action::Allocate { mode: 0, offset: 0, length: 20_000 });
    assert_eq!(done.result.unwrap(), 0);
    // Of another memory: the kernel does not know it.
    let buffer = Memory::new(1).allocate(20).unwrap();
    let Done { request, result, .. } = run(&mut ring, &file, Action::Read { offset: 8998, buffer, range: 3..17 });
    let Action::Read { buffer, range, .. } = request.action else { panic!("a read") };
    assert_eq!((result.unwrap(), &buffer[range]), (14, &b"\0\0hello\0\0\0\0\0\0\0"[..]));
    assert_eq!(ring.memory().available(), ring.memory().size());
}

#[test]
fn errors_are_of_the_request() {
    let (mut ring, (pipe, _writer)) = (ring(1), pipe());
    let buffer = ring.memory().allocate(10).unwrap();
    let done = run(&mut ring, &pipe, Action::Write { offset: 0, buffer, range: 0..10, durable: false });
    assert_eq!(done.result.unwrap_err().raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
}

#[test]
fn requests_end_in_any_order_and_the_descriptor_tells() {
    let mut ring = ring(3);
    let mut pipes: Vec<_> = (0..3).map(|_| pipe()).collect();
    for (tag, (reader, _)) in pipes.iter().enumerate() {
        let action = read(&mut ring, 5000);
        ring.push(tag as u64, Request { file: Arc::clone(reader), action }).unwrap();
    }
    let action = read(&mut ring, 1);
    assert!(!ring.has_room() && ring.push(9, Request { file: Arc::clone(&pipes[0].0), action }).is_err());
    assert!(ring.has_unsubmitted());
    ring.submit().unwrap();
    assert!(!ring.has_unsubmitted() && ring.pop().is_none() && !is_readable(&ring, 0));
    for index in [2, 0, 1] {
        pipes[index].1.write_all(&[index as u8; 100]).unwrap();
        assert!(is_readable(&ring, 60));
        let Done { tag, request: Request { action: Action::Read { buffer, .. }, .. }, result } = wait(&mut ring) else {
            panic!("a read")
        };
        assert_eq!((tag, result.unwrap(), &buffer[..100]), (index as u64, 100, &[index as u8; 100][..]));
    }
    assert_eq!((ring.in_flight(), ring.memory().available()), (0, ring.memory().size()));
}

#[test]
fn a_ring_that_is_dropped_leaves_nothing_under_way() {
    let mut ring = ring(2);
    let (reader, mut writer) = pipe();
    // One is submitted and one is not.
    for _ in 0..2 {
        let action = read(&mut ring, 100);
        ring.push(0, Request { file: Arc::clone(&reader), action }).unwrap();
        if ring.in_flight() == 1 {
            ring.submit().unwrap();
        }
    }
    drop(ring);
    assert_eq!(Arc::strong_count(&reader), 1, "the requests are gone");
    writer.write_all(b"for others").unwrap();
    let mut bytes = [0; 10];
    std::io::Read::read_exact(&mut &*reader, &mut bytes).unwrap();
    assert_eq!(&bytes, b"for others");
}

#[test]
#[should_panic(expected = "the range lies within the buffer")]
fn a_range_beyond_the_buffer_is_refused() {
    let (mut ring, file) = (ring(1), file("range"));
    let buffer = ring.memory().allocate(10).unwrap();
    let _ = ring.push(0, Request { file, action: Action::Read { offset: 0, buffer, range: 0..11 } });
}
