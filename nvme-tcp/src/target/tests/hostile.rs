//! Hosts that break the protocol, in the ways that have broken targets.

use super::*;

fn io_queue(target: &Arc<Target>) -> (Host, Host) {
    let (admin, controller) = Host::admin(target);
    (Host::io(target, controller, 1, HostOffer::default()), admin)
}

fn write(length: u32, sgl: Sgl) -> Sqe {
    let range = BlockRange { start: 0, count: length / BLOCK as u32 };
    IoCommand::Write { range, force_unit_access: false }.to_sqe(1).with_sgl(sgl)
}

fn read(length: u32) -> Sqe {
    let range = BlockRange { start: 0, count: length / BLOCK as u32 };
    IoCommand::Read { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(length))
}

fn capsule(sqe: Sqe, data_len: u32) -> Pdu {
    Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len })
}

/// Sends a command, and takes nothing.
fn send_only(host: &mut Host, cid: u16, mut sqe: Sqe, data: &[u8]) {
    sqe.cid = cid.into();
    let pdu = host.encode(&capsule(sqe, data.len() as u32), data);
    host.connection.receive(host.now, pdu.into());
}

/// Has stores do all that they are given while the host takes nothing. Returns how many reads were among it.
fn work_unseen(host: &mut Host) -> usize {
    let mut reads = 0;
    loop {
        while let Some(submission) = host.connection.poll_submission() {
            reads += usize::from(matches!(submission.operation, Operation::Read { .. }));
            host.backends.submit(submission);
        }
        let Some(completion) = host.backends.poll() else { return reads };
        host.connection.handle_completion(completion);
    }
}

#[track_caller]
fn assert_terminated(host: &mut Host, fes: Fes, fei: u32) {
    let request = host.termination();
    assert_eq!((request.fes, request.fei), (fes, fei), "{:?}", host.connection.close_reason());
    assert!(!request.header.is_empty());
}

/// An I/O queue with a write of 8192 bytes that waits for its data, and its R2T.
fn waiting_write(target: &Arc<Target>) -> (Host, Host, R2t) {
    let (mut host, admin) = io_queue(target);
    host.submit(write(8192, Sgl::transport(8192)), &[]);
    let Some((Pdu::R2t(r2t), ..)) = host.received.pop_front() else { panic!("no R2T") };
    (host, admin, r2t)
}

fn data_for(r2t: &R2t) -> H2cData {
    H2cData { cccid: r2t.cccid, ttag: r2t.ttag, offset: 0, length: 4096, last: false }
}

#[test]
fn data_that_nobody_asked_for() {
    let target = target();
    let header = H2cData { cccid: 1, ttag: 0, offset: 0, length: 512, last: true };
    // Before any command, with tags that never were.
    for ttag in [0, 1, 0xffff] {
        let (mut host, _admin) = io_queue(&target);
        host.send(&Pdu::H2cData(H2cData { ttag, ..header }), &[0; 512]);
        assert_terminated(&mut host, Fes::SequenceError, 0);
    }
    // Before Connect.
    let mut host = Host::initialized(&target, HostOffer::default());
    host.send(&Pdu::H2cData(header), &[0; 512]);
    assert_terminated(&mut host, Fes::SequenceError, 0);
    // For an R2T that was served.
    let (mut host, _admin, r2t) = waiting_write(&target);
    host.answer_r2t(&r2t, &[0; 8192]);
    host.received.clear();
    host.send(&Pdu::H2cData(data_for(&r2t)), &[0; 4096]);
    assert_terminated(&mut host, Fes::InvalidHeaderField, 10);
}

