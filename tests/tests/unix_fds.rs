//! Descriptors as messages of Unix sockets: each arrives with its bytes, none leaks, and no byte is lost.

use async_net_lite::unix::{FdsLost, UnixDatagram, UnixStream};
use async_timeout::{Timeout, sleep};
use futures::future::{FutureExt, join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::SockRef;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net;
use tests::common::block_on;
use tests::{TIME, in_child, millis, open_fds, thread_cpu, watchdog};

/// Returns an unnamed file that contains `number`.
fn numbered(number: u32) -> File {
    let mut file = File::from(memory());
    file.write_all(&number.to_ne_bytes()).unwrap();
    file
}

fn memory() -> OwnedFd {
    rustix::fs::memfd_create("numbered", rustix::fs::MemfdFlags::CLOEXEC).unwrap()
}

/// Returns the number that [`numbered`] has written.
fn number_in(fd: OwnedFd) -> u32 {
    let mut file = File::from(fd);
    let mut bytes = [0; 4];
    file.rewind().unwrap();
    file.read_exact(&mut bytes).unwrap();
    u32::from_ne_bytes(bytes)
}

/// Returns the number of bytes that arrived although descriptors were lost.
fn length_of(error: &io::Error) -> usize {
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    error.get_ref().unwrap().downcast_ref::<FdsLost>().unwrap().length()
}

fn is_close_on_exec(fd: BorrowedFd<'_>) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    i32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC != 0
}

/// Bug H7; behaviour 110: any number of descriptors up to the kernel's limit arrives in order, close-on-exec, on
/// streams and with datagrams.
#[test]
fn every_number_of_descriptors() {
    let _watchdog = watchdog(TIME);
    let files: Vec<_> = (0..253).map(numbered).collect();
    block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        for count in (0..=253).filter(|count| count % 16 < 3 || *count > 250) {
            let fds: Vec<_> = files[..count].iter().map(File::as_fd).collect();
            let mut buffer = [0; 8];
            for most in [count, usize::MAX] {
                assert_eq!(left.send_with_fds(b"stream", &fds).await.unwrap(), 6);
                assert_eq!(near.send_with_fds(b"packet", &fds).await.unwrap(), 6);
                for (length, received) in [
                    right.recv_with_fds(&mut buffer, most).await.unwrap(),
                    far.recv_with_fds(&mut buffer, most).await.unwrap(),
                ] {
                    assert_eq!((length, received.len()), (6, count));
                    for (number, fd) in (0..).zip(received) {
                        assert!(is_close_on_exec(fd.as_fd()));
                        assert_eq!(number_in(fd), number);
                    }
                }
            }
        }
    });
}

/// Impossible messages are refused before anything is sent.
#[test]
fn messages_that_cannot_be() {
    let _watchdog = watchdog(TIME);
    let file = numbered(0);
    block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        let (one, many) = ([file.as_fd()], vec![file.as_fd(); 254]);
        for error in [
            left.send_with_fds(b"", &one).await.unwrap_err(),
            left.send_with_fds(b"x", &many).await.unwrap_err(),
            near.send_with_fds(b"x", &many).await.unwrap_err(),
            poll_fn(|cx| left.poll_send_with_fds(cx, &[], &one)).await.unwrap_err(),
            poll_fn(|cx| left.poll_send_with_fds(cx, &[IoSlice::new(b"")], &one)).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("descriptors"), "{error}");
        }
        // Sending nothing sends nothing, and receiving into an empty buffer receives nothing.
        assert_eq!(left.send_with_fds(b"", &[]).await.unwrap(), 0);
        left.send_with_fds(b"x", &one).await.unwrap();
        let (length, fds) = right.recv_with_fds(&mut [], 1).await.unwrap();
        assert_eq!((length, fds.len()), (0, 0));
        let (length, fds) = right.recv_with_fds(&mut [0; 2], 1).await.unwrap();
        assert_eq!((length, fds.len()), (1, 1));
        assert!(right.recv_with_fds(&mut [0; 2], 1).now_or_never().is_none());
        // A datagram may be empty and still carry a descriptor.
        near.send_with_fds(b"", &one).await.unwrap();
        let (length, fds) = far.recv_with_fds(&mut [], 1).await.unwrap();
        assert_eq!((length, fds.len()), (0, 1));
        assert!(far.recv_with_fds(&mut [], 1).now_or_never().is_none());
        // The end of the stream.
        drop(left);
        let (length, fds) = right.recv_with_fds(&mut [0; 2], 1).await.unwrap();
        assert_eq!((length, fds.len()), (0, 0));
    });
}

