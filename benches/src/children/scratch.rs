//! Temporary files for the output of the tools.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file name in the directory for temporary files. The file is removed when this value is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Returns a unique name: process id, a number, and `what`.
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("benches-{}-{number}.{what}", std::process::id())))
    }

    /// Returns the path for the tool's output.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the tool's output.
    pub(crate) fn read(&self) -> io::Result<String> {
        std::fs::read_to_string(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // This fails only if the tool has written nothing.
        let _ = std::fs::remove_file(&self.0);
    }
}
