//! Deadline scopes: which futures are inside, which are not, and what is dropped when the deadline passes.

#![allow(clippy::async_yields_async, reason = "futures that are taken out of a scope are what is tested")]

use async_epoll::{LocalRuntime, Timer};
use async_net_lite::TcpStream;
use async_timeout::{Elapsed, Timeout, TimeoutExt, deadline, sleep, sleep_until, with_deadline};
use futures::channel::oneshot;
use futures::future::{FusedFuture, FutureExt, join_all, pending, poll_fn, ready};
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tests::common::everywhere;
use tests::{HOUR, TIME, full_listener, in_child, open_fds, watchdog};

const SHORT: Duration = Duration::from_millis(10);

fn soon() -> Instant {
    Instant::now() + SHORT
}

/// Awaits `future` in a scope that ends soon, and checks that the scope cuts it off at the right time.
async fn is_cut<T: std::fmt::Debug>(future: impl Future<Output = T>) {
    let end = soon();
    with_deadline(future, end).await.unwrap_err();
    assert!(Instant::now() >= end, "early");
    assert!(Instant::now() < end + TIME / 4, "late");
    assert_eq!(deadline::current(), None);
}

#[test]
fn whatever_it_waits_for() {
    everywhere(async || {
        is_cut(pending::<()>()).await;
        is_cut(sleep(HOUR)).await;
        is_cut(sleep(Duration::MAX)).await;
        is_cut(sleep_until(Instant::now() + HOUR)).await;
        is_cut(Timeout::new(pending::<()>(), HOUR)).await;
        is_cut(pending::<std::io::Result<()>>().io_timeout(HOUR)).await;
        is_cut(oneshot::channel::<()>().1.then(|_| pending::<()>())).await;
        is_cut(join_all((0..10).map(|_| sleep(HOUR)))).await;
        // A `FuturesUnordered` polls its children with wakers of its own.
        is_cut((0..10).map(|_| sleep(HOUR)).collect::<FuturesUnordered<_>>().collect::<Vec<_>>()).await;
        // A future that always wakes itself.
        is_cut(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }))
        .await;
    });
}

/// A loop that retries after each timeout ends with its scope. It does not spin when the deadline has passed.
#[test]
fn a_loop_of_attempts_ends() {
    everywhere(async || {
        let attempts = Cell::new(0);
        is_cut(async {
            loop {
                attempts.set(attempts.get() + 1);
                if pending::<()>().timeout(Duration::from_millis(1)).await.is_ok() {
                    break;
                }
            }
        })
        .await;
        assert!((2..=20).contains(&attempts.get()), "{}", attempts.get());
    });
}

/// A future that is ready is never cut off, even after the deadline; a timeout inside the scope ends for its own
/// reason.
#[test]
fn what_is_in_time_is_not_touched() {
    everywhere(async || {
        assert_eq!(with_deadline(ready(1), Instant::now()).await, Ok(1));
        let own = pending::<()>().timeout(SHORT);
        assert_eq!(with_deadline(own, Instant::now() + HOUR).await.map(|inner| inner.is_err()), Ok(true));
        assert_eq!(with_deadline(sleep(SHORT), Instant::now() + HOUR).await, Ok(()));
    });
}

#[test]
fn the_nearest_wins() {
    everywhere(async || {
        let (near, far) = (Instant::now() + HOUR, Instant::now() + 2 * HOUR);
        assert_eq!(deadline::current(), None);
        assert_eq!(deadline::remaining(), None);
        with_deadline(
            async {
                assert_eq!(deadline::current(), Some(far));
                with_deadline(
                    async {
                        assert_eq!(deadline::current(), Some(near));
                        let inner = with_deadline(async { deadline::current() }, far);
                        assert_eq!(inner.deadline(), Some(far));
                        assert_eq!(inner.await, Ok(Some(near)));
                        assert!(deadline::remaining().unwrap() <= HOUR);
                    },
                    near,
                )
                .await
                .unwrap();
                assert_eq!(deadline::current(), Some(far), "put back");
            },
            far,
        )
        .await
        .unwrap();
        // The outer scope is the nearer one, then the inner one.
        is_cut(with_deadline(pending::<()>(), far)).await;
        let inner = with_deadline(pending::<()>(), soon());
        assert_eq!(with_deadline(inner, far).await.map(|inner| inner.is_err()), Ok(true));
        let past = with_deadline(async { deadline::remaining() }, Instant::now()).await;
        assert_eq!(past, Ok(Some(Duration::ZERO)));
    });
}

