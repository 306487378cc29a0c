//! What the kernel has reported about a source.
//!
//! [`Readiness`] is the public form: a plain set of facts. [`ReadinessWord`] is the reactor's form, one for reading and
//! one for writing: an atomic word with the facts in its low bits and, above them, a *generation* that grows with every
//! event. Operations take a [`Snapshot`] of the word before they start.
//!
//! The hard idea is the generation. An edge-triggered event is reported once. Suppose an operation meets `WouldBlock`,
//! and before its thread notes "not ready", another thread dispatches a new event. If the flag were cleared now, the
//! new edge would be lost, and the task would hang. So an operation clears the flag only if the word still equals the
//! snapshot:
//!
//! ```text
//!      ┌───────────┐  event from epoll_wait: generation + 1   ┌───────────┐
//!      │ not ready │ ───────────────────────────────────────► │   ready   │ ◄─┐ operation succeeded:
//!      │  waiters  │ ◄─────────────────────────────────────── │           │ ──┘ stay ready
//!      └───────────┘  operation: WouldBlock, and the word is  └───────────┘
//!                     still equal to the snapshot
//! ```
//!
//! Deliberately not here: the tasks that wait. See [waiters](super::waiters) and [registry](super::registry).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// There is something to read: data, a queued connection, or the end of file.
const IN: u32 = libc::EPOLLIN as u32;
/// There is room to write.
const OUT: u32 = libc::EPOLLOUT as u32;
/// An exceptional condition, such as urgent TCP data.
const PRI: u32 = libc::EPOLLPRI as u32;
/// An error is pending, or the reading end of a pipe is closed.
const ERR: u32 = libc::EPOLLERR as u32;
/// Both directions are closed, or the writing end of a pipe is closed.
const HUP: u32 = libc::EPOLLHUP as u32;
/// The peer has half-closed: it will send no more.
const RDHUP: u32 = libc::EPOLLRDHUP as u32;

/// The events that concern readers. Errors and hang-ups concern both directions: when the writing end of a pipe is
/// closed, the kernel reports `EPOLLHUP` without `EPOLLIN`, and a reader that waits for `EPOLLIN` alone would wait
/// without end.
const CONCERNS_READERS: u32 = IN | PRI | RDHUP | HUP | ERR;
/// The events that concern writers. `EPOLLRDHUP` is not among them: after the peer's half-close data can still be sent,
/// and a blocked writer would spin if the event meant "writable".
const CONCERNS_WRITERS: u32 = OUT | HUP | ERR;

/// What is known about a source: which operations are likely to succeed, and which directions are closed.
///
/// Readiness is a hint, not a promise: another task may take the data first. The closed states are facts and stay. The
/// names in parentheses below are from [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::Source;
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// async_epoll::block_on(async {
///     let (mut peer, stream) = UnixStream::pair()?;
///     let source = Source::new(stream)?;
///     peer.write_all(b"x")?;
///     let readiness = source.readable().await?;
///     assert!(readiness.is_readable() && !readiness.is_read_closed());
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// The bit of [`is_readable`](Self::is_readable).
    const READABLE: u8 = 1;
    /// The bit of [`is_writable`](Self::is_writable).
    const WRITABLE: u8 = 2;
    /// The bit of [`is_priority`](Self::is_priority).
    const PRIORITY: u8 = 4;
    /// The bit of [`is_read_closed`](Self::is_read_closed).
    const READ_CLOSED: u8 = 8;
    /// The bit of [`is_write_closed`](Self::is_write_closed).
    const WRITE_CLOSED: u8 = 16;
    /// The bit of [`is_error`](Self::is_error).
    const ERROR: u8 = 32;

    /// Returns the facts of both directions as one set.
    pub(crate) fn of(read: Snapshot, write: Snapshot) -> Self {
        let facts = [
            (read.has(READY), Self::READABLE),
            (write.has(READY), Self::WRITABLE),
            (read.has(PRIORITY), Self::PRIORITY),
            (read.has(CLOSED), Self::READ_CLOSED),
            (write.has(CLOSED), Self::WRITE_CLOSED),
            (read.has(ERROR) || write.has(ERROR), Self::ERROR),
        ];
        Self(facts.iter().filter(|(set, _)| *set).fold(0, |bits, (_, bit)| bits | bit))
    }

    /// Returns whether a read is likely not to meet `WouldBlock`: there is data, a queued connection, the end of file,
    /// or a pending error.
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE != 0
    }

    /// Returns whether a write is likely not to meet `WouldBlock`: there is room, or a pending error.
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE != 0
    }

    /// Returns whether the kernel reported an exceptional condition (`EPOLLPRI`), such as urgent TCP data.
    pub const fn is_priority(self) -> bool {
        self.0 & Self::PRIORITY != 0
    }

    /// Returns whether the peer will send no more (`EPOLLRDHUP` or `EPOLLHUP`). Data sent before may still wait to be
    /// read.
    pub const fn is_read_closed(self) -> bool {
        self.0 & Self::READ_CLOSED != 0
    }

    /// Returns whether nothing can be sent any more (`EPOLLHUP`).
    pub const fn is_write_closed(self) -> bool {
        self.0 & Self::WRITE_CLOSED != 0
    }

    /// Returns whether the kernel reported an error (`EPOLLERR`) that no operation has collected yet.
    pub const fn is_error(self) -> bool {
        self.0 & Self::ERROR != 0
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["readable", "writable", "priority", "read_closed", "write_closed", "error"];
        f.debug_set().entries((0..names.len()).filter(|i| self.0 & (1 << i) != 0).map(|i| names[i])).finish()
    }
}

