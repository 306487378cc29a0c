//! What a test of a descriptor has in common with the others: it waits, sees that waiting costs nothing, and is woken.

use async_epoll::{Handle, Interest, Source};
use async_timeout::{Timeout, sleep};
use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;
use tests::{Watchdog, thread_cpu, watchdog};

/// A wake that has not come after so long never will.
const LOST: Duration = Duration::from_secs(20);
/// How long nothing happens before something does.
const IDLE: Duration = Duration::from_millis(20);

/// Runs a test on a reactor of its own, watched.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _watchdog: Watchdog = watchdog(Duration::from_secs(60));
    async_epoll::block_on(future).unwrap()
}

/// Nothing happens for a while: the reactor hears of no event, and the thread sleeps.
pub(crate) async fn idle() {
    let handle = Handle::current().unwrap();
    // What registering has brought about, and what the last operation has, is no event without a cause.
    for _ in 0..3 {
        tests::yield_now().await;
    }
    let (before, cpu) = (handle.stats(), thread_cpu());
    sleep(IDLE).await;
    let after = handle.stats();
    assert_eq!(after.events, before.events, "an event without a cause");
    assert!(after.sleeps - before.sleeps <= 2, "{before:?} {after:?}");
    assert!(thread_cpu() - cpu < IDLE / 2, "the CPU is busy with nothing");
}

/// `operation` has to wait, which costs nothing; then another thread lets `cause` happen, which ends the wait.
pub(crate) async fn waits<T>(operation: impl Future<Output = T>, cause: impl FnOnce() + Send + 'static) -> T {
    let handle = Handle::current().unwrap();
    let mut operation = pin!(operation);
    assert!(futures::poll!(&mut operation).is_pending(), "ready before anything has happened");
    idle().await;

    let polls = Cell::new(0);
    let counted = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        operation.as_mut().poll(cx)
    });
    let events = handle.stats().events;
    let thread = std::thread::spawn(move || {
        // By then the reactor sleeps, as a rule. If not, the test is easier than it is meant to be, not wrong.
        std::thread::sleep(Duration::from_millis(5));
        cause();
    });
    let output = Timeout::new(counted, LOST).await.expect("the wake was lost");
    thread.join().unwrap();
    let events = handle.stats().events - events;
    assert!(polls.get() <= 1 + events, "{} polls for {events} events", polls.get());
    output
}

/// Writes until nothing more goes in, not a single byte. Returns how much did.
pub(crate) async fn fill(writer: &Source<File>) -> usize {
    let mut total = 0;
    loop {
        let before = total;
        for size in [65536, 1] {
            let error = loop {
                match writer.try_io(Interest::WRITABLE, |mut file| file.write(&vec![7; size])) {
                    Ok(written) => total += written,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        if total == before {
            return total;
        }
        // TCP and terminals move data along after the call has returned.
        sleep(Duration::from_millis(60)).await;
    }
}
