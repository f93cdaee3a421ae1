//! NVMe Qualified Names.

use std::fmt;
use std::sync::Arc;

/// Bytes of a name, without its terminating NUL.
const MAX_LEN: usize = 223;

/// The name of a host or of a subsystem: `nqn.`, the year and month in which its domain belonged to the naming authority, a
/// dot and the rest, such as `nqn.2014-08.org.nvmexpress.discovery`. At most 223 bytes of UTF-8.
///
/// Cloning it does not copy the name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nqn(Arc<str>);

/// Why something is no NVMe Qualified Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NqnError {
    /// Nothing, or more than 223 bytes.
    #[error("a name has 1 to 223 bytes, not {0}")]
    Length(usize),
    /// A field of 256 bytes without NUL.
    #[error("the name is not terminated by NUL")]
    NotTerminated,
    /// Bytes that are no text, or control characters.
    #[error("the name is not printable UTF-8")]
    NotText,
    /// It does not begin as names do.
    #[error("a name begins with nqn.yyyy-mm. and goes on with a domain")]
    Prefix,
}

impl Nqn {
    /// The well-known name of discovery services.
    pub const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";

    /// The name, if it is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &str) -> Result<Self, NqnError> {
        if name.is_empty() || name.len() > MAX_LEN {
            return Err(NqnError::Length(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(NqnError::NotText);
        }
        let well_formed = name.strip_prefix("nqn.").is_some_and(|rest| {
            let bytes = rest.as_bytes();
            bytes.len() > 8
                && bytes[..4].iter().all(u8::is_ascii_digit)
                && bytes[4] == b'-'
                && bytes[5..7].iter().all(u8::is_ascii_digit)
                && bytes[7] == b'.'
        });
        if well_formed { Ok(Self(name.into())) } else { Err(NqnError::Prefix) }
    }

    /// The name in a field of 256 bytes, which NUL ends.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_field(field: &[u8; 256]) -> Result<Self, NqnError> {
        let end = field.iter().position(|byte| *byte == 0).ok_or(NqnError::NotTerminated)?;
        let name = std::str::from_utf8(&field[..end]).map_err(|_| NqnError::NotText)?;
        Self::new(name)
    }

    /// The field of 256 bytes with the name.
    pub fn to_field(&self) -> [u8; 256] {
        let mut field = [0; 256];
        field[..self.0.len()].copy_from_slice(self.0.as_bytes());
        field
    }

    /// The name of discovery services.
    pub fn discovery() -> Self {
        Self(Self::DISCOVERY.into())
    }

    /// Whether it is the name of discovery services.
    pub fn is_discovery(&self) -> bool {
        &*self.0 == Self::DISCOVERY
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Nqn {
    type Err = NqnError;

    fn from_str(name: &str) -> Result<Self, NqnError> {
        Self::new(name)
    }
}

impl fmt::Display for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_in_use() {
        for name in [
            Nqn::DISCOVERY,
            "nqn.2014-08.org.nvmexpress:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "nqn.2016-06.io.spdk:cnode1",
            "nqn.2026-01.example:größe",
        ] {
            let nqn = Nqn::new(name).unwrap();
            assert_eq!(nqn.as_str(), name);
            assert_eq!(Nqn::from_field(&nqn.to_field()), Ok(nqn));
        }
        assert!(Nqn::discovery().is_discovery());
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("nqn.2014-08.{}", "x".repeat(212));
        assert_eq!(long.len(), 224);
        for (name, error) in [
            ("", NqnError::Length(0)),
            (&long, NqnError::Length(224)),
            ("nqn.2014-08.", NqnError::Prefix),
            ("nqn.2014.08.x", NqnError::Prefix),
            ("nqn.201é-8.xyz", NqnError::Prefix),
            ("iqn.2014-08.org.x", NqnError::Prefix),
            ("nqn.2014-08.a\nb", NqnError::NotText),
        ] {
            assert_eq!(Nqn::new(name), Err(error), "{name}");
        }
        assert!(Nqn::new(&long[..223]).is_ok());
    }

    #[test]
    fn fields_that_hosts_could_send() {
        assert_eq!(Nqn::from_field(&[b'n'; 256]), Err(NqnError::NotTerminated));
        let mut field = Nqn::discovery().to_field();
        field[20] = 0xff;
        assert_eq!(Nqn::from_field(&field), Err(NqnError::NotText));
        assert_eq!(Nqn::from_field(&[0; 256]), Err(NqnError::Length(0)));
        let mut field = Nqn::discovery().to_field();
        field[255] = b'x';
        assert!(Nqn::from_field(&field).is_ok(), "what follows the NUL does not count");
    }
}
