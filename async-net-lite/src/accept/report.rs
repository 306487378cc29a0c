//! Reports of errors that an `Incoming` stream does not yield.
//!
//! A stream that skips and pauses hides what it skips and why it pauses. A server without descriptors then looks idle:
//! its clients wait, and its log is empty. So the accept loop reports such errors, to a closure of the user and as an
//! event of `tracing` (with the feature of that name). Under load there may be thousands of errors in a second, so there
//! is at most one report in [`INTERVAL`], with the number of those suppressed since the last.
//!
//! The counters of [`Stats`](async_epoll::Stats) are not here: the acceptor counts every error, reported or not.

use super::errors::Concern;
use async_epoll::Handle;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// An error of accepting that a stream of connections does not yield, since it goes on: for the closure of
/// [`Incoming::on_error`](crate::Incoming::on_error).
///
/// # Examples
///
/// The text of a report is one line for a log.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # async_epoll::block_on(async {
/// # let listener = async_net_lite::TcpListener::bind("127.0.0.1:0").await?;
/// let incoming = listener.incoming().on_error(|report| eprintln!("server: {report}"));
/// // server: accepting pauses for 5ms: Too many open files (os error 24)
/// # drop(incoming);
/// # Ok(())
/// # })?
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AcceptReport<'a> {
    /// The error of `accept(2)` or `epoll_ctl(2)`.
    pub error: &'a io::Error,
    /// How long the stream pauses, unless a socket of this crate is closed before. `None` if the stream has skipped a
    /// connection and goes on at once.
    pub pause: Option<Duration>,
    /// The number of skipped connections and pauses that have not been reported since the last report, because that was
    /// less than a second ago.
    pub suppressed: u64,
}

impl AcceptReport<'_> {
    /// Returns whether something has run out: descriptors, memory of the kernel, or places in epoll. Accepting succeeds again
    /// after something has been freed. Otherwise the error concerns connections.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # async_epoll::block_on(async {
    /// # let listener = async_net_lite::TcpListener::bind("127.0.0.1:0").await?;
    /// let incoming = listener.incoming().on_error(|report| {
    ///     // A client that has gone is not worth a line.
    ///     if report.is_shortage() {
    ///         eprintln!("server: {report}");
    ///     }
    /// });
    /// # drop(incoming);
    /// # Ok(())
    /// # })?
    /// # }
    /// ```
    pub fn is_shortage(&self) -> bool {
        matches!(Concern::of_wait(self.error), Concern::Shortage(_))
    }
}

impl fmt::Display for AcceptReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pause {
            Some(pause) => write!(f, "accepting pauses for {pause:?}: {}", self.error)?,
            None => write!(f, "a connection could not be accepted: {}", self.error)?,
        }
        match self.suppressed {
            0 => Ok(()),
            suppressed => write!(f, " ({suppressed} more since the last report)"),
        }
    }
}

/// The closure of a user.
type Hook = Box<dyn FnMut(&AcceptReport<'_>) + Send>;

/// Reports the errors of one accept loop.
pub(super) struct Reporter {
    /// The closure to call, if the user has set one. In a mutex so that a stream of connections is `Sync`; never locked.
    hook: Option<Mutex<Hook>>,
    /// The time of the last report, by the reactor's clock.
    last: Option<Instant>,
    /// The number of suppressed reports since then.
    suppressed: u64,
}

impl Reporter {
    /// Creates a reporter without a closure.
    pub(super) fn new() -> Self {
        Self { hook: None, last: None, suppressed: 0 }
    }

    /// Sets the closure to call.
    pub(super) fn set_hook(&mut self, hook: impl FnMut(&AcceptReport<'_>) + Send + 'static) {
        self.hook = Some(Mutex::new(Box::new(hook)));
    }

    /// Reports an error, unless the last report was less than [`INTERVAL`] ago. `fd` is the listener's descriptor.
    #[cold]
    pub(super) fn report(&mut self, handle: &Handle, fd: i32, error: &io::Error, pause: Option<Duration>) {
        let now = handle.now();
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            self.suppressed += 1;
            return;
        }
        self.last = Some(now);
        let report = AcceptReport { error, pause, suppressed: std::mem::take(&mut self.suppressed) };
        emit(fd, &report);
        if let Some(hook) = &mut self.hook {
            (hook.get_mut().unwrap_or_else(PoisonError::into_inner))(&report);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("last", &self.last)
            .field("suppressed", &self.suppressed)
            .finish_non_exhaustive()
    }
}

/// Emits a report as an event of `tracing`, of level `WARN`.
#[cfg(feature = "tracing")]
fn emit(fd: i32, report: &AcceptReport<'_>) {
    tracing::warn!(
        target: "async_net_lite",
        fd,
        error = %report.error,
        errno = super::errors::number(report.error),
        pause_ms = report.pause.map(|pause| pause.as_millis() as u64),
        suppressed = report.suppressed,
        "accept: {report}"
    );
}

/// Without the feature `tracing`, there are no events.
#[cfg(not(feature = "tracing"))]
const fn emit(_: i32, _: &AcceptReport<'_>) {}

#[cfg(test)]
mod tests {
    use super::Reporter;

    #[test]
    fn debug_shows_what_was_held_back() {
        let reporter = Reporter { suppressed: 3, ..Reporter::new() };
        assert_eq!(format!("{reporter:?}"), "Reporter { last: None, suppressed: 3, .. }");
    }
}
