//! Which types may move to other threads, and how large they are. The compiler checks this; running the tests adds
//! nothing.

use async_epoll::{
    AbortHandle, EnterGuard, Handle, Idle, Interest, LocalRuntime, Reactor, ReactorBuilder, Readiness, Source,
    SourceError, Spawner, SpawnerGuard, Stats, TaskBuilder, TaskError, TaskHandle, Timer, YieldNow,
};
use async_net_lite::unix::{
    self, FdsLost, Message, UCred, UnixDatagram, UnixListenOptions, UnixListener, UnixStream as AsyncUnixStream,
};
use async_net_lite::{
    ConnectOptions, CopyError, Datagram, Datagrams, Incoming, Keepalive, ListenOptions, OwnedReadHalf, OwnedWriteHalf,
    RecvBatch, ReuniteError, SendBatch, TcpListener, TcpStream, UdpSocket, copy_bidirectional,
};
use async_timeout::{
    CancelToken, Cancellation, Cancelled, Debounce, DropGuard, Elapsed, Interval, IoGuard, IoTimeout, ItemTimeout,
    Limit, LimitExceeded, MissedTickBehavior, Sleep, Throttle, Timeout, TimeoutExt, Until, WithToken, sleep,
};
use futures::future::FusedFuture;
use futures::stream::{self, FusedStream};
use futures::task::{LocalSpawn, Spawn};
use futures::{AsyncBufRead, AsyncRead, AsyncWrite, Stream};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Ready;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

