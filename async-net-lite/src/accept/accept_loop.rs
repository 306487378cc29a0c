//! The accept loop: goes on accepting until the listener itself fails.
//!
//! The streams of connections of all listeners run this loop, and turn each socket that it yields into a stream of theirs.
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
//! Errors of single connections have been passed over by the [`Acceptor`]. One that arrives here nevertheless has come ten
//! thousand times in a row, and is treated like a shortage: something forbids accepting, and may be over some time.

use super::acceptor::Acceptor;
use super::backoff::Backoff;
use super::errors::Concern;
use crate::socket::socket::Socket;
use socket2::SockAddr;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

/// The state of a stream of connections.
#[derive(Debug)]
pub(crate) struct AcceptLoop {
    backoff: Backoff,
    /// Whether the listener has failed.
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

    /// Accepts the next connection. `convert` turns it into the item of the stream; an error of `convert` ends the loop.
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

    /// [`poll_next`](Self::poll_next) by any `accept`, which tests replace.
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

    /// Freed between the error and the registration: no entry is there, and accepting once more finds it.
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

    /// Freed after it: the task is woken, and the pause is over.
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

    /// Each pause is twice as long as the last, up to a second, and accepting makes the next one short again.
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

    /// A waker that panics neither keeps others waiting nor reaches whoever closes a socket. bug D4.
    #[test]
    fn a_panicking_waker_keeps_nobody_waiting() {
        let _alone = alone();
        let (mut bad, mut good) = (Scene::new(true), Scene::new(false));
        bad.pause();
        good.pause();
        drop(CloseNotice);
        assert_eq!((bad.wakes(), good.wakes()), (1, 1));
    }

    /// A pause that is dropped is forgotten, and so is its waker.
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
