//! The server while it serves: accepts, obeys, stops.
//!
//! One future does all of this, by the [phase](super::phase) that the server is in. It is polled when a listener is readable,
//! a command has come, a timer has fired, or, if it waits for that, a connection has ended.
//!
//! ```text
//!   obey commands and timers ──► Running, Delaying: accept while there is room ──► wait
//!                           └──► Draining: take the backlog, then close it ──► Closing
//!                           └──► Closing, Aborting: the last connection has ended? ──► the report
//! ```
//!
//! A place is taken before `accept(2)`: at the limit no listener is asked, so the kernel keeps the clients in the backlog, and
//! the greatest number of connections is exactly the limit. The end of a connection wakes the server if it is full.
//!
//! # Races
//!
//! | | what happens |
//! |---|---|
//! | a command comes before the first poll | the first poll finds it |
//! | a client connects before the stop, and no event has told of it | draining asks the kernel, and not what the source knows |
//! | a client connects while the server drains | it is taken, up to [`MAX_BACKLOG`] |
//! | a client connects after its backlog was found empty | the listener is closed in the same poll, and the kernel refuses or resets it. (Handing the same listener to another process avoids this.) |
//! | a connection ends while the server decides that it is full | all of this is on one thread: it ends before or after |
//! | the future of the server is dropped | its connections are aborted |

use super::address::Address;
use super::connection::Connection;
use super::control::{ABORT, STOP, STOP_NOW};
use super::event::{Event, Limiter, Pause, Refusal};
use super::handler::Handler;
use super::hub::Hub;
use super::io::Stream;
use super::listener::Incoming;
use super::phase::{Cause, Phase};
use super::refusals::Refusals;
use super::report::Report;
use super::settings::MAX_BACKLOG;
use super::task;
use crate::foreign::contain;
use async_epoll::Spawner;
use async_timeout::{Sleep, now, sleep};
use futures::future::{FutureExt, LocalBoxFuture};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

/// The number of connections that are taken from the backlog in one poll, as when accepting.
const BATCH: usize = 16;
/// How long a stopping server waits when descriptors or memory have run out, unless a connection ends before.
const RETRY: Duration = Duration::from_millis(50);

/// A listener with its handler.
pub(super) struct Served {
    /// The connections. `None` once the listener is closed.
    pub(super) incoming: Option<Incoming>,
    /// Serves the connections.
    pub(super) handler: Rc<dyn Handler>,
}

/// A server while it serves.
pub(super) struct Serving {
    /// What the connections share.
    hub: Rc<Hub>,
    /// Spawns the tasks of the connections.
    spawner: Spawner,
    /// The listeners, in the order of the calls of `listen`.
    listeners: Vec<Served>,
    /// The listener that is asked first. Changes with each round, so that a busy listener does not keep the others waiting.
    first: usize,
    /// The user's shutdown signal. `None` once it is ready.
    shutdown: Option<LocalBoxFuture<'static, ()>>,
    /// The phase.
    phase: Phase,
    /// The end of the delay, or the deadline of the stop.
    timer: Option<Sleep>,
    /// When draining goes on after a shortage.
    retry: Option<Sleep>,
    /// The number of connections taken from the present backlog while draining.
    drained: usize,
    /// Why nothing is accepted, if the user's hook was told so.
    told_pause: Option<Pause>,
    /// The refused connections that are being answered.
    refusals: Refusals,
    /// Limits the events of a full server.
    full: Limiter,
    /// Limits the events of refused connections.
    refused: Limiter,
    /// The error that has ended the server.
    error: Option<io::Error>,
}

impl Serving {
    /// Returns a server that has not been polled.
    pub(super) fn new(
        hub: Rc<Hub>,
        spawner: Spawner,
        listeners: Vec<Served>,
        shutdown: Option<LocalBoxFuture<'static, ()>>,
        refusals: Refusals,
    ) -> Self {
        Self {
            hub,
            spawner,
            listeners,
            first: 0,
            shutdown,
            phase: Phase::Running,
            timer: None,
            retry: None,
            drained: 0,
            told_pause: None,
            refusals,
            full: Limiter::default(),
            refused: Limiter::default(),
            error: None,
        }
    }