/// The kernel reported that an operation is likely to make progress.
const READY: u64 = 1;
/// `EPOLLPRI` was reported and not collected.
const PRIORITY: u64 = 1 << 1;
/// This direction is closed. Never cleared.
const CLOSED: u64 = 1 << 2;
/// `EPOLLERR` was reported and not collected.
const ERROR: u64 = 1 << 3;
/// PRI, RDHUP, HUP or ERR was reported since the last `WouldBlock`, so a short read does not mean "drained".
const UNUSUAL: u64 = 1 << 4;
/// The source is not registered yet. Operations have to ask the reactor whether it has been dropped.
const UNREGISTERED: u64 = 1 << 5;
/// The reactor has been dropped.
const GONE: u64 = 1 << 6;
/// The kernel has reported nothing yet: an operation tries at once, but a wait for readiness waits for the first event.
const GUESS: u64 = 1 << 7;
/// One step of the generation, which takes all bits above the flags.
const GENERATION: u64 = 1 << 8;

/// The readiness of one direction of a source: the flags and the generation in one word.
#[derive(Debug)]
pub(crate) struct ReadinessWord(AtomicU64);

/// The value of a [`ReadinessWord`] before an operation started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl ReadinessWord {
    /// Returns the word of a source that is not registered: nothing is known, and the first operation tries at once.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(GUESS | UNREGISTERED))
    }

    /// Returns the present value.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Applies `change` to the word in one atomic step.
    fn update(&self, change: impl Fn(u64) -> u64) {
        // The closure never returns `None`, so the update cannot fail.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| Some(change(word)));
    }

    /// Notes an event: sets `flags` and moves to the next generation.
    fn set(&self, flags: u64) {
        self.update(|word| (word | flags).wrapping_add(GENERATION));
    }

    /// Notes that the source has been registered: from now on the kernel reports its events.
    pub(crate) fn set_registered(&self) {
        self.update(|word| word & !UNREGISTERED);
    }

    /// Notes that the reactor has been dropped: every later operation fails.
    pub(crate) fn set_gone(&self) {
        self.update(|word| (word & !(READY | GUESS | UNREGISTERED) | GONE).wrapping_add(GENERATION));
    }

    /// Clears `flags`, unless the word has changed since `seen`.
    fn clear(&self, seen: Snapshot, flags: u64) {
        // A failure is right: the word has a newer event, which must stay.
        let _ = self.0.compare_exchange(seen.0, seen.0 & !flags, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Notes that an operation that started at `seen` met `WouldBlock` (or, on TCP, a short count).
    pub(crate) fn clear_ready(&self, seen: Snapshot) {
        self.clear(seen, READY | GUESS | UNUSUAL | ERROR);
    }

    /// Notes that an operation for the exceptional condition (and for reading, if `ready`), started at `seen`, met
    /// `WouldBlock`.
    pub(crate) fn clear_priority(&self, seen: Snapshot, ready: bool) {
        self.clear(seen, if ready { PRIORITY | READY | GUESS | UNUSUAL | ERROR } else { PRIORITY });
    }
}

impl Snapshot {
    /// Returns whether any of `flags` is set.
    const fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// Returns whether the source is ready and registered and its reactor exists: the only check of the fast path.
    pub(crate) const fn is_surely_ready(self) -> bool {
        self.0 & (READY | UNREGISTERED) == READY
    }

    /// Returns whether the kernel reported that an operation is likely to make progress.
    pub(crate) const fn is_ready(self) -> bool {
        self.has(READY)
    }

    /// Returns whether an operation is worth a try: the direction is ready, or nothing is known yet.
    pub(crate) const fn may_be_ready(self) -> bool {
        self.has(READY | GUESS)
    }

    /// Returns whether the exceptional condition is pending.
    pub(crate) const fn is_priority(self) -> bool {
        self.has(PRIORITY)
    }

    /// Returns whether a wait for the exceptional condition is over: it is pending, or may never come.
    pub(crate) const fn ends_priority(self) -> bool {
        self.has(PRIORITY | CLOSED | ERROR)
    }

    /// Returns whether the source is not registered yet.
    pub(crate) const fn is_unregistered(self) -> bool {
        self.has(UNREGISTERED)
    }

    /// Returns whether the reactor has been dropped.
    pub(crate) const fn is_gone(self) -> bool {
        self.has(GONE)
    }

    /// Returns whether a count below the buffer's length means "drained". See [`UNUSUAL`].
    pub(crate) const fn trusts_short_counts(self) -> bool {
        !self.has(UNUSUAL)
    }
}

/// Notes the event mask `events` in both directions. Returns which waiters it concerns.
pub(crate) fn merge(read: &ReadinessWord, write: &ReadinessWord, events: u32) -> Concerned {
    let concerned = Concerned {
        readers: events & CONCERNS_READERS != 0,
        writers: events & CONCERNS_WRITERS != 0,
        priority: events & (PRI | RDHUP | HUP | ERR) != 0,
    };
    // Nearly all masks have IN and OUT only.
    let (mut of_read, mut of_write) = (READY, READY);
    if events & !(IN | OUT) != 0 {
        let flag = |mask: u32, flag: u64| if events & mask != 0 { flag } else { 0 };
        of_read |= flag(PRI, PRIORITY) | flag(RDHUP | HUP, CLOSED) | flag(ERR, ERROR);
        of_read |= flag(PRI | RDHUP | HUP | ERR, UNUSUAL);
        of_write |= flag(HUP, CLOSED) | flag(ERR, ERROR) | flag(HUP | ERR, UNUSUAL);
    }
    if concerned.readers {
        read.set(of_read);
    }
    if concerned.writers {
        write.set(of_write);
    }
    concerned
}

/// The waiters that an event concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concerned {
    /// The waiters for reading.
    pub(crate) readers: bool,
    /// The waiters for writing.
    pub(crate) writers: bool,
    /// The waiters for the exceptional condition.
    pub(crate) priority: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> (ReadinessWord, ReadinessWord) {
        let pair = (ReadinessWord::new(), ReadinessWord::new());
        pair.0.set_registered();
        pair.1.set_registered();
        pair
    }

    /// Bug B5: however many events pass, a late clear never removes a newer edge.
    #[test]
    fn clear_after_a_newer_event_keeps_it() {
        let (read, write) = registered();
        for events in [1_u64, 1 << 8, 1 << 16] {
            let seen = read.snapshot();
            for _ in 0..events {
                let _ = merge(&read, &write, IN);
            }
            read.clear_ready(seen);
            assert!(read.snapshot().is_ready(), "after {events} events");
            read.clear_ready(read.snapshot());
            assert!(!read.snapshot().is_ready());
        }
        // 2^32 events at once: a 32-bit counter would be the same as before.
        let seen = read.snapshot();
        read.0.fetch_add(GENERATION << 32, Ordering::Relaxed);
        read.set(READY);
        read.clear_ready(seen);
        assert!(read.snapshot().is_ready());
    }

    /// Bug B7: a clear of one direction does not change the other.
    #[test]
    fn directions_are_cleared_apart() {
        let (read, write) = registered();
        merge(&read, &write, IN | OUT);
        read.clear_ready(read.snapshot());
        assert!(!read.snapshot().is_ready() && write.snapshot().is_ready());
    }

    /// Bug B9: the peer's half-close does not concern writers.
    #[test]
    fn rdhup_concerns_readers_only() {
        let (read, write) = registered();
        write.clear_ready(write.snapshot());
        let concerned = merge(&read, &write, IN | RDHUP);
        assert!(concerned.readers && !concerned.writers);
        assert!(!write.snapshot().is_ready());
    }

    /// Bug B10: an error or hang-up without IN or OUT concerns both directions.
    #[test]
    fn err_and_hup_concern_both() {
        for events in [ERR, HUP] {
            let (read, write) = registered();
            read.clear_ready(read.snapshot());
            write.clear_ready(write.snapshot());
            let concerned = merge(&read, &write, events);
            assert!(concerned.readers && concerned.writers);
            assert!(read.snapshot().is_ready() && write.snapshot().is_ready());
        }
    }

    /// Bug B8, B1: the closed states come from events only, and stay.
    #[test]
    fn closed_is_sticky_and_never_guessed() {
        let (read, write) = registered();
        merge(&read, &write, IN | OUT);
        assert!(!Readiness::of(read.snapshot(), write.snapshot()).is_read_closed());
        merge(&read, &write, IN | RDHUP);
        read.clear_ready(read.snapshot());
        let readiness = Readiness::of(read.snapshot(), write.snapshot());
        assert!(readiness.is_read_closed() && !readiness.is_write_closed());
        assert_eq!(format!("{readiness:?}"), r#"{"writable", "read_closed"}"#);
    }

    /// After PRI, RDHUP, HUP or ERR, a short read does not mean "drained".
    #[test]
    fn short_counts_are_trusted_only_in_the_usual_case() {
        for (events, trusted) in [(IN, true), (IN | OUT, true), (IN | PRI, false), (IN | RDHUP, false), (HUP, false)] {
            let (read, write) = registered();
            merge(&read, &write, events);
            assert_eq!(read.snapshot().trusts_short_counts(), trusted, "{events:#x}");
        }
    }
}
