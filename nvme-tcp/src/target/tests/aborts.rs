//! What Abort ends, and what goes on.

use zerocopy::FromBytes;

use super::fences::{World, assert_ended, assert_waits, preempt_and_abort, submit_only, write, write_of};
use super::*;

/// An admin queue, and an I/O queue of its controller.
fn connected(config: TargetConfig) -> (World, Host, Host) {
    let mut world = World::with(config);
    let io = world.queue(1);
    let admin = world.admins.pop().unwrap();
    (world, admin, io)
}

/// Asks for the end of a command; returns the CID of the Abort.
fn abort(admin: &mut Host, queue: u16, cid: u16) -> u16 {
    admin.submit(AdminCommand::Abort { queue, cid }.to_sqe(0), &[])
}

/// Whether an Abort that is answered has ended its command.
#[track_caller]
fn has_aborted(admin: &mut Host, abort: u16) -> bool {
    match admin.finish(abort, &[]).expect("it is answered").ok().result {
        0 => true,
        1 => false,
        other => panic!("{other:#x}"),
    }
}

#[track_caller]
fn assert_aborted(host: &mut Host, cid: u16) {
    host.finish(cid, &[]).expect("it has ended").expect(StatusCode::AbortedByRequest);
}

fn compare() -> Sqe {
    let range = BlockRange { start: 0, count: 1 };
    IoCommand::Compare { range }.to_sqe(1).with_fuse(Fuse::First).with_sgl(Sgl::in_capsule(BLOCK as u32))
}

#[test]
fn what_no_store_has_begun_is_aborted() {
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    let before = submit_only(&mut io, write_of(1, Fuse::Normal));
    let queued = submit_only(&mut io, write_of(1, Fuse::Normal));
    let asking = abort(&mut admin, 1, queued);
    assert_waits(&mut admin, asking);
    admin.run(AdminCommand::KeepAlive.to_sqe(0), &[]).ok();
    world.look([&mut admin, &mut io]);
    assert!(has_aborted(&mut admin, asking));
    assert_aborted(&mut io, queued);
    assert_eq!(world.begun(), [1, 0], "the other one has reached the store");
    world.end_write(1, &mut io);
    assert_ended(&mut io, before);
    assert_eq!((admin.connection.outstanding(), io.connection.outstanding()), (0, 0));
}

#[test]
fn what_a_store_has_begun_goes_on() {
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    let running = write(&mut io, 1);
    let asking = abort(&mut admin, 1, running);
    world.look([&mut admin, &mut io]);
    assert!(!has_aborted(&mut admin, asking));
    assert_waits(&mut io, running);
    world.end_write(1, &mut io);
    assert_ended(&mut io, running);
    // And what has ended has ended.
    let asking = abort(&mut admin, 1, running);
    world.look([&mut admin, &mut io]);
    assert!(!has_aborted(&mut admin, asking));
}

#[test]
fn what_waits_for_its_data_ends_when_that_is_out_of_the_way() {
    const LENGTH: usize = 16 * 1024;
    let (world, mut admin, mut io) = connected(TargetConfig { max_r2t_length: 4096, ..TargetConfig::default() });
    let range = BlockRange { start: 0, count: (LENGTH / BLOCK) as u32 };
    let write = IoCommand::Write { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(LENGTH as u32));
    let waiting = io.submit(write, &[]);
    let Some((Pdu::R2t(r2t), ..)) = io.received.pop_front() else { panic!("no R2T") };
    assert_eq!((r2t.length, io.received.len()), (4096, 0));
    let asking = [abort(&mut admin, 1, waiting), abort(&mut admin, 1, waiting)];
    world.look([&mut admin, &mut io]);
    asking.iter().for_each(|asking| assert_waits(&mut admin, *asking));
    assert_waits(&mut io, waiting);
    io.answer_r2t(&r2t, &[1; LENGTH]);
    // It is not asked for the rest.
    assert_aborted(&mut io, waiting);
    world.look([&mut admin, &mut io]);
    asking.into_iter().for_each(|asking| assert!(has_aborted(&mut admin, asking)));
    assert_eq!((io.connection.state(), io.connection.outstanding(), world.begun()), (ConnectionState::Io, 0, [0, 0]));
    let again = io.submit(write, &[]);
    assert!(matches!(io.received.front(), Some((Pdu::R2t(_), ..))), "there is room as before");
    assert!(io.finish(again, &[1; LENGTH]).is_none(), "the store has it");
    world.end_write(1, &mut io);
    assert_ended(&mut io, again);
}

#[test]
fn what_waits_for_its_turn_is_aborted() {
    const LENGTH: usize = 1 << 20;
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    let range = BlockRange { start: 0, count: (LENGTH / BLOCK) as u32 };
    let write = IoCommand::Write { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(LENGTH as u32));
    let most = world.target.config().max_inbound / LENGTH as u64;
    for _ in 0..most {
        io.submit(write, &[]);
    }
    let unasked = io.submit(write, &[]);
    let read = IoCommand::Read { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(LENGTH as u32));
    let most = world.target.config().max_outbound / LENGTH as u64;
    for _ in 0..most {
        submit_only(&mut io, read);
    }
    let held = submit_only(&mut io, read);
    let asking = [abort(&mut admin, 1, unasked), abort(&mut admin, 1, held)];
    world.look([&mut admin, &mut io]);
    asking.into_iter().for_each(|asking| assert!(has_aborted(&mut admin, asking)));
    assert_aborted(&mut io, unasked);
    assert_aborted(&mut io, held);
}

