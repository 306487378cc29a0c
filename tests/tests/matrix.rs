//! A table: what the peer does × what we do, on TCP and Unix streams. A blocking stream of std goes through the same,
//! and both must have the same results. (Trial 11.) The kernel defines the right result, so the tests compare and
//! expect nothing else.
//!
//! ```text
//!   before ──► the peer acts ──► we work          "early"
//!   before ──► we work                            "late": the peer acts while we wait
//!                  └── the peer acts
//! ```

use async_epoll::{Handle, LocalRuntime};
use async_net_lite::TcpStream;
use async_net_lite::unix::UnixStream;
use async_timeout::TimeoutExt;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use socket2::{SockRef, Socket};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tests::{send_with_fd, thread_cpu, watchdog};

/// An operation without a result after this time counts as waiting for ever.
const TIMEOUT: Duration = Duration::from_millis(120);
/// The delay before the peer acts, if the peer acts while we wait.
const LATER: Duration = Duration::from_millis(30);
/// The time after which everything sent by the peer has arrived.
const TRANSIT: Duration = Duration::from_millis(15);
/// The number of cells run at a time. Most of them sleep.
const WORKERS: usize = 32;
/// Attempts at a cell. A result that depends on timing may differ on a busy machine. A bug differs in every attempt.
const ATTEMPTS: usize = 8;

/// What we have done before the peer acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing.
    Fresh,
    /// We have sent something.
    Wrote,
    /// We have filled all buffers on the way to the peer.
    Stuffed,
}
use Before::{Fresh, Stuffed, Wrote};

/// A step of the peer.
#[derive(Clone, Copy, Debug)]
enum Act {
    Sends,
    SendsMore,
    SendsUrgent,
    /// Unix streams only.
    SendsDescriptor,
    /// Reads all bytes that have arrived.
    Reads,
    ReadsLittle,
    /// Shuts the reading side down: from now on the kernel refuses or discards what we send.
    StopsReading,
    HalfCloses,
    ShutsDown,
    Closes,
    /// Closes the connection so that TCP sends a reset.
    Resets,
    /// Waits for a moment, so that we see the previous step separately.
    Pauses,
}
use Act::{
    Closes, HalfCloses, Pauses, Reads, ReadsLittle, Resets, Sends, SendsDescriptor, SendsMore, SendsUrgent, ShutsDown,
    StopsReading,
};

