//! What Preempt and Abort waits for, and what it aborts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A store that ends as many writes as it is told to, and everything else at once.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<AtomicUsize>,
    may_end: Arc<AtomicUsize>,
}

#[derive(Default)]
struct SlowBackend {
    store: Slow,
    writes: VecDeque<Token>,
    done: VecDeque<Token>,
}

impl Store for Slow {
    fn size(&self) -> u64 {
        BLOCKS * BLOCK as u64
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(SlowBackend { store: self.clone(), ..SlowBackend::default() })
    }
}

impl Backend for SlowBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        if matches!(operation, Operation::Write { .. } | Operation::CompareAndWrite { .. }) {
            self.store.begun.fetch_add(1, Ordering::Relaxed);
            self.writes.push_back(token);
        } else {
            self.done.push_back(token);
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        let may = &self.store.may_end;
        if self.writes.front().is_some()
            && may.try_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
        {
            self.done.extend(self.writes.pop_front());
        }
        let token = self.done.pop_front()?;
        Some(Completion { token, result: Ok(()), data: Payload::new() })
    }
}

/// A target in which writes to the namespaces 1 and 2 are slow.
pub(super) struct World {
    pub(super) target: Arc<Target>,
    stores: [Slow; 2],
    pub(super) admins: Vec<Host>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(TargetConfig::default())
    }

    pub(super) fn with(config: TargetConfig) -> Self {
        let target = Target::new(config).unwrap();
        target.add_subsystem(subsystem("disk")).unwrap();
        let stores = [Slow::default(), Slow::default()];
        for (nsid, store) in (1..).zip(&stores) {
            target
                .add_namespace(&nqn("disk"), Namespace { store: Arc::new(store.clone()), ..namespace(nsid) })
                .unwrap();
        }
        Self { target, stores, admins: Vec::new() }
    }

    /// An I/O queue of a host that registers with `key` at namespace 1.
    pub(super) fn host(&mut self, host: u8, key: u64) -> Host {
        let mut queue = self.queue(host);
        register(&mut queue, key);
        queue
    }

    pub(super) fn queue(&mut self, host: u8) -> Host {
        let mut admin = Host::initialized(&self.target, HostOffer::default());
        let name = nqn(&format!("host{host}"));
        let data = |controller| ConnectData::new([host; 16], controller, &nqn("disk"), &name);
        let controller = admin.connect(0, 32, &data(ANY_CONTROLLER)).ok().result as u16;
        admin.set(Property::Configuration, 0x46_0001).ok();
        self.admins.push(admin);
        let mut queue = Host::initialized(&self.target, HostOffer::default());
        queue.connect(1, 128, &data(controller)).ok();
        queue
    }

    /// Has all look at the target until nothing changes any more.
    pub(super) fn look<const N: usize>(&self, mut hosts: [&mut Host; N]) {
        while hosts.iter().any(|host| host.generation != self.target.generation()) {
            hosts.iter_mut().for_each(|host| host.look(&self.target));
        }
    }

    /// Lets one write to a namespace of this host end.
    pub(super) fn end_write(&self, nsid: usize, host: &mut Host) {
        self.stores[nsid - 1].may_end.fetch_add(1, Ordering::Relaxed);
        host.pump();
        assert_eq!(self.stores[nsid - 1].may_end.load(Ordering::Relaxed), 0, "there was one");
    }

    pub(super) fn begun(&self) -> [usize; 2] {
        self.stores.each_ref().map(|store| store.begun.load(Ordering::Relaxed))
    }
}

fn register(host: &mut Host, key: u64) {
    let (action, persist) = (RegisterAction::Register, None);
    let command = IoCommand::ReservationRegister { action, ignore_key: false, persist };
    let keys = RegisterKeys { current: 0.into(), new: key.into() };
    host.run(command.to_sqe(1).with_sgl(Sgl::in_capsule(16)), keys.as_bytes()).ok();
}

