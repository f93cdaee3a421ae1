//! The messages, as they are on the wire.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Algorithms, FailureReason, Group, Hash};

/// Bytes that no message exceeds, and that a host gives messages room of.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// AUTH_TYPE of messages that are the same in all protocols.
const COMMON: u8 = 0;
/// AUTH_TYPE of those that are DH-HMAC-CHAP's own.
const DH_HMAC_CHAP: u8 = 1;
/// AuthID of the protocol, in AUTH_Negotiate.
const PROTOCOL: u8 = 1;
/// Reason code of AUTH_Failure1 and 2: authentication failed. What follows explains it.
const FAILED: u8 = 1;
/// Identifiers in each of the two lists of AUTH_Negotiate, at most.
const MAX_LIST: usize = 30;

/// AUTH_TYPE and AUTH_ID together.
const NEGOTIATE: [u8; 2] = [COMMON, 0x00];
const FAILURE2: [u8; 2] = [COMMON, 0xf0];
const FAILURE1: [u8; 2] = [COMMON, 0xf1];
const CHALLENGE: [u8; 2] = [DH_HMAC_CHAP, 0x01];
const REPLY: [u8; 2] = [DH_HMAC_CHAP, 0x02];
const SUCCESS1: [u8; 2] = [DH_HMAC_CHAP, 0x03];
const SUCCESS2: [u8; 2] = [DH_HMAC_CHAP, 0x04];

/// What all messages begin with (8 bytes).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    kind: [u8; 2],
    reserved2: [u8; 2],
    transaction: U16,
    /// SC_C and NAPD, or HL and a reserved byte, or reason code and explanation.
    detail: [u8; 2],
}

/// A protocol in AUTH_Negotiate (64 bytes).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Descriptor {
    protocol: u8,
    reserved1: u8,
    hashes_len: u8,
    groups_len: u8,
    hashes: [u8; MAX_LIST],
    groups: [u8; MAX_LIST],
}

/// What Challenge, Reply, Success1 and Success2 go on with (8 bytes).
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Body {
    /// HashID and DHgID; CVALID or RVALID and a reserved byte.
    detail: [u8; 2],
    value_len: U16,
    sequence: U32,
}