/// What we have done before, and the steps of the peer.
type Script = (Before, &'static [Act]);

/// Scripts for both kinds of sockets.
const SCRIPTS: [Script; 40] = [
    (Fresh, &[]),
    (Fresh, &[Sends]),
    (Fresh, &[Sends, SendsMore]),
    (Fresh, &[Sends, Pauses, SendsMore]),
    (Fresh, &[SendsUrgent]),
    (Fresh, &[Sends, SendsUrgent, SendsMore]),
    (Fresh, &[SendsUrgent, HalfCloses]),
    (Fresh, &[Sends, SendsUrgent, Closes]),
    (Fresh, &[HalfCloses]),
    (Fresh, &[HalfCloses, Pauses, Closes]),
    (Fresh, &[Sends, HalfCloses]),
    (Fresh, &[Sends, Pauses, HalfCloses]),
    (Fresh, &[Sends, HalfCloses, Pauses, Closes]),
    (Fresh, &[StopsReading]),
    (Fresh, &[StopsReading, Sends]),
    (Fresh, &[StopsReading, Pauses, Closes]),
    (Fresh, &[ShutsDown]),
    (Fresh, &[Sends, ShutsDown]),
    (Fresh, &[ShutsDown, Pauses, Closes]),
    (Fresh, &[Closes]),
    (Fresh, &[Sends, Closes]),
    (Fresh, &[Sends, Pauses, SendsMore, Closes]),
    (Fresh, &[Resets]),
    (Fresh, &[Sends, Pauses, Resets]),
    (Fresh, &[HalfCloses, Pauses, Resets]),
    (Wrote, &[]),
    (Wrote, &[Reads]),
    (Wrote, &[ReadsLittle, Closes]),
    (Wrote, &[Reads, Closes]),
    (Wrote, &[Reads, Sends, Closes]),
    (Wrote, &[Sends, HalfCloses]),
    (Wrote, &[ShutsDown]),
    (Wrote, &[Closes]),
    (Wrote, &[Sends, Closes]),
    (Wrote, &[Resets]),
    (Stuffed, &[]),
    (Stuffed, &[Reads]),
    (Stuffed, &[Sends, HalfCloses]),
    (Stuffed, &[ShutsDown]),
    (Stuffed, &[Closes]),
];

/// Scripts for Unix sockets only.
const WITH_DESCRIPTORS: [Script; 6] = [
    (Fresh, &[SendsDescriptor]),
    (Fresh, &[Sends, SendsDescriptor, SendsMore]),
    (Fresh, &[SendsDescriptor, SendsDescriptor, HalfCloses]),
    (Fresh, &[SendsDescriptor, Closes]),
    (Wrote, &[SendsDescriptor, Closes]),
    (Stuffed, &[SendsDescriptor, Pauses, Reads]),
];

/// Performs all steps. Returns the peer if it is still open.
fn perform(acts: &[Act], peer: Socket) -> Option<Socket> {
    // A step fails only if we have closed the connection. The comparison shows the consequences.
    for act in acts {
        match act {
            Sends => drop((&peer).write(b"abc")),
            SendsMore => drop((&peer).write(b"defgh")),
            SendsUrgent => drop(peer.send_out_of_band(b"!")),
            SendsDescriptor => {
                let file = File::open("/dev/null").unwrap();
                drop(send_with_fd(peer.as_fd(), b"ijkl", file.as_fd()));
            }
            Reads => {
                peer.set_read_timeout(Some(TRANSIT)).unwrap();
                let mut buffer = vec![0; 1 << 16];
                while matches!((&peer).read(&mut buffer), Ok(1..)) {}
            }
            ReadsLittle => {
                peer.set_read_timeout(Some(TRANSIT)).unwrap();
                drop((&peer).read(&mut [0; 2]));
            }
            StopsReading => drop(peer.shutdown(Shutdown::Read)),
            HalfCloses => drop(peer.shutdown(Shutdown::Write)),
            ShutsDown => drop(peer.shutdown(Shutdown::Both)),
            Closes => return None,
            Resets => {
                peer.set_linger(Some(Duration::ZERO)).unwrap();
                return None;
            }
            Pauses => std::thread::sleep(TRANSIT / 3),
        }
    }
    Some(peer)
}

/// Our operations.
#[derive(Clone, Copy, Debug)]
enum Op {
    Read,
    ReadToTheEnd,
    ReadVectored,
    Peek,
    Write,
    WriteTwice,
    WriteVectoredTwice,
    ReadAndWrite,
    WriteAndRead,
    Close,
    CloseAndWrite,
    CloseAndRead,
    ShutDownAndRead,
    ShutDownAndWrite,
}

const OPS: [Op; 14] = [
    Op::Read,
    Op::ReadToTheEnd,
    Op::ReadVectored,
    Op::Peek,
    Op::Write,
    Op::WriteTwice,
    Op::WriteVectoredTwice,
    Op::ReadAndWrite,
    Op::WriteAndRead,
    Op::Close,
    Op::CloseAndWrite,
    Op::CloseAndRead,
    Op::ShutDownAndRead,
    Op::ShutDownAndWrite,
];

impl Op {
    /// Performs the operation. Returns the result of each step.
    fn perform(self, us: &mut dyn Endpoint) -> Vec<Step> {
        // Long enough for the peer's answer to a first write to arrive.
        let pause = || std::thread::sleep(LATER + TRANSIT);
        match self {
            Self::Read => vec![us.read()],
            Self::ReadToTheEnd => {
                // The number of reads depends on timing; the number of bytes does not.
                let mut all = 0;
                loop {
                    match us.read() {
                        Step::Moved(length @ 1..) => all += length,
                        end => break vec![Step::Moved(all), end],
                    }
                }
            }
            Self::ReadVectored => vec![us.read_vectored(), us.read_vectored()],
            Self::Peek => vec![us.peek(), us.read()],
            Self::Write => vec![us.write()],
            Self::WriteTwice => {
                let first = us.write();
                pause();
                vec![first, us.write()]
            }
            Self::WriteVectoredTwice => {
                let first = us.write_vectored();
                pause();
                vec![first, us.write_vectored()]
            }
            Self::ReadAndWrite => vec![us.read(), us.write()],
            Self::WriteAndRead => vec![us.write(), us.read(), us.read()],
            Self::Close => vec![us.close(), us.close(), us.close()],
            Self::CloseAndWrite => vec![us.close(), us.write(), us.write_vectored()],
            Self::CloseAndRead => vec![us.close(), us.read(), us.read()],
            Self::ShutDownAndRead => vec![us.shut_down(), us.read(), us.peek()],
            Self::ShutDownAndWrite => vec![us.shut_down(), us.write()],
        }
    }
}

/// The result of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Moved(usize),
    Failed(ErrorKind),
    Waits,
}

