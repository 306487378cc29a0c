//! A temporary directory, and bytes to fill files and streams with.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory with a name of its own. Dropping it removes the directory and all files inside.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new, empty directory.
    ///
    /// # Panics
    ///
    /// If there is no place for temporary files.
    #[expect(clippy::new_without_default, reason = "it makes something on the disk")]
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tests-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                // Left by a test that was killed in a PID namespace of its own, where it had the same ID.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("a new directory");
                    return Self(path);
                }
            }
        }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of `name` inside the directory, whether such a file exists or not.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file with `content` and returns its path.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).expect("room on the disk");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A panic here would hide why the test has failed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns `length` bytes that look random and are the same for the same `seed`. No two pieces are alike, so a comparison
/// finds a piece that is missing, doubled or misplaced.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&((state >> 32) as u32).to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}
