//! The lookup of a host: numeric addresses at once, names by a resolver.
//!
//! The resolver is that of the [scope](crate::with_resolver) in which the lookup is polled, and outside of any scope the
//! system's. A lookup has three forms: [`resolve`] waits for all addresses, [`resolve_family`] for those that one
//! socket can use, and the race of a connection takes each part as soon as its [`resolver`] has it.

use super::family::Family;
use super::numeric::numeric;
use super::resolver::{Resolver, current};
#[cfg(feature = "resolve")]
use super::system::SystemResolver;
use futures::stream::{self, Stream, StreamExt};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

/// The largest number of parts in a row that a lookup takes from a resolver before it yields. A resolver whose stream is
/// always ready must not hold the thread.
const MAX_PARTS_IN_A_ROW: u32 = 64;

/// Looks up the addresses of `host`, each with `port`.
///
/// The lookup uses the [`Resolver`] of the scope in which the future is polled. Outside a scope, it uses the system's,
/// which needs the feature `resolve`: see `SystemResolver`. Numeric hosts need neither a thread
/// nor a resolver: IPv4 and IPv6 addresses, IPv6 also in brackets and with a zone, such as `fe80::1%eth0`.
///
/// # Errors
///
/// Those of the resolver; `InvalidInput` if there is no resolver, if `host` is empty, or if it has the brackets or the zone
/// of an IPv6 address and is none; `NotFound` if it has the name of a zone that is no network interface. Any other text is a
/// name for the resolver, such as `256.1.1.1`.
///
/// The system's resolver fails with `NotFound` if the name is unknown, with `ResourceBusy` if thousands of lookups wait
/// already, and with the error of the system (`EMFILE`) if no descriptor is free.
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
    if let Some(address) = numeric(host, port) {
        return Ok(vec![address?]);
    }
    match resolver_of(host)? {
        Some(resolver) => resolver.resolve(host, port).await,
        None => by_system(host, Family::Any, port).await,
    }
}

/// Looks up the addresses of the name `host` that belong to `family`, without waiting for others where the resolver gives
/// its addresses in parts. Returns all others if the name has none of the family.
pub(super) async fn resolve_family(host: &str, port: u16, family: Family) -> io::Result<Vec<SocketAddr>> {
    let resolver = match resolver_of(host)? {
        None => return by_system(host, family, port).await,
        Some(resolver) if family == Family::Any => return resolver.resolve(host, port).await,
        Some(resolver) => resolver,
    };
    let (mut parts, mut others, mut error) = (parts(&*resolver, host, port), Vec::new(), None);
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) if part.iter().any(|address| family.has(address)) => return Ok(family.choose(part)),
            Ok(part) => others.extend(part),
            Err(failure) => error = Some(failure),
        }
    }
    error.filter(|_| others.is_empty()).map_or(Ok(others), Err)
}

/// Returns the parts of the addresses of `host`, as `resolver` gets to know them. Yields now and then.
pub(crate) fn parts<'a>(
    resolver: &'a dyn Resolver,
    host: &'a str,
    port: u16,
) -> impl Stream<Item = io::Result<Vec<SocketAddr>>> + Send + Unpin + 'a {
    let (mut parts, mut in_a_row) = (resolver.resolve_stream(host, port), 0);
    stream::poll_fn(move |cx| {
        if in_a_row == MAX_PARTS_IN_A_ROW {
            in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = parts.poll_next_unpin(cx);
        in_a_row = if polled.is_ready() { in_a_row + 1 } else { 0 };
        polled
    })
}

/// Returns the resolver of the scope, for a lookup of the name `host` in parts, and outside of any scope the system's.
pub(crate) fn resolver(host: &str) -> io::Result<Arc<dyn Resolver>> {
    resolver_of(host)?.map_or_else(|| system(host), Ok)
}

/// Returns the resolver of the scope, and `None` outside of any scope. Fails if `host` is no name.
fn resolver_of(host: &str) -> io::Result<Option<Arc<dyn Resolver>>> {
    if host.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of the host is empty"));
    }
    Ok(current())
}

/// Looks up `host` by the system's resolver.
#[cfg(feature = "resolve")]
async fn by_system(host: &str, family: Family, port: u16) -> io::Result<Vec<SocketAddr>> {
    SystemResolver::new().look_up(host, family, port).await
}

/// Fails, since this build has no resolver of the system.
#[cfg(not(feature = "resolve"))]
async fn by_system(host: &str, _: Family, _: u16) -> io::Result<Vec<SocketAddr>> {
    Err(without_resolver(host))
}

/// Returns the system's resolver.
#[cfg(feature = "resolve")]
fn system(_: &str) -> io::Result<Arc<dyn Resolver>> {
    Ok(Arc::new(SystemResolver::new()))
}

/// Fails, since this build has no resolver of the system.
#[cfg(not(feature = "resolve"))]
fn system(host: &str) -> io::Result<Arc<dyn Resolver>> {
    Err(without_resolver(host))
}

/// Returns the error of a build without a resolver of the system.
#[cfg(not(feature = "resolve"))]
fn without_resolver(host: &str) -> io::Error {
    let message = format!(
        "{host:?} is no numeric address; host names need the feature `resolve` of async-net-lite, or with_resolver"
    );
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
