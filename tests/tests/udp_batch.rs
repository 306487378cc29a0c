//! Batches of datagrams: full, mixed, and with a failure in the middle; and how many datagrams a task moves in one
//! poll.

use async_epoll::OPERATIONS_PER_POLL;
use async_net_lite::{Datagram, MAX_DATAGRAMS, RecvBatch, SendBatch, UdpSocket};
use futures::future::FutureExt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use tests::common::block_on;
use tests::common::udp::{LONGEST, address, pair, refused, socket};
use tests::{LOCALHOST, has_ipv6, yield_now};

/// The number of datagrams in a batch that count as one operation of the budget.
const PER_OPERATION: usize = 8;

/// Sends small datagrams to `receiver`, all of which fit into its queue.
async fn fill(receiver: &UdpSocket, count: usize) {
    receiver.set_recv_buffer_size(4 << 20).unwrap();
    let sender = StdSocket::bind(LOCALHOST).unwrap();
    for number in 0..count {
        sender.send_to(&(number as u32).to_le_bytes(), address(receiver)).unwrap();
    }
}

/// Returns whether the queue of a socket can hold `count` small datagrams.
fn has_room_for(socket: &UdpSocket, count: usize) -> bool {
    socket.set_recv_buffer_size(4 << 20).unwrap();
    let there = socket.recv_buffer_size().unwrap() >= count * 2048;
    if !there {
        eprintln!("skipped: /proc/sys/net/core/rmem_max is too small for {count} datagrams");
    }
    there
}

/// Bug H5; behaviour 83: a task takes a limited number of datagrams in one poll, however many are queued.
#[test]
fn a_poll_takes_so_much_and_no_more() {
    block_on(async {
        let receiver = socket().await;
        if !has_room_for(&receiver, 1500) {
            return;
        }
        // After a wait, the reactor reports arrivals to the socket.
        assert!(receiver.recv(&mut []).now_or_never().is_none());
        // More than the budget allows. A batch of 16 counts as two operations. A larger batch grows and counts as 4, 8
        // and 16; the rest of the budget is enough for one more.
        let budget = OPERATIONS_PER_POLL as usize;
        for (capacity, expected) in [(0, budget), (16, budget * PER_OPERATION), (1024, 32 + 64 + 128 + 256)] {
            fill(&receiver, 1500).await;
            let mut batch = RecvBatch::new(capacity.max(1), 8).unwrap();
            yield_now().await;
            let mut taken = 0;
            loop {
                let next = match capacity {
                    0 => receiver.recv(&mut [0; 8]).now_or_never().map(|result| result.map(|_| 1)),
                    _ => receiver.recv_batch(&mut batch).now_or_never(),
                };
                match next {
                    Some(count) => taken += count.unwrap(),
                    None => break,
                }
            }
            assert_eq!(taken, expected, "by {capacity} at a time");
            yield_now().await;
            while receiver.try_recv(&mut [0; 8]).is_ok() {}
        }
        // The same for sending.
        let (sender, mut batch) = (socket().await, SendBatch::new(1024, 8).unwrap());
        for (length, expected) in [(16, budget * PER_OPERATION), (1024, 1024)] {
            yield_now().await;
            let mut sent = 0;
            loop {
                while batch.len() < length {
                    batch.push_to(b"x", address(&receiver)).unwrap();
                }
                match sender.send_batch(&mut batch).now_or_never() {
                    Some(count) => sent += count.unwrap(),
                    None => break,
                }
            }
            assert_eq!(sent, expected, "by {length} at a time");
            batch.clear();
        }
    });
}

