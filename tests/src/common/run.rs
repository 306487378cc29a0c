//! The places where the futures of a test run. Each has a watchdog.

use crate::{TIME, watchdog};
use async_epoll::{LocalRuntime, Reactor, Spawner};
use futures::executor::LocalPool;

/// Runs `future` on a new reactor, under a [`watchdog`] of [`TIME`], and returns its output.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _watchdog = watchdog(TIME);
    async_epoll::block_on(future).expect("a reactor that works")
}

/// Runs `test` once in each place where timers and limits work: in the `block_on` of futures-rs and in a plain
/// `LocalPool`, where a helper thread drives the timers, and on a reactor. Checks that the reactor has no timer left.
pub fn everywhere(test: impl AsyncFn()) {
    let _watchdog = watchdog(TIME);
    futures::executor::block_on(test());
    LocalPool::new().run_until(test());
    let mut runtime = LocalRuntime::new().expect("a reactor");
    runtime.run_until(test()).expect("a reactor that works");
    assert_eq!(runtime.handle().stats().timers, 0, "left armed");
}

/// Returns a pool and a reactor, and a spawner that connects them.
pub fn pool_and_reactor() -> (LocalPool, Reactor, Spawner) {
    let (pool, reactor) = (LocalPool::new(), Reactor::new().expect("a reactor"));
    let spawner = reactor.spawner(&pool);
    (pool, reactor, spawner)
}
