//! A `tracing` subscriber that panics, at the beginning or the end of a task's span, affects only this task.
//!
//! A program of its own, because the enabled level is global to the process.

use async_epoll::LocalRuntime;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::{TIME, watchdog, yield_now};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Panics when the third span is made, and whenever a span is closed.
#[derive(Default)]
struct Panicking(Arc<AtomicUsize>);

impl Subscriber for Panicking {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_epoll" && metadata.is_span()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let spans = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        assert_ne!(spans, 3, "a subscriber's own business");
        Id::from_u64(spans as u64)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn try_close(&self, _: Id) -> bool {
        panic!("a subscriber's own business");
    }
}

#[test]
fn a_panicking_subscriber() {
    let _watchdog = watchdog(TIME);
    let spans = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Panicking(Arc::clone(&spans)), || {
        let mut runtime = LocalRuntime::new().unwrap();
        let spawner = runtime.spawner();
        let done = Rc::new(Cell::new(0));
        for task in 1..=5 {
            let done = Rc::clone(&done);
            let future = async move {
                yield_now().await;
                done.set(done.get() + 1);
            };
            let spawned = catch_unwind(AssertUnwindSafe(|| spawner.spawn_local(future).unwrap()));
            assert_eq!(spawned.is_err(), task == 3, "the panic reaches the caller of spawn");
        }
        // The other four tasks end, whatever happens to their spans.
        runtime.run().unwrap();
        let stats = runtime.handle().stats();
        assert_eq!((done.get(), stats.live_tasks, stats.task_panics), (4, 0, 4));
        // A task from another thread, and a task that is dropped with its pool.
        let remote = spawner.remote();
        remote.spawn_with(|| async {}).unwrap();
        runtime.run().unwrap();
        spawner.spawn_local(std::future::pending()).unwrap();
        let handle = runtime.handle();
        drop(runtime);
        assert_eq!((handle.stats().live_tasks, handle.stats().task_panics), (0, 6));
    });
    assert_eq!(spans.load(Ordering::SeqCst), 7);
}
