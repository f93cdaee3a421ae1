//! Paths that fail, and what becomes of commands.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use zerocopy::IntoBytes;

use super::*;
use crate::command::{AnaGroup, AnaHeader, BlockRange, IoCommand};
use crate::host::CommandId;

const NOW: Duration = Duration::from_secs(1);
const RANGE: BlockRange = BlockRange { start: 0, count: 1 };

fn write(token: u64) -> Request<u64> {
    Request::new(IoCommand::Write { range: RANGE, force_unit_access: false }.to_sqe(1), token)
}

fn compare(token: u64) -> Request<u64> {
    Request::new(IoCommand::Compare { range: RANGE }.to_sqe(1), token)
}

fn ana(state: AnaState) -> AnaStates {
    let mut log = AnaHeader::new(1, 1).as_bytes().to_vec();
    log.extend_from_slice(AnaGroup::new(1, 0, 1, state).as_bytes());
    AnaStates::read(&log)
}

/// With this many live paths, whose distance grows.
fn multipath(policy: Policy, paths: u32) -> (Multipath<u64>, Vec<PathId>) {
    let mut multipath = Multipath::new(policy, 100);
    multipath.set_namespace(1, 1);
    let ids: Vec<_> = (0..paths).map(|distance| multipath.add_path(distance)).collect();
    for id in &ids {
        multipath.set_state(*id, PathState::Live);
        multipath.set_ana(*id, ana(AnaState::Optimized));
    }
    (multipath, ids)
}

fn end(multipath: &mut Multipath<u64>, request: Request<Ticket<u64>>, outcome: Outcome) {
    multipath.complete(Completion { id: CommandId(1), outcome, request }, NOW);
}

fn answered(code: StatusCode) -> Outcome {
    Outcome::Answered { status: code.into(), result: 0 }
}

/// Submits commands, and tells which paths they take.
fn taken(multipath: &mut Multipath<u64>, ids: &[PathId], count: u64) -> Vec<usize> {
    (0..count)
        .map(|token| {
            multipath.submit(write(token)).unwrap();
            let index = ids.iter().position(|id| multipath.paths[id].backlog.len() == 1).expect("a path is taken");
            drop(multipath.next_for(ids[index]));
            index
        })
        .collect()
}

#[test]
fn policies() {
    let (mut numa, ids) = multipath(Policy::Numa, 3);
    assert_eq!(taken(&mut numa, &ids, 5), [0, 0, 0, 0, 0]);
    let (mut robin, ids) = multipath(Policy::RoundRobin, 3);
    assert_eq!(taken(&mut robin, &ids, 5), [0, 1, 2, 0, 1]);
    let (mut depth, ids) = multipath(Policy::QueueDepth, 3);
    assert!(!depth.has_carried(1));
    assert_eq!(taken(&mut depth, &ids, 4), [0, 1, 2, 0]);
    assert_eq!(depth.in_flight(ids[0]), 2);
    assert!(depth.has_carried(1) && !depth.has_carried(2));
    depth.submit(write(9)).unwrap();
    let request = depth.next_for(ids[1]).unwrap();
    end(&mut depth, request, answered(StatusCode::Success));
    assert_eq!(depth.in_flight(ids[1]), 1);
    assert_eq!(depth.poll_finished().unwrap().request.token, 9);
}

#[test]
fn ana_states_come_first() {
    for policy in Policy::ALL {
        let (mut multipath, ids) = multipath(policy, 3);
        multipath.set_ana(ids[0], ana(AnaState::NonOptimized));
        multipath.set_ana(ids[1], ana(AnaState::Inaccessible));
        assert_eq!(taken(&mut multipath, &ids, 3), [2, 2, 2], "{policy}");
        multipath.set_ana(ids[2], ana(AnaState::Change));
        assert_eq!(taken(&mut multipath, &ids, 2), [0, 0], "{policy}");
        multipath.set_ana(ids[0], ana(AnaState::Inaccessible));
        multipath.submit(write(7)).unwrap();
        assert!(ids.iter().all(|id| multipath.next_for(*id).is_none()), "{policy}: it waits");
        multipath.set_ana(ids[1], ana(AnaState::NonOptimized));
        assert!(multipath.next_for(ids[1]).is_some(), "{policy}");

        for id in &ids {
            multipath.set_ana(*id, ana(AnaState::PersistentLoss));
        }
        multipath.submit(write(8)).unwrap();
        assert_eq!(multipath.poll_finished().unwrap().outcome, Outcome::Lost { sent: false }, "{policy}");
    }
}