/// One system call sends and receives as many datagrams as a batch can hold, once the batch has grown. The rest waits
/// for the next call.
#[test]
fn full_batches() {
    block_on(async {
        let receiver = socket().await;
        // The sizes of a growing batch before it is filled.
        let growing = [32, 64, 128, 256, 512];
        let before: usize = growing.iter().sum();
        if !has_room_for(&receiver, before + MAX_DATAGRAMS + 100) {
            return;
        }
        let sender = socket().await;
        for _ in 0..before {
            sender.send_to(b"x", address(&receiver)).await.unwrap();
        }
        let mut out = SendBatch::new(MAX_DATAGRAMS, 4).unwrap();
        for number in 0..MAX_DATAGRAMS as u32 {
            assert!(!out.is_full());
            out.push_to(&number.to_le_bytes(), address(&receiver)).unwrap();
        }
        assert!(out.is_full());
        let error = out.push_to(b"x", address(&receiver)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("1024"), "{error}");
        assert_eq!(sender.send_batch(&mut out).await.unwrap(), MAX_DATAGRAMS);
        assert!(out.is_empty());
        for number in 0..100 {
            out.push_to(&[number], address(&receiver)).unwrap();
        }
        assert_eq!(sender.send_batch(&mut out).await.unwrap(), 100);

        let mut batch = RecvBatch::new(MAX_DATAGRAMS, 4).unwrap();
        for expected in growing {
            assert_eq!(receiver.recv_batch(&mut batch).await.unwrap(), expected);
            assert!(batch.iter().all(|datagram| datagram.bytes == b"x"));
        }
        assert_eq!(receiver.recv_batch(&mut batch).await.unwrap(), MAX_DATAGRAMS);
        let from = address(&sender);
        for (number, datagram) in batch.iter().enumerate() {
            let bytes = (number as u32).to_le_bytes();
            assert_eq!(datagram, Datagram { bytes: &bytes, address: from, truncated: false });
        }
        // Fewer datagrams than before: none of the previous ones is visible.
        assert_eq!(receiver.recv_batch(&mut batch).await.unwrap(), 100);
        assert_eq!((batch.len(), batch.iter().len(), batch.capacity()), (100, 100, MAX_DATAGRAMS));
        assert!(batch.get(100).is_none() && batch.get(usize::MAX).is_none());
        assert!(batch.iter().enumerate().all(|(number, datagram)| datagram.bytes == [number as u8]));
        // The next call asks for twice as many as have arrived, and the batch shrinks further.
        for (sent, expected) in [(300, [200, 100]), (20, [20, 0])] {
            fill(&receiver, sent).await;
            for expected in expected.into_iter().filter(|expected| *expected > 0) {
                assert_eq!(receiver.recv_batch(&mut batch).await.unwrap(), expected);
            }
        }
        // While the queue is empty, the batch is empty.
        assert!(receiver.recv_batch(&mut batch).now_or_never().is_none());
        assert!(batch.is_empty() && batch.iter().next().is_none());
    });
}

/// Bug H1, H4: long, empty and ordinary datagrams in one batch, from several senders of both families.
#[test]
fn batches_of_all_sorts() {
    block_on(async {
        let ipv6 = has_ipv6();
        let receiver = UdpSocket::bind(if ipv6 { "[::]:0" } else { "0.0.0.0:0" }).await.unwrap();
        let port = address(&receiver).port();
        let (one, two) = (socket().await, UdpSocket::bind(if ipv6 { "[::1]:0" } else { "127.0.0.1:0" }).await.unwrap());
        let to_one = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let to_two = SocketAddr::new(address(&two).ip(), port);
        // The address of the first sender as the receiver sees it.
        let one_is = if ipv6 {
            SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), address(&one).port()))
        } else {
            address(&one)
        };
        let mut out = SendBatch::new(8, 64).unwrap();
        for bytes in [&b"ordinary"[..], b"", b"longer than what there is room for", b"12345678", b""] {
            out.push_to(bytes, to_one).unwrap();
        }
        assert_eq!(one.send_batch(&mut out).await.unwrap(), 5);
        for bytes in [&b""[..], b"other"] {
            out.push_to(bytes, to_two).unwrap();
        }
        assert_eq!(two.send_batch(&mut out).await.unwrap(), 2);

        let mut batch = RecvBatch::new(16, 8).unwrap();
        assert_eq!(receiver.recv_batch(&mut batch).await.unwrap(), 7);
        let datagram = |bytes, address, truncated| Datagram { bytes, address, truncated };
        let expected = [
            datagram(&b"ordinary"[..], one_is, false),
            datagram(b"", one_is, false),
            datagram(b"longer t", one_is, true),
            datagram(b"12345678", one_is, false),
            datagram(b"", one_is, false),
            datagram(b"", address(&two), false),
            datagram(b"other", address(&two), false),
        ];
        assert!(batch.iter().eq(expected), "{:?}", batch.iter().collect::<Vec<_>>());
        // A batch of capacity one.
        let mut single = RecvBatch::new(1, 8).unwrap();
        one.send_to(b"a", to_one).await.unwrap();
        one.send_to(b"b", to_one).await.unwrap();
        for expected in [b"a", b"b"] {
            assert_eq!(receiver.recv_batch(&mut single).await.unwrap(), 1);
            assert_eq!(single.get(0).unwrap().bytes, expected);
        }
    });
}

