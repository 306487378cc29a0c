//! Copying in both directions: no byte is lost, added or reordered; ends and errors are passed on; a copy that waits
//! holds neither buffers nor pipes.

use async_epoll::LocalRuntime;
use async_net_lite::unix::UnixStream;
use async_net_lite::{CopyError, TcpStream, copy_bidirectional};
use async_timeout::{Timeout, sleep};
use futures::future::{FutureExt, join, join_all, join3};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::streams::Stranger;
use tests::common::{block_on, tcp};
use tests::{
    CountingAllocator, TIME, in_child, limit_open_files, live_heap, noise, open_fds, thread_cpu, watchdog, yield_now,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Bytes of the buffer of one direction. From this size on, data between two sockets moves through a pipe by
/// `splice(2)`.
const BUFFER: usize = 16 * KIB;

/// Returns two connected streams with Nagle's algorithm off: pieces of many sizes would wait for each other's
/// acknowledgements.
async fn pair() -> (TcpStream, TcpStream) {
    let (client, server) = tcp::pair().await;
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

/// One direction of a connection in memory, with a small capacity.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    closed: bool,
    flushes: usize,
    waiting: Vec<Waker>,
}

impl Lane {
    fn changed(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// One end of a connection in memory.
struct Memory {
    incoming: Rc<RefCell<Lane>>,
    outgoing: Rc<RefCell<Lane>>,
}

/// Capacity of one direction of a connection in memory, in bytes.
const ROOM: usize = 1000;

fn memory() -> (Memory, Memory) {
    let (one, other) = (Rc::<RefCell<Lane>>::default(), Rc::<RefCell<Lane>>::default());
    (Memory { incoming: Rc::clone(&one), outgoing: Rc::clone(&other) }, Memory { incoming: other, outgoing: one })
}

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.incoming.borrow_mut();
        let length = lane.bytes.len().min(buffer.len());
        if length == 0 && !lane.closed {
            lane.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        buffer[..length].iter_mut().zip(lane.bytes.drain(..length)).for_each(|(to, from)| *to = from);
        lane.changed();
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.outgoing.borrow_mut();
        assert!(!lane.closed, "written to after the close");
        let length = (ROOM - lane.bytes.len()).min(bytes.len());
        if length == 0 {
            lane.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        lane.bytes.extend(&bytes[..length]);
        lane.changed();
        Poll::Ready(Ok(length))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().flushes += 1;
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.outgoing.borrow_mut();
        assert!(!lane.closed, "closed twice");
        lane.closed = true;
        lane.changed();
        Poll::Ready(Ok(()))
    }
}

/// Sends `bytes` in pieces of many sizes, with pauses, and closes the stream.
async fn send(mut stream: impl AsyncWrite + Unpin, bytes: &[u8], seed: u64) {
    let sizes = noise(seed, 64);
    let (mut sent, mut number) = (0, 0);
    while sent < bytes.len() {
        let size = match sizes[number % sizes.len()] {
            small @ 0..100 => usize::from(small) + 1,
            middle @ 100..180 => usize::from(middle) * 100,
            large => usize::from(large) * KIB,
        };
        let piece = &bytes[sent..bytes.len().min(sent + size)];
        stream.write_all(piece).await.unwrap();
        sent += piece.len();
        number += 1;
        if number % 3 == 0 {
            yield_now().await;
        }
    }
    stream.close().await.unwrap();
}

/// Reads to the end of the stream and compares the data with `bytes`.
async fn expect(mut stream: impl AsyncRead + Unpin, bytes: &[u8]) {
    let (mut gulp, mut received) = (vec![0; 64 * KIB], 0);
    loop {
        let length = stream.read(&mut gulp).await.unwrap();
        let expected = &bytes[received..];
        assert!(expected.starts_with(&gulp[..length]), "altered on the way, after {received} bytes");
        received += length;
        if length == 0 {
            break assert_eq!(received, bytes.len(), "cut off");
        }
    }
}

/// Sends and receives at both outer ends at the same time, while `copy` runs between them.
async fn exchange<S>(left: S, right: S, lengths: (usize, usize), copy: impl Future<Output = io::Result<(u64, u64)>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Copy,
{
    let (there, back) = (noise(1, lengths.0), noise(2, lengths.1));
    let ends =
        join(join(send(left, &there, 3), expect(right, &there)), join(send(right, &back, 4), expect(left, &back)));
    let (copied, _) = join(copy, ends).await;
    assert_eq!(copied.unwrap(), (lengths.0 as u64, lengths.1 as u64));
}

/// Megabytes in both directions: through two sockets (pipes), through two wrapped sockets (buffers), and through one of
/// each; passed by value, by shared reference and by exclusive reference.
#[test]
fn megabytes_both_ways() {
    block_on(async {
        for way in 0..7 {
            let ((left, mut a), (mut b, right)) = (pair().await, pair().await);
            let copy = async {
                match way {
                    0 => copy_bidirectional(a, b).await,
                    1 => copy_bidirectional(&mut a, &mut b).await,
                    2 => copy_bidirectional(&a, &b).await,
                    3 => copy_bidirectional(&mut a, b).await,
                    4 => copy_bidirectional(Stranger(a), b).await,
                    5 => copy_bidirectional(a, &mut Stranger(b)).await,
                    _ => copy_bidirectional(Stranger(a), Stranger(&b)).await,
                }
            };
            exchange(&left, &right, (5 * MIB + 1, 3 * MIB + 17), copy).await;
        }
    });
}

/// Between two Unix sockets, and between a Unix socket and a TCP connection.
#[test]
fn unix_sockets() {
    block_on(async {
        let lengths = (5 * MIB + 1, 3 * MIB + 17);
        let (there, back) = (noise(1, lengths.0), noise(2, lengths.1));
        for way in 0..3 {
            let ((left, a), (b, right)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
            let (tcp_left, tcp_a) = pair().await;
            let ends = async {
                match way {
                    0 | 1 => {
                        let sent = join(send(&left, &there, 3), send(&right, &back, 4));
                        join(sent, join(expect(&right, &there), expect(&left, &back))).await;
                    }
                    _ => {
                        let sent = join(send(&tcp_left, &there, 3), send(&right, &back, 4));
                        join(sent, join(expect(&right, &there), expect(&tcp_left, &back))).await;
                    }
                }
            };
            let copy = async {
                match way {
                    0 => copy_bidirectional(&a, &b).await,
                    1 => copy_bidirectional(Stranger(&a), &b).await,
                    _ => copy_bidirectional(&tcp_a, &b).await,
                }
            };
            let (copied, ()) = join(copy, ends).await;
            assert_eq!(copied.unwrap(), (lengths.0 as u64, lengths.1 as u64), "{way}");
        }
    });
}

/// Between streams in memory, on an executor without a reactor.
#[test]
fn in_memory_with_any_executor() {
    let _watchdog = watchdog(TIME);
    let ((mut left, a), (b, mut right)) = (memory(), memory());
    let (there, back) = (noise(1, 100_000), noise(2, 50_000));
    let client = async {
        left.write_all(&there[..500]).await.unwrap();
        expect(&mut left, &back).await;
        send(&mut left, &there[500..], 5).await;
    };
    let server = async {
        send(&mut right, &back, 6).await;
        expect(&mut right, &there).await;
    };
    let (copied, (), ()) = futures::executor::block_on(join3(copy_bidirectional(a, b), client, server));
    assert_eq!(copied.unwrap(), (100_000, 50_000));
}

/// Each side may end first, with many bytes or with none. The other direction goes on, and the copy ends when the
/// second direction ends.
#[test]
fn half_closes_in_each_order() {
    block_on(async {
        for strangers in [false, true] {
            for left_first in [false, true] {
                for length in [0, 1, BUFFER, BUFFER + 1, MIB] {
                    let ((left, a), (b, right)) = (pair().await, pair().await);
                    let (mut first, mut second) = if left_first { (&left, &right) } else { (&right, &left) };
                    let bytes = noise(7, length);
                    let copy = async {
                        match strangers {
                            false => copy_bidirectional(a, b).await,
                            true => copy_bidirectional(Stranger(a), Stranger(b)).await,
                        }
                    };
                    let ends = async {
                        first.write_all(b"request").await.unwrap();
                        first.close().await.unwrap();
                        expect(second, b"request").await;
                        sleep(Duration::from_millis(1)).await;
                        let write = async {
                            second.write_all(&bytes).await.unwrap();
                            second.close().await.unwrap();
                        };
                        join(write, expect(first, &bytes)).await;
                    };
                    let (copied, ()) = join(copy, ends).await;
                    let (request, response) = (7, length as u64);
                    assert_eq!(copied.unwrap(), if left_first { (request, response) } else { (response, request) });
                }
            }
        }
    });
}

/// Single bytes, and now and then a burst that is large enough for the pipe.
#[test]
fn drips_and_bursts() {
    block_on(async {
        let ((mut left, a), (b, mut right)) = (pair().await, pair().await);
        left.set_nodelay(true).unwrap();
        let drips = async {
            for round in 0..30 {
                let mut echo = [0];
                for byte in 0..20 {
                    left.write_all(&[byte]).await.unwrap();
                    right.read_exact(&mut echo).await.unwrap();
                    assert_eq!(echo, [byte]);
                    right.write_all(&echo).await.unwrap();
                    left.read_exact(&mut echo).await.unwrap();
                    assert_eq!(echo, [byte]);
                }
                // Around the size at which the copy changes from the buffer to the pipe.
                for length in [BUFFER - 1, BUFFER, BUFFER + 1, 40 * BUFFER + round] {
                    let (burst, mut received) = (noise(length as u64, length), vec![0; length]);
                    join(left.write_all(&burst), right.read_exact(&mut received)).map(|(sent, _)| sent.unwrap()).await;
                    assert!(burst == received);
                }
            }
            left.close().await.unwrap();
            right.close().await.unwrap();
        };
        let (copied, ()) = join(copy_bidirectional(&a, &b), drips).await;
        let bursts = (0..30).map(|round| 43 * BUFFER + round).sum::<usize>();
        assert_eq!(copied.unwrap(), (600 + bursts as u64, 600));
    });
}

/// A reset of one side is an error that keeps its kind and tells how many bytes had been copied. The other side is
/// closed.
#[test]
fn a_reset_says_how_much_had_been_copied() {
    block_on(async {
        for strangers in [false, true] {
            for length in [5, MIB] {
                let ((mut left, a), (b, mut right)) = (pair().await, pair().await);
                let copy = async {
                    match strangers {
                        false => copy_bidirectional(a, b).await,
                        true => copy_bidirectional(Stranger(a), Stranger(b)).await,
                    }
                };
                let ends = async {
                    let (bytes, mut received) = (noise(8, length), vec![0; length]);
                    let (sent, read) = join(left.write_all(&bytes), right.read_exact(&mut received)).await;
                    sent.and(read).unwrap();
                    right.write_all(b"abc").await.unwrap();
                    left.read_exact(&mut received[..3]).await.unwrap();
                    SockRef::from(&left).set_linger(Some(Duration::ZERO)).unwrap();
                    drop(left);
                    assert_eq!(right.read(&mut [0]).await.unwrap(), 0, "let go");
                };
                let (copied, ()) = join(copy, ends).await;
                let error = copied.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let text = error.to_string();
                let copied = error.get_ref().and_then(|payload| payload.downcast_ref::<CopyError>()).unwrap();
                assert_eq!((copied.a_to_b, copied.b_to_a), (length as u64, 3));
                assert_eq!(copied.error.raw_os_error(), Some(libc::ECONNRESET));
                assert_eq!(text, copied.error.to_string());
                // A conversion by value works, too.
                assert_eq!(error.downcast::<CopyError>().unwrap().b_to_a, 3);
            }
        }
    });
}

/// Writing to a side that has gone is an error as well, in the middle of bulk data.
#[test]
fn a_writer_that_is_gone_ends_the_copy() {
    block_on(async {
        for strangers in [false, true] {
            let ((left, a), (b, mut right)) = (pair().await, pair().await);
            let copy = async {
                match strangers {
                    false => copy_bidirectional(a, b).await,
                    true => copy_bidirectional(Stranger(a), Stranger(b)).await,
                }
            };
            let flood = async {
                let gulp = noise(9, 64 * KIB);
                while (&left).write_all(&gulp).await.is_ok() {}
            };
            let leave = async {
                right.read_exact(&mut vec![0; MIB]).await.unwrap();
                drop(right); // The kernel sends a reset, because bytes are unread.
            };
            let (copied, (), ()) = join3(copy, flood, leave).await;
            let error = copied.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            assert!(error.downcast::<CopyError>().unwrap().a_to_b >= MIB as u64);
        }
    });
}

/// Bug G4: `splice(2)` raises SIGPIPE when it writes to a connection that is closed for writing, and has no flag to
/// prevent the signal. Even with the signal's default action, a copy must not kill the process.
#[test]
fn no_sigpipe() {
    let _watchdog = watchdog(TIME);
    if !in_child("no_sigpipe") {
        return;
    }
    tests::restore_default_sigpipe();
    block_on(async {
        for round in 0..20 {
            let ((left, a), (b, mut right)) = (pair().await, pair().await);
            let closing = b.clone();
            let flood = async {
                let gulp = noise(9, 64 * KIB);
                while (&left).write_all(&gulp).await.is_ok() {}
            };
            let leave = async {
                right.read_exact(&mut vec![0; MIB]).await.unwrap();
                // In even rounds our side is shut down, and each later write is EPIPE. In odd rounds the peer goes,
                // with a reset.
                if round % 2 == 0 {
                    closing.shutdown(Shutdown::Write).unwrap();
                    return Some(right);
                }
                None
            };
            let (copied, (), _right) = join3(copy_bidirectional(a, b), flood, leave).await;
            let kind = copied.unwrap_err().kind();
            assert!(kind == ErrorKind::BrokenPipe || round % 2 == 1 && kind == ErrorKind::ConnectionReset, "{kind}");
        }
    });
}

/// Bug G4: one `splice(2)` makes several sends inside the kernel, of up to 16 pieces each. If the first send learns
/// that the peer has gone, the second one raises SIGPIPE, although the call has moved some bytes and succeeds.
#[test]
fn no_sigpipe_by_a_splice_that_succeeds() {
    let _watchdog = watchdog(TIME);
    if !in_child("no_sigpipe_by_a_splice_that_succeeds") {
        return;
    }
    tests::restore_default_sigpipe();
    block_on(async {
        for _ in 0..5 {
            let ((left, a), (b, mut right)) = (pair().await, pair().await);
            let (beside, mut far_side) = pair().await;
            let talk = async {
                (&left).write_all(&noise(9, MIB)).await.unwrap();
                right.read_exact(&mut vec![0; MIB]).await.unwrap();
                // No byte is unread, so the peer sends a FIN, and answers the next bytes with a reset.
                drop(right);
                sleep(Duration::from_millis(5)).await;
                // The writes alternate between two sockets, so the pieces are not adjacent in the kernel's memory and
                // each write is a piece of its own. All of them are queued before the copy is polled.
                for _ in 0..60 {
                    assert_eq!(left.try_write(&[1; 2048]).unwrap(), 2048);
                    beside.try_write(&[2; 64]).unwrap();
                }
                left.shutdown(Shutdown::Write).unwrap();
                far_side.read_exact(&mut [0; 64]).await.unwrap();
            };
            let (copied, ()) = join(copy_bidirectional(a, b), talk).await;
            let _ = copied.map_err(|error| {
                assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}")
            });
        }
    });
}

/// A side that does not read stalls its sender: the bytes stay in the kernel, and the copy does not spin. Once the side
/// reads, all bytes arrive.
#[test]
fn a_slow_reader_stalls_the_sender_and_nobody_spins() {
    block_on(async {
        for strangers in [false, true] {
            let ((left, a), (b, right)) = (pair().await, pair().await);
            let copy = async {
                match strangers {
                    false => copy_bidirectional(a, b).await,
                    true => copy_bidirectional(Stranger(a), Stranger(b)).await,
                }
            };
            let (sent, stop) = (Cell::new(0), Cell::new(false));
            let flood = async {
                let gulp = [7; 64 * KIB];
                while !stop.get() {
                    sent.set(sent.get() + (&left).write(&gulp).await.unwrap());
                }
                (&left).close().await.unwrap();
            };
            let reader = async {
                // Wait until the sender has made no progress for a while.
                let mut before = usize::MAX;
                while before != sent.get() {
                    before = sent.get();
                    sleep(Duration::from_millis(100)).await;
                }
                let (heap, cpu) = (live_heap(), thread_cpu());
                sleep(Duration::from_millis(300)).await;
                assert!(thread_cpu() - cpu < Duration::from_millis(25), "it spins: {:?}", thread_cpu() - cpu);
                assert_eq!(sent.get(), before, "stalled");
                println!("{before} bytes fit in between; {heap} bytes of heap");
                assert!(before < 64 * MIB, "{before}");
                // The other direction still moves data.
                (&right).write_all(b"still here").await.unwrap();
                let mut text = [0; 10];
                (&left).read_exact(&mut text).await.unwrap();
                (&right).close().await.unwrap();
                stop.set(true);
                let mut received = 0;
                let mut gulp = vec![0; 64 * KIB];
                loop {
                    match (&right).read(&mut gulp).await.unwrap() {
                        0 => break received,
                        length => received += length,
                    }
                }
            };
            let (copied, (), received) = join3(copy, flood, reader).await;
            assert_eq!((received, copied.unwrap()), (sent.get(), (sent.get() as u64, 10)));
        }
    });
}

/// Waiting copies hold neither buffers nor pipes: a thousand copies, each of which has moved bulk data before.
#[test]
fn idle_copies_hold_nothing() {
    let _watchdog = watchdog(TIME);
    if !in_child("idle_copies_hold_nothing") {
        return;
    }
    // Each copy has four sockets.
    let count = 1000.min((limit_open_files(8000) - 100) / 4);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let mut ends = Vec::new();
    for strangers in [false, true] {
        let (heap, fds) = (live_heap(), open_fds());
        let spawner = spawner.clone();
        let ends = &mut ends;
        runtime
            .run_until(async move {
                let bytes = noise(10, 300 * KIB);
                for _ in 0..count / 2 {
                    let ((mut left, a), (b, mut right)) = (pair().await, pair().await);
                    let copy = async move {
                        match strangers {
                            false => drop(copy_bidirectional(a, b).await),
                            true => drop(copy_bidirectional(Stranger(a), Stranger(b)).await),
                        }
                    };
                    spawner.spawn_local(copy).unwrap();
                    let mut received = vec![0; bytes.len()];
                    join(left.write_all(&bytes), right.read_exact(&mut received)).map(|(sent, _)| sent.unwrap()).await;
                    join(right.write_all(&bytes), left.read_exact(&mut received)).map(|(sent, _)| sent.unwrap()).await;
                    ends.push((left, right));
                }
                sleep(Duration::from_millis(50)).await;
            })
            .unwrap();
        let (heap, pipes) = (live_heap() - heap, open_fds() - fds - count / 2 * 4);
        println!("{} bytes for a connection and its copy, {pipes} descriptors of pipes in all", heap / (count / 2));
        // Four sources and a task with two sockets and two directions; no buffer of 16 KiB.
        assert!(heap / (count / 2) < 4 * KIB, "{heap} bytes for {} copies", count / 2);
        // The few pipes that the thread keeps for later copies.
        assert!(pipes <= 16, "{pipes}");
    }
    // Idle copies use no CPU time.
    let cpu = thread_cpu();
    runtime.run_until(sleep(Duration::from_millis(300))).unwrap();
    assert!(thread_cpu() - cpu < Duration::from_millis(25), "{:?}", thread_cpu() - cpu);
}

/// Bug F1: without free descriptors for a pipe, the data goes through buffers.
#[test]
fn without_descriptors_for_pipes() {
    let _watchdog = watchdog(TIME);
    if !in_child("without_descriptors_for_pipes") {
        return;
    }
    block_on(async {
        let ((left, a), (b, right)) = (pair().await, pair().await);
        limit_open_files(open_fds() + 1);
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
        exchange(&left, &right, (2 * MIB, MIB), copy_bidirectional(&a, &b)).await;
    });
}

/// A copy may be dropped at any time. Bytes in its buffers and pipes are lost; no descriptor is leaked, and the sockets
/// still work.
#[test]
fn a_copy_that_is_dropped_leaves_no_descriptor() {
    let _watchdog = watchdog(TIME);
    if !in_child("a_copy_that_is_dropped_leaves_no_descriptor") {
        return;
    }
    block_on(async {
        let mut before = 0;
        for round in 0..60 {
            let ((mut left, a), (b, mut right)) = (pair().await, pair().await);
            let flood = async {
                let gulp = noise(11, 64 * KIB);
                while (&left).write_all(&gulp).await.is_ok() {}
            };
            // `right` does not read, so the pipe is full when the copy is dropped.
            let time = Duration::from_millis(round % 20);
            assert!(Timeout::new(join(copy_bidirectional(&a, &b), flood), time).await.is_err());
            // The direction that was idle still works.
            right.write_all(b"!").await.unwrap();
            (&b).read_exact(&mut [0]).await.unwrap();
            (&a).write_all(b"!").await.unwrap();
            left.read_exact(&mut [0]).await.unwrap();
            drop((left, a, b, right));
            if round == 20 {
                before = open_fds();
            }
        }
        let after = open_fds();
        // The difference is at most the pipes that the thread keeps for later copies.
        assert!(after <= before + 16, "{before} before, {after} after");
    });
}

/// Bug B2: a byte of urgent data is skipped, as by `recv`, and the data behind it arrives. At the mark, `splice(2)`
/// returns 0, like at the end of the file, or EAGAIN.
#[test]
fn urgent_data_does_not_hide_what_follows() {
    block_on(async {
        for length in [10, MIB] {
            for pause in [0, 20] {
                let ((mut left, a), (b, right)) = (pair().await, pair().await);
                let (before, behind) = (noise(12, length), noise(13, length));
                let sender = async {
                    left.write_all(&before).await.unwrap();
                    sleep(Duration::from_millis(pause)).await;
                    let urgent = left.write_all(b"").await.and_then(|()| SockRef::from(&left).send_out_of_band(b"!"));
                    assert_eq!(urgent.unwrap(), 1);
                    sleep(Duration::from_millis(pause)).await;
                    left.write_all(&behind).await.unwrap();
                    left.close().await.unwrap();
                    assert_eq!(left.read(&mut [0]).await.unwrap(), 0);
                };
                let receiver = async {
                    let all = [&before[..], &behind[..]].concat();
                    expect(&right, &all).await;
                    (&right).close().await.unwrap();
                };
                let (copied, (), ()) = join3(copy_bidirectional(a, b), sender, receiver).await;
                assert_eq!(copied.unwrap(), (2 * length as u64, 0));
            }
        }
    });
}

/// Bug B2: the same with all data queued before the copy begins, so that a splice is certain to reach the mark. Once
/// with the end of the file right behind (`splice(2)` reports it already at the mark), and once with a sender that
/// stays open.
#[test]
fn urgent_data_reached_by_splicing() {
    block_on(async {
        for ended in [false, true] {
            let ((mut left, a), (b, mut right)) = (pair().await, pair().await);
            let (before, behind) = (noise(12, 3 * BUFFER), noise(13, 1000));
            left.write_all(&before).await.unwrap();
            assert_eq!(SockRef::from(&left).send_out_of_band(b"!").unwrap(), 1);
            left.write_all(&behind).await.unwrap();
            if ended {
                left.close().await.unwrap();
            }
            sleep(Duration::from_millis(20)).await;
            let receiver = async {
                let mut received = vec![0; before.len() + behind.len()];
                right.read_exact(&mut received).await.unwrap();
                assert!(received == [&before[..], &behind[..]].concat());
                left.close().await.unwrap();
                assert_eq!(right.read(&mut [0]).await.unwrap(), 0);
                right.close().await.unwrap();
            };
            let (copied, ()) = join(copy_bidirectional(a, b), receiver).await;
            assert_eq!(copied.unwrap(), (3 * BUFFER as u64 + 1000, 0));
        }
    });
}

/// A stream that is always ready: it has no end and accepts every write. The counter holds the bytes written.
struct Endless(Rc<Cell<u64>>);

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.set(self.0.get() + bytes.len() as u64);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Bug B14: a copy between streams that are always ready returns from each poll, with any executor, and both directions
/// make progress.
#[test]
fn streams_that_never_wait_starve_nobody() {
    let _watchdog = watchdog(TIME);
    let (one, other) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let copy = || copy_bidirectional(Endless(Rc::clone(&one)), Endless(Rc::clone(&other)));
    // Polled by hand: each poll moves a bounded number of bytes and then yields.
    let (counter, waker) = tests::CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let mut by_hand = Box::pin(copy());
    for polls in 1..=10 {
        assert!(by_hand.poll_unpin(&mut cx).is_pending());
        assert_eq!(one.get(), other.get());
        assert!(one.get() <= (polls * 16 * BUFFER) as u64 && one.get() > ((polls * 16 - 1) * BUFFER) as u64);
        assert!(counter.count() >= polls, "woken");
    }
    // On a reactor: timers beside the copy fire in time.
    block_on(async {
        let copying = Timeout::new(copy(), Duration::from_millis(500));
        let timers = async {
            let begin = Instant::now();
            let mut number = 0;
            while begin.elapsed() < Duration::from_millis(300) {
                sleep(Duration::from_millis(1)).await;
                number += 1;
            }
            number
        };
        let (copied, number) = join(copying, timers).await;
        assert!(copied.is_err());
        assert!(number > 5, "{number} of 300 timers");
    });
}

/// Bug B14: small exchanges make progress beside bulk data, through pipes and through buffers, and so do both
/// directions of the bulk data.
#[test]
fn bulk_data_starves_nobody() {
    let _watchdog = watchdog(TIME);
    for strangers in [false, true] {
        let mut runtime = LocalRuntime::new().unwrap();
        let spawner = runtime.spawner();
        let beside = async move {
            let ((left, a), (b, right)) = (pair().await, pair().await);
            let copy = async move {
                match strangers {
                    false => drop(copy_bidirectional(a, b).await),
                    true => drop(copy_bidirectional(Stranger(a), Stranger(b)).await),
                }
            };
            spawner.spawn_local(copy).unwrap();
            let moved = Rc::new([Cell::new(0_u64), Cell::new(0_u64)]);
            for (number, (from, to)) in [(left.clone(), right.clone()), (right, left)].into_iter().enumerate() {
                let moved = Rc::clone(&moved);
                spawner
                    .spawn_local(async move {
                        let gulp = vec![1; 64 * KIB];
                        while (&from).write_all(&gulp).await.is_ok() {}
                    })
                    .unwrap();
                spawner
                    .spawn_local(async move {
                        let mut gulp = vec![0; 64 * KIB];
                        while let Ok(length @ 1..) = (&to).read(&mut gulp).await {
                            moved[number].set(moved[number].get() + length as u64);
                        }
                    })
                    .unwrap();
            }
            let ((mut client, c), (d, mut server)) = (pair().await, pair().await);
            spawner.spawn_local(async move { drop(copy_bidirectional(c, d).await) }).unwrap();
            spawner
                .spawn_local(async move {
                    let mut byte = [0];
                    while let Ok(()) = server.read_exact(&mut byte).await {
                        server.write_all(&byte).await.unwrap();
                    }
                })
                .unwrap();
            // By CPU time: the machine may be busy with other work.
            let begin = thread_cpu();
            let mut rounds = 0;
            while thread_cpu() - begin < Duration::from_secs(1) {
                client.write_all(b"x").await.unwrap();
                client.read_exact(&mut [0]).await.unwrap();
                rounds += 1;
            }
            let moved = [moved[0].get(), moved[1].get()];
            println!("{rounds} round trips beside {moved:?} bytes");
            assert!(rounds >= 20, "{rounds}");
            assert!(moved.iter().all(|&bytes| bytes > moved.iter().sum::<u64>() / 10), "{moved:?}");
        };
        runtime.run_until(beside).unwrap();
    }
}

/// A sink that keeps data until it is flushed, such as a `BufWriter`, is flushed when the reader has no more data, and
/// not after each write.
#[test]
fn sinks_are_flushed_when_the_reader_waits() {
    block_on(async {
        let ((mut left, a), (b, mut right)) = (pair().await, pair().await);
        struct Buffered(futures::io::BufWriter<TcpStream>);
        impl AsyncRead for Buffered {
            fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                Pin::new(self.0.get_mut()).poll_read(cx, buffer)
            }
        }
        impl AsyncWrite for Buffered {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, bytes)
            }
            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(cx)
            }
            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_close(cx)
            }
        }
        let buffered = Buffered(futures::io::BufWriter::with_capacity(MIB, b));
        let talk = async {
            for _ in 0..100 {
                left.write_all(b"ping").await.unwrap();
                let mut text = [0; 4];
                right.read_exact(&mut text).await.unwrap();
                right.write_all(b"pong").await.unwrap();
                left.read_exact(&mut text).await.unwrap();
                assert_eq!(&text, b"pong");
            }
            left.close().await.unwrap();
            right.close().await.unwrap();
        };
        let (copied, ()) = join(copy_bidirectional(a, buffered), talk).await;
        assert_eq!(copied.unwrap(), (400, 400));

        // Many reads in a row cause one flush.
        let ((mut left, a), (b, right)) = (memory(), memory());
        left.write_all(&[1; ROOM]).await.unwrap();
        assert!(copy_bidirectional(a, b).now_or_never().is_none());
        assert_eq!(right.incoming.borrow().flushes, 1);
        assert_eq!(right.incoming.borrow().bytes.len(), ROOM);
    });
}

