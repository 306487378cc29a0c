//! The accept loop: accepts connections until the listener itself fails.
//!
//! The `Incoming` streams of all listeners run this loop, and convert each socket to a stream of their own type.
//!
//! ```text
//! loop {
//!     wait until the pause is over, if there is one
//!     match accept {
//!         shortage      => begin a pause, or confirm it
//!         empty queue   => no pause; wait for a connection
//!         a connection  => no pause; yield it
//!         other errors  => yield the error, then end
//!     }
//! }
//! ```
//!
//! The [`Acceptor`] skips errors of single connections. It returns such an error only after ten thousand in a row. Then
//! the loop backs off as for a shortage: something forbids accepting, and may end. Errors that the loop does not yield
//! go to its [`Reporter`].

use super::acceptor::Acceptor;
use super::backoff::Backoff;
use super::errors::{AcceptError, Concern};
use super::report::{AcceptReport, Reporter};
use crate::socket::socket::Socket;
use socket2::SockAddr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll, ready};

/// The state of an `Incoming` stream.
#[derive(Debug)]
pub(crate) struct AcceptLoop {
    /// The pauses.
    backoff: Backoff,
    /// Reports the errors that the stream does not yield.
    reporter: Reporter,
    /// Whether the listener has failed. Set once; the stream has then ended.
    has_ended: bool,
}

impl AcceptLoop {
    /// Creates a loop that begins without a pause.
    pub(crate) fn new() -> Self {
        Self { backoff: Backoff::new(), reporter: Reporter::new(), has_ended: false }
    }

    /// Sets the closure that gets the errors which the stream does not yield.
    pub(crate) fn on_error(&mut self, hook: impl FnMut(&AcceptReport<'_>) + Send + 'static) {
        self.reporter.set_hook(hook);
    }

    /// Returns whether the listener has failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Accepts the next connection. `convert` turns the socket into an item of the stream; an error of `convert` ends
    /// the loop.
    pub(crate) fn poll_next<L: AsFd, T>(
        &mut self,
        cx: &mut Context<'_>,
        acceptor: &Acceptor<L>,
        convert: impl Fn((socket2::Socket, SockAddr)) -> io::Result<T>,
    ) -> Poll<Option<io::Result<T>>> {
        self.poll_next_by(cx, &acceptor.socket, |cx, reporter| {
            let skipped = |error: &io::Error| report(reporter, &acceptor.socket, error);
            acceptor.poll_accept(cx, skipped).map(|accepted| convert(accepted?).map_err(AcceptError::of_conversion))
        })
    }

    /// As [`poll_next`](Self::poll_next), with any `accept`. Tests pass their own.
    fn poll_next_by<L: AsFd, T>(
        &mut self,
        cx: &mut Context<'_>,
        listener: &Socket<L>,
        mut accept: impl FnMut(&mut Context<'_>, &mut Reporter) -> Poll<Result<T, AcceptError>>,
    ) -> Poll<Option<io::Result<T>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        loop {
            ready!(self.backoff.poll_pause(cx));
            match accept(cx, &mut self.reporter) {
                Poll::Ready(Err(AcceptError { error, concern })) if concern != Concern::Listener => {
                    let handle = listener.handle();
                    // Only a confirmed pause is worth a report: the first error may be over at once.
                    if let Some(length) = self.backoff.fail(&handle) {
                        handle.count("accept_pauses", 1);
                        self.reporter.report(&handle, listener.as_raw_fd(), &error, Some(length));
                    }
                }
                Poll::Pending => {
                    self.backoff.find_empty();
                    return Poll::Pending;
                }
                Poll::Ready(result) => {
                    self.backoff.cancel();
                    self.backoff.succeed();
                    self.has_ended = result.is_err();
                    return Poll::Ready(Some(result.map_err(io::Error::from)));
                }
            }
        }
    }
}

/// Reports a connection that was skipped.
fn report<L: AsFd>(reporter: &mut Reporter, listener: &Socket<L>, error: &io::Error) {
    reporter.report(&listener.handle(), listener.as_raw_fd(), error, None);
}

#[cfg(test)]
mod tests {
    use super::super::backoff::{FIRST_PAUSE, MAX_PAUSE};
    use super::*;
    use crate::socket::paused::{self, CloseNotice};
    use async_epoll::Reactor;
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    /// Locks out the other tests, since all tests share the list of paused listeners.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A waker that counts wakes, and then panics if the flag is set.
    #[derive(Default)]
    struct Woken(AtomicUsize, bool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            assert!(!self.1, "on purpose");
        }
    }

