//! Any descriptor, made async: a [`Source`] owns the I/O object and its registration.
//!
//! Here are the source's beginning and end: the descriptor is set to non-blocking, registered with a reactor, and
//! deregistered before it is closed. The hard idea is the [lazy](Source::lazy) source, which often needs neither
//! `epoll_ctl(2)` call: it registers at the first `WouldBlock`, and closing the descriptor deregisters it.
//!
//! The kernel's entry belongs to the open file. It outlives the descriptor if the file does, and then wakes the reactor
//! for nothing, without a number by which it could be deleted. So closing is enough only as long as no other descriptor
//! of the file can exist:
//!
//! | the open file lives on, because its descriptor | known by |
//! |---|---|
//! | was duplicated, passed to another process, used by another library | [`Source::as_fd`], `as_raw_fd` or [`get_ref`](Source::get_ref) was called |
//! | was inherited by a forked child | the [count of forks](crate::sys::fork_count) has changed |
//! | was only borrowed by the source | the type has no drop code |
//! | is kept by [`Source::into_inner`] | the call itself |
//!
//! In these cases the drop deletes the entry, by one `epoll_ctl(2)` call. async-net-lite reaches its sockets by
//! [`Source::lend`], which is no sign of a duplicate.
//!
//! Deliberately not here: using the source. Waiting and single operations are in [operation](super::operation), the
//! traits of futures-io in [traits](super::traits).

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

/// A descriptor that tasks can wait for: a socket, pipe, eventfd, timerfd, signalfd, inotify, pidfd, terminal, or any
/// other that [`epoll(7)`](https://man7.org/linux/man-pages/man7/epoll.7.html) accepts.
///
/// A source gives access to `&T`, never to `&mut T`: code that replaced the descriptor would leave the registration
/// with the wrong one. Where `&T` implements [`Read`](io::Read) or [`Write`](io::Write), both `Source<T>` and
/// `&Source<T>` implement [`AsyncRead`] or [`AsyncWrite`]. For other types (a `ChildStdout`, an eventfd, a timerfd)
/// wrap the descriptor in a [`File`](std::fs::File), as in `Source::new(File::from(OwnedFd::from(stdout)))`, or use
/// [`read_with`](Self::read_with) and [`write_with`](Self::write_with).
///
/// Several tasks may wait for the same direction: an event wakes them all. A descriptor may have only one source in
/// each reactor. In several reactors it may have one source each, through references or duplicates, and every source
/// gets every edge.
///
/// # How it works
///
/// The descriptor is registered once, edge-triggered, and stays registered until the source is dropped or
/// [taken apart](Self::into_inner); dropping deregisters before the descriptor is closed. An operation is tried first
/// and waits only after `WouldBlock`, so a busy source makes no other system calls than its operations. After
/// [`OPERATIONS_PER_POLL`](crate::OPERATIONS_PER_POLL) operations in one poll, the task yields to other tasks.
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
    /// The registration. Declared before `io`, so that it is dropped before the descriptor is closed.
    pub(crate) link: Link,
    /// The I/O object.
    pub(crate) io: T,
}

/// A source's registration, and its reference to the reactor. Deregisters when dropped.
pub(crate) struct Link {
    /// The source's entry in the reactor's table: its readiness and its waiting tasks.
    pub(crate) registration: Arc<Registration>,
    /// The reactor.
    pub(crate) shared: Arc<Shared>,
}

impl Link {
    /// Deregisters the source, if it is registered. `will_be_closed` says that closing the descriptor removes the
    /// kernel's entry.
    fn release(&self, will_be_closed: bool) {
        if self.registration.token().is_some() {
            self.shared.deregister(&self.registration, will_be_closed);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.release(self.registration.is_deregistered_by_close());
    }
}

/// The error of a descriptor that could not be registered. Gives the descriptor back.
///
/// Converts into [`io::Error`], so `?` works where the descriptor is not needed any more.
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
    /// The reason.
    pub error: io::Error,
    /// The I/O object, as it came: blocking, if it was.
    pub source: T,
}

