//! Receive offload that the user has turned on (`UDP_GRO`): the kernel joins datagrams of one sender. No receiving method
//! returns joined datagrams as one.
//!
//! The sender uses segmentation offload (`UDP_SEGMENT`): one send of 450 bytes makes four datagrams of 100 bytes and one
//! of 50. On the loopback interface, the receiver gets them joined if it has asked for that.

use async_epoll::Handle;
use async_net_lite::{RecvBatch, UdpSocket};
use futures::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::UdpSocket as StdSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use tests::common::{block_on, udp};
use tests::{LOCALHOST, set_option_of_number, set_socket_option};

/// Bytes of a datagram.
const SEGMENT: usize = 100;

/// Turns receive offload on or off.
fn offload(socket: BorrowedFd<'_>, on: bool) {
    set_socket_option(socket, libc::SOL_UDP, libc::UDP_GRO, on.into()).unwrap();
}

/// The ways in which the option gets onto a socket.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Before the socket becomes one of ours.
    FromStd,
    /// By a duplicate that existed before.
    Duplicate,
    AsFd,
    AsRawFd,
    SockRef,
    /// In a system call of the user's own.
    OwnCall,
    /// By a socket of std that a clone was converted to.
    IntoStd,
    /// After the socket of a clone was handed out.
    Clone,
}

const WAYS: [Way; 8] =
    [Way::FromStd, Way::Duplicate, Way::AsFd, Way::AsRawFd, Way::SockRef, Way::OwnCall, Way::IntoStd, Way::Clone];

/// Returns a socket with receive offload. Its descriptor has been handed out in no other way.
async fn receiver(way: Way) -> UdpSocket {
    let std = || StdSocket::bind(LOCALHOST).unwrap();
    let handle = Handle::current().unwrap();
    let socket = match way {
        Way::FromStd => {
            let std = std();
            offload(std.as_fd(), true);
            UdpSocket::from_std(std, &handle).unwrap()
        }
        Way::Duplicate => {
            let std = std();
            let duplicate = std.try_clone().unwrap();
            let socket = UdpSocket::from_std(std, &handle).unwrap();
            offload(duplicate.as_fd(), true);
            socket
        }
        _ => udp::socket().await,
    };
    match way {
        Way::FromStd | Way::Duplicate => {}
        Way::AsFd => offload(socket.as_fd(), true),
        Way::AsRawFd => set_option_of_number(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).unwrap(),
        Way::SockRef => offload(socket2::SockRef::from(&socket).as_fd(), true),
        Way::OwnCall => {
            let set = |socket: &StdSocket| {
                offload(socket.as_fd(), true);
                Ok(())
            };
            socket.read_with(set).await.unwrap();
        }
        Way::IntoStd => offload(socket.clone().into_std().unwrap().as_fd(), true),
        Way::Clone => offload(socket.clone().as_fd(), true),
    }
    socket
}

