//! The task of one connection: runs the handler, waits until the connection is given back, lingers, counts.
//!
//! ```text
//!   call and poll the handler ──► wait until the connection is dropped ──► linger ──► count
//!        │ cut: drop its future       │ cut                                 │ cut      ▲
//!        └────────────────────────────┴─────────────────────────────────────┴──────────┘
//! ```
//!
//! All code of the handler runs inside of `catch_unwind`: the call, the polls, and the drop of its future. If the task itself is
//! dropped, with its pool, the future is dropped in the same way, and the [`Ticket`] counts the connection as aborted.

use super::connection::Connection;
use super::event::Event;
use super::handler::{Handler, HandlerResult};
use super::hub::{Slot, Ticket};
use super::io::Stream;
use super::report::Outcome;
use crate::foreign::contain;
use async_timeout::sleep;
use futures::future::{FutureExt, LocalBoxFuture};
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The payload of a panic.
type Payload = Box<dyn Any + Send>;

/// How a handler has ended.
enum End {
    /// It has returned.
    Returned(HandlerResult),
    /// It has panicked.
    Panicked(Payload),
    /// The server has aborted it.
    Cut,
}

/// Calls code of the handler. Returns its result or the payload of its panic.
fn catch<R>(act: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(act))
}

/// The future of a handler. `None` after its end.
struct Work<'a>(Option<LocalBoxFuture<'a, HandlerResult>>);

impl Work<'_> {
    /// Polls the future, and drops it at its end.
    fn poll(&mut self, cx: &mut Context<'_>, slot: &Slot) -> Poll<End> {
        let mut end = End::Cut;
        if !slot.is_cut() {
            let Some(future) = &mut self.0 else { return Poll::Ready(end) };
            match catch(|| future.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {
                    slot.task_waker.register(cx.waker());
                    return Poll::Pending;
                }
                Ok(Poll::Ready(result)) => end = End::Returned(result),
                Err(payload) => end = End::Panicked(payload),
            }
        }
        if !matches!(end, End::Returned(_)) {
            slot.reset_on_close();
        }
        let future = self.0.take();
        match catch(|| drop(future)) {
            Ok(()) => Poll::Ready(end),
            Err(payload) => {
                slot.reset_on_close();
                Poll::Ready(End::Panicked(payload))
            }
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let future = self.0.take();
        contain(|| drop(future));
    }
}

/// Runs the handler of a connection to its end.
async fn work(slot: &Slot, handler: &dyn Handler, connection: Connection) -> End {
    let mut work = match catch(|| handler.handle(connection)) {
        Ok(future) => Work(Some(future)),
        Err(payload) => return End::Panicked(payload),
    };
    poll_fn(|cx| work.poll(cx, slot)).await
}

/// Serves one connection, from the call of its handler to its end.
pub(super) async fn serve(ticket: Ticket, handler: Rc<dyn Handler>, connection: Connection) {
    let slot = Rc::clone(&ticket.slot);
    let end = work(&slot, &*handler, connection).await;
    // The handler may have given the connection to another task.
    if slot.is_held() {
        poll_fn(|cx| until(slot.is_cut() || !slot.is_held(), &slot, cx)).await;
    }
    let is_aborted = matches!(end, End::Cut) || slot.was_cut_short();
    let stream = if is_aborted || matches!(end, End::Panicked(_)) { None } else { slot.take_to_linger() };
    if let Some(stream) = stream {
        // In a box, so that a connection that does not linger has no room for this.
        linger(&slot, stream).boxed_local().await;
    }
    finish(ticket, end, is_aborted);
}

/// Counts the connection, and tells of its end.
fn finish(ticket: Ticket, end: End, is_aborted: bool) {
    let slot = Rc::clone(&ticket.slot);
    let (is_ok, outcome) = match &end {
        End::Panicked(payload) => {
            slot.hub.emit(&Event::HandlerPanicked { id: slot.id, message: message(payload) });
            (false, Some(Outcome::Panicked))
        }
        End::Cut => (false, Some(Outcome::Aborted)),
        End::Returned(result) => (result.is_ok(), is_aborted.then_some(Outcome::Aborted)),
    };
    let of_limit = || slot.exceeded.get().map(Outcome::TimedOut);
    let outcome = outcome.or_else(of_limit).unwrap_or(match (is_ok, slot.was_told_to_end.get()) {
        (false, _) => Outcome::Failed,
        (true, true) => Outcome::ClosedIdle,
        (true, false) => Outcome::Served,
    });
    if is_aborted {
        slot.reset_on_close();
    }
    let error = match &end {
        End::Returned(Err(error)) => Some(&**error),
        _ => None,
    };
    ticket.end(outcome, error);
    contain(|| drop(end));
}

/// Returns the message of a panic.
pub(super) fn message(payload: &Payload) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Waits for a change of the slot.
fn until(is_so: bool, slot: &Slot, cx: &Context<'_>) -> Poll<()> {
    if is_so {
        return Poll::Ready(());
    }
    slot.task_waker.register(cx.waker());
    Poll::Pending
}

/// Reads on, after the server's direction was closed, until the peer has closed its own, but not for long.
///
/// If the socket were closed while bytes of the peer are unread or under way, the kernel would send a reset. A reset overtakes
/// data: the peer might lose the answer that was just written.
async fn linger(slot: &Slot, stream: Stream) {
    let (mut bytes, time) = slot.hub.settings.linger.unwrap_or((0, Duration::ZERO));
    let mut timer = sleep(time);
    poll_fn(|cx| {
        while bytes > 0 {
            match stream.poll_discard(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(len)) => bytes = bytes.saturating_sub(len),
                Poll::Pending if timer.poll_unpin(cx).is_ready() => return Poll::Ready(()),
                Poll::Pending => return until(slot.is_cut(), slot, cx),
            }
        }
        Poll::Ready(())
    })
    .await;
}
