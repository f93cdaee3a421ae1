//! From the received stream to PDUs.

use bytes::{Buf, Bytes};
use zerocopy::FromBytes;

use super::header::{CH_LEN, CommonHeader, DDGSTF, HDGSTF, LAST_PDU, SUCCESS};
use super::{ADMIN_IN_CAPSULE_DATA, Crc32c, Digests, Parameters, Pdu, PduType, Role, TermReq, Violation, crc32c};

/// Bytes of a digest.
const DIGEST_LEN: usize = 4;
/// The longest that is gathered before it can be judged: a TermReq with the copy that it carries.
const MAX_HEADER: usize = 24 + TermReq::MAX_HEADER;

/// What a [`Decoder`] finds in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A header that passed all checks which need no knowledge of commands. If [`Pdu::data_len`] is not 0,
    /// [`Data`](Event::Data) and [`DataEnd`](Event::DataEnd) follow before the next PDU.
    Pdu(Pdu),
    /// The next bytes of the PDU's data, cut from what was fed.
    Data(Bytes),
    /// All data has come.
    DataEnd {
        /// Whether the data digest agrees with the data; true if there is none. Data that does not must not be used; the
        /// connection can go on, since the header was right.
        intact: bool,
    },
}

/// Finds the PDUs in one direction of a connection.
///
/// ```
/// # use nvme_tcp::pdu::*;
/// # fn connection(mut input: bytes::Bytes) -> Result<(), Violation> {
/// let mut decoder = Decoder::new(Role::Controller);
/// while let Some(event) = decoder.decode(&mut input)? {
///     if let Event::Pdu(Pdu::IcReq(request)) = &event {
///         let (response, parameters) = ControllerOffer::default().answer(request);
///         decoder.establish(&parameters);
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// It holds no data: a piece is handed on when it comes, and a header is gathered in a buffer within the decoder. After a
/// [`Violation`] it stays with it.
#[derive(Clone, Debug)]
pub struct Decoder {
    role: Role,
    phase: Phase,
    digests: Digests,
    /// To how many bytes the data of received PDUs is aligned.
    alignment: usize,
    max_h2c_data: u32,
    in_capsule_limit: u32,
    state: State,
    /// The common header in `header`, once it is complete.
    common: Common,
    header: [u8; MAX_HEADER],
    /// Bytes in `header`.
    filled: usize,
    digest: Crc32c,
}

/// How far the exchange of ICReq and ICResp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come.
    New,
    /// ICReq or ICResp has come, but `establish` was not called.
    Negotiating,
    Established,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between PDUs; `header` still has the last one.
    Between,
    /// `header` is complete at `needed` bytes.
    Header {
        needed: usize,
    },
    /// Bytes between header and data.
    Padding {
        left: usize,
    },
    Data {
        left: u32,
    },
    DataDigest {
        bytes: [u8; DIGEST_LEN],
        filled: usize,
    },
    DataEnd {
        intact: bool,
    },
    Failed(Violation),
}

/// What the common header says, after it was checked.
#[derive(Clone, Copy, Debug)]
struct Common {
    pdu: PduType,
    wire: CommonHeader,
    /// Bytes of data.
    data_len: u32,
    /// Whether a digest follows the header.
    header_digest: bool,
}

impl Decoder {
    /// A decoder for what this end receives on a new connection.
    pub fn new(receiver: Role) -> Self {
        Self {
            role: receiver,
            phase: Phase::New,
            digests: Digests::NONE,
            alignment: 4,
            max_h2c_data: 0,
            in_capsule_limit: ADMIN_IN_CAPSULE_DATA,
            state: State::Between,
            common: Common {
                pdu: PduType::IcReq,
                wire: CommonHeader { pdu_type: 0, flags: 0, hlen: 0, pdo: 0, plen: 0.into() },
                data_len: 0,
                header_digest: false,
            },
            header: [0; MAX_HEADER],
            filled: 0,
            digest: Crc32c::new(),
        }
    }

    /// Says what ICReq and ICResp have agreed on. Until then no other PDU is accepted, and afterwards neither of these.
    pub fn establish(&mut self, parameters: &Parameters) {
        self.phase = Phase::Established;
        self.digests = parameters.digests;
        self.max_h2c_data = parameters.max_h2c_data;
        self.alignment = match self.role {
            Role::Host => parameters.host_alignment.bytes(),
            Role::Controller => parameters.controller_alignment.bytes(),
        };
    }

