//! What listeners of every kind share: which errors of `accept(2)` concern whom, and how to go on after them.
//!
//! `accept(2)` also reports errors of the *connection* it was about to return (the client has reset it, a firewall
//! forbids it); those say nothing about the listener, and must not end a server. And when descriptors or memory run out,
//! the same error comes again at once, for as long as nothing is freed, so asking again without a pause would spin. The
//! kernel even says `EMFILE` when nobody is in the queue.
//!
//! So a [`Backoff`] pauses: 5 ms, and twice as long each time, up to a second. Nobody tells when a descriptor becomes
//! free, except for those that we close ourselves, and in a server these are most of them. So each
//! [`Socket`] tells when it has been closed, and whoever has paused tries at once.
//!
//! ```text
//!   accept ──EMFILE──► enrol, and accept once more ──EMFILE──► pause
//!      ▲                            │ a connection,             │ a socket of ours is closed,
//!      │                            │ or nobody is there        │ or the time is over
//!      └────────────────────────────┴───────────────────────────┘
//! ```
//!
//! Why "once more"? A socket may be closed on another thread between the error and the enrolment, and then nobody is
//! told. Enrolled first, one of two things is true: `accept` finds the descriptor that was freed, or whoever frees one
//! finds us enrolled. Both go through the kernel's lock of the table of descriptors, one after the other:
//!
//! ```text
//!   listener:  enrol ──► accept: lock, none is free, unlock
//!   closer:              close:  lock, free one, unlock ──► is anybody enrolled?
//! ```
//!
//! Who has paused is known to the whole process, since it is the process that has run out of descriptors: the listener of
//! one thread goes on when a socket of another is closed. Where nobody has paused, which is always but for those
//! moments, closing costs one load of a number that nobody changes.

use crate::socket::Socket;
use async_epoll::{Handle, OPERATIONS_PER_POLL, Timer};
use futures::future::FutureExt;
use futures::task::AtomicWaker;
use socket2::{SockAddr, SockRef};
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Operations that an accept counts as, so that a task accepts at most 16 connections in one poll: each of them means more
/// work than a read, and the tasks of those that are there want to go on.
const ACCEPT_WEIGHT: u32 = OPERATIONS_PER_POLL / 16;
/// Errors of single connections in a row, without a connection or an empty queue in between. A queue is never that
/// long; something forbids `accept(2)` altogether, or the socket is none that accepts.
const MOST_STRIKES: u32 = 10_000;
/// The first pause after running out of descriptors or memory.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The kernel reports these for the connection it was about to return: `accept(2)`, "Error handling".
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// Something has run out. It will be there again once something else has been freed.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// A listening socket, whatever its addresses are.
#[derive(Debug)]
pub(crate) struct Acceptor<L: AsFd> {
    pub(crate) socket: Socket<L>,
    /// Errors in a row that were taken for those of single connections.
    strikes: AtomicU32,
}

impl<L: AsFd> Acceptor<L> {
    /// Of a socket that listens.
    pub(crate) fn new(socket: Socket<L>) -> Self {
        Self { socket, strikes: AtomicU32::new(0) }
    }

    /// Takes a connection from the queue; it is non-blocking and close-on-exec. Errors of single connections are passed
    /// over.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(socket2::Socket, SockAddr)>> {
        loop {
            let accepted = ready!(self.socket.poll_read_weighted(cx, ACCEPT_WEIGHT, |listener| {
                let accepted = SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
                if accepted.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true) {
                    self.strikes.store(0, Ordering::Relaxed);
                }
                accepted
            }));
            match accepted {
                // Each error spends some of the task's budget, so even a thousand of them do not hold the loop up.
                Err(error) if concerns_one_connection(&error) && self.strike() => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Counts an error of a single connection; `false` if there were so many in a row that it is not one.
    fn strike(&self) -> bool {
        self.strikes.fetch_add(1, Ordering::Relaxed) < MOST_STRIKES
    }
}

/// Goes on accepting, whatever happens, until the listener itself fails. The working half of a stream of connections.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// How long the next pause will be.
    next: Duration,
    /// The pause that is on.
    pause: Option<Pause>,
    /// The listener has failed.
    ended: bool,
}

impl Backoff {
    /// Accepts without a pause at first.
    pub(crate) fn new() -> Self {
        Self { next: FIRST_PAUSE, pause: None, ended: false }
    }