/// Acquires the reservation, or shuts out who has registered with `preempt`.
fn acquire(host: &mut Host, action: AcquireAction, key: u64, preempt: u64) -> u16 {
    let kind = Some(ReservationType::WriteExclusive);
    let command = IoCommand::ReservationAcquire { action, ignore_key: false, kind };
    let keys = AcquireKeys { current: key.into(), preempt: preempt.into() };
    host.submit(command.to_sqe(1).with_sgl(Sgl::in_capsule(16)), keys.as_bytes())
}

pub(super) fn preempt_and_abort(host: &mut Host, key: u64, preempted: u64) -> u16 {
    acquire(host, AcquireAction::PreemptAndAbort, key, preempted)
}

pub(super) fn write_of(nsid: u32, fuse: Fuse) -> Sqe {
    let range = BlockRange { start: 0, count: 1 };
    let command = IoCommand::Write { range, force_unit_access: false };
    command.to_sqe(nsid).with_fuse(fuse).with_sgl(Sgl::in_capsule(BLOCK as u32))
}

pub(super) fn write(host: &mut Host, nsid: u32) -> u16 {
    host.submit(write_of(nsid, Fuse::Normal), &[1; BLOCK])
}

/// Has a command come that nothing is done about yet.
pub(super) fn submit_only(host: &mut Host, mut sqe: Sqe) -> u16 {
    host.cid = host.cid.wrapping_add(1);
    sqe.cid = host.cid.into();
    let data: &[u8] = if sqe.sgl.placement() == Some(Placement::InCapsule) { &[1; BLOCK] } else { &[] };
    let capsule = CapsuleCmd { sqe, data_len: data.len() as u32 };
    let bytes = host.encode(&Pdu::CapsuleCmd(capsule), data);
    host.connection.receive(host.now, bytes.into());
    host.cid
}

#[track_caller]
pub(super) fn assert_waits(host: &mut Host, cid: u16) {
    assert!(host.finish(cid, &[]).is_none(), "it waits");
}

#[track_caller]
pub(super) fn assert_ended(host: &mut Host, cid: u16) {
    host.finish(cid, &[]).expect("it has ended").ok();
}

#[test]
fn nothing_under_way_is_not_waited_for() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let mut idle = world.queue(1);
    let acquiring = acquire(&mut one, AcquireAction::Acquire, 11, 0);
    assert_ended(&mut one, acquiring);
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two, &mut idle]);
    assert_ended(&mut two, fencing);
    one.write(0, &[1; BLOCK]).expect(StatusCode::ReservationConflict);
    // And without any queue there is nobody to ask.
    register(&mut one, 11);
    drop((one, idle));
    let fencing = preempt_and_abort(&mut two, 22, 11);
    assert_ended(&mut two, fencing);
}

#[test]
fn what_a_store_has_begun_is_waited_for() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let mut other_queue = world.queue(1);
    let writes = [write(&mut one, 1), write(&mut one, 1)];
    let third = write(&mut other_queue, 1);
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two, &mut other_queue]);
    assert_waits(&mut two, fencing);
    two.run(IoCommand::Flush.to_sqe(1), &[]).expect(StatusCode::Success);
    world.end_write(1, &mut one);
    world.end_write(1, &mut other_queue);
    world.look([&mut one, &mut two, &mut other_queue]);
    assert_waits(&mut two, fencing);
    world.end_write(1, &mut one);
    world.look([&mut one, &mut two, &mut other_queue]);
    assert_ended(&mut two, fencing);
    writes.into_iter().for_each(|cid| assert_ended(&mut one, cid));
    assert_ended(&mut other_queue, third);
}

#[test]
fn others_and_plain_preemption_wait_for_nothing() {
    let mut world = World::new();
    let (mut one, mut two, mut three) = (world.host(1, 11), world.host(2, 22), world.host(3, 33));
    let elsewhere = write(&mut one, 2);
    let of_another = write(&mut three, 1);
    let own = write(&mut two, 1);
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two, &mut three]);
    assert_ended(&mut two, fencing);
    let preempting = acquire(&mut two, AcquireAction::Preempt, 22, 33);
    assert_ended(&mut two, preempting);
    world.end_write(2, &mut one);
    world.end_write(1, &mut two);
    world.end_write(1, &mut three);
    for (host, cid) in [(&mut one, elsewhere), (&mut two, own), (&mut three, of_another)] {
        assert_ended(host, cid);
    }
}

