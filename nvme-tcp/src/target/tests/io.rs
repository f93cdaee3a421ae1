//! I/O commands, and the ways in which data comes and goes.

use rand::{Rng, SeedableRng, rngs::StdRng};
use zerocopy::FromBytes;

use super::*;

fn io_queue(target: &Arc<Target>, offer: HostOffer) -> (Host, Host) {
    let (admin, controller) = Host::admin(target);
    (Host::io(target, controller, 1, offer), admin)
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn range(start: u64, count: u32) -> BlockRange {
    BlockRange { start, count }
}

#[test]
fn writes_in_the_capsule_and_by_r2t_are_read_back() {
    for (seed, digests) in [Digests::NONE, Digests::BOTH].into_iter().enumerate() {
        for dwords in [0, 31] {
            let alignment = Alignment::from_dwords(dwords).unwrap();
            let config = TargetConfig {
                offer: ControllerOffer { alignment, ..ControllerOffer::default() },
                max_c2h_data: 16 * 1024,
                ..TargetConfig::default()
            };
            let target = target_with(config);
            let (mut host, _admin) = io_queue(&target, HostOffer { digests, alignment, max_r2t: 1 });
            let data = bytes(seed as u64, 300 * BLOCK);
            host.write(3, &data[..16 * 1024]).ok();
            host.write_by_r2t(3 + 32, &data[16 * 1024..]).ok();
            assert_eq!(host.read(3, 300).ok().data, data);
            assert_eq!(host.read(2, 1).ok().data, [0; BLOCK][..]);
            assert_eq!(host.connection.outstanding(), 0);
        }
    }
}

#[test]
fn several_r2ts_answered_in_any_order() {
    let target = target_with(TargetConfig { max_r2t_length: 8192, ..TargetConfig::default() });
    for (max_r2t, outstanding) in [(1, 1), (4, 4), (100, 8)] {
        let (mut host, _admin) = io_queue(&target, HostOffer { max_r2t, ..HostOffer::default() });
        let data = bytes(max_r2t.into(), 100 * 1024 + BLOCK);
        let command = IoCommand::Write { range: range(0, 201), force_unit_access: true };
        let cid = host.submit(command.to_sqe(1).with_sgl(Sgl::transport(data.len() as u32)), &[]);
        let r2ts = host.received.iter().filter(|(pdu, ..)| matches!(pdu, Pdu::R2t(_))).count();
        assert_eq!(r2ts, outstanding, "with MAXR2T {max_r2t}");
        host.backwards = true;
        host.finish(cid, &data).unwrap().ok();
        assert_eq!(host.read(0, 201).ok().data, data);
    }
}

#[test]
fn success_replaces_completions_only_without_flow_control() {
    let target = target();
    let (mut with, _admin) = io_queue(&target, HostOffer::default());
    let heads: Vec<_> = (0..3).map(|_| with.read(0, 1).ok().cqe.unwrap().sqhd.get()).collect();
    assert_eq!(heads, [2, 3, 4], "Connect was the first");
    let (mut admin, controller) = Host::admin(&target);
    admin.identify(cns::CONTROLLER, 0).ok();
    let mut without = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
    let attributes = ConnectAttributes::DISABLE_FLOW_CONTROL;
    let connect = Connect { queue: 1, entries: 128, attributes, keep_alive: 0 };
    without.run(FabricsCommand::Connect(connect).to_sqe(), data.as_bytes()).ok();
    assert!(without.read(0, 1).ok().cqe.is_none());
    assert_eq!(without.write(0, &[1; BLOCK]).ok().cqe.unwrap().sqhd.get(), 0);
}

#[test]
fn what_was_read_and_written_is_in_the_health_log() {
    let target = target();
    let (mut host, mut admin) = io_queue(&target, HostOffer::default());
    let smart = |admin: &mut Host| {
        let log = SmartLog::read_from_bytes(&admin.log(lid::SMART, 0, 512).ok().data).unwrap();
        [log.data_units_read, log.host_reads, log.data_units_written, log.host_writes].map(|count| count.get())
    };
    assert_eq!(smart(&mut admin), [0; 4]);
    host.write(0, &bytes(1, 2 * BLOCK)).ok();
    host.read(0, 200).ok();
    host.run(IoCommand::Flush.to_sqe(1), &[]).ok();
    host.run(IoCommand::WriteZeroes { range: range(0, 1), force_unit_access: false, deallocate: false }.to_sqe(1), &[])
        .ok();
    host.read(u64::MAX - 300, 200).expect(StatusCode::LbaOutOfRange);
    assert_eq!(smart(&mut admin), [1, 1, 1, 1]);
    for _ in 0..4 {
        host.read(0, 200).ok();
    }
    host.run(IoCommand::Verify { range: range(0, 1) }.to_sqe(1), &[]).ok();
    // Thousands of 512 bytes that were begun, over all queues, and after namespaces have changed.
    target.set_ana_state(&nqn("disk"), 2, 1, crate::command::AnaState::NonOptimized).unwrap();
    let (mut other, _admin) = io_queue(&target, HostOffer::default());
    other.read(0, 1).ok();
    admin.look(&target);
    assert_eq!(smart(&mut admin), [2, 7, 1, 1]);
    // Another subsystem has another log.
    target.add_subsystem(subsystem("other")).unwrap();
    let (mut elsewhere, _) = Host::admin_of(&target, &nqn("other"));
    assert_eq!(smart(&mut elsewhere), [0; 4]);
}

/// A medium that can be neither read nor written, and is not what anybody takes it for.
struct Broken;

#[derive(Default)]
struct BrokenBackend(Vec<Completion>);

impl Store for Broken {
    fn size(&self) -> u64 {
        BLOCKS * BLOCK as u64
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(BrokenBackend::default())
    }
}

impl Backend for BrokenBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let result = match operation {
            Operation::Read { .. } => Err(StatusCode::UnrecoveredRead),
            Operation::Write { .. } => Err(StatusCode::WriteFault),
            Operation::Compare { .. } => Err(StatusCode::CompareFailure),
            _ => Ok(()),
        };
        self.0.push(Completion { token, result, data: Payload::new() });
    }

    fn poll(&mut self) -> Option<Completion> {
        self.0.pop()
    }
}

