//! The host's part.

use rand::Rng;
use rand::rngs::StdRng;
use subtle::ConstantTimeEq;

use super::group::PrivateValue;
use super::hash::Output;
use super::message::{Challenge, Message, Negotiate, Reply, Success1};
use super::proof::{Terms, augmented};
use super::{Algorithms, AuthenticationError, Entropy, FailureReason, Group, Hash, Secret};
use crate::command::Nqn;

/// What a host authenticates with.
#[derive(Clone, Debug)]
pub struct HostAuthentication {
    /// The host's secret.
    pub secret: Secret,
    /// The subsystem's secret. With it, a controller that does not prove that it knows it is not used.
    pub controller_secret: Option<Secret>,
    /// Whether to authenticate even if the controller does not demand it. With a controller secret that is done in any case.
    pub always: bool,
    /// What the host is willing to use.
    pub algorithms: Algorithms,
    /// Where random numbers come from.
    pub entropy: Entropy,
}

impl HostAuthentication {
    /// With this secret, whenever a controller demands it, by any algorithms.
    pub fn new(secret: Secret, entropy: Entropy) -> Self {
        Self { secret, controller_secret: None, always: false, algorithms: Algorithms::default(), entropy }
    }

    /// The same, if the controller proves that it knows this secret.
    #[must_use]
    pub fn expecting(self, controller_secret: Secret) -> Self {
        Self { controller_secret: Some(controller_secret), ..self }
    }

    /// Whether there is an exchange even if the controller does not demand one.
    pub(crate) fn is_required(&self) -> bool {
        self.always || self.controller_secret.is_some()
    }
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Authentication Send, with this message.
    Send(Vec<u8>),
    /// Authentication Receive.
    Receive,
    /// Both ends have proven what they had to.
    Done,
    /// There is no more to be done.
    Failed(AuthenticationError),
}

/// An exchange on one queue.
pub(crate) struct Initiator {
    terms: Terms,
    key: Output,
    controller_key: Option<Output>,
    algorithms: Algorithms,
    rng: StdRng,
    state: State,
}

enum State {
    Negotiating,
    AwaitingChallenge,
    Replying {
        reply: Vec<u8>,
        expected: Expected,
    },
    AwaitingSuccess(Expected),
    Confirming,
    Done,
    /// The controller has to be told.
    Failing(AuthenticationError, FailureReason),
    Failed(AuthenticationError),
}

/// What the controller's success has to be like.
struct Expected {
    hash_len: usize,
    response: Option<Output>,
}

impl Initiator {
    pub(crate) fn new(config: &HostAuthentication, host: &Nqn, subsystem: &Nqn) -> Self {
        let mut rng = config.entropy.draw();
        let transaction = rng.next_u32() as u16;
        Self {
            key: config.secret.key(host),
            controller_key: config.controller_secret.as_ref().map(|secret| secret.key(subsystem)),
            algorithms: config.algorithms.clone(),
            terms: Terms { host: host.clone(), subsystem: subsystem.clone(), transaction },
            rng,
            state: State::Negotiating,
        }
    }

    /// What to do, once what was to be done before is done.
    pub(crate) fn next(&mut self) -> Next {
        let transaction = self.terms.transaction;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Negotiating => {
                self.state = State::AwaitingChallenge;
                let (hashes, groups) = self.algorithms.ids();
                let negotiate = Negotiate { secure_channel: 0, lists: Some((&hashes, &groups)) };
                Next::Send(Message::Negotiate(negotiate).encode(transaction))
            }
            State::Replying { reply, expected } => {
                self.state = State::AwaitingSuccess(expected);
                Next::Send(reply)
            }
            State::Confirming => Next::Send(Message::Success2.encode(transaction)),
            State::Done => Next::Done,
            waiting @ (State::AwaitingChallenge | State::AwaitingSuccess(_)) => {
                self.state = waiting;
                Next::Receive
            }
            State::Failing(error, reason) => {
                self.state = State::Failed(error);
                Next::Send(Message::Failure2(reason).encode(transaction))
            }
            State::Failed(error) => {
                self.state = State::Failed(error);
                Next::Failed(error)
            }
        }
    }

    /// What went wrong, if something did.
    pub(crate) fn failure(&self) -> Option<AuthenticationError> {
        match self.state {
            State::Failing(error, _) | State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// What was received.
    pub(crate) fn on_message(&mut self, bytes: &[u8]) {
        let state = std::mem::replace(&mut self.state, State::Done);
        self.state = match Message::parse(bytes) {
            Ok((_, Message::Failure1(reason))) => State::Failed(AuthenticationError::Refused(reason)),
            Ok((transaction, _)) if transaction != self.terms.transaction => broken(FailureReason::Payload),
            Ok((_, Message::Challenge(challenge))) if matches!(state, State::AwaitingChallenge) => {
                self.reply(&challenge).unwrap_or_else(broken)
            }
            Ok((_, Message::Success1(success))) if let State::AwaitingSuccess(expected) = &state => {
                judge(&success, expected)
            }
            Ok(_) => broken(FailureReason::Message),
            Err(reason) => broken(reason),
        };
    }

    fn reply(&mut self, challenge: &Challenge<'_>) -> Result<State, FailureReason> {
        let hash = Hash::from_id(challenge.hash).filter(|hash| self.algorithms.hashes.contains(hash));
        let hash = hash.ok_or(FailureReason::NoHash)?;
        let group = Group::from_id(challenge.group).filter(|group| self.algorithms.groups.contains(group));
        let group = group.ok_or(FailureReason::NoGroup)?;
        if challenge.challenge.len() != hash.len() || challenge.value.len() != group.value_len() {
            return Err(FailureReason::Payload);
        }
        let private = PrivateValue::draw(group, &mut self.rng);
        let common = match &private {
            Some(private) => Some(private.agree(challenge.value).ok_or(FailureReason::Payload)?),
            None => None,
        };
        let mixed = |challenge: &[u8]| augmented(hash, challenge, common.as_deref().map(|common| &**common));
        let proof = self.terms.host_response(hash, &self.key, &mixed(challenge.challenge), challenge.sequence);
        let own = self.controller_key.as_ref().map(|key| {
            let mut challenge = vec![0; hash.len()];
            self.rng.fill_bytes(&mut challenge);
            // 0 would mean that there is no challenge.
            let sequence = self.rng.next_u32().max(1);
            let response = self.terms.controller_response(hash, key, &mixed(&challenge), sequence);
            (sequence, challenge, response)
        });
        let value = private.as_ref().map(PrivateValue::public).unwrap_or_default();
        let reply = Message::Reply(Reply {
            response: &proof,
            challenge: own.as_ref().map(|(sequence, challenge, _)| (*sequence, &challenge[..])),
            value: &value,
        });
        let reply = reply.encode(self.terms.transaction);
        let expected = Expected { hash_len: hash.len(), response: own.map(|(_, _, response)| response) };
        Ok(State::Replying { reply, expected })
    }
}

fn judge(success: &Success1<'_>, expected: &Expected) -> State {
    if success.hash_len != expected.hash_len {
        return broken(FailureReason::Payload);
    }
    let Some(wanted) = &expected.response else { return State::Done };
    let is_proven = success.response.is_some_and(|response| bool::from(response.ct_eq(wanted)));
    if is_proven { State::Confirming } else { State::Failing(AuthenticationError::NotProven, FailureReason::Failed) }
}

fn broken(reason: FailureReason) -> State {
    State::Failing(AuthenticationError::Broken(reason), reason)
}

impl std::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Initiator").field("terms", &self.terms).finish_non_exhaustive()
    }
}
