//! The unsafe code of copying: pipes and `splice(2)`, `SIGPIPE`, and finding a socket behind a type parameter.
//!
//! The system calls follow the rules of the crate's `sys.rs`: owned or borrowed descriptors, one call, an
//! [`io::Result`]. [`as_a`] finds out whether a value is a socket of this crate. The type of the value may borrow,
//! which `Any` does not allow. The function is here and not in the crate's `sys.rs` because it names the socket types,
//! which stand above that file.
#![allow(unsafe_code)]

use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use std::any::TypeId;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// # Pipes and splice
/// Converts a C result, "-1 and `errno`", to an `io::Result`.
fn cvt(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Opens a pipe, by `pipe2(O_CLOEXEC | O_NONBLOCK)`. Returns the end to read from, then the end to write to.
pub(super) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: The kernel writes two integers to `ends`, which has room for them and is borrowed mutably for the call.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: The kernel has just returned these descriptors, and no other code knows them, so this is their only
    // owner.
    Ok(ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Sets the size of a pipe to `bytes`, by `fcntl(F_SETPIPE_SZ)`. The number of its pieces is the number of pages.
pub(super) fn set_pipe_size(pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: `F_SETPIPE_SZ` takes an integer and accesses no memory of this process.
    cvt(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
}

/// Moves up to `length` bytes between a pipe and another descriptor, by `splice(2)`, without waiting. Returns their
/// number.
pub(super) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    let (from, to, no_offset) = (from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: Null offsets are allowed, and right for pipes and sockets. The call accesses no memory of this process.
    let moved = unsafe { libc::splice(from, no_offset, to, no_offset, length, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

// # The state of a connection

/// The state of a TCP connection that has been closed for writing, before the peer's acknowledgement.
pub(super) const FIN_WAIT1: u8 = 4;
/// The same, after the acknowledgement. The peer has not closed its direction.
pub(super) const FIN_WAIT2: u8 = 5;

/// Returns the state of a TCP connection, by `getsockopt(TCP_INFO)`. The numbers are those of `net/tcp_states.h` of
/// Linux. Fails for a socket of another kind.
pub(super) fn tcp_state(socket: BorrowedFd<'_>) -> io::Result<u8> {
    // The first field of `tcp_info`. The kernel writes as many bytes as there is room for.
    let (mut state, mut length) = (0_u8, 1 as libc::socklen_t);
    // SAFETY: The kernel writes at most `length` bytes, one, to `state`, and the number of bytes to `length`. Both are
    // borrowed mutably for the call.
    cvt(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut state).cast(),
            &mut length,
        )
    })?;
    Ok(state)
}

// # SIGPIPE

/// Runs `call` and discards a `SIGPIPE` that it raises, whatever the process does about this signal.
///
/// `send(2)` has `MSG_NOSIGNAL` for this; `splice(2)` has no such flag. But the kernel sends the signal to the thread
/// that made the call. So this function blocks the signal in the thread, removes a pending signal after the call, and
/// restores the signal mask. If the thread had blocked the signal before and a signal was already pending, this signal
/// stays.
///
/// `call` tries to move `length` bytes, and returns the number of bytes moved. Only if it has moved all of them was
/// there certainly no signal. `EPIPE` is no reliable sign: one `splice(2)` sends 16 pieces at a time, and if a later
/// piece fails, the result is the number of bytes in the pieces before.
pub(super) fn without_sigpipe(length: usize, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    let sigpipe = sigpipe();
    let mut before = sigpipe;
    // SAFETY: Both sets live across the call, which reads the first and writes the second.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe, &mut before) };
    let was_pending = contains_sigpipe(&before) && contains_sigpipe(&pending());
    let result = call();
    let moved_all = result.as_ref().is_ok_and(|&moved| moved == length);
    let is_blocked = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    if !moved_all && !is_blocked && !was_pending {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: The set and the time are only read. A null pointer means that the details of the signal are not
        // wanted.
        unsafe { libc::sigtimedwait(&sigpipe, std::ptr::null_mut(), &now) };
    }
    // SAFETY: `before` was written by the first call and is only read. A null pointer means that the present mask is
    // not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    result
}

/// Returns the set with only `SIGPIPE`.
fn sigpipe() -> libc::sigset_t {
    // SAFETY: All zeroes is a valid `sigset_t`: it consists of integers.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a local variable and is only written to.
    unsafe { libc::sigemptyset(&mut set) };
    // SAFETY: `set` has been initialised, and `SIGPIPE` is a signal.
    unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
    set
}

/// Returns the signals that are pending for this thread.
fn pending() -> libc::sigset_t {
    let mut set = sigpipe();
    // SAFETY: `set` is a local variable and is only written to.
    unsafe { libc::sigpending(&mut set) };
    set
}

/// Returns whether `set` has `SIGPIPE`.
fn contains_sigpipe(set: &libc::sigset_t) -> bool {
    // SAFETY: `set` has been initialised, and is only read.
    unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
}

// # Finding a socket behind a type parameter

/// A type without lifetime parameters, so its [`TypeId`] identifies it completely.
///
/// # Safety
///
/// No other type may differ from this type in lifetimes only.
pub(super) unsafe trait LifetimeFree: 'static {}

// SAFETY: The struct has no parameters.
unsafe impl LifetimeFree for TcpStream {}

// SAFETY: The struct has no parameters.
unsafe impl LifetimeFree for UnixStream {}

/// Returns `value` as a `&S` if its type is `S`, `&S` or `&mut S`. Unlike `Any`, this works for types that borrow.
pub(super) fn as_a<S: LifetimeFree, T>(value: &T) -> Option<&S> {
    let id = type_id::<T>();
    let address = std::ptr::from_ref(value);
    if id == TypeId::of::<S>() {
        // SAFETY: `T` is `S` up to lifetimes, and `S` has none. The returned reference lives no longer than the borrow
        // of `value`.
        return Some(unsafe { &*address.cast::<S>() });
    }
    if id == TypeId::of::<&'static S>() || id == TypeId::of::<&'static mut S>() {
        // SAFETY: `T` is a reference to an `S`, of any lifetime, and so outlives the borrow of `value`. During this
        // borrow, a `&mut S` behind `value` may be read as a `&S`: both have the same layout.
        return Some(unsafe { *address.cast::<&S>() });
    }
    None
}

/// Returns the [`TypeId`] of a type that may borrow. Its lifetimes count as `'static`.
fn type_id<T>() -> TypeId {
    trait Identify {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T> Identify for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let phantom = &PhantomData::<T> as &dyn Identify;
    // SAFETY: Only the lifetime bound of the trait object changes. Its only method reads no value of `T`. It returns a
    // number that was fixed at compile time, after lifetimes had been erased.
    let phantom = unsafe { std::mem::transmute::<&dyn Identify, &(dyn Identify + 'static)>(phantom) };
    phantom.id()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn sockets_are_found_behind_references_and_nowhere_else() {
        async_epoll::block_on(async {
            let listener = crate::tcp::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let place = std::ptr::from_ref(&stream);
            let found = |socket: Option<&TcpStream>| socket.is_some_and(|socket| std::ptr::eq(socket, place));
            assert!(found(as_a::<TcpStream, TcpStream>(&stream)));
            assert!(found(as_a::<TcpStream, &TcpStream>(&&stream)));
            assert!(found(as_a::<TcpStream, &mut TcpStream>(&&mut stream)));
            assert!(as_a::<TcpStream, Box<&TcpStream>>(&Box::new(&stream)).is_none());
            assert!(as_a::<TcpStream, &&TcpStream>(&&&stream).is_none());
            assert!(as_a::<TcpStream, Option<&mut TcpStream>>(&Some(&mut stream)).is_none());
            assert!(as_a::<TcpStream, PhantomData<TcpStream>>(&PhantomData).is_none());
        })
        .unwrap();
    }

    #[test]
    fn pipes_do_not_block_and_are_closed_by_exec() {
        let ends = pipe().unwrap();
        set_pipe_size(ends[1].as_fd(), 1 << 17).unwrap();
        for end in ends {
            let ask = |command| {
                // SAFETY: These commands take no argument and access no memory of this process.
                cvt(unsafe { libc::fcntl(end.as_raw_fd(), command) }).unwrap()
            };
            assert_ne!(ask(libc::F_GETFL) & libc::O_NONBLOCK, 0);
            assert_eq!(ask(libc::F_GETFD), libc::FD_CLOEXEC);
            assert_eq!(ask(libc::F_GETPIPE_SZ), 1 << 17);
        }
    }

    #[test]
    fn the_state_of_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        const ESTABLISHED: u8 = 1;
        assert_eq!(tcp_state(stream.as_fd()).unwrap(), ESTABLISHED);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(tcp_state(stream.as_fd()), Ok(FIN_WAIT1 | FIN_WAIT2)));
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!matches!(tcp_state(stream.as_fd()), Ok(FIN_WAIT1 | FIN_WAIT2)));
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(tcp_state(unix.as_fd()).is_err());
    }

    #[test]
    fn a_signal_that_was_pending_stays() {
        std::thread::spawn(|| {
            let broken = || {
                let [reader, writer] = pipe().unwrap();
                drop(reader);
                without_sigpipe(1, || {
                    // SAFETY: The byte is only read, and the descriptor is open.
                    let written = unsafe { libc::write(writer.as_raw_fd(), [1_u8].as_ptr().cast(), 1) };
                    usize::try_from(written).map_err(|_| io::Error::last_os_error())
                })
            };
            let is_pending = || contains_sigpipe(&pending());
            assert_eq!(broken().unwrap_err().raw_os_error(), Some(libc::EPIPE));
            let set = sigpipe();
            // SAFETY: The set is only read, and the old one is not asked for.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
            assert!(!is_pending(), "taken away");
            broken().unwrap_err();
            assert!(!is_pending(), "taken away where it was blocked, too");
            // SAFETY: Raises a signal in this thread, which blocks it.
            unsafe { libc::raise(libc::SIGPIPE) };
            broken().unwrap_err();
            assert!(is_pending(), "the signal that was pending before");
        })
        .join()
        .unwrap();
    }
}