/// Bug H7: more descriptors arrive than requested. All are closed, the bytes arrive, and the next message is complete.
#[test]
fn more_than_asked_for() {
    let _watchdog = watchdog(TIME);
    if !in_child("more_than_asked_for") {
        return;
    }
    let file = numbered(7);
    block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        sleep(millis(1)).await;
        let begin = open_fds();
        let mut buffer = [0; 8];
        for sent in [1, 2, 3, 100, 253] {
            let fds = vec![file.as_fd(); sent];
            for most in [0, sent / 2, sent - 1] {
                left.send_with_fds(b"bytes", &fds).await.unwrap();
                left.send_with_fds(b"next", &fds[..1]).await.unwrap();
                let error = right.recv_with_fds(&mut buffer, most).await.unwrap_err();
                assert_eq!(&buffer[..length_of(&error)], b"bytes");
                let (length, received) = right.recv_with_fds(&mut buffer, 1).await.unwrap();
                assert_eq!((&buffer[..length], received.len()), (&b"next"[..], 1));
                drop(received);

                near.send_with_fds(b"bytes", &fds).await.unwrap();
                let error = far.recv_with_fds(&mut buffer, most).await.unwrap_err();
                assert_eq!(&buffer[..length_of(&error)], b"bytes");
                // For `recv_message`, lost descriptors are not an error.
                near.send_with_fds(b"again", &fds).await.unwrap();
                let message = far.recv_message(&mut buffer, most).await.unwrap();
                assert!(message.fds_lost && message.fds.is_empty() && message.length == 5);
                near.send_with_fds(b"right", &fds).await.unwrap();
                let message = far.recv_message(&mut buffer, sent).await.unwrap();
                assert!(!message.fds_lost && message.fds.len() == sent && message.length == 5);
                drop(message);
                assert_eq!(open_fds(), begin, "{sent} sent, {most} asked for");
            }
        }
    });
}

/// Bug H7: a plain read discards descriptors, and leaks none.
#[test]
fn plain_reads_discard_descriptors() {
    let _watchdog = watchdog(TIME);
    if !in_child("plain_reads_discard_descriptors") {
        return;
    }
    let file = numbered(7);
    block_on(async {
        let (left, mut right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        sleep(millis(1)).await;
        let begin = open_fds();
        let fds = vec![file.as_fd(); 50];
        let mut buffer = [0; 8];
        for round in 0..50 {
            left.send_with_fds(b"bytes", &fds).await.unwrap();
            near.send_with_fds(b"bytes", &fds).await.unwrap();
            match round % 2 {
                0 => right.read_exact(&mut buffer[..5]).await.unwrap(),
                _ => assert_eq!(right.try_read(&mut buffer).unwrap(), 5),
            }
            match round % 3 {
                0 => assert_eq!(far.recv(&mut buffer).await.unwrap(), 5),
                1 => assert_eq!(far.recv_from(&mut buffer).await.unwrap().0, 5),
                _ => assert_eq!(far.try_recv(&mut buffer).unwrap(), 5),
            }
            assert_eq!(open_fds(), begin);
        }
        // Sent, and never received.
        left.send_with_fds(b"bytes", &fds).await.unwrap();
        near.send_with_fds(b"bytes", &fds).await.unwrap();
        drop((left, right, near, far));
        assert!(open_fds() < begin);
    });
}

/// Bug H7; behaviour 110: the process of the receiver has no free descriptors, or too few.
#[test]
fn no_room_for_descriptors() {
    let _watchdog = watchdog(TIME);
    if !in_child("no_room_for_descriptors") {
        return;
    }
    let file = numbered(7);
    block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        // Both are already registered.
        assert!(right.recv_with_fds(&mut [0], 1).now_or_never().is_none());
        assert!(far.recv_with_fds(&mut [0], 1).now_or_never().is_none());
        let fds = [file.as_fd(); 4];
        for room in 0..=4 {
            let limit = tests::limit_open_files(usize::MAX);
            tests::limit_open_files(open_fds() + 20);
            let mut hoard = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                hoard.push(file);
            }
            let full = hoard.len();
            hoard.truncate(full - room);
            let mut buffer = [0; 8];
            left.send_with_fds(b"stream", &fds).await.unwrap();
            near.send_with_fds(b"packet", &fds).await.unwrap();
            let stream = right.recv_with_fds(&mut buffer, 4).await;
            let datagram = if room < 4 {
                let error = stream.unwrap_err();
                assert_eq!(&buffer[..length_of(&error)], b"stream");
                let message = far.recv_message(&mut buffer, 4).await.unwrap();
                assert_eq!((message.length, message.fds_lost, message.fds.len()), (6, true, 0));
                near.send_with_fds(b"packet", &fds).await.unwrap();
                let error = far.recv_with_fds(&mut buffer, 4).await.unwrap_err();
                length_of(&error)
            } else {
                assert_eq!(stream.unwrap().1.len(), 4);
                far.recv_with_fds(&mut buffer, 4).await.unwrap().0
            };
            assert_eq!(&buffer[..datagram], b"packet");
            // As many descriptors as before can be opened, so none was leaked.
            while let Ok(file) = File::open("/dev/null") {
                hoard.push(file);
            }
            assert_eq!(hoard.len(), full, "with room for {room}");
            drop(hoard);
            tests::limit_open_files(limit);
        }
        left.send_with_fds(b"after", &fds).await.unwrap();
        let (length, received) = right.recv_with_fds(&mut [0; 8], 4).await.unwrap();
        assert_eq!((length, received.len()), (5, 4));
    });
}

