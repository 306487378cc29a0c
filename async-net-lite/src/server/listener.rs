//! A listener of a server, of either kind.

use super::address::Address;
use super::event::Event;
use super::hub::Hub;
use super::io::Stream;
use crate::accept::errors::AcceptError;
use crate::accept::report::AcceptReport;
use crate::tcp::{self, TcpListener};
use crate::unix::{self, UnixListener};
use async_epoll::Handle;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// A listener for [`Server::listen`](super::Server::listen): a TCP or Unix listener of this crate or of std.
///
/// A listener of std is registered with the reactor of the server when the server begins. A listener of this crate stays with
/// its reactor, except in [`Server::run`](super::Server::run), which has a reactor of its own.
#[derive(Debug)]
pub struct Listener(Kind);

/// The kinds of listeners.
#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
    StdTcp(std::net::TcpListener),
    StdUnix(std::os::unix::net::UnixListener),
}

/// Implements the conversion from a type of listener.
macro_rules! from {
    ($($kind:ident: $listener:ty),*) => {
        $(impl From<$listener> for Listener {
            fn from(listener: $listener) -> Self {
                Self(Kind::$kind(listener))
            }
        })*
    };
}

from!(
    Tcp: TcpListener,
    Unix: UnixListener,
    StdTcp: std::net::TcpListener,
    StdUnix: std::os::unix::net::UnixListener
);

impl Listener {
    /// Takes the listener from its reactor, for another one.
    pub(super) fn detach(self) -> io::Result<Self> {
        Ok(match self.0 {
            Kind::Tcp(listener) => listener.into_std()?.into(),
            Kind::Unix(listener) => listener.into_std()?.into(),
            kind => Self(kind),
        })
    }

    /// Returns the stream of connections, on the reactor of `handle` if the listener has none yet.
    pub(super) fn incoming(self, handle: &Handle) -> io::Result<Incoming> {
        let kind = match self.0 {
            Kind::Tcp(listener) => IncomingKind::Tcp(listener.into_incoming()),
            Kind::Unix(listener) => IncomingKind::Unix(listener.into_incoming()),
            Kind::StdTcp(listener) => IncomingKind::Tcp(TcpListener::from_std(listener, handle)?.into_incoming()),
            Kind::StdUnix(listener) => IncomingKind::Unix(UnixListener::from_std(listener, handle)?.into_incoming()),
        };
        Ok(Incoming { kind, troubles: Arc::default() })
    }
}

/// An error of accepting that the stream of connections has hidden.
struct Trouble {
    error: io::Error,
    pause: Option<Duration>,
    suppressed: u64,
}

/// The connections of a listener.
pub(super) struct Incoming {
    /// The stream of connections.
    kind: IncomingKind,
    /// Errors that were not told yet. The hook of the stream must be `Send`, and the server's is not: hence the lock.
    troubles: Arc<Mutex<Vec<Trouble>>>,
}

/// The kinds of streams.
enum IncomingKind {
    Tcp(tcp::Incoming),
    Unix(unix::Incoming),
}

impl Incoming {
    /// Keeps the errors that the stream hides, for [`tell`](Self::tell).
    pub(super) fn keep_troubles(mut self) -> Self {
        let troubles = Arc::clone(&self.troubles);
        let keep = move |report: &AcceptReport<'_>| {
            let error = match report.error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::new(report.error.kind(), report.error.to_string()),
            };
            let trouble = Trouble { error, pause: report.pause, suppressed: report.suppressed };
            troubles.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
        };
        self.kind = match self.kind {
            IncomingKind::Tcp(incoming) => IncomingKind::Tcp(incoming.on_error(keep)),
            IncomingKind::Unix(incoming) => IncomingKind::Unix(incoming.on_error(keep)),
        };
        self
    }

    /// Tells the user's hook of the errors that were kept.
    pub(super) fn tell(&self, listener: usize, hub: &Hub) {
        let troubles = std::mem::take(&mut *self.troubles.lock().unwrap_or_else(PoisonError::into_inner));
        for Trouble { error, pause, suppressed } in &troubles {
            let (pause, suppressed) = (*pause, *suppressed);
            hub.emit(&Event::AcceptFailed { listener, error, pause, suppressed });
        }
    }

    /// Accepts the next connection. Errors of single connections are skipped, shortages lead to a pause.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(Stream, Address)>>> {
        match &mut self.kind {
            IncomingKind::Tcp(incoming) => incoming
                .poll_accept(cx)
                .map(|next| Some(next?.map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer))))),
            IncomingKind::Unix(incoming) => incoming
                .poll_accept(cx)
                .map(|next| Some(next?.map(|(stream, peer)| (Stream::Unix(stream), Address::Unix(peer.into()))))),
        }
    }

    /// Takes a connection from the backlog without waiting. Returns `None` if it is empty.
    pub(super) fn accept_now(&self) -> Result<Option<(Stream, Address)>, AcceptError> {
        Ok(match &self.kind {
            IncomingKind::Tcp(incoming) => {
                incoming.accept_now()?.map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer)))
            }
            IncomingKind::Unix(incoming) => {
                incoming.accept_now()?.map(|(stream, peer)| (Stream::Unix(stream), Address::Unix(peer.into())))
            }
        })
    }
}