    /// Bytes of data that a CapsuleCmd may carry from now on; [`ADMIN_IN_CAPSULE_DATA`] to begin with.
    pub fn set_in_capsule_limit(&mut self, bytes: u32) {
        self.in_capsule_limit = bytes;
    }

    /// Takes bytes from the front of `input` and returns what they are. None once there are no more: call it until then.
    ///
    /// # Errors
    /// The peer broke the protocol. The same again for every further call.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Event>, Violation> {
        let result = self.advance(input);
        if let Err(violation) = result {
            self.state = State::Failed(violation);
        }
        result
    }

    /// The header of the last PDU as far as it has come, for [`TermReq::answering`].
    pub fn header(&self) -> &[u8] {
        &self.header[..self.filled.min(self.header_end())]
    }

    /// Whether the stream may end here: no PDU is incomplete.
    pub fn is_between_pdus(&self) -> bool {
        matches!(self.state, State::Between)
    }

    fn advance(&mut self, input: &mut Bytes) -> Result<Option<Event>, Violation> {
        loop {
            match &mut self.state {
                State::Failed(violation) => return Err(*violation),
                State::DataEnd { intact } => {
                    let event = Event::DataEnd { intact: *intact };
                    self.state = State::Between;
                    return Ok(Some(event));
                }
                _ if input.is_empty() => return Ok(None),
                State::Between => {
                    self.filled = 0;
                    self.state = State::Header { needed: CH_LEN };
                }
                State::Header { needed } => {
                    let needed = *needed;
                    let length = (needed - self.filled).min(input.len());
                    input.copy_to_slice(&mut self.header[self.filled..][..length]);
                    self.filled += length;
                    if self.filled < needed {
                        return Ok(None);
                    }
                    if needed > CH_LEN {
                        return self.finish_header().map(|pdu| Some(Event::Pdu(pdu)));
                    }
                    self.common = self.check_common()?;
                    self.state = State::Header { needed: self.gathered_len() };
                }
                State::Padding { left } => {
                    let length = (*left).min(input.len());
                    input.advance(length);
                    *left -= length;
                    if *left == 0 {
                        self.state = State::Data { left: self.common.data_len };
                    }
                }
                State::Data { left } => {
                    let length = input.len().min(*left as usize);
                    let piece = input.split_to(length);
                    *left -= length as u32;
                    let complete = *left == 0;
                    if self.digests.data {
                        self.digest.update(&piece);
                    }
                    if complete {
                        self.state = match self.digests.data {
                            true => State::DataDigest { bytes: [0; DIGEST_LEN], filled: 0 },
                            false => State::DataEnd { intact: true },
                        };
                    }
                    return Ok(Some(Event::Data(piece)));
                }
                State::DataDigest { bytes, filled } => {
                    let length = (DIGEST_LEN - *filled).min(input.len());
                    input.copy_to_slice(&mut bytes[*filled..][..length]);
                    *filled += length;
                    if *filled == DIGEST_LEN {
                        let intact = u32::from_le_bytes(*bytes) == self.digest.value();
                        self.state = State::DataEnd { intact };
                    }
                }
            }
        }
    }

    /// Bytes of the PDU up to its header digest, as far as the common header is known to be right.
    fn header_end(&self) -> usize {
        match self.state {
            State::Header { needed: CH_LEN } | State::Failed(_) => self.filled,
            _ => self.common.pdu.header_len(),
        }
    }

    /// Bytes to gather before the header can be judged.
    fn gathered_len(&self) -> usize {
        match self.common.pdu {
            PduType::H2cTermReq | PduType::C2hTermReq => self.common.wire.plen.get() as usize,
            pdu => pdu.header_len() + if self.common.header_digest { DIGEST_LEN } else { 0 },
        }
    }

    /// Judges the common header, so that nothing is waited for that cannot be right.
    fn check_common(&self) -> Result<Common, Violation> {
        let (wire, _) = CommonHeader::read_from_prefix(&self.header).expect("the buffer is longer");
        let pdu = PduType::from_byte(wire.pdu_type).ok_or(Violation::UnknownType(wire.pdu_type))?;
        if pdu.receiver() != self.role {
            return Err(Violation::Misdirected { pdu, receiver: self.role });
        }
        self.check_sequence(pdu)?;
        if usize::from(wire.hlen) != pdu.header_len() {
            return Err(Violation::HeaderLength { pdu, hlen: wire.hlen });
        }
        let plen = wire.plen.get();
        let header_digest = pdu.takes_header_digest() && self.digests.header;
        let header_end = (pdu.header_len() + if header_digest { DIGEST_LEN } else { 0 }) as u32;
        if pdu.takes_header_digest() && (wire.flags & HDGSTF != 0) != header_digest {
            return Err(Violation::Flags { pdu, flags: wire.flags });
        }
        let length_fits = match pdu {
            PduType::H2cTermReq | PduType::C2hTermReq => (header_end..=MAX_HEADER as u32).contains(&plen),
            PduType::IcReq | PduType::IcResp | PduType::CapsuleResp | PduType::R2t => plen == header_end,
            PduType::CapsuleCmd | PduType::H2cData | PduType::C2hData => plen >= header_end,
        };
        if !length_fits {
            return Err(Violation::PduLength { pdu, plen });
        }
        let data_len = match pdu {
            PduType::CapsuleCmd | PduType::H2cData | PduType::C2hData => self.check_data(pdu, &wire, header_end)?,
            _ => 0,
        };
        Ok(Common { pdu, wire, data_len, header_digest })
    }

    fn check_sequence(&self, pdu: PduType) -> Result<(), Violation> {
        let in_sequence = match pdu {
            PduType::IcReq | PduType::IcResp => self.phase == Phase::New,
            // A controller may refuse an ICReq with it.
            PduType::C2hTermReq => true,
            _ => self.phase == Phase::Established,
        };
        if in_sequence { Ok(()) } else { Err(Violation::OutOfSequence(pdu)) }
    }

    /// Judges PDO, PLEN and flags of a PDU that can carry data, and returns how much it carries.
    fn check_data(&self, pdu: PduType, wire: &CommonHeader, header_end: u32) -> Result<u32, Violation> {
        let (plen, pdo) = (wire.plen.get(), u32::from(wire.pdo));
        let wrong_flags = Violation::Flags { pdu, flags: wire.flags };
        if wire.flags & DDGSTF != 0 && !self.digests.data {
            return Err(wrong_flags);
        }
        if pdu == PduType::C2hData && wire.flags & SUCCESS != 0 && wire.flags & LAST_PDU == 0 {
            return Err(wrong_flags);
        }
        if plen == header_end {
            return Ok(0);
        }
        if wire.flags & DDGSTF == 0 && self.digests.data {
            return Err(wrong_flags);
        }
        if pdo < header_end || !(pdo as usize).is_multiple_of(self.alignment) {
            return Err(Violation::DataOffset { pdu, pdo: wire.pdo });
        }
        let digest = if self.digests.data { DIGEST_LEN as u32 } else { 0 };
        if pdo + digest >= plen {
            return Err(Violation::PduLength { pdu, plen });
        }
        let length = plen - pdo - digest;
        match pdu {
            PduType::CapsuleCmd if length > self.in_capsule_limit => {
                Err(Violation::InCapsuleTooLong { length, limit: self.in_capsule_limit })
            }
            PduType::H2cData if length > self.max_h2c_data => {
                Err(Violation::H2cDataTooLong { length, limit: self.max_h2c_data })
            }
            _ => Ok(length),
        }
    }

    fn finish_header(&mut self) -> Result<Pdu, Violation> {
        let Common { pdu, wire, data_len, header_digest } = self.common;
        let header_len = pdu.header_len();
        if header_digest {
            let mut received = [0; DIGEST_LEN];
            received.copy_from_slice(&self.header[header_len..][..DIGEST_LEN]);
            let (received, computed) = (u32::from_le_bytes(received), crc32c(&self.header[..header_len]));
            if received != computed {
                return Err(Violation::HeaderDigest { pdu, received, computed });
            }
        }
        let value = Pdu::read(pdu, &wire, &self.header[..self.filled], data_len)?;
        let transfer = match &value {
            Pdu::H2cData(data) => Some(data.length),
            Pdu::C2hData(data) => Some(data.length),
            Pdu::R2t(r2t) if r2t.length == 0 => return Err(Violation::NoData(pdu)),
            _ => None,
        };
        match transfer {
            Some(0) => return Err(Violation::NoData(pdu)),
            Some(length) if length != data_len => return Err(Violation::PduLength { pdu, plen: wire.plen.get() }),
            _ => {}
        }
        if matches!(value, Pdu::IcReq(_) | Pdu::IcResp(_)) {
            self.phase = Phase::Negotiating;
        }
        self.state = if data_len == 0 {
            State::Between
        } else {
            self.digest.reset();
            match usize::from(wire.pdo) - self.gathered_len() {
                0 => State::Data { left: data_len },
                left => State::Padding { left },
            }
        };
        Ok(value)
    }
}
