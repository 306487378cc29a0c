//! What the kernel has told us about a source, and when it told us.
//!
//! Two things live here. [`Readiness`] is what users see: a plain set of facts. [`ReadinessWord`] is what the reactor
//! keeps, once for reading and once for writing: one atomic word with the facts in its low bits and, above them, a
//! *generation* that grows with every event.
//!
//! The hard idea is the generation. An edge-triggered event is told once. Suppose an operation meets `WouldBlock`, and
//! before its thread gets to note "not ready", another thread dispatches a new event. Clearing the flag now would
//! forget an edge that never comes again, and the task would hang. So the flag is cleared only if the word is still
//! exactly what the operation saw before it started:
//!
//! ```text
//!      ┌───────────┐  event from epoll_wait: generation + 1   ┌───────────┐
//!      │ not ready │ ───────────────────────────────────────► │   ready   │ ◄─┐ operation succeeded:
//!      │  waiters  │ ◄─────────────────────────────────────── │           │ ──┘ stay ready
//!      └───────────┘  operation: WouldBlock, and the word is  └───────────┘
//!                     still the one seen before it
//! ```
//!
//! Deliberately not here: who waits. That is the [registry](crate::io::registry)'s business.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// There is something to read: data, a queued connection, the end of file.
const IN: u32 = libc::EPOLLIN as u32;
/// There is room to write.
const OUT: u32 = libc::EPOLLOUT as u32;
/// An exceptional condition, such as urgent TCP data.
const PRI: u32 = libc::EPOLLPRI as u32;
/// An error waits to be collected, or the reader of a pipe has gone.
const ERR: u32 = libc::EPOLLERR as u32;
/// Both sides are closed, or the writer of a pipe has gone.
const HUP: u32 = libc::EPOLLHUP as u32;
/// The peer has closed its writing side.
const RDHUP: u32 = libc::EPOLLRDHUP as u32;

/// Events that concern a reader. Errors and hang-ups concern both sides: a reader that waited for `EPOLLIN` alone
/// would never learn of a pipe whose writer is gone.
const CONCERNS_READERS: u32 = IN | PRI | RDHUP | HUP | ERR;
/// Events that concern a writer. `EPOLLRDHUP` is not one: the peer's half-close does not stop us from sending, and
/// treating it as writable would make a blocked writer spin.
const CONCERNS_WRITERS: u32 = OUT | HUP | ERR;

/// What is known about a source: which operations are likely to succeed, and which sides are closed.
///
/// A hint, not a promise: another task may take the data first. The closed states are facts and stay. The names in
/// brackets below are those of [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
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
    /// See [`is_readable`](Self::is_readable).
    const READABLE: u8 = 1;
    /// See [`is_writable`](Self::is_writable).
    const WRITABLE: u8 = 2;
    /// See [`is_priority`](Self::is_priority).
    const PRIORITY: u8 = 4;
    /// See [`is_read_closed`](Self::is_read_closed).
    const READ_CLOSED: u8 = 8;
    /// See [`is_write_closed`](Self::is_write_closed).
    const WRITE_CLOSED: u8 = 16;
    /// See [`is_error`](Self::is_error).
    const ERROR: u8 = 32;

    /// Puts together what the two directions know.
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

    /// A read is likely not to meet `WouldBlock`: data, a queued connection, the end of file, or an error to collect.
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE != 0
    }

    /// A write is likely not to meet `WouldBlock`: there is room, or an error to collect.
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE != 0
    }

    /// The kernel reported an exceptional condition (`EPOLLPRI`), such as urgent TCP data.
    pub const fn is_priority(self) -> bool {
        self.0 & Self::PRIORITY != 0
    }

    /// The other side will send no more (`EPOLLRDHUP` or `EPOLLHUP`). Data sent before may still wait to be read.
    pub const fn is_read_closed(self) -> bool {
        self.0 & Self::READ_CLOSED != 0
    }

    /// Nothing can be sent any more (`EPOLLHUP`).
    pub const fn is_write_closed(self) -> bool {
        self.0 & Self::WRITE_CLOSED != 0
    }

    /// The kernel reported an error (`EPOLLERR`) that no operation has collected yet.
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

/// An operation is likely to get on.
const READY: u64 = 1;
/// `EPOLLPRI` was reported and not collected.
const PRIORITY: u64 = 1 << 1;
/// This side is closed. Stays for ever.
const CLOSED: u64 = 1 << 2;
/// `EPOLLERR` was reported and not collected.
const ERROR: u64 = 1 << 3;
/// PRI, RDHUP, HUP or ERR came since the last `WouldBlock`, so a short read does not mean "drained".
const UNUSUAL: u64 = 1 << 4;
/// The source is not registered yet: readiness is a guess, the reactor has to be asked whether it still lives.
const UNREGISTERED: u64 = 1 << 5;
/// The reactor is gone.
const GONE: u64 = 1 << 6;
/// Nothing is known yet: operations just try, those who want to be told wait for the first event.
const GUESS: u64 = 1 << 7;
/// One step of the generation, which fills the word above the flags.
const GENERATION: u64 = 1 << 8;

/// One direction of a source: the facts and the generation in one word.
#[derive(Debug)]
pub(crate) struct ReadinessWord(AtomicU64);

