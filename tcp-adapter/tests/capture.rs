//! Captures, read back by a parser written for this test and by tshark.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tcp_adapter::Frame;
use tcp_adapter::device::capture::Clock;
use tcp_adapter::device::{Capture, CaptureFile, Device, MemoryDevice};

/// A clock that starts in the year 2033, with a nanosecond more at each look.
fn clock() -> Clock {
    let mut now = Duration::new(2_000_000_000, 123_456_788);
    Box::new(move || {
        now += Duration::from_nanos(1);
        now
    })
}

/// Three frames through a captured wire, one of them too long, and one back.
fn traffic<W: Write + Send>(file: &CaptureFile<W>) {
    let (a, b) = MemoryDevice::pair(1500, 16);
    let mut a = Capture::new(a, file, "a", clock());
    let mut b = Capture::new(b, file, "path b", clock());
    let mut first = Frame::from(&[1; 54][..]);
    first.payload.push(Bytes::from_static(&[2; 6]));
    first.payload.push(Bytes::from_static(&[3; 1]));
    let mut queue = VecDeque::from([first, Frame::from(&[4; 1519][..]), Frame::from(&[5; 64][..])]);
    assert_eq!(a.transmit(&mut queue).unwrap(), 2);
    assert_eq!(b.receive(16, &mut Vec::new()).unwrap(), 2);
    assert_eq!(b.transmit(&mut VecDeque::from([Frame::from(&[6; 60][..])])).unwrap(), 1);
    assert_eq!((a.stats().tx_frames, a.stats().tx_dropped, b.stats()), (2, 1, b.device().stats()));
}

