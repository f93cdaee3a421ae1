use super::super::MAX_PAYLOAD;
use super::super::simple_reply;
use super::*;

fn export() -> Export {
    Export {
        name: "disk".to_owned(),
        size: 0x10_0000,
        block_size: 512,
        is_read_only: false,
        can_trim: true,
        can_write_zeroes: true,
    }
}

fn session(export: Export) -> Session {
    Session::new(Arc::new(export)).0
}

/// Everything that comes of these bytes.
fn feed(session: &mut Session, bytes: &[u8]) -> Vec<Event> {
    let mut input = bytes;
    let mut events = Vec::new();
    while let Some(event) = session.receive(&mut input) {
        let is_end = matches!(event, Event::End);
        events.push(event);
        if is_end {
            break;
        }
    }
    events
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [b"IHAVEOPT", &number.to_be_bytes()[..], &length, data].concat()
}

/// The data of INFO and GO.
fn wants(name: &[u8], kinds: &[u16]) -> Vec<u8> {
    let mut data = [&(name.len() as u32).to_be_bytes()[..], name, &(kinds.len() as u16).to_be_bytes()].concat();
    kinds.iter().for_each(|kind| data.extend(kind.to_be_bytes()));
    data
}

fn answer(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    match &feed(session, bytes)[..] {
        [Event::Send(bytes)] => bytes.clone(),
        other => panic!("not one answer: {other:?}"),
    }
}

/// A session that is past its negotiation.
fn transmitting(export: Export) -> Session {
    let mut session = session(export);
    let bytes = [&3_u32.to_be_bytes()[..], &option(1, b"disk")].concat();
    assert_eq!(answer(&mut session, &bytes).len(), 10);
    assert!(session.is_transmitting());
    session
}

fn request(flags: u16, kind: u16, offset: u64, length: u32) -> Vec<u8> {
    let cookie = 0x0102_0304_0506_0708_u64.to_be_bytes();
    let numbers = [&flags.to_be_bytes()[..], &kind.to_be_bytes(), &cookie, &offset.to_be_bytes()].concat();
    [&[0x25, 0x60, 0x95, 0x13], &numbers[..], &length.to_be_bytes()].concat()
}

/// Heads of replies: magic, option, kind, length.
fn head(option: u32, kind: u32, length: u32) -> Vec<u8> {
    let magic = [0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9];
    [&magic[..], &option.to_be_bytes(), &kind.to_be_bytes(), &length.to_be_bytes()].concat()
}

#[test]
fn the_greeting_is_that_of_the_fixed_newstyle() {
    assert_eq!(&Session::new(Arc::new(export())).1, b"NBDMAGICIHAVEOPT\x00\x03");
}

#[test]
fn go_describes_the_export_and_begins() {
    let mut session = session(export());
    assert!(feed(&mut session, &3_u32.to_be_bytes()).is_empty());
    // FLUSH, FUA, TRIM, WRITE_ZEROES and CAN_MULTI_CONN, with HAS_FLAGS.
    let size_and_flags = b"\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x01\x6d";
    let blocks = b"\x00\x03\x00\x00\x02\x00\x00\x00\x10\x00\x02\x00\x00\x00";
    let expected =
        |option| [&head(option, 3, 12)[..], size_and_flags, &head(option, 3, 14), blocks, &head(option, 1, 0)].concat();
    assert_eq!(answer(&mut session, &option(6, &wants(b"disk", &[3]))), expected(6));
    assert!(!session.is_transmitting());
    assert_eq!(answer(&mut session, &option(7, &wants(b"", &[]))), expected(7));
    assert!(session.is_transmitting());
}

#[test]
fn export_name_is_padded_unless_that_is_spared() {
    for (flags, length) in [(1_u32, 134), (3, 10)] {
        let mut session = session(export());
        let bytes = [&flags.to_be_bytes()[..], &option(1, b"disk")].concat();
        let answer = answer(&mut session, &bytes);
        assert_eq!((answer.len(), &answer[..10]), (length, &b"\x00\x00\x00\x00\x00\x10\x00\x00\x01\x6d"[..]));
        assert!(answer[10..].iter().all(|byte| *byte == 0));
    }
    let mut other = session(export());
    let bytes = [&3_u32.to_be_bytes()[..], &option(1, b"other")].concat();
    assert!(matches!(feed(&mut other, &bytes)[..], [Event::End]));
}

