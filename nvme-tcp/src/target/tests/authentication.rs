//! What a host can do before it has authenticated, and for how long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::auth::{Entropy, HostAuthentication, HostSecrets, Initiator, Next, Secret};
use crate::command::{AdminCommand, Auth, ConnectData, ConnectResult, FabricsCommand, Sgl};
use crate::target::{AllowedHosts, CloseReason, Credentials, Target};

fn secret(fill: u8) -> Secret {
    Secret::new(None, &[fill; 32]).unwrap()
}

fn guarded() -> Arc<Target> {
    let target = target();
    let hosts = BTreeMap::from([(nqn("host"), Some(HostSecrets::new(secret(1)))), (nqn("open"), None)]);
    let entropy = Entropy::from_seed([3; 32]);
    target.set_allowed_hosts(&nqn("disk"), AllowedHosts::Authenticated(Credentials { hosts, entropy })).unwrap();
    target
}

fn connect(target: &Arc<Target>, queue: u16, controller: u16) -> (Host, ConnectResult) {
    let mut host = Host::initialized(target, HostOffer::default());
    let data = ConnectData::new([1; 16], controller, &nqn("disk"), &nqn("host"));
    let result = ConnectResult::from_bits(host.connect(queue, 32, &data).ok().result as u32);
    (host, result)
}

fn send(host: &mut Host, message: &[u8]) -> Answer {
    let auth = Auth { protocol: 0xe9, specific: 0x0101, length: message.len() as u32 };
    host.run(FabricsCommand::AuthSend(auth).to_sqe(), message)
}

fn receive(host: &mut Host, length: u32) -> Answer {
    let auth = Auth { protocol: 0xe9, specific: 0x0101, length };
    host.run(FabricsCommand::AuthReceive(auth).to_sqe(), &[])
}

fn initiator(fill: u8) -> Initiator {
    let config = HostAuthentication::new(secret(fill), Entropy::from_seed([4; 32]));
    Initiator::new(&config, &nqn("host"), &nqn("disk"))
}

fn authenticate(host: &mut Host, initiator: &mut Initiator) -> Result<(), crate::auth::AuthenticationError> {
    loop {
        match initiator.next() {
            Next::Send(message) => drop(send(host, &message).ok()),
            Next::Receive => initiator.on_message(&receive(host, 2048).ok().data),
            Next::Done => return Ok(()),
            Next::Failed(error) => return Err(error),
        }
    }
}

#[test]
fn nothing_else_is_done_before() {
    let target = guarded();
    let (mut host, result) = connect(&target, 0, ANY_CONTROLLER);
    assert!(result.authenticate && !result.secure_channel);
    for sqe in [
        FabricsCommand::PropertyGet { offset: 0, size: 8 }.to_sqe(),
        FabricsCommand::PropertySet { offset: 0x14, size: 4, value: 0x46_0001 }.to_sqe(),
        FabricsCommand::Disconnect.to_sqe(),
        AdminCommand::KeepAlive.to_sqe(0),
        AdminCommand::AsyncEventRequest.to_sqe(0),
    ] {
        let answer = host.run(sqe, &[]).expect(StatusCode::AuthenticationRequired);
        assert!(answer.status.do_not_retry);
    }
    host.identify(1, 0).expect(StatusCode::AuthenticationRequired);
    authenticate(&mut host, &mut initiator(1)).unwrap();
    host.set(Property::Configuration, 0x46_0001).ok();
    host.identify(1, 0).ok();

    // And on each I/O queue.
    let (mut io, result) = connect(&target, 1, result.controller);
    assert!(result.authenticate);
    io.read(0, 1).expect(StatusCode::AuthenticationRequired);
    io.write(0, &[0; BLOCK]).expect(StatusCode::AuthenticationRequired);
    assert_eq!(host.log(lid::ERROR, 0, 64).ok().data, [0; 64][..], "whoever that is");
    authenticate(&mut io, &mut initiator(1)).unwrap();
    io.read(0, 1).ok();
    // Again, in between.
    authenticate(&mut io, &mut initiator(1)).unwrap();
    io.read(0, 1).ok();
    assert_eq!(authenticate(&mut io, &mut initiator(2)).map_err(drop), Err(()));
    assert_eq!(io.connection.state(), ConnectionState::Closing);
    host.identify(1, 0).ok();
}

#[test]
fn who_has_not_authenticated_keeps_nothing_alive() {
    let target = guarded();
    let (mut host, result) = connect(&target, 0, ANY_CONTROLLER);
    authenticate(&mut host, &mut initiator(1)).unwrap();
    host.set(Property::Configuration, 0x46_0001).ok();
    let (mut io, _) = connect(&target, 1, result.controller);
    host.set_feature(fid::KEEP_ALIVE_TIMER, 2000).ok();
    for _ in 0..2 {
        host.wait(Duration::from_millis(750));
        io.read(0, 1).expect(StatusCode::AuthenticationRequired);
        receive(&mut io, 0).expect(StatusCode::InvalidField);
    }
    host.wait(Duration::from_millis(750));
    assert_eq!(host.connection.close_reason(), Some(&CloseReason::KeepAlive));
}

#[test]
fn a_wrong_response_is_answered_and_ends_the_connection() {
    let target = guarded();
    let (mut host, _) = connect(&target, 0, ANY_CONTROLLER);
    let error = authenticate(&mut host, &mut initiator(2)).unwrap_err();
    assert_eq!(error, crate::auth::AuthenticationError::Refused(crate::auth::FailureReason::Failed));
    assert_eq!(host.connection.state(), ConnectionState::Closing);
    assert_eq!(host.connection.close_reason(), Some(&CloseReason::Unauthenticated(crate::auth::FailureReason::Failed)));
    assert_eq!(target.controllers(), 0);
    host.wait(target.config().close_timeout);
    assert_eq!(host.connection.state(), ConnectionState::Closed);
}