#[test]
fn what_has_not_begun_is_aborted() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let by_r2t = one.submit(write_of(1, Fuse::Normal).with_sgl(Sgl::transport(BLOCK as u32)), &[]);
    let range = BlockRange { start: 0, count: 1 };
    let compare = IoCommand::Compare { range }.to_sqe(1).with_fuse(Fuse::First);
    let queued = submit_only(&mut one, write_of(1, Fuse::Normal));
    let first = submit_only(&mut one, compare.with_sgl(Sgl::in_capsule(BLOCK as u32)));
    let second = submit_only(&mut one, write_of(1, Fuse::Second));
    let elsewhere = submit_only(&mut one, write_of(2, Fuse::Normal));
    let half = submit_only(&mut one, compare.with_sgl(Sgl::in_capsule(BLOCK as u32)));
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two]);
    assert_ended(&mut two, fencing);
    for cid in [queued, first, second, half] {
        one.finish(cid, &[]).expect("it has ended").expect(StatusCode::AbortedByPreempt);
    }
    one.finish(by_r2t, &[1; BLOCK]).expect("its data was out of the way").expect(StatusCode::AbortedByPreempt);
    let late = submit_only(&mut one, write_of(1, Fuse::Second));
    one.pump();
    one.finish(late, &[]).expect("it has ended").expect(StatusCode::AbortedFailedFuse);
    assert_eq!(world.begun(), [0, 1], "nothing has reached the store");
    world.end_write(2, &mut one);
    assert_ended(&mut one, elsewhere);
    assert_eq!(one.connection.outstanding(), 0);
}

#[test]
fn what_was_not_asked_for_its_data_is_aborted_without() {
    const LENGTH: usize = 1 << 20;
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let range = BlockRange { start: 0, count: (LENGTH / BLOCK) as u32 };
    let write = IoCommand::Write { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(LENGTH as u32));
    let most = world.target.config().max_inbound / LENGTH as u64;
    let asked: Vec<_> = (0..most).map(|_| one.submit(write, &[])).collect();
    let unasked = [one.submit(write, &[]), one.submit(write, &[])];
    assert_eq!(one.received.len(), asked.len(), "an R2T each");
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two]);
    assert_ended(&mut two, fencing);
    for cid in unasked {
        one.finish(cid, &[]).expect("it has ended").expect(StatusCode::AbortedByPreempt);
    }
    let data = vec![1; LENGTH];
    for cid in asked {
        one.finish(cid, &data).expect("its data was out of the way").expect(StatusCode::AbortedByPreempt);
    }
    assert!(one.received.is_empty(), "{:?}", one.received);
    assert_eq!((one.connection.outstanding(), world.begun()), (0, [0, 0]));
}

#[test]
fn what_waits_until_data_has_left_is_aborted() {
    const LENGTH: usize = 1 << 20;
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let range = BlockRange { start: 0, count: (LENGTH / BLOCK) as u32 };
    let read = IoCommand::Read { range, force_unit_access: false }.to_sqe(1).with_sgl(Sgl::transport(LENGTH as u32));
    let most = world.target.config().max_outbound / LENGTH as u64;
    let reads: Vec<_> = (0..most + 2).map(|_| submit_only(&mut one, read)).collect();
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two]);
    assert_ended(&mut two, fencing);
    for cid in reads {
        one.finish(cid, &[]).expect("it has ended").expect(StatusCode::AbortedByPreempt);
    }
    assert!(one.received.is_empty(), "{:?}", one.received);
    assert_eq!(one.connection.outstanding(), 0);
}

#[test]
fn fused_operations_that_have_begun_count_once() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let range = BlockRange { start: 0, count: 1 };
    let compare = IoCommand::Compare { range }.to_sqe(1).with_fuse(Fuse::First);
    let first = one.submit(compare.with_sgl(Sgl::in_capsule(BLOCK as u32)), &[0; BLOCK]);
    let second = one.submit(write_of(1, Fuse::Second), &[1; BLOCK]);
    let fencing = preempt_and_abort(&mut two, 22, 11);
    world.look([&mut one, &mut two]);
    assert_waits(&mut two, fencing);
    assert!(one.connection.has_operations());
    world.end_write(1, &mut one);
    assert!(!one.connection.has_operations());
    world.look([&mut one, &mut two]);
    assert_ended(&mut two, fencing);
    [first, second].into_iter().for_each(|cid| assert_ended(&mut one, cid));
}