#[test]
fn options_are_listed_refused_and_aborted() {
    let mut session = session(export());
    feed(&mut session, &3_u32.to_be_bytes());
    let list = [&head(3, 2, 8)[..], b"\x00\x00\x00\x04disk", &head(3, 1, 0)].concat();
    assert_eq!(answer(&mut session, &option(3, b"")), list);
    // Kind of the reply for: STRUCTURED_REPLY, STARTTLS, one that does not exist, LIST with data, GO for another export, too short, with lengths that do not fit.
    let table: [(u32, Vec<u8>, u32); 7] = [
        (8, vec![], 0x8000_0001),
        (5, vec![], 0x8000_0001),
        (99, vec![1; 40], 0x8000_0001),
        (3, vec![0], 0x8000_0003),
        (7, wants(b"nothing", &[]), 0x8000_0006),
        (7, vec![0, 0], 0x8000_0003),
        (6, [wants(b"disk", &[3]), vec![0]].concat(), 0x8000_0003),
    ];
    for (number, data, kind) in table {
        let answer = answer(&mut session, &option(number, &data));
        assert_eq!(&answer[8..16], [number.to_be_bytes(), kind.to_be_bytes()].concat(), "option {number}");
    }
    assert!(
        matches!(&feed(&mut session, &option(2, b""))[..], [Event::Send(ack), Event::End] if *ack == head(2, 1, 0))
    );
}

#[test]
fn what_is_not_nbd_ends_the_connection() {
    let mut unknown_flags = session(export());
    assert!(matches!(feed(&mut unknown_flags, &4_u32.to_be_bytes())[..], [Event::End]));
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"IHAVEOPT\x00\x00\x00\x07\x00\x00\x40\x01"] {
        let mut session = session(export());
        feed(&mut session, &3_u32.to_be_bytes());
        assert!(matches!(feed(&mut session, bytes)[..], [Event::End]));
    }
    let too_long = request(0, 1, 0, MAX_PAYLOAD + 1);
    for bytes in [&[0; 28][..], &too_long, &request(0, 2, 0, 0)] {
        assert!(matches!(feed(&mut transmitting(export()), bytes)[..], [Event::End]));
    }
}