#[test]
fn commands_of_authentication_that_are_wrong() {
    let target = guarded();
    let (mut host, _) = connect(&target, 0, ANY_CONTROLLER);
    let good = Auth { protocol: 0xe9, specific: 0x0101, length: 64 };
    for auth in [Auth { protocol: 0xe8, ..good }, Auth { specific: 0x0100, ..good }] {
        host.run(FabricsCommand::AuthSend(auth).to_sqe(), &[0; 64]).expect(StatusCode::InvalidField);
        host.run(FabricsCommand::AuthReceive(auth).to_sqe(), &[]).expect(StatusCode::InvalidField);
    }
    let long = Auth { length: 5000, ..good };
    host.run(FabricsCommand::AuthSend(long).to_sqe(), &[0; 5000]).expect(StatusCode::InvalidField);
    host.run(FabricsCommand::AuthSend(long).to_sqe().with_sgl(Sgl::transport(64)), &[])
        .expect(StatusCode::InvalidField);
    let sqe = FabricsCommand::AuthReceive(good).to_sqe();
    host.run(sqe.with_sgl(Sgl::transport(63)), &[]).expect(StatusCode::InvalidDataSglLength);
    receive(&mut host, 0).expect(StatusCode::InvalidField);
    // Asked for by R2T, as hosts do that have it in no capsule; and a challenge that does not fit can be fetched again.
    let Next::Send(negotiate) = initiator(1).next() else { panic!("nothing to send") };
    let auth = Auth { length: negotiate.len() as u32, ..good };
    let sqe = FabricsCommand::AuthSend(auth).to_sqe();
    host.run(sqe.with_sgl(Sgl::transport(auth.length)), &negotiate).ok();
    receive(&mut host, 40).expect(StatusCode::InvalidField);
    let challenge = receive(&mut host, 1024).ok().data;
    assert_eq!((challenge.len(), &challenge[..2]), (1024, &[1, 1][..]), "as long as was asked for");
    assert_eq!(host.connection.state(), ConnectionState::Admin);
}

#[test]
fn an_exchange_that_is_never_finished() {
    let target = guarded();
    let timeout = target.config().setup_timeout;
    for steps in 0..4 {
        let (mut host, _) = connect(&target, 0, ANY_CONTROLLER);
        let mut initiator = initiator(1);
        for _ in 0..steps {
            match initiator.next() {
                Next::Send(message) => drop(send(&mut host, &message).ok()),
                Next::Receive => initiator.on_message(&receive(&mut host, 2048).ok().data),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(target.controllers(), 1);
        host.wait(timeout - Duration::from_millis(1));
        // Commands that are refused gain no time.
        host.identify(1, 0).expect(StatusCode::AuthenticationRequired);
        assert_eq!(host.connection.state(), ConnectionState::Admin);
        host.wait(Duration::from_millis(1));
        assert_eq!(host.connection.close_reason(), Some(&CloseReason::AuthenticationTimeout));
        assert_eq!(target.controllers(), 0);
    }
    let (mut host, _) = connect(&target, 0, ANY_CONTROLLER);
    authenticate(&mut host, &mut initiator(1)).unwrap();
    host.wait(timeout * 2);
    assert_eq!(host.connection.state(), ConnectionState::Admin);
}

#[test]
fn who_need_not_authenticate_cannot() {
    let target = guarded();
    let mut host = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("open"));
    let result = ConnectResult::from_bits(host.connect(0, 32, &data).ok().result as u32);
    assert!(!result.authenticate);
    let Next::Send(negotiate) = initiator(1).next() else { panic!("nothing to send") };
    send(&mut host, &negotiate).expect(StatusCode::InvalidOpcode);
    receive(&mut host, 2048).expect(StatusCode::InvalidOpcode);
    host.set(Property::Configuration, 0x46_0001).ok();
    // The discovery service is open to all; to others the subsystem is not.
    Host::admin_of(&target, &Nqn::discovery());
    let mut other = Host::initialized(&target, HostOffer::default());
    let data = ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn("other"));
    other.connect(0, 32, &data).expect(StatusCode::ConnectInvalidHost);
}

#[test]
fn who_loses_the_right_to_connect_meanwhile_is_not_let_in_unasked() {
    let data = |host| ConnectData::new([1; 16], ANY_CONTROLLER, &nqn("disk"), &nqn(host));
    let target = guarded();
    let [secret, open] = ["host", "open"].map(|host| target.connect_admin(&data(host)).unwrap());
    let asks = |association| target.admit(association).map(|(_, responder)| responder.is_some());
    assert_eq!((asks(&secret), asks(&open)), (Ok(true), Ok(false)));
    let credentials = Credentials { hosts: BTreeMap::new(), entropy: Entropy::from_seed([3; 32]) };
    for hosts in [AllowedHosts::Authenticated(credentials), AllowedHosts::Only([nqn("other")].into())] {
        target.set_allowed_hosts(&nqn("disk"), hosts).unwrap();
        for association in [&secret, &open] {
            assert_eq!(asks(association), Err(StatusCode::ConnectInvalidHost.into()));
        }
    }
    target.remove_subsystem(&nqn("disk")).unwrap();
    assert_eq!(asks(&secret), Err(InvalidParameter::SUBSYSTEM.into()));
}
