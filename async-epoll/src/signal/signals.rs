//! What users hold: a stream of signals, and futures of the first one.

use super::number::Signal;
use super::subscription::Subscription;
use crate::engine::handle::Handle;
use crate::io::interest::Interest;
use crate::source::source::Source;
use futures::stream::{FusedStream, Stream};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Listens for signals: a [`Stream`] of the signals that arrive.
///
/// A signal counts from [`new`](Self::new) on, whether the stream is polled or not. As long as a listener of the process
/// exists for a signal, the signal does nothing else: SIGTERM does not end the process. When the last listener for the
/// signal is dropped, its old action comes back. Make the listeners first thing in `main`, so that no signal comes before.
///
/// Several listeners may be there for a signal, in one reactor or in several, on any thread. Each hears each signal.
///
/// # Signals coalesce
///
/// A signal that arrives again before the stream has returned it is returned once. The stream does not tell how often it
/// came, from which process, or which of two signals came first. That is so for all signals in Unix, but the real-time
/// signals: the kernel queues them, with a value each. Here they coalesce like the others, and the value is lost.
///
/// However many signals arrive, none goes unnoticed: after the last one, the stream returns it.
///
/// # Handlers, threads and processes
///
/// The handler is installed for the whole process by `sigaction(2)`, with `SA_RESTART`, and runs on any thread that does not
/// block the signal. It calls no earlier handler. No signal is blocked, so children begin with the signal mask of this
/// process, and the kernel gives each started program the default actions.
///
/// In a forked child, the old actions are back, and the listeners of the parent end: the stream returns `None`,
/// [`recv`](Self::recv) an error. The child may make its own.
///
/// A process with the ID 1 (the first of a container) has no default actions that would end it: without a listener, SIGTERM
/// does nothing there.
///
/// # Examples
///
/// ```no_run
/// use async_epoll::{Signal, Signals};
/// use futures::StreamExt;
///
/// # fn main() -> std::io::Result<()> {
/// async_epoll::block_on(async {
///     let mut signals = Signals::new([Signal::HUP, Signal::TERM])?;
///     while let Some(signal) = signals.next().await {
///         match signal {
///             Signal::HUP => println!("reading the configuration again"),
///             _ => break,
///         }
///     }
///     Ok(())
/// })?
/// # }
/// ```
#[must_use = "dropping the listener puts the old action of its signals back"]
pub struct Signals {
    /// The signals. Dropped first: the eventfd is not needed after the end of the subscription.
    subscription: Subscription,
    /// The listener's duplicate of the eventfd.
    source: Source<OwnedFd>,
    /// The stream has returned `None`.
    is_terminated: bool,
}

impl Signals {
    /// Listens for `signals`, with the current reactor.
    ///
    /// # Errors
    ///
    /// Those of [`new_with`](Self::new_with), and of [`Handle::current`].
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> io::Result<Self> {
        Self::new_with(signals, &Handle::current()?)
    }

    /// Listens for `signals`, with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for an empty set, and for signals that no process can listen for: SIGKILL and SIGSTOP, and SIGSEGV,
    ///   SIGBUS, SIGILL, SIGFPE and SIGABRT, which tell of a mistake in the program itself. The message gives the reason.
    ///   The actions of all signals are as before then.
    /// - `NotConnected` if the reactor has been dropped.
    /// - The errors of [`eventfd(2)`](https://man7.org/linux/man-pages/man2/eventfd.2.html), of
    ///   [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html) and of [`Source::with_interest`].
    pub fn new_with(signals: impl IntoIterator<Item = Signal>, handle: &Handle) -> io::Result<Self> {
        // All checks first, then the source: if one of them fails, no signal has been caught meanwhile.
        let check = |signal: Signal| signal.check_listener().map(|()| signal);
        let signals = signals.into_iter().map(check).collect::<io::Result<Vec<_>>>()?;
        if signals.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no signal to listen for: the set is empty"));
        }
        let (mut subscription, wake) = Subscription::new()?;
        let source = Source::with_interest(wake, Interest::READABLE, handle)?;
        for signal in signals {
            subscription.add(signal)?;
        }
        Ok(Self { subscription, source, is_terminated: false })
    }

    /// Waits for the next signal. As the stream, but tells the error that ends the stream.
    ///
    /// # Errors
    ///
    /// - `NotConnected` if the reactor has been dropped.
    /// - An error in a forked child of the process that made the listener.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a signal that arrives meanwhile is kept for the next call.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Signal, Signals};
    ///
    /// async_epoll::block_on(async {
    ///     let mut signals = Signals::new([Signal::USR1])?;
    ///     assert_eq!(signals.recv().await?, Signal::USR1);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    pub fn recv(&mut self) -> impl Future<Output = io::Result<Signal>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Polls for the next signal: the poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        let Self { subscription, source, .. } = self;
        // The counters are the descriptor that an operation reads. The eventfd is never read: each write makes an edge.
        source.poll_read_with(cx, |_| subscription.take().ok_or_else(|| io::ErrorKind::WouldBlock.into()))
    }
}

