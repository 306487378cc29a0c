//! The trait of resolvers, and the scope in which a resolver is used.
//!
//! `lookup.rs` asks the resolver of the scope, and outside of any scope the system's. Another way to look up names (a table in a test, a resolver library, DNS over HTTPS) implements [`Resolver`]. A
//! resolver is not installed for a process or a thread: [`with_resolver`] sets it for one future, in a thread-local
//! variable, and only while this future is polled.

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

/// A way to look up host names. The trait is object-safe.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{Resolver, TcpListener, TcpStream, with_resolver};
/// use futures::future::{BoxFuture, FutureExt};
/// use std::{io, net::SocketAddr, sync::Arc};
///
/// /// Every host is this machine.
/// struct Here;
///
/// impl Resolver for Here {
///     fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
///         async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }.boxed()
///     }
/// }
///
/// async_epoll::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let port = listener.local_addr()?.port();
///     let stream = with_resolver(Arc::new(Here), TcpStream::connect(("example.com", port))).await?;
///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
///     Ok(())
/// })?
/// # }
/// ```
pub trait Resolver: Send + Sync {
    /// Returns the addresses of `host`, each with `port`, in the order in which to try them.
    ///
    /// Called for names only, since numeric addresses need no lookup. The method and its future must not block. The
    /// future may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Those of the resolver, passed on unchanged.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// Returns the addresses of `host` in parts, each as soon as it is known: usually those of one family.
    ///
    /// Connecting uses this method: see [`TcpStream::connect`](crate::TcpStream::connect). A part may be an error or
    /// empty, and other parts may follow. The end of the stream says that no more will come. By default, there is one
    /// part: the result of [`resolve`](Self::resolve).
    ///
    /// # Examples
    ///
    /// A resolver that asks for each family by itself.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_net_lite::{ConnectOptions, Resolver, TcpListener, resolve};
    /// use futures::future::{BoxFuture, FutureExt};
    /// use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
    /// use std::{io, net::SocketAddr, sync::Arc};
    ///
    /// struct Families;
    ///
    /// impl Families {
    ///     async fn ask(is_ipv6: bool, port: u16) -> io::Result<Vec<SocketAddr>> {
    ///         if is_ipv6 {
    ///             async_timeout::sleep(std::time::Duration::from_secs(60)).await; // The server does not answer.
    ///         }
    ///         Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    ///     }
    /// }
    ///
    /// impl Resolver for Families {
    ///     fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
    ///         let parts = self.resolve_stream(host, port).filter_map(async |part| part.ok());
    ///         parts.concat().map(Ok).boxed()
    ///     }
    ///
    ///     fn resolve_stream<'a>(&'a self, _: &'a str, port: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
    ///         FuturesUnordered::from_iter([true, false].map(|is_ipv6| Self::ask(is_ipv6, port))).boxed()
    ///     }
    /// }
    ///
    /// async_epoll::block_on(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let options = ConnectOptions::new().resolver(Arc::new(Families));
    ///     let stream = options.connect(("example.com", listener.local_addr()?.port())).await?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     Ok(())
    /// })?
    /// # }
    /// ```
    fn resolve_stream<'a>(&'a self, host: &'a str, port: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        stream::once(self.resolve(host, port)).boxed()
    }
}

impl<T: Resolver + ?Sized> Resolver for Arc<T> {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }

    fn resolve_stream<'a>(&'a self, host: &'a str, port: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve_stream(host, port)
    }
}

impl<T: Resolver + ?Sized> Resolver for Box<T> {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }

    fn resolve_stream<'a>(&'a self, host: &'a str, port: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve_stream(host, port)
    }
}

thread_local! {
    /// The resolver of the innermost scope that is being polled. Set by [`with_resolver`] for each poll, restored by
    /// [`Scope`].
    static CURRENT: RefCell<Option<Arc<dyn Resolver>>> = const { RefCell::new(None) };
}

/// Returns the resolver of the innermost scope, or `None` outside a scope.
pub(super) fn current() -> Option<Arc<dyn Resolver>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs `future` with `resolver` for all host names inside.
///
/// The resolver serves `connect`, `bind`, `send_to`, [`resolve`](crate::resolve) and similar functions that `future`
/// calls. If scopes are nested, the innermost resolver is used. Spawned tasks are not inside, since the executor polls them.
///
/// # Cancel safety
///
/// As `future`.
///
/// # Examples
///
/// See [`Resolver`].
pub async fn with_resolver<F: Future>(resolver: Arc<dyn Resolver>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _scope = Scope { before: CURRENT.replace(Some(Arc::clone(&resolver))) };
        future.as_mut().poll(cx)
    })
    .await
}

/// A poll inside a scope. Dropping it restores the former resolver, also when the poll panics.
struct Scope {
    /// The resolver before this poll; `None` outside a scope.
    before: Option<Arc<dyn Resolver>>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // The replaced resolver is dropped after the borrow has ended, since its destructor is user code.
        drop(CURRENT.replace(self.before.take()));
    }
}

impl fmt::Debug for dyn Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Resolver")
    }
}
