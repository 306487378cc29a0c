//! The crates of this repository: a `LocalPool`, a reactor, and a task per connection.

use super::listener::{BACKLOG, DEFER_SECONDS};
use crate::orders::service::{BUFFER, Service};
use async_epoll::LocalRuntime;
use async_net_lite::{ListenOptions, TcpListener, TcpStream};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::net::{self, Ipv4Addr};
use std::time::Duration;

/// Returns the listening socket. Our own `ListenOptions` set the same options as `listener` does for the other servers.
pub(super) fn listen(service: &Service) -> io::Result<net::TcpListener> {
    let mut options = ListenOptions::new().backlog(BACKLOG.unsigned_abs()).nodelay(true);
    if service.defer_accept {
        options = options.defer_accept(Duration::from_secs(DEFER_SECONDS.unsigned_abs().into()));
    }
    async_epoll::block_on(async { options.bind((Ipv4Addr::LOCALHOST, service.port)).await?.into_std() })?
}

/// Runs until the last task has finished: the accept task and a task per connection.
pub(super) fn serve(listener: net::TcpListener, service: &Service) -> io::Result<()> {
    let mut runtime = LocalRuntime::new()?;
    let listener = TcpListener::from_std(listener, &runtime.handle())?;
    let spawner = runtime.spawner();
    let tasks = spawner.clone();
    let (connections, close_first) = (service.connections.unwrap_or(u64::MAX), service.close_first);
    let accepting = async move {
        for _ in 0..connections {
            match listener.accept().await {
                Ok((stream, _)) => tasks.spawn_local(echo(stream, close_first)).expect("the pool is running us"),
                Err(error) => return eprintln!("accept: {error}"),
            }
        }
    };
    spawner.spawn_local(accepting).map_err(io::Error::other)?;
    runtime.run()
}

/// Serves a connection. An error ends the task, as in every server here: the client has gone.
async fn echo(mut stream: TcpStream, close_first: bool) {
    let mut buffer = [0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() || close_first {
            break;
        }
    }
}
