//! hyper on our crates and on tokio: the same service, with the adapters of each side.
//!
//! Each as its documentation recommends: `HyperIo` and `HyperTimer` of async-net-lite, `TokioIo` and `TokioTimer` of
//! hyper-util.

use crate::orders::service::{HELLO, Protocol, Service};
use async_epoll::LocalRuntime;
use async_net_lite::{HyperIo, HyperTimer};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net;
use tokio::sync::mpsc;

/// Returns the answer to every request.
async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(HELLO.as_bytes()))))
}

/// Serves on async-epoll and async-net-lite, until the last connection has ended.
pub(super) fn ours(listener: net::TcpListener, service: &Service) -> io::Result<()> {
    let mut runtime = LocalRuntime::new()?;
    let listener = async_net_lite::TcpListener::from_std(listener, &runtime.handle())?;
    let spawner = runtime.spawner();
    let tasks = spawner.clone();
    let mut http = http1::Builder::new();
    match service.protocol {
        Protocol::HttpFlat => _ = http.writev(false),
        Protocol::HttpTimed => _ = http.timer(HyperTimer),
        _ => {}
    }
    let connections = service.connections.unwrap_or(u64::MAX);
    let accepting = async move {
        for _ in 0..connections {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = http.serve_connection(HyperIo::new(stream), service_fn(hello));
                    tasks.spawn_local(async { drop(connection.await) }).expect("the pool is running us");
                }
                Err(error) => return eprintln!("accept: {error}"),
            }
        }
    };
    spawner.spawn_local(accepting).map_err(io::Error::other)?;
    runtime.run()
}

/// Serves on tokio's current_thread runtime, until the last connection has ended.
pub(super) fn tokio(listener: net::TcpListener, service: &Service) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut http = http1::Builder::new();
    match service.protocol {
        Protocol::HttpFlat => _ = http.writev(false),
        Protocol::HttpTimed => _ = http.timer(TokioTimer::new()),
        _ => {}
    }
    let connections = service.connections.unwrap_or(u64::MAX);
    // As in the echo server: a spawned accept task, and a channel that ends with the last connection.
    let accepting = runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (alive, mut ended) = mpsc::channel::<()>(1);
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            let connection = http.serve_connection(TokioIo::new(stream), service_fn(hello));
            let alive = alive.clone();
            tokio::spawn(async move {
                let _ = connection.await;
                drop(alive);
            });
        }
        drop((alive, listener));
        ended.recv().await;
        Ok(())
    });
    runtime.block_on(accepting).map_err(io::Error::other)?
}