    /// Serves. Ready when the server has stopped and the last connection has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Report>> {
        self.hub.control.set_serving(true);
        // Before the commands are read, so that none is lost.
        self.hub.control.waker.register(cx.waker());
        self.obey(cx);
        self.refusals.poll(cx);
        loop {
            self.poll_timer(cx);
            let phase = self.phase;
            match phase {
                Phase::Running | Phase::Delaying => self.accept(cx),
                Phase::Draining => self.take_backlogs(cx),
                Phase::Closing | Phase::Aborting => {}
            }
            if self.phase >= Phase::Closing && self.hub.active() == 0 {
                return Poll::Ready(self.end());
            }
            if self.phase == phase {
                // New refusals have to be polled once.
                self.refusals.poll(cx);
                self.hub.wants_ends.set(phase >= Phase::Draining || !self.has_room());
                return Poll::Pending;
            }
        }
    }

    /// Looks at the commands and at the user's shutdown signal.
    fn obey(&mut self, cx: &mut Context<'_>) {
        let commands = self.hub.control.commands();
        for (command, cause) in [(STOP, Cause::Stop), (STOP_NOW, Cause::StopNow), (ABORT, Cause::Abort)] {
            if commands & command != 0 {
                self.advance(cause);
            }
        }
        let Some(shutdown) = &mut self.shutdown else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| shutdown.poll_unpin(cx)));
        if let Ok(Poll::Pending) = polled {
            return;
        }
        let shutdown = self.shutdown.take();
        contain(|| drop(shutdown));
        if let Err(payload) = polled {
            // No signal will come any more, so this is the last occasion to stop.
            self.hub.emit(&Event::ShutdownPanicked { message: task::message(&payload) });
            contain(|| drop(payload));
        }
        // As a command, so that the server is not ready from now on.
        self.hub.control.stop();
        self.advance(Cause::Stop);
    }

    /// Looks at the timer of the phase.
    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        while self.timer.as_mut().is_some_and(|timer| timer.poll_unpin(cx).is_ready()) {
            self.timer = None;
            self.advance(if self.phase == Phase::Delaying { Cause::DelayOver } else { Cause::Deadline });
        }
    }

    /// Changes the phase by `cause`.
    fn advance(&mut self, cause: Cause) {
        let phase = self.phase.after(cause);
        if phase == std::mem::replace(&mut self.phase, phase) {
            return;
        }
        match phase {
            Phase::Running => {}
            Phase::Delaying => {
                self.hub.emit(&Event::Stopping);
                self.timer = Some(sleep(self.hub.settings.drain_delay));
            }
            Phase::Draining => {
                self.hub.emit(&Event::Draining);
                self.timer = Some(sleep(self.hub.settings.shutdown_timeout));
                self.hub.drain();
            }
            Phase::Closing => {}
            Phase::Aborting => {
                self.hub.emit(&Event::Aborting { active: self.hub.active() as u64 });
                self.timer = None;
                self.hub.drain();
                self.hub.cut_all();
            }
        }
    }

    /// Returns whether one more connection may be open.
    fn has_room(&self) -> bool {
        self.hub.active() < self.hub.control.max_connections.load(Ordering::Acquire)
    }

    /// Accepts connections while there is room.
    fn accept(&mut self, cx: &mut Context<'_>) {
        loop {
            let has_room = self.has_room() || self.refusals.has_room();
            let pause = match (self.hub.control.is_paused(), has_room) {
                (true, _) => Some(Pause::Asked),
                (false, false) => Some(Pause::Full),
                (false, true) => None,
            };
            self.tell_pause(pause);
            if pause.is_some() {
                return;
            }
            match self.accept_one(cx) {
                Some(Ok((number, stream, peer))) if self.has_room() => self.admit(number, stream, peer),
                Some(Ok((number, stream, peer))) => self.refuse(number, stream, &peer, Refusal::Full),
                Some(Err(error)) => return self.fail(error),
                None => return,
            }
        }
    }

    /// Accepts one connection of any listener. Returns it with the number of its listener, or `None` if none is there.
    fn accept_one(&mut self, cx: &mut Context<'_>) -> Option<io::Result<(usize, Stream, Address)>> {
        let count = self.listeners.len();
        for offset in 0..count {
            let number = (self.first + offset) % count;
            let Some(incoming) = &mut self.listeners[number].incoming else { continue };
            let polled = incoming.poll_accept(cx);
            if self.hub.has_hook() {
                incoming.tell(number, &self.hub);
            }
            match polled {
                Poll::Ready(Some(Ok((stream, peer)))) => {
                    self.first = (number + 1) % count;
                    return Some(Ok((number, stream, peer)));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.hub.emit(&Event::ListenerFailed { listener: number, error: &error });
                    self.listeners[number].incoming = None;
                    return Some(Err(error));
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        None
    }

    /// Gives a connection to its handler, in a task of its own.
    fn admit(&mut self, listener: usize, stream: Stream, peer: Address) {
        if !self.hub.has_room_for(&peer) {
            return self.refuse(listener, stream, &peer, Refusal::TooManyOfAddress);
        }
        let ticket = self.hub.add(stream.clone(), peer, listener);
        let connection = Connection::new(stream, &ticket.slot);
        let handler = Rc::clone(&self.listeners[listener].handler);
        // If the pool is gone, the task is dropped, and its ticket counts the connection.
        if let Err(error) = self.spawner.spawn(task::serve(ticket, handler, connection)) {
            self.fail(error);
        }
        self.hub.shed();
    }

    /// Stops the server for an error that `serve` will return.
    fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
        self.hub.control.stop();
        self.advance(Cause::StopNow);
    }

    /// Tells the user's hook that a pause has begun or ended.
    fn tell_pause(&mut self, pause: Option<Pause>) {
        if pause == self.told_pause {
            return;
        }
        match pause {
            // A busy server is full and not full a thousand times in a second.
            Some(Pause::Full) if self.full.admit(now()).is_none() => {}
            Some(reason) => {
                self.told_pause = pause;
                self.hub.emit(&Event::Paused { reason });
            }
            None => {
                self.told_pause = None;
                self.hub.emit(&Event::Resumed);
            }
        }
    }

    /// Takes the connections from the backlogs while there is room, and closes each listener whose backlog is empty.
    fn take_backlogs(&mut self, cx: &mut Context<'_>) {
        // Whatever has caused this poll, it is worth a try: the end of a connection has closed a descriptor.
        self.retry = None;
        let mut batch = 0;
        for number in 0..self.listeners.len() {
            while let Some(incoming) = &self.listeners[number].incoming {
                if !self.has_room() {
                    return;
                }
                if batch == BATCH {
                    // The connections need their polls, too.
                    cx.waker().wake_by_ref();
                    return;
                }
                match incoming.accept_now() {
                    Ok(Some((stream, peer))) if self.drained < MAX_BACKLOG => {
                        batch += 1;
                        self.drained += 1;
                        self.admit(number, stream, peer);
                    }
                    Ok(Some((stream, peer))) => {
                        self.refuse(number, stream, &peer, Refusal::Stopping);
                        self.close(number);
                    }
                    Ok(None) => self.close(number),
                    Err(error) if error.is_temporary() => {
                        let mut retry = sleep(RETRY);
                        if retry.poll_unpin(cx).is_ready() {
                            cx.waker().wake_by_ref();
                        }
                        self.retry = Some(retry);
                        return;
                    }
                    Err(error) => {
                        let error = io::Error::from(error);
                        self.hub.emit(&Event::ListenerFailed { listener: number, error: &error });
                        self.error.get_or_insert(error);
                        self.close(number);
                    }
                }
            }
        }
        self.advance(Cause::BacklogEmpty);
    }

    /// Closes a listener.
    fn close(&mut self, number: usize) {
        self.listeners[number].incoming = None;
        self.drained = 0;
    }

    /// Closes a connection without a handler, and counts it.
    fn refuse(&mut self, listener: usize, stream: Stream, peer: &Address, reason: Refusal) {
        self.refusals.add(stream, peer, reason);
        self.hub.control.counters.refuse();
        if let Some(suppressed) = self.refused.admit(now()) {
            self.hub.emit(&Event::Refused { listener, peer, reason, suppressed });
        }
    }

    /// Ends the server: refuses what is left in the backlogs, so that it is counted, and closes the listeners.
    fn end(&mut self) -> io::Result<Report> {
        for number in 0..self.listeners.len() {
            for _ in 0..MAX_BACKLOG {
                let Some(incoming) = &self.listeners[number].incoming else { break };
                let Ok(Some((stream, peer))) = incoming.accept_now() else { break };
                self.refuse(number, stream, &peer, Refusal::Stopping);
            }
            self.close(number);
        }
        self.hub.control.set_serving(false);
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.hub.control.counters.report()),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Nothing is left of a server that has ended by itself.
        self.hub.control.set_serving(false);
        self.hub.drain();
        self.hub.cut_all();
        // Handles may live on, and must not keep the task of the server.
        let waker = self.hub.control.waker.take();
        contain(|| drop(waker));
    }
}