/// One end of a connection.
trait Endpoint {
    fn read(&mut self) -> Step;
    fn read_vectored(&mut self) -> Step;
    fn peek(&mut self) -> Step;
    fn write(&mut self) -> Step;
    fn write_vectored(&mut self) -> Step;
    fn close(&mut self) -> Step;
    fn shut_down(&mut self) -> Step;
}

/// A kind of stream: std's type and ours.
trait Kind {
    type Std: Read + Write + AsFd + From<OwnedFd>;
    type Ours: AsyncRead + AsyncWrite + Unpin;
    /// Whether only reads return the error of a reset. Writes then return a broken pipe.
    const RESETS_ARE_READ: bool;

    /// Returns both ends of a connection: the peer's and ours.
    fn pair() -> (OwnedFd, Self::Std);
    fn adopt(stream: Self::Std, handle: &Handle) -> Self::Ours;
    fn shutdown_std(stream: &Self::Std) -> io::Result<()>;
    fn shutdown_ours(stream: &Self::Ours) -> io::Result<()>;
    /// Returns `None` if this kind of stream cannot peek.
    fn peek_std(stream: &Self::Std) -> Option<io::Result<usize>>;
    async fn peek_ours(stream: &Self::Ours) -> Option<io::Result<usize>>;
}

struct Tcp;

impl Kind for Tcp {
    type Std = std::net::TcpStream;
    type Ours = TcpStream;
    const RESETS_ARE_READ: bool = false;

    fn pair() -> (OwnedFd, Self::Std) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (peer.into(), listener.accept().unwrap().0)
    }

    fn adopt(stream: Self::Std, handle: &Handle) -> TcpStream {
        TcpStream::from_std(stream, handle).unwrap()
    }

    fn shutdown_std(stream: &Self::Std) -> io::Result<()> {
        stream.shutdown(Shutdown::Both)
    }

    fn shutdown_ours(stream: &TcpStream) -> io::Result<()> {
        stream.shutdown(Shutdown::Both)
    }

    fn peek_std(stream: &Self::Std) -> Option<io::Result<usize>> {
        Some(stream.peek(&mut [0; 64]))
    }

    async fn peek_ours(stream: &TcpStream) -> Option<io::Result<usize>> {
        Some(stream.peek(&mut [0; 64]).await)
    }
}

struct Unix;

impl Kind for Unix {
    type Std = net::UnixStream;
    type Ours = UnixStream;
    const RESETS_ARE_READ: bool = true;

    fn pair() -> (OwnedFd, Self::Std) {
        let (peer, us) = net::UnixStream::pair().unwrap();
        (peer.into(), us)
    }

    fn adopt(stream: Self::Std, handle: &Handle) -> UnixStream {
        UnixStream::from_std(stream, handle).unwrap()
    }

    fn shutdown_std(stream: &Self::Std) -> io::Result<()> {
        stream.shutdown(Shutdown::Both)
    }

    fn shutdown_ours(stream: &UnixStream) -> io::Result<()> {
        stream.shutdown(Shutdown::Both)
    }

