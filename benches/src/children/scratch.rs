//! Files for what the tools write, removed when dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file name in the directory for temporary files.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A name that nobody else uses.
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("benches-{}-{number}.{what}", std::process::id())))
    }

    /// Where the tool shall write.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What the tool has written.
    pub(crate) fn read(&self) -> io::Result<String> {
        std::fs::read_to_string(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It fails only if the tool has written nothing.
        let _ = std::fs::remove_file(&self.0);
    }
}
