//! The UUID of a namespace that was given none, by which hosts tell one disk from another.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::names::uuid;
use super::secrets::draw;
use super::store::StoreSpec;
use crate::failure::Failure;

/// The UUID of a namespace that was given none. It goes with the data: a host that sends commands again after it has lost the target must find the disk that
/// they were meant for, and not another one, or none of what it has written.
///
/// What is in memory is another disk in each process. What is nowhere is always the same. A file is known by its place and by what the file system calls it, so
/// that one which was put in its place is another; a block device by what it says of itself.
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
    let metadata = path.metadata()?;
    if metadata.file_type().is_block_device() {
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        return name_of_device(&Path::new("/sys/dev/block").join(format!("{major}:{minor}")), path);
    }
    // Names that are not UTF-8 stay apart.
    Ok(format!("file {}:{} {:?}", metadata.dev(), metadata.ino(), path.canonicalize()?))
}

/// The name of a block device, which the kernel describes in `description`: that of device-mapper, of an NVMe namespace, or of a SCSI disk. Numbers, and the names that
/// the kernel gives in the order in which it finds devices, may be those of others after a restart: of what has no name of its own, whoever gave the path has
/// chosen one that stays.
fn name_of_device(description: &Path, path: &Path) -> std::io::Result<String> {
    let told = ["dm/uuid", "wwid", "device/wwid"].iter().find_map(|file| {
        let text = std::fs::read_to_string(description.join(file)).ok()?;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    });
    Ok(match told {
        Some(name) => format!("device {name}"),
        None => format!("device at {:?}", std::path::absolute(path)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

        let description = path("description");
        let device = |path: &str| name_of_device(&description, Path::new(path)).unwrap();
        assert_eq!(device("/dev/by-id/a"), device("/dev/by-id/a"));
        assert_ne!(device("/dev/by-id/a"), device("/dev/by-id/b"), "nothing else is known of it");
        for (file, name) in [("device/wwid", "naa.5\n"), ("wwid", "eui.7\n"), ("dm/uuid", "LVM-9"), ("dm/uuid", "\n")] {
            let before = device("/dev/sda");
            std::fs::create_dir_all(description.join(file).parent().unwrap()).unwrap();
            std::fs::write(description.join(file), name).unwrap();
            assert_eq!(device("/dev/sda"), device("/dev/sdb"), "wherever it is found: {name}");
            assert_ne!(device("/dev/sda"), before, "{name} tells more");
        }
        assert_eq!(device("/dev/sda"), "device eui.7", "an empty name is none");
        std::fs::remove_dir_all(&description).unwrap();

        let (memory, null) = (StoreSpec::Memory(4096), StoreSpec::Null(4096));
        assert_ne!(of(&memory), of(&memory), "what was in it is gone");
        assert_eq!(of(&null), of(&null), "there was nothing in it");
        assert_ne!(of(&null), of_store("disk", 2, &null).unwrap());
    }
}
