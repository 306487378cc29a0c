//! System calls without a function in std or socket2, behind safe functions.
//!
//! Every function takes and returns owned or borrowed descriptors, makes one call, and turns the C convention "-1 means
//! look at `errno`" into an [`io::Result`]. Nothing here knows a reactor, or a type of this crate. The system calls of
//! copying are in `copy/sys.rs`; no other file of this crate may use `unsafe`.
#![allow(unsafe_code)]

#[cfg(feature = "hyper")]
use hyper::rt::ReadBufCursor;
#[cfg(feature = "hyper")]
use socket2::SockRef;
use socket2::{SockAddr, SockAddrStorage};
use std::ffi::CString;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::{offset_of, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

// # Options without a function in socket2

/// Sets an integer option of a socket, by `setsockopt(2)`.
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

// # Network interfaces

/// Returns the index of the network interface `name`, by `if_nametoindex(3)`. `ENODEV` if there is none.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: `name` ends with a zero, lives across the call and is only read.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

// # The process

/// Returns the number of descriptors that this process may have open, by `getrlimit(2)`; the greatest number if there is no
/// limit, or it is not known.
pub(crate) fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is borrowed mutably for the whole call, and has the size that the kernel writes.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

// # TCP

/// Returns whether a TCP socket waits for the answer to its request to connect, or has not sent the request yet, by
/// `getsockopt(2)` with `TCP_INFO`.
pub(crate) fn is_connecting(socket: BorrowedFd<'_>) -> io::Result<bool> {
    /// The number of this state in the kernel's `enum` of TCP states.
    const TCP_SYN_SENT: u8 = 2;
    // The first byte of the kernel's structure. The kernel cuts the structure to the length that is asked for.
    let mut state = 0_u8;
    let mut length = size_of::<u8>() as libc::socklen_t;
    let pointer = (&raw mut state).cast();
    // SAFETY: `pointer` leads to `state`, and `length` is its size. Both are borrowed mutably for the whole call. The
    // kernel writes at most `length` bytes there.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, pointer, &mut length) };
    if result == 0 { Ok(state == TCP_SYN_SENT) } else { Err(io::Error::last_os_error()) }
}

// # Unix sockets: credentials, and messages with descriptors

/// Bytes in the head of a control message, as the kernel lays it out: the length as a `size_t`, then two `int`s.
pub(crate) const CONTROL_HEAD: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();

/// The largest number of descriptors that the kernel takes in one message: `SCM_MAX_FD`.
pub(crate) const MAX_FDS: usize = 253;

/// The type of a control message with a pidfd of the sender's process, on sockets with `SO_PASSPIDFD`.
const SCM_PIDFD: libc::c_int = 4;

/// Bytes for other control messages, which arrive if the socket was set to receive them: credentials, a security label,
/// a time stamp.
const OTHER_CONTROL: usize = 256;

/// Bytes for all control messages of one message.
const CONTROL: usize = CONTROL_HEAD + MAX_FDS * size_of::<libc::c_int>() + OTHER_CONTROL;

/// A buffer for control messages, with the alignment of a `cmsghdr`.
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// A message, from [`receive_message`].
#[derive(Debug)]
pub(crate) struct ReceivedMessage {
    /// Bytes written to the buffers.
    pub(crate) length: usize,
    /// The descriptors of the message, close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether the datagram was longer than the buffers (`MSG_TRUNC`).
    pub(crate) truncated: bool,
    /// Whether some control data is lost, and descriptors with it (`MSG_CTRUNC`).
    pub(crate) control_truncated: bool,
    /// The sender's `sun_path`, with the length that the kernel reported; empty if the sender has no path.
    pub(crate) sender: SenderPath,
}

/// The `sun_path` of a sender.
#[derive(Debug)]
pub(crate) struct SenderPath {
    /// `sun_path`, and the zero after a path of full length.
    bytes: [u8; SUN_PATH + 1],
    /// Bytes in use, from the front of `bytes`.
    length: usize,
}

/// Bytes of a `sun_path`.
const SUN_PATH: usize = size_of::<libc::sockaddr_un>() - SUN_PATH_OFFSET;
/// The offset of `sun_path` in a `sockaddr_un`.
const SUN_PATH_OFFSET: usize = offset_of!(libc::sockaddr_un, sun_path);

impl SenderPath {
    /// Returns the bytes of the path.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Receives a message, its descriptors and its sender, by `recvmsg(2)` with `MSG_CMSG_CLOEXEC`.
///
/// There is room for `max_fds` descriptors, and for somewhat more if the kernel sends no other control data.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    max_fds: usize,
) -> io::Result<ReceivedMessage> {
    let mut control = Control([0; CONTROL]);
    let room = CONTROL_HEAD + max_fds.min(MAX_FDS) * size_of::<libc::c_int>() + OTHER_CONTROL;
    // One byte longer than a `sockaddr_un`: the kernel writes a zero after a path of full length.
    let mut address = [0_u8; SUN_PATH_OFFSET + SUN_PATH + 1];
    // SAFETY: All zeroes are a valid `msghdr`: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = address.len() as libc::socklen_t;
    // std guarantees that `IoSliceMut` has the layout of an `iovec`.
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len() as _;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = room as _;
    // SAFETY: Every pointer in `message` leads to memory borrowed mutably for the whole call, with its true length
    // beside the pointer. The kernel writes bytes there, and any bytes are valid.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;

    // First, so every received descriptor has an owner before anything else happens.
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

/// Takes ownership of the descriptors in control messages, which the kernel has just written and no other code has
/// read.
fn take_descriptors(mut control: &[u8]) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    while let Some((length, head)) = control.split_first_chunk::<{ size_of::<usize>() }>() {
        let length = usize::from_ne_bytes(*length);
        let Some(data) = control.get(CONTROL_HEAD..length) else { break };
        let Some((level, kind)) = head.split_first_chunk::<4>() else { break };
        let (level, kind) = (i32::from_ne_bytes(*level), kind.first_chunk().copied().map(i32::from_ne_bytes));
        let numbers = data.chunks_exact(size_of::<libc::c_int>());
        let numbers = numbers.filter_map(|bytes| bytes.try_into().ok().map(i32::from_ne_bytes));
        // Instead of a pidfd, the kernel may send a negative number.
        let owned = numbers.filter(|&number| number >= 0).map(|number| {
            // SAFETY: The kernel has just opened this descriptor for this process. No other code reads the message, and
            // this function reads it once, so no other owner of the number exists.
            unsafe { OwnedFd::from_raw_fd(number) }
        });
        match kind {
            Some(libc::SCM_RIGHTS) if level == libc::SOL_SOCKET => fds.extend(owned),
            // A pidfd that this crate did not ask for: close it, do not leak it.
            Some(SCM_PIDFD) if level == libc::SOL_SOCKET => drop(owned.collect::<Vec<_>>()),
            _ => {}
        }
        control = control.get(length.next_multiple_of(align_of::<usize>())..).unwrap_or_default();
    }
    fds
}

/// Returns the process, user and group of the other end of a Unix socket, by `getsockopt(2)` with `SO_PEERCRED`.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let value = (&raw mut credentials).cast();
    // SAFETY: `value` leads to `credentials`, and `length` is its size. Both are borrowed mutably for the whole call.
    // The kernel writes at most `length` bytes there, and any bytes are valid integers.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, value, &mut length) };
    if result == 0 { Ok(credentials) } else { Err(io::Error::last_os_error()) }
}