    /// Whether the listener has failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next item of a stream that accepts from `listener`, by `accept`.
    pub(crate) fn poll_next<L: AsFd, T>(
        &mut self,
        cx: &mut Context<'_>,
        listener: &Socket<L>,
        mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<Option<io::Result<T>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(pause) = self.pause.as_mut().filter(|pause| pause.is_confirmed) {
                ready!(pause.poll(cx));
                self.pause = None;
            }
            match accept(cx) {
                Poll::Ready(Err(error)) if is_shortage(&error) || concerns_one_connection(&error) => {
                    match &mut self.pause {
                        Some(pause) => pause.is_confirmed = true,
                        None => {
                            self.pause = Some(Pause::new(self.next, &listener.handle()));
                            self.next = (self.next * 2).min(LONGEST_PAUSE);
                        }
                    }
                }
                result => {
                    self.pause = None;
                    let result = ready!(result);
                    self.next = FIRST_PAUSE;
                    self.ended = result.is_err();
                    return Poll::Ready(Some(result));
                }
            }
        }
    }
}

/// A pause of one listener.
#[derive(Debug)]
struct Pause {
    timer: Timer,
    enrolment: Arc<Enrolment>,
    /// Accepting has failed after enrolling, too.
    is_confirmed: bool,
}

impl Pause {
    /// Enrols.
    fn new(duration: Duration, handle: &Handle) -> Self {
        let enrolment = Arc::<Enrolment>::default();
        let mut enrolled = PAUSED.lock();
        enrolled.push(Arc::clone(&enrolment));
        PAUSED.set_count(&enrolled);
        Self { timer: Timer::after(duration, handle), enrolment, is_confirmed: false }
    }

    /// Over once a descriptor has been freed, or the time is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The waker first: whoever comes after it finds it, whoever came before has left his note.
        self.enrolment.waker.register(cx.waker());
        if self.enrolment.freed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        // If the reactor is gone, so is the listener, and accepting will say so.
        self.timer.poll_unpin(cx).map(drop)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let mut enrolled = PAUSED.lock();
        enrolled.retain(|other| !Arc::ptr_eq(other, &self.enrolment));
        PAUSED.set_count(&enrolled);
        // Ours is the last reference to the waker, and it is dropped after the lock.
    }
}

/// How a pause hears that a descriptor has been freed.
#[derive(Debug, Default)]
struct Enrolment {
    freed: AtomicBool,
    waker: AtomicWaker,
}

/// Who has paused.
struct Paused {
    /// How many they are.
    count: AtomicUsize,
    enrolled: Mutex<Vec<Arc<Enrolment>>>,
}

/// In this process: see the top of this file.
static PAUSED: Paused = Paused { count: AtomicUsize::new(0), enrolled: Mutex::new(Vec::new()) };

impl Paused {
    /// The list. A panic cannot leave it half-changed: no foreign code runs under its lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Enrolment>>> {
        self.enrolled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many they are now.
    fn set_count(&self, enrolled: &MutexGuard<'_, Vec<Arc<Enrolment>>>) {
        // The kernel's lock orders this, see above; ours orders those who change it.
        self.count.store(enrolled.len(), Ordering::Relaxed);
    }

    /// Lets all of them try: each may be the one whose queue is not empty.
    #[cold]
    fn release(&self) {
        let mut enrolled = self.lock();
        let released = std::mem::take(&mut *enrolled);
        self.set_count(&enrolled);
        drop(enrolled);
        for enrolment in released {
            enrolment.freed.store(true, Ordering::Release);
            // A waker is foreign code. This runs where a socket is dropped, and others are to be told as well.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| enrolment.waker.wake())) {
                // What it carries may panic when it is dropped; what that carries is worth less than a leak.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(std::mem::forget);
            }
        }
    }
}

/// Tells, when it is dropped, that a descriptor has been closed.
#[derive(Debug)]
pub(crate) struct Freed;

impl Drop for Freed {
    #[inline]
    fn drop(&mut self) {
        if PAUSED.count.load(Ordering::Relaxed) != 0 {
            PAUSED.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_epoll::Reactor;
    use std::net::{Ipv4Addr, TcpListener};
    use std::task::{Wake, Waker};

    /// The list is the process's, so one test at a time.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts wakes, or panics.
    #[derive(Default)]
    struct Woken(AtomicUsize, bool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "on purpose");
        }
    }