#[test]
fn data_that_is_not_what_was_asked_for() {
    let target = target();
    type Change = fn(&mut H2cData);
    let cases: [(Change, usize, Fes, u32); 6] = [
        (|header| header.ttag += 1, 4096, Fes::SequenceError, 0),
        (|header| header.cccid ^= 1, 4096, Fes::SequenceError, 0),
        (|header| header.offset = 4, 4096, Fes::DataOutOfRange, 0),
        (|header| header.offset = u32::MAX, 4096, Fes::DataOutOfRange, 0),
        (|header| header.length = 8196, 8196, Fes::DataOutOfRange, 0),
        (|header| header.last = true, 4096, Fes::InvalidHeaderField, 1),
    ];
    for (change, length, fes, fei) in cases {
        let (mut host, _admin, r2t) = waiting_write(&target);
        let mut header = data_for(&r2t);
        change(&mut header);
        host.send(&Pdu::H2cData(header), &vec![0; length]);
        assert_terminated(&mut host, fes, fei);
    }
    // The same twice, and no LAST_PDU at the end.
    for second in [
        H2cData { offset: 0, ..data_for(&R2t { cccid: 0, ttag: 0, offset: 0, length: 0 }) },
        H2cData { offset: 4096, ..data_for(&R2t { cccid: 0, ttag: 0, offset: 0, length: 0 }) },
    ] {
        let (mut host, _admin, r2t) = waiting_write(&target);
        host.send(&Pdu::H2cData(data_for(&r2t)), &[0; 4096]);
        let header = H2cData { offset: second.offset, ..data_for(&r2t) };
        host.send(&Pdu::H2cData(header), &[0; 4096]);
        let repeated = second.offset == 0;
        let fes = if repeated { Fes::DataOutOfRange } else { Fes::InvalidHeaderField };
        assert_terminated(&mut host, fes, u32::from(!repeated));
    }
}

#[test]
fn data_for_a_read() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    let read = IoCommand::Read { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    let cid = host.submit(read.to_sqe(1).with_sgl(Sgl::transport(512)), &[]);
    host.received.clear();
    host.send(&Pdu::H2cData(H2cData { cccid: cid, ttag: 0, offset: 0, length: 512, last: true }), &[0; 512]);
    assert_terminated(&mut host, Fes::SequenceError, 0);
}

#[test]
fn descriptors_that_cannot_be() {
    let target = target();
    let mut offset = Sgl::in_capsule(512);
    offset.address = 64.into();
    let mut keyed = Sgl::transport(512);
    keyed.identifier = 0x40;
    let cases = [
        (keyed, 0, Fes::UnsupportedParameter, 47),
        (offset, 512, Fes::UnsupportedParameter, 32),
        (Sgl::in_capsule(1024), 512, Fes::InvalidHeaderField, 40),
        (Sgl::in_capsule(512), 0, Fes::InvalidHeaderField, 40),
        (Sgl::transport(512), 512, Fes::InvalidHeaderField, 40),
        (Sgl::in_capsule(16 * 1024 + 4), 512, Fes::LimitExceeded, 0),
        (Sgl::transport((1 << 20) + 1), 0, Fes::LimitExceeded, 0),
        (Sgl::transport(u32::MAX), 0, Fes::LimitExceeded, 0),
        (Sgl::in_capsule(u32::MAX), 0, Fes::LimitExceeded, 0),
    ];
    for (sgl, carried, fes, fei) in cases {
        let (mut host, _admin) = io_queue(&target);
        host.send(&capsule(write(512, sgl), carried), &vec![0; carried as usize]);
        assert_terminated(&mut host, fes, fei);
    }
    // Data in the capsule of a command that has none, or for the host.
    for sqe in [IoCommand::Flush.to_sqe(1), Sqe::new(0x02, 1).with_sgl(Sgl::in_capsule(512))] {
        let (mut host, _admin) = io_queue(&target);
        host.send(&capsule(sqe, 512), &[0; 512]);
        assert_terminated(&mut host, Fes::InvalidHeaderField, 40);
    }
    // More in the capsule than the queue takes: the header is enough to see it.
    let (mut host, _admin) = io_queue(&target);
    let pdu = host.encode(&capsule(write(512, Sgl::in_capsule(512)), 20_000), &[0; 20_000]);
    host.send_raw(pdu[..72].to_vec());
    assert_terminated(&mut host, Fes::LimitExceeded, 0);
}

