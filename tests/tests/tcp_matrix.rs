//! What the peer does × what we do, beside a blocking stream of std to which the same happens: both must see the same.
//! (Trial 11.) The kernel defines what is right, so nothing is expected here but that nothing differs.

use async_epoll::LocalRuntime;
use async_net_lite::TcpStream;
use async_timeout::TimeoutExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tests::{thread_cpu, watchdog};

/// After this long without a result, an operation is taken to wait for ever.
const PATIENCE: Duration = Duration::from_millis(120);
/// When the peer acts, if it acts while we wait.
const LATER: Duration = Duration::from_millis(30);
/// Until what the peer has done is here.
const SETTLED: Duration = Duration::from_millis(15);

/// What the peer does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Nothing,
    Sends,
    SendsUrgent,
    HalfCloses,
    SendsAndHalfCloses,
    Closes,
    SendsAndCloses,
    ClosesWithUnread,
    Resets,
    SendsAndResets,
    StopsReading,
}

const ACTS: [Act; 11] = [
    Act::Nothing,
    Act::Sends,
    Act::SendsUrgent,
    Act::HalfCloses,
    Act::SendsAndHalfCloses,
    Act::Closes,
    Act::SendsAndCloses,
    Act::ClosesWithUnread,
    Act::Resets,
    Act::SendsAndResets,
    Act::StopsReading,
];

impl Act {
    /// Does it. Gives the stream back if it is still open.
    fn perform(self, mut peer: std::net::TcpStream) -> Option<std::net::TcpStream> {
        if matches!(self, Self::Sends | Self::SendsAndHalfCloses | Self::SendsAndCloses | Self::SendsAndResets) {
            // It fails if we have closed the connection, and then we shall see why.
            let _ = peer.write_all(b"abc");
        }
        match self {
            Self::SendsUrgent => {
                let _ = peer.write_all(b"abc");
                let _ = SockRef::from(&peer).send_out_of_band(b"!");
                let _ = peer.write_all(b"def");
            }
            Self::HalfCloses | Self::SendsAndHalfCloses => {
                let _ = peer.shutdown(Shutdown::Write);
            }
            Self::StopsReading => {
                let _ = peer.shutdown(Shutdown::Read);
            }
            Self::Resets | Self::SendsAndResets => {
                std::thread::sleep(SETTLED / 3);
                SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
                return None;
            }
            Self::Closes | Self::SendsAndCloses | Self::ClosesWithUnread => return None,
            Self::Nothing | Self::Sends => {}
        }
        Some(peer)
    }
}

/// What we do.
#[derive(Clone, Copy, Debug)]
enum Op {
    Read,
    ReadToTheEnd,
    ReadVectored,
    Peek,
    Write,
    WriteTwice,
    WriteVectoredTwice,
    Close,
    CloseAndWrite,
    CloseAndRead,
    ShutDownAndRead,
    ShutDownAndWrite,
}

const OPS: [Op; 12] = [
    Op::Read,
    Op::ReadToTheEnd,
    Op::ReadVectored,
    Op::Peek,
    Op::Write,
    Op::WriteTwice,
    Op::WriteVectoredTwice,
    Op::Close,
    Op::CloseAndWrite,
    Op::CloseAndRead,
    Op::ShutDownAndRead,
    Op::ShutDownAndWrite,
];

impl Op {
    /// Does it. Returns what came of each step.
    fn perform(self, us: &mut dyn Endpoint) -> Vec<Step> {
        // Long enough for what a first write provokes.
        let pause = || std::thread::sleep(LATER + SETTLED);
        match self {
            Self::Read => vec![us.read()],
            Self::ReadToTheEnd => {
                let mut steps = vec![us.read()];
                while matches!(steps.last(), Some(Step::Moved(1..))) {
                    steps.push(us.read());
                }
                steps
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
            Self::Close => vec![us.close(), us.close(), us.close()],
            Self::CloseAndWrite => vec![us.close(), us.write(), us.write_vectored()],
            Self::CloseAndRead => vec![us.close(), us.read(), us.read()],
            Self::ShutDownAndRead => vec![us.shut_down(), us.read(), us.peek()],
            Self::ShutDownAndWrite => vec![us.shut_down(), us.write()],
        }
    }
}

/// What came of one operation.
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

/// std's, with a timeout.
struct Blocking(std::net::TcpStream);

fn blocking(result: io::Result<usize>) -> Step {
    match result {
        Ok(count) => Step::Moved(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Step::Waits,
        Err(error) => Step::Failed(error.kind()),
    }
}

impl Endpoint for Blocking {
    fn read(&mut self) -> Step {
        blocking(self.0.read(&mut [0; 64]))
    }

    fn read_vectored(&mut self) -> Step {
        blocking(self.0.read_vectored(&mut [IoSliceMut::new(&mut [0; 2]), IoSliceMut::new(&mut [0; 64])]))
    }

    fn peek(&mut self) -> Step {
        blocking(self.0.peek(&mut [0; 64]))
    }

    fn write(&mut self) -> Step {
        blocking(self.0.write(b"written"))
    }

    fn write_vectored(&mut self) -> Step {
        blocking(self.0.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]))
    }

