//! The Fast Open option (RFC 7413 section 4.1.1).

use crate::native::wire::{FAST_OPEN, OptionWriter, each_option};

/// A cookie: opaque to whoever did not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) struct Cookie {
    bytes: [u8; Self::MAX],
    /// 4 to 16, even.
    len: u8,
}

/// The option on a SYN or a SYN/ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum Offer {
    /// A cookie is asked for.
    Request,
    /// One is handed out, or brought back.
    Cookie(Cookie),
}

impl Cookie {
    const MAX: usize = 16;

    /// The cookie of these bytes: an even number from 4 to 16.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut cookie = Self { bytes: [0; Self::MAX], len: 0 };
        let len = bytes.len().min(Self::MAX);
        cookie.bytes[..len].copy_from_slice(&bytes[..len]);
        cookie.len = u8::try_from(len).unwrap_or(0);
        cookie
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Offer {
    /// The option among those of a SYN. One of a length that cannot be is ignored.
    pub(in crate::native) fn find(options: &[u8]) -> Option<Self> {
        each_option(options).find_map(|(kind, value)| match (kind, value.len()) {
            (FAST_OPEN, 0) => Some(Self::Request),
            (FAST_OPEN, 4 | 6 | 8 | 10 | 12 | 14 | 16) => Some(Self::Cookie(Cookie::of(value))),
            _ => None,
        })
    }

    /// Writes the option; false if there is no room.
    pub(in crate::native) fn emit(self, options: &mut OptionWriter) -> bool {
        let (option, len) = self.to_bytes();
        options.raw(&option[..len])
    }

    /// The whole option, as bytes and their number.
    fn to_bytes(self) -> ([u8; 2 + Cookie::MAX], usize) {
        let mut option = [0; 2 + Cookie::MAX];
        let len = match &self {
            Self::Request => 2,
            Self::Cookie(cookie) => {
                let value = cookie.as_slice();
                option[2..2 + value.len()].copy_from_slice(value);
                2 + value.len()
            }
        };
        option[0] = FAST_OPEN;
        option[1] = u8::try_from(len).unwrap_or(2);
        (option, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_round_trip() {
        for offer in [Offer::Request, Offer::Cookie(Cookie::of(&[1, 2, 3, 4])), Offer::Cookie(Cookie::of(&[7; 16]))] {
            let (bytes, len) = offer.to_bytes();
            let options = [&[2, 4, 5, 0xb4, 1][..], &bytes[..len], &[3, 3, 7]].concat();
            assert_eq!(Offer::find(&options), Some(offer));
        }
    }

    #[test]
    fn impossible_lengths_are_ignored() {
        for len in [3, 4, 5, 7, 9, 17, 19, 20] {
            let mut option = vec![0; usize::from(len)];
            (option[0], option[1]) = (FAST_OPEN, len);
            assert_eq!(Offer::find(&option), None, "{len}");
        }
        for malformed in [&[FAST_OPEN][..], &[FAST_OPEN, 0], &[FAST_OPEN, 1], &[FAST_OPEN, 8, 1, 2], &[0, FAST_OPEN, 2]]
        {
            assert_eq!(Offer::find(malformed), None, "{malformed:?}");
        }
    }
}
