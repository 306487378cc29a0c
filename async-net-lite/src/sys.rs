//! The system calls that neither std nor socket2 offers, behind safe functions.
//!
//! Every function takes and returns owned or borrowed descriptors, makes one call, and turns the C convention "-1 means
//! look at `errno`" into an [`io::Result`]. Nothing here knows a reactor, or a type of this crate. What only copying
//! needs is in `copy/sys.rs`; no other file of this crate may say `unsafe`.
#![allow(unsafe_code)]

#[cfg(feature = "hyper")]
use hyper::rt::ReadBufCursor;
use socket2::{MaybeUninitSlice, SockAddr, SockAddrStorage, SockRef};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::{MaybeUninit, offset_of, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

// # An option that socket2 does not have

/// Sets an option of a socket that is an integer, by `setsockopt(2)`.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let pointer = (&raw const value).cast();
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `pointer` and `length` describe the integer `value`, which lives across the call and is only read. The
    // descriptor is open, since it is borrowed.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// # Unix sockets: credentials, and messages with descriptors

/// Bytes of the head of a control message, as the kernel lays it out: its length as a `size_t`, then two `int`s.
pub(crate) const CONTROL_HEAD: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();

/// Most descriptors that the kernel takes in one message: `SCM_MAX_FD`.
pub(crate) const MAX_FDS: usize = 253;

/// A control message that comes with a descriptor of the sender's process, on sockets with `SO_PASSPIDFD`.
const SCM_PIDFD: libc::c_int = 4;

/// Room for what comes beside the descriptors if somebody has asked for it: credentials, a security label, a time stamp.
const OTHER_CONTROL: usize = 256;

/// Bytes for the control messages of one message.
const CONTROL: usize = CONTROL_HEAD + MAX_FDS * size_of::<libc::c_int>() + OTHER_CONTROL;

/// Room for them, aligned like one.
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// A message, as [`receive_message`] found it.
#[derive(Debug)]
pub(crate) struct ReceivedMessage {
    /// Bytes in the buffers.
    pub(crate) length: usize,
    /// The descriptors that came with it, close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// The datagram was longer than the buffers.
    pub(crate) truncated: bool,
    /// Some of the control data is lost, and descriptors with it.
    pub(crate) control_truncated: bool,
    /// The sender's `sun_path`, as long as the kernel said; empty if it has none.
    pub(crate) sender: SenderPath,
}

/// The `sun_path` of a sender.
#[derive(Debug)]
pub(crate) struct SenderPath {
    /// `sun_path`, and the zero that ends a path of full length.
    bytes: [u8; SUN_PATH + 1],
    /// How many of them are meant.
    length: usize,
}

/// Bytes of a `sun_path`.
const SUN_PATH: usize = size_of::<libc::sockaddr_un>() - SUN_PATH_OFFSET;
/// Where it begins.
const SUN_PATH_OFFSET: usize = offset_of!(libc::sockaddr_un, sun_path);

impl SenderPath {
    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// `recvmsg(MSG_CMSG_CLOEXEC)`: a message, its descriptors and its sender.
///
/// There is room for `max_fds` of them, and for somewhat more if the kernel sends no other control data.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    max_fds: usize,
) -> io::Result<ReceivedMessage> {
    let mut control = Control([0; CONTROL]);
    let room = CONTROL_HEAD + max_fds.min(MAX_FDS) * size_of::<libc::c_int>() + OTHER_CONTROL;
    // A `sockaddr_un` and one more byte, which the kernel uses for the zero after a path of full length.
    let mut address = [0_u8; SUN_PATH_OFFSET + SUN_PATH + 1];
    // SAFETY: All zeroes is a valid `msghdr`: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = address.len() as libc::socklen_t;
    // An `IoSliceMut` is an `iovec`; std says so.
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len() as _;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = room as _;
    // SAFETY: Every pointer in `message` leads to memory that we hold mutably for the whole call and that is as long as the
    // number beside it says; the kernel writes bytes there, and any bytes are valid.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;

    // First of all, so that whatever has arrived has an owner.
    let written = (message.msg_controllen as usize).min(room);
    let fds = take_descriptors(&control.0[..written]);
    let named = (message.msg_namelen as usize).min(address.len());
    let path = address.get(SUN_PATH_OFFSET..named).unwrap_or_default();
    let mut sender = SenderPath { bytes: [0; SUN_PATH + 1], length: path.len() };
    sender.bytes[..path.len()].copy_from_slice(path);
    Ok(ReceivedMessage {
        length,
        fds,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        control_truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
        sender,
    })
}

/// Takes possession of the descriptors in control messages, which the kernel has just written and nobody has looked at.
fn take_descriptors(mut control: &[u8]) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    while let Some((length, head)) = control.split_first_chunk::<{ size_of::<usize>() }>() {
        let length = usize::from_ne_bytes(*length);
        let Some(data) = control.get(CONTROL_HEAD..length) else { break };
        let Some((level, kind)) = head.split_first_chunk::<4>() else { break };
        let (level, kind) = (i32::from_ne_bytes(*level), kind.first_chunk().copied().map(i32::from_ne_bytes));
        let numbers = data.chunks_exact(size_of::<libc::c_int>());
        let numbers = numbers.filter_map(|bytes| bytes.try_into().ok().map(i32::from_ne_bytes));
        // In place of a descriptor of the sender's process there may be a negative number.
        let owned = numbers.filter(|&number| number >= 0).map(|number| {
            // SAFETY: The kernel has just put this descriptor into our table for us. This is the one place that looks at the
            // message, and looks at it once, so nobody else knows the number.
            unsafe { OwnedFd::from_raw_fd(number) }
        });
        match kind {
            Some(libc::SCM_RIGHTS) if level == libc::SOL_SOCKET => fds.extend(owned),
            // Not asked for by us; to be closed, not leaked.
            Some(SCM_PIDFD) if level == libc::SOL_SOCKET => drop(owned.collect::<Vec<_>>()),
            _ => {}
        }
        control = control.get(length.next_multiple_of(align_of::<usize>())..).unwrap_or_default();
    }
    fds
}

