//! What an application says of what it writes reaches the scheduler, and classes and connections have no more than they may.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{connect, hosts, join_all, pattern};
use mptcp_sdk::core::scheduler::{DataView, Decision, MessageView, SubflowView};
use mptcp_sdk::{ClassShare, Qos, Scheduler, StreamMessage, TrafficClass};

/// The position of data, what was said of it, and how much time there was left.
type Seen = (u64, MessageView, Option<Duration>);

/// Takes the first subflow, and remembers what the data was to the application.
#[derive(Debug)]
struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scheduler for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let left = data.message.deadline.map(|deadline| deadline.saturating_since(data.now));
        self.seen.lock().unwrap().push((data.position, data.message, left));
        let len = usize::try_from(data.available).unwrap_or(usize::MAX);
        (subflows[0].room > 0).then_some(Decision { subflow: 0, len, skip: 0 })
    }
}

#[test]
fn messages_reach_the_scheduler() {
    // With one subflow there would be nothing to choose.
    let (server, client) = hosts(2, |_| {});
    let (far, near) = connect(&server, &client);
    join_all(&far, &near, 2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    near.set_scheduler(Box::new(Witness { seen: Arc::clone(&seen) }) as Box<dyn Scheduler>).unwrap();
    let sent = Bytes::from(pattern(6_000));
    let command = StreamMessage {
        class: TrafficClass::Latency,
        deadline: Some(Instant::now() + Duration::from_secs(20)),
        ends: true,
    };
    // A message in one piece, another one in two, and bytes that belong to none.
    let rest = StreamMessage { class: TrafficClass::Background, ..StreamMessage::default() };
    let mut received = vec![0; sent.len()];
    let pieces = [
        (0..2_000, Some(command)),
        (2_000..3_000, Some(rest)),
        (3_000..5_000, Some(StreamMessage { ends: true, ..rest })),
        (5_000..6_000, None),
    ];
    for (range, message) in pieces {
        match message {
            Some(message) => near.write_all_message(sent.slice(range.clone()), message).unwrap(),
            None => near.write_all_bytes(sent.slice(range.clone())).unwrap(),
        }
        // One after the other, so that what the scheduler sees of each is known.
        (&far).read_exact(&mut received[range]).unwrap();
    }
    assert_eq!(received, sent);
    let seen = seen.lock().unwrap();
    // A byte was sent before.
    let at = |position: u64| *seen.iter().find(|(found, ..)| *found == 1 + position).unwrap();
    let (_, first, left) = at(0);
    assert_eq!((first.class, first.left), (TrafficClass::Latency, Some(2_000)));
    assert!(left.is_some_and(|left| left > Duration::from_secs(5) && left <= Duration::from_secs(20)), "{left:?}");
    let (_, second, left) = at(2_000);
    assert_eq!((second.class, second.left, left), (TrafficClass::Background, None, None));
    assert_eq!((at(3_000).1.class, at(3_000).1.left), (TrafficClass::Background, Some(2_000)));
    assert_eq!((at(5_000).1.class, at(5_000).1.left), (TrafficClass::Bulk, None));
}

#[test]
fn a_stream_can_be_corked_and_limited() {
    let (server, client) = hosts(1, |_| {});
    let (far, near) = connect(&server, &client);
    near.set_max_pacing_rate(Some(LIMIT)).unwrap();
    near.set_cork(true).unwrap();
    let info = near.info().unwrap();
    assert_eq!((info.corked, info.max_pacing_rate), (true, Some(LIMIT)));
    let start = Instant::now();
    (&near).write_all(&pattern(100)).unwrap();
    (&far).read_exact(&mut [0; 100]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    near.set_cork(false).unwrap();
    let start = Instant::now();
    (&near).write_all(&pattern(40_000)).unwrap();
    (&far).read_exact(&mut vec![0; 40_000]).unwrap();
    let least = (40_000 - 5_840) as f64 / LIMIT as f64;
    assert!(start.elapsed().as_secs_f64() > least, "{:?}", start.elapsed());
    near.set_max_pacing_rate(None).unwrap();
    let info = near.info().unwrap();
    assert_eq!((info.corked, info.max_pacing_rate), (false, None));
}

/// Bytes per second that the class, or the connection, may send.
const LIMIT: u64 = 80_000;

#[test]
fn a_class_sends_no_more_than_its_limit_and_others_are_not_held_up() {
    let qos = Qos { background: ClassShare { weight: 1, limit: Some(LIMIT) }, ..Qos::default() };
    let (server, client) = hosts(1, |config| config.stack.qos = Some(qos));
    let listener = server.bind(common::server_addr()).unwrap();
    let open = || {
        let near = client.connect_timeout(common::server_addr(), common::PATIENCE).unwrap();
        (listener.accept_timeout(common::PATIENCE).unwrap().0, near)
    };
    let ((far_slow, slow), (far, near)) = (open(), open());
    slow.set_class(TrafficClass::Background).unwrap();
    let start = Instant::now();
    let writer = std::thread::spawn(move || (&slow).write_all(&pattern(300_000)));
    // What nothing was said of is bulk, which has no limit.
    let writer_of_bulk = std::thread::spawn(move || (&near).write_all(&pattern(3_000_000)));
    let reader = std::thread::spawn(move || {
        (&far_slow).read_exact(&mut vec![0; 300_000]).unwrap();
        start.elapsed()
    });
    (&far).read_exact(&mut vec![0; 3_000_000]).unwrap();
    assert!(!reader.is_finished(), "ten times as much has waited for what is limited: {:?}", start.elapsed());
    let slow = reader.join().unwrap();
    // The limit times the time and a burst of 16 KiB: this cannot be faster, whatever the machine does.
    assert!(slow.as_secs_f64() > (300_000.0 - 16_384.0) / LIMIT as f64, "{slow:?}");
    writer.join().unwrap().unwrap();
    writer_of_bulk.join().unwrap().unwrap();
}