// # UDP: datagrams with their truncation, one or many by one call

/// A received datagram, as the kernel describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedDatagram {
    /// Bytes written to the buffer.
    pub(crate) length: usize,
    /// Whether the datagram was longer than the buffer. The rest is lost.
    pub(crate) truncated: bool,
    /// Whether the kernel had a control message, for which there was no room (`MSG_CTRUNC`). The socket has an option
    /// that asks for such messages.
    pub(crate) control_lost: bool,
    /// The address of the sender. `None` if a socket of another kind was passed as a UDP socket.
    address: Option<SocketAddr>,
}

impl ReceivedDatagram {
    /// Returns the address of the sender, or an error if the sender has no IP address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        let error = || io::Error::new(io::ErrorKind::InvalidData, "the sender of a UDP datagram has no IP address");
        self.address.ok_or_else(error)
    }
}

/// Receives one datagram, by `recvmsg(2)` with `flags`. Unlike `recvfrom(2)`, this call reports whether the datagram was
/// truncated, and whether there was a control message.
pub(crate) fn recv_datagram(socket: &impl AsFd, buffer: &mut [u8], flags: libc::c_int) -> io::Result<ReceivedDatagram> {
    let mut name = SockAddrStorage::zeroed();
    let mut slice = IoSliceMut::new(buffer);
    // SAFETY: All zeroes are a valid `msghdr`: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_namelen = name.size_of();
    message.msg_name = (&raw mut name).cast();
    // std guarantees that `IoSliceMut` has the layout of an `iovec`.
    message.msg_iov = (&raw mut slice).cast();
    message.msg_iovlen = 1;
    // SAFETY: `message` leads to one slice, to its buffer and to `name`, with their true lengths, all borrowed mutably or
    // owned here for the whole call. The kernel writes bytes there, and any bytes are valid.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(describe(&message, length, name))
}

/// Describes a datagram of `length` bytes that the kernel has just received with `message`, from the sender `name`.
fn describe(message: &libc::msghdr, length: usize, name: SockAddrStorage) -> ReceivedDatagram {
    // If the address was cut, the kernel reports its full length.
    let name_length = message.msg_namelen.min(name.size_of());
    // SAFETY: The kernel has written an address of this length, and the family in the address defines its layout. If the
    // kernel has written no address, the family is `AF_UNSPEC`, from the zeroes.
    let name = unsafe { SockAddr::new(name, name_length) };
    ReceivedDatagram {
        length,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        control_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
        address: name.as_socket(),
    }
}

