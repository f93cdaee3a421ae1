//! The controller's part.

use rand::Rng;
use rand::rngs::StdRng;
use subtle::ConstantTimeEq;

use super::group::PrivateValue;
use super::hash::Output;
use super::message::{Challenge, Message, Negotiate, Reply, Success1};
use super::proof::{Terms, augmented};
use super::{Algorithms, Entropy, FailureReason, Hash, Secret};
use crate::command::Nqn;

/// What a host has to know to use a subsystem.
#[derive(Clone, Debug)]
pub struct HostSecrets {
    /// The host's secret.
    pub secret: Secret,
    /// The secret with which the subsystem answers hosts that want a proof. Without, they do not get one and go away.
    pub controller_secret: Option<Secret>,
    /// What may be used.
    pub algorithms: Algorithms,
}

impl HostSecrets {
    /// This secret, any algorithms, and no proof for the host.
    pub fn new(secret: Secret) -> Self {
        Self { secret, controller_secret: None, algorithms: Algorithms::default() }
    }
}

/// The exchanges on one queue: the first one, and any by which the host authenticates again.
pub(crate) struct Responder {
    terms: Terms,
    key: Output,
    controller_key: Option<Output>,
    algorithms: Algorithms,
    rng: StdRng,
    state: State,
    is_authenticated: bool,
}

enum State {
    /// AUTH_Negotiate may come.
    Idle,
    /// A challenge is to be fetched.
    Challenging(Issued),
    /// The host has it.
    AwaitingReply(Issued),
    /// The host has proven what it had to.
    Proven { hash: Hash, response: Option<Output> },
    /// It has the controller's proof, and has to accept that.
    AwaitingConfirmation,
    /// AUTH_Failure1 is to be fetched.
    Failing(FailureReason),
    /// It was fetched, or the host has given up.
    Failed(FailureReason),
}

/// A challenge.
struct Issued {
    hash: Hash,
    group_id: u8,
    sequence: u32,
    challenge: Vec<u8>,
    private: Option<PrivateValue>,
    /// The public value that goes with it.
    value: Vec<u8>,
}

impl Responder {
    pub(crate) fn new(secrets: &HostSecrets, entropy: &Entropy, host: &Nqn, subsystem: &Nqn) -> Self {
        Self {
            key: secrets.secret.key(host),
            controller_key: secrets.controller_secret.as_ref().map(|secret| secret.key(subsystem)),
            algorithms: secrets.algorithms.clone(),
            terms: Terms { host: host.clone(), subsystem: subsystem.clone(), transaction: 0 },
            rng: entropy.draw(),
            state: State::Idle,
            is_authenticated: false,
        }
    }

