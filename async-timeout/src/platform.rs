//! The timers of async-epoll, or stand-ins where that crate is not available.
//!
//! This file holds the one platform condition of the inner code: Linux with the feature `reactor`. All other files use
//! [`Timer`], [`poll_cooperate`] and [`clock_now`] on every platform. Without async-epoll, `Timer` is a type without
//! values, so the compiler removes the branches that handle a reactor's timer. The public items that name an
//! `async_epoll::Handle` repeat the condition, because they do not exist elsewhere.

pub(crate) use imp::{Timer, clock_now, poll_cooperate};

#[cfg(all(feature = "reactor", target_os = "linux"))]
mod imp {
    pub(crate) use async_epoll::{Timer, poll_cooperate};
    use std::time::Instant;

    /// Returns the time of the current reactor's clock, which a test may have moved. Without a current reactor, and without
    /// the feature `test-util`, returns the real time.
    pub(crate) fn clock_now() -> Instant {
        #[cfg(feature = "test-util")]
        if let Ok(handle) = async_epoll::Handle::current() {
            return handle.test_clock().now();
        }
        Instant::now()
    }
}

#[cfg(not(all(feature = "reactor", target_os = "linux")))]
mod imp {
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::{Duration, Instant};

    /// A stand-in for `async_epoll::Timer`. No value of this type exists.
    pub(crate) enum Timer {}

    impl Timer {
        /// Returns an error: no reactor is current.
        pub(crate) fn try_after(_: Duration) -> io::Result<Self> {
            Err(io::ErrorKind::NotConnected.into())
        }

        /// Returns an error: no reactor is current.
        pub(crate) fn try_at(_: Instant) -> io::Result<Self> {
            Err(io::ErrorKind::NotConnected.into())
        }

        pub(crate) fn reset(&mut self, _: Instant) {
            match *self {}
        }

        pub(crate) fn deadline(&self) -> Option<Instant> {
            match *self {}
        }

        pub(crate) fn is_armed(&self) -> bool {
            match *self {}
        }

        pub(crate) fn is_elapsed(&self) -> bool {
            match *self {}
        }
    }

    impl Future for Timer {
        type Output = io::Result<()>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match *self {}
        }
    }

    /// Returns `Ready`. Without a reactor, nothing tells where the poll of a task begins, so there is no budget.
    pub(crate) fn poll_cooperate(_: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Returns the real time.
    pub(crate) fn clock_now() -> Instant {
        Instant::now()
    }
}
