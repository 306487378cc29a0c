//! Regular files, and nothing that only looks like one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::because;

/// Opens a regular file for reading. It may block, as all that has to do with files.
///
/// A folder could be opened, but not read; opening a FIFO waits until somebody writes to it, which may be never.
///
/// # Errors
///
/// Those of `stat(2)` and `open(2)`, and `InvalidInput` for what is no regular file, with the path.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let open = || {
        if fs::metadata(path)?.is_file() {
            File::open(path)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
    };
    open().map_err(because(format!("cannot read {path:?}")))
}