/// What a host says, and what a controller says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Negotiate(Negotiate<'a>),
    Challenge(Challenge<'a>),
    Reply(Reply<'a>),
    Success1(Success1<'a>),
    Success2,
    Failure1(FailureReason),
    Failure2(FailureReason),
}

/// Identifiers of hash functions, and of groups.
pub(super) type Lists<'a> = (&'a [u8], &'a [u8]);

/// What a host has, of DH-HMAC-CHAP. None if it has other protocols only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Negotiate<'a> {
    /// SC_C: what it wants of a secure channel; 0 for none.
    pub(super) secure_channel: u8,
    pub(super) lists: Option<Lists<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Challenge<'a> {
    pub(super) hash: u8,
    pub(super) group: u8,
    pub(super) sequence: u32,
    /// C1.
    pub(super) challenge: &'a [u8],
    /// The controller's Diffie-Hellman value.
    pub(super) value: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    /// R1.
    pub(super) response: &'a [u8],
    /// S2 and C2, if the controller is to prove something.
    pub(super) challenge: Option<(u32, &'a [u8])>,
    /// The host's Diffie-Hellman value.
    pub(super) value: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Success1<'a> {
    /// HL.
    pub(super) hash_len: usize,
    /// R2, if the host wanted a proof.
    pub(super) response: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads a message and its T_ID. What follows it does not count: it is where there was room for more.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(u16, Self), FailureReason> {
        let (header, rest) = Header::read_from_prefix(bytes).map_err(|_| FailureReason::Payload)?;
        let [first, second] = header.detail;
        let message = match header.kind {
            NEGOTIATE => Self::Negotiate(Negotiate { secure_channel: first, lists: lists(rest, second.into())? }),
            CHALLENGE => {
                let (body, mut rest) = split_body(rest)?;
                let [hash, group] = body.detail;
                Self::Challenge(Challenge {
                    hash,
                    group,
                    sequence: body.sequence.get(),
                    challenge: take(&mut rest, first.into())?,
                    value: take(&mut rest, body.value_len.get().into())?,
                })
            }
            REPLY => {
                let (body, mut rest) = split_body(rest)?;
                let response = take(&mut rest, first.into())?;
                // It is there in any case.
                let challenge = take(&mut rest, first.into())?;
                Self::Reply(Reply {
                    response,
                    challenge: is_valid(body)?.then_some((body.sequence.get(), challenge)),
                    value: take(&mut rest, body.value_len.get().into())?,
                })
            }
            SUCCESS1 => {
                let (body, mut rest) = split_body(rest)?;
                let hash_len = first.into();
                let response = if is_valid(body)? { Some(take(&mut rest, hash_len)?) } else { None };
                Self::Success1(Success1 { hash_len, response })
            }
            SUCCESS2 => Self::Success2,
            FAILURE1 => Self::Failure1(FailureReason::from_code(second)),
            FAILURE2 => Self::Failure2(FailureReason::from_code(second)),
            _ => return Err(FailureReason::Message),
        };
        Ok((header.transaction.get(), message))
    }

    /// The message as it is on the wire.
    pub(super) fn encode(&self, transaction: u16) -> Vec<u8> {
        let start = |kind, detail| {
            let header = Header { kind, reserved2: [0; 2], transaction: transaction.into(), detail };
            header.as_bytes().to_vec()
        };
        match self {
            Self::Negotiate(Negotiate { secure_channel, lists }) => {
                let mut bytes = start(NEGOTIATE, [*secure_channel, lists.is_some().into()]);
                if let Some((hashes, groups)) = lists {
                    bytes.extend_from_slice(Descriptor::new(hashes, groups).as_bytes());
                }
                bytes
            }
            Self::Challenge(Challenge { hash, group, sequence, challenge, value }) => {
                let body = Body { detail: [*hash, *group], value_len: length(value), sequence: (*sequence).into() };
                [&start(CHALLENGE, [challenge.len() as u8, 0])[..], body.as_bytes(), challenge, value].concat()
            }
            Self::Reply(Reply { response, challenge, value }) => {
                let zeroes = vec![0; response.len()];
                let (sequence, bytes) = challenge.unwrap_or((0, &zeroes));
                let detail = [challenge.is_some().into(), 0];
                let body = Body { detail, value_len: length(value), sequence: sequence.into() };
                [&start(REPLY, [response.len() as u8, 0])[..], body.as_bytes(), response, bytes, value].concat()
            }
            Self::Success1(Success1 { hash_len, response }) => {
                let zeroes = vec![0; *hash_len];
                let body = Body { detail: [response.is_some().into(), 0], ..Body::default() };
                let start = start(SUCCESS1, [*hash_len as u8, 0]);
                [&start[..], body.as_bytes(), response.unwrap_or(&zeroes)].concat()
            }
            Self::Success2 => [&start(SUCCESS2, [0; 2])[..], Body::default().as_bytes()].concat(),
            Self::Failure1(reason) => start(FAILURE1, [FAILED, reason.code()]),
            Self::Failure2(reason) => start(FAILURE2, [FAILED, reason.code()]),
        }
    }
}

impl Descriptor {
    fn new(hashes: &[u8], groups: &[u8]) -> Self {
        let mut descriptor = Self::new_zeroed();
        descriptor.protocol = PROTOCOL;
        (descriptor.hashes_len, descriptor.groups_len) = (hashes.len() as u8, groups.len() as u8);
        descriptor.hashes[..hashes.len()].copy_from_slice(hashes);
        descriptor.groups[..groups.len()].copy_from_slice(groups);
        descriptor
    }
}

impl Algorithms {
    /// The identifiers of each kind, once each.
    pub(super) fn ids(&self) -> (Vec<u8>, Vec<u8>) {
        let mut ids = (Vec::new(), Vec::new());
        let add = |list: &mut Vec<u8>, id| {
            if !list.contains(&id) {
                list.push(id);
            }
        };
        self.hashes.iter().for_each(|hash| add(&mut ids.0, hash.id()));
        self.groups.iter().for_each(|group| add(&mut ids.1, group.id()));
        ids
    }

    /// The best of these that the other end has too.
    pub(super) fn choose(&self, (hashes, groups): Lists<'_>) -> Result<(Hash, Group), FailureReason> {
        let hash = self.hashes.iter().find(|hash| hashes.contains(&hash.id())).ok_or(FailureReason::NoHash)?;
        let group = self.groups.iter().find(|group| groups.contains(&group.id())).ok_or(FailureReason::NoGroup)?;
        Ok((*hash, *group))
    }
}

/// The lists of the first descriptor that is DH-HMAC-CHAP's.
fn lists(bytes: &[u8], count: usize) -> Result<Option<Lists<'_>>, FailureReason> {
    let (descriptors, _) =
        <[Descriptor]>::ref_from_prefix_with_elems(bytes, count).map_err(|_| FailureReason::Payload)?;
    let Some(found) = descriptors.iter().find(|descriptor| descriptor.protocol == PROTOCOL) else { return Ok(None) };
    let hashes = found.hashes.get(..found.hashes_len.into()).ok_or(FailureReason::Payload)?;
    let groups = found.groups.get(..found.groups_len.into()).ok_or(FailureReason::Payload)?;
    Ok(Some((hashes, groups)))
}

fn split_body(bytes: &[u8]) -> Result<(Body, &[u8]), FailureReason> {
    Body::read_from_prefix(bytes).map_err(|_| FailureReason::Payload)
}

/// CVALID or RVALID.
fn is_valid(body: Body) -> Result<bool, FailureReason> {
    match body.detail[0] {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FailureReason::Payload),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], FailureReason> {
    bytes.split_off(..length).ok_or(FailureReason::Payload)
}

fn length(value: &[u8]) -> U16 {
    (value.len() as u16).into()
}
