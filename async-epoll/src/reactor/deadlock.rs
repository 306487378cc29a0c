//! The report of a certain deadlock: an error instead of a sleep without end.
//!
//! Before the engine sleeps without end, [`Reactor::run`](crate::Reactor::run) asks here whether a task can ever be
//! woken. Certainly no task can if four things hold: there is no source, there is no timer, no other thread can
//! spawn into the given pool, and no waker of a task exists outside of the task's set. (A waker that waits in the set for the end of another of its tasks is
//! inside.)
//!
//! The report is sound, but not complete. For example, two tasks that wait for each other through a channel have their
//! wakers in the channel.

use super::pools::Members;
use crate::engine::shared::Shared;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{Ordering, fence};

/// The most places and names that a report has.
const MAX_PLACES: usize = 16;

/// Fails if certainly no task in the given pool can ever be woken. Called when the engine is about to sleep
/// without end, so no timer would end the sleep.
pub(crate) fn refuse(shared: &Shared, members: &Members) -> io::Result<()> {
    // A timer that never fires may still be reset, by code outside of the tasks.
    if shared.has_sources() || shared.wheel().armed() != 0 {
        return Ok(());
    }
    let stuck: Option<Vec<_>> = members.here().iter().map(|set| set.stuck()).collect();
    let Some(mut tasks) = stuck.map(|tasks| tasks.concat()) else { return Ok(()) };
    // A waker on another thread may have woken its task just before the waker was dropped. The fence makes that wake
    // visible to the check of `has_work`.
    fence(Ordering::Acquire);
    if shared.notifier.has_work() || tasks.is_empty() {
        return Ok(());
    }
    tasks.sort_unstable();
    let mut message =
        String::from("deadlock: no source, no timer and no waker is left that could wake the remaining tasks,");
    for (index, same) in tasks.chunk_by(|one, other| one == other).take(MAX_PLACES).enumerate() {
        message += if index == 0 { " spawned at " } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(message, "{}", same[0]);
        if same.len() > 1 {
            let _ = write!(message, " ({} tasks)", same.len());
        }
    }
    Err(io::Error::new(io::ErrorKind::Deadlock, message))
}
