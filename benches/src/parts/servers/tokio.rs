//! tokio, on its current_thread runtime, with a spawned task per connection: the echo server of tokio's documentation.
//!
//! Waiting for the last connection uses the idiom of tokio's graceful-shutdown guide: each task holds a sender of a
//! channel, and the channel ends when the last sender is dropped. This costs nothing per request.

use crate::orders::service::{BUFFER, Service};
use std::io;
use std::net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Runs until the last task has finished.
pub(super) fn serve(listener: net::TcpListener, service: &Service) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (connections, close_first) = (service.connections.unwrap_or(u64::MAX), service.close_first);
    // The accept loop is a spawned task, because `block_on` polls its own future outside the scheduler's queue.
    let accepting = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        let (alive, mut ended) = mpsc::channel::<()>(1);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            let alive = alive.clone();
            tokio::spawn(async move {
                echo(stream, close_first).await;
                drop(alive);
            });
        }
        drop((alive, listener));
        ended.recv().await;
        Ok(())
    });
    runtime.block_on(accepting).map_err(io::Error::other)?
}

/// Serves a connection.
async fn echo(mut stream: TcpStream, close_first: bool) {
    let mut buffer = [0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() || close_first {
            break;
        }
    }
}
