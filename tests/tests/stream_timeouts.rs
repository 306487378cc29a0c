//! Streams with a time limit, throttled, and debounced, on the real clock: in a plain `block_on` and on a reactor.

use async_epoll::{Handle, LocalRuntime};
use async_timeout::{StreamTimeoutExt, TimeoutExt, sleep};
use futures::channel::mpsc;
use futures::future::FutureExt;
use futures::stream::{self, FusedStream, Stream, StreamExt};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::everywhere;
use tests::{CountingWaker, TIME, watchdog, yield_now};

const SHORT: Duration = Duration::from_millis(10);

/// Checks that the current reactor, if there is one, has this many timers.
fn assert_timers(number: usize) {
    if let Ok(handle) = Handle::current() {
        assert_eq!(handle.stats().timers, number);
    }
}

/// Returns a stream that is always pending and always wakes its task.
fn self_waking<T>() -> impl Stream<Item = T> + Unpin {
    stream::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<Option<T>>::Pending
    })
}

/// Returns a stream that always has an item. Counts its polls.
fn endless(polls: &Cell<u32>) -> impl Stream<Item = u32> + Unpin {
    stream::poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Ready(Some(polls.get()))
    })
}

#[test]
fn item_timeout_outcomes() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.item_timeout(SHORT);
        sender.unbounded_send(1).unwrap();
        assert_eq!(items.next().await, Some(Ok(1)));
        // Each late item is an error of its own, after its own time.
        for _ in 0..3 {
            let begin = Instant::now();
            assert!(items.next().await.unwrap().is_err());
            assert!(begin.elapsed() >= SHORT, "early");
        }
        // The stream continues.
        sender.unbounded_send(2).unwrap();
        sender.unbounded_send(3).unwrap();
        assert_eq!(items.next().await, Some(Ok(2)));
        assert_eq!(items.next().await, Some(Ok(3)));
        assert!(items.next().now_or_never().is_none());
        assert_timers(1);
        assert!(!items.is_terminated());
        drop(sender);
        assert_eq!(items.next().await, None);
        assert_timers(0);
        assert!(items.is_terminated());
        assert_eq!(items.next().now_or_never(), Some(None), "it stays so");

        // An item that arrives in time after a wait.
        let mut items = sleep(SHORT).into_stream().item_timeout(TIME);
        assert_eq!(items.next().await, Some(Ok(())));
        assert_eq!(items.next().await, None);
    });
}

/// A slow consumer does not use up the limit, neither before the first item nor between items.
#[test]
fn item_timeout_of_a_slow_consumer() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.item_timeout(SHORT);
        for number in 0..2 {
            std::thread::sleep(2 * SHORT);
            let begin = Instant::now();
            assert!(items.next().await.unwrap().is_err());
            assert!(begin.elapsed() >= SHORT, "the time of the consumer was counted");
            // The item is late, but ready when it is polled.
            assert!(items.next().now_or_never().is_none());
            std::thread::sleep(2 * SHORT);
            sender.unbounded_send(number).unwrap();
            assert_eq!(items.next().await, Some(Ok(number)), "the stream is polled first");
        }
    });
}

/// Dropping `next` loses no item, and does not restart the limit.
#[test]
fn item_timeout_is_cancel_safe() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.item_timeout(SHORT);
        assert!(items.next().now_or_never().is_none());
        sender.unbounded_send(1).unwrap();
        drop(items.next());
        assert_eq!(items.next().await, Some(Ok(1)));

        let begin = Instant::now();
        let mut polls = 0;
        let error = loop {
            polls += 1;
            if let Some(item) = items.next().now_or_never() {
                break item.unwrap();
            }
            sleep(SHORT / 5).await;
            assert!(polls < 5_000, "each call begins anew");
        };
        assert!(error.is_err() && begin.elapsed() >= SHORT);
    });
}

