//! Both parts against each other, and against what they must not fall for.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::message::{Challenge, Message, Negotiate, Reply, Success1};
use super::proof::{Terms, augmented};
use super::*;
use crate::command::Nqn;

fn nqn(name: &str) -> Nqn {
    Nqn::new(&format!("nqn.2026-01.example:{name}")).unwrap()
}

fn secret(hash: Option<Hash>, fill: u8) -> Secret {
    Secret::new(hash, &[fill; 48]).unwrap()
}

fn entropy(seed: u8) -> Entropy {
    Entropy::from_seed([seed; 32])
}

fn config() -> HostAuthentication {
    HostAuthentication::new(secret(Some(Hash::Sha256), 1), entropy(1))
}

/// Without Diffie-Hellman, as most of this is not about that.
fn secrets() -> HostSecrets {
    let algorithms = Algorithms { groups: vec![Group::Null], ..Algorithms::default() };
    HostSecrets { algorithms, ..HostSecrets::new(secret(Some(Hash::Sha256), 1)) }
}

fn initiator(config: &HostAuthentication) -> Initiator {
    Initiator::new(config, &nqn("host"), &nqn("disk"))
}

fn responder(secrets: &HostSecrets) -> Responder {
    Responder::new(secrets, &entropy(2), &nqn("host"), &nqn("disk"))
}

/// Which messages passed, by number, and how both see it.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    host: Result<(), AuthenticationError>,
    controller: Result<bool, FailureReason>,
}

const AGREED: Verdict = Verdict { host: Ok(()), controller: Ok(true) };

/// Runs an exchange, in which `alter` sees every message with its number and may change it.
fn run(initiator: &mut Initiator, responder: &mut Responder, mut alter: impl FnMut(usize, &mut Vec<u8>)) -> Verdict {
    let mut number = 0;
    let host = loop {
        match initiator.next() {
            Next::Send(mut message) => {
                alter(number, &mut message);
                responder.on_message(&message);
            }
            Next::Receive => {
                let mut message = responder.message(MAX_MESSAGE).unwrap();
                alter(number, &mut message);
                message.resize(MAX_MESSAGE, 0);
                initiator.on_message(&message);
            }
            Next::Done => break Ok(()),
            Next::Failed(error) => break Err(error),
        }
        number += 1;
        assert!(number < 10, "it does not end");
    };
    let controller = responder.failure().map_or_else(|| Ok(responder.is_authenticated()), Err);
    Verdict { host, controller }
}

fn meet(config: &HostAuthentication, secrets: &HostSecrets) -> Verdict {
    run(&mut initiator(config), &mut responder(secrets), |_, _| {})
}

#[test]
fn by_every_hash_and_group_one_way_and_both() {
    for hash in Hash::ALL {
        for group in Group::ALL {
            // Large groups take long: once each, with the proofs that need them most.
            let is_large = group.bits() > 3072;
            for both_ways in [false, true] {
                if is_large && (hash != Hash::Sha512 || !both_ways) {
                    continue;
                }
                let mut config = config();
                config.algorithms = Algorithms { hashes: vec![hash], groups: vec![group] };
                let mut secrets = HostSecrets::new(config.secret.clone());
                if both_ways {
                    secrets.controller_secret = Some(secret(None, 2));
                    config = config.expecting(secret(None, 2));
                }
                let mut count = 0;
                let verdict = run(&mut initiator(&config), &mut responder(&secrets), |_, _| count += 1);
                assert_eq!(verdict, AGREED, "{hash} {group}");
                assert_eq!(count, if both_ways { 5 } else { 4 });
            }
        }
    }
}

#[test]
fn the_controller_chooses_what_it_likes_best_of_what_the_host_has() {
    let mut secrets = secrets();
    secrets.algorithms =
        Algorithms { hashes: vec![Hash::Sha512, Hash::Sha384], groups: vec![Group::Ffdhe2048, Group::Null] };
    let mut config = config();
    config.algorithms = Algorithms { hashes: vec![Hash::Sha256, Hash::Sha384], groups: Group::ALL.to_vec() };
    let mut chosen = None;
    let verdict = run(&mut initiator(&config), &mut responder(&secrets), |number, message| {
        if number == 1 {
            let (_, Message::Challenge(challenge)) = Message::parse(message).unwrap() else { panic!("no challenge") };
            chosen = Some((challenge.hash, challenge.group, challenge.challenge.len(), challenge.value.len()));
        }
    });
    assert_eq!((verdict, chosen), (AGREED, Some((2, 1, 48, 256))));

    config.algorithms.hashes = vec![Hash::Sha256];
    let refused = |reason| Verdict { host: Err(AuthenticationError::Refused(reason)), controller: Err(reason) };
    assert_eq!(meet(&config, &secrets), refused(FailureReason::NoHash));
    config.algorithms = Algorithms { hashes: vec![Hash::Sha384], groups: vec![Group::Ffdhe8192] };
    assert_eq!(meet(&config, &secrets), refused(FailureReason::NoGroup));
}