#[test]
fn operations_of_lost_connections_count_until_they_end() {
    for is_lost_first in [true, false] {
        let mut world = World::new();
        let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
        write(&mut one, 1);
        submit_only(&mut one, write_of(1, Fuse::Normal));
        if is_lost_first {
            one.connection.close();
        }
        let fencing = preempt_and_abort(&mut two, 22, 11);
        world.look([&mut one, &mut two]);
        one.connection.close();
        assert!(one.connection.has_operations());
        world.look([&mut one, &mut two]);
        assert_waits(&mut two, fencing);
        world.end_write(1, &mut one);
        assert!(!one.connection.has_operations());
        world.look([&mut one, &mut two]);
        assert_ended(&mut two, fencing);
        assert_eq!(world.begun(), [1, 0]);
    }
}

#[test]
fn a_connection_that_is_dropped_holds_up_nobody() {
    for is_lost_first in [true, false] {
        let mut world = World::new();
        let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
        write(&mut one, 1);
        let fencing = preempt_and_abort(&mut two, 22, 11);
        if !is_lost_first {
            world.look([&mut one, &mut two]);
        }
        assert_waits(&mut two, fencing);
        drop(one);
        world.look([&mut two]);
        assert_ended(&mut two, fencing);
    }
}

#[test]
fn each_of_two_at_once_waits_for_its_own() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    let (mut three, mut four) = (world.host(3, 33), world.host(4, 44));
    write(&mut one, 1);
    write(&mut four, 1);
    let by_two = preempt_and_abort(&mut two, 22, 11);
    let by_three = preempt_and_abort(&mut three, 33, 44);
    // Who is shut out shuts out nobody.
    let by_four = preempt_and_abort(&mut four, 44, 33);
    four.finish(by_four, &[]).expect("it has ended").expect(StatusCode::ReservationConflict);
    world.look([&mut one, &mut two, &mut three, &mut four]);
    world.end_write(1, &mut four);
    world.look([&mut one, &mut two, &mut three, &mut four]);
    assert_waits(&mut two, by_two);
    assert_ended(&mut three, by_three);
    // Whoever comes back while his write is still under way is shut out with it again.
    register(&mut one, 11);
    let again = preempt_and_abort(&mut three, 33, 11);
    world.look([&mut one, &mut two, &mut three, &mut four]);
    assert_waits(&mut two, by_two);
    assert_waits(&mut three, again);
    world.end_write(1, &mut one);
    world.look([&mut one, &mut two, &mut three, &mut four]);
    assert_ended(&mut two, by_two);
    assert_ended(&mut three, again);
}

#[test]
fn who_shuts_itself_out_waits_for_its_own_commands() {
    let mut world = World::new();
    let (mut two, mut three) = (world.host(2, 22), world.host(3, 22));
    let writes = [write(&mut two, 1), write(&mut two, 1)];
    let fencing = preempt_and_abort(&mut two, 22, 22);
    world.look([&mut two, &mut three]);
    assert_waits(&mut two, fencing);
    world.end_write(1, &mut two);
    world.look([&mut two, &mut three]);
    assert_waits(&mut two, fencing);
    world.end_write(1, &mut two);
    world.look([&mut two, &mut three]);
    writes.into_iter().chain([fencing]).for_each(|cid| assert_ended(&mut two, cid));
}

#[test]
fn what_nobody_waits_for_is_not_kept() {
    let mut world = World::new();
    let (mut one, mut two) = (world.host(1, 11), world.host(2, 22));
    write(&mut one, 1);
    for _ in 0..10 {
        let fencing = preempt_and_abort(&mut two, 22, 11);
        world.look([&mut one, &mut two]);
        assert_waits(&mut two, fencing);
        assert_eq!(one.connection.shares.len(), 1);
        two = world.queue(2);
        register(&mut one, 11);
    }
}