    fn peek_std(_: &Self::Std) -> Option<io::Result<usize>> {
        None
    }

    async fn peek_ours(_: &UnixStream) -> Option<io::Result<usize>> {
        None
    }
}

/// A stream of std, with a timeout.
struct Blocking<K: Kind> {
    stream: K::Std,
    /// Whether a write has taken the error that the next read is expected to return.
    owes_reset: bool,
}

impl<K: Kind> Blocking<K> {
    /// A difference that comes from the kernel. The peer of a Unix stream closes it and leaves bytes unread. A write
    /// that sleeps at this moment takes the reset. A later write, as ours after its wake, gets a broken pipe, and the
    /// next read gets the reset.
    fn written(&mut self, result: io::Result<usize>) -> Step {
        match blocking(result) {
            Step::Failed(ErrorKind::ConnectionReset) if K::RESETS_ARE_READ => {
                self.owes_reset = true;
                Step::Failed(ErrorKind::BrokenPipe)
            }
            step => step,
        }
    }

    fn read_by(&mut self, read: impl FnOnce(&mut K::Std) -> io::Result<usize>) -> Step {
        match std::mem::take(&mut self.owes_reset) {
            true => Step::Failed(ErrorKind::ConnectionReset),
            false => blocking(read(&mut self.stream)),
        }
    }
}

fn blocking(result: io::Result<usize>) -> Step {
    match result {
        Ok(count) => Step::Moved(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Step::Waits,
        Err(error) => Step::Failed(error.kind()),
    }
}

impl<K: Kind> Endpoint for Blocking<K> {
    fn read(&mut self) -> Step {
        self.read_by(|stream| stream.read(&mut [0; 64]))
    }

    fn read_vectored(&mut self) -> Step {
        self.read_by(|stream| stream.read_vectored(&mut [IoSliceMut::new(&mut [0; 2]), IoSliceMut::new(&mut [0; 64])]))
    }

    fn peek(&mut self) -> Step {
        K::peek_std(&self.stream).map_or(Step::Moved(0), blocking)
    }

    fn write(&mut self) -> Step {
        let written = self.stream.write(b"written");
        self.written(written)
    }

    fn write_vectored(&mut self) -> Step {
        let written = self.stream.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]);
        self.written(written)
    }

    fn close(&mut self) -> Step {
        match SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            // An intended difference: closing a connection that the peer has reset succeeds.
            Err(error) if error.kind() == ErrorKind::NotConnected => Step::Moved(0),
            result => blocking(result.map(|()| 0)),
        }
    }

    fn shut_down(&mut self) -> Step {
        blocking(K::shutdown_std(&self.stream).map(|()| 0))
    }
}

/// Our stream, with a runtime.
struct Ours<K: Kind>(LocalRuntime, K::Ours);

impl<K: Kind> Ours<K> {
    fn wait(&mut self, operation: impl AsyncFnOnce(&mut K::Ours) -> io::Result<usize>) -> Step {
        let Self(runtime, stream) = self;
        match runtime.run_until(operation(stream).timeout(TIMEOUT)).unwrap() {
            Ok(Ok(count)) => Step::Moved(count),
            Ok(Err(error)) => Step::Failed(error.kind()),
            Err(_) => Step::Waits,
        }
    }
}

impl<K: Kind> Endpoint for Ours<K> {
    fn read(&mut self) -> Step {
        self.wait(async |stream| stream.read(&mut [0; 64]).await)
    }

    fn read_vectored(&mut self) -> Step {
        self.wait(async |stream| {
            stream.read_vectored(&mut [IoSliceMut::new(&mut [0; 2]), IoSliceMut::new(&mut [0; 64])]).await
        })
    }

    fn peek(&mut self) -> Step {
        self.wait(async |stream| K::peek_ours(stream).await.unwrap_or(Ok(0)))
    }

    fn write(&mut self) -> Step {
        self.wait(async |stream| stream.write(b"written").await)
    }

    fn write_vectored(&mut self) -> Step {
        self.wait(async |stream| stream.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]).await)
    }

    fn close(&mut self) -> Step {
        self.wait(async |stream| stream.close().await.map(|()| 0))
    }

    fn shut_down(&mut self) -> Step {
        self.wait(async |stream| K::shutdown_ours(stream).map(|()| 0))
    }
}

