//! Signals that interrupt system calls.

use async_epoll::{Handle, LocalRuntime, Reactor, Timer};
use async_net_lite::{TcpListener, TcpStream};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use std::time::{Duration, Instant};
use tests::{TIME, interrupt_this_thread, watchdog};

/// Bug E7, C20, G5, I1; behaviour 182: a signal every millisecond neither ends a wait, nor makes a timer early or
/// late, nor shows up as an error of a socket.
#[test]
fn a_storm_of_signals_changes_nothing() {
    let _watchdog = watchdog(TIME);
    let storm = interrupt_this_thread(Duration::from_millis(1));

    let mut reactor = Reactor::new().unwrap();
    let begin = Instant::now();
    assert_eq!(reactor.wait(Some(Duration::from_millis(100))).unwrap(), 0);
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_millis(100) && elapsed < Duration::from_millis(200), "{elapsed:?}");
    assert_eq!(reactor.handle().stats().turns, 1);

    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    runtime
        .run_until(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            spawner
                .spawn_local(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        futures::io::copy(&stream, &mut &stream).await.unwrap();
                    }
                })
                .unwrap();
            let handle = Handle::current().unwrap();
            for _ in 0..20 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for _ in 0..20 {
                    let mut buffer = [0; 64];
                    stream.write_all(&buffer).await.unwrap();
                    stream.read_exact(&mut buffer).await.unwrap();
                }
                let deadline = Instant::now() + Duration::from_millis(5);
                Timer::at(deadline, &handle).await.unwrap();
                assert!(Instant::now() >= deadline);
            }
        })
        .unwrap();
    assert!(storm.received() > 50, "there was no storm");
}
