//! What hosts, subsystems and namespaces are called everywhere: NQNs and UUIDs, from people and for them.

use nvme_tcp::command::Nqn;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::human::parse_hex;

/// A UUID as people write it, but not the one of nothing but zeroes, which stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Uuid(pub(super) [u8; 16]);

impl TryFrom<String> for Uuid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mistake = || format!("'{text}' is no UUID, such as 5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11");
        let has_form = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let bytes = parse_hex(&text.replace('-', "")).filter(|_| has_form).ok_or_else(mistake)?;
        let uuid = bytes.try_into().map_err(|_| mistake())?;
        if uuid == [0; 16] { Err(mistake()) } else { Ok(Self(uuid)) }
    }
}

/// A UUID as it is written.
pub(super) fn format_uuid(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A UUID made of a name, the same each time (RFC 9562 section 5.8).
pub(super) fn uuid(name: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = 0x80 | (uuid[6] & 0x0f);
    uuid[8] = 0x80 | (uuid[8] & 0x3f);
    uuid
}

pub(super) fn parse_nqn(name: &str) -> Result<Nqn, Failure> {
    Nqn::new(name).map_err(|error| Failure::Usage(format!("'{name}' is not the name of a subsystem or host: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_from_text() {
        let text = "5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11";
        let uuid = Uuid::try_from(text.to_owned()).unwrap();
        assert_eq!((uuid.0[0], uuid.0[15], format_uuid(&uuid.0)), (0x5d, 0x11, text.to_owned()));
        for mistake in
            ["", "5d0d5e6f", &text.replace('d', "x"), &text.replace('-', ""), &text.replace(|c| c != '-', "0")]
        {
            assert!(Uuid::try_from(mistake.to_owned()).is_err(), "{mistake}");
        }
    }

    #[test]
    fn uuids_are_of_version_8_and_stay() {
        let text = format_uuid(&uuid(b"a host"));
        assert_eq!(text.len(), 36);
        assert_eq!((&text[14..15], text[19..20].contains(['8', '9', 'a', 'b'])), ("8", true));
        assert_eq!(uuid(b"a host"), uuid(b"a host"));
        assert_ne!(uuid(b"a host"), uuid(b"another"));
    }
}
