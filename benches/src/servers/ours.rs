//! The crates of this repository: a `LocalPool`, a reactor, and a task for each connection.

use super::BUFFER;
use crate::args::Service;
use async_epoll::LocalRuntime;
use async_net_lite::{TcpListener, TcpStream};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::net;

/// Runs until the last task has finished: the one that accepts, and one for each connection.
pub(crate) fn serve(listener: net::TcpListener, service: &Service) -> io::Result<()> {
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

/// Serves one connection. An error is its end, as in every server here: the client has gone.
async fn echo(mut stream: TcpStream, close_first: bool) {
    let mut buffer = [0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() || close_first {
            break;
        }
    }
}
