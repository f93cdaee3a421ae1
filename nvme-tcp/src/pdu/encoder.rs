//! From PDUs to gather lists.

use bytes::{BufMut, Bytes};
use zerocopy::IntoBytes;

use super::header::{CH_LEN, CommonHeader, DDGSTF, HDGSTF};
use super::{Crc32c, Digests, Parameters, Pdu, Role, crc32c};
use crate::blocks::Blocks;

/// Bytes of a block of headers and digests: of some eighty transfers.
const BLOCK: usize = 4096;
/// Blocks that are kept while all of them are in use.
const MAX_BLOCKS: usize = 16;

/// Makes the PDUs that one end of a connection sends.
///
/// Headers are cut from blocks that are used again once everything cut from them has been dropped, so that in steady state
/// nothing is allocated.
#[derive(Debug)]
pub struct Encoder {
    role: Role,
    digests: Digests,
    /// To how many bytes data is aligned that is sent.
    alignment: usize,
    blocks: Blocks,
    digest: Crc32c,
}

impl Encoder {
    /// An encoder for what this end sends on a new connection.
    pub fn new(sender: Role) -> Self {
        Self {
            role: sender,
            digests: Digests::NONE,
            alignment: 4,
            blocks: Blocks::new(BLOCK, MAX_BLOCKS),
            digest: Crc32c::new(),
        }
    }

    /// Says what ICReq and ICResp have agreed on, after the last of them was encoded.
    pub fn establish(&mut self, parameters: &Parameters) {
        self.digests = parameters.digests;
        self.alignment = match self.role {
            Role::Host => parameters.controller_alignment.bytes(),
            Role::Controller => parameters.host_alignment.bytes(),
        };
    }

    /// Appends a PDU without data to `out`, and returns its length in bytes.
    ///
    /// # Panics
    /// See [`encode_with_data`](Self::encode_with_data).
    pub fn encode(&mut self, pdu: &Pdu, out: &mut Vec<Bytes>) -> usize {
        self.encode_with_data(pdu, std::iter::empty(), out)
    }

    /// Appends a PDU to `out`, with pieces of data as they are given, and returns its length in bytes.
    ///
    /// # Panics
    /// If the pieces do not have [`Pdu::data_len`] bytes together; if this end does not send such a PDU; or if the copy in a
    /// TermReq is longer than [`TermReq::MAX_HEADER`](super::TermReq::MAX_HEADER).
    pub fn encode_with_data(
        &mut self,
        pdu: &Pdu,
        data: impl IntoIterator<Item = Bytes>,
        out: &mut Vec<Bytes>,
    ) -> usize {
        let (pdu_type, data_len) = (pdu.pdu_type(), pdu.data_len() as usize);
        assert_ne!(pdu_type.receiver(), self.role, "a {} is not sent by the {}", pdu_type, self.role);
        let header_len = pdu_type.header_len();
        let header_digest = self.digests.header && pdu_type.takes_header_digest();
        let data_digest = self.digests.data && data_len > 0;
        let header_end = header_len + if header_digest { 4 } else { 0 };
        let copy = match pdu {
            Pdu::H2cTermReq(request) | Pdu::C2hTermReq(request) => request.header.len(),
            _ => 0,
        };
        assert!(copy <= super::TermReq::MAX_HEADER, "a TermReq has room for 128 bytes of a header");
        let pdo = if data_len > 0 { header_end.next_multiple_of(self.alignment) } else { 0 };
        let plen = pdo.max(header_end) + copy + data_len + if data_digest { 4 } else { 0 };

        let block = self.blocks.room(pdo.max(header_end) + copy + 4);
        block.resize(pdo.max(header_end) + copy, 0);
        let flags = pdu.write(&mut block[CH_LEN..])
            | if header_digest { HDGSTF } else { 0 }
            | if data_digest { DDGSTF } else { 0 };
        let common = CommonHeader {
            pdu_type: pdu_type as u8,
            flags,
            hlen: header_len as u8,
            pdo: pdo as u8,
            plen: u32::try_from(plen).expect("data, whose length has 32 bits, is far shorter").into(),
        };
        block[..CH_LEN].copy_from_slice(common.as_bytes());
        if header_digest {
            let digest = crc32c(&block[..header_len]);
            block[header_len..header_end].copy_from_slice(&digest.to_le_bytes());
        }
        out.push(block.split().freeze());
        let sent = self.append_data(data, data_digest, out);
        assert_eq!(sent, data_len, "the data of a {pdu_type} is as long as its header says");
        plen
    }

    /// Appends the pieces and their digest; returns the bytes of the pieces.
    fn append_data(&mut self, data: impl IntoIterator<Item = Bytes>, digest: bool, out: &mut Vec<Bytes>) -> usize {
        let mut sent = 0;
        self.digest.reset();
        for piece in data {
            sent += piece.len();
            if digest {
                self.digest.update(&piece);
            }
            out.push(piece);
        }
        if digest {
            let block = self.blocks.room(4);
            block.put_u32_le(self.digest.value());
            out.push(block.split().freeze());
        }
        sent
    }
}
