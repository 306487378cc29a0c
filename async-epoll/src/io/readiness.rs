//! What the kernel has reported about a source.
//!
//! [`Readiness`] is the public form: a plain set of facts. [`ReadinessWord`] is the reactor's form, one for reading and
//! one for writing: an atomic word with the facts in its low bits and, above them, a *generation* that grows with every
//! event. Operations take a [`Snapshot`] of the word before they start.
//!
//! The hard idea is the generation. An edge-triggered event is reported once. Suppose an operation meets `WouldBlock`,
//! and before its thread notes "not ready", another thread dispatches a new event. If the flag were cleared now, the
//! new edge would be lost, and the task would hang. So an operation clears the flag only if the generation is still
//! the generation of the snapshot:
//!
//! ```text
//!      ┌───────────┐  event from epoll_wait: generation + 1   ┌───────────┐
//!      │ not ready │ ───────────────────────────────────────► │   ready   │ ◄─┐ operation succeeded:
//!      │  waiters  │ ◄─────────────────────────────────────── │           │ ──┘ stay ready
//!      └───────────┘  operation: WouldBlock, and the gene-    └───────────┘
//!                     ration is that of the snapshot
//! ```
//!
//! # States that end
//!
//! Hang-ups and errors are states of the file, and the file may leave them: a FIFO gets a new writer, a terminal is
//! opened again, a socket was registered before it was connected, an error is collected. Each event carries all states
//! of the file at its time, so an event replaces the states noted before. Some changes make no event (a FIFO that gets
//! a writer has nothing to report yet). Then an operation refutes the state, under the rule of the generation:
//!
//! | noted | refuted by `WouldBlock` of |
//! |---|---|
//! | the peer's half-close (`EPOLLRDHUP`) | a read |
//! | hang-up (`EPOLLHUP`): both directions closed | a read; for the direction of writing also a write |
//! | error (`EPOLLERR`) | an attempt with `Interest::ERROR` |
//!
//! A read does not refute an error, because the error may be a message in the socket's error queue, which reads do not
//! return. Reading data and reading the error queue are separate jobs, perhaps of two tasks on one source, and neither
//! job may clear the flags of the other.
//!
//! Deliberately not here: the tasks that wait. See [waiters](super::waiters) and [registry](super::registry).

use super::interest::{Interest, Want};
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
/// The events that concern waits for the exceptional condition: after all but `EPOLLPRI` it may never come.
const CONCERNS_PRIORITY: u32 = PRI | RDHUP | HUP | ERR;

