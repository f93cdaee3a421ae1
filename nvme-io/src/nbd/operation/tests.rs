use nvme_tcp::command::Status;

use super::*;

const LIMITS: Limits = Limits { nsid: 1, block_size: 512, transfer: 8, zeroes: 16, trim: u32::MAX };

fn request(kind: RequestKind, offset: u64, length: u32, force_unit_access: bool) -> Request {
    Request { cookie: 5, kind, offset, length, force_unit_access }
}

fn commands(operation: &mut Operation) -> Vec<Command<u64>> {
    std::iter::from_fn(|| operation.next_command(&LIMITS, u64::from)).collect()
}

fn ended(operation: &mut Operation, number: u32, code: StatusCode, data: impl Into<Payload>) {
    operation.complete(number, &Outcome::Answered { status: Status::from(code), result: 0 }, data.into());
}

fn ranges(commands: &[Command<u64>]) -> Vec<(u64, u32)> {
    commands
        .iter()
        .map(|command| match IoCommand::parse(&command.sqe).unwrap() {
            IoCommand::Read { range, .. } | IoCommand::Write { range, .. } | IoCommand::WriteZeroes { range, .. } => {
                (range.start, range.count)
            }
            other => panic!("no range: {other:?}"),
        })
        .collect()
}

#[test]
fn long_writes_are_split_and_done_with_the_last() {
    let data: Bytes = (0..20 * 512_u32).map(|at| (at / 512) as u8).collect::<Vec<_>>().into();
    let mut operation = Operation::new(request(RequestKind::Write(data), 2 * 512, 20 * 512, true), LIMITS.block_size);
    let mut parts = commands(&mut operation);
    assert_eq!(ranges(&parts), [(2, 8), (10, 8), (18, 4)]);
    for (part, first) in parts.iter().zip([0, 8, 16]) {
        let fua = matches!(IoCommand::parse(&part.sqe), Ok(IoCommand::Write { force_unit_access: true, .. }));
        assert!(fua && part.payload().is_some_and(|data| data.pieces().next().is_some_and(|piece| piece[0] == first)));
    }
    while parts.pop().is_some() {
        assert!(!operation.is_done());
        ended(&mut operation, 0, StatusCode::Success, Payload::new());
    }
    assert!(operation.is_done());
    assert_eq!(operation.into_result().0, Ok(()));
}

#[test]
fn what_was_read_is_in_order_whatever_the_order_of_completions() {
    let mut operation = Operation::new(request(RequestKind::Read, 0, 16 * 512, false), LIMITS.block_size);
    let parts = commands(&mut operation);
    assert_eq!(parts.iter().map(|part| part.token).collect::<Vec<_>>(), [0, 1]);
    for number in [1, 0] {
        ended(&mut operation, number, StatusCode::Success, Bytes::from(vec![number as u8; 8 * 512]));
    }
    let (result, data) = operation.into_result();
    let firsts: Vec<u8> = data.iter().map(|part| part.to_contiguous()[0]).collect();
    assert_eq!((result, firsts), (Ok(()), vec![0, 1]));
}

#[test]
fn nothing_follows_a_failure_and_the_first_is_told() {
    let mut operation =
        Operation::new(request(RequestKind::WriteZeroes { no_hole: false }, 0, 64 * 512, false), LIMITS.block_size);
    let first = operation.next_command(&LIMITS, u64::from).unwrap();
    let second = operation.next_command(&LIMITS, u64::from).unwrap();
    assert_eq!(ranges(&[first, second]), [(0, 16), (16, 16)]);
    ended(&mut operation, 0, StatusCode::CapacityExceeded, Payload::new());
    assert!(!operation.has_command() && !operation.is_done());
    ended(&mut operation, 0, StatusCode::WriteFault, Payload::new());
    assert!(operation.is_done());
    assert_eq!(operation.into_result().0, Err(ErrorCode::NoSpace));
}

#[test]
fn a_trim_that_is_to_be_durable_is_flushed() {
    let mut operation = Operation::new(request(RequestKind::Trim, 512, 4096, true), LIMITS.block_size);
    let trim = commands(&mut operation);
    let [trim] = &trim[..] else { panic!("not one command: {trim:?}") };
    let range = trim.payload().map(|data| data.to_contiguous()).unwrap();
    assert_eq!(range[..], *b"\0\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0\0");
    ended(&mut operation, 0, StatusCode::Success, Payload::new());
    let flush = commands(&mut operation);
    assert!(matches!(&flush[..], [flush] if IoCommand::parse(&flush.sqe) == Ok(IoCommand::Flush)));
    assert!(!operation.is_done());
    ended(&mut operation, 0, StatusCode::Success, Payload::new());
    assert!(operation.is_done());
}

#[test]
fn statuses_become_errors() {
    let table = [
        (StatusCode::NamespaceWriteProtected, ErrorCode::NotPermitted),
        (StatusCode::ReservationConflict, ErrorCode::NotPermitted),
        (StatusCode::CapacityExceeded, ErrorCode::NoSpace),
        (StatusCode::LbaOutOfRange, ErrorCode::Invalid),
        (StatusCode::UnrecoveredRead, ErrorCode::Io),
    ];
    for (code, error) in table {
        assert_eq!(judge(&Outcome::Answered { status: code.into(), result: 0 }), Err(error));
    }
    assert_eq!(judge(&Outcome::Lost { sent: true }), Err(ErrorCode::Io));
}

#[test]
fn commands_are_such_as_every_controller_takes() {
    let other = Limits { transfer: 4, zeroes: 32, trim: 100, ..LIMITS };
    let both = LIMITS.min(other);
    assert_eq!(both, Limits { transfer: 4, zeroes: 16, trim: 100, ..LIMITS });
    // The other one may come while an operation is executed.
    let mut operation = Operation::new(request(RequestKind::Read, 0, 16 * 512, false), LIMITS.block_size);
    let parts = [LIMITS, both, both].map(|limits| operation.next_command(&limits, u64::from).unwrap());
    assert_eq!(ranges(&parts), [(0, 8), (8, 4), (12, 4)]);
}