/// A sink whose bytes stay readable, and which is full after `room` bytes.
#[derive(Clone)]
struct Sink {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Sink {
    fn new(room: usize) -> Self {
        Self { bytes: Arc::default(), room }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.bytes.lock().unwrap();
        if held.len() + bytes.len() > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a block says, as far as these tests care.
#[derive(Debug, PartialEq)]
enum Block {
    Section { application: String },
    Interface { link_type: u16, snap_length: u32, name: String, resolution: u8 },
    Packet { interface: u32, nanos: u64, data: Vec<u8>, flags: u32, comment: Option<String> },
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn parse(mut file: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let length = u32_at(file, 4) as usize;
        assert!(length.is_multiple_of(4) && u32_at(file, length - 4) as usize == length);
        let (block, rest) = file.split_at(length);
        blocks.push(parse_block(u32_at(block, 0), &block[8..length - 4]));
        file = rest;
    }
    blocks
}

fn parse_block(block_type: u32, body: &[u8]) -> Block {
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
    match block_type {
        0x0a0d_0d0a => {
            assert_eq!((u32_at(body, 0), u16_at(body, 4), u16_at(body, 6)), (0x1a2b_3c4d, 1, 0));
            assert_eq!(body[8..16], [0xff; 8]);
            Block::Section { application: text(option(&body[16..], 4)).unwrap() }
        }
        1 => Block::Interface {
            link_type: u16_at(body, 0),
            snap_length: u32_at(body, 4),
            name: text(option(&body[8..], 2)).unwrap(),
            resolution: option(&body[8..], 9).unwrap()[0],
        },
        6 => {
            let length = u32_at(body, 12) as usize;
            assert_eq!(u32_at(body, 16) as usize, length);
            let options = &body[20 + length.next_multiple_of(4)..];
            Block::Packet {
                interface: u32_at(body, 0),
                nanos: u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8)),
                data: body[20..20 + length].to_vec(),
                flags: u32_at(&option(options, 2).unwrap(), 0),
                comment: text(option(options, 1)),
            }
        }
        other => panic!("block type {other}"),
    }
}

/// The value of the option `wanted`; checks that the list ends as it must.
fn option(mut options: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let mut found = None;
    loop {
        let (code, length) = (u16_at(options, 0), usize::from(u16_at(options, 2)));
        if code == 0 {
            assert_eq!((length, options.len()), (0, 4), "the end of options is the end of the block");
            return found;
        }
        if code == wanted {
            found = Some(options[4..4 + length].to_vec());
        }
        options = &options[4 + length.next_multiple_of(4)..];
    }
}

#[test]
fn one_file_holds_the_frames_of_several_devices() {
    let sink = Sink::new(usize::MAX);
    let file = CaptureFile::new(sink.clone(), "capture test");
    traffic(&file);
    assert!(file.take_error().is_none());

    let interface =
        |name: &str| Block::Interface { link_type: 1, snap_length: 0, name: name.to_owned(), resolution: 9 };
    let packet = |interface: u32, tick: u64, flags: u32, data: &[u8]| Block::Packet {
        interface,
        nanos: 2_000_000_000_123_456_788 + tick,
        data: data.to_vec(),
        flags,
        comment: None,
    };
    let first = [&[1; 54][..], &[2; 6], &[3]].concat();
    let mut blocks = parse(&sink.bytes());
    let Block::Packet { interface: 0, data, flags: 2, comment: Some(comment), .. } = blocks.remove(4) else {
        panic!("the frame that was dropped is the fifth block: {blocks:?}");
    };
    assert_eq!((data, comment.as_str()), (vec![4; 1519], "not sent: the device dropped this frame"));
    assert_eq!(
        blocks,
        [
            Block::Section { application: "capture test".to_owned() },
            interface("a"),
            interface("path b"),
            packet(0, 1, 2, &first),
            packet(0, 3, 2, &[5; 64]),
            packet(1, 1, 1, &first),
            packet(1, 2, 1, &[5; 64]),
            packet(1, 3, 2, &[6; 60]),
        ]
    );
}

#[test]
fn frames_that_stay_in_the_queue_are_not_captured() {
    let sink = Sink::new(usize::MAX);
    let file = CaptureFile::new(sink.clone(), "capture test");
    let (a, _b) = MemoryDevice::pair(1500, 1);
    let mut a = Capture::new(a, &file, "a", clock());
    let mut queue: VecDeque<Frame> = [1, 2, 3].map(|byte| Frame::from(&[byte; 60][..])).into();
    assert_eq!(a.transmit(&mut queue).unwrap(), 1);
    assert_eq!(queue, [2, 3].map(|byte| Frame::from(&[byte; 60][..])));
    let packets = parse(&sink.bytes()).into_iter().filter(|block| matches!(block, Block::Packet { .. }));
    assert_eq!(packets.count(), 1);
}

#[test]
fn a_full_disk_ends_the_capture_and_not_the_traffic() {
    for room in [0, 60, 150, 300] {
        let sink = Sink::new(room);
        let file = CaptureFile::new(sink.clone(), "capture test");
        traffic(&file);
        assert_eq!(file.take_error().unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(file.take_error().is_none());
        parse(&sink.bytes());
    }
}

#[test]
fn tshark_reads_the_file() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("capture-{}.pcapng", std::process::id()));
    let file = CaptureFile::new(File::create(&path).unwrap(), "capture test");
    traffic(&file);
    file.flush();
    let fields = ["frame.interface_name", "frame.len", "frame.packet_flags_direction", "frame.time_epoch"];
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&path).args(["-T", "fields"]).args(fields.iter().flat_map(|field| ["-e", field]));
    let output = tshark.output().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let lengths: Vec<_> = rows.iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(
        lengths,
        [("a", "61"), ("a", "1519"), ("a", "64"), ("path b", "61"), ("path b", "64"), ("path b", "60")]
    );
    let outbound: Vec<_> = rows.iter().map(|row| row[2].ends_with('2')).collect();
    assert_eq!(outbound, [true, true, true, false, false, true]);
    assert!(rows[0][3].contains("123456789"), "{}", rows[0][3]);
}