/// A timer inside the scope reports a deadline no later than the scope's.
#[test]
fn deadlines_are_clipped() {
    everywhere(async || {
        let end = Instant::now() + HOUR;
        with_deadline(
            async {
                let (mut long, mut timeout) = (sleep(2 * HOUR), Timeout::new(pending::<()>(), 2 * HOUR));
                assert!(futures::poll!(&mut long).is_pending() && futures::poll!(&mut timeout).is_pending());
                assert_eq!((long.deadline(), timeout.deadline()), (Some(end), Some(end)));
                let mut short = sleep(HOUR / 2);
                assert!(futures::poll!(&mut short).is_pending());
                assert!(short.deadline().unwrap() < end);
                // `reset` to an earlier time works as it does outside a scope.
                long.reset(soon());
                long.await;
            },
            end,
        )
        .await
        .unwrap();
        // Taken out of the scope, the timer has its own deadline again.
        let taken = with_deadline(
            async {
                let mut timer = sleep(5 * SHORT);
                assert!(futures::poll!(&mut timer).is_pending());
                timer
            },
            soon(),
        );
        let begin = Instant::now();
        taken.await.unwrap().await;
        assert!(begin.elapsed() >= 5 * SHORT);
    });
}

/// The scope is current only while its future is polled. It is left when the poll ends, also by a panic, and other
/// futures do not see it.
#[test]
fn only_while_it_is_polled() {
    everywhere(async || {
        let end = Instant::now() + HOUR;
        let mut scope = Box::pin(with_deadline(
            async {
                tests::yield_now().await;
                assert_eq!(deadline::current(), Some(end));
                panic!("on purpose");
            },
            end,
        ));
        assert!(futures::poll!(&mut scope).is_pending());
        assert_eq!(deadline::current(), None);
        let poll = || scope.poll_unpin(&mut Context::from_waker(Waker::noop()));
        assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
        assert_eq!(deadline::current(), None);
    });
}

#[test]
fn spawned_tasks_do_not_inherit_unless_asked() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let end = Instant::now() + HOUR;
    let seen = runtime.run_until(with_deadline(
        async {
            let alone = spawner.spawn_local_with_handle(async { deadline::current() }).unwrap();
            let asked = spawner.spawn_local_with_handle(deadline::inherit(async { deadline::current() })).unwrap();
            // The scope awaits the handles; the tasks themselves are polled outside of it.
            (alone.await, asked.await)
        },
        end,
    ));
    assert_eq!(seen.unwrap(), Ok((None, Ok(Some(end)))));

    // The task lives longer than the scope, and still has the scope's deadline.
    let end = soon();
    let child =
        with_deadline(async { spawner.spawn_local_with_handle(deadline::inherit(pending::<()>())).unwrap() }, end);
    let child = runtime.run_until(child).unwrap().unwrap();
    runtime.run_until(child).unwrap().unwrap_err();
    assert!(Instant::now() >= end);

    // Outside a scope there is no deadline to inherit, hence no limit.
    let unlimited = deadline::inherit(sleep(SHORT));
    assert_eq!(unlimited.deadline(), None);
    assert_eq!(runtime.run_until(unlimited).unwrap(), Ok(()));
}

/// The future is dropped as soon as the deadline passes or the future is ready, not when the scope is dropped.
#[test]
fn dropped_at_once() {
    struct Canary(Rc<Cell<bool>>);
    impl Drop for Canary {
        fn drop(&mut self) {
            assert_eq!(deadline::current(), None, "dropped outside the scope");
            self.0.set(true);
        }
    }
    everywhere(async || {
        for wait in [SHORT / 10, HOUR] {
            let dropped = Rc::new(Cell::new(false));
            let canary = Canary(Rc::clone(&dropped));
            let mut timer = sleep(wait);
            // The value captured by the closure is dropped with the future.
            let future = poll_fn(move |cx| {
                let _canary = &canary;
                timer.poll_unpin(cx)
            });
            let mut scope = with_deadline(future, soon());
            assert!(!scope.is_terminated());
            let result = (&mut scope).await;
            assert!(dropped.get(), "{result:?}, and the scope is still there");
            assert!(scope.is_terminated());
            // A second poll returns the same error, or is pending for ever if the future was ready.
            assert_eq!(futures::poll!(&mut scope).is_ready(), result.is_err());
        }
    });
}

/// Behaviour 146: a connect that is cut off leaves no descriptor, no registration and no timer.
#[test]
fn a_connect_inside_is_dropped() {
    // Descriptors are counted for the whole process.
    if !in_child("a_connect_inside_is_dropped") {
        return;
    }
    let _watchdog = watchdog(TIME);
    let listener = full_listener();
    let mut runtime = LocalRuntime::new().unwrap();
    let (handle, before) = (runtime.handle(), open_fds());
    runtime
        .run_until(async {
            for _ in 0..20 {
                is_cut(TcpStream::connect(listener.address)).await;
                is_cut(async { Timer::after(HOUR, &async_epoll::Handle::current().unwrap()).await.unwrap() }).await;
                // A name that another thread is looking up.
                let end = Instant::now();
                let result: Result<_, Elapsed> = with_deadline(TcpStream::connect("localhost:1"), end).await;
                // The lookup may end before the deadline is checked, but the connection cannot be established.
                assert!(!matches!(result, Ok(Ok(_))));
            }
        })
        .unwrap();
    assert_eq!((handle.stats().sources, handle.stats().timers), (0, 0));
    // The thread that looks up names may still have files open. The watchdog ends the test if the thread never
    // finishes.
    while open_fds() != before {
        std::thread::sleep(Duration::from_millis(1));
    }
}
