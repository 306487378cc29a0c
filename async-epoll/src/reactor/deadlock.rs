//! The report of a certain deadlock: an error instead of a sleep without end.
//!
//! Before the engine sleeps without end, `run` asks whether any task can ever be woken. It is certain that none can if
//! there is no source and no timer, no other thread can spawn, and no waker of any task exists outside of its set.
//!
//! The report is sound, but not complete: two tasks that each wait for the other through a channel have wakers there.

use super::pools::Members;
use crate::engine::shared::Shared;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{Ordering, fence};

/// The most spawn places that a report names.
const MAX_PLACES: usize = 16;

/// Fails if it is certain that none of the tasks will ever be woken. Called while the engine is about to sleep without
/// end, so there is no timer that it would sleep for.
pub(crate) fn refuse(shared: &Shared, members: &Members) -> io::Result<()> {
    // A timer that never fires may still be reset by code outside of the tasks.
    if shared.has_sources() || shared.wheel().armed() != 0 {
        return Ok(());
    }
    let stuck: Option<Vec<_>> = members.here().iter().map(|set| set.stuck()).collect();
    let Some(mut places) = stuck.map(|places| places.concat()) else { return Ok(()) };
    // A waker that was dropped just now may have woken its task before that.
    fence(Ordering::Acquire);
    if shared.notifier.has_work() || places.is_empty() {
        return Ok(());
    }
    places.sort_unstable();
    let mut message =
        String::from("deadlock: no source, no timer and no waker is left that could wake the remaining tasks,");
    for (index, place) in places.chunk_by(|one, other| one == other).take(MAX_PLACES).enumerate() {
        message += if index == 0 { " spawned at " } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(message, "{}", place[0]);
        if place.len() > 1 {
            let _ = write!(message, " ({} tasks)", place.len());
        }
    }
    Err(io::Error::new(io::ErrorKind::Deadlock, message))
}