#[test]
fn a_group_that_nobody_reports_is_not_waited_for() {
    let none = || AnaStates::read(AnaHeader::new(2, 0).as_bytes());
    let (mut multipath, ids) = multipath(Policy::Numa, 2);
    multipath.set_ana(ids[0], none());
    assert_eq!(taken(&mut multipath, &ids, 1), [1], "the other one has it");
    multipath.set_ana(ids[1], ana(AnaState::Inaccessible));
    multipath.submit(write(7)).unwrap();
    multipath.set_state(ids[1], PathState::Connecting);
    assert!(ids.iter().all(|id| multipath.next_for(*id).is_none()), "it may be there again");
    multipath.set_ana(ids[1], none());
    multipath.set_state(ids[1], PathState::Live);
    let request = multipath.next_for(ids[0]).expect("the controller has to say that it is not there");
    end(&mut multipath, request, answered(StatusCode::InvalidNamespace));
    assert_eq!(multipath.poll_finished().unwrap().outcome, answered(StatusCode::InvalidNamespace));
}

#[test]
fn what_has_left_once_is_not_said_to_have_stayed() {
    let (mut multipath, ids) = multipath(Policy::Numa, 1);
    multipath.submit(write(1)).unwrap();
    for attempt in 0..=MAX_MOVES {
        let request = multipath.next_for(ids[0]).unwrap();
        end(&mut multipath, request, Outcome::Lost { sent: attempt == 0 });
    }
    assert_eq!(multipath.poll_finished().unwrap().outcome, Outcome::Lost { sent: true });
}

#[test]
fn a_path_that_is_lost() {
    let (mut multipath, ids) = multipath(Policy::Numa, 2);
    for token in 0..4 {
        multipath.submit(if token == 1 { compare(token) } else { write(token) }).unwrap();
    }
    let handed: Vec<_> = (0..3).map(|_| multipath.next_for(ids[0]).unwrap()).collect();
    multipath.set_state(ids[0], PathState::Connecting);
    for (index, request) in handed.into_iter().enumerate() {
        end(&mut multipath, request, Outcome::Lost { sent: index != 2 });
    }
    let finished = multipath.poll_finished().unwrap();
    assert_eq!((finished.request.token, finished.outcome), (1, Outcome::Lost { sent: true }), "the compare");
    let moved: Vec<_> = std::iter::from_fn(|| multipath.next_for(ids[1])).map(|request| request.token.token).collect();
    assert_eq!(moved, [3, 0, 2], "what had not left, and what may be repeated");
    assert_eq!((multipath.in_flight(ids[0]), multipath.in_flight(ids[1])), (0, 3));
    assert!(multipath.poll_finished().is_none());
}

#[test]
fn a_single_path_that_comes_back_or_does_not() {
    let (mut multipath, ids) = multipath(Policy::Numa, 1);
    multipath.submit(write(1)).unwrap();
    multipath.submit(compare(2)).unwrap();
    let sent = multipath.next_for(ids[0]).unwrap();
    let unsent = multipath.next_for(ids[0]).unwrap();
    end(&mut multipath, sent, Outcome::Lost { sent: true });
    end(&mut multipath, unsent, Outcome::Lost { sent: false });
    multipath.set_state(ids[0], PathState::Connecting);
    assert!(multipath.next_for(ids[0]).is_none());
    multipath.set_state(ids[0], PathState::Live);
    let requests: Vec<_> = std::iter::from_fn(|| multipath.next_for(ids[0])).collect();
    assert_eq!(requests.len(), 2);
    for request in requests {
        end(&mut multipath, request, Outcome::Lost { sent: false });
    }
    multipath.set_state(ids[0], PathState::Connecting);
    multipath.set_state(ids[0], PathState::Failed);
    let ends: BTreeMap<_, _> =
        std::iter::from_fn(|| multipath.poll_finished()).map(|end| (end.request.token, end.outcome)).collect();
    let expected = [(1, Outcome::Lost { sent: true }), (2, Outcome::Lost { sent: false })];
    assert_eq!(ends, expected.into(), "the write left in its first attempt");
    multipath.submit(write(3)).unwrap();
    assert_eq!(multipath.poll_finished().unwrap().outcome, Outcome::Lost { sent: false });
    multipath.remove_path(ids[0]);
    assert_eq!(multipath.outstanding(), 0);
}