#[test]
fn descriptors_of_much_data_that_never_comes_take_no_memory() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    for _ in 0..127 {
        host.submit(write(1 << 20, Sgl::transport(1 << 20)), &[]);
    }
    assert_eq!(host.received.len(), 16, "R2Ts for as much as a queue may be asked for, and nothing else");
    assert_eq!(host.connection.outstanding(), 127);
}

#[test]
fn icreq_twice_early_and_wrong() {
    let target = target();
    let mut host = Host::initialized(&target, HostOffer::default());
    host.send(&Pdu::IcReq(HostOffer::default().request()), &[]);
    assert_terminated(&mut host, Fes::SequenceError, 0);
    let mut host = Host::new(&target);
    host.send(&capsule(Sqe::new(FABRICS, 1), 0), &[]);
    assert_terminated(&mut host, Fes::SequenceError, 0);
    let mut host = Host::new(&target);
    let mut icreq = host.encode(&Pdu::IcReq(HostOffer::default().request()), &[]);
    icreq[8] = 1;
    host.send_raw(icreq);
    assert_terminated(&mut host, Fes::InvalidHeaderField, 8);
    assert_eq!(host.connection.state(), ConnectionState::Closing);
    host.wait(Duration::from_secs(30));
    assert_eq!(host.connection.state(), ConnectionState::Closed, "the host does not close");
}

#[test]
fn half_an_icreq_and_silence() {
    let target = target();
    for bytes in [0, 1, 64, 128] {
        let mut host = Host::new(&target);
        let icreq = host.encode(&Pdu::IcReq(HostOffer::default().request()), &[]);
        host.wait(Duration::from_secs(4));
        host.send_raw(icreq[..bytes].to_vec());
        host.wait(Duration::from_secs(5));
        assert_eq!(host.connection.state(), ConnectionState::Connecting);
        host.wait(Duration::from_secs(1));
        assert_eq!(host.connection.close_reason(), Some(&CloseReason::SetupTimeout));
    }
}

#[test]
fn commands_before_connect() {
    let target = target();
    let mut host = Host::initialized(&target, HostOffer::default());
    let get = FabricsCommand::PropertyGet { offset: 0, size: 8 };
    host.run(get.to_sqe(), &[]).expect(StatusCode::CommandSequenceError);
    host.identify(cns::CONTROLLER, 0).expect(StatusCode::CommandSequenceError);
    host.write(0, &[0; 512]).expect(StatusCode::CommandSequenceError);
    host.write_by_r2t(0, &[0; 512]).expect(StatusCode::CommandSequenceError);
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    host.connect(0, 32, &data).ok();
    host.connect(0, 32, &data).expect(StatusCode::CommandSequenceError);
    host.identify(cns::CONTROLLER, 0).expect(StatusCode::CommandSequenceError);
}

