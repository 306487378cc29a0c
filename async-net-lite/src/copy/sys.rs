//! What copying needs `unsafe` for: pipes and `splice(2)`, `SIGPIPE`, and finding a socket behind a type parameter.
//!
//! The system calls follow the rules of the crate's `sys.rs`: owned or borrowed descriptors, one call, an [`io::Result`].
//! [`as_a`] finds out whether a value is one of our sockets, though its type may borrow, which `Any` does not allow. It is
//! here and not in the crate's `sys.rs` because the types that it finds must be named, and these stand above that file.
#![allow(unsafe_code)]

use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use std::any::TypeId;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// # Pipes and splice
/// Turns "-1 and `errno`" into an `io::Result`.
fn cvt(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// `pipe2(O_CLOEXEC | O_NONBLOCK)`: first the end to read from, then the one to write to.
pub(super) fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: The kernel writes two integers to `ends`, which has room for them and is borrowed mutably for the call.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: The kernel has just returned these descriptors and nobody else knows them, so we are their only owner.
    Ok(ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// `fcntl(F_SETPIPE_SZ)`: makes room in a pipe for so many bytes in pages of their own, and that means so many pieces.
pub(super) fn set_pipe_size(pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: `F_SETPIPE_SZ` takes an integer and touches no memory of ours.
    cvt(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
}

/// `splice(2)` without waiting: moves up to `length` bytes between a pipe and something else, within the kernel.
pub(super) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    let (from, to, no_offset) = (from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: Null offsets are allowed, and right for pipes and sockets; no memory of ours is touched.
    let moved = unsafe { libc::splice(from, no_offset, to, no_offset, length, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

// # SIGPIPE

/// Runs `call` so that a `SIGPIPE` which it raises reaches nobody, whatever this process does about that signal.
///
/// `send(2)` has `MSG_NOSIGNAL` for that; `splice(2)` has nothing. But the signal goes to the thread that made the
/// call. So it is held back there, and taken away before it is let through again. If the thread has held it back before,
/// one that was pending already stays.
///
/// `call` is to move `length` bytes, and returns how many it has moved. Only if these are all was there no signal: an `EPIPE`
/// is not always seen, since one `splice(2)` sends 16 pieces at a time, and if not the first of these sends fails, the
/// result is what the others have moved.
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
        // SAFETY: The set and the time are only read; a null pointer says that details of the signal are not wanted.
        unsafe { libc::sigtimedwait(&sigpipe, std::ptr::null_mut(), &now) };
    }
    // SAFETY: `before` was written by the first call and is only read; the present mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    result
}

/// The set of `SIGPIPE` alone.
fn sigpipe() -> libc::sigset_t {
    // SAFETY: All zeroes is a valid `sigset_t`: it is made of integers.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is ours and is only written to.
    unsafe { libc::sigemptyset(&mut set) };
    // SAFETY: `set` has been initialised, and `SIGPIPE` is a signal.
    unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
    set
}

/// The signals that wait for this thread to let them through.
fn pending() -> libc::sigset_t {
    let mut set = sigpipe();
    // SAFETY: `set` is ours and is only written to.
    unsafe { libc::sigpending(&mut set) };
    set
}

fn contains_sigpipe(set: &libc::sigset_t) -> bool {
    // SAFETY: `set` has been initialised, and is only read.
    unsafe { libc::sigismember(set, libc::SIGPIPE) == 1 }
}

// # Finding a socket behind a type parameter

/// A type without lifetime parameters, so that its [`TypeId`] says everything about it.
///
/// # Safety
///
/// There must be no other type that differs from it in lifetimes only.
pub(super) unsafe trait LifetimeFree: 'static {}

// SAFETY: The struct has no parameters.
unsafe impl LifetimeFree for TcpStream {}

// SAFETY: The struct has no parameters.
unsafe impl LifetimeFree for UnixStream {}

/// `value` as a `&S`, if its type is `S`, `&S` or `&mut S`. What `Any` does, for values that borrow something, too.
pub(super) fn as_a<S: LifetimeFree, T>(value: &T) -> Option<&S> {
    let id = type_id::<T>();
    let address = std::ptr::from_ref(value);
    if id == TypeId::of::<S>() {
        // SAFETY: `T` is `S` up to lifetimes, and `S` has none. The reference lives no longer than that to `value`.
        return Some(unsafe { &*address.cast::<S>() });
    }
    if id == TypeId::of::<&'static S>() || id == TypeId::of::<&'static mut S>() {
        // SAFETY: `T` is a reference to an `S`, of any lifetime, and so it outlives the borrow of `value`. While that
        // lasts, a `&mut S` in it may be looked through as a `&S`; the two are laid out alike.
        return Some(unsafe { *address.cast::<&S>() });
    }
    None
}

/// [`TypeId::of`] for types that borrow: their lifetimes count as `'static`.
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
    // SAFETY: Only the bound on what the object may borrow changes. Its one method looks at no value: it returns a
    // number that was fixed when lifetimes had long been erased.
    let phantom = unsafe { std::mem::transmute::<&dyn Identify, &(dyn Identify + 'static)>(phantom) };
    phantom.id()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            // SAFETY: Sends a signal to this thread, which holds it back.
            unsafe { libc::raise(libc::SIGPIPE) };
            broken().unwrap_err();
            assert!(is_pending(), "somebody else's");
        })
        .join()
        .unwrap();
    }
}
