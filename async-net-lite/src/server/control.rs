//! Commands to a server and its numbers, from any thread.
//!
//! A [`ServerHandle`] sets bits and wakes the server, which looks at the bits in its own poll. So a command may come from
//! anywhere, also from inside of a handler or a hook: nothing is called back. A command that comes before the server is polled
//! is found by the first poll.
//!
//! No command is lost: the server registers its waker before it reads the bits.

use super::report::{Counters, Report};
use futures::task::AtomicWaker;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// A stop was asked for.
pub(super) const STOP: u8 = 1;
/// A stop without a delay was asked for.
pub(super) const STOP_NOW: u8 = 2;
/// An abort was asked for.
pub(super) const ABORT: u8 = 4;

/// What a server and its handles share.
#[derive(Default)]
pub(super) struct Control {
    /// The commands so far. Bits are only set.
    commands: AtomicU8,
    /// Whether accepting is paused by the user.
    is_paused: AtomicBool,
    /// Whether the server serves. Set by its first poll, cleared at its end.
    is_serving: AtomicBool,
    /// The greatest number of connections.
    pub(super) max_connections: AtomicUsize,
    /// Wakes the server.
    pub(super) waker: AtomicWaker,
    /// The numbers.
    pub(super) counters: Counters,
}

impl Control {
    /// Returns the commands so far.
    pub(super) fn commands(&self) -> u8 {
        self.commands.load(Ordering::Acquire)
    }

    /// Adds a command, and wakes the server.
    fn command(&self, command: u8) {
        self.commands.fetch_or(command, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Asks for a stop, as the handle does.
    pub(super) fn stop(&self) {
        self.command(STOP);
    }

    /// Returns whether accepting is paused by the user.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// Pauses accepting, or ends the pause.
    fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Release);
        self.waker.wake();
    }

    /// Notes that the server serves, or has ended.
    pub(super) fn set_serving(&self, is_serving: bool) {
        self.is_serving.store(is_serving, Ordering::Release);
    }

    /// Changes the greatest number of connections.
    pub(super) fn set_max_connections(&self, limit: usize) {
        self.max_connections.store(limit, Ordering::Release);
        self.waker.wake();
    }
}

/// Controls a server from any thread; from [`Server::handle`](super::Server::handle).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::server::{Connection, Server};
/// use async_net_lite::{TcpListener, TcpStream};
/// use futures::AsyncReadExt;
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let spawner = runtime.spawner();
/// let report = runtime.try_run_until(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = Server::builder().listen(listener, |connection: Connection| async move { drop(connection) });
///     let handle = server.handle();
///     let client = async {
///         TcpStream::connect(address).await?.read_to_end(&mut Vec::new()).await?;
///         assert_eq!(handle.stats().accepted, 1);
///         handle.stop();
///         Ok(())
///     };
///     futures::try_join!(server.serve(&spawner), client)
/// })?
/// .0;
/// assert_eq!(report.served, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    /// What the server shares.
    control: Arc<Control>,
}

impl ServerHandle {
    /// Returns a handle.
    pub(super) const fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Stops the server gracefully: see [stopping](super::Server#stopping). A second call changes nothing.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Stops the server gracefully, without its [`drain_delay`](super::Server::drain_delay).
    pub fn stop_now(&self) {
        self.control.command(STOP_NOW);
    }

    /// Stops the server at once: aborts all connections, also if a graceful stop has begun.
    ///
    /// The futures of the handlers are dropped on the server's thread, when it next polls. The peers see a reset, so that no
    /// half of an answer looks like a whole one.
    pub fn abort(&self) {
        self.control.command(ABORT);
    }

    /// Stops accepting until [`resume`](Self::resume) is called. New connections wait in the backlog, and the server is not
    /// [ready](Self::is_ready).
    pub fn pause(&self) {
        self.control.set_paused(true);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.control.set_paused(false);
    }

    /// Returns whether new clients are welcome: the server serves, is not paused, and no stop was asked for.
    ///
    /// A server at its limit of connections is ready. For the health check of a load balancer: `false` as soon as a stop is
    /// asked for, while the server accepts for the time of [`drain_delay`](super::Server::drain_delay).
    pub fn is_ready(&self) -> bool {
        let Control { is_serving, commands, .. } = &*self.control;
        is_serving.load(Ordering::Acquire) && commands.load(Ordering::Acquire) == 0 && !self.control.is_paused()
    }

    /// Changes the [greatest number of connections](super::Server::max_connections). If more are open, they stay, and
    /// nothing is accepted until enough of them have ended. With 0, nothing is accepted.
    pub fn set_max_connections(&self, limit: usize) {
        self.control.set_max_connections(limit);
    }

    /// Returns the numbers of connections so far.
    ///
    /// On the server's thread they add up. Another thread may see a connection in one number and not yet in the next.
    pub fn stats(&self) -> Report {
        self.control.counters.report()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("is_ready", &self.is_ready()).field("stats", &self.stats()).finish()
    }
}
