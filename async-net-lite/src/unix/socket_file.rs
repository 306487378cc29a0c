//! The file that a bound socket has: its permissions, and who may remove it.
//!
//! `bind(2)` makes a file, and nothing ever removes it: not closing the socket, not the end of the process. A server that
//! starts again finds the file of its former self in the way. The usual remedy, to remove whatever is there, has removed
//! regular files, targets of symbolic links and the sockets of servers that were alive. So:
//!
//! ```text
//!   bind ─AddrInUse─► open it (O_PATH, no symlink) ─► a socket? ─► ours, by uid? ─► does connecting to *that* one fail
//!                                                                                   with ECONNREFUSED?
//!                                                                                        │ yes: nobody listens
//!        bind again ◄── remove the path ◄── does the path still lead to the same file? ◄──┘
//!                                     any "no" on the way: AddrInUse, with the reason
//! ```
//!
//! What is checked is held by a descriptor, so it cannot be exchanged meanwhile. Two races are left, since there is no
//! system call "remove this path if it leads to that file": between the last check and the removal, somebody else may
//! remove the same stale file and bind a socket of his own, which is then the one that we remove; and a server that has
//! bound its socket and does not listen yet looks stale. Both need two servers that start at the same moment on the same
//! path, as the same user. A lock of the user's own prevents that.

use super::address;
use crate::socket::socket::{self, uninterrupted};
use async_epoll::Handle;
use socket2::{Domain, Socket, Type};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o777;

/// What may be asked for beside the address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// The permissions of the file, whatever the umask says.
    pub(crate) mode: Option<u32>,
    /// A stale file of ours in the way is removed.
    pub(crate) remove_stale: bool,
    /// The file is removed with the socket.
    pub(crate) unlink_on_drop: bool,
}