/// A stream that breaks the contract of its trait causes an error, and neither a panic nor an endless loop.
#[test]
fn liars_are_found_out() {
    let _watchdog = watchdog(TIME);
    struct Liar {
        reads: usize,
        writes: usize,
    }
    impl AsyncRead for Liar {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(self.reads))
        }
    }
    impl AsyncWrite for Liar {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(self.writes))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let kind = |reads, writes| {
        let (a, b) = (Liar { reads, writes: 1 }, Liar { reads: 0, writes });
        futures::executor::block_on(copy_bidirectional(a, b)).unwrap_err().kind()
    };
    assert_eq!(kind(usize::MAX, 1), ErrorKind::Other);
    assert_eq!(kind(10, usize::MAX), ErrorKind::Other);
    assert_eq!(kind(10, 0), ErrorKind::WriteZero);
}

/// Many copies at the same time on one thread, more than the number of pipes that the thread keeps.
#[test]
fn many_at_a_time() {
    block_on(async {
        join_all((0..40).map(|_| async {
            let ((left, a), (b, right)) = (pair().await, pair().await);
            exchange(&left, &right, (400 * KIB, 300 * KIB), copy_bidirectional(a, b)).await;
        }))
        .await;
    });
}

/// Bug A12: after its reactor was dropped, a copy ends with an error.
#[test]
fn a_reactor_that_is_dropped_first() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let mut copy = runtime
        .run_until(async {
            let ((_left, a), (b, _right)) = (pair().await, pair().await);
            let mut copy = Box::pin(copy_bidirectional(a, b));
            assert!(futures::poll!(&mut copy).is_pending());
            (copy, _left, _right)
        })
        .unwrap();
    drop(runtime);
    let error = copy.0.as_mut().now_or_never().expect("no hang").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}