/// `getsockopt(SO_PEERCRED)`: process, user and group of the other end of a Unix socket.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let value = (&raw mut credentials).cast();
    // SAFETY: The kernel writes at most `length` bytes, which is the size of `credentials`, made of integers and ours for the
    // whole call; so is `length`.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, value, &mut length) };
    if result == 0 { Ok(credentials) } else { Err(io::Error::last_os_error()) }
}

// # Datagrams that tell whether they were cut, and many of them by one call (UDP)

/// What the kernel tells about a datagram that it has put into a buffer of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedDatagram {
    /// Bytes in the buffer.
    pub(crate) length: usize,
    /// There were more, for which there was no room; they are lost.
    pub(crate) truncated: bool,
    /// Where it came from.
    pub(crate) address: SocketAddr,
}

/// The address of a sender. One that is none of IP means that somebody has passed a socket of another kind for one of UDP.
fn ip_address(name: &SockAddr) -> io::Result<SocketAddr> {
    let error = || io::Error::new(io::ErrorKind::InvalidData, "the sender of a UDP datagram has no IP address");
    name.as_socket().ok_or_else(error)
}

/// Receives one datagram, by `recvmsg(2)`, which says whether it was cut where `recvfrom(2)` does not.
pub(crate) fn recv_datagram(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<ReceivedDatagram> {
    let buffer = ptr::from_mut(buffer) as *mut [MaybeUninit<u8>];
    // SAFETY: The pointer was a mutable borrow just now, and nothing else uses it while the new one lives. An initialised
    // byte is a valid `MaybeUninit`. That no uninitialised one is written through it, which would be wrong for whoever has
    // lent us the buffer, is what socket2 guarantees for the call below.
    let buffer = unsafe { &mut *buffer };
    let mut slices = [MaybeUninitSlice::new(buffer)];
    let (length, flags, name) = SockRef::from(socket).recv_from_vectored(&mut slices)?;
    Ok(ReceivedDatagram { length, truncated: flags.is_truncated(), address: ip_address(&name)? })
}

/// The headers of a batch of datagrams, as `recvmmsg(2)` and `sendmmsg(2)` want them.
///
/// They are kept so that they need not be allocated anew. They are full of pointers, but nothing of that is kept: each call
/// writes all those that the kernel will follow, from borrows which outlast it, and nobody follows any after it.
pub(crate) struct Headers {
    /// One for each datagram.
    messages: Vec<libc::mmsghdr>,
    /// Where the bytes of each are.
    slices: Vec<libc::iovec>,
}

// SAFETY: Between calls the pointers are mere leftovers that nobody follows, and a call takes `&mut`.
unsafe impl Send for Headers {}
// SAFETY: As above. A shared reference gives access to lengths and flags alone, which are plain numbers.
unsafe impl Sync for Headers {}

impl Headers {
    /// For at most `count` datagrams.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: All zeroes is a valid `mmsghdr`: null pointers with lengths of zero.
        let message = unsafe { std::mem::zeroed::<libc::mmsghdr>() };
        let slice = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { messages: vec![message; count], slices: vec![slice; count] }
    }

    /// Receives as many datagrams as are there, by `recvmmsg(2)`, each into `size` of the `bytes`. Returns how many.
    ///
    /// What became of them is told by [`received`](Self::received).
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub(crate) fn recv(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &mut [u8],
        size: usize,
        names: &mut [SockAddrStorage],
    ) -> io::Result<usize> {
        let headers = self.messages.iter_mut().zip(&mut self.slices);
        let mut count = 0;
        for ((message, slice), (buffer, name)) in headers.zip(bytes.chunks_exact_mut(size).zip(names)) {
            *slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let header = &mut message.msg_hdr;
            header.msg_namelen = name.size_of();
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_iov = slice;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            count += 1;
        }
        let (fd, messages, no_timeout) = (socket.as_raw_fd(), self.messages.as_mut_ptr(), ptr::null_mut());
        // An `int`, but for musl an unsigned one.
        let flags = libc::MSG_DONTWAIT as _;
        // SAFETY: Each of the first `count` headers was filled just now. It leads to one slice, one buffer and one name, with
        // their true lengths; they are borrowed mutably until this function returns, and no two overlap. The kernel writes to
        // these and to the headers, and any bytes are valid there.
        let received = unsafe { libc::recvmmsg(fd, messages, count, flags, no_timeout) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// What became of a datagram that the last [`recv`](Self::recv) has counted. Takes its name, and leaves zeroes there.
    pub(crate) fn received(&self, index: usize, names: &mut [SockAddrStorage]) -> io::Result<ReceivedDatagram> {
        let message = &self.messages[index];
        let header = &message.msg_hdr;
        let name = std::mem::replace(&mut names[index], SockAddrStorage::zeroed());
        // The kernel tells the length that it would have needed.
        let length = header.msg_namelen.min(name.size_of());
        // SAFETY: The kernel has written an address of this length there, and its family says how it is to be read. If it has
        // written none, the family is that of the zeroes: none.
        let name = unsafe { SockAddr::new(name, length) };
        let (length, truncated) = (message.msg_len as usize, header.msg_flags & libc::MSG_TRUNC != 0);
        Ok(ReceivedDatagram { length, truncated, address: ip_address(&name)? })
    }

    /// Sends datagrams, by `sendmmsg(2)`, each to its address, or to the one that the socket is connected to. Returns how
    /// many went, which are the first ones.
    pub(crate) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = (&'a [u8], Option<&'a SockAddr>)>,
    ) -> io::Result<usize> {
        let headers = self.messages.iter_mut().zip(&mut self.slices);
        let mut count = 0;
        for ((message, slice), (bytes, address)) in headers.zip(datagrams) {
            *slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let header = &mut message.msg_hdr;
            header.msg_name = address.map_or(ptr::null_mut(), |address| address.as_ptr().cast_mut().cast());
            header.msg_namelen = address.map_or(0, SockAddr::len);
            header.msg_iov = slice;
            header.msg_iovlen = 1;
            count += 1;
        }
        let (fd, messages) = (socket.as_raw_fd(), self.messages.as_mut_ptr());
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _;
        // SAFETY: Each of the first `count` headers was filled just now. It leads to one slice, to bytes and perhaps to an
        // address, with their true lengths, all borrowed until this function returns. The kernel writes to the headers, which
        // are ours alone, and only reads the rest.
        let sent = unsafe { libc::sendmmsg(fd, messages, count, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("count", &self.messages.len()).finish_non_exhaustive()
    }
}

// # hyper: reading into a buffer that nobody has initialised

/// `recv(2)` into what is left of hyper's buffer, which is filled by as many bytes as have come.
///
/// Returns their number: 0 at the end of file, and if there is no room.
///
/// hyper gives its buffer as it got it from the allocator. The kernel does not mind, but a `&mut [u8]` must not refer
/// to it, and to fill it with zeros first would cost more than all the rest of a small request.
#[cfg(feature = "hyper")]
pub(crate) fn recv(socket: BorrowedFd<'_>, cursor: &mut ReadBufCursor<'_>) -> io::Result<usize> {
    // SAFETY: Nobody may make bytes of this slice uninitialised that were not. It goes to socket2's `recv` alone, whose
    // contract is not to, and of whose bytes the kernel only writes some.
    let unfilled = unsafe { cursor.as_mut() };
    let count = SockRef::from(&socket).recv(unfilled)?;
    // SAFETY: `count` bytes at the front of the unfilled part must be initialised. `recv` was given just that part, and
    // has returned how many bytes the kernel has written to its front. That is never more than there was room for:
    // only with `MSG_TRUNC`, which is not set, does the kernel count bytes that it has not written.
    unsafe { cursor.advance(count) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control message, as the kernel writes it.
    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (CONTROL_HEAD + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// Descriptors are found behind other control messages, and nonsense is not followed.
    #[test]
    fn control_messages() {
        let number = |file: std::fs::File| std::os::fd::IntoRawFd::into_raw_fd(file).to_ne_bytes();
        let null = || std::fs::File::open("/dev/null").unwrap();
        let mut control = message(libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &[7; 12]);
        control.extend(message(libc::SOL_SOCKET, SCM_PIDFD, &number(null())));
        control.extend(message(libc::SOL_SOCKET, SCM_PIDFD, &(-libc::ENOMEM).to_ne_bytes()));
        control.extend(message(libc::SOL_SOCKET, libc::SCM_RIGHTS, &[number(null()), number(null())].concat()));
        control.extend(message(libc::SOL_IP, libc::SCM_RIGHTS, &i32::MAX.to_ne_bytes()));
        let fds = take_descriptors(&control);
        assert_eq!(fds.len(), 2);
        drop(fds);

        for length in [0, 1, CONTROL_HEAD - 1, CONTROL_HEAD + 5, usize::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
            bytes.extend(libc::SCM_RIGHTS.to_ne_bytes());
            assert!(take_descriptors(&bytes).is_empty(), "{length}");
        }
        assert!(take_descriptors(&[]).is_empty());
        assert!(take_descriptors(&[0; 7]).is_empty());
    }
}