/// What is known about a source: which operations are likely to succeed, and which directions are closed.
///
/// Readiness is a hint, not a promise: another task may take the data first. The closed states and the error are states
/// of the file, as of the last event. They end when the kernel reports an event without them, or when an operation
/// refutes them: a read that meets `WouldBlock` proves that reading is not closed. The names in parentheses below are
/// from [`epoll_ctl(2)`](https://man7.org/linux/man-pages/man2/epoll_ctl.2.html).
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
            (read.has(RDHUP_FLAG | HUP_FLAG), Self::READ_CLOSED),
            // An event notes a hang-up in both words, so a word without it has refuted it.
            (read.has(HUP_FLAG) && write.has(HUP_FLAG), Self::WRITE_CLOSED),
            (read.has(ERROR), Self::ERROR),
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
    ///
    /// This state ends if the file is opened or connected again, once an event or a read that meets `WouldBlock` shows
    /// it. A FIFO, for example, may get a new writer, and a new TCP socket counts as closed until it is connected.
    pub const fn is_read_closed(self) -> bool {
        self.0 & Self::READ_CLOSED != 0
    }

    /// Returns whether nothing can be sent any more (`EPOLLHUP`).
    ///
    /// This state ends as [`is_read_closed`](Self::is_read_closed) does. A write that meets `WouldBlock` ends it, too.
    pub const fn is_write_closed(self) -> bool {
        self.0 & Self::WRITE_CLOSED != 0
    }

    /// Returns whether the kernel reported an error (`EPOLLERR`): a pending error of the socket, a message in its error
    /// queue, or the closed reading end of a pipe.
    ///
    /// The state ends with the next event without an error, or when a [`try_io`](crate::Source::try_io) with
    /// [`Interest::ERROR`](crate::Interest::ERROR) meets `WouldBlock`. Reading and writing do not end it: they cannot
    /// tell whether the error queue is empty.
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
/// `EPOLLPRI` was reported and not collected. In the word of reading.
const PRIORITY: u64 = 1 << 1;
/// The peer's half-close: `EPOLLRDHUP` was reported. In the word of reading. Always with [`UNUSUAL`].
const RDHUP_FLAG: u64 = 1 << 2;
/// Both directions are closed: `EPOLLHUP` was reported. In both words; each word can refute it. Always with [`UNUSUAL`].
const HUP_FLAG: u64 = 1 << 3;
/// `EPOLLERR` was reported. In the word of reading.
const ERROR: u64 = 1 << 4;
/// As [`ERROR`], for the waits for the exceptional condition, which an error ends. Cleared apart from it, so that
/// attempts for the condition and attempts for errors do not hide the error from each other.
const ERROR_ENDS_PRIORITY: u64 = 1 << 5;
/// PRI, RDHUP, HUP or ERR was reported since the last `WouldBlock`, so a short read does not mean "drained".
const UNUSUAL: u64 = 1 << 6;
/// The source is not registered yet. Operations have to ask the reactor whether it has been dropped.
const UNREGISTERED: u64 = 1 << 7;
/// The reactor has been dropped.
const GONE: u64 = 1 << 8;
/// The kernel has reported nothing yet: an operation tries at once, but a wait for readiness waits for the first event.
const GUESS: u64 = 1 << 9;
/// One step of the generation, which takes all bits above the flags.
const GENERATION: u64 = 1 << 10;