#[test]
fn a_half_of_a_fused_operation_takes_the_other_along() {
    for aborted in [0, 1] {
        let (world, mut admin, mut io) = connected(TargetConfig::default());
        let halves = [submit_only(&mut io, compare()), submit_only(&mut io, write_of(1, Fuse::Second))];
        let asking = abort(&mut admin, 1, halves[aborted]);
        world.look([&mut admin, &mut io]);
        assert!(has_aborted(&mut admin, asking));
        assert_aborted(&mut io, halves[aborted]);
        io.finish(halves[1 - aborted], &[]).expect("it has ended").expect(StatusCode::AbortedFailedFuse);
        assert_eq!((world.begun(), io.connection.outstanding()), ([0, 0], 0));
    }
    // The other half has not come yet.
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    let first = submit_only(&mut io, compare());
    let asking = abort(&mut admin, 1, first);
    world.look([&mut admin, &mut io]);
    assert!(has_aborted(&mut admin, asking));
    assert_aborted(&mut io, first);
    io.run(write_of(1, Fuse::Second), &[1; BLOCK]).expect(StatusCode::AbortedFailedFuse);
    assert_eq!(world.begun(), [0, 0]);
}

#[test]
fn what_is_not_there_is_not_aborted() {
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    let unknown = abort(&mut admin, 1, 0x1234);
    world.look([&mut admin, &mut io]);
    assert!(!has_aborted(&mut admin, unknown));
    let generation = world.target.generation();
    for (queue, cid) in [(2, 1), (u16::MAX, 1), (0, 0x1234)] {
        let unknown = abort(&mut admin, queue, cid);
        assert!(!has_aborted(&mut admin, unknown), "queue {queue}");
    }
    assert_eq!(world.target.generation(), generation, "nobody has to look");
}

#[test]
fn a_queue_that_goes_holds_up_no_abort() {
    for has_looked in [false, true] {
        let (world, mut admin, mut io) = connected(TargetConfig::default());
        let waiting = io.submit(write_of(1, Fuse::Normal).with_sgl(Sgl::transport(BLOCK as u32)), &[]);
        let asking = abort(&mut admin, 1, waiting);
        if has_looked {
            world.look([&mut admin, &mut io]);
        }
        assert_waits(&mut admin, asking);
        drop(io);
        world.look([&mut admin]);
        // The store never gets it; but if the queue has not looked, nobody has aborted it.
        assert_eq!(has_aborted(&mut admin, asking), has_looked);
        assert_eq!(admin.connection.outstanding(), 0);
    }
}

#[test]
fn admin_commands_are_aborted() {
    let (_world, mut admin, _io) = connected(TargetConfig::default());
    let behavior = AdminCommand::SetFeatures { feature: fid::HOST_BEHAVIOR, save: false, value: 0 };
    let waiting = admin.submit(behavior.to_sqe(0).with_sgl(Sgl::transport(512)), &[]);
    let asking = abort(&mut admin, 0, waiting);
    assert_waits(&mut admin, asking);
    admin.finish(waiting, &[1; 512]).expect("its data was out of the way").expect(StatusCode::AbortedByRequest);
    assert!(has_aborted(&mut admin, asking));
    let get = AdminCommand::GetFeatures { feature: fid::HOST_BEHAVIOR, select: 0, value: 0 };
    let kept = admin.run(get.to_sqe(0).with_sgl(Sgl::transport(512)), &[]).ok().data;
    assert_eq!(kept, [0; 512][..], "it was not executed");
    // The Abort is told after the end of what it has aborted.
    let request = admin.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[]);
    let asking = abort(&mut admin, 0, request);
    let ended = |(pdu, ..): &Received| match pdu {
        Pdu::CapsuleResp(capsule) => capsule.cqe.cid.get(),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(admin.received.iter().map(ended).collect::<Vec<_>>(), [request, asking]);
    assert_aborted(&mut admin, request);
    assert!(has_aborted(&mut admin, asking));
    assert_eq!(admin.connection.outstanding(), 0);
}

#[test]
fn an_abort_is_not_aborted() {
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    // The next command is an Abort of itself.
    let own = admin.submit(AdminCommand::KeepAlive.to_sqe(0), &[]).wrapping_add(1);
    assert_eq!(abort(&mut admin, 0, own), own);
    assert!(!has_aborted(&mut admin, own));
    let first = abort(&mut admin, 1, 0x1234);
    let second = abort(&mut admin, 0, first);
    assert!(!has_aborted(&mut admin, second));
    world.look([&mut admin, &mut io]);
    assert!(!has_aborted(&mut admin, first));
}

#[test]
fn a_preempt_and_abort_that_waits_is_not_aborted() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let mut admin = world.admins.pop().unwrap();
    write(&mut one, 1);
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two, &mut admin]);
    let asking = abort(&mut admin, 1, fencing);
    world.look([&mut one, &mut two, &mut admin]);
    assert!(!has_aborted(&mut admin, asking));
    assert_waits(&mut two, fencing);
    world.end_write(1, &mut one);
    world.look([&mut one, &mut two, &mut admin]);
    assert_ended(&mut two, fencing);
}

#[test]
fn so_many_aborts_and_no_more() {
    let (world, mut admin, mut io) = connected(TargetConfig::default());
    let identify = admin.identify(cns::CONTROLLER, 0).ok();
    let most = u16::from(IdentifyController::read_from_prefix(&identify.data).unwrap().0.acl) + 1;
    assert_eq!(most, 4);
    for _ in 0..2 {
        let asking: Vec<_> = (0..most).map(|cid| abort(&mut admin, 1, cid)).collect();
        let further = AdminCommand::Abort { queue: 1, cid: 9 }.to_sqe(0);
        admin.run(further, &[]).expect(StatusCode::AbortLimitExceeded);
        world.look([&mut admin, &mut io]);
        asking.into_iter().for_each(|asking| assert!(!has_aborted(&mut admin, asking)));
    }
}
