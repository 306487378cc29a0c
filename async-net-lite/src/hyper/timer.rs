//! The timers for hyper: sleeps of async-timeout.

use async_timeout::{Sleep, now, sleep, sleep_until};
use hyper::rt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Provides the timers for hyper's timeouts, such as `header_read_timeout` and the `keep_alive_interval` of HTTP/2.
///
/// The timers are [`async_timeout`]'s: timers of the current reactor, or of futures-timer without a current reactor. A
/// duration counts from the first poll. No timer fires early. The present time is [`async_timeout::now`], which a test may
/// have moved. Resetting a pending timer changes it in place, and a
/// timer stays unarmed until its first poll.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::HyperTimer;
/// use hyper::rt::Timer;
/// use std::time::{Duration, Instant};
///
/// let begin = Instant::now();
/// async_epoll::block_on(async {
///     let mut sleep = HyperTimer.sleep(Duration::MAX);
///     HyperTimer.reset(&mut sleep, begin + Duration::from_millis(2));
///     sleep.await;
/// })?;
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperTimer;

impl HyperTimer {
    /// Returns the timer, which has no state.
    pub fn new() -> Self {
        Self
    }
}

/// A [`Sleep`] that implements hyper's trait.
struct HyperSleep(Sleep);

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl rt::Sleep for HyperSleep {}

impl rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(HyperSleep(sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(HyperSleep(sleep_until(deadline)))
    }

    fn now(&self) -> Instant {
        now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(sleep) => sleep.get_mut().0.reset(deadline),
            // A sleep of another timer type. hyper does not mix types, but its trait allows a mix.
            None => *sleep = self.sleep_until(deadline),
        }
    }
}
