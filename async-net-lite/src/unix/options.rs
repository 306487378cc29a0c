//! The options with which a listener or a datagram socket is bound: backlog, permissions and the handling of stale
//! files.
//!
//! The checks and the removal of a file are in `socket_file.rs`. The plain constructors of the sockets, without
//! options, are in `bind.rs`.

use super::address;
use super::datagram::UnixDatagram;
use super::listener::UnixListener;
use super::socket_file::{self, Policy};
use crate::socket::options::{BACKLOG, saturate};
use async_epoll::Handle;
use socket2::Type;
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// The options of a [`UnixListener`] or a [`UnixDatagram`], and the functions that bind one.
///
/// # Examples
///
/// A server with a socket that only its own user may use. The server starts again after a crash, and removes the file
/// when it ends.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::{UnixListenOptions, UnixStream};
/// use std::os::unix::fs::PermissionsExt;
/// # let path = std::env::temp_dir().join(format!("unix-options-doc-{}", std::process::id()));
///
/// async_epoll::block_on(async {
///     // A crashed server has left this file behind.
///     drop(std::os::unix::net::UnixListener::bind(&path)?);
///
///     let options = UnixListenOptions::new().mode(0o600).remove_stale(true).unlink_on_drop(true);
///     let listener = options.bind(&path)?;
///     assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o600);
///     UnixStream::connect(&path).await?;
///     drop(listener);
///     assert!(!path.exists());
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is bound"]
pub struct UnixListenOptions {
    /// The options for the file.
    policy: Policy,
    /// The number of connections that the kernel queues. Set by the user.
    backlog: u32,
}

impl UnixListenOptions {
    /// Returns the default options: a backlog of 1024, permissions by the umask, and a file that is never removed.
    pub fn new() -> Self {
        Self { policy: Policy::default(), backlog: BACKLOG }
    }

    /// Sets the backlog: the number of connections that the kernel queues before they are accepted. The default is
    /// 1024.
    ///
    /// The kernel cuts the number to `/proc/sys/net/core/somaxconn`, and queues one connection more. Further clients
    /// have to wait. The option does not affect datagram sockets.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Sets the permissions of the socket's file, such as `0o600`, independent of the umask. To connect or send, a
    /// process needs the write permission.
    ///
    /// The file never has more permissions, not even for a moment. Without this option it has `0o777` less the umask,
    /// so `0o755` under the usual umask: only its owner may connect. A directory that only its owner may enter gives
    /// more protection: other users cannot replace the socket's file, either.
    pub fn mode(mut self, mode: u32) -> Self {
        self.policy.mode = Some(mode);
        self
    }

    /// Sets whether binding removes a stale file, which an earlier run has left at the path. The default is false:
    /// binding fails with `AddrInUse`.
    ///
    /// The file is removed only if it is a socket, belongs to the same user, and refuses a connection, so no server
    /// listens. Symbolic links are not followed, and other files stay. (A live server sees a connection that ends at
    /// once.)
    ///
    /// If two servers start at the same path at the same moment, one can still remove the other's file, since Linux has
    /// no conditional unlink. If this may happen, hold a lock of your own while binding.
    pub fn remove_stale(mut self, remove: bool) -> Self {
        self.policy.remove_stale = remove;
        self
    }

    /// Sets whether the socket's file is removed when the socket is dropped. The default is false: the file stays.
    ///
    /// The file is removed only if it is still the same file, and not if another file has replaced it. A forked child
    /// that drops its copy of the socket does not remove the file. After `into_std`, the file is the caller's to
    /// remove.
    pub fn unlink_on_drop(mut self, unlink: bool) -> Self {
        self.policy.unlink_on_drop = unlink;
        self
    }

