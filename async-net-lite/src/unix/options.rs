//! What can be chosen when a listener or a datagram socket is bound: permissions, and what to do about files that are left
//! behind.
//!
//! How a file is checked and removed is in `socket_file.rs`. The constructors of the sockets themselves, which choose
//! nothing, are in `bind.rs`.

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

/// Binds a [`UnixListener`] or a [`UnixDatagram`] with other than the usual options.
///
/// # Examples
///
/// A server whose socket only its own user may use, that starts again after a crash and tidies up when it ends.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::unix::{UnixListenOptions, UnixStream};
/// use std::os::unix::fs::PermissionsExt;
/// # let path = std::env::temp_dir().join(format!("unix-options-doc-{}", std::process::id()));
///
/// async_epoll::block_on(async {
///     // What a crashed server leaves behind.
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
    /// About the file.
    policy: Policy,
    /// Connections that the kernel queues.
    backlog: u32,
}

impl UnixListenOptions {
    /// The usual ones: a queue of 1024, permissions as the umask leaves them, and a file that nobody removes.
    pub fn new() -> Self {
        Self { policy: Policy::default(), backlog: BACKLOG }
    }

    /// How many connections the kernel queues that have not been accepted, cut to `/proc/sys/net/core/somaxconn` by the
    /// kernel; 1024 unless set. The queue takes one more than it says. Who connects beyond that has to wait. Means
    /// nothing for datagrams.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// The permissions of the socket's file, such as `0o600`, whatever the umask says. To connect or send takes the right
    /// to write.
    ///
    /// At no time does the file have more than these. Without this option it has `0o777` less the umask, so `0o755` under
    /// the usual one: then only its owner may connect. A directory that only its owner may enter does still more: it keeps
    /// out those who would put another file in the place of ours.
    pub fn mode(mut self, mode: u32) -> Self {
        self.policy.mode = Some(mode);
        self
    }

    /// Whether a socket's file that an earlier run has left behind is removed when it is in the way. Off unless set: then
    /// it is in use, `AddrInUse`.
    ///
    /// It is removed only if it is a socket, belongs to our own user, and nobody is behind it: connecting to it is refused.
    /// Symbolic links are not followed, and other files not touched. (A server that is alive sees a connection that ends at
    /// once.)
    ///
    /// Two servers that start on one path at the same moment can still take it from each other, since Linux cannot remove
    /// a file on a condition. If that may happen, have them hold a lock of your own.
    pub fn remove_stale(mut self, remove: bool) -> Self {
        self.policy.remove_stale = remove;
        self
    }

    /// Whether the socket's file is removed when the socket is dropped. Off unless set: the file stays.
    ///
    /// It is removed only if it is still the same file: not another one that somebody has put in its place. A forked child
    /// that drops its copy leaves it alone, and so does `into_std`, after which it is yours.
    pub fn unlink_on_drop(mut self, unlink: bool) -> Self {
        self.policy.unlink_on_drop = unlink;
        self
    }

    /// Listens at a path.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        self.bind_addr(&address::from_path(path.as_ref())?)
    }

    /// As [`bind`](Self::bind), with the reactor of `handle`.
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

    /// Listens at an address. For an unnamed one, the kernel chooses a free abstract name.
    ///
    /// # Errors
    ///
    /// - `AddrInUse` if there is such a file, or a socket has that name. With [`remove_stale`](Self::remove_stale) the
    ///   message says why the file was not removed.
    /// - `InvalidInput` for a path that is empty, contains a zero byte or has more than 107 bytes, and for a
    ///   [`mode`](Self::mode) with other bits than permissions or together with an abstract name.
    /// - `NotFound`, `PermissionDenied` and others of `bind(2)`: the directory must exist, and be writable to us.
    /// - `NotConnected` outside a reactor, and if the reactor has been dropped; then there is no file either.
    pub fn bind_addr(&self, address: &SocketAddr) -> io::Result<UnixListener> {
        self.bind_addr_with(address, &Handle::current()?)
    }

    /// As [`bind_addr`](Self::bind_addr), with the reactor of `handle`.
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
        // If this fails, the file goes.
        socket.listen(saturate(self.backlog))?;
        Ok(UnixListener::from_bound(socket.into(), self.guard(file), handle))
    }

    /// Binds a datagram socket to a path.
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

    /// As [`bind_datagram`](Self::bind_datagram), with the reactor of `handle`.
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

    /// Binds a datagram socket to an address. For an unnamed one, the kernel chooses a free abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind_addr`](Self::bind_addr).
    pub fn bind_datagram_addr(&self, address: &SocketAddr) -> io::Result<UnixDatagram> {
        self.bind_datagram_addr_with(address, &Handle::current()?)
    }

    /// As [`bind_datagram_addr`](Self::bind_datagram_addr), with the reactor of `handle`.
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

    /// What removes the file, if that is wanted.
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
