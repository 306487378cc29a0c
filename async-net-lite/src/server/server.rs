//! What users begin with: the settings of a server, and the ways to run it.

use super::address::Address;
use super::control::{Control, ServerHandle};
use super::event::{Event, Hook, Refusal};
use super::handler::Handler;
use super::hub::Hub;
use super::listener::Listener;
use super::refusals::{Answer, Refusals};
use super::report::Report;
use super::serving::{Served, Serving};
use super::settings::{Settings, default_max_connections};
use async_epoll::{Handle, LocalRuntime, Spawner};
use futures::future::LocalBoxFuture;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A server: listeners, their handlers, and limits. Nothing is accepted before [`serve`](Self::serve) is polled or
/// [`run`](Self::run) is called.
///
/// A server runs [in the caller's loop](Self::serve) or [by itself](Self::run), on one thread.
///
/// # Limits
///
/// | limit | default | at the limit |
/// |---|---|---|
/// | [`max_connections`](Self::max_connections) | half of the descriptors | nothing is accepted, and clients wait in the backlog |
/// | [`soft_limit`](Self::soft_limit) | off | the connection that was idle longest ends |
/// | [`max_per_address`](Self::max_per_address) | off | the connection is refused |
/// | [`first_byte_timeout`](Self::first_byte_timeout) | 30 s | the connection fails, and counts as [timed out](super::Outcome::TimedOut) |
/// | [`idle_timeout`](Self::idle_timeout) | 75 s | likewise |
/// | [`write_stall_timeout`](Self::write_stall_timeout) | 60 s | likewise |
/// | [`min_rate`](Self::min_rate), [`lifetime`](Self::lifetime) | off | likewise |
/// | [`linger`](Self::linger) | 64 KiB, 5 s | the socket is closed |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | 30 s | the connections that are left are aborted |
///
/// If descriptors or memory run out all the same, accepting pauses, as that of [`Incoming`](crate::Incoming) does.
///
/// # Stopping
///
/// A server stops when its [`shutdown`](Self::shutdown) signal is ready, or by its [`ServerHandle`]. Stopping twice is
/// stopping once.
///
/// 1. The server is not [ready](ServerHandle::is_ready) any more. For [`drain_delay`](Self::drain_delay), it goes on
///    otherwise.
/// 2. [`Connection::stopping`](super::Connection::stopping) is cancelled. The server takes what is in the backlog, within the limit of connections, and
///    closes the listeners. A connection that is idle, in [`Connection::idle`](super::Connection::idle) or because no byte has come on it yet, is looked
///    at: a request that is there is answered. Otherwise the connection ends, after [`idle_grace`](Self::idle_grace).
/// 3. The other connections end by themselves. With the last of them, the server ends.
/// 4. After [`shutdown_timeout`](Self::shutdown_timeout), those that are left are aborted: their handlers are dropped, and
///    their peers see a reset. What is left in the backlog is refused, and counted. [`ServerHandle::abort`] does this at once.
///
/// # Examples
///
/// A server in the loop of its client, which stops it.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::server::{Connection, Next, Server};
/// use async_net_lite::{TcpListener, TcpStream};
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// let mut runtime = async_epoll::LocalRuntime::new()?;
/// let spawner = runtime.spawner();
/// runtime.try_run_until(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let echo = async |mut connection: Connection| {
///         let mut buffer = [0; 1024];
///         while connection.idle().await? == Next::Data {
///             let len = connection.read(&mut buffer).await?;
///             connection.write_all(&buffer[..len]).await?;
///         }
///         std::io::Result::Ok(())
///     };
///     let server = Server::builder().listen(listener, echo).max_connections(100);
///     let handle = server.handle();
///     let client = async {
///         let mut client = TcpStream::connect(address).await?;
///         client.write_all(b"hello").await?;
///         client.read_exact(&mut [0; 5]).await?;
///         // The connection is idle now, so the server closes it at once.
///         handle.stop();
///         assert_eq!(client.read(&mut [0]).await?, 0);
///         Ok(())
///     };
///     let (report, ()) = futures::try_join!(server.serve(&spawner), client)?;
///     assert_eq!((report.accepted, report.closed_idle), (1, 1));
///     Ok(())
/// })
/// # }
/// ```
///
/// An echo server that runs until it gets SIGINT or SIGTERM.
///
/// ```no_run
/// use async_net_lite::server::{Connection, Server};
/// use futures::AsyncReadExt;
/// use std::net::TcpListener;
///
/// fn main() -> std::io::Result<()> {
///     let echo = async |connection: Connection| {
///         let (reader, mut writer) = connection.split();
///         futures::io::copy(reader, &mut writer).await.map(drop)
///     };
///     let report = Server::builder().listen(TcpListener::bind("127.0.0.1:7000")?, echo).max_connections(1000).run()?;
///     println!("{report}");
///     Ok(())
/// }
/// ```
#[must_use = "a server does nothing before it is served or run"]
pub struct Server {
    /// The listeners with their handlers, in the order of the calls.
    listeners: Vec<(Listener, Rc<dyn Handler>)>,
    /// The limits.
    settings: Settings,
    /// The user's shutdown signal.
    shutdown: Option<LocalBoxFuture<'static, ()>>,
    /// The user's hook.
    hook: Option<Hook>,
    /// Makes the answers to refused connections.
    answer: Option<Answer>,
    /// What is shared with the handles.
    control: Arc<Control>,
}

