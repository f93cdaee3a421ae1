//! What ICReq and ICResp negotiate.

use super::{IcReq, IcResp, Violation};

/// Which digests PDUs carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digests {
    /// HDGST, a CRC-32C of the header.
    pub header: bool,
    /// DDGST, a CRC-32C of the data.
    pub data: bool,
}

impl Digests {
    /// No digests.
    pub const NONE: Self = Self { header: false, data: false };
    /// Both digests.
    pub const BOTH: Self = Self { header: true, data: true };

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self { header: bits & 1 != 0, data: bits & 2 != 0 }
    }

    pub(crate) const fn bits(self) -> u8 {
        self.header as u8 | (self.data as u8) << 1
    }
}

/// To what the beginning of a PDU's data is aligned, counted from the beginning of the PDU: HPDA and CPDA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Alignment(u8);

impl Alignment {
    /// To 4 bytes, which every peer can do.
    pub const DWORD: Self = Self(0);

    /// From HPDA or CPDA: dwords, counted from 0, up to 31.
    ///
    /// # Errors
    /// More than 31.
    pub const fn from_dwords(dwords: u8) -> Result<Self, Violation> {
        if dwords > 31 { Err(Violation::AlignmentRange(dwords)) } else { Ok(Self(dwords)) }
    }

    /// Dwords, counted from 0.
    pub const fn dwords(self) -> u8 {
        self.0
    }

    /// Bytes, 4 to 128.
    pub const fn bytes(self) -> usize {
        (self.0 as usize + 1) * 4
    }
}

/// What both ends have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Digests, in both directions.
    pub digests: Digests,
    /// HPDA: how data is aligned that the host receives.
    pub host_alignment: Alignment,
    /// CPDA: how data is aligned that the controller receives.
    pub controller_alignment: Alignment,
    /// MAXR2T: R2Ts that may be outstanding for one command, from 1.
    pub max_r2t: u32,
    /// MAXH2CDATA: bytes that one H2CData may carry.
    pub max_h2c_data: u32,
}

/// What a controller is willing to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerOffer {
    /// Digests that it uses if the host asks for them.
    pub digests: Digests,
    /// CPDA. Linux hosts accept only [`Alignment::DWORD`].
    pub alignment: Alignment,
    /// MAXH2CDATA, in bytes: a multiple of 4, at least 4096.
    pub max_h2c_data: u32,
}

impl Default for ControllerOffer {
    fn default() -> Self {
        Self { digests: Digests::BOTH, alignment: Alignment::DWORD, max_h2c_data: 128 * 1024 }
    }
}

impl ControllerOffer {
    /// The answer to a host, and what holds from then on.
    pub fn answer(&self, request: &IcReq) -> (IcResp, Parameters) {
        let parameters = Parameters {
            digests: Digests {
                header: self.digests.header && request.digests.header,
                data: self.digests.data && request.digests.data,
            },
            host_alignment: request.alignment,
            controller_alignment: self.alignment,
            max_r2t: request.max_r2t,
            max_h2c_data: self.max_h2c_data,
        };
        let response = IcResp {
            alignment: parameters.controller_alignment,
            digests: parameters.digests,
            max_h2c_data: parameters.max_h2c_data,
        };
        (response, parameters)
    }
}

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostOffer {
    /// Digests that it insists on: the controller has to agree on exactly these.
    pub digests: Digests,
    /// HPDA. Linux targets accept only [`Alignment::DWORD`].
    pub alignment: Alignment,
    /// R2Ts for one command that it can have outstanding, from 1.
    pub max_r2t: u32,
}

impl Default for HostOffer {
    fn default() -> Self {
        Self { digests: Digests::NONE, alignment: Alignment::DWORD, max_r2t: 1 }
    }
}

impl HostOffer {
    /// The PDU that asks for it.
    pub fn request(&self) -> IcReq {
        IcReq { alignment: self.alignment, digests: self.digests, max_r2t: self.max_r2t.max(1) }
    }

    /// What holds after this answer.
    ///
    /// # Errors
    /// Other digests than were asked for: a host that wants its data protected must not go on without, and one that cannot
    /// compute digests cannot.
    pub fn accept(&self, response: &IcResp) -> Result<Parameters, Violation> {
        if response.digests != self.digests {
            return Err(Violation::DigestsNotAsked(response.digests.bits()));
        }
        Ok(Parameters {
            digests: self.digests,
            host_alignment: self.alignment,
            controller_alignment: response.alignment,
            max_r2t: self.max_r2t.max(1),
            max_h2c_data: response.max_h2c_data,
        })
    }
}