impl<T: AsFd> Source<T> {
    /// Registers `io` with the current reactor for all events; see [`with_interest`](Self::with_interest).
    ///
    /// # Errors
    ///
    /// The errors of [`with_interest`](Self::with_interest) and of [`Handle::current`].
    pub fn new(io: T) -> Result<Self, SourceError<T>> {
        match Handle::current() {
            Ok(handle) => Self::with_handle(io, &handle),
            Err(error) => Err(SourceError { error, source: io }),
        }
    }

    /// Registers `io` with the reactor of `handle` for all events; see
    /// [`with_interest`](Self::with_interest).
    ///
    /// # Errors
    ///
    /// The errors of [`with_interest`](Self::with_interest).
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

    /// Sets `io` to non-blocking, and registers it with the reactor of `handle` for `interest`. An operation outside of
    /// `interest` is tried, and fails when it would have to wait.
    ///
    /// The non-blocking mode belongs to the open file, not to the descriptor. It stays when the source is dropped, and
    /// it affects all descriptors of the file, in other processes too. A terminal, for example, is usually one open
    /// file that standard input, output and error share with the shell: in non-blocking mode, `println!` may fail. Open
    /// `/dev/tty` anew for a source instead. If registering fails, the mode becomes what it was; so two threads must not
    /// make sources of duplicates of one blocking descriptor at the same time.
    ///
    /// # Errors
    ///
    /// The error gives `io` back.
    ///
    /// - `PermissionDenied` for regular files, directories and `/dev/null`: they are always ready, and epoll refuses
    ///   them. Read them directly, or through `blocking::Unblock` if the disk may be slow.
    /// - `AlreadyExists` if the descriptor has another source in this reactor. The other source keeps working.
    /// - `NotConnected` if the reactor has been dropped.
    /// - `StorageFull` (`ENOSPC`) if the user has as many descriptors in epoll instances as
    ///   `/proc/sys/fs/epoll/max_user_watches` allows.
    /// - The other errors of [`fcntl(2)`](https://man7.org/linux/man-pages/man2/fcntl.2.html) and
    ///   [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html), such as `ENOMEM`.
    ///
    /// `PermissionDenied`, `AlreadyExists` and `StorageFull` have a message that says what to do. The kernel's error,
    /// with its number, is the [source](std::error::Error::source) of these errors.
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
        let changed = match sys::set_nonblocking(io.as_fd(), true) {
            Ok(changed) => changed,
            Err(error) => return Err(SourceError { error, source: io }),
        };
        let source = Self::unregistered(io, interest, false, handle);
        let Err(error) = source.register() else { return Ok(source) };
        if changed {
            // The object goes back as it came. There is nothing better to do if even this fails.
            let _ = sys::set_nonblocking(source.io.as_fd(), false);
        }
        Err(SourceError { error, source: source.io })
    }

    /// Makes a source of a non-blocking descriptor, and registers it only when an operation first meets `WouldBlock`.
    ///
    /// A connection that is served without waiting costs no `epoll_ctl(2)` call. Dropping the source costs none either:
    /// closing the last descriptor of an open file deregisters it. That is not so if another descriptor refers to the
    /// same open file; then the events of the file would wake the reactor without need. Therefore dropping the source
    /// deregisters by `epoll_ctl(2)` if
    ///
    /// - the descriptor was handed out, by [`get_ref`](Self::get_ref), `as_fd` or `as_raw_fd`, and may have been
    ///   duplicated or passed to another process;
    /// - the process has called `fork(2)` since, and a child may have inherited the descriptor;
    /// - `T` is a reference or a [`BorrowedFd`], so that dropping the source closes nothing;
    /// - [`note_duplicate`](Self::note_duplicate) was called. **Call it in all other cases**: if a duplicate exists
    ///   already, if `T` is an `Arc` or `Rc` that outlives the source, if an operation of `read_with` duplicates the
    ///   descriptor, or after a bare `clone(2)`.
    ///
    /// If registering fails, the operation that has to wait returns the error. The next operation is tried, and registers
    /// again if it has to wait. So an operation that need not wait never fails for want of memory or epoll watches.
    ///
    /// A lazy source fits a socket that was just created or accepted. A blocking descriptor would block the loop.
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
        // A type without drop code does not own the descriptor, and does not close it.
        Self::unregistered(io, Interest::ALL, std::mem::needs_drop::<T>(), handle)
    }

    /// Returns a source that is not yet registered with the kernel. `is_sole`: see [`Registration::new`].
    fn unregistered(io: T, interest: Interest, is_sole: bool, handle: &Handle) -> Self {
        let registration = Arc::new(Registration::new(io.as_fd().as_raw_fd(), interest, is_sole));
        Self { link: Link { registration, shared: Arc::clone(&handle.shared) }, io }
    }

    /// Registers the source with the kernel. After an error the source works as before: the next operation is tried, and
    /// registers again if it has to wait.
    #[cold]
    pub(crate) fn register(&self) -> io::Result<()> {
        let registration = &self.link.registration;
        self.link.shared.register(registration).map_err(|error| {
            registration.read.set_guess();
            registration.write.set_guess();
            explain(error)
        })
    }

    /// Returns a reference to the I/O object.
    ///
    /// The caller may duplicate the descriptor through the reference, so a [lazy](Self::lazy) source is deregistered by
    /// `epoll_ctl(2)` from now on. [`lend`](Self::lend) avoids this.
    pub fn get_ref(&self) -> &T {
        self.note_duplicate();
        &self.io
    }

    /// Returns a reference to the I/O object, for a caller that does not duplicate the descriptor: for options,
    /// addresses, or a single operation.
    ///
    /// As [`get_ref`](Self::get_ref), but a [lazy](Self::lazy) source still counts on `close(2)` to deregister it.
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
    /// assert!(source.lend().take_error()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lend(&self) -> &T {
        &self.io
    }

    /// Notes that a duplicate of the descriptor exists, so closing the descriptor does not deregister the open file.
    /// Dropping the source then deregisters it by `epoll_ctl(2)`. Needed for [lazy](Self::lazy) sources only, and only
    /// if the source does not know of the duplicate: `get_ref`, `as_fd` and `as_raw_fd` note it, too.
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
    /// let _for_a_child = stream.try_clone()?;
    /// let source = Source::lazy(stream, &reactor.handle());
    /// source.note_duplicate();
    /// # Ok(())
    /// # }
    /// ```
    pub fn note_duplicate(&self) {
        self.link.registration.note_duplicate();
    }

    /// Deregisters the source, and returns the I/O object, still non-blocking.
    ///
    /// # Errors
    ///
    /// None at present: deregistering a descriptor that other code has closed is not an error.
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
    /// stream.read_exact(&mut [0])?; // Blocks until the byte arrives.
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> io::Result<T> {
        // The descriptor stays open, so the kernel's entry has to be deleted.
        self.link.release(false);
        Ok(self.io)
    }

    /// Returns a handle to the source's reactor.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.link.shared) }
    }

    /// Returns the readiness that the kernel has reported so far, without a system call. Empty until the first event.
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

