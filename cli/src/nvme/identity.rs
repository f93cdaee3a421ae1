//! What a namespace is called everywhere, by which hosts tell one disk from another.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::Deserialize;

use super::host::uuid;
use super::secrets::draw;
use super::store::StoreSpec;
use crate::failure::Failure;

/// A UUID as people write it, but not the one of nothing but zeroes, which stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Uuid(pub(super) [u8; 16]);

impl TryFrom<String> for Uuid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mistake = || format!("'{text}' is no UUID, such as 5d0d5e6f-5a94-4c42-8d6d-5b8b6a8f7c11");
        let parts: Vec<&str> = text.split('-').collect();
        let digits: Option<Vec<u8>> = text.chars().filter(|c| *c != '-').map(|c| Some(c.to_digit(16)? as u8)).collect();
        let digits = digits.filter(|_| parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])).ok_or_else(mistake)?;
        let mut uuid = [0; 16];
        for (byte, pair) in uuid.iter_mut().zip(digits.chunks(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        if uuid == [0; 16] { Err(mistake()) } else { Ok(Self(uuid)) }
    }
}

/// The UUID of a namespace that was given none. It goes with the data: a host that sends commands again after it has lost the target must find the disk that
/// they were meant for, and not another one, or none of what it has written.
///
/// What is in memory is another disk in each process. What is nowhere is always the same. A file is known by its place and by what the file system calls it, so
/// that one which was put in its place is another; a block device by its name and number.
pub(super) fn of_store(subsystem: &str, nsid: u32, store: &StoreSpec) -> Result<[u8; 16], Failure> {
    let name = match store {
        StoreSpec::Null(_) => "null".to_owned(),
        StoreSpec::Memory(_) => {
            let mut random = [0; 16];
            draw(&mut random)?;
            format!("memory {random:x?}")
        }
        StoreSpec::File(path) => name_of_file(path).map_err(|error| Failure::file("read", path, &error))?,
    };
    Ok(uuid(format!("{subsystem}#{nsid}#{name}").as_bytes()))
}

fn name_of_file(path: &Path) -> std::io::Result<String> {
    let path = path.canonicalize()?;
    let metadata = path.metadata()?;
    let number = match metadata.file_type().is_block_device() {
        true => format!("device {}", metadata.rdev()),
        false => format!("file {}:{}", metadata.dev(), metadata.ino()),
    };
    // Names that are not UTF-8 stay apart.
    Ok(format!("{number} {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::host::format_uuid;
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
    fn what_holds_the_data_is_what_is_recognised() {
        let path = |name: &str| std::env::temp_dir().join(format!("mptcp-identity-{}-{name}", std::process::id()));
        let (first, second) = (path("first"), path("second"));
        for path in [&first, &second] {
            std::fs::write(path, [1; 4096]).unwrap();
        }
        let of = |store: &StoreSpec| of_store("disk", 1, store).unwrap();
        let file = |path: &Path| of(&StoreSpec::File(path.to_owned()));
        let before = file(&first);
        assert_eq!(before, file(&first.parent().unwrap().join(".").join(first.file_name().unwrap())));
        assert_ne!(before, file(&second), "another file under the same number");
        std::fs::rename(&second, &first).unwrap();
        assert_ne!(before, file(&first), "another file in its place");
        std::fs::remove_file(&first).unwrap();
        assert!(of_store("disk", 1, &StoreSpec::File(first)).is_err());

        let (memory, null) = (StoreSpec::Memory(4096), StoreSpec::Null(4096));
        assert_ne!(of(&memory), of(&memory), "what was in it is gone");
        assert_eq!(of(&null), of(&null), "there was nothing in it");
        assert_ne!(of(&null), of_store("disk", 2, &null).unwrap());
    }
}
