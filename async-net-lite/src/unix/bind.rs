//! Binding a listener or a datagram socket with the usual options: the defaults of [`UnixListenOptions`].

use super::datagram::UnixDatagram;
use super::listener::UnixListener;
use super::options::UnixListenOptions;
use async_epoll::Handle;
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

impl UnixListener {
    /// Binds a listener to a path, on the current reactor, with a backlog of 1024.
    ///
    /// See [`UnixListenOptions`] for permissions and stale files.
    ///
    /// # Errors
    ///
    /// The errors of [`UnixListenOptions::bind_addr`], such as `AddrInUse` if the file exists.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        UnixListenOptions::new().bind(path)
    }

    /// Binds as [`bind`](Self::bind) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListener;
    /// # let path = std::env::temp_dir().join(format!("unix-bind-with-doc-{}", std::process::id()));
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let listener = UnixListener::bind_with(&path, &runtime.handle())?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// # std::fs::remove_file(path)
    /// # }
    /// ```
    pub fn bind_with(path: impl AsRef<Path>, handle: &Handle) -> io::Result<Self> {
        UnixListenOptions::new().bind_with(path, handle)
    }

    /// Binds a listener to an address: a path or an abstract name. For an unnamed address, the kernel chooses a free
    /// abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::{UnixListener, UnixStream};
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// async_epoll::block_on(async {
    ///     let any = UnixListener::bind_addr(&SocketAddr::from_pathname("")?)?;
    ///     let name = any.local_addr()?;
    ///     assert!(name.as_abstract_name().is_some());
    ///     UnixStream::connect_addr(&name).await?;
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        UnixListenOptions::new().bind_addr(address)
    }

    /// Binds as [`bind_addr`](Self::bind_addr) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixListener;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let listener = UnixListener::bind_addr_with(&SocketAddr::from_pathname("")?, &runtime.handle())?;
    /// assert!(!listener.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr_with(address: &SocketAddr, handle: &Handle) -> io::Result<Self> {
        UnixListenOptions::new().bind_addr_with(address, handle)
    }
}

impl UnixDatagram {
    /// Binds a socket to a path, on the current reactor.
    ///
    /// See [`UnixListenOptions`] for permissions and stale files.
    ///
    /// # Errors
    ///
    /// The errors of [`UnixListenOptions::bind_addr`], such as `AddrInUse` if the file exists.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        UnixListenOptions::new().bind_datagram(path)
    }

    /// Binds as [`bind`](Self::bind) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("unix-datagram-bind-with-doc-{}", std::process::id()));
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let socket = UnixDatagram::bind_with(&path, &runtime.handle())?;
    /// assert_eq!(socket.local_addr()?.as_pathname(), Some(&*path));
    /// # std::fs::remove_file(path)
    /// # }
    /// ```
    pub fn bind_with(path: impl AsRef<Path>, handle: &Handle) -> io::Result<Self> {
        UnixListenOptions::new().bind_datagram_with(path, handle)
    }

    /// Binds a socket to an address: a path or an abstract name.
    ///
    /// For an unnamed address, the kernel chooses a free abstract name. A client needs a name if the server is to
    /// answer.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// async_epoll::block_on(async {
    ///     let any = SocketAddr::from_pathname("")?;
    ///     let (server, client) = (UnixDatagram::bind_addr(&any)?, UnixDatagram::bind_addr(&any)?);
    ///     client.send_to_addr(b"question", &server.local_addr()?).await?;
    ///     let mut buffer = [0; 16];
    ///     let (_, sender) = server.recv_from(&mut buffer).await?;
    ///     server.send_to_addr(b"answer", &sender).await?;
    ///     let length = client.recv(&mut buffer).await?;
    ///     assert_eq!(&buffer[..length], b"answer");
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        UnixListenOptions::new().bind_datagram_addr(address)
    }

    /// Binds as [`bind_addr`](Self::bind_addr) does, with the reactor of `handle` instead of the current reactor.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::unix::UnixDatagram;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let runtime = async_epoll::LocalRuntime::new()?;
    /// let socket = UnixDatagram::bind_addr_with(&SocketAddr::from_pathname("")?, &runtime.handle())?;
    /// assert!(!socket.local_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_addr_with(address: &SocketAddr, handle: &Handle) -> io::Result<Self> {
        UnixListenOptions::new().bind_datagram_addr_with(address, handle)
    }
}
