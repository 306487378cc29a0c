//! A forked child looks up names: it inherits the queue of its parent's lookups without the threads.
//!
//! The program has no test harness, so that the process has no threads but those of the resolver. POSIX allows little in
//! the child of a process with threads; the C library of Linux lets it allocate memory and start threads.

use async_net_lite::{Resolver, SystemResolver, TcpListener, TcpStream, resolve};
use futures::future::{BoxFuture, FutureExt, join_all};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::{TIME, fork_and_run, watchdog};

/// Looks up a name, and connects to one. Panics if that fails or takes too long.
fn look_up(resolver: &SystemResolver) {
    // The watchdog of the parent is a thread, which the child does not have.
    let _watchdog = watchdog(Duration::from_secs(10));
    async_epoll::block_on(async {
        assert!(!resolve("localhost", 80).await.unwrap().is_empty());
        assert!(!resolver.resolve("localhost", 80).await.unwrap().is_empty());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        TcpStream::connect(("localhost", listener.local_addr().unwrap().port())).await.unwrap();
    })
    .unwrap();
}

type Lookup<'a> = BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

/// Returns a lookup that has begun and is pending.
fn begin<'a>(new: impl Fn() -> Lookup<'a>) -> Lookup<'a> {
    let waker = futures::task::noop_waker();
    loop {
        // An idle thread may be done at once.
        let mut lookup = new();
        if lookup.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_pending() {
            return lookup;
        }
    }
}

/// Found 11: what the parent has done before the fork × the child looks up names, and so does its own child.
fn main() {
    let _watchdog = watchdog(TIME * 3);
    let own = SystemResolver::with_threads(2);
    let child = |what: &str| {
        let well = fork_and_run(|| {
            look_up(&own);
            assert!(fork_and_run(|| look_up(&own)), "the child of the child");
        });
        assert!(well, "{what}: the child failed");
        println!("test {what} ... ok");
    };
    child("the parent has looked up nothing");
    look_up(&own);
    child("the threads of the parent are idle");
    look_up(&own);
    // The lookup of the parent has begun, and the child polls the same future.
    let mut lookups = [begin(|| resolve("localhost", 80).boxed()), begin(|| own.resolve("localhost", 80))];
    let well = fork_and_run(|| {
        let _watchdog = watchdog(Duration::from_secs(10));
        for lookup in &mut lookups {
            assert!(!futures::executor::block_on(lookup).unwrap().is_empty());
        }
    });
    assert!(well, "a lookup of the parent was polled in the child");
    futures::executor::block_on(join_all(lookups)).into_iter().for_each(|found| assert!(!found.unwrap().is_empty()));
    println!("test a lookup of the parent goes on in both ... ok");

    // Locks of the queue are held at the time of a fork, now and then.
    let is_over = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let (is_over, own) = (Arc::clone(&is_over), own.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let lookups = (0..20).map(|_| own.resolve("127.1", 80).map(drop));
                    futures::executor::block_on(join_all(lookups));
                }
            })
        })
        .collect();
    for round in 0..100 {
        let well = fork_and_run(|| {
            let _watchdog = watchdog(Duration::from_secs(10));
            assert!(!futures::executor::block_on(own.resolve("127.1", 80)).unwrap().is_empty());
        });
        assert!(well, "round {round}: the child failed");
    }
    is_over.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    println!("test the parent is looking up names ... ok");
    // A child may drop the resolver of its parent.
    let mut own = Some(own);
    assert!(fork_and_run(|| drop(own.take())), "the child that drops a resolver failed");
    look_up(&own.take().unwrap());
    println!("test a child drops the resolver ... ok");
}