    fn close(&mut self) -> Step {
        match self.0.shutdown(Shutdown::Write) {
            // Here we differ on purpose: what the peer has reset is closed.
            Err(error) if error.kind() == ErrorKind::NotConnected => Step::Moved(0),
            result => blocking(result.map(|()| 0)),
        }
    }

    fn shut_down(&mut self) -> Step {
        blocking(self.0.shutdown(Shutdown::Both).map(|()| 0))
    }
}

/// Ours, with a runtime.
struct Ours(LocalRuntime, TcpStream);

impl Ours {
    fn wait(&mut self, operation: impl AsyncFnOnce(&mut TcpStream) -> io::Result<usize>) -> Step {
        let Self(runtime, stream) = self;
        match runtime.run_until(operation(stream).timeout(PATIENCE)).unwrap() {
            Ok(Ok(count)) => Step::Moved(count),
            Ok(Err(error)) => Step::Failed(error.kind()),
            Err(_) => Step::Waits,
        }
    }
}

impl Endpoint for Ours {
    fn read(&mut self) -> Step {
        self.wait(async |stream| stream.read(&mut [0; 64]).await)
    }

    fn read_vectored(&mut self) -> Step {
        self.wait(async |stream| {
            stream.read_vectored(&mut [IoSliceMut::new(&mut [0; 2]), IoSliceMut::new(&mut [0; 64])]).await
        })
    }

    fn peek(&mut self) -> Step {
        self.wait(async |stream| stream.peek(&mut [0; 64]).await)
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
        self.wait(async |stream| stream.shutdown(Shutdown::Both).map(|()| 0))
    }
}

/// One cell of the matrix, for one of the two.
fn cell(act: Act, op: Op, later: bool, ours: bool) -> Vec<Step> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    if matches!(act, Act::ClosesWithUnread) {
        stream.write_all(b"unread").unwrap();
        std::thread::sleep(SETTLED / 3);
    }
    let mut us: Box<dyn Endpoint> = if ours {
        let runtime = LocalRuntime::new().unwrap();
        let stream = TcpStream::from_std(stream, &runtime.handle()).unwrap();
        Box::new(Ours(runtime, stream))
    } else {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Box::new(Blocking(stream))
    };
    if later {
        let peer = std::thread::spawn(move || {
            std::thread::sleep(LATER);
            act.perform(peer)
        });
        let steps = op.perform(&mut *us);
        drop(peer.join().unwrap());
        return steps;
    }
    let _peer = act.perform(peer);
    std::thread::sleep(SETTLED);
    op.perform(&mut *us)
}

/// Bug G10: half closes, resets, ends of file and hang-ups, before and during every kind of operation. Trial 11.
#[test]
fn what_peers_do_while_we_work() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let cells: Vec<_> =
        ACTS.iter().flat_map(|act| OPS.iter().flat_map(move |op| [(*act, *op, false), (*act, *op, true)])).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(&(act, op, later)) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
            // What is a matter of time may come out differently on a busy machine. What is wrong is always wrong.
            let differs = |_| {
                let (expected, cpu) = (cell(act, op, later, false), thread_cpu());
                let (found, cpu) = (cell(act, op, later, true), thread_cpu() - cpu);
                let spins = cpu > Duration::from_millis(25);
                (found != expected || spins).then(|| format!("std {expected:?}, ours {found:?}, {cpu:?} of CPU"))
            };
            let differences: Vec<_> = (0..4).map_while(differs).collect();
            assert!(
                differences.len() < 4,
                "{act:?}, {}, {op:?}: {differences:#?}",
                if later { "late" } else { "early" }
            );
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..16).map(|_| scope.spawn(run)).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    assert!(cells.len() >= 200);
}