impl Server {
    /// Returns a server without listeners, with the default limits.
    pub fn builder() -> Self {
        let control = Arc::<Control>::default();
        control.set_max_connections(default_max_connections());
        Self { listeners: Vec::new(), settings: Settings::default(), shutdown: None, hook: None, answer: None, control }
    }

    /// Adds a listener and the handler of its connections. There may be any number of listeners, TCP and Unix.
    ///
    /// The handler is called in a task of its own for each connection: see [`Handler`].
    ///
    /// When the server stops, it drops the listener, which closes the socket, unless there are clones of it.
    pub fn listen(mut self, listener: impl Into<Listener>, handler: impl Handler + 'static) -> Self {
        self.listeners.push((listener.into(), Rc::new(handler)));
        self
    }

    /// Limits the number of connections that are open at a time, of all listeners together.
    ///
    /// At the limit, nothing is accepted: clients wait in the backlog of the kernel, and are served as soon as there is room. By
    /// default, the limit is half of the descriptors that the process may have open, after
    /// [`RESERVED_DESCRIPTORS`](super::RESERVED_DESCRIPTORS): so each handler may open one more. It can be changed
    /// [while the server runs](ServerHandle::set_max_connections).
    pub fn max_connections(self, limit: usize) -> Self {
        self.control.set_max_connections(limit);
        self
    }

    /// Closes the connection that has been idle longest, for at least the time `idle`, whenever a connection is accepted and more
    /// than `limit` are open. Off by default. 30 s are a good `idle`.
    ///
    /// So a server that comes near its [`max_connections`](Self::max_connections) makes room for new clients at the cost of
    /// those that have nothing to say. Idle is a connection in [`Connection::idle`](super::Connection::idle), or one on which no
    /// byte has come. It is looked at first: a request that is there is answered. Such connections count as
    /// [closed idle](super::Outcome::ClosedIdle), and apart as [`shed`](Report::shed). Each accept above the limit looks at all
    /// connections.
    pub fn soft_limit(mut self, limit: usize, idle: Duration) -> Self {
        self.settings.soft_limit = Some((limit, idle));
        self
    }

    /// Limits the number of connections of one IP address that are open at a time; for IPv6, of one network of 64 bits. More are
    /// [refused](Report::refused): accepted and closed. Off by default. Connections of Unix sockets are not limited.
    ///
    /// Behind a proxy, all connections have the proxy's address.
    pub fn max_per_address(mut self, limit: usize) -> Self {
        self.settings.max_per_address = Some(limit);
        self
    }

