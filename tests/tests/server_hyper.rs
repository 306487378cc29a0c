//! hyper on the connections of a server: limits, and a graceful stop, for HTTP/1 and HTTP/2.

use async_epoll::Spawner;
use async_net_lite::server::{Connection, Server};
use async_net_lite::{HyperExecutor, HyperIo, HyperTimer, TcpStream};
use futures::future::{Either, join, join_all, select};
use futures::{AsyncReadExt, AsyncWriteExt};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn as client;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::pin::pin;
use tests::common::servers::{listening, serve_in, until};
use tests::{HOUR, millis};

/// Answers with the path; a path with `slow` takes a while.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.contains("slow") {
        async_timeout::sleep(millis(300)).await;
    }
    Ok(Response::new(path.into()))
}

/// Serves HTTP/1, gracefully.
async fn serve_http1(connection: Connection) -> hyper::Result<()> {
    let stopping = connection.stopping();
    let served = http1::Builder::new().timer(HyperTimer).serve_connection(HyperIo::new(connection), service_fn(answer));
    match select(pin!(served), stopping.cancelled()).await {
        Either::Left((served, _)) => served,
        Either::Right((_, mut served)) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}

/// Serves HTTP/2, gracefully.
async fn serve_http2(connection: Connection) -> hyper::Result<()> {
    let (stopping, spawner) = (connection.stopping(), Spawner::current().unwrap());
    let served = http2::Builder::new(HyperExecutor::new(spawner))
        .timer(HyperTimer)
        .serve_connection(HyperIo::new(connection), service_fn(answer));
    match select(pin!(served), stopping.cancelled()).await {
        Either::Left((served, _)) => served,
        Either::Right((_, mut served)) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}

/// A request for `path`.
fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("Host", "localhost").body(Empty::new()).unwrap()
}

/// HTTP/1: a request that is being answered when the server stops is answered, and the answer says that the connection closes.
/// Idle and silent connections end at once.
#[test]
fn http1_stops_gracefully() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, serve_http1).shutdown_timeout(HOUR);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 17];
        idle.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK\r\n");
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        until(|| handle.stats().active == 3).await;
        async_timeout::sleep(millis(10)).await;
        handle.stop();
        let mut text = String::new();
        busy.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("connection: close") && text.ends_with("/slow"), "{text}");
        idle.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!((report.accepted, report.ended(), report.aborted), (3, 3, 0), "{report}");
}

/// HTTP/2: all streams that have begun are answered, then the connection ends.
#[test]
fn http2_stops_gracefully() {
    let (mut runtime, listener, address) = listening();
    let server = Server::builder().listen(listener, serve_http2).shutdown_timeout(HOUR);
    let handle = server.handle();
    let spawner = runtime.spawner();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) =
            client::http2::handshake(HyperExecutor::new(spawner), HyperIo::new(stream)).await.unwrap();
        let requests = join_all((0..10).map(|number| {
            let mut requests = requests.clone();
            async move {
                let path = format!("/slow/{number}");
                let response = requests.send_request(request(&path)).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, path.as_bytes());
            }
        }));
        let stop = async {
            async_timeout::sleep(millis(20)).await;
            handle.stop();
        };
        let (_, (_, ())) = join(connection, join(requests, stop)).await;
    });
    assert_eq!((report.accepted, report.served), (1, 1), "{report}");
}

/// The limits of the server hold for hyper's connections.
#[test]
fn limits_hold_under_hyper() {
    let (mut runtime, listener, address) = listening();
    let limit = millis(50);
    let server = Server::builder().listen(listener, serve_http1).first_byte_timeout(limit).idle_timeout(limit);
    let handle = server.handle();
    let (report, ()) = serve_in(&mut runtime, server, async {
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /a HT").await.unwrap();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        slow.read_to_end(&mut Vec::new()).await.unwrap();
        until(|| handle.stats().ended() == 2).await;
        handle.stop();
    });
    assert_eq!((report.timed_out.first_byte, report.timed_out.idle), (1, 1), "{report:?}");
}