    /// Binds a listener to a path, on the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        self.bind_addr(&address::from_path(path.as_ref())?)
    }

    /// Binds as [`bind`](Self::bind) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListenOptions;
    /// # let path = std::env::temp_dir().join(format!("unix-options-with-doc-{}", std::process::id()));
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let options = UnixListenOptions::new().unlink_on_drop(true);
    /// let listener = options.bind_with(&path, &runtime.handle())?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_with(&self, path: impl AsRef<Path>, handle: &Handle) -> io::Result<UnixListener> {
        self.bind_addr_with(&address::from_path(path.as_ref())?, handle)
    }

    /// Binds a listener to an address, on the current reactor. For an unnamed address, the kernel chooses a free
    /// abstract name.
    ///
    /// # Errors
    ///
    /// - `AddrInUse` if the file exists or a socket has the name. With [`remove_stale`](Self::remove_stale), the
    ///   message says why the file was not removed.
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes, and for a
    ///   [`mode`](Self::mode) with other bits than permissions or together with an abstract name.
    /// - `NotFound`, `PermissionDenied` and others of `bind(2)`: the directory must exist, and be writable for this
    ///   process.
    /// - `NotConnected` without a current reactor, and if the reactor has been dropped. No file exists then.
    pub fn bind_addr(&self, address: &SocketAddr) -> io::Result<UnixListener> {
        self.bind_addr_with(address, &Handle::current()?)
    }

    /// Binds as [`bind_addr`](Self::bind_addr) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListenOptions;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let options = UnixListenOptions::new().backlog(16);
    /// let listener = options.bind_addr_with(&SocketAddr::from_pathname("")?, &runtime.handle())?;
    /// assert!(!listener.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr_with(&self, address: &SocketAddr, handle: &Handle) -> io::Result<UnixListener> {
        let (socket, file) = socket_file::bind(Type::STREAM, address, &self.policy, handle)?;
        // If this fails, dropping `file` removes the file.
        socket.listen(saturate(self.backlog))?;
        Ok(UnixListener::from_bound(socket.into(), self.guard(file), handle))
    }

    /// Binds a datagram socket to a path, on the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListenOptions;
    /// # let path = std::env::temp_dir().join(format!("unix-options-datagram-doc-{}", std::process::id()));
    ///
    /// async_epoll::block_on(async {
    ///     let socket = UnixListenOptions::new().mode(0o600).unlink_on_drop(true).bind_datagram(&path)?;
    ///     assert_eq!(socket.local_addr()?.as_pathname(), Some(&*path));
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn bind_datagram(&self, path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        self.bind_datagram_addr(&address::from_path(path.as_ref())?)
    }

    /// Binds as [`bind_datagram`](Self::bind_datagram) does, with the reactor of `handle` instead of the current
    /// reactor.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListenOptions;
    /// # let path = std::env::temp_dir().join(format!("unix-options-datagram-with-doc-{}", std::process::id()));
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let options = UnixListenOptions::new().unlink_on_drop(true);
    /// let socket = options.bind_datagram_with(&path, &runtime.handle())?;
    /// assert_eq!(socket.local_addr()?.as_pathname(), Some(&*path));
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_datagram_with(&self, path: impl AsRef<Path>, handle: &Handle) -> io::Result<UnixDatagram> {
        self.bind_datagram_addr_with(&address::from_path(path.as_ref())?, handle)
    }

    /// Binds a datagram socket to an address, on the current reactor. For an unnamed address, the kernel chooses a free
    /// abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    pub fn bind_datagram_addr(&self, address: &SocketAddr) -> io::Result<UnixDatagram> {
        self.bind_datagram_addr_with(address, &Handle::current()?)
    }

    /// Binds as [`bind_datagram_addr`](Self::bind_datagram_addr) does, with the reactor of `handle` instead of the
    /// current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListenOptions;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let any = SocketAddr::from_pathname("")?;
    /// let socket = UnixListenOptions::new().bind_datagram_addr_with(&any, &runtime.handle())?;
    /// assert!(!socket.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_datagram_addr_with(&self, address: &SocketAddr, handle: &Handle) -> io::Result<UnixDatagram> {
        let (socket, file) = socket_file::bind(Type::DGRAM, address, &self.policy, handle)?;
        Ok(UnixDatagram::from_bound(socket.into(), self.guard(file), handle))
    }

    /// Returns `file`, which removes the file on drop, if [`unlink_on_drop`](Self::unlink_on_drop) is set. Otherwise
    /// keeps the file, and returns `None`.
    fn guard(&self, file: Option<socket_file::SocketFile>) -> Option<socket_file::SocketFile> {
        if let Some(file) = file.as_ref().filter(|_| !self.policy.unlink_on_drop) {
            file.keep();
        }
        file.filter(|_| self.policy.unlink_on_drop)
    }
}

impl Default for UnixListenOptions {
    fn default() -> Self {
        Self::new()
    }
}