    /// A listener, and an accept loop that gets its results from the test.
    struct Scene {
        _reactor: Reactor,
        listener: Socket<TcpListener>,
        accept_loop: AcceptLoop,
        woken: Arc<Woken>,
    }

    impl Scene {
        fn new(panics: bool) -> Self {
            let reactor = Reactor::new().unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let listener = Socket::lazy(listener, &reactor.handle());
            let woken = Arc::new(Woken(AtomicUsize::new(0), panics));
            Self { _reactor: reactor, listener, accept_loop: AcceptLoop::new(), woken }
        }

        fn poll(&mut self, mut accept: impl FnMut() -> io::Result<u32>) -> Poll<Option<io::Result<u32>>> {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.accept_loop.poll_next_by(&mut Context::from_waker(&waker), &self.listener, |_, _| {
                Poll::Ready(accept().map_err(AcceptError::of_accept))
            })
        }

        /// Begins a pause, and confirms it.
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

    /// A socket is closed between the error and the registration. There is no entry to wake, but accepting once more
    /// succeeds.
    #[test]
    fn what_is_freed_before_the_registration_is_found() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        let mut calls = 0;
        let polled = scene.poll(|| {
            calls += 1;
            if calls == 1 {
                drop(CloseNotice);
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
            Ok(calls)
        });
        assert!(matches!(polled, Poll::Ready(Some(Ok(2)))));
        assert_eq!((scene.wakes(), paused::count(), scene.accept_loop.backoff.next), (0, 0, FIRST_PAUSE));
    }

    /// The queue is empty when accepting is tried once more: there is no pause, and so no entry that a close would wake.
    #[test]
    fn an_empty_queue_needs_no_pause() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        let mut calls = 0;
        let mut cx = Context::from_waker(Waker::noop());
        let polled = scene.accept_loop.poll_next_by(&mut cx, &scene.listener, |_, _| {
            calls += 1;
            if calls == 2 {
                return Poll::Pending;
            }
            Poll::Ready(Err::<u32, _>(AcceptError::of_accept(io::Error::from_raw_os_error(libc::EMFILE))))
        });
        assert!(polled.is_pending() && calls == 2, "{calls}");
        assert_eq!(paused::count(), 0);
    }

    /// A socket is closed after the registration: the task is woken, and the pause is over.
    #[test]
    fn what_is_freed_after_the_registration_ends_the_pause() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        for round in 1..=3 {
            scene.pause();
            assert_eq!(paused::count(), 1);
            assert!(scene.poll(|| panic!("accepts during a pause")).is_pending());
            drop(CloseNotice);
            drop(CloseNotice);
            assert_eq!((scene.wakes(), paused::count()), (round, 0));
            assert!(matches!(scene.poll(|| Ok(7)), Poll::Ready(Some(Ok(7)))));
        }
    }

    /// Each pause is twice as long as the last, up to one second. An accepted connection makes the next pause short
    /// again.
    #[test]
    fn pauses_grow() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        for round in 0..12 {
            assert_eq!(scene.accept_loop.backoff.next, Duration::from_millis(5 << round).min(MAX_PAUSE));
            scene.pause();
            drop(CloseNotice);
        }
        assert!(scene.poll(|| Ok(7)).is_ready());
        assert_eq!(scene.accept_loop.backoff.next, FIRST_PAUSE);
    }

    /// A panic of a waker neither keeps other listeners waiting nor reaches the code that closes a socket. bug D4.
    #[test]
    fn a_panicking_waker_keeps_nobody_waiting() {
        let _alone = alone();
        let (mut bad, mut good) = (Scene::new(true), Scene::new(false));
        bad.pause();
        good.pause();
        drop(CloseNotice);
        assert_eq!((bad.wakes(), good.wakes()), (1, 1));
    }

    /// Dropping a pause removes its entry and its waker.
    #[test]
    fn a_dropped_pause_is_forgotten() {
        let _alone = alone();
        let (mut one, mut two) = (Scene::new(false), Scene::new(false));
        one.pause();
        two.pause();
        one.accept_loop = AcceptLoop::new();
        assert_eq!(Arc::strong_count(&one.woken), 1);
        // None is left if another test has closed a socket meanwhile, which ends all pauses.
        assert!(paused::count() <= 1);
        drop(two);
        assert_eq!(paused::count(), 0);
    }

    /// An error of the listener itself ends the stream.
    #[test]
    fn other_errors_end_it() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        assert!(!scene.accept_loop.has_ended());
        assert!(matches!(scene.poll(|| Err(io::ErrorKind::NotConnected.into())), Poll::Ready(Some(Err(_)))));
        assert!(scene.accept_loop.has_ended() && matches!(scene.poll(|| Ok(7)), Poll::Ready(None)));
    }
}
