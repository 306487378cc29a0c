//! Opening regular files, and refusing all other kinds.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::because;

/// Opens a regular file for reading. May block, as every file operation.
///
/// Other kinds are refused because they do not work here: a folder can be opened, but not read, and opening a FIFO
/// blocks until a writer opens it, perhaps for ever.
///
/// # Errors
///
/// The errors of `stat(2)` and `open(2)`, and `InvalidInput` for other kinds of files. The message names the path.
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
