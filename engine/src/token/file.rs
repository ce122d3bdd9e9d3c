//! Reads a file that the settings name, and says what to do where it is of no use.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::limits::KEY_FILE_BYTES_MAX;

/// What `parse` makes of the file's content.
///
/// # Errors
/// In words: what is wrong, and what to do.
pub(super) fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let about = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if about.is_dir() {
        return Err("that is a folder; name the file in it".into());
    }
    let length = about.len();
    if length > KEY_FILE_BYTES_MAX {
        return Err(format!("{length} bytes; {KEY_FILE_BYTES_MAX} are taken"));
    }
    parse(&fs::read(path).map_err(|error| unreadable(&error))?)
}

fn unreadable(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file: put it there, or correct the path".into(),
        ErrorKind::PermissionDenied => {
            "this user may not read it, or a folder above it: chown or chmod it for the user of the node"
                .into()
        }
        _ => error.to_string(),
    }
}