// Handles may go to any thread, types that run tasks may not.
assert_impl_all!(Handle: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Reactor: Unpin, Debug);
assert_not_impl_any!(Reactor: Send, Sync, Clone);
assert_not_impl_any!(LocalRuntime: Send, Sync, Clone);
assert_impl_all!(Spawner: Clone, Debug, Spawn, LocalSpawn);
assert_not_impl_any!(Spawner: Send, Sync);
assert_not_impl_any!(EnterGuard: Send, Sync, Clone);
assert_not_impl_any!(SpawnerGuard: Send, Sync, Clone);
assert_impl_all!(TaskHandle<std::marker::PhantomPinned>: Unpin, Debug, Future, FusedFuture);
assert_not_impl_any!(TaskHandle<u8>: Send, Sync, Clone);
assert_impl_all!(AbortHandle: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(TaskError: Error, Send, Sync, Unpin, Into<std::io::Error>);
assert_impl_all!(Idle: Future, Unpin, Debug);
assert_impl_all!(YieldNow: Future, Send, Sync, Unpin, Debug);
assert_impl_all!(TaskBuilder: Debug);
assert_impl_all!(ReactorBuilder: Debug);
assert_impl_all!(Stats: Copy, Send, Sync, Debug, Eq, Default);
assert_impl_all!(Interest: Copy, Send, Sync, Debug, Eq, std::hash::Hash);
assert_impl_all!(Readiness: Copy, Send, Sync, Debug, Eq, std::hash::Hash, Default);

// Sources and timers work from any thread.
assert_impl_all!(Source<UnixStream>: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd, AsyncRead, AsyncWrite);
assert_impl_all!(&'static Source<UnixStream>: AsyncRead, AsyncWrite);
assert_not_impl_any!(Source<Rc<UnixStream>>: Send, Sync);
assert_impl_all!(SourceError<UnixStream>: Error, Send, Sync, Into<std::io::Error>);
assert_impl_all!(Timer: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);

assert_impl_all!(TcpStream: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd, AsyncRead, AsyncWrite);
assert_impl_all!(&'static TcpStream: AsyncRead, AsyncWrite);
assert_impl_all!(TcpStream: TryFrom<std::net::TcpStream>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(TcpListener: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd);
assert_impl_all!(TcpListener: TryFrom<std::net::TcpListener>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(Incoming: Stream, FusedStream, Send, Sync, Unpin, Debug);

assert_impl_all!(AsyncUnixStream: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd, AsyncRead, AsyncWrite);
assert_impl_all!(&'static AsyncUnixStream: AsyncRead, AsyncWrite);
assert_impl_all!(AsyncUnixStream: TryFrom<UnixStream>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(UnixDatagram: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd);
assert_impl_all!(UnixDatagram: TryFrom<std::os::unix::net::UnixDatagram>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(UnixListener: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd);
assert_impl_all!(UnixListener: TryFrom<std::os::unix::net::UnixListener>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(unix::Incoming: Stream, futures::stream::FusedStream, Send, Sync, Unpin, Debug);
assert_impl_all!(UnixListenOptions: Clone, Send, Sync, Debug, Default);
assert_impl_all!(UCred: Copy, Eq, Send, Sync, Debug);
assert_impl_all!(Message: Send, Sync, Debug);
assert_impl_all!(FdsLost: Copy, Eq, Send, Sync, Error);

assert_impl_all!(UdpSocket: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd);
assert_impl_all!(UdpSocket: TryFrom<std::net::UdpSocket>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(RecvBatch: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(SendBatch: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Datagram<'static>: Copy, Send, Sync, Debug, Eq);
assert_impl_all!(Datagrams<'static>: Clone, Send, Sync, Debug, ExactSizeIterator, std::iter::FusedIterator);
assert_impl_all!(ListenOptions: Clone, Send, Sync, Unpin, Debug, Default, UnwindSafe, RefUnwindSafe);
assert_impl_all!(ConnectOptions: Clone, Send, Sync, Unpin, Debug, Default, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Keepalive: Copy, Send, Sync, Debug, Default, Eq, std::hash::Hash);
assert_impl_all!(OwnedReadHalf: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsyncRead, AsRef<TcpStream>);
assert_impl_all!(OwnedWriteHalf: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsyncWrite, AsRef<TcpStream>);
assert_impl_all!(OwnedReadHalf<AsyncUnixStream>: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsyncRead);
assert_impl_all!(OwnedWriteHalf<AsyncUnixStream>: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsyncWrite);
assert_impl_all!(ReuniteError<AsyncUnixStream>: Error, Send, Sync);
assert_not_impl_any!(OwnedReadHalf: Clone, AsyncWrite);
assert_not_impl_any!(OwnedWriteHalf: Clone, AsyncRead);
assert_impl_all!(ReuniteError: Error, Send, Sync);
assert_impl_all!(CopyError: Error, Send, Sync, Unpin, Debug, Display, Into<std::io::Error>);
assert_impl_all!(Incoming: Stream, futures::stream::FusedStream, Send, Sync, Unpin, Debug);

assert_impl_all!(Elapsed: Copy, Eq, Send, Sync, Debug, Display, Error, Into<std::io::Error>);
assert_impl_all!(Sleep: Send, Sync, Unpin, Debug);
assert_impl_all!(Timeout<Ready<()>>: Send, Sync, Unpin, Debug);
assert_impl_all!(IoTimeout<Ready<()>>: Send, Sync, Unpin, Debug);
assert_not_impl_any!(Timeout<Ready<Rc<()>>>: Send, Sync);
assert_impl_all!(Interval: FusedStream, Send, Sync, Unpin, Debug);
assert_impl_all!(MissedTickBehavior: Copy, Send, Sync, Debug, Eq, std::hash::Hash, Default);
assert_impl_all!(ItemTimeout<stream::Empty<()>>: FusedStream, Send, Sync, Unpin, Debug);
assert_impl_all!(Throttle<stream::Empty<()>>: FusedStream, Send, Sync, Unpin, Debug);
assert_impl_all!(Debounce<stream::Empty<()>>: FusedStream, Send, Sync, Unpin, Debug);
// The item that is held counts as well.
assert_impl_all!(Debounce<stream::Pending<Rc<()>>>: FusedStream);
assert_not_impl_any!(Debounce<stream::Pending<Rc<()>>>: Send, Sync);
assert_not_impl_any!(Throttle<stream::Iter<std::vec::IntoIter<Rc<()>>>>: Send, Sync);
assert_not_impl_any!(ItemTimeout<stream::Iter<std::vec::IntoIter<Rc<()>>>>: Send, Sync);
// A token cancels from any thread, and a wait moves with its task.
assert_impl_all!(CancelToken: Clone, Default, Eq, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Cancellation: FusedFuture, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Cancelled: Clone, Eq, Send, Sync, Debug, Display, Error, Into<std::io::Error>);
assert_impl_all!(DropGuard: Send, Sync, Unpin, Debug, UnwindSafe);
assert_not_impl_any!(DropGuard: Clone);
assert_impl_all!(Until<Ready<()>>: FusedFuture, Send, Sync, Unpin, Debug);
assert_impl_all!(WithToken<Ready<()>>: FusedFuture, Send, Sync, Unpin, Debug);
assert_not_impl_any!(Until<Ready<Rc<()>>>: Send, Sync);
assert_not_impl_any!(WithToken<Ready<Rc<()>>>: Send, Sync);
// A guard has the traits of its connection.
assert_impl_all!(IoGuard<TcpStream>: Send, Sync, Unpin, Debug, AsyncRead, AsyncWrite);
assert_impl_all!(IoGuard<&'static [u8]>: AsyncRead, AsyncBufRead);
assert_impl_all!(IoGuard<Vec<u8>>: AsyncWrite);
assert_not_impl_any!(IoGuard<&'static [u8]>: AsyncWrite);
assert_not_impl_any!(IoGuard<Vec<u8>>: AsyncRead, AsyncBufRead);
assert_not_impl_any!(IoGuard<Rc<()>>: Send, Sync);
assert_not_impl_any!(IoGuard<std::marker::PhantomPinned>: Unpin);
assert_impl_all!(Limit: Copy, Eq, std::hash::Hash, Send, Sync, Debug);
assert_impl_all!(LimitExceeded: Copy, Eq, std::hash::Hash, Send, Sync, Debug, Display, Error, Into<std::io::Error>);

/// Behaviour 66: the sizes of the types.
#[test]
fn sizes() {
    assert_eq!(size_of::<Handle>(), 8);
    assert_eq!(size_of::<TcpStream>(), 8);
    assert_eq!(size_of::<AsyncUnixStream>(), 8);
    assert_eq!(size_of::<UnixDatagram>(), 8);
    assert_eq!(size_of::<UnixListener>(), 8);
    assert_eq!(size_of::<UdpSocket>(), 8);
    assert_eq!(size_of::<OwnedReadHalf>(), 8);
    assert_eq!(size_of::<TcpListener>(), 8);
    assert_eq!(size_of::<Interest>(), 1);
    assert_eq!(size_of::<Readiness>(), 1);
    assert!(size_of::<Source<UnixStream>>() <= 24, "{}", size_of::<Source<UnixStream>>());
    assert!(size_of::<Timer>() <= 24, "{}", size_of::<Timer>());
    assert!(size_of::<Sleep>() <= 24, "{}", size_of::<Sleep>());
    // The promise is 40.
    assert!(size_of::<Timeout<u64>>() - size_of::<u64>() <= 24, "{}", size_of::<Timeout<u64>>());
    assert!(size_of::<Interval>() <= 64, "{}", size_of::<Interval>());
    assert_eq!(size_of::<Elapsed>(), 0);
    assert_eq!(size_of::<CancelToken>(), 8);
    assert_eq!(size_of::<Result<u64, Cancelled>>(), 16);
    assert!(size_of::<Cancellation>() <= 24, "{}", size_of::<Cancellation>());
    // 192, and the pointer to the limits of one direction, which a guard without them does not allocate.
    assert!(size_of::<IoGuard<()>>() <= 200, "{}", size_of::<IoGuard<()>>());
}

/// The extension traits of async-timeout and of futures, all imported by globs.
#[test]
fn glob_imports_do_not_clash() {
    use async_timeout::*;
    #[allow(unused_imports)]
    use futures::prelude::*;
    #[allow(unused_imports)]
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, TryFutureExt, TryStreamExt};
    use std::time::Duration;
    let future = async { 1 }.map(|number| number + 1).timeout(Duration::MAX);
    assert_eq!(futures::executor::block_on(future), Ok(2));

    let zero = Duration::ZERO;
    let stream = futures::stream::iter([Ok::<_, ()>(1), Ok(2)]).map_ok(|number| number + 1);
    let stream = stream.throttle(zero).debounce(zero).item_timeout(zero).map(|item| item.unwrap());
    let last = stream.try_collect::<Vec<_>>().timeout(Duration::from_secs(60));
    assert_eq!(futures::executor::block_on(last), Ok(Ok(vec![3])));
    // A type with methods of its own and of both.
    let ticks = interval(Duration::from_millis(1)).throttle(zero).take(2).count();
    assert_eq!(futures::executor::block_on(ticks), 2);
    let mut text = Vec::new();
    let written = futures::io::Cursor::new(&mut text).write_all(b"text").io_timeout(Duration::MAX).now_or_never();
    assert!(written.unwrap().is_ok());
}

/// Behaviour 65, 151: the types above are `Send`, and so are the futures of `async fn`s where possible, for executors
/// with several threads.
#[test]
fn futures_are_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::from_std(listener, &handle).unwrap();
    drop(send(listener.accept()));
    drop(send(TcpStream::connect("127.0.0.1:1")));
    drop(send(TcpStream::connect_with(("localhost", 1), &handle)));
    drop(send(TcpStream::connect_timeout("127.0.0.1:1", std::time::Duration::ZERO)));
    drop(send(ConnectOptions::new().connect("127.0.0.1:1")));
    drop(send(TcpListener::bind("127.0.0.1:0")));
    let (datagram, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let datagram = UnixDatagram::from_std(datagram, &handle).unwrap();
    let (stream, _) = AsyncUnixStream::pair_with(&handle).unwrap();
    let fds = [stream.as_fd()];
    let mut buffer = [0; 1];
    drop(send(AsyncUnixStream::connect("/nowhere")));
    drop(send(AsyncUnixStream::connect_with("/nowhere", &handle)));
    drop(send(datagram.send_to(b"x", "/nowhere")));
    drop(send(datagram.recv_message(&mut buffer, 1)));
    drop(send(stream.send_with_fds(b"x", &fds)));
    drop(send(stream.recv_with_fds(&mut buffer, 1)));
    let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), &handle).unwrap();
    let (mut buffer, mut incoming, mut outgoing) =
        ([0; 8], RecvBatch::new(1, 8).unwrap(), SendBatch::new(1, 8).unwrap());
    drop(send(UdpSocket::bind(("localhost", 1))));
    drop(send(socket.connect("127.0.0.1:1")));
    drop(send(socket.recv_from(&mut buffer)));
    drop(send(socket.recv_datagram(&mut buffer)));
    drop(send(socket.send_to(b"x", "127.0.0.1:1")));
    drop(send(socket.recv_batch(&mut incoming)));
    drop(send(socket.send_batch(&mut outgoing)));
    drop(send(ListenOptions::new().bind_with("127.0.0.1:0", &handle)));
    let stream = || futures::io::Cursor::new(Vec::new());
    drop(send(copy_bidirectional(stream(), stream())));
    let copy = |left: TcpStream, mut right: TcpStream| drop(send(copy_bidirectional(&left, &mut right)));
    let _: fn(TcpStream, TcpStream) = copy;
    drop(send(sleep(std::time::Duration::ZERO).timeout(std::time::Duration::ZERO)));
    let mut ticks = async_timeout::interval(std::time::Duration::MAX);
    drop(send(ticks.tick()));
}
