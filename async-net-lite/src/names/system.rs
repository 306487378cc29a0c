//! The system's resolver: `getaddrinfo(3)` on threads of this crate, one queue for each process.
//!
//! All lookups of a process share one queue (`queue.rs`), however many reactors it has, so that its threads are
//! bounded. A resolver with threads of its own has a queue of its own.
//!
//! A forked child inherits the queue without its threads, and perhaps with its lock held by one of them. So each process
//! makes a queue of its own: [`Queues`] keeps a list with one entry for each process of the line, and an entry of
//! another process is never touched. The list is free of locks for the same reason.
//!
//! ```text
//!   Queues ──► entry of the parent ──► entry of the child        mark: async_epoll::ForkMark
//!              mark 1, queue           mark 2, queue
//! ```

use super::family::Family;
use super::hosts;
use super::queue::{Answer, Backend, DEFAULT_THREADS, Failure, Queue};
use super::resolver::Resolver;
use async_epoll::ForkMark;
use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind};
use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use once_cell::race::OnceBox;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The queue of this process, shared by all its reactors.
static SHARED: Queues = Queues::new(DEFAULT_THREADS);

/// The system's resolver: [`getaddrinfo(3)`](https://man7.org/linux/man-pages/man3/getaddrinfo.3.html), on threads of its
/// own. Used outside the scope of any other resolver.
///
/// # Threads
///
/// A lookup blocks its thread until the name server has answered or the C library gives up: by default up to ten seconds
/// for each name server and each search domain, see
/// [`resolv.conf(5)`](https://man7.org/linux/man-pages/man5/resolv.conf.5.html).
///
/// - All lookups of the process share at most eight threads. [`with_threads`](Self::with_threads) makes a resolver with
///   threads of its own. A thread without work ends after five seconds.
/// - Equal lookups share one thread and its answer.
/// - Dropping the future gives a lookup up: it is not begun. After its beginning, it holds its thread to the end.
/// - Names in `/etc/hosts` do not wait for a silent name server: one of the threads is kept for them. Other names wait
///   their turn, at most 4096.
///
/// Connecting asks for IPv4 and IPv6 addresses separately, and does not wait for the slower answer: see [`TcpStream::connect`](crate::TcpStream::connect).
///
/// # Forks
///
/// A forked child starts threads of its own. If it polls a lookup of its parent, the lookup begins again.
///
/// # Cancel safety
///
/// Dropping the future discards the answer.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_net_lite::{SystemResolver, resolve, with_resolver};
/// use std::sync::Arc;
///
/// // A crawler looks up many names at once, without delaying other parts of the program.
/// let many = Arc::new(SystemResolver::with_threads(32));
/// let addresses = async_epoll::block_on(with_resolver(many, resolve("localhost", 80)))??;
/// assert!(addresses.iter().all(|address| address.ip().is_loopback()));
/// # Ok(())
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "resolve")))]
#[derive(Clone, Debug, Default)]
pub struct SystemResolver {
    /// The queues of this resolver. `None` for the queue of the process.
    own: Option<Arc<Queues>>,
}

// A panic leaves no lookup half-done: see the queue.
impl UnwindSafe for SystemResolver {}
impl RefUnwindSafe for SystemResolver {}

impl SystemResolver {
    /// Returns the default resolver, with the threads of the process.
    pub const fn new() -> Self {
        Self { own: None }
    }

    /// Returns a resolver with at most `threads` threads of its own, which its clones share. Zero counts as one.
    ///
    /// With one thread, names in `/etc/hosts` may have to wait behind one slow lookup.
    pub fn with_threads(threads: usize) -> Self {
        Self { own: Some(Arc::new(Queues::new(threads))) }
    }

    /// Looks up the addresses of one family, or of both.
    pub(super) async fn look_up(&self, host: &str, family: Family, port: u16) -> io::Result<Vec<SocketAddr>> {
        let queues = self.own.as_deref().unwrap_or(&SHARED);
        let answer = Waiting { queues, host, family, asked: None }.await?;
        let with_port = answer.iter().map(|&(mut address)| {
            address.set_port(port);
            address
        });
        Ok(with_port.collect())
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.look_up(host, Family::Any, port).boxed()
    }

    fn resolve_stream<'a>(&'a self, host: &'a str, port: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        // The lookup of IPv6 addresses comes first, in case only one thread is free.
        let families = [Family::V6, Family::V4].map(|family| stream::once(self.look_up(host, family, port)).boxed());
        stream::select_all(families).boxed()
    }
}

/// A future that waits for an answer of the queue. Its first poll asks.
struct Waiting<'a> {
    /// Where to ask.
    queues: &'a Queues,
    /// The name.
    host: &'a str,
    /// The addresses wanted.
    family: Family,
    /// The channel of the answer, and the mark of the asking process. `None` before the first poll.
    asked: Option<(ForkMark, oneshot::Receiver<Answer>)>,
}