#[test]
fn connects_that_cannot_be() {
    let target = target();
    target.add_subsystem(subsystem("other")).unwrap();
    let (mut admin, controller) = Host::admin(&target);
    admin.set_feature(fid::NUMBER_OF_QUEUES, QueueCounts::pairs(2).bits()).ok();
    let good = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
    let with = |change: fn(&mut ConnectData)| {
        let mut data = good;
        change(&mut data);
        data
    };
    let any = |change: fn(&mut ConnectData)| {
        let mut data = with(change);
        data.controller = ANY_CONTROLLER.into();
        data
    };
    let other_subsystem = with(|data| data.subnqn = nqn("other").to_field());
    let other_host = with(|data| data.hostnqn = nqn("other").to_field());
    let cases = [
        (0, 32, any(|data| data.subnqn = [b'x'; 256]), InvalidParameter::SUBSYSTEM),
        (0, 32, any(|data| data.subnqn = [0; 256]), InvalidParameter::SUBSYSTEM),
        (0, 32, any(|data| data.subnqn[20] = 0xff), InvalidParameter::SUBSYSTEM),
        (0, 32, any(|data| data.subnqn[23] ^= 1), InvalidParameter::SUBSYSTEM),
        (0, 32, any(|data| data.hostnqn = [b'n'; 256]), InvalidParameter::HOST),
        (0, 32, with(|_| {}), InvalidParameter::CONTROLLER),
        (0, 1, any(|_| {}), InvalidParameter::ENTRIES),
        (0, 65_536, any(|_| {}), InvalidParameter::ENTRIES),
        (1, 1, good, InvalidParameter::ENTRIES),
        (1, 129, good, InvalidParameter::ENTRIES),
        (3, 128, good, InvalidParameter::QUEUE),
        (0xffff, 128, good, InvalidParameter::QUEUE),
        (1, 128, with(|data| data.controller = 0x7777.into()), InvalidParameter::CONTROLLER),
        (1, 128, any(|_| {}), InvalidParameter::CONTROLLER),
        (1, 128, with(|data| data.host_id = [2; 16]), InvalidParameter::HOST_ID),
        (1, 128, other_subsystem, InvalidParameter::SUBSYSTEM),
        (1, 128, other_host, InvalidParameter::HOST),
    ];
    let mut host = Host::initialized(&target, HostOffer::default());
    for (queue, entries, data, parameter) in cases {
        let answer = host.connect(queue, entries, &data).expect(StatusCode::ConnectInvalidParameters);
        assert_eq!(InvalidParameter::from_bits(answer.result as u32), parameter, "queue {queue}, {entries} entries");
    }
    let short =
        FabricsCommand::Connect(Connect { queue: 1, entries: 2, attributes: Default::default(), keep_alive: 0 });
    let sqe = short.to_sqe().with_sgl(Sgl::in_capsule(1023));
    host.run(sqe, &[0; 1023]).expect(StatusCode::InvalidDataSglLength);
    // A retry on the same connection works, and the queue is then taken.
    host.connect(1, 128, &good).ok();
    let mut again = Host::initialized(&target, HostOffer::default());
    again.connect(1, 128, &good).expect(StatusCode::CommandSequenceError);
    assert_eq!(target.controllers(), 1);
}

#[test]
fn an_io_queue_of_a_controller_that_is_not_enabled() {
    let target = target();
    let mut admin = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    let controller = admin.connect(0, 32, &data).ok().result as u16;
    let mut io = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
    io.connect(1, 128, &data).expect(StatusCode::CommandSequenceError);
    admin.set(Property::Configuration, 0x66_0001).ok();
    let status = ControllerStatus::from_bits(admin.get(Property::Status) as u32);
    assert!(status.fatal && !status.ready, "completion entries of 64 bytes");
}

#[test]
fn connect_data_by_r2t() {
    let target = target();
    let mut host = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    let connect = Connect { queue: 0, entries: 32, attributes: Default::default(), keep_alive: 0 };
    let sqe = FabricsCommand::Connect(connect).to_sqe().with_sgl(Sgl::transport(1024));
    host.h2c_length = 100;
    host.run(sqe, data.as_bytes()).ok();
    assert_eq!(host.connection.state(), ConnectionState::Admin);
}

#[test]
fn more_commands_than_entries() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    for _ in 0..128 {
        host.submit(write(512, Sgl::transport(512)), &[]);
    }
    assert_eq!(host.received.len(), 128);
    host.received.clear();
    host.submit(write(512, Sgl::transport(512)), &[]);
    assert_terminated(&mut host, Fes::SequenceError, 0);
}

#[test]
fn a_host_that_takes_no_completions() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    let flush = IoCommand::Flush.to_sqe(1);
    for count in 0..1000 {
        let pdu = host.encode(&capsule(flush, 0), &[]);
        host.connection.receive(host.now, pdu.into());
        while let Some(submission) = host.connection.poll_submission() {
            host.backends.submit(submission);
        }
        while let Some(completion) = host.backends.poll() {
            host.connection.handle_completion(completion);
        }
        assert!(host.connection.outstanding() <= 128);
        if host.connection.state() != ConnectionState::Io {
            assert_eq!(count, 128);
            break;
        }
    }
    assert_eq!(host.connection.state(), ConnectionState::Closing);
}