    /// A listener that reports what it is told to.
    struct Scene {
        _reactor: Reactor,
        listener: Socket<TcpListener>,
        backoff: Backoff,
        woken: Arc<Woken>,
    }

    impl Scene {
        fn new(panics: bool) -> Self {
            let reactor = Reactor::new().unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let listener = Socket::lazy(listener, &reactor.handle());
            let woken = Arc::new(Woken(AtomicUsize::new(0), panics));
            Self { _reactor: reactor, listener, backoff: Backoff::new(), woken }
        }

        fn poll(&mut self, mut accept: impl FnMut() -> io::Result<u32>) -> Poll<Option<io::Result<u32>>> {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.backoff.poll_next(&mut Context::from_waker(&waker), &self.listener, |_| Poll::Ready(accept()))
        }

        /// Comes to a pause that is on.
        fn pause(&mut self) {
            let mut calls = 0;
            let polled = self.poll(|| {
                calls += 1;
                Err(io::Error::from_raw_os_error(libc::EMFILE))
            });
            assert!(polled.is_pending() && calls == 2, "{calls}");
        }

        fn wakes(&self) -> usize {
            self.woken.0.load(Ordering::SeqCst)
        }
    }

    /// Freed between the error and the enrolment: nobody is told, and it is found all the same.
    #[test]
    fn what_is_freed_before_the_enrolment_is_found() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        let mut calls = 0;
        let polled = scene.poll(|| {
            calls += 1;
            if calls == 1 {
                drop(Freed);
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
            Ok(calls)
        });
        assert!(matches!(polled, Poll::Ready(Some(Ok(2)))));
        assert_eq!((scene.wakes(), PAUSED.count.load(Ordering::SeqCst), scene.backoff.next), (0, 0, FIRST_PAUSE));
    }

    /// Freed after it: the task is woken, and the pause is over.
    #[test]
    fn what_is_freed_after_the_enrolment_ends_the_pause() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        for round in 1..=3 {
            scene.pause();
            assert_eq!(PAUSED.count.load(Ordering::SeqCst), 1);
            assert!(scene.poll(|| panic!("accepts during a pause")).is_pending());
            drop(Freed);
            drop(Freed);
            assert_eq!((scene.wakes(), PAUSED.count.load(Ordering::SeqCst)), (round, 0));
            assert!(matches!(scene.poll(|| Ok(7)), Poll::Ready(Some(Ok(7)))));
        }
    }

    /// Each pause is twice as long as the last, up to a second, and accepting makes the next one short again.
    #[test]
    fn pauses_grow() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        for round in 0..12 {
            assert_eq!(scene.backoff.next, Duration::from_millis(5 << round).min(LONGEST_PAUSE));
            scene.pause();
            drop(Freed);
        }
        assert!(scene.poll(|| Ok(7)).is_ready());
        assert_eq!(scene.backoff.next, FIRST_PAUSE);
    }

    /// A waker that panics neither keeps others waiting nor reaches whoever closes a socket. bug D4.
    #[test]
    fn a_panicking_waker_keeps_nobody_waiting() {
        let _alone = alone();
        let (mut bad, mut good) = (Scene::new(true), Scene::new(false));
        bad.pause();
        good.pause();
        drop(Freed);
        assert_eq!((bad.wakes(), good.wakes()), (1, 1));
    }

    /// A pause that is dropped is forgotten, and so is its waker.
    #[test]
    fn a_dropped_pause_is_forgotten() {
        let _alone = alone();
        let (mut one, mut two) = (Scene::new(false), Scene::new(false));
        one.pause();
        two.pause();
        one.backoff = Backoff::new();
        assert_eq!((PAUSED.count.load(Ordering::SeqCst), Arc::strong_count(&one.woken)), (1, 1));
        drop(two);
        assert_eq!(PAUSED.count.load(Ordering::SeqCst), 0);
    }

    /// An error of the listener itself ends the stream.
    #[test]
    fn other_errors_end_it() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        assert!(matches!(scene.poll(|| Err(io::ErrorKind::NotConnected.into())), Poll::Ready(Some(Err(_)))));
        assert!(scene.backoff.has_ended() && matches!(scene.poll(|| Ok(7)), Poll::Ready(None)));
    }
}
