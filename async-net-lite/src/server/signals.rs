//! SIGINT and SIGTERM for [`Server::run`](super::Server::run), with the feature `signal`.

use super::control::ServerHandle;
use async_epoll::{Handle, Signal, Signals};
use futures::future::{Either, select};
use std::future::{Future, pending};
use std::io;
use std::pin::pin;

/// Obeys signals: the first one stops the server, the second one aborts it.
pub(super) struct Obey {
    /// The listener for signals, from its making on.
    signals: Signals,
    /// The server.
    server: ServerHandle,
}

impl Obey {
    /// Listens for the signals.
    pub(super) fn new(server: ServerHandle, handle: &Handle) -> io::Result<Self> {
        Ok(Self { signals: Signals::new_with([Signal::INT, Signal::TERM], handle)?, server })
    }

    /// Obeys while `serve` is not ready. Returns the output of `serve`.
    pub(super) async fn beside<T>(self, serve: impl Future<Output = T>) -> T {
        match select(pin!(serve), pin!(self.obey())).await {
            Either::Left((output, _)) => output,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Waits for signals and obeys them.
    async fn obey(mut self) -> std::convert::Infallible {
        if let Ok(signal) = self.signals.recv().await {
            if signal == Signal::INT { self.server.stop_now() } else { self.server.stop() }
        }
        if self.signals.recv().await.is_ok() {
            // The old actions come back first: if the abort takes long, a third signal ends the process.
            drop(self.signals);
            self.server.abort();
        }
        pending().await
    }
}
