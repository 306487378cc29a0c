//! A two-way copy of which one side dies: in every state of the copy, for every kind of death, the copy ends at once,
//! with the right error and amounts, and lets both sockets go.
//!
//! The sides are `a`, which dies, and `b`. Their peers are called the near peer (of `a`) and the far peer (of `b`). Each
//! cell of the table runs twice: with `a` as the first and as the second argument of the copy.

use async_epoll::{OPERATIONS_PER_POLL, Reactor};
use async_net_lite::unix::UnixStream;
use async_net_lite::{CopyError, TcpStream, UdpSocket, copy_bidirectional};
use async_timeout::{Timeout, sleep};
use futures::future::{Either, FutureExt, join, join3, select};
use futures::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use futures::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::streams::Stranger;
use tests::common::{block_on, tcp};
use tests::{LOCALHOST, TIME, noise, std_tcp_pair, watchdog};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What the copy is doing when `a` dies. In all states, each peer has received some bytes and has not read them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Both directions wait for data.
    Idle,
    /// The near peer has half-closed, and the far peer knows. The other direction waits for data.
    HalfClosed,
    /// The far peer has half-closed, and the near peer knows. The other direction waits for data.
    Done,
    /// The near peer takes no more bytes: the direction to `a` is blocked. The other one waits for data.
    Blocked,
    /// The same, after the near peer has half-closed.
    BlockedHalfClosed,
    /// The far peer takes no more bytes: the direction from `a` is blocked. The other one waits for data.
    Held,
    /// The same, after the far peer has half-closed.
    HeldDone,
    /// The same, and all bytes and the half-close of the near peer have arrived at `a`.
    HeldHalfClosed,
    /// Both directions are blocked.
    BothBlocked,
}

const STATES: [State; 9] = [
    State::Idle,
    State::HalfClosed,
    State::Done,
    State::Blocked,
    State::BlockedHalfClosed,
    State::Held,
    State::HeldDone,
    State::HeldHalfClosed,
    State::BothBlocked,
];

impl State {
    /// Returns whether the direction to `a` is blocked.
    fn is_blocked(self) -> bool {
        matches!(self, Self::Blocked | Self::BlockedHalfClosed | Self::BothBlocked)
    }

    /// Returns whether the direction from `a` is blocked.
    fn is_held(self) -> bool {
        matches!(self, Self::Held | Self::HeldDone | Self::HeldHalfClosed | Self::BothBlocked)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    /// The near peer resets the connection.
    Reset,
    /// Another owner of `a` shuts both of its directions down.
    Shutdown,
    /// The kernel gives the connection up, since the near peer has taken no byte for a time.
    TimedOut,
}

/// How a blocked direction came to hold its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Bulk data: the bytes are in a pipe.
    Splice,
    /// A few bytes, for a socket that has had no room from the beginning: the bytes are in a buffer.
    Buffer,
    /// As `Buffer`, and the copy does not know that the sides are sockets.
    Foreign,
}

/// What the copy does after the death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// It ends at once: successfully, or with an error of this kind.
    Ends(Result<(), ErrorKind>),
    /// It goes on, until the far peer has read all bytes, has written a byte or half-closed. Then it ends.
    Waits(Result<(), ErrorKind>),
}

