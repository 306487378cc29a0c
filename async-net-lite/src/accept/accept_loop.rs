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
//! the loop backs off as for a shortage: something forbids accepting, and may end.

use super::acceptor::Acceptor;
use super::backoff::Backoff;
use super::errors::Concern;
use crate::socket::socket::Socket;
use socket2::SockAddr;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

/// The state of an `Incoming` stream.
#[derive(Debug)]
pub(crate) struct AcceptLoop {
    /// The pauses.
    backoff: Backoff,
    /// Whether the listener has failed. Set once; the stream has then ended.
    has_ended: bool,
}

impl AcceptLoop {
    /// Creates a loop that begins without a pause.
    pub(crate) fn new() -> Self {
        Self { backoff: Backoff::new(), has_ended: false }
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
        self.poll_next_by(cx, &acceptor.socket, |cx| {
            acceptor.poll_accept(cx).map(|accepted| accepted.and_then(&convert))
        })
    }

    /// As [`poll_next`](Self::poll_next), with any `accept`. Tests pass their own.
    fn poll_next_by<L: AsFd, T>(
        &mut self,
        cx: &mut Context<'_>,
        listener: &Socket<L>,
        mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<Option<io::Result<T>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        loop {
            ready!(self.backoff.poll_pause(cx));
            match accept(cx) {
                Poll::Ready(Err(error)) if Concern::of(&error) != Concern::Listener => {
                    self.backoff.fail(|| listener.handle());
                }
                result => {
                    self.backoff.cancel();
                    let result = ready!(result);
                    self.backoff.succeed();
                    self.has_ended = result.is_err();
                    return Poll::Ready(Some(result));
                }
            }
        }
    }
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
            self.accept_loop.poll_next_by(&mut Context::from_waker(&waker), &self.listener, |_| Poll::Ready(accept()))
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
        assert_eq!((paused::count(), Arc::strong_count(&one.woken)), (1, 1));
        drop(two);
        assert_eq!(paused::count(), 0);
    }

    /// An error of the listener itself ends the stream.
    #[test]
    fn other_errors_end_it() {
        let _alone = alone();
        let mut scene = Scene::new(false);
        assert!(matches!(scene.poll(|| Err(io::ErrorKind::NotConnected.into())), Poll::Ready(Some(Err(_)))));
        assert!(scene.accept_loop.has_ended() && matches!(scene.poll(|| Ok(7)), Poll::Ready(None)));
    }
}