impl Stream for Signals {
    type Item = Signal;

    /// Ends when the reactor is dropped, and in a forked child.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        if self.is_terminated {
            return Poll::Ready(None);
        }
        let signal = ready!(self.poll_recv(cx)).ok();
        self.is_terminated = signal.is_none();
        Poll::Ready(signal)
    }
}

impl FusedStream for Signals {
    fn is_terminated(&self) -> bool {
        self.is_terminated
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.subscription.signals().collect::<Vec<_>>()).finish()
    }
}

/// A future of the first signal of a set: from [`ctrl_c`] and [`terminate`].
///
/// Listens from the beginning, whether it is polled or not. Once it is ready it does not listen any more: the next signal
/// has its old action, and a second Ctrl-C ends a process that is slow to stop.
#[must_use = "dropping the future puts the old action of its signals back"]
#[derive(Debug)]
pub struct FirstSignal {
    /// The listener; `None` once the future is ready.
    signals: Option<Signals>,
}

impl FirstSignal {
    /// Listens for `signals`.
    fn new(signals: impl IntoIterator<Item = Signal>, handle: &Handle) -> io::Result<Self> {
        Signals::new_with(signals, handle).map(|signals| Self { signals: Some(signals) })
    }
}

/// The error is that of [`Signals::recv`].
///
/// # Panics
///
/// If it is polled after it was ready.
impl Future for FirstSignal {
    type Output = io::Result<Signal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Signal>> {
        let signals = self.signals.as_mut().expect("the future was ready already");
        let result = ready!(signals.poll_recv(cx));
        self.signals = None;
        Poll::Ready(result)
    }
}

/// Listens for SIGINT, which Ctrl-C sends, with the current reactor. Returns a future of the first one.
///
/// The signal counts from this call on, not from the first poll of the future.
///
/// # Errors
///
/// Those of [`Signals::new`].
///
/// # Examples
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// async_epoll::block_on(async {
///     let ctrl_c = async_epoll::ctrl_c()?;
///     println!("working until Ctrl-C");
///     ctrl_c.await?;
///     Ok(())
/// })?
/// # }
/// ```
pub fn ctrl_c() -> io::Result<FirstSignal> {
    ctrl_c_with(&Handle::current()?)
}

/// Listens for SIGINT, with the reactor of `handle`: see [`ctrl_c`].
///
/// # Errors
///
/// Those of [`Signals::new_with`].
pub fn ctrl_c_with(handle: &Handle) -> io::Result<FirstSignal> {
    FirstSignal::new([Signal::INT], handle)
}

/// Listens for the signals that ask a process to end, SIGINT (Ctrl-C) and SIGTERM (`kill`, service managers), with the
/// current reactor. Returns a future of the first one.
///
/// The signals count from this call on, not from the first poll of the future.
///
/// # Errors
///
/// Those of [`Signals::new`].
///
/// # Examples
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// async_epoll::block_on(async {
///     let stop = async_epoll::terminate()?;
///     println!("serving until Ctrl-C or SIGTERM");
///     println!("{} has arrived", stop.await?);
///     Ok(())
/// })?
/// # }
/// ```
pub fn terminate() -> io::Result<FirstSignal> {
    terminate_with(&Handle::current()?)
}

/// Listens for SIGINT and SIGTERM, with the reactor of `handle`: see [`terminate`].
///
/// # Errors
///
/// Those of [`Signals::new_with`].
pub fn terminate_with(handle: &Handle) -> io::Result<FirstSignal> {
    FirstSignal::new([Signal::INT, Signal::TERM], handle)
}