    /// Refuses connections beyond [`max_connections`](Self::max_connections), instead of leaving them in the backlog, with an
    /// answer such as a 503. Off by default: a backlog that waits is served when there is room.
    ///
    /// `answer` returns the bytes, which should be few; no bytes close the connection at once. It answers connections beyond
    /// [`max_per_address`](Self::max_per_address), too. The server then throws away what the client sends, for at most
    /// [`REFUSAL_TIMEOUT`](super::REFUSAL_TIMEOUT), so that no reset destroys the answer. At most
    /// [`MAX_REFUSALS`](super::MAX_REFUSALS) are answered at a time, in addition to the limit of connections; more wait in the
    /// backlog. If `answer` panics, the connection is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use async_net_lite::server::Server;
    ///
    /// let server = Server::builder()
    ///     .refuse_when_full(|_reason, _peer| b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec());
    /// # drop(server);
    /// ```
    pub fn refuse_when_full(mut self, answer: impl FnMut(Refusal, &Address) -> Vec<u8> + 'static) -> Self {
        self.answer = Some(Box::new(answer));
        self
    }

    /// Limits the time from the accept to the first byte, while the handler waits for it. 30 s by default; `Duration::MAX` is no
    /// limit.
    ///
    /// What the handler sends does not count, so a protocol in which the server speaks first is limited, too.
    pub fn first_byte_timeout(mut self, limit: Duration) -> Self {
        self.settings.first_byte_timeout = limit;
        self
    }