#[test]
fn what_fails_is_in_the_error_log_of_the_controller() {
    let target = target();
    target.add_namespace(&nqn("disk"), Namespace { store: Arc::new(Broken), ..namespace(2) }).unwrap();
    let (mut admin, controller) = Host::admin(&target);
    let [mut one, mut two] = [1, 2].map(|queue| Host::io(&target, controller, queue, HostOffer::default()));
    let entries = |admin: &mut Host| {
        let log = admin.log(lid::ERROR, 0, 64 * 64).ok().data;
        let entries = log.chunks(64).map(|entry| ErrorEntry::read_from_bytes(entry).unwrap());
        entries.take_while(|entry| entry.error_count.get() > 0).collect::<Vec<_>>()
    };
    let counts = |admin: &mut Host| {
        let log = SmartLog::read_from_bytes(&admin.log(lid::SMART, 0, 512).ok().data).unwrap();
        (log.media_errors.get(), log.error_entries.get())
    };
    let read = |start| {
        let command = IoCommand::Read { range: range(start, 1), force_unit_access: false };
        command.to_sqe(2).with_sgl(Sgl::transport(512))
    };
    let write = IoCommand::Write { range: range(9, 1), force_unit_access: false };
    let write = write.to_sqe(2).with_sgl(Sgl::in_capsule(512));
    let cids = [one.submit(read(7), &[]), two.submit(read(BLOCKS), &[]), one.submit(write, &[0; 512])];
    one.finish(cids[0], &[]).unwrap().expect(StatusCode::UnrecoveredRead);
    two.finish(cids[1], &[]).unwrap().expect(StatusCode::LbaOutOfRange);
    one.finish(cids[2], &[]).unwrap().expect(StatusCode::WriteFault);
    // What succeeds, and what is found out or wanted, is no error.
    one.read(0, 1).ok();
    one.run(IoCommand::Flush.to_sqe(2), &[]).ok();
    let compare = IoCommand::Compare { range: range(0, 1) }.to_sqe(2).with_sgl(Sgl::in_capsule(512));
    one.run(compare, &[0; 512]).expect(StatusCode::CompareFailure);
    target.set_ana_state(&nqn("disk"), 1, 1, AnaState::Inaccessible).unwrap();
    two.look(&target);
    two.read(0, 1).expect(StatusCode::AnaInaccessible);
    admin.log(0x42, 0, 512).expect(StatusCode::InvalidLogPage);
    let found = entries(&mut admin).into_iter().map(|entry| {
        let code = Status::from_wire(entry.status.get()).code;
        (entry.error_count.get(), entry.sqid.get(), entry.lba.get(), entry.nsid.get(), code)
    });
    let expected = [
        (4, 0, 0, u32::MAX, StatusCode::InvalidLogPage),
        (3, 1, 9, 2, StatusCode::WriteFault),
        (2, 2, BLOCKS, 2, StatusCode::LbaOutOfRange),
        (1, 1, 7, 2, StatusCode::UnrecoveredRead),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let of_io: Vec<_> = entries(&mut admin)[1..].iter().map(|entry| entry.cid.get()).collect();
    assert_eq!(of_io, [cids[2], cids[1], cids[0]]);
    assert_eq!(counts(&mut admin), (2, 4));
    // The newest ones are kept, and a controller has its own.
    for _ in 0..100 {
        one.run(read(0), &[]).expect(StatusCode::UnrecoveredRead);
    }
    let kept = entries(&mut admin);
    assert_eq!((kept.len(), kept[0].error_count.get(), kept[63].error_count.get()), (64, 104, 41));
    assert_eq!(counts(&mut admin), (102, 104));
    assert_eq!(counts(&mut Host::admin(&target).0), (0, 0));
}

#[test]
fn the_other_commands() {
    let target = target();
    let (mut host, _admin) = io_queue(&target, HostOffer::default());
    let data = bytes(1, 8 * BLOCK);
    host.write(0, &data).ok();
    host.run(IoCommand::Flush.to_sqe(1), &[]).ok();
    host.run(IoCommand::Verify { range: range(0, 8) }.to_sqe(1), &[]).ok();
    let compare = |start| IoCommand::Compare { range: range(start, 8) }.to_sqe(1).with_sgl(Sgl::in_capsule(4096));
    host.run(compare(0), &data).ok();
    host.run(compare(1), &data).expect(StatusCode::CompareFailure);
    let zeroes = IoCommand::WriteZeroes { range: range(2, 2), force_unit_access: true, deallocate: false };
    host.run(zeroes.to_sqe(1), &[]).ok();
    assert_eq!(host.read(1, 4).ok().data, [&data[512..1024], &[0; 1024], &data[2048..2560]].concat());

    let ranges = [DatasetRange::new(range(0, 1)), DatasetRange::new(range(7, 1)), DatasetRange::new(range(9, 0))];
    let discard = IoCommand::DatasetManagement { ranges: 3, deallocate: true }.to_sqe(1).with_sgl(Sgl::in_capsule(48));
    host.run(discard, ranges.as_bytes()).ok();
    assert_eq!(host.read(0, 2).ok().data, [&[0; 512], &data[512..1024]].concat());
    let advice = IoCommand::DatasetManagement { ranges: 3, deallocate: false }.to_sqe(1).with_sgl(Sgl::in_capsule(48));
    host.run(advice, ranges.as_bytes()).ok();
    host.run(discard, [DatasetRange::new(range(BLOCKS, 1)); 3].as_bytes()).expect(StatusCode::LbaOutOfRange);

    // As Linux does it: room for all 256 ranges, and what is behind the announced ones does not count.
    let mut padded = DatasetRange::new(range(3, 1)).as_bytes().to_vec();
    padded.resize(4096, 0xff);
    let one = IoCommand::DatasetManagement { ranges: 1, deallocate: true }.to_sqe(1);
    host.run(one.with_sgl(Sgl::in_capsule(4096)), &padded).ok();
    host.run(one.with_sgl(Sgl::transport(4096)), &padded).ok();
    host.run(one.with_sgl(Sgl::in_capsule(8)), &padded[..8]).expect(StatusCode::InvalidDataSglLength);

    let sources = [CopyRange::new(range(4, 2)), CopyRange::new(range(1, 1))];
    let copy = |destination| IoCommand::Copy { destination, ranges: 2, format: 0, force_unit_access: false };
    host.run(copy(100).to_sqe(1).with_sgl(Sgl::in_capsule(64)), sources.as_bytes()).ok();
    assert_eq!(host.read(100, 3).ok().data, [&data[2048..3072], &data[512..1024]].concat());
    let beyond = copy(BLOCKS - 2).to_sqe(1).with_sgl(Sgl::in_capsule(64));
    host.run(beyond, sources.as_bytes()).expect(StatusCode::LbaOutOfRange);
    let everything = [CopyRange::new(range(0, 2048)), CopyRange::new(range(0, 1))];
    host.run(copy(0).to_sqe(1).with_sgl(Sgl::in_capsule(64)), everything.as_bytes()).expect(StatusCode::InvalidField);
}

#[test]
fn what_is_refused() {
    let target = target();
    target.add_namespace(&nqn("disk"), Namespace { read_only: true, ..namespace(2) }).unwrap();
    let (mut host, _admin) = io_queue(&target, HostOffer::default());
    host.read(BLOCKS, 1).expect(StatusCode::LbaOutOfRange);
    host.read(u64::MAX, 2).expect(StatusCode::LbaOutOfRange);
    host.write(BLOCKS - 1, &[0; 2 * BLOCK]).expect(StatusCode::LbaOutOfRange);
    host.write_by_r2t(BLOCKS - 1, &[0; 2 * BLOCK]).expect(StatusCode::LbaOutOfRange);
    let read = |nsid, length| {
        IoCommand::Read { range: range(0, 1), force_unit_access: false }.to_sqe(nsid).with_sgl(Sgl::transport(length))
    };
    for nsid in [0, 3, u32::MAX] {
        host.run(read(nsid, 512), &[]).expect(StatusCode::InvalidNamespace);
    }
    host.run(read(1, 511), &[]).expect(StatusCode::InvalidDataSglLength);
    assert_eq!(host.run(read(1, 1024), &[]).ok().data.len(), 512);
    let long = IoCommand::Read { range: range(0, 4000), force_unit_access: false };
    host.run(long.to_sqe(1).with_sgl(Sgl::transport(1 << 20)), &[]).expect(StatusCode::InvalidField);
    let write = IoCommand::Write { range: range(0, 1), force_unit_access: false };
    host.run(write.to_sqe(2).with_sgl(Sgl::in_capsule(512)), &[0; 512]).expect(StatusCode::NamespaceWriteProtected);
    host.run(write.to_sqe(1).with_sgl(Sgl::in_capsule(1024)), &[0; 1024]).expect(StatusCode::InvalidDataSglLength);
    let sqe = Sqe { flags: 0, ..write.to_sqe(1).with_sgl(Sgl::in_capsule(512)) };
    host.run(sqe, &[0; 512]).expect(StatusCode::InvalidField);
    for opcode in [0x7d, 0x10, 0x04] {
        host.run(Sqe::new(opcode, 1), &[]).expect(StatusCode::InvalidOpcode);
    }
    let copy = IoCommand::Copy { destination: 0, ranges: 200, format: 0, force_unit_access: false };
    host.run(copy.to_sqe(1).with_sgl(Sgl::in_capsule(6400)), &[0; 6400]).expect(StatusCode::InvalidField);
}

fn halves(start: u64, blocks: u32, sgl: fn(u32) -> Sgl) -> (Sqe, Sqe) {
    let compare = IoCommand::Compare { range: range(start, blocks) };
    let write = IoCommand::Write { range: range(start, blocks), force_unit_access: false };
    let sgl = sgl(blocks * BLOCK as u32);
    (compare.to_sqe(1).with_fuse(Fuse::First).with_sgl(sgl), write.to_sqe(1).with_fuse(Fuse::Second).with_sgl(sgl))
}

#[test]
fn compare_and_write() {
    let target = target();
    let (mut host, _admin) = io_queue(&target, HostOffer::default());
    let (old, new) = (vec![0; BLOCK], bytes(2, BLOCK));
    for sgl in [Sgl::in_capsule, Sgl::transport] {
        let (first, second) = halves(5, 1, sgl);
        let ids = (host.submit(first, &old), host.submit(second, &new));
        host.finish(ids.0, &old);
        host.finish(ids.1, &new).unwrap().ok();
        assert_eq!(host.read(5, 1).ok().data, new);
        let ids = (host.submit(first, &old), host.submit(second, &old));
        let answer = host.finish(ids.0, &old);
        let second = host.finish(ids.1, &old).unwrap();
        answer.or_else(|| host.finish(ids.0, &old)).unwrap().expect(StatusCode::CompareFailure);
        second.expect(StatusCode::AbortedFailedFuse);
        assert_eq!(host.read(5, 1).ok().data, new);
        host.write(5, &old).ok();
    }
    assert_eq!(host.connection.outstanding(), 0);
}

#[test]
fn halves_that_stand_alone() {
    let target = target();
    let (mut host, _admin) = io_queue(&target, HostOffer::default());
    let block = [0; BLOCK];
    let (first, second) = halves(5, 1, Sgl::in_capsule);
    host.run(second, &block).expect(StatusCode::AbortedMissingFuse);
    // Another command in between.
    let waiting = host.submit(first, &block);
    host.read(0, 1).ok();
    host.finish(waiting, &[]).unwrap().expect(StatusCode::AbortedMissingFuse);
    // Other blocks.
    let waiting = host.submit(first, &block);
    host.run(halves(6, 1, Sgl::in_capsule).1, &block).expect(StatusCode::AbortedMissingFuse);
    host.finish(waiting, &[]).unwrap().expect(StatusCode::AbortedMissingFuse);
    // A first half that fails takes the second with it, and the reverse.
    let wrong = halves(BLOCKS, 1, Sgl::in_capsule);
    host.run(wrong.0, &block).expect(StatusCode::LbaOutOfRange);
    host.run(second, &block).expect(StatusCode::AbortedFailedFuse);
    let waiting = host.submit(first, &block);
    host.run(wrong.1, &block).expect(StatusCode::LbaOutOfRange);
    host.finish(waiting, &[]).unwrap().expect(StatusCode::AbortedFailedFuse);
    // The first waits for its data when the other command comes.
    let asked = host.submit(halves(5, 1, Sgl::transport).0, &[]);
    host.read(0, 1).ok();
    host.finish(asked, &block).unwrap().expect(StatusCode::AbortedMissingFuse);
    let many = halves(0, 257, Sgl::transport);
    host.run(many.0, &[]).expect(StatusCode::AtomicWriteUnitExceeded);
    let read = IoCommand::Read { range: range(0, 1), force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(512));
    host.run(read.with_fuse(Fuse::First), &[]).expect(StatusCode::InvalidField);
    host.run(Sqe { flags: 0x43, ..read }, &[]).expect(StatusCode::InvalidField);
    assert_eq!(host.connection.outstanding(), 0);
}

#[test]
fn a_wrong_data_digest_fails_the_command_and_not_the_connection() {
    let target = target();
    let (mut host, _admin) = io_queue(&target, HostOffer { digests: Digests::BOTH, ..HostOffer::default() });
    let damage = |mut pdu: Vec<u8>| {
        *pdu.last_mut().unwrap() ^= 1;
        pdu
    };
    let sqe = |sgl, start| {
        let mut sqe = IoCommand::Write { range: range(start, 1), force_unit_access: false }.to_sqe(1).with_sgl(sgl);
        sqe.cid = 77.into();
        sqe
    };
    // In the capsule, also of a command that cannot be anyway.
    for start in [0, BLOCKS] {
        let capsule = CapsuleCmd { sqe: sqe(Sgl::in_capsule(512), start), data_len: 512 };
        let pdu = host.encode(&Pdu::CapsuleCmd(capsule), &[1; 512]);
        host.send_raw(damage(pdu));
        host.finish(77, &[]).unwrap().expect(StatusCode::TransientTransportError);
    }
    // By R2T, in the first of two PDUs.
    let capsule = CapsuleCmd { sqe: sqe(Sgl::transport(512), 0), data_len: 0 };
    host.send(&Pdu::CapsuleCmd(capsule), &[]);
    let Some((Pdu::R2t(r2t), ..)) = host.received.pop_front() else { panic!("no R2T") };
    let header = H2cData { cccid: 77, ttag: r2t.ttag, offset: 0, length: 256, last: false };
    let pdu = host.encode(&Pdu::H2cData(header), &[1; 256]);
    host.send_raw(damage(pdu));
    host.send(&Pdu::H2cData(H2cData { offset: 256, last: true, ..header }), &[1; 256]);
    host.finish(77, &[]).unwrap().expect(StatusCode::TransientTransportError);
    assert_eq!(host.read(0, 1).ok().data, [0; 512][..], "nothing was written");
}

#[test]
fn many_commands_at_once() {
    let target = target();
    let (mut host, _admin) = io_queue(&target, HostOffer::default());
    let blocks: Vec<_> = (0..128u64).map(|index| bytes(index, 4096)).collect();
    let mut stream = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let command = IoCommand::Write { range: range(index as u64 * 8, 8), force_unit_access: false };
        let mut sqe = command.to_sqe(1).with_sgl(Sgl::in_capsule(4096));
        // As Linux numbers them: a generation above the index.
        sqe.cid = (0x3000 | index as u16).into();
        stream.extend(host.encode(&Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len: 4096 }), block));
    }
    let stream = Bytes::from(stream);
    for start in (0..stream.len()).step_by(1448) {
        host.connection.receive(host.now, stream.slice(start..stream.len().min(start + 1448)));
    }
    assert_eq!(host.connection.outstanding(), 128);
    host.pump();
    assert_eq!(host.received.len(), 128);
    host.received.clear();
    for (index, block) in blocks.iter().enumerate() {
        assert_eq!(host.read(index as u64 * 8, 8).ok().data, *block);
    }
}
