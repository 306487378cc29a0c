//! Wakers for tests, and a future that yields. [`hostile_waker`](crate::hostile_waker), with code in each of its
//! functions, needs `unsafe` and is therefore in `sys.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

/// A waker with a counter of its wakes.
#[derive(Debug, Default)]
pub struct CountingWaker(AtomicUsize);

impl CountingWaker {
    /// Returns a counter, at zero, and its waker.
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

/// Returns a waker. Each wake calls `on_wake`.
pub fn waker_fn(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct WakerFn<F>(F);
    impl<F: Fn() + Send + Sync> Wake for WakerFn<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(WakerFn(on_wake)).into()
}

/// Yields once: wakes its own task and is pending for one poll, so all other ready tasks run first.
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