/// Bug B3; behaviour 109; trial 10: a thousand messages with descriptors among plain ones. Every byte arrives, each
/// descriptor arrives with the first byte of its own message, and no read hangs.
#[test]
fn descriptors_among_plain_bytes() {
    const MESSAGES: u32 = 2000;
    let _watchdog = watchdog(TIME);
    // The sender is a blocking thread, or another task.
    for threaded in [true, false] {
        block_on(async {
            let (peer, ours) = net::UnixStream::pair().unwrap();
            let ours = UnixStream::try_from(ours).unwrap();
            let bytes_of = |number: u32| vec![number as u8; (number % 13) as usize + 1];
            let receive = async {
                let (mut stream, mut files) = (Vec::new(), Vec::new());
                let mut buffer = [0; 64];
                loop {
                    let (length, fds) = ours.recv_with_fds(&mut buffer, 1).await.unwrap();
                    if length == 0 {
                        break (stream, files);
                    }
                    assert!(fds.len() <= 1);
                    // Bytes sent before the descriptor may be read by the same call, bytes sent after it never.
                    files.extend(fds.into_iter().map(|fd| (stream.len() + length, number_in(fd))));
                    stream.extend_from_slice(&buffer[..length]);
                }
            };
            let (stream, files) = if threaded {
                let thread = std::thread::spawn(move || {
                    for number in 0..MESSAGES {
                        let file = numbered(number);
                        let bytes = bytes_of(number);
                        match number % 2 {
                            0 => assert_eq!(
                                tests::send_with_fd(peer.as_fd(), &bytes, file.as_fd()).unwrap(),
                                bytes.len()
                            ),
                            _ => (&peer).write_all(&bytes).unwrap(),
                        }
                    }
                });
                let received = receive.await;
                thread.join().unwrap();
                received
            } else {
                let send = async {
                    let mut peer = UnixStream::try_from(peer).unwrap();
                    for number in 0..MESSAGES {
                        let file = numbered(number);
                        let bytes = bytes_of(number);
                        match number % 2 {
                            0 => assert_eq!(peer.send_with_fds(&bytes, &[file.as_fd()]).await.unwrap(), bytes.len()),
                            _ => peer.write_all(&bytes).await.unwrap(),
                        }
                    }
                };
                join(receive, send).await.0
            };
            let mut expected = Vec::new();
            let mut numbers = files.iter();
            for number in 0..MESSAGES {
                let begin = expected.len();
                expected.extend(bytes_of(number));
                if number % 2 == 0 {
                    let &(end, found) = numbers.next().unwrap();
                    assert_eq!(found, number);
                    assert!(begin < end && end <= expected.len(), "{number}: {end} of {begin}..{}", expected.len());
                }
            }
            assert!(numbers.next().is_none() && stream == expected);
        });
    }
}

/// The same with plain reads that wait for each piece: descriptors in between never make a reader hang.
#[test]
fn plain_reads_do_not_stall() {
    block_on(async {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let file = numbered(0);
        let mut buffer = [0; 6];
        for late in [false, true] {
            for _ in 0..500 {
                let send = async {
                    if late {
                        tests::yield_now().await;
                    }
                    assert_eq!(left.send_with_fds(b"one", &[file.as_fd()]).await.unwrap(), 3);
                    left.write_all(b"two").await.unwrap();
                };
                join(send, async { right.read_exact(&mut buffer).await.unwrap() }).await;
                assert_eq!(&buffer, b"onetwo");
            }
        }
    });
}