#[test]
fn wrong_and_missing_secrets() {
    let failed = FailureReason::Failed;
    let refused = || Verdict { host: Err(AuthenticationError::Refused(failed)), controller: Err(failed) };
    let both = HostSecrets { controller_secret: Some(secret(None, 2)), ..secrets() };
    // The same bytes are another key with another hash function.
    for wrong in [secret(Some(Hash::Sha256), 3), secret(Some(Hash::Sha384), 1), secret(None, 1)] {
        let config = HostAuthentication { secret: wrong, ..config() };
        assert_eq!(meet(&config, &secrets()), refused());
        assert_eq!(meet(&config.expecting(secret(None, 2)), &both), refused());
    }
    // The host finds out, and tells.
    let expected = Verdict { host: Err(AuthenticationError::NotProven), controller: Err(failed) };
    assert_eq!(meet(&config().expecting(secret(None, 3)), &both), expected);
    // A subsystem without a secret cannot prove anything.
    assert_eq!(meet(&config().expecting(secret(None, 2)), &secrets()), refused());
    // A key is one of a name.
    let mut other = Initiator::new(&config(), &nqn("other"), &nqn("disk"));
    assert_eq!(run(&mut other, &mut responder(&secrets()), |_, _| {}), refused());
    // A secret that is the same both ways does not let a controller send back what it got.
    let config = config().expecting(secret(Some(Hash::Sha256), 1));
    let mut proof = Vec::new();
    let verdict = run(&mut initiator(&config), &mut responder(&both), |number, message| match number {
        2 => proof = message[16..48].to_vec(),
        3 => message[16..48].copy_from_slice(&proof),
        _ => {}
    });
    assert_eq!(verdict, expected);
}

#[test]
fn a_controller_that_skips_its_proof() {
    let config = config().expecting(secret(None, 2));
    let both = HostSecrets { controller_secret: Some(secret(None, 2)), ..secrets() };
    let verdict = run(&mut initiator(&config), &mut responder(&both), |number, message| {
        if number == 3 {
            message[8] = 0;
        }
    });
    assert_eq!(verdict, Verdict { host: Err(AuthenticationError::NotProven), controller: Err(FailureReason::Failed) });
}

/// Against Python's `hmac` and `hashlib`.
#[test]
fn responses_are_what_others_calculate() {
    let terms = Terms { host: nqn("host"), subsystem: nqn("disk"), transaction: 0xbeef };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key: Vec<u8> = (0..32).collect();
    let common: Vec<u8> = (0..=255).collect();
    let expected = [
        (
            "e6ccae56a74d6e606344183a3d408048c14ec0a6ba65ae6f1a26d3bc02a32dc7",
            "81b947f92a11db829ee6c574f02919574d3c92e0e2fb12884b5a529a4a0d0ac2",
        ),
        (
            "8ed2aa2a1574e44a426aa23a68bcdab1475b87ef7dfe6d93ef56da51d9c23d1db348adbfd8b3acfce4abfbdbe30a624b",
            "0f43809e5e62ea911becf95e16b8fff7f253f93157a88700e5f41162eae4577f4bc4e4b7654b6721d9be894ad273c339",
        ),
        (
            "67f40d23b23e377678032da2fa5b76dea44c326b1b5bbb83517742e78ed27d39c4edd4b84eb37f5ac90c5ca6e4738207\
             81f274aadf01bfb98467cd5a50628859",
            "bc4257662ed53e0f5064c68093bc14ddc18fcba1d90ce0ef75023472d0c957a4a504a1dabbc9dcc422f462766dabdf40\
             eac97138bb593d9aee5c5a7a8459a871",
        ),
    ];
    for (hash, (host, controller)) in Hash::ALL.into_iter().zip(expected) {
        let challenge: Vec<u8> = (0..hash.len() as u8).map(|byte| 0xa0 ^ byte).collect();
        assert_eq!(*augmented(hash, &challenge, None), challenge);
        let mixed = augmented(hash, &challenge, Some(&common));
        assert_eq!(hex(&terms.host_response(hash, &key, &mixed, 0x0102_0304)), host);
        assert_eq!(hex(&terms.controller_response(hash, &key, &mixed, 0x0102_0304)), controller);
    }
}