/// Bug E16: a stream that wakes itself for ever does not defeat its timeout.
#[test]
fn item_timeout_of_a_self_waking_stream() {
    everywhere(async || {
        let mut items = self_waking::<()>().item_timeout(SHORT);
        assert!(items.next().await.unwrap().is_err());
        assert!(items.next().await.unwrap().is_err());
    });
}

/// Bug E1: extreme durations neither panic nor fire.
#[test]
fn item_timeout_extremes() {
    everywhere(async || {
        let mut items = self_waking::<()>().item_timeout(Duration::ZERO);
        for _ in 0..3 {
            assert!(items.next().now_or_never().unwrap().unwrap().is_err(), "at the first poll");
        }
        let ready: Vec<_> = stream::iter([1, 2]).item_timeout(Duration::ZERO).collect().await;
        assert_eq!(ready, [Ok(1), Ok(2)]);

        for long in [Duration::MAX, Duration::MAX - Duration::from_nanos(1)] {
            let (sender, receiver) = mpsc::unbounded();
            let mut items = receiver.item_timeout(long);
            assert!(items.next().timeout(SHORT).await.is_err());
            sender.unbounded_send(1).unwrap();
            assert_eq!(items.next().await, Some(Ok(1)));
        }
    });
}

/// The rest of the contract: errors as items, `size_hint`, the inner stream.
#[test]
fn item_timeout_as_a_stream() {
    everywhere(async || {
        let results: Vec<_> = stream::iter([Ok(1), Err("bad")]).item_timeout(SHORT).collect().await;
        assert_eq!(results, [Ok(Ok(1)), Ok(Err("bad"))]);

        let mut items = stream::iter([1, 2, 3]).item_timeout(SHORT);
        assert_eq!(items.size_hint(), (3, None), "errors may come between them");
        assert_eq!(items.next().await, Some(Ok(1)));
        assert_eq!((items.size_hint(), items.get_ref().size_hint()), ((2, None), (2, Some(2))));
        assert_eq!(items.get_mut().next().await, Some(2));
        assert_eq!(Pin::new(&mut items).get_pin_mut().size_hint(), (1, Some(1)));
        assert!(format!("{items:?}").contains("10ms"));
        assert_eq!(items.into_inner().collect::<Vec<_>>().await, [3]);

        let mut items = stream::empty::<()>().item_timeout(SHORT);
        assert_eq!(items.next().await, None);
        assert_eq!(items.size_hint(), (0, Some(0)));
    });
}

#[test]
fn throttle_outcomes() {
    everywhere(async || {
        let mut items = stream::iter(0..5).throttle(SHORT);
        let mut last = None;
        for number in 0..5 {
            assert_eq!(items.next().await, Some(number));
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                // The throttle measures between the moments at which `next` returns; here a little less is seen.
                assert!(now - last >= SHORT - Duration::from_millis(1), "{:?}", now - last);
            }
        }
        let before_the_end = last.unwrap();
        assert!(!items.is_terminated());
        assert_eq!(items.next().await, None);
        assert!(before_the_end.elapsed() >= SHORT - Duration::from_millis(1), "the end is found by a poll like others");
        assert!(items.is_terminated());
        assert_timers(0);
        assert_eq!(items.next().now_or_never(), Some(None), "it stays so");
        assert_eq!(stream::empty::<()>().throttle(TIME).next().now_or_never(), Some(None), "no item, no time");
    });
}

/// The first item comes at once, and so does each item that is requested late.
#[test]
fn throttle_of_a_slow_consumer() {
    everywhere(async || {
        let mut items = stream::iter(0..3).throttle(SHORT);
        for number in 0..3 {
            assert_eq!(items.next().now_or_never(), Some(Some(number)));
            std::thread::sleep(SHORT);
        }
    });
}