/// The states of the file. Each event has all of them, and replaces those noted before.
const STATES: u64 = RDHUP_FLAG | HUP_FLAG | ERROR | ERROR_ENDS_PRIORITY;
/// What `WouldBlock` of a read or a write clears in the word of its direction.
const BLOCKED: u64 = READY | GUESS | UNUSUAL | RDHUP_FLAG | HUP_FLAG;

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

    /// Notes an event that concerns this direction: sets `flags`, replaces the [`STATES`], and moves to the next
    /// generation.
    fn set(&self, flags: u64) {
        self.update(|word| (word & !STATES | flags).wrapping_add(GENERATION));
    }

    /// Notes an event that does not concern this direction, and so has none of its [`STATES`].
    fn set_usual(&self) {
        if self.snapshot().has(STATES) {
            self.update(|word| word & !STATES);
        }
    }

    /// Notes that the source has been registered: from now on the kernel reports its events.
    pub(crate) fn set_registered(&self) {
        self.update(|word| word & !UNREGISTERED);
    }

    /// Notes that the reactor has been dropped: every later operation fails.
    pub(crate) fn set_gone(&self) {
        self.update(|word| (word & !(READY | GUESS | UNREGISTERED) | GONE).wrapping_add(GENERATION));
    }

    /// Notes that the kernel reports nothing, because the source could not be registered or its interest lacks this
    /// direction: so the next operation tries at once, and registers again if the source is not registered.
    #[cold]
    pub(crate) fn set_guess(&self) {
        self.update(|word| if word & GONE == 0 { word | GUESS } else { word });
    }

    /// Clears `flags`, unless there was an event since `seen`.
    #[inline]
    fn clear(&self, seen: Snapshot, flags: u64) {
        if let Err(newer) = self.0.compare_exchange(seen.0, seen.0 & !flags, Ordering::AcqRel, Ordering::Relaxed) {
            self.clear_changed(seen, newer, flags);
        }
    }

    /// As [`clear`](Self::clear), when the word has changed to `word` since `seen`.
    #[cold]
    fn clear_changed(&self, seen: Snapshot, mut word: u64, flags: u64) {
        // A newer event must stay. Other flags that were cleared since do not matter: the rest is cleared as well.
        while word / GENERATION == seen.0 / GENERATION {
            match self.0.compare_exchange(word, word & !flags, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => word = newer,
            }
        }
    }

    /// Notes that an operation that started at `seen` met `WouldBlock` (or, on TCP, a short count, which is trusted only
    /// if no state was noted).
    pub(crate) fn clear_ready(&self, seen: Snapshot) {
        self.clear(seen, BLOCKED);
    }

    /// Notes in the word of reading that an attempt for the kinds in `interest`, started at `seen`, met `WouldBlock`.
    pub(crate) fn clear_attempt(&self, seen: Snapshot, interest: Interest) {
        let flag = |set: bool, flags: u64| if set { flags } else { 0 };
        let of_read = flag(interest.is_readable(), BLOCKED);
        let of_priority = flag(interest.is_priority(), PRIORITY | ERROR_ENDS_PRIORITY);
        self.clear(seen, of_read | of_priority | flag(interest.is_error(), ERROR));
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

    /// Returns whether a wait for the exceptional condition is over: the condition is pending, or may never come.
    pub(crate) const fn ends_priority(self) -> bool {
        self.has(PRIORITY | RDHUP_FLAG | HUP_FLAG | ERROR_ENDS_PRIORITY)
    }

    /// Returns whether an error was reported that no attempt has refuted.
    pub(crate) const fn is_error(self) -> bool {
        self.has(ERROR)
    }

    /// Returns whether the kernel has reported a hang-up (`EPOLLHUP`) that no attempt has refuted.
    pub(crate) const fn is_hung_up(self) -> bool {
        self.has(HUP_FLAG)
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
    let concerned = Concerned(events);
    // Nearly all masks of a socket.
    if events == IN | OUT {
        read.set(READY);
        write.set(READY);
        return concerned;
    }
    let flag = |mask: u32, flag: u64| if events & mask != 0 { flag } else { 0 };
    let of_read = READY
        | flag(PRI, PRIORITY)
        | flag(RDHUP, RDHUP_FLAG)
        | flag(HUP, HUP_FLAG)
        | flag(ERR, ERROR | ERROR_ENDS_PRIORITY)
        | flag(PRI | RDHUP | HUP | ERR, UNUSUAL);
    let of_write = READY | flag(HUP, HUP_FLAG) | flag(HUP | ERR, UNUSUAL);
    if concerned.concerns(Want::Read) {
        read.set(of_read);
    } else {
        read.set_usual();
    }
    if concerned.concerns(Want::Write) {
        write.set(of_write);
    } else {
        write.set_usual();
    }
    concerned
}

/// Notes an exceptional condition and an error that the kernel has reported elsewhere than in an event. Returns which
/// waiters that concerns; `None` if all was noted before.
///
/// Says nothing about data and room, so that a source is not made readable by a condition that lasts.
pub(crate) fn note_reported(read: &ReadinessWord, priority: bool, error: bool) -> Option<Concerned> {
    let flag = |set: bool, flags: u64| if set { flags } else { 0 };
    let flags = flag(priority, PRIORITY) | flag(error, ERROR | ERROR_ENDS_PRIORITY);
    let is_new = |word: u64| word & flags != flags;
    let change = |word: u64| is_new(word).then_some((word | flags | UNUSUAL).wrapping_add(GENERATION));
    read.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).ok()?;
    Some(Concerned(if priority { PRI } else { 0 } | if error { ERR } else { 0 }))
}

/// The waiters that an event concerns: its mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concerned(u32);

impl Concerned {
    /// All waiters.
    pub(crate) const ALL: Self = Self(!0);