    /// Whether the host has authenticated, once at least.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Why the queue has to end, if it has to.
    pub(crate) fn failure(&self) -> Option<FailureReason> {
        match self.state {
            State::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// What the host has sent.
    pub(crate) fn on_message(&mut self, bytes: &[u8]) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.state = match Message::parse(bytes) {
            // The host is yet to be told of the first failure.
            _ if let State::Failing(reason) | State::Failed(reason) = state => State::Failing(reason),
            Ok((_, Message::Failure2(reason))) => State::Failed(reason),
            Ok((transaction, Message::Negotiate(negotiate))) if matches!(state, State::Idle) => {
                self.terms.transaction = transaction;
                self.challenge(&negotiate).map_or_else(State::Failing, State::Challenging)
            }
            Ok((transaction, Message::Reply(reply))) if let State::AwaitingReply(issued) = &state => {
                match transaction == self.terms.transaction {
                    true => self.judge(issued, &reply).unwrap_or_else(State::Failing),
                    false => State::Failing(FailureReason::Payload),
                }
            }
            Ok((transaction, Message::Success2)) if matches!(state, State::AwaitingConfirmation) => {
                if transaction == self.terms.transaction {
                    self.is_authenticated = true;
                    State::Idle
                } else {
                    State::Failing(FailureReason::Payload)
                }
            }
            Ok(_) => State::Failing(FailureReason::Message),
            Err(reason) => State::Failing(reason),
        };
    }

    /// The message that the host asks for. None if it has less room than that takes; then it may ask again.
    pub(crate) fn message(&mut self, room: usize) -> Option<Vec<u8>> {
        if matches!(self.state, State::Idle | State::AwaitingReply(_) | State::AwaitingConfirmation) {
            self.state = State::Failing(FailureReason::Message);
        }
        let message = match &self.state {
            State::Challenging(issued) => {
                let Issued { hash, group_id, sequence, challenge, value, .. } = issued;
                let (hash, group, sequence) = (hash.id(), *group_id, *sequence);
                Message::Challenge(Challenge { hash, group, sequence, challenge, value }).encode(self.terms.transaction)
            }
            State::Proven { hash, response } => {
                let response = response.as_ref().map(|response| &response[..]);
                Message::Success1(Success1 { hash_len: hash.len(), response }).encode(self.terms.transaction)
            }
            State::Failing(reason) | State::Failed(reason) => Message::Failure1(*reason).encode(self.terms.transaction),
            State::Idle | State::AwaitingReply(_) | State::AwaitingConfirmation => return None,
        };
        if message.len() > room {
            return None;
        }
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Challenging(issued) => State::AwaitingReply(issued),
            State::Proven { response: Some(_), .. } => State::AwaitingConfirmation,
            State::Proven { response: None, .. } => {
                self.is_authenticated = true;
                State::Idle
            }
            State::Failing(reason) => State::Failed(reason),
            state => state,
        };
        Some(message)
    }

    fn challenge(&mut self, negotiate: &Negotiate<'_>) -> Result<Issued, FailureReason> {
        if negotiate.secure_channel != 0 {
            return Err(FailureReason::SecureChannel);
        }
        let (hash, group) = self.algorithms.choose(negotiate.lists.ok_or(FailureReason::NoProtocol)?)?;
        let mut challenge = vec![0; hash.len()];
        self.rng.fill_bytes(&mut challenge);
        let sequence = self.rng.next_u32().max(1);
        let private = PrivateValue::draw(group, &mut self.rng);
        let value = private.as_ref().map(PrivateValue::public).unwrap_or_default();
        Ok(Issued { hash, group_id: group.id(), sequence, challenge, private, value })
    }

    fn judge(&self, issued: &Issued, reply: &Reply<'_>) -> Result<State, FailureReason> {
        let hash = issued.hash;
        if reply.response.len() != hash.len() {
            return Err(FailureReason::Payload);
        }
        let common = match &issued.private {
            Some(private) => Some(private.agree(reply.value).ok_or(FailureReason::Payload)?),
            None if reply.value.is_empty() => None,
            None => return Err(FailureReason::Payload),
        };
        let mixed = |challenge: &[u8]| augmented(hash, challenge, common.as_deref().map(|common| &**common));
        let expected = self.terms.host_response(hash, &self.key, &mixed(&issued.challenge), issued.sequence);
        if !bool::from(reply.response.ct_eq(&expected)) {
            return Err(FailureReason::Failed);
        }
        let response = match (reply.challenge, &self.controller_key) {
            (None, _) => None,
            // S2 of 0 is for secure channels.
            (Some((0, _)), _) => return Err(FailureReason::Payload),
            (Some((sequence, challenge)), Some(key)) => {
                Some(self.terms.controller_response(hash, key, &mixed(challenge), sequence))
            }
            (Some(_), None) => return Err(FailureReason::Failed),
        };
        Ok(State::Proven { hash, response })
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { terms, is_authenticated, .. } = self;
        f.debug_struct("Responder")
            .field("terms", terms)
            .field("is_authenticated", is_authenticated)
            .finish_non_exhaustive()
    }
}