/// Until the time is over, the inner stream is not polled, however often the throttle is. So its senders have to wait.
#[test]
fn throttle_holds_the_stream_back() {
    everywhere(async || {
        let polls = Cell::new(0);
        let mut items = endless(&polls).throttle(TIME);
        assert_eq!(items.next().await, Some(1));
        for _ in 0..10 {
            assert!(items.next().now_or_never().is_none());
        }
        assert_eq!(polls.get(), 1);

        let (mut sender, receiver) = mpsc::channel(0);
        let mut items = receiver.throttle(TIME);
        sender.try_send(1).unwrap();
        assert_eq!(items.next().await, Some(1));
        sender.try_send(2).unwrap();
        assert!(items.next().now_or_never().is_none());
        assert!(sender.try_send(3).unwrap_err().is_full(), "an item was taken out and kept");
        // The remaining item is not lost.
        assert_eq!(items.into_inner().next().await, Some(2));
    });
}

/// Dropping `next` loses no item, and does not restart the time.
#[test]
fn throttle_is_cancel_safe() {
    everywhere(async || {
        let mut items = stream::iter(0..).throttle(SHORT);
        let begin = Instant::now();
        for number in 0..4 {
            let mut polls = 0;
            while items.next().now_or_never().map(|item| assert_eq!(item, Some(number))).is_none() {
                polls += 1;
                sleep(SHORT / 5).await;
                assert!(polls < 5_000, "each call begins anew");
            }
        }
        assert!(begin.elapsed() >= 3 * SHORT);
    });
}

/// Bug E1: extreme durations neither panic nor fire.
#[test]
fn throttle_extremes() {
    everywhere(async || {
        // At once, except that the task yields to others.
        let all = stream::iter(0..1_000).throttle(Duration::ZERO).count().timeout(TIME);
        assert_eq!(all.await, Ok(1_000));
        for long in [Duration::MAX, Duration::MAX - Duration::from_nanos(1)] {
            let mut items = stream::iter(0..2).throttle(long);
            assert_eq!(items.next().now_or_never(), Some(Some(0)), "the first");
            assert!(items.next().timeout(SHORT).await.is_err(), "the second");
        }
        let mut items = self_waking::<()>().throttle(SHORT);
        assert!(items.next().timeout(SHORT).await.is_err());
    });
}

/// The rest of the contract: errors as items, `size_hint`, the inner stream.
#[test]
fn throttle_as_a_stream() {
    everywhere(async || {
        let results: Vec<_> = stream::iter([Err("bad"), Ok(1)]).throttle(SHORT).collect().await;
        assert_eq!(results, [Err("bad"), Ok(1)]);

        let mut items = stream::iter([1, 2, 3]).throttle(SHORT);
        assert_eq!(items.size_hint(), (3, Some(3)));
        assert_eq!(items.next().await, Some(1));
        assert_eq!((items.size_hint(), items.get_ref().size_hint()), ((2, Some(2)), (2, Some(2))));
        assert_eq!(items.get_mut().next().await, Some(2));
        assert_eq!(Pin::new(&mut items).get_pin_mut().size_hint(), (1, Some(1)));
        assert!(format!("{items:?}").contains("10ms"));
        assert_eq!(items.into_inner().collect::<Vec<_>>().await, [3]);
    });
}

#[test]
fn debounce_outcomes() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.debounce(SHORT);
        for burst in [1..4, 4..5] {
            let last = burst.end - 1;
            let begin = Instant::now();
            burst.for_each(|number| sender.unbounded_send(number).unwrap());
            assert_eq!(items.next().await, Some(last));
            assert!(begin.elapsed() >= SHORT, "early");
        }
        // No item is held, so no time runs.
        assert!(items.next().timeout(3 * SHORT).await.is_err());
        assert_timers(0);

        // The end of the stream is reported at once.
        let mut items = items.into_inner().debounce(TIME);
        sender.unbounded_send(5).unwrap();
        sender.unbounded_send(6).unwrap();
        assert!(items.next().now_or_never().is_none());
        assert_timers(1);
        assert!(!items.is_terminated());
        drop(sender);
        assert_eq!(items.next().now_or_never(), Some(Some(6)));
        assert_timers(0);
        assert_eq!(items.next().now_or_never(), Some(None));
        assert!(items.is_terminated());
        assert_eq!(items.next().now_or_never(), Some(None), "it stays so");

        let mut items = stream::iter([7, 8]).debounce(TIME);
        assert_eq!((items.next().await, items.next().await), (Some(8), None));
        assert_eq!(stream::empty::<()>().debounce(TIME).next().await, None);
    });
}