#[test]
fn what_no_queue_has_taken_keeps_its_place() {
    let (mut multipath, ids) = multipath(Policy::Numa, 2);
    for token in 0..3 {
        multipath.submit(write(token)).unwrap();
    }
    let first = multipath.next_for(ids[0]).unwrap();
    assert_eq!((*first.token.token(), multipath.in_flight(ids[0])), (0, 3));
    multipath.take_back(first);
    let first = multipath.next_for(ids[0]).unwrap();
    assert_eq!((*first.token.token(), multipath.in_flight(ids[0])), (0, 3));
    // Its path is lost, and then removed: there is another.
    multipath.set_state(ids[0], PathState::Connecting);
    multipath.take_back(first);
    assert_eq!((multipath.in_flight(ids[0]), multipath.in_flight(ids[1])), (0, 3));
    let next = multipath.next_for(ids[1]).unwrap();
    multipath.set_state(ids[0], PathState::Live);
    multipath.remove_path(ids[1]);
    multipath.take_back(next);
    let left: Vec<u64> =
        std::iter::from_fn(|| multipath.next_for(ids[0])).map(|request| *request.token.token()).collect();
    assert_eq!((left.len(), multipath.outstanding()), (3, 3), "{left:?}");
}

#[test]
fn statuses_that_move_commands() {
    let (mut multipath, ids) = multipath(Policy::Numa, 2);
    multipath.submit(compare(1)).unwrap();
    let request = multipath.next_for(ids[0]).unwrap();
    end(&mut multipath, request, answered(StatusCode::AnaTransition));
    assert_eq!(multipath.poll_outdated(), Some(ids[0]));
    assert_eq!(multipath.poll_outdated(), None);
    multipath.submit(write(2)).unwrap();
    assert_eq!(multipath.in_flight(ids[0]), 0, "until the log says so, the path is not taken");
    let request = multipath.next_for(ids[1]).unwrap();
    multipath.set_ana(ids[0], ana(AnaState::Optimized));
    // Another path is tried first, though this one is not known to be bad.
    end(&mut multipath, request, answered(StatusCode::InternalPathError));
    let request = multipath.next_for(ids[0]).unwrap();
    end(&mut multipath, request, answered(StatusCode::InternalPathError));
    assert!(multipath.next_for(ids[0]).is_none(), "the nearest path has just failed it");
    let other = multipath.next_for(ids[1]).unwrap();
    let request = multipath.next_for(ids[1]).unwrap();
    end(&mut multipath, request, answered(StatusCode::CompareFailure));
    let finished = multipath.poll_finished().unwrap();
    assert_eq!((finished.outcome, finished.resent), (answered(StatusCode::CompareFailure), 3));

    // A controller whose log contradicts its statuses does not keep a command for ever.
    multipath.remove_path(ids[1]);
    end(&mut multipath, other, answered(StatusCode::InternalPathError));
    let mut moves = 1;
    while let Some(request) = multipath.next_for(ids[0]) {
        end(&mut multipath, request, answered(StatusCode::AnaInaccessible));
        multipath.set_ana(ids[0], ana(AnaState::Optimized));
        moves += 1;
    }
    assert_eq!(moves, u32::from(MAX_MOVES) + 1);
    assert_eq!(multipath.poll_finished().unwrap().outcome, answered(StatusCode::AnaInaccessible));
}

#[test]
fn statuses_that_repeat_commands() {
    let (mut multipath, ids) = multipath(Policy::Numa, 1);
    multipath.set_retry_delays(ids[0], [5, 10, 20]);
    multipath.submit(write(1)).unwrap();
    for attempt in 0..=MAX_RETRIES {
        let request = multipath.next_for(ids[0]).unwrap();
        let status = Status { retry_delay: 2, ..StatusCode::NamespaceNotReady.into() };
        end(&mut multipath, request, Outcome::Answered { status, result: 0 });
        if attempt < MAX_RETRIES {
            assert!(multipath.next_for(ids[0]).is_none());
            let due = multipath.poll_timeout().unwrap();
            assert_eq!(due, NOW + Duration::from_secs(1));
            multipath.handle_timeout(due - Duration::from_nanos(1));
            assert_eq!(multipath.in_flight(ids[0]), 0);
            multipath.handle_timeout(due);
        }
    }
    assert_eq!(multipath.poll_timeout(), None);
    assert_eq!(multipath.poll_finished().unwrap().resent, u32::from(MAX_RETRIES));
}