/// With and without an address, to several peers, from a connected and from an unconnected socket.
#[test]
fn batches_to_several_peers() {
    block_on(async {
        let (sender, one, two) = (socket().await, socket().await, socket().await);
        sender.connect(address(&one)).await.unwrap();
        let mut out = SendBatch::new(4, 8).unwrap();
        out.push(b"one").unwrap();
        out.push_to(b"two", address(&two)).unwrap();
        out.push(b"").unwrap();
        assert_eq!(sender.send_batch(&mut out).await.unwrap(), 3);
        let mut buffer = [0; 8];
        assert_eq!(one.recv(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(one.recv(&mut buffer).await.unwrap(), 0);
        assert_eq!(two.recv(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"two");
    });
}

/// A datagram in the middle cannot be sent: the datagrams before it are sent, then the call returns its error, then it
/// can be skipped.
#[test]
fn batches_with_one_that_fails() {
    block_on(async {
        let (left, right) = pair().await;
        let (mut out, long) = (SendBatch::new(8, 65_535).unwrap(), vec![0; LONGEST + 1]);
        for bytes in [&b"a"[..], b"bc", &long, b"def"] {
            out.push(bytes).unwrap();
        }
        assert_eq!(left.send_batch(&mut out).await.unwrap(), 2);
        for _ in 0..3 {
            let error = left.send_batch(&mut out).await.unwrap_err();
            assert_eq!((error.raw_os_error(), out.len()), (Some(libc::EMSGSIZE), 2));
        }
        assert!(out.skip());
        assert_eq!(left.send_batch(&mut out).await.unwrap(), 1);
        assert!(!out.skip() && out.is_empty());
        assert_eq!(left.send_batch(&mut out).await.unwrap(), 0, "nothing to do");
        let mut batch = RecvBatch::new(8, 8).unwrap();
        assert_eq!(right.recv_batch(&mut batch).await.unwrap(), 3);
        assert!(batch.iter().map(|datagram| datagram.bytes).eq([&b"a"[..], b"bc", b"def"]));
    });
}

/// Bug H2: a batch to a port without a socket is sent, with an error now and then, like single datagrams.
#[test]
fn batches_that_are_refused() {
    block_on(async {
        let socket = refused().await;
        let mut out = SendBatch::new(16, 8).unwrap();
        for _ in 0..16 {
            out.push(b"x").unwrap();
        }
        let mut sent = 0;
        for _ in 0..100 {
            match socket.send_batch(&mut out).await {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            }
            assert_eq!(sent + out.len(), 16);
        }
        assert_eq!(sent, 16);
    });
}

/// The capacity and the datagram size of a batch are limited, and the error names the limits.
#[test]
fn dimensions_of_batches() {
    for (capacity, size) in [(0, 1), (1025, 1), (usize::MAX, 1), (1, 0), (1, 65_536), (usize::MAX, usize::MAX)] {
        for error in [RecvBatch::new(capacity, size).unwrap_err(), SendBatch::new(capacity, size).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("room for 1 to"), "{error}");
        }
    }
    for (capacity, size) in [(1, 1), (1024, 65_535)] {
        assert_eq!(RecvBatch::new(capacity, size).unwrap().capacity(), capacity);
        assert_eq!(SendBatch::new(capacity, size).unwrap().capacity(), capacity);
    }
    let mut batch = SendBatch::new(2, 3).unwrap();
    let error = batch.push(b"1234").unwrap_err();
    assert_eq!((error.kind(), batch.len()), (ErrorKind::InvalidInput, 0));
    assert!(error.to_string().contains("4 bytes") && error.to_string().contains("3 bytes"), "{error}");
    batch.push(b"123").unwrap();
    batch.push(b"").unwrap();
    assert!(batch.is_full() && batch.push(b"").is_err());
    batch.clear();
    assert!(batch.is_empty() && !batch.skip());
    batch.clear();
}
