//! Lookup of host names, outside the reactor's thread.
//!
//! `getaddrinfo(3)` blocks, for seconds if a name server is slow. So it runs on the threads of the `blocking` crate.
//! Its wake ends the reactor's sleep like any other wake from another thread.
//!
//! Another way to look up names (a table in a test, a resolver library, DNS over HTTPS) implements [`Resolver`]. A
//! resolver is not installed for a process or a thread: [`with_resolver`] sets it for one future, in a thread-local
//! variable, and only while this future is polled.

use futures::future::BoxFuture;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
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
}

impl<T: Resolver + ?Sized> Resolver for Arc<T> {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }
}

impl<T: Resolver + ?Sized> Resolver for Box<T> {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        (**self).resolve(host, port)
    }
}

/// The system's resolver: [`getaddrinfo(3)`](https://man7.org/linux/man-pages/man3/getaddrinfo.3.html), on a helper
/// thread of the `blocking` crate. Used outside the scope of any other resolver.
///
/// # Cancel safety
///
/// Dropping the future discards the answer. The helper thread still finishes the lookup.
#[cfg(feature = "resolve")]
#[cfg_attr(docsrs, doc(cfg(feature = "resolve")))]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[cfg(feature = "resolve")]
impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        use std::net::ToSocketAddrs;
        let host = host.to_owned();
        Box::pin(blocking::unblock(move || match (host.as_str(), port).to_socket_addrs() {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(io::Error::new(error.kind(), format!("cannot look up {host:?}: {error}"))),
        }))
    }
}

/// Looks up the addresses of `host`, each with `port`.
///
/// The lookup uses the [`Resolver`] of the scope in which the future is polled. Outside a scope, it uses the system's,
/// which needs the feature `resolve`. Numeric hosts need neither a thread nor a resolver.
///
/// # Errors
///
/// Those of the resolver; `InvalidInput` if there is no resolver, or if `host` is empty.
///
/// # Cancel safety
///
/// Dropping the future discards the answer.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let addresses = async_epoll::block_on(async_net_lite::resolve("127.0.0.1", 80))??;
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok(())
/// # }
/// ```
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = numeric(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if host.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of the host is empty"));
    }
    match current() {
        Some(resolver) => resolver.resolve(host, port).await,
        None => by_system(host, port).await,
    }
}

/// Looks up `host` by the system's resolver.
#[cfg(feature = "resolve")]
async fn by_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    SystemResolver.resolve(host, port).await
}

/// Fails, since this build has no resolver of the system.
#[cfg(not(feature = "resolve"))]
async fn by_system(host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
    let message = format!(
        "{host:?} is no numeric address; host names need the feature `resolve` of async-net-lite, or with_resolver"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Returns the address if `host` is numeric and so needs no lookup. An IPv6 address may be in brackets, as in a URI.
pub(crate) fn numeric(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None => host.parse().ok(),
    }
}

thread_local! {
    /// The resolver of the innermost scope that is being polled. Set by [`with_resolver`] for each poll, restored by
    /// [`Scope`].
    static CURRENT: RefCell<Option<Arc<dyn Resolver>>> = const { RefCell::new(None) };
}

/// Returns the resolver of the innermost scope, or `None` outside a scope.
fn current() -> Option<Arc<dyn Resolver>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs `future` with `resolver` for all host names inside.
///
/// The resolver serves `connect`, `bind`, `send_to`, [`resolve`] and similar functions that `future` calls. If scopes
/// are nested, the innermost resolver is used. Spawned tasks are not inside, since the executor polls them.
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