/// A kind of socket.
trait Kind: AsyncRead + AsyncWrite + Unpin + Clone + 'static {
    const IS_TCP: bool;
    async fn pair() -> (Self, Self);
    fn options(&self) -> SockRef<'_>;
    fn close_both(&self);
    fn offer(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Resets the connection. The peer must have unread bytes.
    fn reset(self) {
        if Self::IS_TCP {
            self.options().set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

impl Kind for TcpStream {
    const IS_TCP: bool = true;
    async fn pair() -> (Self, Self) {
        tcp::pair().await
    }
    fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
    fn close_both(&self) {
        self.shutdown(Shutdown::Both).unwrap();
    }
    fn offer(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
}

impl Kind for UnixStream {
    const IS_TCP: bool = false;
    async fn pair() -> (Self, Self) {
        Self::pair().unwrap()
    }
    fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
    fn close_both(&self) {
        self.shutdown(Shutdown::Both).unwrap();
    }
    fn offer(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
}

/// Writes until the connection has taken no byte for a while. Returns the number of bytes.
async fn stuff<K: Kind>(stream: &K) -> u64 {
    let (mut total, mut quiet) = (0, 0);
    while quiet < 5 {
        match stream.offer(&[7; 4 * KIB]) {
            Ok(length) => (total, quiet) = (total + length as u64, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                quiet += 1;
                sleep(Duration::from_millis(4)).await;
            }
        }
    }
    total
}

/// Reads to the end of file, or to an error. Returns the number of bytes.
async fn drain(mut stream: impl AsyncRead + Unpin) -> u64 {
    let (mut gulp, mut total) = (vec![0; 64 * KIB], 0);
    while let Ok(length @ 1..) = stream.read(&mut gulp).await {
        total += length as u64;
    }
    total
}

/// Waits until all events that are under way have arrived.
async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// Runs one cell of the table.
async fn cell<K: Kind>(state: State, death: Death, way: Way, swapped: bool, expected: Expected) {
    let context = format!("{state:?} {death:?} {way:?}, TCP: {}, swapped: {swapped}", K::IS_TCP);
    let ((mut near, a), (b, mut far)) = (K::pair().await, K::pair().await);
    let owner = (death == Death::Shutdown).then(|| a.clone());
    // Bytes that do not go through the copy.
    let (mut stuffed_near, mut stuffed_far) = (0, 0);
    if way != Way::Splice {
        if state.is_blocked() {
            stuffed_near = stuff(&a).await;
        }
        if state.is_held() {
            stuffed_far = stuff(&b).await;
        }
    }
    if death == Death::TimedOut {
        // Bytes that the near peer never takes.
        if !state.is_blocked() || way == Way::Splice {
            stuff(&a).await;
        }
        a.options().set_tcp_user_timeout(Some(Duration::from_millis(150))).unwrap();
    }
    let polls = Cell::new(0);
    let copy = async move {
        let result = match (way, swapped) {
            (Way::Foreign, false) => copy_bidirectional(Stranger(a), Stranger(b)).await,
            (Way::Foreign, true) => copy_bidirectional(Stranger(b), Stranger(a)).await,
            (_, false) => copy_bidirectional(a, b).await,
            (_, true) => copy_bidirectional(b, a).await,
        };
        let error = |error: io::Error| {
            let kind = error.kind();
            let error = error.downcast::<CopyError>().unwrap();
            assert_eq!(error.error.kind(), kind);
            (Err(kind), (error.a_to_b, error.b_to_a))
        };
        let (result, amounts) = result.map_or_else(error, |amounts| (Ok(()), amounts));
        (result, if swapped { (amounts.1, amounts.0) } else { amounts })
    };
    let mut copy = pin!(copy);
    let mut copy = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        copy.as_mut().poll(cx)
    });
    let reach_state = async {
        // A direction that is blocked takes no bytes.
        if !state.is_blocked() {
            far.write_all(b"abc").await.unwrap();
        }
        if !state.is_held() {
            near.write_all(b"hello").await.unwrap();
        }
        settle().await;
        if matches!(state, State::BlockedHalfClosed | State::HalfClosed) {
            near.close().await.unwrap();
            settle().await;
        }
        if matches!(state, State::HeldDone | State::Done) {
            far.close().await.unwrap();
            settle().await;
        }
        if state.is_blocked() {
            match way {
                Way::Splice => _ = stuff(&far).await,
                _ => far.write_all(b"12345").await.unwrap(),
            }
        }
        if state.is_held() {
            match way {
                Way::Splice => _ = stuff(&near).await,
                _ => near.write_all(b"12345").await.unwrap(),
            }
        }
        if state == State::HeldHalfClosed {
            near.close().await.unwrap();
        }
        settle().await;
    };
    match select(&mut copy, pin!(reach_state)).await {
        Either::Left((ended, _)) if death == Death::TimedOut => panic!("{context}: the kernel was too fast: {ended:?}"),
        Either::Left((ended, _)) => panic!("{context}: ended early: {ended:?}"),
        Either::Right(_) => {}
    }
    // The death, and what follows within one event.
    let polls_before = polls.get();
    let near = match death {
        Death::Reset => {
            near.reset();
            None
        }
        Death::Shutdown => {
            owner.unwrap().close_both();
            Some(near)
        }
        Death::TimedOut => Some(near),
    };
    let is_waiting = matches!(expected, Expected::Waits(_));
    let time = match death {
        _ if is_waiting => Duration::from_millis(100),
        Death::TimedOut => Duration::from_secs(20),
        _ => Duration::from_secs(1),
    };
    let begin = Instant::now();
    let ended = Timeout::new(&mut copy, time).await;
    println!("{context}: {ended:?} after {:?} and {} polls", begin.elapsed(), polls.get() - polls_before);
    assert!(polls.get() - polls_before <= if death == Death::TimedOut { 20 } else { 6 }, "{context}: it spins");
    let (ended, delivered) = match (expected, ended) {
        (Expected::Ends(result), Ok(ended)) => {
            // A TCP socket that is shut down here is reset by the next bytes of its peer.
            let is_reset = K::IS_TCP && death == Death::Shutdown && state.is_held() && way == Way::Splice;
            assert!(
                ended.0 == result || is_reset && ended.0 == Err(ErrorKind::ConnectionReset),
                "{context}: {ended:?}"
            );
            // Both sockets are closed, so the peers read to an end.
            (ended, drain(&mut far).await)
        }
        (Expected::Waits(result), Err(_)) => {
            let act = async {
                // A byte that stays unread would make the kernel reset the connection to the far peer.
                if !state.is_held() {
                    let _ = far.write_all(b"x").await;
                }
                let _ = far.close().await;
                drain(&mut far).await
            };
            let (ended, delivered) = join(Timeout::new(&mut copy, Duration::from_secs(5)), act).await;
            let ended = ended.unwrap_or_else(|_| panic!("{context}: never ends"));
            assert_eq!(ended.0, result, "{context}");
            (ended, delivered)
        }
        (_, Ok(ended)) => panic!("{context}: ended too early: {ended:?}"),
        (_, Err(_)) => panic!("{context}: holds both sockets"),
    };
    if state == State::BothBlocked {
        // The kernel resets a TCP connection that is closed with unread bytes, and so loses those on their way.
        assert!(delivered <= stuffed_far + ended.1.0, "{context}: the amount from `a`");
    } else {
        assert_eq!(delivered, stuffed_far + ended.1.0, "{context}: the amount from `a`");
    }
    if let Some(near) = near {
        let stuffed = if death == Death::TimedOut { None } else { Some(stuffed_near) };
        let delivered = drain(near).await;
        assert!(stuffed.is_none_or(|stuffed| delivered <= stuffed + ended.1.1), "{context}: the amount to `a`");
    }
}

/// Returns what the copy does in a cell.
fn expected<K: Kind>(state: State, death: Death, way: Way) -> Expected {
    use ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
    use Expected::{Ends, Waits};
    let is_foreign = way == Way::Foreign;
    match (death, state) {
        // All bytes of `a` have arrived: they are copied before the error counts.
        (Death::Reset, State::HeldHalfClosed) if K::IS_TCP => Waits(if is_foreign { Ok(()) } else { Err(BrokenPipe) }),
        // A foreign stream reports its death to a read or write only. So the copy ends when the far peer acts.
        (Death::Reset, State::HalfClosed) if is_foreign => Waits(Err(BrokenPipe)),
        (Death::Reset, State::Held | State::HeldDone | State::HeldHalfClosed) if is_foreign => {
            Waits(Err(ConnectionReset))
        }
        (Death::Shutdown, State::HalfClosed | State::Idle) if is_foreign => Waits(Err(BrokenPipe)),
        (Death::Shutdown, State::Held | State::HeldDone | State::HeldHalfClosed) if is_foreign => Waits(Ok(())),
        // A TCP connection that is reset after the peer's end of file reports EPIPE.
        (Death::Reset, State::HalfClosed | State::BlockedHalfClosed) if K::IS_TCP => Ends(Err(BrokenPipe)),
        (Death::Reset, _) => Ends(Err(ConnectionReset)),
        (Death::Shutdown, State::Idle | State::HalfClosed | State::Done) => Ends(Ok(())),
        (Death::Shutdown, _) if state.is_blocked() => Ends(Err(BrokenPipe)),
        // All bytes of `a` have arrived.
        (Death::Shutdown, State::HeldHalfClosed) => Waits(Ok(())),
        (Death::Shutdown, _) if K::IS_TCP => Ends(Err(BrokenPipe)),
        // A Unix socket that is shut down here looks like a socket whose peer is closed: all bytes have arrived.
        (Death::Shutdown, _) => Waits(Ok(())),
        (Death::TimedOut, _) => Ends(Err(TimedOut)),
    }
}

/// Runs all cells of a kind of socket and a way.
fn table<K: Kind>(way: Way) {
    block_on(async {
        let mut failures = Vec::new();
        for death in [Death::Reset, Death::Shutdown] {
            for state in STATES {
                // Bulk data that fills everything up leaves no room for the half-close.
                if (way, state) == (Way::Splice, State::HeldHalfClosed) {
                    continue;
                }
                for swapped in [false, true] {
                    let expected = expected::<K>(state, death, way);
                    let cell = std::panic::AssertUnwindSafe(cell::<K>(state, death, way, swapped, expected));
                    if futures::FutureExt::catch_unwind(cell).await.is_err() {
                        failures.push((state, death, swapped));
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    });
}

/// Found 9: TCP, with bulk data.
#[test]
fn tcp_by_splicing() {
    table::<TcpStream>(Way::Splice);
}

/// Found 9: TCP, with few bytes.
#[test]
fn tcp_by_buffer() {
    table::<TcpStream>(Way::Buffer);
}

/// Found 9: Unix sockets, with bulk data.
#[test]
fn unix_by_splicing() {
    table::<UnixStream>(Way::Splice);
}

/// Found 9: Unix sockets, with few bytes.
#[test]
fn unix_by_buffer() {
    table::<UnixStream>(Way::Buffer);
}

/// Found 9: sides that the copy does not know to be sockets. Reads and writes report their death, and nothing else.
#[test]
fn foreign_streams() {
    table::<TcpStream>(Way::Foreign);
}

/// Found 9: the kernel gives a connection up after a time without an acknowledgement.
#[test]
fn time_outs_of_the_kernel() {
    block_on(async {
        let states = [State::Idle, State::HalfClosed, State::Blocked, State::BlockedHalfClosed, State::Held];
        for state in states {
            for way in [Way::Splice, Way::Buffer] {
                let expected = expected::<TcpStream>(state, Death::TimedOut, way);
                cell::<TcpStream>(state, Death::TimedOut, way, false, expected).await;
            }
        }
    });
}

/// Found 9: bytes that have arrived before a reset are still copied, whichever direction meets the error first: one
/// that reads, one that writes, and one that does neither.
#[test]
fn bytes_before_a_reset_are_copied() {
    block_on(async {
        for length in [1, 20 * KIB, 600 * KIB] {
            for (writes, swapped) in [(false, false), (false, true), (true, false), (true, true)] {
                let ((mut near, a), (b, mut far)) = (tcp::pair().await, tcp::pair().await);
                // Room for all of the bytes.
                for stream in [&a, &b, &near, &far] {
                    stream.options().set_recv_buffer_size(4 * MIB).unwrap();
                    stream.options().set_send_buffer_size(4 * MIB).unwrap();
                }
                let bytes = noise(1, length);
                near.write_all(&bytes).await.unwrap();
                if writes {
                    far.write_all(b"hello").await.unwrap();
                }
                settle().await;
                near.reset();
                settle().await;
                // By reference: a socket that is closed with unread bytes resets its connection.
                let copied = match swapped {
                    false => copy_bidirectional(&a, &b).await,
                    true => copy_bidirectional(&b, &a).await,
                };
                let mut received = vec![0; length];
                far.read_exact(&mut received).await.unwrap();
                assert!(received == bytes);
                let error = copied.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{length} {writes} {swapped}");
                let error = error.downcast::<CopyError>().unwrap();
                let amounts = if swapped { (error.b_to_a, error.a_to_b) } else { (error.a_to_b, error.b_to_a) };
                assert_eq!(amounts, (length as u64, 0));
            }
        }
    });
}

/// Found 9: a half-close is no death, and neither is a Unix peer that has sent all its bytes and is closed: they reach a
/// far peer that takes them late.
#[test]
fn bytes_of_a_closed_peer_wait_for_the_far_peer() {
    block_on(async {
        for length in [5, 150 * KIB] {
            for swapped in [false, true] {
                let ((mut near, a), (b, mut far)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
                let stuffed = stuff(&b).await;
                let bytes = noise(2, length);
                let polls = Cell::new(0);
                let mut copy = pin!(async move {
                    if swapped { copy_bidirectional(b, a).await } else { copy_bidirectional(a, b).await }
                });
                let copy = poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    copy.as_mut().poll(cx)
                });
                let script = async {
                    near.write_all(&bytes).await.unwrap();
                    drop(near);
                    sleep(Duration::from_millis(50)).await;
                    assert!(polls.get() < 40, "{} polls", polls.get());
                    assert_eq!(drain(&mut far).await, stuffed + length as u64);
                };
                let (copied, ()) = join(copy, script).await;
                let expected = if swapped { (0, length as u64) } else { (length as u64, 0) };
                assert_eq!(copied.unwrap(), expected);
            }
        }
    });
}

/// Found 9: a Unix peer that is closed ends the copy as soon as its bytes are copied, since nothing can be copied to it.
/// This is an error only if there are bytes for it.
#[test]
fn a_closed_unix_peer_ends_the_copy() {
    block_on(async {
        for swapped in [false, true] {
            for has_bytes in [false, true] {
                let ((mut near, a), (b, mut far)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
                let copy = async move {
                    if swapped { copy_bidirectional(b, a).await } else { copy_bidirectional(a, b).await }
                };
                let script = async {
                    near.write_all(b"hello").await.unwrap();
                    settle().await;
                    if has_bytes {
                        far.write_all(b"!").await.unwrap();
                    }
                    drop(near);
                    assert_eq!(drain(&mut far).await, 5);
                };
                let (copied, ()) = join(copy, script).await;
                match copied {
                    Ok(amounts) => assert_eq!((amounts, has_bytes), (if swapped { (0, 5) } else { (5, 0) }, false)),
                    Err(error) => assert_eq!((error.kind(), has_bytes), (ErrorKind::BrokenPipe, true)),
                }
            }
        }
    });
}

/// Found 9: a stream whose writes fail and whose reads never end. The copy ends all the same.
#[test]
fn an_endless_reader_that_refuses_writes() {
    block_on(async {
        let ((near, a), (b, far)) = (tcp::pair().await, tcp::pair().await);
        a.shutdown(Shutdown::Write).unwrap();
        let copy = copy_bidirectional(a, b);
        let flood = async {
            let gulp = noise(3, 64 * KIB);
            (&far).write_all(b"refused").await.unwrap();
            while (&near).write_all(&gulp).await.is_ok() {}
        };
        let (copied, (), received) = join3(copy, flood, drain(&far)).await;
        let error = copied.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(error.downcast::<CopyError>().unwrap().a_to_b >= received);
        assert!(received < 64 * MIB as u64, "{received}");
    });
}

/// Found 9: the same in memory, with a reader that is always ready: the copy ends 16 MiB after the error.
#[test]
fn the_last_bytes_are_bounded() {
    /// A stream that is always ready. Its writes fail.
    struct Endless;
    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buffer.len()))
        }
    }
    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(ErrorKind::PermissionDenied.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let (counter, waker) = tests::CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    // The second poll meets the error, after 31 full buffers and a small one.
    let fails = Rc::new(Cell::new(None));
    let far = Frail { fails: Rc::clone(&fails), ..Frail::default() };
    let ready = Rc::clone(&far.input);
    let mut copy = Box::pin(copy_bidirectional(Endless, far));
    assert!(copy.as_mut().poll(&mut cx).is_pending());
    ready.set(5);
    let mut polls = 1;
    let error = loop {
        polls += 1;
        match copy.as_mut().poll(&mut cx) {
            Poll::Ready(ended) => break ended.unwrap_err(),
            Poll::Pending => assert!(counter.count() >= polls, "woken"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(polls, 2 + 64);
    let error = error.downcast::<CopyError>().unwrap();
    assert_eq!((error.a_to_b, error.b_to_a), (((31 * 16 + 1) * KIB + 16 * MIB) as u64, 0));
}

/// A stream in memory without an end, which fails when it is told to.
#[derive(Default)]
struct Frail {
    fails: Rc<Cell<Option<ErrorKind>>>,
    /// Whether writes are pending, until they fail.
    is_full: bool,
    /// Bytes that the next read returns at once.
    input: Rc<Cell<usize>>,
    wakers: Rc<RefCell<Vec<Waker>>>,
}

impl Frail {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.fails.get() {
            return Poll::Ready(Err(kind.into()));
        }
        self.wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Frail {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.input.take() {
            0 => self.poll(cx),
            length => Poll::Ready(Ok(length.min(buffer.len()))),
        }
    }
}

impl AsyncWrite for Frail {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_full { self.poll(cx) } else { Poll::Ready(Ok(bytes.len())) }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Found 9: streams in memory, with each error, met by a read or by a write, on either side.
#[test]
fn errors_of_streams_in_memory() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::TimedOut] {
        for writes in [false, true] {
            for swapped in [false, true] {
                let fails = Rc::new(Cell::new(None));
                let a = Frail { fails: Rc::clone(&fails), is_full: writes, ..Frail::default() };
                let wakers = Rc::clone(&a.wakers);
                let b = Frail { input: Rc::new(Cell::new(5)), ..Frail::default() };
                let copy = async move {
                    if swapped { copy_bidirectional(b, a).await } else { copy_bidirectional(a, b).await }
                };
                let mut copy = Box::pin(copy);
                let (counter, waker) = tests::CountingWaker::new();
                let mut cx = Context::from_waker(&waker);
                assert!(copy.as_mut().poll(&mut cx).is_pending());
                fails.set(Some(kind));
                wakers.take().into_iter().for_each(Waker::wake);
                assert!(counter.count() > 0, "told");
                // A write that fails leaves one more poll to the bytes of this side.
                let mut polled = copy.as_mut().poll(&mut cx);
                if polled.is_pending() {
                    polled = copy.as_mut().poll(&mut cx);
                }
                let Poll::Ready(Err(error)) = polled else { panic!("{polled:?}") };
                assert_eq!(error.kind(), kind);
                let error = error.downcast::<CopyError>().unwrap();
                let amount = if swapped { error.a_to_b } else { error.b_to_a };
                assert_eq!(amount, if writes { 0 } else { 5 });
            }
        }
    }
}

/// Found 9: bytes before an error, that a writer with a buffer of its own has taken, reach the far peer, whichever poll
/// meets the error.
#[test]
fn bytes_in_the_buffer_of_a_writer() {
    block_on(async {
        for fails_later in [false, true] {
            for swapped in [false, true] {
                let fails = Rc::new(Cell::new((!fails_later).then_some(ErrorKind::InvalidData)));
                let a = Frail { fails: Rc::clone(&fails), input: Rc::new(Cell::new(5)), ..Frail::default() };
                let (b, mut far) = UnixStream::pair().unwrap();
                let b = BufWriter::new(b);
                let copy = async move {
                    if swapped { copy_bidirectional(b, a).await } else { copy_bidirectional(a, b).await }
                };
                let mut copy = pin!(copy);
                if fails_later {
                    assert!(copy.as_mut().now_or_never().is_none());
                    fails.set(Some(ErrorKind::InvalidData));
                }
                assert_eq!(copy.await.unwrap_err().kind(), ErrorKind::InvalidData);
                assert_eq!(drain(&mut far).await, 5, "later {fails_later}, swapped {swapped}");
            }
        }
    });
}

/// A socket with a datagram, by which a task does as many operations as it likes.
struct Spender(UdpSocket);

impl Spender {
    fn new(handle: &async_epoll::Handle) -> Self {
        let socket = net::UdpSocket::bind(LOCALHOST).unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        Self(UdpSocket::from_std(socket, handle).unwrap())
    }

    /// Does operations until `left` are left. Outside a task of ours: there the first refusal gives a new budget.
    fn leave(&self, left: u32) {
        let cx = &mut Context::from_waker(Waker::noop());
        while self.0.poll_peek(cx, &mut [0]).is_ready() {}
        (left..OPERATIONS_PER_POLL).for_each(|_| assert!(self.0.poll_peek(cx, &mut [0]).is_ready()));
    }
}

/// Polls a copy without a driver, until it ends. At first `left` operations are left.
fn poll_to_the_end<T>(mut copy: Pin<&mut impl Future<Output = T>>, spender: &Spender, left: u32) -> T {
    let (counter, waker) = tests::CountingWaker::new();
    spender.leave(left);
    for _ in 0..1000 {
        let wakes = counter.count();
        if let Poll::Ready(ended) = copy.as_mut().poll(&mut Context::from_waker(&waker)) {
            return ended;
        }
        // The watchdog ends a copy that is not woken.
        while counter.count() == wakes {
            std::thread::yield_now();
        }
    }
    panic!("never ends")
}

/// Found 9: an operation that is refused, because the task has spent its budget, is no sign that a side has no more
/// bytes, or takes none. A server that answers and resets the connection is heard in every case. Here the copy is polled
/// by an executor that the budget does not know, so it runs on across polls.
#[test]
fn last_bytes_while_the_budget_is_spent() {
    let _watchdog = watchdog(TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let handle = background.handle();
    let spender = Spender::new(&handle);
    let cx = &mut Context::from_waker(Waker::noop());
    let nap = || std::thread::sleep(Duration::from_millis(2));
    for (is_foreign, swapped) in [(false, false), (false, true), (true, false)] {
        // Which direction is polled first depends on the number of polls.
        for (left, is_odd) in (0..=3).chain([OPERATIONS_PER_POLL]).flat_map(|left| [(left, false), (left, true)]) {
            let ((mut client, a), (b, mut server)) = (std_tcp_pair(), std_tcp_pair());
            let (a, b) = (TcpStream::from_std(a, &handle).unwrap(), TcpStream::from_std(b, &handle).unwrap());
            let (c, d) = (a.clone(), b.clone());
            let copy = match (is_foreign, swapped) {
                (false, false) => copy_bidirectional(a, b).left_future().left_future(),
                (false, true) => copy_bidirectional(b, a).right_future().left_future(),
                // Bytes for the client wait in a buffer, until the copy flushes it.
                (true, _) => copy_bidirectional(BufWriter::new(a), Stranger(b)).right_future(),
            };
            let mut copy = pin!(copy);
            // A large request fills everything up.
            client.set_nonblocking(true).unwrap();
            let (mut quiet, mut is_next_odd) = (0, false);
            while quiet < 4 || is_next_odd != is_odd {
                is_next_odd = !is_next_odd;
                quiet = if client.write(&[7; 64 * KIB]).is_ok() { 0 } else { quiet + 1 };
                assert!(copy.as_mut().poll(cx).is_pending());
                nap();
            }
            // The server answers before it has read the request.
            server.read_exact(&mut [0; 10]).unwrap();
            server.write_all(&[8; 100]).unwrap();
            drop(server);
            nap();
            let error = poll_to_the_end(copy.as_mut(), &spender, left).unwrap_err();
            drop((c, d));
            client.set_nonblocking(false).unwrap();
            client.read_exact(&mut [0; 100]).unwrap_or_else(|read| {
                panic!(
                    "foreign {is_foreign}, swapped {swapped}, odd {is_odd}, {left} left: {error:?}, the answer: {read}"
                )
            });
        }
    }
}

/// Found 9: nor is a refused operation a sign that there are no bytes for a side that takes none. The copy to a closed
/// Unix peer fails.
#[test]
fn bytes_for_a_closed_peer_while_the_budget_is_spent() {
    let _watchdog = watchdog(TIME);
    let background = Reactor::new().unwrap().into_background().unwrap();
    let handle = background.handle();
    let spender = Spender::new(&handle);
    let cx = &mut Context::from_waker(Waker::noop());
    let nap = || std::thread::sleep(Duration::from_millis(2));
    for swapped in [false, true] {
        for left in (0..=4).chain([OPERATIONS_PER_POLL]) {
            let pair = std::os::unix::net::UnixStream::pair;
            let ((near, a), (b, mut far)) = (pair().unwrap(), pair().unwrap());
            let (a, b) = (UnixStream::from_std(a, &handle).unwrap(), UnixStream::from_std(b, &handle).unwrap());
            let mut copy = pin!(if swapped { copy_bidirectional(&b, &a) } else { copy_bidirectional(&a, &b) });
            spender.leave(OPERATIONS_PER_POLL);
            for _ in 0..3 {
                assert!(copy.as_mut().poll(cx).is_pending());
                nap();
            }
            drop(near);
            nap();
            // The copy learns that the side is closed, and not yet that there are bytes for it.
            spender.leave(OPERATIONS_PER_POLL);
            assert!(copy.as_mut().poll(cx).is_pending());
            far.write_all(&[7; 100]).unwrap();
            nap();
            let ended = poll_to_the_end(copy.as_mut(), &spender, left);
            let kind = ended.expect_err("bytes are lost").kind();
            assert_eq!(kind, ErrorKind::BrokenPipe, "swapped {swapped}, {left} left");
        }
    }
}

/// Found 9: the same in one task, with a future beside the copy that leaves it one operation in each poll.
#[test]
fn last_bytes_beside_a_busy_future() {
    block_on(async {
        let spender = Spender::new(&async_epoll::Handle::current().unwrap());
        for left in 1..=8 {
            let ((mut near, a), (b, mut far)) = (tcp::pair().await, tcp::pair().await);
            let bytes = noise(4, 5 * KIB);
            near.write_all(&bytes).await.unwrap();
            far.write_all(b"unread").await.unwrap();
            settle().await;
            near.reset();
            settle().await;
            let mut copy = pin!(copy_bidirectional(&a, &b));
            let copy = poll_fn(|cx| {
                (left..OPERATIONS_PER_POLL).for_each(|_| assert!(spender.0.poll_peek(cx, &mut [0]).is_ready()));
                copy.as_mut().poll(cx)
            });
            let error = copy.await.unwrap_err().downcast::<CopyError>().unwrap();
            assert_eq!((error.a_to_b, error.b_to_a), (bytes.len() as u64, 0), "{left} left: {error:?}");
            let mut received = vec![0; bytes.len()];
            far.read_exact(&mut received).await.unwrap();
            assert!(received == bytes);
        }
    });
}

/// Copies between two blocking sockets, each direction in a thread. Returns the results of both as they end.
fn blocking_copy<S>(a: &S, b: &S, shut: fn(&S, Shutdown) -> io::Result<()>) -> mpsc::Receiver<io::Result<()>>
where
    S: Clonable,
    for<'a> &'a S: Read + Write,
{
    let (sender, receiver) = mpsc::channel();
    for (from, to) in [(a.duplicate(), b.duplicate()), (b.duplicate(), a.duplicate())] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let copied = io::copy(&mut &from, &mut &to);
            let _ = shut(&to, Shutdown::Write);
            let _ = sender.send(copied.map(drop));
        });
    }
    receiver
}

/// A blocking socket of which each thread needs a duplicate.
trait Clonable: Send + 'static {
    fn duplicate(&self) -> Self;
}

impl Clonable for net::TcpStream {
    fn duplicate(&self) -> Self {
        self.try_clone().unwrap()
    }
}

/// Found 9: where a copy by two blocking threads ends, ours ends with the same error.
#[test]
fn blocking_threads_agree() {
    let _watchdog = watchdog(TIME);
    let pair = || {
        let listener = net::TcpListener::bind(tests::LOCALHOST).unwrap();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    };
    for death in [Death::Reset, Death::Shutdown] {
        for state in [State::Idle, State::Done, State::Blocked] {
            let ((near, a), (b, far)) = (pair(), pair());
            // Unread bytes in both directions.
            (&near).write_all(b"hello").unwrap();
            (&far).write_all(b"abc").unwrap();
            let results = blocking_copy(&a, &b, net::TcpStream::shutdown);
            std::thread::sleep(Duration::from_millis(30));
            match state {
                State::Done => far.shutdown(Shutdown::Write).unwrap(),
                State::Blocked => {
                    far.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
                    while (&far).write(&[7; 64 * KIB]).is_ok() {}
                }
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(30));
            if state == State::Done {
                assert!(results.recv().unwrap().is_ok());
            }
            match death {
                Death::Reset => {
                    SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
                    drop(near);
                }
                _ => a.shutdown(Shutdown::Both).unwrap(),
            }
            // The direction from `a` reads the end of file, and the far peer closes after it.
            if (death, state) == (Death::Shutdown, State::Idle) {
                assert!(results.recv().unwrap().is_ok());
                let mut text = Vec::new();
                (&far).read_to_end(&mut text).unwrap();
                assert_eq!(text, b"hello");
                drop(far);
            }
            let first_error = results.iter().take(2).find_map(Result::err).map(|error| error.kind());
            let Expected::Ends(ours) = expected::<TcpStream>(state, death, Way::Splice) else { unreachable!() };
            // A splice that has moved some bytes takes the reset, and the next write finds a closed connection.
            let is_second = (death, state, first_error) == (Death::Reset, State::Blocked, Some(ErrorKind::BrokenPipe));
            assert!(ours.err() == first_error || is_second, "{death:?} {state:?}: {ours:?} {first_error:?}");
            // Ends the other thread.
            let _ = (a.shutdown(Shutdown::Both), b.shutdown(Shutdown::Both));
        }
    }
}