/// A message is larger than the room: the descriptors are sent once, with its first part. Plain writes send the rest.
#[test]
fn large_messages_in_parts() {
    block_on(async {
        let (mut left, right) = UnixStream::pair().unwrap();
        let file = numbered(9);
        let bytes: Vec<u8> = (0..1 << 21).map(|number: u32| (number ^ (number >> 9)) as u8).collect();
        let send = async {
            let slices: Vec<_> = bytes.chunks(1 << 10).map(IoSlice::new).collect();
            let fds = [file.as_fd(), file.as_fd()];
            let sent = poll_fn(|cx| left.poll_send_with_fds(cx, &slices, &fds)).await.unwrap();
            assert!(0 < sent && sent < bytes.len());
            left.write_all(&bytes[sent..]).await.unwrap();
            left.close().await.unwrap();
        };
        let receive = async {
            let (mut received, mut fds) = (Vec::new(), Vec::new());
            let mut buffer = vec![0; 100_000];
            loop {
                let (length, more) = right.recv_with_fds(&mut buffer, 8).await.unwrap();
                if length == 0 {
                    break (received, fds);
                }
                assert!(more.is_empty() || received.is_empty(), "with the first part");
                received.extend_from_slice(&buffer[..length]);
                fds.extend(more);
            }
        };
        let ((), (received, fds)) = join(send, receive).await;
        assert!(received == bytes && fds.len() == 2);

        // 5000 slices are more than one system call takes.
        let (left, right) = UnixStream::pair().unwrap();
        let slices: Vec<_> = bytes.chunks(1).take(5000).map(IoSlice::new).collect();
        let sent = poll_fn(|cx| left.poll_send_with_fds(cx, &slices, &[file.as_fd()])).await.unwrap();
        assert_eq!(sent, 1024);
        let mut buffer = [0; 2000];
        assert_eq!(right.recv_with_fds(&mut buffer, 1).await.unwrap().0, 1024);
        assert_eq!(buffer[..1024], bytes[..1024]);
    });
}

/// A cancelled send has sent nothing. A cancelled receive has lost nothing.
#[test]
fn what_is_given_up_loses_nothing() {
    let _watchdog = watchdog(TIME);
    if !in_child("what_is_given_up_loses_nothing") {
        return;
    }
    let file = numbered(3);
    block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut filled = 0;
        while let Ok(length) = left.try_write(&[0; 4096]) {
            filled += length;
        }
        let mut queued = 0;
        while near.try_send(&[0; 512]).is_ok() {
            queued += 1;
        }
        sleep(millis(1)).await;
        let begin = open_fds();
        let cpu = thread_cpu();
        let fds = [file.as_fd()];
        assert!(Timeout::new(left.send_with_fds(b"never", &fds), millis(100)).await.is_err());
        assert!(Timeout::new(near.send_with_fds(b"never", &fds), millis(100)).await.is_err());
        assert!(thread_cpu() - cpu < millis(25));
        let mut buffer = vec![0; 1 << 16];
        while filled > 0 {
            let (length, fds) = right.recv_with_fds(&mut buffer, 1).await.unwrap();
            assert!(fds.is_empty());
            filled -= length;
        }
        for _ in 0..queued {
            assert_eq!(far.recv_with_fds(&mut buffer, 1).await.unwrap().0, 512);
        }
        for _ in 0..100 {
            let mut receive = Box::pin(right.recv_with_fds(&mut buffer, 1));
            assert!(futures::poll!(&mut receive).is_pending());
            left.send_with_fds(b"bytes", &fds).await.unwrap();
            drop(receive);
            let (length, fds) = right.recv_with_fds(&mut buffer, 1).await.unwrap();
            assert_eq!((length, fds.len()), (5, 1));
        }
        assert!(far.recv_with_fds(&mut buffer, 1).now_or_never().is_none());
        assert_eq!(open_fds(), begin);
    });
}

/// A socket also passes the sender's credentials: there is room for them beside the descriptors.
#[test]
fn beside_credentials() {
    block_on(async {
        let (near, far) = UnixDatagram::pair().unwrap();
        SockRef::from(&far).set_passcred(true).unwrap();
        let file = numbered(5);
        for count in [0, 1, 253] {
            near.send_with_fds(b"bytes", &vec![file.as_fd(); count]).await.unwrap();
            let (length, fds) = far.recv_with_fds(&mut [0; 8], count).await.unwrap();
            assert_eq!((length, fds.len()), (5, count));
        }
        near.send_with_fds(b"bytes", &[file.as_fd(), file.as_fd()]).await.unwrap();
        length_of(&far.recv_with_fds(&mut [0; 8], 1).await.unwrap_err());
    });
}

/// The received descriptor refers to the same open file, under another number. The sender may close its own at once.
#[test]
fn the_sender_may_close_his() {
    block_on(async {
        let (left, right) = UnixStream::pair().unwrap();
        let file = numbered(11);
        let before = file.metadata().unwrap();
        left.send_with_fds(b"x", &[file.as_fd()]).await.unwrap();
        drop((file, left));
        let (_, mut fds) = right.recv_with_fds(&mut [0], 1).await.unwrap();
        let file = File::from(fds.remove(0));
        let after = file.metadata().unwrap();
        assert_eq!((after.dev(), after.ino()), (before.dev(), before.ino()));
        assert_eq!(number_in(file.into()), 11);
    });
}
