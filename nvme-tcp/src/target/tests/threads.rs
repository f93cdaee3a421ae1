//! Queues of one controller on threads of their own, while the target changes beneath them.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;

const fn assert_send<T: Send>() {}
const fn assert_sync<T: Sync>() {}
// A connection may be accepted by one thread and driven by another.
const _: () = (assert_send::<Connection>(), assert_send::<Submission>(), assert_sync::<Target>()).0;

const THREADS: u16 = 3;

/// Writes and reads a part of the namespace that is the queue's own.
fn exercise(target: &Arc<Target>, controller: u16, queue: u16) {
    let mut rng = StdRng::seed_from_u64(queue.into());
    let mut host = Host::io(target, controller, queue, HostOffer { digests: Digests::BOTH, ..HostOffer::default() });
    let start = u64::from(queue) * 1000;
    for _ in 0..300 {
        host.look(target);
        let mut data = vec![0; rng.random_range(1..64) * BLOCK];
        rng.fill_bytes(&mut data);
        let at = start + rng.random_range(0..900);
        if data.len() <= 16 * 1024 && rng.random() {
            host.write(at, &data).ok();
        } else {
            host.write_by_r2t(at, &data).ok();
        }
        assert_eq!(host.read(at, (data.len() / BLOCK) as u32).ok().data, data);
    }
}

#[test]
fn queues_on_several_threads() {
    let target = target();
    let (mut admin, controller) = Host::admin(&target);
    admin.set_feature(fid::ASYNC_EVENTS, EventMask::NAMESPACE_ATTRIBUTES.0).ok();
    let running = AtomicUsize::new(usize::from(THREADS));
    let mut events = 0;
    std::thread::scope(|scope| {
        for queue in 1..=THREADS {
            let (target, running) = (&target, &running);
            scope.spawn(move || {
                // Also if the thread fails, so that the others come to an end.
                struct Leave<'a>(&'a AtomicUsize);
                impl Drop for Leave<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::Release);
                    }
                }
                let _leave = Leave(running);
                exercise(target, controller, queue);
            });
        }
        let mut request = admin.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[]);
        loop {
            target.add_namespace(&nqn("disk"), namespace(9)).unwrap();
            target.set_ana_state(&nqn("disk"), 1, 7, AnaState::Inaccessible).unwrap();
            target.remove_namespace(&nqn("disk"), 9).unwrap();
            target.add_namespace(&nqn("disk"), namespace(8)).unwrap();
            admin.look(&target);
            target.remove_namespace(&nqn("disk"), 8).unwrap();
            admin.look(&target);
            if let Some(answer) = admin.finish(request, &[]) {
                assert_eq!(AsyncEvent::from_bits(answer.ok().result as u32), AsyncEvent::NAMESPACES_CHANGED);
                admin.log(lid::CHANGED_NAMESPACES, 0, 4096).ok();
                request = admin.submit(AdminCommand::AsyncEventRequest.to_sqe(0), &[]);
                events += 1;
            }
            if running.load(Ordering::Acquire) == 0 {
                break;
            }
        }
    });
    assert!(events > 0);
    assert_eq!(target.controllers(), 1);
}

#[test]
fn an_idle_connection_is_small() {
    // With what is allocated at the first command (16 KiB at most), ten thousand of them take less than 200 MB.
    assert!(size_of::<Connection>() <= 3 * 1024, "{} bytes", size_of::<Connection>());
}
