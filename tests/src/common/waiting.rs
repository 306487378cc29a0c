//! Checks that waiting for a descriptor uses no CPU, and ends with the event.
//!
//! [`waits`] is the shape of most tests of a descriptor:
//!
//! 1. the operation is polled: it must be pending;
//! 2. the thread is [`idle`]: the reactor reports no event, and the thread uses no CPU time;
//! 3. another thread causes the event;
//! 4. the operation ends, after at most one poll per event.

use crate::{thread_cpu, yield_now};
use async_epoll::{Handle, Interest, Source};
use async_timeout::{Timeout, sleep};
use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;

/// The longest time until a wake; after it, the wake counts as lost.
const LOST: Duration = Duration::from_secs(20);
/// How long [`idle`] watches.
const IDLE: Duration = Duration::from_millis(20);

/// Checks for 20 milliseconds: the reactor reports no event, and the thread sleeps.
pub async fn idle() {
    let handle = Handle::current().expect("a reactor");
    // Events caused by a registration or by the last operation are dispatched first, and do not count.
    for _ in 0..3 {
        yield_now().await;
    }
    let (before, cpu) = (handle.stats(), thread_cpu());
    sleep(IDLE).await;
    let after = handle.stats();
    assert_eq!(after.events, before.events, "an event without a cause");
    assert!(after.sleeps - before.sleeps <= 2, "{before:?} {after:?}");
    assert!(thread_cpu() - cpu < IDLE / 2, "the CPU is busy with nothing");
}

/// Checks that `operation` is pending, and that waiting for it uses no CPU. Then calls `cause` on another thread, which
/// must end the wait. Returns the output of `operation`.
pub async fn waits<T>(operation: impl Future<Output = T>, cause: impl FnOnce() + Send + 'static) -> T {
    let handle = Handle::current().expect("a reactor");
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
        // After this pause the reactor sleeps, as a rule. If not, the test is easier than intended, but not wrong.
        std::thread::sleep(Duration::from_millis(5));
        cause();
    });
    let output = Timeout::new(counted, LOST).await.expect("the wake was lost");
    thread.join().expect("the cause has happened");
    let events = handle.stats().events - events;
    assert!(polls.get() <= 1 + events, "{} polls for {events} events", polls.get());
    output
}

/// Writes until there is no room for a single byte. Returns the number of bytes written.
pub async fn fill(writer: &Source<File>) -> usize {
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
        // TCP and terminals move data from one buffer to the next after the call has returned.
        sleep(Duration::from_millis(60)).await;
    }
}