/// The end of the stream wakes the consumer, which gets the last item before its time.
#[test]
fn debounce_passes_the_end_on() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        sender.unbounded_send(1).unwrap();
        let mut items = receiver.debounce(TIME);
        let end = async {
            // This future is polled second, so the item is already held.
            yield_now().await;
            drop(sender);
        };
        let begin = Instant::now();
        let (last, ()) = futures::join!(items.next(), end);
        assert_eq!(last, Some(1));
        assert!(begin.elapsed() < TIME / 2);
    });
}

/// A newer item restarts the time.
#[test]
fn debounce_begins_anew() {
    everywhere(async || {
        let quiet = 5 * SHORT;
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.debounce(quiet);
        let mut sent = Instant::now();
        sender.unbounded_send(0).unwrap();
        let mut number = 0;
        while number < 4 {
            match items.next().timeout(quiet / 3).await {
                Ok(item) => {
                    // The machine was too busy to poll in time.
                    assert_eq!(item, Some(number));
                    assert!(sent.elapsed() >= quiet, "early");
                }
                Err(_) => {
                    number += 1;
                    sent = Instant::now();
                    sender.unbounded_send(number).unwrap();
                }
            }
        }
        assert_eq!(items.next().await, Some(4));
        assert!(sent.elapsed() >= quiet, "the time of an older item counted");
    });
}

/// When the time is over, the held item is returned, even if a newer item is there: a busy thread does not hold all
/// items back.
#[test]
fn debounce_looks_at_the_time_first() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.debounce(5 * SHORT);
        for number in 0..4_u32 {
            sender.unbounded_send(number).unwrap();
            let before = number.checked_sub(1).map(Some);
            assert_eq!(items.next().now_or_never(), before);
            if before.is_some() {
                assert!(items.next().now_or_never().is_none(), "the newer one is held now");
            }
            // The thread is busy. Timers on other threads, such as futures-timer's, are not delayed.
            std::thread::sleep(6 * SHORT);
            sleep(SHORT).await;
        }
    });
}