    /// Limits the time without a byte in either direction, while the handler waits for one, by
    /// [`IoGuard::idle`](async_timeout::IoGuard::idle). 75 s by default; `Duration::MAX` is no limit.
    ///
    /// A handler may change it for its connection: [`Connection::set_idle_timeout`](super::Connection::set_idle_timeout).
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = limit;
        self
    }

    /// Limits the time without a byte that the peer takes, while the handler waits to write, by
    /// [`IoGuard::write_stall`](async_timeout::IoGuard::write_stall). 60 s by default; `Duration::MAX` is no limit.
    pub fn write_stall_timeout(mut self, limit: Duration) -> Self {
        self.settings.write_stall_timeout = limit;
        self
    }

    /// Demands that the peer sends at least `bytes` in each `period` in which the handler waits to read, by
    /// [`IoGuard::min_read_rate`](async_timeout::IoGuard::min_read_rate). Off by default, and with no bytes.
    ///
    /// The wait for a request in [`Connection::idle`](super::Connection::idle) does not count.
    pub fn min_rate(mut self, bytes: u64, period: Duration) -> Self {
        self.settings.min_rate = (bytes > 0).then_some((bytes, period));
        self
    }

    /// Limits the time of a whole connection, from its first operation, by
    /// [`IoGuard::total`](async_timeout::IoGuard::total). Off by default. Only operations of the connection find that it is
    /// exceeded.
    pub fn lifetime(mut self, limit: Duration) -> Self {
        self.settings.lifetime = limit;
        self
    }

    /// Limits how much, and for how long, the server still reads after the end of a handler, until the peer has closed its
    /// direction. 64 KiB and 5 s by default; with no bytes or no time, the socket is closed at once.
    ///
    /// The kernel resets a connection that is closed while bytes of the peer are unread or under way, and the peer may lose what
    /// was sent to it. A lingering connection counts against [`max_connections`](Self::max_connections). There is no lingering
    /// after a panic, an abort or an exceeded limit of time, and none is needed if the handler has read the end of file.
    pub fn linger(mut self, bytes: usize, time: Duration) -> Self {
        self.settings.linger = (bytes > 0 && !time.is_zero()).then_some((bytes, time));
        self
    }

    /// Stops the server gracefully when `signal` is ready: see [stopping](Self#stopping). The output does not matter.
    ///
    /// For a token: `token.cancelled()`. If `signal` panics, the server stops, too.
    pub fn shutdown(mut self, signal: impl Future + 'static) -> Self {
        self.shutdown = Some(Box::pin(async { drop(signal.await) }));
        self
    }

    /// Limits the time of a graceful stop, after the [`drain_delay`](Self::drain_delay): then the connections that are left are
    /// aborted. 30 s by default; `Duration::MAX` is no limit.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.settings.shutdown_timeout = limit;
        self
    }

    /// Sets how long a server that is asked to stop goes on as before, except that it is not
    /// [ready](ServerHandle::is_ready). No time by default.
    ///
    /// For a load balancer, which needs a moment to notice: in Kubernetes, advisable are 5 s to 15 s.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.settings.drain_delay = delay;
        self
    }

    /// Sets how long an idle connection stays open after the server has begun to drain. No time by default.
    ///
    /// With no time, a request that is on its way when the server closes an idle connection is lost. With more than the time
    /// that a byte takes between client and server, it is answered, and the client hears in time that the connection ends.
    pub fn idle_grace(mut self, grace: Duration) -> Self {
        self.settings.idle_grace = grace;
        self
    }

    /// Calls `hook` for each [`Event`], on the server's thread. A panic of the hook goes no further.
    pub fn on_event(mut self, hook: impl FnMut(&Event<'_>) + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Returns a handle of the server, for any thread.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(Arc::clone(&self.control))
    }

    /// Serves, in the loop of the caller, until the server has stopped and its last connection has ended. The tasks of the
    /// connections are spawned by `spawner`.
    ///
    /// If the future is dropped, the listeners are closed, and the connections are aborted. A handler that never yields keeps
    /// everything on its thread waiting, also the deadline of a stop.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` if there is no listener, or the limit of connections is 0. At once, and nothing is accepted.
    /// - An error if the server was stopped before this call. Nothing is accepted.
    /// - The error of a listener that has failed for good, or that cannot be registered, and `NotConnected` if the pool is gone.
    ///   The server stops gracefully before it returns the error. [`ServerHandle::stats`] has the report then.
    pub fn serve(self, spawner: &Spawner) -> impl Future<Output = io::Result<Report>> + use<> {
        let serving = self.begin(spawner);
        async move {
            let mut serving = serving?;
            poll_fn(|cx| serving.poll(cx)).await
        }
    }

    /// Serves on this thread, with a reactor of its own, until the server has stopped and its last connection has ended.
    ///
    /// With the feature `signal`, SIGINT and SIGTERM stop the server: the first one gracefully (SIGINT without a
    /// [`drain_delay`](Self::drain_delay)), the second one at once. The third one has the action that it had before.
    ///
    /// # Errors
    ///
    /// Those of [`serve`](Self::serve), of [`LocalRuntime::new`] and, with the feature `signal`, of
    /// `async_epoll::Signals::new`.
    pub fn run(mut self) -> io::Result<Report> {
        let listeners = self.listeners.into_iter();
        self.listeners =
            listeners.map(|(listener, handler)| Ok((listener.detach()?, handler))).collect::<io::Result<_>>()?;
        let mut runtime = LocalRuntime::new()?;
        #[cfg(feature = "signal")]
        let signals = super::signals::Obey::new(self.handle(), &runtime.handle())?;
        let serve = self.serve(&runtime.spawner());
        #[cfg(feature = "signal")]
        let serve = signals.beside(serve);
        runtime.try_run_until(serve)
    }

    /// Registers the listeners. Fails if there is nothing to serve.
    fn begin(self, spawner: &Spawner) -> io::Result<Serving> {
        let invalid = |message| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        if self.listeners.is_empty() {
            return invalid("the server has no listener: call `listen` before it is served");
        }
        if self.control.max_connections.load(std::sync::atomic::Ordering::Acquire) == 0 {
            return invalid("the server may have no connection: its max_connections is 0");
        }
        if self.control.commands() != 0 {
            return Err(io::Error::other("the server was stopped before it was served; nothing was accepted"));
        }
        let _spawner = spawner.enter();
        let handle = Handle::current()?;
        let mut listeners = Vec::new();
        for (listener, handler) in self.listeners {
            let mut incoming = listener.incoming(&handle)?;
            if self.hook.is_some() {
                incoming = incoming.keep_troubles();
            }
            listeners.push(Served { incoming: Some(incoming), handler });
        }
        let hub = Hub::new(self.settings, self.control, self.hook);
        Ok(Serving::new(hub, spawner.clone(), listeners, self.shutdown, Refusals::new(self.answer)))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners: Vec<_> = self.listeners.iter().map(|(listener, _)| listener).collect();
        f.debug_struct("Server")
            .field("listeners", &listeners)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
