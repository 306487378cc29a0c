//! A forked child shares its parent's epoll instance, and must not disturb it (bug A10).
//!
//! Without the test harness: a child may only be forked while the process has one thread.

use async_epoll::{LocalRuntime, Source, Timer};
use async_net_lite::{TcpListener, TcpStream};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn main() {
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, spawner) = (runtime.handle(), runtime.spawner());
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let mut source = Source::with_handle(stream, &handle).unwrap();
    let (mut client, mut server) = runtime
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (client, listener.accept().await.unwrap().0)
        })
        .unwrap();
    // Everything is registered and waited for.
    runtime
        .run_until(async {
            let (mut one, mut two) = ([0], [0]);
            let nothing = async { futures::join!(source.read(&mut one), server.read(&mut two)) };
            assert!(async_timeout::Timeout::new(nothing, Duration::from_millis(10)).await.is_err());
        })
        .unwrap();

    // The child can neither wait nor register, and drops all it has.
    let mut everything = Some((runtime, handle.clone(), spawner, source, server));
    let done = tests::fork_and_run(|| {
        let (mut runtime, handle, spawner, source, server) = everything.take().unwrap();
        let error = runtime.run_until(futures::future::pending::<()>()).unwrap_err();
        assert!(error.to_string().contains("forked child"), "{error}");
        let (stream, _peer) = UnixStream::pair().unwrap();
        let error = Source::with_handle(stream, &handle).unwrap_err();
        assert!(error.to_string().contains("forked child"), "{error}");
        drop((spawner, source, server, runtime, handle));
        // A reactor of its own works.
        async_epoll::block_on(async {
            Timer::after(Duration::from_millis(1), &async_epoll::Handle::current().unwrap()).await.unwrap();
        })
        .unwrap();
    });
    assert!(done, "the child failed");

    // The parent still receives its events.
    let (mut runtime, _handle, _spawner, mut source, mut server) = everything.take().unwrap();
    runtime
        .run_until(async {
            peer.write_all(b"x").unwrap();
            client.write_all(b"y").await.unwrap();
            let (mut one, mut two) = ([0], [0]);
            let read = async { futures::join!(source.read(&mut one), server.read(&mut two)) };
            let (first, second) = async_timeout::Timeout::new(read, Duration::from_secs(10)).await.expect("silenced");
            assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
            assert_eq!((&one, &two), (b"x", b"y"));
        })
        .unwrap();
    println!("test a_forked_child_does_not_disturb_its_parent ... ok");
}