#[test]
fn requests_are_read_byte_by_byte() {
    let mut session = transmitting(export());
    let data = [7; 1024];
    let stream = [&request(1, 1, 512, 1024)[..], &data, &request(0, 0, 0, 4096), &request(3, 6, 0, 512)].concat();
    let events: Vec<Event> = stream.iter().flat_map(|byte| feed(&mut session, &[*byte])).collect();
    let [Event::Request(write), Event::Request(read), Event::Request(zeroes)] = &events[..] else {
        panic!("other events: {events:?}")
    };
    assert!(matches!(&write.kind, RequestKind::Write(bytes) if bytes[..] == data) && write.force_unit_access);
    assert_eq!((write.cookie, write.offset, write.length), (0x0102_0304_0506_0708, 512, 1024));
    assert!(matches!(read.kind, RequestKind::Read) && !read.force_unit_access && read.length == 4096);
    assert!(matches!(zeroes.kind, RequestKind::WriteZeroes { no_hole: true }) && zeroes.force_unit_access);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let refusal = |session: &mut Session, bytes: &[u8]| match feed(session, bytes)[..] {
        [Event::Refused { cookie: 0x0102_0304_0506_0708, error }] => error,
        ref other => panic!("not refused: {other:?}"),
    };
    let end = 0x10_0000;
    let table = [
        (request(0, 0, 1, 512), ErrorCode::Invalid),
        (request(0, 0, 0, 100), ErrorCode::Invalid),
        (request(0, 0, 0, 0), ErrorCode::Invalid),
        (request(0, 0, end, 512), ErrorCode::Invalid),
        (request(0, 0, u64::MAX - 511, 512), ErrorCode::Invalid),
        (request(0, 0, 0, MAX_PAYLOAD + 512), ErrorCode::Invalid),
        (request(2, 0, 0, 512), ErrorCode::Invalid),
        (request(0, 3, 512, 0), ErrorCode::Invalid),
        (request(0, 4, end - 512, 1024), ErrorCode::Invalid),
        (request(0, 5, 0, 512), ErrorCode::Invalid),
        (request(0, 6, end - 512, 1024), ErrorCode::NoSpace),
        ([request(0, 1, end, 512), vec![0; 512]].concat(), ErrorCode::NoSpace),
        ([request(0, 1, 0, 3), vec![0; 3]].concat(), ErrorCode::Invalid),
        (request(0, 1, 0, 0), ErrorCode::Invalid),
    ];
    let mut session = transmitting(export());
    for (bytes, error) in &table {
        assert_eq!(refusal(&mut session, bytes), *error, "{:?}", &bytes[..28]);
    }
    let mut bare = transmitting(Export { can_trim: false, can_write_zeroes: false, ..export() });
    assert_eq!([4, 6].map(|kind| refusal(&mut bare, &request(0, kind, 0, 512))), [ErrorCode::Invalid; 2]);
    let mut read_only = transmitting(Export { is_read_only: true, ..export() });
    let write = [request(0, 1, 0, 512), vec![0; 512]].concat();
    for bytes in [write, request(0, 4, 0, 512), request(0, 6, 0, 512)] {
        assert_eq!(refusal(&mut read_only, &bytes), ErrorCode::NotPermitted);
    }
    assert!(matches!(feed(&mut read_only, &request(0, 3, 0, 0))[..], [Event::Request(_)]));
}

#[test]
fn flags_follow_what_the_export_can() {
    assert_eq!(Export { is_read_only: true, ..export() }.flags(), 0x010f);
    assert_eq!(Export { can_trim: false, can_write_zeroes: false, ..export() }.flags(), 0x010d);
}

#[test]
fn replies_are_laid_out_as_the_protocol_says() {
    assert_eq!(simple_reply(0x0102, Ok(())), *b"\x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\x01\x02");
    assert_eq!(simple_reply(1, Err(ErrorCode::NoSpace))[4..8], [0, 0, 0, 28]);
}

/// Whatever comes, in whatever pieces: no panic, requests are within the export, and no more is held than one request.
#[test]
fn hostile_bytes_do_no_harm() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut requests = 0;
    for round in 0..16_000 {
        let mut session = if round % 2 == 0 { session(export()) } else { transmitting(export()) };
        let mut stream = if round % 2 == 0 { vec![0, 0, 0, 3] } else { Vec::new() };
        for _ in 0..draw(8) {
            let length = 512 * draw(16);
            match draw(5) {
                0 => stream.extend(option(draw(12) as u32, &wants(b"disk", &[3, 1]))),
                1 => stream.extend(option(7, &wants(b"", &[]))),
                2 => stream.extend(request(draw(4) as u16, draw(8) as u16, 512 * draw(4096) as u64, length as u32)),
                3 => stream.extend([request(0, 1, 0, length as u32), vec![1; length]].concat()),
                _ => stream.extend((0..draw(64)).map(|at| at as u8)),
            }
        }
        for _ in 0..draw(4) {
            let at = draw(stream.len().max(1));
            if let Some(byte) = stream.get_mut(at) {
                *byte = draw(256) as u8;
            }
        }
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let piece = rest.split_off(..(1 + draw(600)).min(rest.len())).unwrap();
            for event in feed(&mut session, piece) {
                if let Event::Request(request) = event {
                    requests += 1;
                    assert!(request.offset + u64::from(request.length) <= export().size);
                }
            }
            assert!(session.gathered.len() <= MAX_PAYLOAD as usize);
        }
    }
    assert!(requests > 1000, "only {requests} requests were good: the fuzzing does not get far");
}
