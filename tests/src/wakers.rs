//! Wakers that a test can observe, and a future that yields. A waker with code in all of its functions is
//! [`hostile_waker`](crate::hostile_waker).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

/// A waker that counts how often it is woken.
#[derive(Debug, Default)]
pub struct CountingWaker(AtomicUsize);

impl CountingWaker {
    /// Returns a counter that starts at zero, and the waker that increments it.
    pub fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), counter.into())
    }

    /// Returns the number of wakes so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns a waker that calls `on_wake` for each wake.
pub fn waker_fn(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct WakerFn<F>(F);
    impl<F: Fn() + Send + Sync> Wake for WakerFn<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(WakerFn(on_wake)).into()
}

/// Yields once: wakes its own task and is pending for one poll, so that all other ready tasks run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