#[test]
fn messages_are_laid_out_as_specified() {
    let negotiate = Negotiate { secure_channel: 0, lists: Some((&[1, 3], &[0, 5])) };
    let bytes = Message::Negotiate(negotiate).encode(0x1234);
    assert_eq!((bytes.len(), &bytes[..14]), (72, &[0, 0, 0, 0, 0x34, 0x12, 0, 1, 1, 0, 2, 2, 1, 3][..]));
    assert_eq!(bytes[42..45], [0, 5, 0]);
    let challenge = Challenge { hash: 1, group: 0, sequence: 7, challenge: &[9; 32], value: &[] };
    let bytes = Message::Challenge(challenge).encode(1);
    assert_eq!(bytes[..17], [1, 1, 0, 0, 1, 0, 32, 0, 1, 0, 0, 0, 7, 0, 0, 0, 9]);
    assert_eq!(bytes.len(), 48);
    let reply = Reply { response: &[8; 48], challenge: None, value: &[6; 256] };
    let bytes = Message::Reply(reply).encode(1);
    assert_eq!(bytes[..17], [1, 2, 0, 0, 1, 0, 48, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8]);
    assert_eq!((bytes.len(), bytes[63], bytes[64], bytes[111], bytes[112]), (16 + 96 + 256, 8, 0, 0, 6));
    let bytes = Message::Reply(Reply { challenge: Some((5, &[4; 48])), ..reply }).encode(1);
    assert_eq!((&bytes[8..16], bytes[64], bytes[111]), (&[1, 0, 0, 1, 5, 0, 0, 0][..], 4, 4));
    let bytes = Message::Success1(Success1 { hash_len: 32, response: None }).encode(1);
    assert_eq!((bytes.len(), &bytes[..10]), (48, &[1, 3, 0, 0, 1, 0, 32, 0, 0, 0][..]));
    assert_eq!(Message::Success2.encode(2), [1, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Message::Failure1(FailureReason::Failed).encode(2), [0, 0xf1, 0, 0, 2, 0, 1, 1]);
    assert_eq!(Message::Failure2(FailureReason::Message).encode(2), [0, 0xf0, 0, 0, 2, 0, 1, 7]);
}

#[test]
fn lengths_that_lie() {
    let (payload, hashes) =
        (Err(FailureReason::Payload), Message::Negotiate(Negotiate { secure_channel: 0, lists: Some((&[1], &[0])) }));
    let good = hashes.encode(1);
    for (at, value) in [(7, 2), (7, 255), (10, 31), (11, 255)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(Message::parse(&bytes).map(drop), payload, "{at} {value}");
    }
    let mut other = good.clone();
    other[8] = 2;
    let (_, Message::Negotiate(negotiate)) = Message::parse(&other).unwrap() else { panic!("another message") };
    assert_eq!(negotiate.lists, None, "of a protocol that is not ours");
    let reply = Message::Reply(Reply { response: &[8; 32], challenge: None, value: &[6; 256] }).encode(1);
    for (at, value) in [(6, 200), (6, 255), (8, 2), (10, 1), (11, 2), (11, 255)] {
        let mut bytes = reply.clone();
        bytes[at] = value;
        assert_eq!(Message::parse(&bytes).map(drop), payload, "{at} {value}");
    }
    for end in 0..reply.len() {
        assert_eq!(Message::parse(&reply[..end]).map(drop), payload);
    }
}

#[test]
fn messages_out_of_turn() {
    let negotiate = {
        let Next::Send(message) = initiator(&config()).next() else { panic!("nothing to send") };
        message
    };
    let reason = |responder: &mut Responder| {
        let message = responder.message(MAX_MESSAGE).unwrap();
        let (_, Message::Failure1(reason)) = Message::parse(&message).unwrap() else { panic!("no failure") };
        assert_eq!(responder.failure(), Some(reason));
        assert!(!responder.is_authenticated());
        reason
    };
    // A message of the host's that is not the one to come, at the beginning and after a challenge.
    let reply = Reply { response: &[0; 32], challenge: None, value: &[] };
    let challenge = Challenge { hash: 1, group: 0, sequence: 7, challenge: &[9; 32], value: &[] };
    for message in [Message::Reply(reply), Message::Success2, Message::Challenge(challenge)] {
        let mut responder = responder(&secrets());
        responder.on_message(&message.encode(1));
        assert_eq!(reason(&mut responder), FailureReason::Message, "{message:?}");
    }
    for message in [negotiate.clone(), Message::Success2.encode(1)] {
        let mut responder = responder(&secrets());
        responder.on_message(&negotiate);
        // While the challenge is not fetched, and after that.
        responder.on_message(&message);
        assert_eq!(reason(&mut responder), FailureReason::Message);
    }
    for message in [negotiate.clone(), Message::Success2.encode(1)] {
        let mut responder = responder(&secrets());
        responder.on_message(&negotiate);
        assert!(responder.message(MAX_MESSAGE).is_some());
        responder.on_message(&message);
        assert_eq!(reason(&mut responder), FailureReason::Message);
    }
    // Asking when there is nothing to be had.
    assert_eq!(reason(&mut responder(&secrets())), FailureReason::Message);
    let mut twice = responder(&secrets());
    twice.on_message(&negotiate);
    assert!(twice.message(MAX_MESSAGE).is_some());
    assert_eq!(reason(&mut twice), FailureReason::Message);
    // A failure stays one.
    twice.on_message(&negotiate);
    assert_eq!(reason(&mut twice), FailureReason::Message);
    // Too little room changes nothing.
    let mut patient = responder(&secrets());
    patient.on_message(&negotiate);
    assert!(patient.message(47).is_none());
    assert_eq!(patient.message(48).map(|message| message.len()), Some(48));
    // A secure channel is not to be had.
    let mut responder = responder(&secrets());
    responder.on_message(&Message::Negotiate(Negotiate { secure_channel: 1, lists: Some((&[1], &[0])) }).encode(1));
    assert_eq!(reason(&mut responder), FailureReason::SecureChannel);
    // What the host must not take.
    for message in
        [Message::Success1(Success1 { hash_len: 32, response: None }), Message::Success2, Message::Reply(reply)]
    {
        let mut initiator = initiator(&config());
        let Next::Send(negotiate) = initiator.next() else { panic!("nothing to send") };
        let (transaction, _) = Message::parse(&negotiate).unwrap();
        assert!(matches!(initiator.next(), Next::Receive));
        initiator.on_message(&message.encode(transaction));
        assert_eq!(initiator.failure(), Some(AuthenticationError::Broken(FailureReason::Message)));
        let Next::Send(failure) = initiator.next() else { panic!("the controller is not told") };
        assert_eq!(Message::parse(&failure), Ok((transaction, Message::Failure2(FailureReason::Message))));
        assert!(matches!(initiator.next(), Next::Failed(_)));
    }
}

#[test]
fn replayed_messages_prove_nothing() {
    let config = config().expecting(secret(None, 2));
    let both = HostSecrets { controller_secret: Some(secret(None, 2)), ..secrets() };
    let shared = entropy(9);
    let answering = || Responder::new(&both, &shared, &nqn("host"), &nqn("disk"));
    let mut recorded = Vec::new();
    assert_eq!(run(&mut initiator(&config), &mut answering(), |_, message| recorded.push(message.clone())), AGREED);
    // To the same subsystem, with all that the host has said.
    let mut responder = answering();
    for message in recorded.iter().step_by(2) {
        responder.on_message(message);
        if responder.failure().is_none() {
            responder.message(MAX_MESSAGE);
        }
    }
    assert!(!responder.is_authenticated());
    assert_eq!(responder.failure(), Some(FailureReason::Failed));
    // To the same host, with all that the subsystem has said: its transaction is another, and so is its challenge.
    for same_transaction in [false, true] {
        let mut initiator = initiator(&config);
        let (mut answers, mut transaction) = (recorded.iter().skip(1).step_by(2), [0; 2]);
        let error = loop {
            match initiator.next() {
                Next::Send(message) => transaction.copy_from_slice(&message[4..6]),
                Next::Receive => {
                    let mut message = answers.next().unwrap().clone();
                    if same_transaction {
                        message[4..6].copy_from_slice(&transaction);
                    }
                    initiator.on_message(&message);
                }
                Next::Done => panic!("a replay is taken for a proof"),
                Next::Failed(error) => break error,
            }
        };
        let expected = match same_transaction {
            true => AuthenticationError::NotProven,
            false => AuthenticationError::Broken(FailureReason::Payload),
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_host_may_authenticate_again() {
    let mut responder = responder(&secrets());
    for _ in 0..3 {
        assert_eq!(run(&mut initiator(&config()), &mut responder, |_, _| {}), AGREED);
    }
    let wrong = HostAuthentication { secret: secret(None, 7), ..config() };
    let failed = FailureReason::Failed;
    let verdict = run(&mut initiator(&wrong), &mut responder, |_, _| {});
    assert_eq!(verdict, Verdict { host: Err(AuthenticationError::Refused(failed)), controller: Err(failed) });
}

/// Of whatever is altered, nobody is let in who was not, and nothing panics.
#[test]
fn fuzz_altered_messages() {
    let config = config().expecting(secret(None, 2));
    let mut both = HostSecrets { controller_secret: Some(secret(None, 2)), ..secrets() };
    let mut rng = StdRng::seed_from_u64(20_26);
    let (mut agreed, mut host_alone) = (0, 0);
    for round in 0..4000 {
        both.algorithms.groups = vec![if round % 400 == 0 { Group::Ffdhe2048 } else { Group::Null }];
        let at = rng.random_range(0..5);
        let mut proof = false;
        let verdict = run(&mut initiator(&config), &mut responder(&both), |number, message| {
            if number == at {
                let before = message.clone();
                match rng.random_range(0..4) {
                    0 => message.truncate(rng.random_range(0..message.len())),
                    1 => message.extend((0..rng.random_range(1..2000)).map(|_| 0x55)),
                    2 => message.iter_mut().for_each(|byte| *byte = rng.random()),
                    _ => {
                        let at = rng.random_range(0..message.len());
                        message[at] ^= 1 << rng.random_range(0..8);
                    }
                }
                // Bytes of a proof or challenge, all of which count.
                proof = matches!(number, 1..=3) && message.len() >= before.len() && message[16..48] != before[16..48];
            }
        });
        assert!(!proof || verdict != AGREED, "round {round}: {verdict:?}");
        agreed += usize::from(verdict == AGREED);
        // Success2 was lost: the host believes the controller, which has proven itself, and the controller does not believe the host yet.
        host_alone += usize::from(verdict.host.is_ok() && verdict != AGREED);
        assert!(at == 4 || verdict.host.is_err() == (verdict != AGREED), "round {round}: {verdict:?}");
    }
    assert!(agreed > 100 && host_alone > 100, "{agreed} {host_alone}");
}

#[test]
fn fuzz_arbitrary_messages() {
    let mut rng = StdRng::seed_from_u64(11);
    let kinds = [[0, 0], [0, 0xf0], [0, 0xf1], [1, 1], [1, 2], [1, 3], [1, 4], [1, 9]];
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..rng.random_range(0..400)).map(|_| rng.random()).collect();
        if bytes.len() >= 8 && rng.random_bool(0.9) {
            bytes[..2].copy_from_slice(&kinds[rng.random_range(0..kinds.len())]);
        }
        if let Ok((transaction, message)) = Message::parse(&bytes) {
            // What was understood is understood again when it is written anew.
            let again = message.encode(transaction);
            let is_list = matches!(message, Message::Negotiate(_));
            assert!(is_list || Message::parse(&again) == Ok((transaction, message)));
        }
        let mut responder = responder(&secrets());
        responder.on_message(&bytes);
        responder.message(MAX_MESSAGE);
        let mut initiator = initiator(&config());
        initiator.next();
        initiator.on_message(&bytes);
        assert!(!matches!(initiator.next(), Next::Done) && !responder.is_authenticated());
    }
}

#[test]
fn nothing_secret_is_shown() {
    let config = config().expecting(secret(None, 2));
    let both = HostSecrets { controller_secret: Some(secret(None, 2)), ..secrets() };
    let (mut initiator, mut responder) = (initiator(&config), responder(&both));
    assert_eq!(run(&mut initiator, &mut responder, |_, _| {}), AGREED);
    let shown = format!("{config:?} {both:?} {initiator:?} {responder:?} {config:#?} {both:#?}");
    let text = config.secret.to_text();
    let of_bytes = |fill: u8| format!("{fill}, {fill}, {fill}");
    for hidden in [&text[10..], &of_bytes(1), &of_bytes(2), "AQEBAQ", "0101"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    assert!(shown.contains("Secret(..)") && shown.contains("Entropy(..)"), "{shown}");
}
