//! The timers of async-epoll, or stand-ins where that crate is not available.
//!
//! This file holds the one platform condition of the inner code: Linux with the feature `reactor`. All other files use
//! [`Timer`], [`poll_cooperate`], [`refused_operations`], [`clock_now`], [`process_number`] and [`helper_timer`] on every
//! platform. Without async-epoll, `Timer` is a type without values, so the compiler removes the branches that handle a
//! reactor's timer. The public items that name an `async_epoll::Handle` repeat the condition, because they do not exist
//! elsewhere.

pub(crate) use imp::{Timer, clock_now, helper_timer, poll_cooperate, process_number, refused_operations};

#[cfg(all(feature = "reactor", target_os = "linux"))]
mod imp {
    use async_epoll::{Background, ForkMark, Handle, Reactor};
    pub(crate) use async_epoll::{Timer, poll_cooperate, refused_operations};
    use futures::FutureExt;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};
    use std::time::Instant;

    /// Returns the time of the current reactor's clock, which a test may have moved. Without a current reactor, and without
    /// the feature `test-util`, returns the real time.
    pub(crate) fn clock_now() -> Instant {
        #[cfg(feature = "test-util")]
        if let Ok(handle) = Handle::current() {
            return handle.test_clock().now();
        }
        Instant::now()
    }

    /// Returns a number that tells this process from its parent and its forked children, without a system call.
    #[inline]
    pub(crate) fn process_number() -> u32 {
        ForkMark::new().number().get()
    }

    /// The reactor of [`helper_timer`], and the process that has its thread. A forked child has a copy without the thread.
    static HELPER: Mutex<Option<(ForkMark, Background)>> = Mutex::new(None);

    /// Returns a timer on a reactor with a thread of its own, which starts with the first such timer. `None` if it cannot
    /// start.
    ///
    /// For a forked child that has lost the helper thread of futures-timer, which cannot be started again.
    #[cold]
    pub(crate) fn helper_timer(deadline: Option<Instant>) -> Option<Timer> {
        // Not `lock`: another thread of the parent may have held the lock at the fork. Then nothing releases the lock.
        let mut helper = HELPER.try_lock().ok()?;
        let mut old = None;
        let handle = match &*helper {
            Some((process, background)) if !process.is_child() && runs(&background.handle()) => background.handle(),
            _ => {
                let background = Reactor::new().ok()?.into_background().ok()?;
                let handle = background.handle();
                old = helper.replace((ForkMark::new(), background));
                handle
            }
        };
        drop(helper);
        // Wakes the timers of the old helper, which run code of the user. They move to the new helper.
        drop(old);
        Some(match deadline {
            Some(deadline) => Timer::at(deadline, &handle),
            None => Timer::never(&handle),
        })
    }

    /// Returns whether the reactor has not been dropped: its thread has not ended by an error.
    fn runs(handle: &Handle) -> bool {
        let due = Timer::at(Instant::now(), handle).poll_unpin(&mut Context::from_waker(Waker::noop()));
        matches!(due, Poll::Ready(Ok(())))
    }
}

#[cfg(not(all(feature = "reactor", target_os = "linux")))]
mod imp {
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::{Duration, Instant};

    /// Returns how many operations were refused: without async-epoll, none.
    pub(crate) const fn refused_operations() -> u32 {
        0
    }

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

    /// Returns a number that tells this process from its parent and its forked children: the process ID, where processes
    /// fork. A child in a new PID namespace may have the same ID as its parent.
    pub(crate) fn process_number() -> u32 {
        if cfg!(unix) { std::process::id() } else { 1 }
    }

    /// Returns `None`: there is no reactor.
    pub(crate) fn helper_timer(_: Option<Instant>) -> Option<Timer> {
        None
    }
}