#[test]
fn no_more_than_the_limit() {
    let mut multipath = Multipath::new(Policy::Numa, 2);
    let path = multipath.add_path(0);
    multipath.submit(write(1)).unwrap();
    multipath.submit(write(2)).unwrap();
    let refused = multipath.submit(write(3)).unwrap_err();
    assert_eq!((refused.reason, refused.request.token), (Refusal::Full, 3));
    multipath.set_state(path, PathState::Live);
    let request = multipath.next_for(path).unwrap();
    end(&mut multipath, request, answered(StatusCode::Success));
    assert!(multipath.submit(write(3)).is_ok());
}

/// What has become of a command of the random test.
#[derive(Debug, Default)]
struct Fate {
    repeatable: bool,
    /// How often it has left without a failed answer, so that it may have been executed.
    sent: u32,
    ended: bool,
}

#[test]
fn nothing_is_lost_and_nothing_done_twice() {
    let statuses =
        [StatusCode::Success, StatusCode::AnaInaccessible, StatusCode::NamespaceNotReady, StatusCode::LbaOutOfRange];
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let policy = Policy::ALL[seed as usize % 3];
        let (mut multipath, ids) = multipath(policy, rng.random_range(1..4));
        let mut fates = Vec::<Fate>::new();
        let mut held: Vec<(PathId, Request<Ticket<u64>>)> = Vec::new();
        let check = |multipath: &mut Multipath<u64>, fates: &mut Vec<Fate>, may_fail: bool| {
            while let Some(finished) = multipath.poll_finished() {
                let fate = &mut fates[finished.request.token as usize];
                assert!(!std::mem::replace(&mut fate.ended, true), "seed {seed}: it ended twice");
                assert!(fate.repeatable || fate.sent <= 1, "seed {seed}: done {} times", fate.sent);
                if let Outcome::Lost { sent } = finished.outcome {
                    assert_eq!(sent, fate.sent > 0, "seed {seed}");
                    assert!(may_fail || !fate.repeatable, "seed {seed}: given up");
                }
            }
        };
        for _ in 0..400 {
            match rng.random_range(0..10) {
                0..4 => {
                    let token = fates.len() as u64;
                    let repeatable = rng.random_bool(0.7);
                    if multipath.submit(if repeatable { write(token) } else { compare(token) }).is_ok() {
                        fates.push(Fate { repeatable, ..Fate::default() });
                    }
                }
                4 | 5 => {
                    let id = ids[rng.random_range(0..ids.len())];
                    held.extend(multipath.next_for(id).map(|request| (id, request)));
                }
                6 | 7 if !held.is_empty() => {
                    let (_, request) = held.swap_remove(rng.random_range(0..held.len()));
                    let code = statuses[rng.random_range(0..4)];
                    let fate = &mut fates[request.token.token as usize];
                    fate.sent += u32::from(code == StatusCode::Success);
                    end(&mut multipath, request, answered(code));
                }
                8 => {
                    let id = ids[rng.random_range(0..ids.len())];
                    multipath.set_state(id, PathState::Connecting);
                    let (lost, kept) = held.into_iter().partition(|(path, _)| *path == id);
                    held = kept;
                    for (_, request) in lost {
                        let sent = rng.random();
                        fates[request.token.token as usize].sent += u32::from(sent);
                        end(&mut multipath, request, Outcome::Lost { sent });
                    }
                }
                _ => {
                    let id = ids[rng.random_range(0..ids.len())];
                    multipath.set_state(id, PathState::Live);
                    let state = [AnaState::Optimized, AnaState::NonOptimized][rng.random_range(0..2)];
                    multipath.set_ana(id, ana(state));
                }
            }
            check(&mut multipath, &mut fates, false);
        }
        for (_, request) in held {
            end(&mut multipath, request, answered(StatusCode::LbaOutOfRange));
        }
        for id in ids {
            multipath.remove_path(id);
        }
        check(&mut multipath, &mut fates, true);
        assert!(fates.iter().all(|fate| fate.ended), "seed {seed}");
        assert_eq!(multipath.outstanding(), 0, "seed {seed}");
        assert!(fates.len() > 50, "seed {seed}");
    }
}
