//! Host names, off the loop.
//!
//! `getaddrinfo(3)` blocks, for seconds if a name server is slow. So it runs on the threads of the `blocking` crate, and
//! its wake ends the reactor's sleep like any other.
//!
//! Whoever has a better way to look up names (a table in a test, a resolver of one's own, DNS over something) makes it a
//! [`Resolver`]. It is not installed anywhere: it is there for the future that is given to [`with_resolver`], in a
//! thread-local that is set only while that is polled.

use futures::future::BoxFuture;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

/// A way to look up host names. Object-safe.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{Resolver, TcpListener, TcpStream, with_resolver};
/// use futures::future::{BoxFuture, FutureExt};
/// use std::{io, net::SocketAddr, sync::Arc};
///
/// /// Everybody lives here.
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
    /// The addresses of `host`, in the order in which they should be tried, each with `port`.
    ///
    /// It is asked for names only: numeric addresses are known. It must not block. It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Its own; they are passed on as they are.
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

/// The resolver of the system: [`getaddrinfo(3)`](https://man7.org/linux/man-pages/man3/getaddrinfo.3.html), on a helper
/// thread of the `blocking` crate. What is used unless told otherwise.
///
/// # Cancel safety
///
/// Dropped, the answer is forgotten; the helper thread finishes the lookup for nothing.
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

/// Looks up the addresses of `host`: by the [`Resolver`] in whose scope this is polled, otherwise by that of the system,
/// which needs the feature `resolve`. Numeric hosts take no thread and ask nobody.
///
/// # Errors
///
/// Those of the resolver; `InvalidInput` if there is none.
///
/// # Cancel safety
///
/// Dropping it forgets the answer.
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

#[cfg(feature = "resolve")]
async fn by_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    SystemResolver.resolve(host, port).await
}

#[cfg(not(feature = "resolve"))]
async fn by_system(host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
    let message = format!(
        "{host:?} is no numeric address; host names need the feature `resolve` of async-net-lite, or with_resolver"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// An address that needs no lookup; of IPv6, also in the brackets that it has in a URI.
pub(crate) fn numeric(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None => host.parse().ok(),
    }
}

thread_local! {
    /// The resolver of the innermost scope that is being polled.
    static CURRENT: RefCell<Option<Arc<dyn Resolver>>> = const { RefCell::new(None) };
}

/// The resolver of the scope in which this is called.
fn current() -> Option<Arc<dyn Resolver>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Has all host names that are looked up inside `future` looked up by `resolver`: by `connect`, `bind`, `send_to`,
/// [`resolve`] and the like. Of nested scopes the innermost counts. Spawned tasks are not inside: they are polled by the
/// executor.
///
/// # Cancel safety
///
/// That of `future`.
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

/// A poll inside a scope. Puts back what was before, also when the poll panics.
struct Scope {
    before: Option<Arc<dyn Resolver>>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // What was current is dropped after the borrow has ended: its destructor is foreign code.
        drop(CURRENT.replace(self.before.take()));
    }
}

impl fmt::Debug for dyn Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Resolver")
    }
}
