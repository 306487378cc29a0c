//! Any descriptor, made async: the I/O object and its registration in one.
//!
//! What one does with it is next door: waiting and single operations in `operation.rs`, reading and writing by the traits of
//! futures-io in `source_io.rs`.

use crate::engine::handle::Handle;
use crate::engine::shared::Shared;
use crate::io::interest::Interest;
use crate::io::readiness::Readiness;
use crate::io::registry::Registration;
use crate::sys;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A descriptor whose readiness can be awaited: socket, pipe, eventfd, timerfd, signalfd, inotify, pidfd, terminal, …
/// Whatever [`epoll(7)`](https://man7.org/linux/man-pages/man7/epoll.7.html) takes.
///
/// It gives `&T`, never `&mut T`, since replacing the descriptor under a registration would confuse both. Where `&T`
/// implements [`Read`](io::Read) or [`Write`](io::Write), the source implements
/// [`AsyncRead`] or [`AsyncWrite`], for `Source<T>` and for
/// `&Source<T>`; for others (a `ChildStdout`, an eventfd, a timerfd) wrap the descriptor in a
/// [`File`](std::fs::File), as in `Source::new(File::from(OwnedFd::from(stdout)))`, or use
/// [`read_with`](Self::read_with) and [`write_with`](Self::write_with).
///
/// Several tasks may wait on one direction: all are woken, none is lost. And one descriptor may have a source in each
/// of several reactors, by references or duplicates: each of them gets every edge. In one reactor it may have only one.
///
/// # How it works
///
/// The descriptor is registered once, edge-triggered, and stays registered until the source is dropped or taken apart;
/// dropping deregisters before the descriptor is closed. An operation is tried first and waited for only when it meets
/// `WouldBlock`, so a busy source makes no other system call than its operations. After
/// [`OPERATIONS_PER_POLL`](crate::OPERATIONS_PER_POLL) of them in one poll, a task lets others go first.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::Source;
/// use futures::{AsyncReadExt, AsyncWriteExt};
/// use std::os::unix::net::UnixStream;
///
/// async_epoll::block_on(async {
///     let (left, right) = UnixStream::pair()?;
///     let (left, mut right) = (Source::new(left)?, Source::new(right)?);
///     (&left).write_all(b"hello").await?;
///     drop(left);
///     let mut text = String::new();
///     right.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })?
/// # }
/// ```
///
/// [`AsyncRead`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncRead.html
/// [`AsyncWrite`]: https://docs.rs/futures/0.3/futures/io/trait.AsyncWrite.html
pub struct Source<T: AsFd> {
    /// Before `io`, since it must be dropped before the descriptor is closed.
    pub(crate) link: Link,
    /// The I/O object.
    pub(crate) io: T,
}

/// A source's hold on its reactor.
pub(crate) struct Link {
    /// Readiness and waiters.
    pub(crate) registration: Arc<Registration>,
    /// The reactor.
    pub(crate) shared: Arc<Shared>,
}

impl Link {
    /// Takes the source out of the reactor, if it is in.
    fn release(&self, will_be_closed: bool) {
        if self.registration.token().is_some() {
            self.shared.deregister(&self.registration, will_be_closed);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.release(self.registration.close_deregisters.load(Ordering::Relaxed));
    }
}

/// A descriptor could not be registered. Gives it back, with the reason.
///
/// Converts to [`io::Error`], so `?` works where the descriptor need not be saved.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::{Reactor, Source};
/// use std::fs::File;
/// use std::io::{ErrorKind, Read};
///
/// let reactor = Reactor::new()?;
/// let refused = Source::with_handle(File::open("Cargo.toml")?, &reactor.handle()).unwrap_err();
/// assert_eq!(refused.error.kind(), ErrorKind::PermissionDenied, "a regular file is always ready");
/// let (mut file, mut text) = (refused.source, String::new());
/// file.read_to_string(&mut text)?;
/// assert!(text.contains("async-epoll"));
/// # Ok(())
/// # }
/// ```
pub struct SourceError<T> {
    /// Why.
    pub error: io::Error,
    /// The I/O object, usable as before (but set to non-blocking).
    pub source: T,
}

impl<T: AsFd> Source<T> {
    /// Registers `io` with the thread's current reactor for everything; see [`with_interest`](Self::with_interest).
    ///
    /// # Errors
    ///
    /// As [`with_interest`](Self::with_interest), and those of [`Handle::current`].
    pub fn new(io: T) -> Result<Self, SourceError<T>> {
        match Handle::current() {
            Ok(handle) => Self::with_handle(io, &handle),
            Err(error) => Err(SourceError { error, source: io }),
        }
    }

    /// Registers `io` with the reactor of `handle` for everything; see [`with_interest`](Self::with_interest).
    ///
    /// # Errors
    ///
    /// As [`with_interest`](Self::with_interest).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Source};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// let _source = Source::with_handle(stream, &reactor.handle())?;
    /// assert_eq!(reactor.handle().stats().sources, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_handle(io: T, handle: &Handle) -> Result<Self, SourceError<T>> {
        Self::with_interest(io, Interest::ALL, handle)
    }

