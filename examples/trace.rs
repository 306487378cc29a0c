//! Prints what the reactor does.
//!
//! With its feature `tracing`, async-epoll reports each step as an event with a message and nothing else. `tracing`
//! hands events to a subscriber; this is about the smallest one there can be. A real program would take
//! `tracing-subscriber`.

use std::fmt;
use std::io::{self, Write};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Prints, from now on and on all threads, lines such as `epoll:wait event:IN for fd:4` to standard error.
///
/// To be called before the reactor is made, or `epoll:create` is missed. A second call does nothing.
pub fn print() {
    let _ = tracing::subscriber::set_global_default(Printer);
}

/// Prints the messages of async-epoll's events.
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

    // There are no spans: `enabled` declines them.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Prints one event's message.
struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // One write for the line, and no panic if standard error is closed.
            let _ = io::stderr().write_all(format!("{value:?}\n").as_bytes());
        }
    }
}