#[test]
fn a_host_that_takes_no_data() {
    let limits = TargetConfig { max_outbound: 65_536, max_c2h_data: 4096, ..TargetConfig::default() };
    let target = target_with(limits);
    let (mut host, _admin) = io_queue(&target);
    let (count, length, most) = (100, 8192, 8);
    (0..count).for_each(|cid| send_only(&mut host, cid, read(length), &[]));
    assert_eq!(work_unseen(&mut host), most, "as much as a queue may return");
    // A command counts until all of it has left: two C2HData and the completion.
    let mut pieces = Vec::new();
    for last in [false, false, true] {
        assert!(host.connection.poll_transmit(&mut pieces).is_some());
        assert_eq!(host.connection.has_submissions(), last);
    }
    assert_eq!(work_unseen(&mut host), 1);
    // What returns nothing does not wait.
    send_only(&mut host, count, IoCommand::Flush.to_sqe(1), &[]);
    send_only(&mut host, count + 1, write(512, Sgl::in_capsule(512)), &[7; 512]);
    for _ in 0..2 {
        let submission = host.connection.poll_submission().expect("it goes on");
        assert!(matches!(submission.operation, Operation::Flush | Operation::Write { .. }));
        host.backends.submit(submission);
    }
    assert_eq!(work_unseen(&mut host), 0);
    // The host goes on, and each gets its turn.
    let mut begun = most + 1;
    loop {
        host.take_output();
        let reads = work_unseen(&mut host);
        begun += reads;
        assert!(reads <= most);
        if reads == 0 {
            break;
        }
    }
    assert_eq!((begun, host.connection.outstanding()), (usize::from(count), 0));
    for cid in 1..count {
        assert_eq!(host.finish(cid, &[]).expect("it has ended").ok().data.len(), length as usize);
    }
    for cid in [count, count + 1] {
        host.finish(cid, &[]).expect("it has ended").ok();
    }
}

#[test]
fn a_command_that_returns_more_than_a_queue_may_is_alone() {
    let target = target_with(TargetConfig { max_outbound: 4096, ..TargetConfig::default() });
    let (mut host, _admin) = io_queue(&target);
    let lengths = [1 << 20, 1 << 20, 512, 1 << 20];
    (0..).zip(lengths).for_each(|(cid, length)| send_only(&mut host, cid, read(length), &[]));
    for (cid, length) in (0..).zip(lengths) {
        assert_eq!(work_unseen(&mut host), 1, "in their order");
        host.take_output();
        assert_eq!(host.finish(cid, &[]).expect("it has ended").ok().data.len(), length as usize);
    }
    assert_eq!(host.connection.outstanding(), 0);
}

#[test]
fn log_pages_that_nobody_takes() {
    let limits =
        TargetConfig { max_transfer: 8192, in_capsule_data: 8192, max_outbound: 16_384, ..TargetConfig::default() };
    let (mut admin, _) = Host::admin(&target_with(limits));
    let get = GetLogPage { page: lid::SMART, specific: 0, retain_event: false, length: 8192, offset: 0 };
    let sqe = AdminCommand::GetLogPage(get).to_sqe(0xffff_ffff).with_sgl(Sgl::transport(8192));
    (0..20).for_each(|cid| send_only(&mut admin, cid, sqe, &[]));
    assert_eq!((admin.connection.bulk.len(), admin.connection.outstanding()), (2, 20));
    admin.take_output();
    for cid in 0..20 {
        assert_eq!(admin.finish(cid, &[]).expect("it has ended").ok().data.len(), 8192);
    }
}

#[test]
fn two_commands_of_one_identifier() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    let mut sqe = write(512, Sgl::transport(512));
    sqe.cid = 5.into();
    host.send(&capsule(sqe, 0), &[]);
    host.send(&capsule(sqe, 0), &[]);
    let Some((Pdu::R2t(r2t), ..)) = host.received.pop_front() else { panic!("no R2T") };
    host.finish(5, &[]).unwrap().expect(StatusCode::CommandIdConflict);
    host.answer_r2t(&r2t, &[3; 512]);
    host.finish(5, &[]).unwrap().ok();
    assert_eq!(host.read(0, 1).ok().data, [3; 512][..]);
}