    /// Sets `io` to non-blocking and registers it. An operation for which it was not registered fails when it would have
    /// to wait.
    ///
    /// Being non-blocking is a property of the open file, not of the descriptor, and it stays. Whoever else has the file
    /// is affected too. A terminal, for one, is usually a single file for standard input, output and error and for the
    /// shell: made non-blocking, it may make `println!` fail. Open `/dev/tty` anew for a source instead.
    ///
    /// # Errors
    ///
    /// The error gives `io` back.
    ///
    /// - `PermissionDenied` for regular files, directories and `/dev/null`: they are always ready, and epoll refuses
    ///   them. Read them directly, or through `blocking::Unblock` if the disk may be slow.
    /// - `AlreadyExists` if the reactor has this descriptor in another source, which goes on to work.
    /// - `NotConnected` if the reactor has been dropped.
    /// - `StorageFull` (`ENOSPC`) if the user has as many descriptors in epoll instances as
    ///   `/proc/sys/fs/epoll/max_user_watches` allows.
    /// - Others of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html) and
    ///   [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html), such as `ENOMEM`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Interest, Reactor, Source};
    /// use std::os::unix::net::UnixListener;
    /// # let path = std::env::temp_dir().join(format!("async-epoll-doc-{}", std::process::id()));
    ///
    /// let reactor = Reactor::new()?;
    /// // A listener is never writable.
    /// let listener = UnixListener::bind(&path)?;
    /// let _source = Source::with_interest(listener, Interest::READABLE, &reactor.handle())?;
    /// # std::fs::remove_file(path)
    /// # }
    /// ```
    pub fn with_interest(io: T, interest: Interest, handle: &Handle) -> Result<Self, SourceError<T>> {
        let prepared = sys::set_nonblocking(io.as_fd());
        let source = Self::unregistered(io, interest, false, handle);
        match prepared.and_then(|()| source.register()) {
            Ok(()) => Ok(source),
            Err(error) => Err(SourceError { error, source: source.io }),
        }
    }

    /// Takes a non-blocking descriptor, and registers it only when an operation first meets `WouldBlock`.
    ///
    /// A connection that is served without waiting costs no `epoll_ctl` at all. Nor does dropping the source: closing
    /// the last descriptor of an open file deregisters it, so **no other descriptor may refer to the same open file**
    /// while the source lives. If one does (a `dup`), its events will wake the reactor for nothing until it is closed;
    /// [`note_duplicate`](Self::note_duplicate) prevents that.
    ///
    /// It is what a socket that was just created or accepted wants. A descriptor that blocks would block the loop.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Source};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = Source::lazy(stream, &reactor.handle());
    /// assert_eq!(reactor.handle().stats().sources, 0);
    /// # drop(source);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lazy(io: T, handle: &Handle) -> Self {
        Self::unregistered(io, Interest::ALL, true, handle)
    }

    /// A source that the kernel has not been told of.
    fn unregistered(io: T, interest: Interest, close_deregisters: bool, handle: &Handle) -> Self {
        let registration = Arc::new(Registration::new(io.as_fd().as_raw_fd(), interest, close_deregisters));
        Self { link: Link { registration, shared: Arc::clone(&handle.shared) }, io }
    }

    /// Tells the kernel.
    #[cold]
    pub(crate) fn register(&self) -> io::Result<()> {
        self.link.shared.register(&self.link.registration).map_err(explain)
    }

    /// The I/O object.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Notes that another descriptor refers to the same open file now, so that closing this one does not deregister it:
    /// dropping the source will say so to the kernel. Only [lazy](Self::lazy) sources need to be told.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Source};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = Source::lazy(stream, &reactor.handle());
    /// let _for_a_child = source.as_fd().try_clone_to_owned()?;
    /// source.note_duplicate();
    /// # Ok(())
    /// # }
    /// ```
    pub fn note_duplicate(&self) {
        self.link.registration.close_deregisters.store(false, Ordering::Relaxed);
    }

    /// Deregisters and gives the I/O object back, still non-blocking.
    ///
    /// # Errors
    ///
    /// None at present; deregistering a descriptor that was closed behind our back is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Source};
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let reactor = Reactor::new()?;
    /// let (mut peer, stream) = UnixStream::pair()?;
    /// let source = Source::with_handle(stream, &reactor.handle())?;
    /// let mut stream = source.into_inner()?;
    /// stream.set_nonblocking(false)?;
    /// peer.write_all(b"x")?;
    /// stream.read_exact(&mut [0])?; // Blocks until it is there.
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> io::Result<T> {
        // It will not be closed, so the kernel has to be told.
        self.link.release(false);
        Ok(self.io)
    }

    /// The reactor that the source belongs to.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.link.shared) }
    }

    /// What is known now, without asking the kernel. Until its first event, nothing is.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Reactor, Source};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let (stream, peer) = UnixStream::pair()?;
    /// let source = Source::with_handle(stream, &reactor.handle())?;
    /// assert!(!source.readiness().is_writable());
    /// drop(peer);
    /// reactor.wait(None)?;
    /// assert!(source.readiness().is_writable() && source.readiness().is_write_closed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn readiness(&self) -> Readiness {
        Readiness::of(self.link.registration.read.snapshot(), self.link.registration.write.snapshot())
    }
}

/// Says what to do where the kernel's own words would not help.
fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "epoll cannot wait for this kind of file (regular files, directories and /dev/null are always ready): \
             read it directly, or on another thread, for example through blocking::Unblock",
        ),
        Some(libc::EEXIST) => io::Error::new(
            io::ErrorKind::AlreadyExists,
            "this descriptor has a source in the reactor already: share that one, by a reference or an Arc",
        ),
        Some(libc::ENOSPC) => io::Error::new(
            io::ErrorKind::StorageFull,
            "the user has as many descriptors in epoll instances as /proc/sys/fs/epoll/max_user_watches allows: \
             drop some sources, or raise that limit",
        ),
        _ => error,
    }
}

impl<T: AsFd> AsFd for Source<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Source<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("io", &self.io).field("readiness", &self.readiness()).finish()
    }
}

impl<T> fmt::Debug for SourceError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Display for SourceError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for SourceError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T> From<SourceError<T>> for io::Error {
    fn from(error: SourceError<T>) -> Self {
        error.error
    }
}
