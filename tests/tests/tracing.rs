//! The feature `tracing`: what is told, and that a subscriber, which is foreign code, may do as it likes.
//!
//! One test, since a subscriber is the whole process's.

use async_epoll::{Handle, LocalRuntime, Source, Timer};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tests::watchdog;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static HANDLE: OnceLock<Handle> = OnceLock::new();
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes each message, asks the reactor for numbers, which takes its locks, and comes back in as a source and a timer.
struct Hostile;

impl Subscriber for Hostile {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_epoll" && metadata.is_event()
    }
    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(message.0);
        if let Some(handle) = HANDLE.get() {
            let _ = handle.stats();
            handle.notify();
        }
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A subscriber that calls the reactor does not dead-lock, and is told of every step, in order.
#[test]
fn a_subscriber_may_call_the_reactor() {
    let _watchdog = watchdog(Duration::from_secs(60));
    tracing::subscriber::set_global_default(Hostile).unwrap();
    let mut runtime = LocalRuntime::new().unwrap();
    HANDLE.set(runtime.handle()).unwrap();
    let fd = runtime
        .run_until(async {
            let (left, right) = UnixStream::pair().unwrap();
            let (mut left, mut right) = (Source::new(left).unwrap(), Source::new(right).unwrap());
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
    let lines = LINES.lock().unwrap().clone();
    let position = |wanted: &str| {
        let found = lines.iter().position(|line| line.starts_with(wanted));
        found.unwrap_or_else(|| panic!("no {wanted:?} in {lines:#?}"))
    };
    let steps = ["epoll:create epfd:", &format!("epoll:ctl_add fd:{fd}"), "timers:fire 1"].map(position);
    assert!(steps.is_sorted(), "{lines:#?}");
    let read = lines.iter().filter(|line| **line == format!("epoll:wait event:IN|OUT for fd:{fd}")).count();
    assert!(read >= 1, "{lines:#?}");
    position("epoll:wait for ");
    position("tasks:wake 1");
    position(&format!("epoll:ctl_del fd:{fd}"));
}