    /// Returns whether the waits for `want` may be over.
    #[inline]
    pub(crate) const fn concerns(self, want: Want) -> bool {
        let events = match want {
            Want::Read => CONCERNS_READERS,
            Want::Write => CONCERNS_WRITERS,
            Want::Priority => CONCERNS_PRIORITY,
            Want::Error => ERR,
        };
        self.0 & events != 0
    }
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
        assert!(concerned.concerns(Want::Read) && !concerned.concerns(Want::Write));
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
            assert!(concerned.concerns(Want::Read) && concerned.concerns(Want::Write));
            assert!(read.snapshot().is_ready() && write.snapshot().is_ready());
        }
    }

    /// Bug B8, B1: the closed states come from events only, and stay while events confirm them and no read or write of
    /// their direction meets `WouldBlock`.
    #[test]
    fn closed_is_sticky_and_never_guessed() {
        let (read, write) = registered();
        merge(&read, &write, IN | OUT);
        assert!(!Readiness::of(read.snapshot(), write.snapshot()).is_read_closed());
        merge(&read, &write, IN | RDHUP);
        merge(&read, &write, IN | RDHUP | OUT);
        write.clear_ready(write.snapshot());
        read.clear_attempt(read.snapshot(), Interest::PRIORITY | Interest::ERROR);
        let readiness = Readiness::of(read.snapshot(), write.snapshot());
        assert!(readiness.is_read_closed() && !readiness.is_write_closed());
        assert_eq!(format!("{readiness:?}"), r#"{"readable", "read_closed"}"#);
    }

    /// What a step does to the states: an event with these bits, or `WouldBlock` of an operation.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Event(u32),
        Read,
        Write,
        Attempt(Interest),
    }
    use Step::{Attempt, Event, Read, Write};

    /// Found 4, 5: each state × each step. The columns are the states after the step: read closed, write closed, error,
    /// and whether a wait for the exceptional condition is over.
    #[test]
    fn states_and_what_ends_them() {
        let (none, half) = ([false; 4], [true, false, false, true]);
        let (both, error) = ([true, true, false, true], [false, false, true, true]);
        let table = [
            // Confirmed by an event, or not concerned by the step.
            (RDHUP, Event(IN | OUT | RDHUP), half),
            (RDHUP, Write, half),
            (RDHUP, Attempt(Interest::PRIORITY), half),
            (RDHUP, Attempt(Interest::ERROR), half),
            (HUP, Event(IN | HUP), both),
            (HUP, Attempt(Interest::PRIORITY), both),
            (ERR, Event(IN | OUT | ERR), error),
            (ERR, Read, error),
            (ERR, Write, error),
            // Ended by an event without the state, of either direction.
            (RDHUP, Event(IN), none),
            (RDHUP, Event(OUT), none),
            (HUP, Event(IN), none),
            (HUP, Event(OUT), none),
            (HUP, Event(IN | RDHUP), half),
            (ERR, Event(IN), none),
            (ERR, Event(OUT), none),
            // Refuted by an operation.
            (RDHUP, Read, none),
            (RDHUP, Attempt(Interest::READABLE), none),
            (HUP, Read, none),
            (HUP, Write, half),
            (HUP, Attempt(Interest::READABLE), none),
            (ERR, Attempt(Interest::ERROR), [false, false, false, true]),
            (ERR, Attempt(Interest::PRIORITY), [false, false, true, false]),
            (ERR, Attempt(Interest::PRIORITY | Interest::ERROR), none),
            (PRI | ERR, Attempt(Interest::PRIORITY), [false, false, true, false]),
            (PRI | ERR, Attempt(Interest::ERROR), [false, false, false, true]),
            (PRI, Attempt(Interest::READABLE), [false, false, false, true]),
            (PRI, Event(IN | OUT), [false, false, false, true]),
        ];
        for (first, step, after) in table {
            for newer in [false, true] {
                let (read, write) = registered();
                merge(&read, &write, first);
                let (seen_read, seen_write) = (read.snapshot(), write.snapshot());
                let before = states(&read, &write);
                let is_operation = !matches!(step, Event(_));
                if newer && is_operation {
                    // The same event again, while the operation runs: nothing may be cleared.
                    merge(&read, &write, first);
                }
                match step {
                    Event(events) => drop(merge(&read, &write, events)),
                    Read => read.clear_ready(seen_read),
                    Write => write.clear_ready(seen_write),
                    Attempt(interest) => read.clear_attempt(seen_read, interest),
                }
                let kept = newer && is_operation;
                let expected = if kept { before } else { after };
                assert_eq!(states(&read, &write), expected, "{first:#x}, {step:?}, newer event: {newer}");
            }
        }
    }

    fn states(read: &ReadinessWord, write: &ReadinessWord) -> [bool; 4] {
        let readiness = Readiness::of(read.snapshot(), write.snapshot());
        [readiness.is_read_closed(), readiness.is_write_closed(), readiness.is_error(), read.snapshot().ends_priority()]
    }

    /// Found 4: data and errors are cleared apart, in any order, and by operations that overlap.
    #[test]
    fn data_and_errors_are_cleared_apart() {
        let (read, write) = registered();
        let concerned = merge(&read, &write, ERR);
        assert!([Want::Read, Want::Write, Want::Priority, Want::Error].iter().all(|&want| concerned.concerns(want)));
        let seen = read.snapshot();
        read.clear_ready(seen);
        assert!(!read.snapshot().is_ready() && read.snapshot().is_error());
        // The word has changed since `seen`, but there was no event: the second operation clears as well.
        read.clear_attempt(seen, Interest::ERROR);
        assert!(!read.snapshot().is_error() && read.snapshot().ends_priority());
        assert!(!merge(&read, &write, IN | OUT | RDHUP | HUP).concerns(Want::Error));
    }

    /// After PRI, RDHUP, HUP or ERR, a short read does not mean "drained".
    #[test]
    fn short_counts_are_trusted_only_in_the_usual_case() {
        for (events, reads, writes) in [
            (IN, true, true),
            (IN | OUT, true, true),
            (IN | PRI, false, true),
            (IN | OUT | RDHUP, false, true),
            (HUP, false, false),
            (ERR, false, false),
        ] {
            let (read, write) = registered();
            merge(&read, &write, events);
            let trusted = [&read, &write].map(|word| word.snapshot().trusts_short_counts());
            assert_eq!(trusted, [reads, writes], "{events:#x}");
        }
    }

    /// The one check of the fast path: ready by an event, registered, and not gone.
    #[test]
    fn what_is_surely_ready() {
        let (read, write) = registered();
        merge(&read, &write, IN | OUT);
        assert!(read.snapshot().is_surely_ready() && write.snapshot().is_surely_ready());
        read.clear_ready(read.snapshot());
        assert!(!read.snapshot().is_surely_ready());
        write.set_gone();
        assert!(!write.snapshot().is_surely_ready());
        assert!(!ReadinessWord::new().snapshot().is_surely_ready(), "not registered");
    }

    /// What is reported elsewhere than in an event is noted once, and once again after an attempt has refuted it.
    #[test]
    fn reports_are_noted_once() {
        for (priority, error) in [(true, false), (false, true), (true, true)] {
            let (read, write) = registered();
            let concerned = note_reported(&read, priority, error).expect("new");
            assert!(concerned.concerns(Want::Priority));
            assert_eq!(concerned.concerns(Want::Error), error);
            assert_eq!((read.snapshot().ends_priority(), read.snapshot().is_error()), (true, error));
            assert!(!read.snapshot().trusts_short_counts());
            assert!(note_reported(&read, priority, error).is_none(), "noted before");
            read.clear_attempt(read.snapshot(), Interest::PRIORITY | Interest::ERROR);
            assert!(note_reported(&read, priority, error).is_some());
            merge(&read, &write, IN | OUT);
        }
    }
}