impl Future for Waiting<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mark = ForkMark::new();
        let receiver = match &mut self.asked {
            Some((asker, receiver)) if *asker == mark => receiver,
            // A forked child polls a lookup of its parent. The threads for it are in the parent.
            _ => {
                let receiver = self.queues.of(mark).ask(self.host, self.family);
                &mut self.asked.insert((mark, receiver?)).1
            }
        };
        // The queue answers every lookup before it drops the channel.
        let lost = |_| Failure { kind: io::ErrorKind::Other, message: "the lookup was lost".into() };
        Poll::Ready(ready!(receiver.poll_unpin(cx)).unwrap_or_else(|canceled| Err(lost(canceled))))
    }
}

/// The queues of a resolver: one for each process of the line, from the first process to this process.
struct Queues {
    /// The largest number of threads of each queue.
    threads: usize,
    /// The first entry of the list. Set by the first lookup.
    first: OnceBox<Entry>,
}

/// The queue of one process.
struct Entry {
    /// The mark of the process.
    mark: ForkMark,
    /// Its queue, to be used in this process only.
    queue: Arc<Queue>,
    /// The entry of a forked child, invisible to this process. Set by the first lookup of the child.
    next: OnceBox<Entry>,
}

impl Queues {
    /// Returns the queues of a resolver, none of which exists yet.
    const fn new(threads: usize) -> Self {
        Self { threads, first: OnceBox::new() }
    }

    /// Returns the queue of the calling process, with the mark `mark`.
    fn of(&self, mark: ForkMark) -> &Arc<Queue> {
        let mut place = &self.first;
        loop {
            let new = || Entry { mark, queue: Queue::new(self.threads, System), next: OnceBox::new() };
            let entry = place.get_or_init(|| Box::new(new()));
            if entry.mark == mark {
                return &entry.queue;
            }
            place = &entry.next;
        }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let (mark, mut place) = (ForkMark::new(), &self.first);
        while let Some(entry) = place.get() {
            // The queues of other processes are not touched: see the top of the file.
            if entry.mark == mark {
                entry.queue.close();
            }
            place = &entry.next;
        }
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// The names of this system, as the C library finds them.
struct System;

impl Backend for System {
    fn quick(&self, names: &mut dyn Iterator<Item = &str>) -> HashSet<String> {
        hosts::known(hosts::PATH, names)
    }

    fn look_up(&self, host: &str, family: Family, is_quick: bool) -> Result<Vec<SocketAddr>, Failure> {
        // The file of hosts may have one family of a name. Asked for the other family alone, the C library would go on
        // to the name servers. Asked for both, it stops at the file.
        let asked = if is_quick { Family::Any } else { family };
        let addresses = getaddrinfo(host, asked).map_err(|error| failure(host, error))?;
        let of_family: Vec<_> = addresses.into_iter().filter(|address| family.has(address)).collect();
        if of_family.is_empty() {
            let message = format!("cannot look up {host:?}: it has no address of this family").into();
            return Err(Failure { kind: io::ErrorKind::NotFound, message });
        }
        Ok(of_family)
    }
}

/// Calls `getaddrinfo(3)` as std does, but for one family if asked to. Blocks.
fn getaddrinfo(host: &str, family: Family) -> Result<Vec<SocketAddr>, LookupError> {
    let address = match family {
        Family::Any => libc::AF_UNSPEC,
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    // Without a type, each address would be there once for each protocol.
    let hints = AddrInfoHints { address, socktype: libc::SOCK_STREAM, ..AddrInfoHints::default() };
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints))?;
    Ok(found.map(|info| info.map(|info| info.sockaddr)).collect::<io::Result<Vec<_>>>()?)
}

/// Returns the error of a lookup, with the name in its message.
///
/// Without descriptors the C library cannot read its files or ask a server, and says that the name is unknown. So such an
/// answer is not believed while no file can be opened.
fn failure(host: &str, error: LookupError) -> Failure {
    let opened = File::open("/dev/null");
    if let Some(error @ (libc::EMFILE | libc::ENFILE)) = opened.err().and_then(|error| error.raw_os_error()) {
        let error = io::Error::from_raw_os_error(error);
        return Failure { kind: error.kind(), message: format!("cannot look up {host:?}: {error}").into() };
    }
    let (kind, error) = (error.kind(), io::Error::from(error));
    let kind = match kind {
        LookupErrorKind::NoName | LookupErrorKind::NoData => io::ErrorKind::NotFound,
        LookupErrorKind::Memory => io::ErrorKind::OutOfMemory,
        // The error of the system, or of a name with a zero byte.
        _ => error.kind(),
    };
    Failure { kind, message: format!("cannot look up {host:?}: {error}").into() }
}