#[test]
fn fabrics_commands_on_the_wrong_queue() {
    let target = target();
    let (mut host, mut admin) = io_queue(&target);
    host.run(FabricsCommand::PropertyGet { offset: 0, size: 8 }.to_sqe(), &[]).expect(StatusCode::InvalidQueueType);
    admin.run(FabricsCommand::Disconnect.to_sqe(), &[]).expect(StatusCode::InvalidQueueType);
    let auth = Auth { protocol: 0xe9, specific: 0x0101, length: 16 };
    admin.run(FabricsCommand::AuthSend(auth).to_sqe(), &[0; 16]).expect(StatusCode::InvalidOpcode);
    admin.run(FabricsCommand::AuthReceive(auth).to_sqe(), &[]).expect(StatusCode::InvalidOpcode);
    for offset in [0x24, 0x1001, u32::MAX] {
        let get = FabricsCommand::PropertyGet { offset, size: 4 };
        admin.run(get.to_sqe(), &[]).expect(StatusCode::InvalidField);
    }
    admin.run(FabricsCommand::PropertyGet { offset: 0, size: 4 }.to_sqe(), &[]).expect(StatusCode::InvalidField);
    admin.set(Property::SubsystemReset, 0x4e56_4d65).expect(StatusCode::InvalidField);
    admin.set(Property::Capabilities, 0).expect(StatusCode::InvalidField);
}

#[test]
fn more_event_requests_than_allowed() {
    let target = target();
    let (mut host, _) = Host::admin(&target);
    for _ in 0..4 {
        host.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[]);
    }
    host.run(AdminCommand::AsyncEventRequest.to_sqe(0), &[]).expect(StatusCode::AsyncEventLimitExceeded);
}

#[test]
fn connections_that_fail_early_leave_nothing() {
    let target = target_with(TargetConfig { max_controllers: 2, ..TargetConfig::default() });
    for round in 0..100 {
        let offer = HostOffer { digests: Digests::BOTH, ..HostOffer::default() };
        let mut host = Host::initialized(&target, offer);
        if round % 2 == 0 {
            let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
            host.connect(0, 32, &data).ok();
        }
        host.connection.close();
        assert_eq!(host.connection.state(), ConnectionState::Closed);
    }
    assert_eq!(target.controllers(), 0);
    let _two = (Host::admin(&target), Host::admin(&target));
    let mut third = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("host"));
    third.connect(0, 32, &data).expect(StatusCode::ControllerBusy);
}

#[test]
fn completions_after_the_end() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    let pdu = host.encode(&capsule(IoCommand::Flush.to_sqe(1), 0), &[]);
    host.connection.receive(host.now, pdu.into());
    let submission = host.connection.poll_submission().unwrap();
    let token = submission.token;
    host.backends.submit(submission);
    host.send_raw(vec![0xff; 24]);
    host.pump();
    assert_terminated(&mut host, Fes::InvalidHeaderField, 0);
    host.connection.close();
    host.connection.handle_completion(Completion { token, result: Ok(()), data: Payload::new() });
    let unknown = Token { connection: 7, slot: 99 };
    host.connection.handle_completion(Completion { token: unknown, result: Ok(()), data: Payload::new() });
    assert_eq!(host.connection.poll_transmit(&mut Vec::new()), None);
}