/// Returns whether the kernel joins received datagrams of a socket into one (`UDP_GRO` of `udp(7)`).
pub(crate) fn joins_datagrams(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let pointer = (&raw mut value).cast();
    // SAFETY: `pointer` leads to the integer `value`, and `length` is its size. Both are borrowed mutably for the call.
    // The kernel writes at most `length` bytes there, and any bytes are a valid integer.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, pointer, &mut length) };
    if result == 0 { Ok(value != 0) } else { Err(io::Error::last_os_error()) }
}

/// The headers of a batch of datagrams, for `recvmmsg(2)` and `sendmmsg(2)`.
///
/// The headers are kept between calls, so a call allocates nothing. Their pointers are not kept: each call writes every
/// pointer that the kernel will follow, from borrows that outlast the call. No code follows a pointer after the call.
pub(crate) struct Headers {
    /// One header per datagram. Written by each call; the kernel adds lengths and flags.
    messages: Vec<libc::mmsghdr>,
    /// One slice per datagram: the location of its bytes. Written by each call.
    slices: Vec<libc::iovec>,
}

// SAFETY: No code follows the pointers between calls, and a call takes `&mut`.
unsafe impl Send for Headers {}
// SAFETY: As above. A shared reference gives access only to lengths and flags, which are plain numbers.
unsafe impl Sync for Headers {}

impl Headers {
    /// Creates headers for at most `count` datagrams.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: All zeroes are a valid `mmsghdr`: null pointers with lengths of zero.
        let message = unsafe { std::mem::zeroed::<libc::mmsghdr>() };
        let slice = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { messages: vec![message; count], slices: vec![slice; count] }
    }

    /// Receives the datagrams in the queue, as many as there are headers for, by `recvmmsg(2)`. Returns their number.
    /// Each datagram is written to its own `size` bytes of `bytes`.
    ///
    /// Afterwards, [`received`](Self::received) describes each datagram.
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
        // The parameter is an `int` in glibc and an unsigned one in musl.
        let flags = libc::MSG_DONTWAIT as _;
        // SAFETY: Each of the first `count` headers was filled just now, and leads to one slice, one buffer and one
        // name, with their true lengths. All are borrowed mutably until this function returns, and no two overlap. The
        // kernel writes only to these and to the headers, and any bytes are valid there.
        let received = unsafe { libc::recvmmsg(fd, messages, count, flags, no_timeout) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Describes a datagram that the last [`recv`](Self::recv) has counted. Takes the sender out of `names`, and leaves
    /// zeroes there.
    pub(crate) fn received(&self, index: usize, names: &mut [SockAddrStorage]) -> ReceivedDatagram {
        let message = &self.messages[index];
        let name = std::mem::replace(&mut names[index], SockAddrStorage::zeroed());
        describe(&message.msg_hdr, message.msg_len as usize, name)
    }

    /// Sends datagrams, by `sendmmsg(2)`, each to its address, or without an address to the connected peer. Returns how
    /// many were sent, counted from the first.
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
        // SAFETY: Each of the first `count` headers was filled just now, and leads to one slice, to bytes and perhaps
        // to an address, with their true lengths, all borrowed until this function returns. The kernel writes to the
        // headers, which are borrowed mutably, and only reads the rest.
        let sent = unsafe { libc::sendmmsg(fd, messages, count, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("count", &self.messages.len()).finish_non_exhaustive()
    }
}

// # hyper: reading into an uninitialised buffer

/// Reads into the unfilled part of hyper's buffer, by `recv(2)`, and marks the bytes read as filled.
///
/// Returns the number of bytes: 0 at the end of file, and if there is no room.
///
/// hyper passes its buffer as the allocator returned it. The kernel accepts uninitialised memory, but a `&mut [u8]`
/// must not refer to it. To fill it with zeroes first would cost more than the rest of a small request.
#[cfg(feature = "hyper")]
pub(crate) fn recv(socket: BorrowedFd<'_>, cursor: &mut ReadBufCursor<'_>) -> io::Result<usize> {
    // SAFETY: Initialised bytes of this slice must stay initialised. Only socket2's `recv` gets the slice; its contract
    // is to keep them so, and the kernel only writes some of the bytes.
    let unfilled = unsafe { cursor.as_mut() };
    let count = SockRef::from(&socket).recv(unfilled)?;
    // SAFETY: The first `count` bytes of the unfilled part must be initialised. `recv` was given exactly this part, and
    // has returned how many bytes the kernel wrote to its front. This number is never larger than the room: the kernel
    // counts bytes that it has not written only with `MSG_TRUNC`, which is not set.
    unsafe { cursor.advance(count) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a control message, as the kernel writes it.
    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (CONTROL_HEAD + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// Descriptors are found behind other control messages, and a malformed length ends the search.
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