/// A new socket of this kind, bound to `address`; and what removes its file if it is dropped.
pub(crate) fn bind(
    kind: Type,
    address: &SocketAddr,
    policy: &Policy,
    handle: &Handle,
) -> io::Result<(Socket, Option<SocketFile>)> {
    let mut socket = socket::open(Domain::UNIX, kind)?;
    socket::check_reactor(socket.as_fd(), handle)?;
    let name = address::to_kernel(address)?;
    let path = address.as_pathname();
    if let Some(mode) = policy.mode {
        if mode & !PERMISSIONS != 0 {
            let message = format!("{mode:#o} is no mode of a socket: only the bits of {PERMISSIONS:#o} have a meaning");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if path.is_none() {
            let message = "an abstract name has no permissions, everybody may connect to it: give a path for a mode";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // The mode of the socket's own inode is the one that the file will have, less the umask. So there is no moment in
        // which it has more than was asked for. (To change the umask for a moment would change it for all threads.)
        let file = File::from(OwnedFd::from(socket));
        file.set_permissions(Permissions::from_mode(mode))?;
        socket = Socket::from(OwnedFd::from(file));
    }
    match (uninterrupted(|| socket.bind(&name)), path) {
        (Err(error), Some(path)) if error.kind() == io::ErrorKind::AddrInUse && policy.remove_stale => {
            // The inode of a new socket belongs to whom files that we make will belong to.
            let file = File::from(OwnedFd::from(socket));
            remove_stale(path, kind, file.metadata()?.uid())?;
            socket = Socket::from(OwnedFd::from(file));
            // Has somebody else been quicker? Then he may have it.
            uninterrupted(|| socket.bind(&name))?;
        }
        (result, _) => result?,
    }
    let Some(path) = path.filter(|_| policy.mode.is_some() || policy.unlink_on_drop) else {
        return Ok((socket, None));
    };
    let found = std::fs::symlink_metadata(path)?;
    // From here on, whatever fails removes the file again.
    let bound = SocketFile::new(path, &found)?;
    if let Some(mode) = policy.mode.filter(|mode| found.mode() & PERMISSIONS != *mode) {
        // The umask has taken something away. By way of a descriptor, so that no symlink leads us elsewhere.
        let (file, now) = open(path)?;
        if !same(&now, found.dev(), found.ino()) {
            return Err(io::Error::other(format!("{path:?} was replaced while its permissions were being set")));
        }
        std::fs::set_permissions(by_descriptor(&file), Permissions::from_mode(mode))?;
    }
    Ok((socket, Some(bound)))
}

/// Opens what `path` leads to, without following a symlink there and without the right to read it.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// A path to what a descriptor refers to, whatever has happened to the path by which it was opened.
fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Removes a socket's file that `owner` has left behind; see the top of this file.
fn remove_stale(path: &Path, kind: Type, owner: u32) -> io::Result<()> {
    let in_use = |why: &str| {
        let message = format!("{path:?} is in use and has not been removed: {why}");
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    };
    let (file, found) = match open(path) {
        // Somebody else has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if !found.file_type().is_socket() {
        return in_use("it is not a socket");
    }
    if found.uid() != owner {
        return in_use("it belongs to another user");
    }
    // A short path, however long the real one is.
    let probe = SocketAddr::from_pathname(by_descriptor(&file))?;
    let (probe, socket) = (address::to_named(&probe)?, socket::open(Domain::UNIX, kind)?);
    match uninterrupted(|| socket.connect(&probe)) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
        // A full queue is one that somebody owns, and a wrong type is that of a living socket.
        Ok(()) => return in_use("a server listens there"),
        Err(error) => return in_use(&format!("connecting to it says: {error}")),
    }
    match std::fs::symlink_metadata(path) {
        Ok(now) if same(&now, found.dev(), found.ino()) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Ok(_) => in_use("it has just been made anew"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this is that inode.
fn same(metadata: &Metadata, device: u64, inode: u64) -> bool {
    (metadata.dev(), metadata.ino()) == (device, inode)
}

/// Removes the file of a bound socket when it is dropped, if it is still that file.
///
/// To be dropped before its socket is closed. While that is open it keeps the inode alive, so no other file can have the
/// same number, and comparing numbers is exact.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// Where it is. Absolute, since the process may go elsewhere.
    path: PathBuf,
    /// The device of its inode.
    device: u64,
    /// Its inode.
    inode: u64,
    /// The process that may remove it: not a forked child, which has all of this, too. 0 for none.
    process: AtomicU32,
}

impl SocketFile {
    /// The file of a socket that was just bound.
    fn new(path: &Path, found: &Metadata) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self { path, device: found.dev(), inode: found.ino(), process: AtomicU32::new(std::process::id()) })
    }

    /// Leaves the file where it is, for good.
    pub(crate) fn keep(&self) {
        self.process.store(0, Ordering::Relaxed);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.process.get_mut() != std::process::id() {
            return;
        }
        if std::fs::symlink_metadata(&self.path).is_ok_and(|now| same(&now, self.device, self.inode)) {
            // What cannot be removed stays; there is nobody to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A socket, and its file.
#[derive(Debug)]
pub(crate) struct Bound<S> {
    /// Before the socket, as it wants to be.
    file: Option<SocketFile>,
    pub(crate) socket: S,
}

impl<S> Bound<S> {
    /// The file is removed with the socket, if there is one.
    pub(crate) fn new(socket: S, file: Option<SocketFile>) -> Self {
        Self { file, socket }
    }

    /// Leaves the file where it is, for good.
    pub(crate) fn keep_file(&self) {
        if let Some(file) = &self.file {
            file.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a forked child that drops its copy of everything, the parent's file hears nothing.
    #[test]
    fn another_process_removes_nothing() {
        let path = std::env::temp_dir().join(format!("socket-file-{}", std::process::id()));
        let address = SocketAddr::from_pathname(&path).unwrap();
        let policy = Policy { unlink_on_drop: true, ..Policy::default() };
        let reactor = async_epoll::Reactor::new().unwrap();
        let (_socket, file) = bind(Type::STREAM, &address, &policy, &reactor.handle()).unwrap();
        let file = file.unwrap();
        let ours = file.process.swap(std::process::id() + 1, Ordering::Relaxed);
        let found = std::fs::symlink_metadata(&path).unwrap();
        drop(file);
        assert!(path.exists());
        let file = SocketFile::new(&path, &found).unwrap();
        assert_eq!(file.process.load(Ordering::Relaxed), ours);
        drop(file);
        assert!(!path.exists());
    }
}
