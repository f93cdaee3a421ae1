//! Folders that the command line names.

use std::path::Path;

use crate::failure::Failure;

/// What an option names must be a folder, or not be there yet: it is a mistake if it is anything else.
pub(super) fn check(option: &str, folder: &Path) -> Result<(), Failure> {
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::Usage(format!("{option} {}: this is a file", folder.display())));
    }
    Ok(())
}
