//! Which types may cross threads, and how large they are. Checked by the compiler; running it proves nothing more.

use async_epoll::{
    Builder, Enter, Handle, Interest, LocalRuntime, Reactor, Readiness, Source, SourceError, Spawner, Stats, Timer,
};
use async_net_lite::{CopyError, Incoming, TcpListener, TcpStream, copy_bidirectional};
use async_timeout::{Elapsed, IoTimeout, Sleep, Timeout, TimeoutExt, sleep};
use futures::task::{LocalSpawn, Spawn};
use futures::{AsyncRead, AsyncWrite, Stream};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Ready;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

// Handles go anywhere, runners stay.
assert_impl_all!(Handle: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Reactor: Unpin, Debug);
assert_not_impl_any!(Reactor: Send, Sync, Clone);
assert_not_impl_any!(LocalRuntime: Send, Sync, Clone);
assert_impl_all!(Spawner: Clone, Debug, Spawn, LocalSpawn);
assert_not_impl_any!(Spawner: Send, Sync);
assert_not_impl_any!(Enter: Send, Sync, Clone);
assert_impl_all!(Builder: Debug);
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
assert_impl_all!(TcpListener: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe, AsFd, AsRawFd);
assert_impl_all!(TcpListener: TryFrom<std::net::TcpListener>, TryFrom<OwnedFd>, TryInto<OwnedFd>);
assert_impl_all!(CopyError: Error, Send, Sync, Unpin, Debug, Display, Into<std::io::Error>);
assert_impl_all!(Incoming: Stream, futures::stream::FusedStream, Send, Sync, Unpin, Debug);

assert_impl_all!(Elapsed: Copy, Eq, Send, Sync, Debug, Display, Error, Into<std::io::Error>);
assert_impl_all!(Sleep: Send, Sync, Unpin, Debug);
assert_impl_all!(Timeout<Ready<()>>: Send, Sync, Unpin, Debug);
assert_impl_all!(IoTimeout<Ready<()>>: Send, Sync, Unpin, Debug);
assert_not_impl_any!(Timeout<Ready<Rc<()>>>: Send, Sync);

#[test]
fn sizes() {
    assert_eq!(size_of::<Handle>(), 8);
    assert_eq!(size_of::<TcpStream>(), 8);
    assert_eq!(size_of::<TcpListener>(), 16);
    assert_eq!(size_of::<Interest>(), 1);
    assert_eq!(size_of::<Readiness>(), 1);
    assert!(size_of::<Source<UnixStream>>() <= 24, "{}", size_of::<Source<UnixStream>>());
    assert!(size_of::<Timer>() <= 24, "{}", size_of::<Timer>());
    assert!(size_of::<Sleep>() <= 24, "{}", size_of::<Sleep>());
    // The promise is 40.
    assert!(size_of::<Timeout<u64>>() - size_of::<u64>() <= 24, "{}", size_of::<Timeout<u64>>());
    assert_eq!(size_of::<Elapsed>(), 0);
}

/// Our extension trait beside those of futures, all imported whole.
#[test]
fn glob_imports_do_not_clash() {
    #[allow(unused_imports)]
    use async_timeout::*;
    #[allow(unused_imports)]
    use futures::prelude::*;
    let future = async { 1 }.map(|number| number + 1).timeout(std::time::Duration::MAX);
    assert_eq!(futures::executor::block_on(future), Ok(2));
}

/// Behaviour 151: the futures of `async fn`s are `Send` where they can be, for executors with several threads.
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
    drop(send(TcpListener::bind("127.0.0.1:0")));
    let stream = || futures::io::Cursor::new(Vec::new());
    drop(send(copy_bidirectional(stream(), stream())));
    let copy = |left: TcpStream, mut right: TcpStream| drop(send(copy_bidirectional(&left, &mut right)));
    let _: fn(TcpStream, TcpStream) = copy;
    drop(send(sleep(std::time::Duration::ZERO).timeout(std::time::Duration::ZERO)));
}