/// A stream that always has an item: each poll takes some items, wakes the task again, and yields to others.
#[test]
fn debounce_of_an_endless_stream() {
    let _watchdog = watchdog(TIME);
    let polls = Cell::new(0);
    let mut items = endless(&polls).debounce(TIME);
    let (counter, waker) = CountingWaker::new();
    for number in 1..=3 {
        assert!(items.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(counter.count(), number, "it is to be polled again");
        assert!(polls.get() <= 1_000, "{}", polls.get());
    }
    everywhere(async || {
        let polls = Cell::new(0);
        assert!(endless(&polls).debounce(TIME).next().timeout(SHORT).await.is_err(), "never quiet");
        // Whatever ends the stream, the last item is returned.
        let mut items = endless(&polls).take(10_000).debounce(TIME);
        let last = polls.get() + 10_000;
        assert_eq!((items.next().await, items.next().await), (Some(last), None));
    });
}

/// A stream without items that wakes itself for ever does not keep the timer from being checked.
#[test]
fn debounce_of_a_self_waking_stream() {
    everywhere(async || {
        let mut items = stream::iter([1, 2]).chain(self_waking()).debounce(SHORT);
        let begin = Instant::now();
        assert_eq!(items.next().await, Some(2));
        assert!(begin.elapsed() >= SHORT, "early");
        assert!(items.next().timeout(SHORT).await.is_err());
    });
}

/// Dropping `next` loses no item, and does not restart the time.
#[test]
fn debounce_is_cancel_safe() {
    everywhere(async || {
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.debounce(SHORT);
        sender.unbounded_send(1).unwrap();
        let begin = Instant::now();
        let mut polls = 0;
        while items.next().now_or_never().map(|item| assert_eq!(item, Some(1))).is_none() {
            polls += 1;
            sleep(SHORT / 5).await;
            assert!(polls < 5_000, "each call begins anew");
        }
        assert!(begin.elapsed() >= SHORT);
    });
}

/// Bug E1: extreme durations neither panic nor fire.
#[test]
fn debounce_extremes() {
    everywhere(async || {
        for long in [Duration::MAX, Duration::MAX - Duration::from_nanos(1)] {
            let (sender, receiver) = mpsc::unbounded();
            let mut items = receiver.debounce(long);
            for number in 0..2 {
                sender.unbounded_send(number).unwrap();
                assert!(items.next().timeout(SHORT).await.is_err());
            }
            drop(sender);
            assert_eq!((items.next().await, items.next().await), (Some(1), None));
        }
        // With no time, each item that is ready at once is passed on, and nothing waits.
        let (sender, receiver) = mpsc::unbounded();
        let mut items = receiver.debounce(Duration::ZERO);
        sender.unbounded_send(1).unwrap();
        sender.unbounded_send(2).unwrap();
        assert_eq!(items.next().now_or_never(), Some(Some(2)));
        assert!(items.next().now_or_never().is_none());
        let polls = Cell::new(0);
        assert!(endless(&polls).debounce(Duration::ZERO).next().now_or_never().unwrap().is_some());
    });
}

/// The rest of the contract: errors as items, `size_hint`, the inner stream, and which items are dropped.
#[test]
fn debounce_as_a_stream() {
    everywhere(async || {
        let results: Vec<_> = stream::iter([Ok(1), Err("bad"), Ok(2)]).debounce(SHORT).collect().await;
        assert_eq!(results, [Ok(2)], "an error that a value follows is not heard of");
        let results: Vec<_> = stream::iter([Ok(1), Err("bad")]).debounce(SHORT).collect().await;
        assert_eq!(results, [Err("bad")]);

        let token = Rc::new(());
        let tokens = stream::iter(vec![Rc::clone(&token); 3]).chain(stream::pending());
        let mut items = tokens.debounce(TIME);
        assert_eq!(items.size_hint(), (1, Some(3)));
        assert!(items.next().now_or_never().is_none());
        assert_eq!(Rc::strong_count(&token), 2, "only the newest is held");
        assert_eq!(items.size_hint(), (1, Some(1)));
        assert!(format!("{:?}", items).contains("holds_item: true"));
        drop(items.into_inner());
        assert_eq!(Rc::strong_count(&token), 1, "it is lost");

        let mut items = stream::iter([1, 2, 3]).debounce(SHORT);
        assert_eq!(items.size_hint(), (1, Some(3)));
        assert_eq!(items.get_mut().next().await, Some(1));
        assert_eq!(items.get_ref().size_hint(), (2, Some(2)));
        assert_eq!(Pin::new(&mut items).get_pin_mut().next().await, Some(2));
        assert_eq!((items.next().await, items.size_hint()), (Some(3), (0, Some(0))));
    });
}

/// An endless stream, throttled or debounced with a zero duration, yields to other tasks.
#[test]
fn no_time_at_all_is_fair() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let stop = std::rc::Rc::new(std::cell::Cell::new(false));
    let spawner = runtime.spawner();
    for throttled in [true, false] {
        let stop = std::rc::Rc::clone(&stop);
        let task = async move {
            let endless = futures::stream::repeat(1);
            let mut endless = match throttled {
                true => endless.throttle(Duration::ZERO).boxed_local(),
                false => endless.debounce(Duration::ZERO).boxed_local(),
            };
            while !stop.get() {
                endless.next().await.unwrap();
            }
        };
        spawner.spawn_local(task).unwrap();
    }
    let polls = runtime.handle().stats().polls;
    runtime
        .run_until(async {
            for _ in 0..100 {
                tests::yield_now().await;
            }
        })
        .unwrap();
    stop.set(true);
    runtime.run().unwrap();
    assert!(runtime.handle().stats().polls - polls > 100);
}
