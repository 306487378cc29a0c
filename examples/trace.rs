//! Tracing: prints what the reactor does.
//!
//! With its feature `tracing`, async-epoll reports each step as an event that has only a message. The crate `tracing`
//! hands events to a subscriber, and here is about the smallest possible subscriber. A real program would use
//! `tracing-subscriber`.

use std::fmt;
use std::io::{self, Write};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Begins to print lines such as `epoll:wait event:IN for fd:4` to standard error, for all threads.
///
/// Call it before the reactor is made, to see `epoll:create` too. A second call has no effect.
pub fn print() {
    let _ = tracing::subscriber::set_global_default(Printer);
}

/// A subscriber that prints the messages of async-epoll's events.
struct Printer;

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "async_epoll" && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }

    // There are no spans: `enabled` refuses them.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A visitor that prints the message of an event.
struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A single write for the whole line, and no panic if standard error is closed.
            let _ = io::stderr().write_all(format!("{value:?}\n").as_bytes());
        }
    }
}