/// A [`ReadinessWord`] as an operation saw it before it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl ReadinessWord {
    /// Not registered, nothing known: the first operation just tries.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(GUESS | UNREGISTERED))
    }

    /// What is known now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Applies `change` to the word, whatever other threads do to it meanwhile.
    fn update(&self, change: impl Fn(u64) -> u64) {
        // The closure never declines, so the update cannot fail.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| Some(change(word)));
    }

    /// Notes an event: sets `flags` and moves to the next generation.
    fn set(&self, flags: u64) {
        self.update(|word| (word | flags).wrapping_add(GENERATION));
    }

    /// The source has been registered: from now on the kernel tells what is ready.
    pub(crate) fn set_registered(&self) {
        self.update(|word| word & !UNREGISTERED);
    }

    /// The reactor is gone: nothing is ready here any more, every look ends in an error.
    pub(crate) fn set_gone(&self) {
        self.update(|word| (word & !(READY | GUESS | UNREGISTERED) | GONE).wrapping_add(GENERATION));
    }

    /// Takes `flags` away unless an event came since `seen`.
    fn clear(&self, seen: Snapshot, flags: u64) {
        // Failing is fine: a newer event is in the word, and it must stay.
        let _ = self.0.compare_exchange(seen.0, seen.0 & !flags, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// An operation that started at `seen` met `WouldBlock` (or, on TCP, a short count).
    pub(crate) fn clear_ready(&self, seen: Snapshot) {
        self.clear(seen, READY | GUESS | UNUSUAL | ERROR);
    }

    /// An operation for the exceptional condition (and for reading, if `ready`) that started at `seen` met `WouldBlock`.
    pub(crate) fn clear_priority(&self, seen: Snapshot, ready: bool) {
        self.clear(seen, if ready { PRIORITY | READY | GUESS | UNUSUAL | ERROR } else { PRIORITY });
    }
}

impl Snapshot {
    /// Whether any of `flags` is set.
    const fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// Ready, registered, and the reactor lives: the one check of the fast path.
    pub(crate) const fn is_surely_ready(self) -> bool {
        self.0 & (READY | UNREGISTERED) == READY
    }

    /// The kernel said that an operation is likely to get on.
    pub(crate) const fn is_ready(self) -> bool {
        self.has(READY)
    }

    /// An operation is worth a try.
    pub(crate) const fn may_be_ready(self) -> bool {
        self.has(READY | GUESS)
    }

    /// The exceptional condition is pending.
    pub(crate) const fn is_priority(self) -> bool {
        self.has(PRIORITY)
    }

    /// The exceptional condition is pending, or may never come any more.
    pub(crate) const fn ends_priority(self) -> bool {
        self.has(PRIORITY | CLOSED | ERROR)
    }

    /// Not registered yet.
    pub(crate) const fn is_unregistered(self) -> bool {
        self.has(UNREGISTERED)
    }

    /// The reactor was dropped.
    pub(crate) const fn is_gone(self) -> bool {
        self.has(GONE)
    }

    /// Whether a count below the buffer's length means "drained": see [`UNUSUAL`].
    pub(crate) const fn trusts_short_counts(self) -> bool {
        !self.has(UNUSUAL)
    }
}

/// Notes one event of epoll in both directions; says whether readers, writers and priority waiters are concerned.
pub(crate) fn merge(read: &ReadinessWord, write: &ReadinessWord, events: u32) -> Concerned {
    let concerned = Concerned {
        readers: events & CONCERNS_READERS != 0,
        writers: events & CONCERNS_WRITERS != 0,
        priority: events & (PRI | RDHUP | HUP | ERR) != 0,
    };
    // Nearly always IN and OUT, and nothing else.
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

/// Whom an event concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concerned {
    /// Those who wait to read.
    pub(crate) readers: bool,
    /// Those who wait to write.
    pub(crate) writers: bool,
    /// Those who wait for the exceptional condition.
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

    /// Bug B5: however many events pass, a stale clear never takes a newer edge away.
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
        // 2^32 events at once: what a truncated 32-bit counter would take for "nothing happened".
        let seen = read.snapshot();
        read.0.fetch_add(GENERATION << 32, Ordering::Relaxed);
        read.set(READY);
        read.clear_ready(seen);
        assert!(read.snapshot().is_ready());
    }

    /// Bug B7: one direction's clear leaves the other.
    #[test]
    fn directions_are_cleared_apart() {
        let (read, write) = registered();
        merge(&read, &write, IN | OUT);
        read.clear_ready(read.snapshot());
        assert!(!read.snapshot().is_ready() && write.snapshot().is_ready());
    }

    /// Bug B9: the peer's half-close is no news for a writer.
    #[test]
    fn rdhup_concerns_readers_only() {
        let (read, write) = registered();
        write.clear_ready(write.snapshot());
        let concerned = merge(&read, &write, IN | RDHUP);
        assert!(concerned.readers && !concerned.writers);
        assert!(!write.snapshot().is_ready());
    }

    /// Bug B10: an error or hang-up without IN or OUT wakes both sides.
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

    /// Bug B8, B1: closed only from a real event, and then for good.
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

    /// The mask of events after which a short read proves nothing.
    #[test]
    fn short_counts_are_trusted_only_in_the_usual_case() {
        for (events, trusted) in [(IN, true), (IN | OUT, true), (IN | PRI, false), (IN | RDHUP, false), (HUP, false)] {
            let (read, write) = registered();
            merge(&read, &write, events);
            assert_eq!(read.snapshot().trusts_short_counts(), trusted, "{events:#x}");
        }
    }
}