/// Replaces the kernel's message, where it does not help, by one that says what to do. The kernel's error, with its
/// number, becomes the source of the new one.
fn explain(cause: io::Error) -> io::Error {
    let message = match cause.raw_os_error() {
        Some(libc::EPERM) => {
            "epoll cannot wait for this kind of file (regular files, directories and /dev/null are always ready): \
             read it directly, or on another thread, for example through blocking::Unblock"
        }
        Some(libc::EEXIST) => {
            "this descriptor has a source in the reactor already: share that one, by a reference or an Arc"
        }
        Some(libc::ENOSPC) => {
            "the user has as many descriptors in epoll instances as /proc/sys/fs/epoll/max_user_watches allows: \
             drop some sources, or raise that limit"
        }
        _ => return cause,
    };
    io::Error::new(cause.kind(), Explained { message, cause })
}

/// An error of the kernel with a message that says what to do.
#[derive(Debug)]
pub(crate) struct Explained {
    /// What to do.
    pub(crate) message: &'static str,
    /// The kernel's error.
    pub(crate) cause: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Explained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Returns the descriptor. The caller may duplicate it: see [`Source::lazy`].
impl<T: AsFd> AsFd for Source<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

/// Returns the number of the descriptor. The caller may duplicate it: see [`Source::lazy`].
impl<T: AsFd> AsRawFd for Source<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
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