#[test]
fn who_waits_for_operations_after_the_end_keeps_no_data() {
    let target = target_with(TargetConfig { max_r2t_length: 4096, ..TargetConfig::default() });
    let (mut host, _admin) = io_queue(&target);
    let mut kept = Vec::new();
    host.submit(write(8192, Sgl::transport(8192)), &[]);
    let Some((Pdu::R2t(first), ..)) = host.received.pop_front() else { panic!("no R2T") };
    let pdu = host.encode(&Pdu::H2cData(H2cData { last: true, ..data_for(&first) }), &[1; 4096]);
    kept.push(Bytes::from(pdu));
    host.connection.receive(host.now, kept[0].clone());
    host.take_output();
    let Some((Pdu::R2t(second), ..)) = host.received.pop_front() else { panic!("no second R2T") };
    let pdu = host.encode(&capsule(IoCommand::Flush.to_sqe(1), 0), &[]);
    host.connection.receive(host.now, pdu.into());
    let begun = host.connection.poll_submission().unwrap();
    // What was read is there to be sent, and of the write there comes a bit more.
    let read = IoCommand::Read { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    let mut sqe = read.to_sqe(1).with_sgl(Sgl::transport(512));
    sqe.cid = 9.into();
    let pdu = host.encode(&capsule(sqe, 0), &[]);
    host.connection.receive(host.now, pdu.into());
    let token = host.connection.poll_submission().unwrap().token;
    kept.push(Bytes::from(vec![2; 512]));
    let data = Payload::from(kept[1].clone());
    host.connection.handle_completion(Completion { token, result: Ok(()), data });
    let pdu = host.encode(&Pdu::H2cData(H2cData { offset: 4096, last: true, ..data_for(&second) }), &[1; 4096]);
    kept.push(Bytes::from(pdu).slice(..1000));
    host.connection.receive(host.now, kept[2].clone());
    assert!(!kept.iter().any(Bytes::is_unique), "the data waits");
    host.connection.close();
    assert!(host.connection.has_operations() && kept.iter().all(Bytes::is_unique));
    host.connection.handle_completion(Completion { token: begun.token, result: Ok(()), data: Payload::new() });
    assert!(!host.connection.has_operations());
}

#[test]
fn the_host_says_that_it_is_over() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    let request = TermReq { fes: Fes::DataOutOfRange, fei: 0, header: Bytes::from_static(&[7; 24]) };
    host.send(&Pdu::H2cTermReq(request.clone()), &[]);
    assert_eq!(host.connection.close_reason(), Some(&CloseReason::Terminated(request)));
}

#[test]
fn a_store_that_returns_too_little() {
    let target = target();
    let (mut host, _admin) = io_queue(&target);
    let read = IoCommand::Read { range: BlockRange { start: 0, count: 1 }, force_unit_access: false };
    let mut sqe = read.to_sqe(1).with_sgl(Sgl::transport(512));
    sqe.cid = 9.into();
    let pdu = host.encode(&capsule(sqe, 0), &[]);
    host.connection.receive(host.now, pdu.into());
    let token = host.connection.poll_submission().unwrap().token;
    let data = Payload::from(Bytes::from_static(&[0; 511]));
    host.connection.handle_completion(Completion { token, result: Ok(()), data });
    host.take_output();
    host.finish(9, &[]).unwrap().expect(StatusCode::InternalError);
}

#[test]
fn the_data_of_a_queue_that_was_asked_for_is_bounded() {
    let limits =
        TargetConfig { max_transfer: 8192, in_capsule_data: 8192, max_inbound: 16_384, ..TargetConfig::default() };
    let (mut host, _admin) = io_queue(&target_with(limits));
    for _ in 0..5 {
        host.submit(write(8192, Sgl::transport(8192)), &[]);
    }
    let asked = |host: &mut Host| {
        let pdus = std::mem::take(&mut host.received);
        pdus.into_iter()
            .filter_map(|(pdu, ..)| if let Pdu::R2t(r2t) = pdu { Some(r2t) } else { None })
            .collect::<Vec<_>>()
    };
    let mut r2ts = asked(&mut host);
    assert_eq!(r2ts.len(), 2, "there is room for the data of two");
    let mut served = 0;
    while let Some(r2t) = r2ts.pop() {
        host.answer_r2t(&r2t, &[7; 8192]);
        served += 1;
        r2ts.extend(asked(&mut host));
        assert!(r2ts.len() <= 2);
    }
    assert_eq!(served, 5, "each gets its turn");
}
