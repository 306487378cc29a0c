//! The feature `tracing`: the emitted events and spans, with a subscriber that calls the reactor. A subscriber is
//! foreign code, and must be free to do so.
//!
//! One test, because the subscriber is global to the process.

use async_epoll::{Handle, LocalRuntime, Spawner, Timer};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tests::common::sources;
use tests::{TIME, watchdog};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static HANDLE: OnceLock<Handle> = OnceLock::new();
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// For a task that the subscriber spawns.
    static SPAWNER: RefCell<Option<Spawner>> = const { RefCell::new(None) };
}

/// A subscriber that records each message and calls the reactor; see [`note`].
struct Hostile;

impl Subscriber for Hostile {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_epoll"
    }
    fn event(&self, event: &Event<'_>) {
        let mut message = Named("message", String::new());
        event.record(&mut message);
        note(message.1);
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut place = Named("spawned_at", String::new());
        attributes.record(&mut place);
        let mut name = Named("name", String::new());
        attributes.record(&mut name);
        note(format!("span:{} {}spawned_at:{}", attributes.metadata().name(), name.1, place.1));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {
        note("span:enter".into());
    }
    fn exit(&self, _: &Id) {
        note("span:exit".into());
    }
}

/// The name of a field, and its value once found.
struct Named(&'static str, String);

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == self.0 {
            self.1 = format!("{value:?}");
        }
    }
}

/// Records a line and calls the reactor. Spawns as well, on the reactor's thread.
fn note(line: String) {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    if let Some(handle) = HANDLE.get() {
        let _ = handle.stats();
        handle.notify();
    }
    let spawner = SPAWNER.take();
    if let Some(spawner) = &spawner {
        spawner.spawn_local(async {}).unwrap();
    }
}

/// A subscriber that calls the reactor does not cause a deadlock, and receives every step in order.
#[test]
fn a_subscriber_may_call_the_reactor() {
    let _watchdog = watchdog(TIME);
    tracing::subscriber::set_global_default(Hostile).unwrap();
    let mut runtime = LocalRuntime::new().unwrap();
    HANDLE.set(runtime.handle()).unwrap();
    let fd = runtime
        .run_until(async {
            let (mut left, mut right) = sources::pair();
            let mut buffer = [0; 5];
            let (read, written) = futures::join!(right.read_exact(&mut buffer), left.write_all(b"hello"));
            read.unwrap();
            written.unwrap();
            let later = async {
                Timer::after(Duration::from_millis(1), &Handle::current().unwrap()).await.unwrap();
                left.write_all(b"again").await.unwrap();
            };
            let (read, ()) = futures::join!(right.read_exact(&mut buffer), later);
            read.unwrap();
            right.as_raw_fd()
        })
        .unwrap();
    let spawner = runtime.spawner();
    SPAWNER.set(Some(spawner.clone()));
    let line = line!() + 1;
    spawner.spawn_local(async { note("in the task".into()) }).unwrap();
    spawner.task().name("reader").spawn(async { note("in the task with a name".into()) }).unwrap();
    runtime.run().unwrap();
    let lines = LINES.lock().unwrap().clone();
    let position = |wanted: &str| {
        let found = lines.iter().position(|line| line.starts_with(wanted));
        found.unwrap_or_else(|| panic!("no {wanted:?} in {lines:#?}"))
    };
    let steps = ["epoll:create epfd:", &format!("epoll:ctl_add fd:{fd}"), "timers:fire 1"].map(position);
    assert!(steps.is_sorted(), "{lines:#?}");
    let read = lines.iter().filter(|line| **line == format!("epoll:wait event:IN|OUT for fd:{fd}")).count();
    assert!(read >= 1, "{lines:#?}");
    let spawned = position(&format!("span:task spawned_at:{}:{line}:", file!()));
    let polled = lines.iter().position(|line| line == "in the task").unwrap();
    assert!(spawned < polled && lines[polled - 1] == "span:enter" && lines[polled + 1] == "span:exit", "{lines:#?}");
    position(&format!("span:task \"reader\"spawned_at:{}:", file!()));
    let polled = lines.iter().position(|line| line == "in the task with a name").unwrap();
    assert!(lines[polled - 1] == "span:enter" && lines[polled + 1] == "span:exit", "{lines:#?}");
    position("epoll:wait for ");
    position("tasks:wake 1");
    position(&format!("epoll:ctl_del fd:{fd}"));
}