/// A receiving method, with a buffer of the given size. Returns the length of the first datagram.
type Receive = (&'static str, bool, fn(&UdpSocket, usize) -> io::Result<usize>);

/// Every receiving method in each form, and whether it takes the datagram.
const METHODS: [Receive; 18] = [
    ("recv", true, |socket, size| now(socket.recv(&mut vec![0; size]))),
    ("poll_recv", true, |socket, size| now(poll_fn(|cx| socket.poll_recv(cx, &mut vec![0; size])))),
    ("try_recv", true, |socket, size| socket.try_recv(&mut vec![0; size])),
    ("recv_from", true, |socket, size| Ok(now(socket.recv_from(&mut vec![0; size]))?.0)),
    ("poll_recv_from", true, |socket, size| Ok(now(poll_fn(|cx| socket.poll_recv_from(cx, &mut vec![0; size])))?.0)),
    ("try_recv_from", true, |socket, size| Ok(socket.try_recv_from(&mut vec![0; size])?.0)),
    ("recv_datagram", true, |socket, size| Ok(now(socket.recv_datagram(&mut vec![0; size]))?.bytes.len())),
    ("poll_recv_datagram", true, |socket, size| {
        let buffer = &mut vec![0; size];
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match socket.poll_recv_datagram(&mut context, buffer) {
            std::task::Poll::Ready(datagram) => Ok(datagram?.bytes.len()),
            std::task::Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }),
    ("try_recv_datagram", true, |socket, size| Ok(socket.try_recv_datagram(&mut vec![0; size])?.bytes.len())),
    ("recv_batch", true, |socket, size| batch(size, |batch| now(socket.recv_batch(batch)))),
    ("poll_recv_batch", true, |socket, size| batch(size, |batch| now(poll_fn(|cx| socket.poll_recv_batch(cx, batch))))),
    ("try_recv_batch", true, |socket, size| batch(size, |batch| socket.try_recv_batch(batch))),
    ("peek", false, |socket, size| now(socket.peek(&mut vec![0; size]))),
    ("poll_peek", false, |socket, size| now(poll_fn(|cx| socket.poll_peek(cx, &mut vec![0; size])))),
    ("try_peek", false, |socket, size| socket.try_peek(&mut vec![0; size])),
    ("peek_from", false, |socket, size| Ok(now(socket.peek_from(&mut vec![0; size]))?.0)),
    ("poll_peek_from", false, |socket, size| Ok(now(poll_fn(|cx| socket.poll_peek_from(cx, &mut vec![0; size])))?.0)),
    ("try_peek_from", false, |socket, size| Ok(socket.try_peek_from(&mut vec![0; size])?.0)),
];

/// Polls a future that must be ready, since the datagrams are in the queue.
fn now<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    futures::FutureExt::now_or_never(future).unwrap_or(Err(ErrorKind::WouldBlock.into()))
}

/// Receives a batch, and returns the length of its first datagram. After an error, the batch must be empty.
fn batch(size: usize, receive: impl FnOnce(&mut RecvBatch) -> io::Result<usize>) -> io::Result<usize> {
    let mut batch = RecvBatch::new(8, size).unwrap();
    let result = receive(&mut batch);
    assert_eq!(batch.len(), *result.as_ref().unwrap_or(&0));
    result.map(|_| batch.get(0).unwrap().bytes.len())
}

/// Sends `length` bytes as datagrams of [`SEGMENT`] bytes, by one call, and waits until the receiver is readable.
async fn send(sender: &StdSocket, to: &UdpSocket, length: usize) {
    assert_eq!(sender.send_to(&vec![7; length], to.local_addr().unwrap()).unwrap(), length);
    to.readable().await.unwrap();
}

/// Returns a sender with segmentation offload.
fn sender() -> StdSocket {
    let sender = StdSocket::bind(LOCALHOST).unwrap();
    set_socket_option(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT as i32).unwrap();
    sender
}

/// Found 19: with receive offload, joined datagrams are an error of every receiving method, with a message that says
/// what to do, whatever the way in which the option was set. Single datagrams are received.
#[test]
fn joined_datagrams_are_never_returned_as_one() {
    block_on(async {
        let sender = sender();
        for way in WAYS {
            for (name, takes, receive) in METHODS {
                let socket = receiver(way).await;
                // A buffer that fits, one for a single datagram, and one for less.
                for size in [65_000, SEGMENT, 10] {
                    for length in [2 * SEGMENT, 4 * SEGMENT + 50] {
                        send(&sender, &socket, length).await;
                        let error = receive(&socket, size).expect_err(name);
                        assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}, {way:?}: {error}");
                        assert!(error.to_string().contains("UDP_GRO") && error.to_string().contains("recvmsg"));
                        if !takes {
                            assert!(socket.try_recv(&mut [0; 8]).is_err());
                        }
                    }
                    send(&sender, &socket, SEGMENT).await;
                    assert_eq!(receive(&socket, size).expect(name), SEGMENT.min(size), "{name}, {way:?}");
                    if !takes {
                        socket.try_recv(&mut [0; 8]).unwrap();
                    }
                }
                // All is taken, so nothing is left; and without the option, the datagrams come one by one.
                assert_eq!(receive(&socket, 8).expect_err(name).kind(), ErrorKind::WouldBlock, "{name}");
                offload(socket.as_fd(), false);
                send(&sender, &socket, 4 * SEGMENT + 50).await;
                for expected in [SEGMENT, SEGMENT, SEGMENT, SEGMENT, 50] {
                    assert_eq!(socket.try_recv(&mut [0; 1000]).unwrap(), expected);
                }
            }
        }
    });
}

/// Found 19: other control messages, without receive offload, do not disturb.
#[test]
fn other_control_messages_are_ignored() {
    block_on(async {
        let (sender, socket) = (sender(), udp::socket().await);
        for option in [libc::SO_TIMESTAMP, libc::SO_RXQ_OVFL] {
            set_socket_option(socket.as_fd(), libc::SOL_SOCKET, option, 1).unwrap();
        }
        set_socket_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1).unwrap();
        for (name, _, receive) in METHODS {
            send(&sender, &socket, 2 * SEGMENT).await;
            assert_eq!(receive(&socket, 1000).expect(name), SEGMENT, "{name}");
            while socket.try_recv(&mut [0; 8]).is_ok() {}
        }
    });
}