/// Sends until there is no room, and waits to be sure that no more room appears.
fn stuff(stream: &impl AsFd) {
    let socket = SockRef::from(stream);
    socket.set_nonblocking(true).unwrap();
    for _ in 0..3 {
        while socket.send(&[0; 512]).is_ok() {}
        while socket.send(&[0]).is_ok() {}
        std::thread::sleep(TRANSIT / 3);
    }
    socket.set_nonblocking(false).unwrap();
}

/// Runs one cell of the table, with our stream or with std's.
fn run<K: Kind>(cell: Cell, ours: bool) -> Vec<Step> {
    let Cell { script: (before, acts), op, later } = cell;
    let (peer, mut stream) = K::pair();
    let peer = Socket::from(peer);
    match before {
        Fresh => {}
        Wrote => stream.write_all(b"unread").unwrap(),
        Stuffed => {
            // Small, to fill the buffers quickly; and fixed, so that the kernel does not enlarge them later.
            peer.set_recv_buffer_size(4096).unwrap();
            SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
            stuff(&stream);
        }
    }
    if before != Fresh {
        std::thread::sleep(TRANSIT / 3);
    }
    let mut us: Box<dyn Endpoint> = if ours {
        let runtime = LocalRuntime::new().unwrap();
        let stream = K::adopt(stream, &runtime.handle());
        Box::new(Ours::<K>(runtime, stream))
    } else {
        SockRef::from(&stream).set_read_timeout(Some(TIMEOUT)).unwrap();
        SockRef::from(&stream).set_write_timeout(Some(TIMEOUT)).unwrap();
        Box::new(Blocking::<K> { stream, owes_reset: false })
    };
    if later {
        let peer = std::thread::spawn(move || {
            std::thread::sleep(LATER);
            perform(acts, peer)
        });
        let steps = op.perform(&mut *us);
        drop(peer.join().unwrap());
        return steps;
    }
    let _peer = perform(acts, peer);
    std::thread::sleep(TRANSIT);
    op.perform(&mut *us)
}

/// A cell of the matrix.
#[derive(Clone, Copy, Debug)]
struct Cell {
    script: Script,
    op: Op,
    later: bool,
}

/// Runs all cells of these scripts. Returns the number of cells.
fn matrix<K: Kind>(scripts: &[Script]) -> usize {
    let cells: Vec<_> = scripts
        .iter()
        .flat_map(|&script| OPS.map(|op| [false, true].map(|later| Cell { script, op, later })))
        .flatten()
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(&cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
            let differs = |_| {
                let expected = run::<K>(cell, false);
                let cpu = thread_cpu();
                let found = run::<K>(cell, true);
                let cpu = thread_cpu() - cpu;
                let spins = cpu > Duration::from_millis(25);
                (found != expected || spins).then(|| format!("std {expected:?}, ours {found:?}, {cpu:?} of CPU"))
            };
            let differences: Vec<_> = (0..ATTEMPTS).map_while(differs).collect();
            if differences.len() == ATTEMPTS {
                wrong.push(format!("{cell:?}: {differences:#?}"));
            }
        }
        wrong
    };
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} cells differ: {}", wrong.len(), wrong.join("\n"));
    cells.len()
}

/// Bug G10; trial 11: half-closes, resets, ends of file and hang-ups, before and during every kind of operation.
#[test]
fn what_peers_do_while_we_work() {
    let _watchdog = watchdog(Duration::from_secs(240));
    assert_eq!(matrix::<Tcp>(&SCRIPTS), 40 * 14 * 2);
}

/// Bug G10; trial 11: the same with Unix streams, and with descriptors among the bytes, which a plain read discards.
#[test]
fn what_peers_of_unix_streams_do_while_we_work() {
    let _watchdog = watchdog(Duration::from_secs(240));
    assert_eq!(matrix::<Unix>(&[&SCRIPTS[..], &WITH_DESCRIPTORS[..]].concat()), 46 * 14 * 2);
}
