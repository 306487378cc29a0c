//! A web server with hyper, on one thread: the sockets, spawner and timers of the three crates behind hyper's traits.
//!
//! ```sh
//! cargo run --release --example hyper_server  # then, in another terminal:
//! curl http://127.0.0.1:7879/
//! curl --data 'say it again' http://127.0.0.1:7879/echo
//! ```
//!
//! The idea: hyper implements HTTP, but no sockets, tasks and clocks; it uses them through the traits of `hyper::rt`.
//! For HTTP/1, `HyperIo` and `HyperTimer` suffice. Everything stays on one thread, so all connections share a plain
//! `Cell` that counts the requests.
//!
//! Compare `http_hello`, which does by hand what hyper does here: pipelining, time limits, and an orderly close.
//!
//! Read `run`, then `Server::serve`, then `Site::answer`.

use async_epoll::{LocalRuntime, spawn_local, terminate_with};
use async_net_lite::{HyperIo, HyperTimer, TcpListener, TcpStream};
use async_timeout::{CancelToken, TimeoutExt, sleep};
use examples::{Args, exit_code, say, trace, warn};
use futures::future::{Either, select};
use futures::stream::StreamExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// How long the head of a request may take, including the silence before it, and how long the body may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last before hyper is asked to end it. Also bounds a client that never reads its answers.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long a connection may then take to finish its answer.
const GRACE: Duration = Duration::from_secs(5);
/// The maximum size of an echoed body, in bytes.
const MAX_ECHO_BYTES: usize = 64 * 1024;

fn main() -> ExitCode {
    exit_code(run())
}

/// Runs the program, from the command line to the last printed line.
fn run() -> io::Result<()> {
    let about = "A web server with hyper, on one thread.";
    let Some(args) = Args::from_env(about, "127.0.0.1:7879")? else {
        return Ok(());
    };
    if args.trace {
        trace::print(); // Before the reactor is made, to trace that too.
    }
    let listener = args.listener()?;

    let mut runtime = LocalRuntime::new()?;
    let listener = TcpListener::from_std(listener, &runtime.handle())?;
    let interrupted = terminate_with(&runtime.handle())?;
    say(&format!("listening on http://{}/", listener.local_addr()?));

    let server = Server::default();
    runtime.try_run_until(async {
        // The stream skips errors of single connections, and pauses while no descriptors are left. It reports both.
        let mut incoming = listener.incoming().on_error(warn).take_until(interrupted);
        while let Some(stream) = incoming.next().await {
            let stream = stream?;
            // With Nagle's algorithm, the answers to pipelined requests would wait for each other's acknowledgement. An
            // error means that the client has gone, and does not matter.
            let _ = stream.set_nodelay(true);
            spawn_local(server.clone().serve(stream))?;
        }
        io::Result::Ok(())
    })?;

    // Answers that have begun are finished. `run` returns with the last task, after `GRACE` at most.
    drop(listener);
    server.stop.cancel();
    runtime.run()?;
    say(&format!("stopped, {} requests answered", server.site.answered.get()));
    Ok(())
}

/// The state that all connections share.
#[derive(Clone, Default)]
struct Server {
    /// The pages.
    site: Rc<Site>,
    /// Tells all connections that the server is to stop.
    stop: CancelToken,
}

impl Server {
    /// Serves a connection to its end. An error ends only this connection, so it is ignored.
    async fn serve(self, stream: TcpStream) {
        let service = service_fn(|request| {
            let site = Rc::clone(&self.site);
            async move { Ok::<_, Infallible>(site.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(HyperTimer)
            .header_read_timeout(REQUEST_TIMEOUT)
            .half_close(true)
            .serve_connection(HyperIo::new(stream), service);
        let mut connection = pin!(connection);
        let enough = select(self.stop.cancelled(), sleep(LIFETIME));
        if let Either::Right(_) = select(connection.as_mut(), enough).await {
            // An idle connection ends at once, a busy one after its present answer.
            connection.as_mut().graceful_shutdown();
            let _ = connection.timeout(GRACE).await;
        }
    }
}

/// The pages of the server.
#[derive(Default)]
struct Site {
    /// The number of answered requests. A plain cell, because all connections are on one thread.
    answered: Cell<u64>,
}

impl Site {
    /// Returns the response to a request.
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let response = match (request.uri().path(), request.method()) {
            ("/", &Method::GET | &Method::HEAD) => Response::new(Full::from("Hello from hyper!\n")),
            ("/echo", &Method::POST) => echo(request.into_body()).await,
            ("/", _) => not_allowed("GET, HEAD"),
            ("/echo", _) => not_allowed("POST"),
            _ => refusal(StatusCode::NOT_FOUND, "There is no such page.\n"),
        };
        self.answered.set(self.answered.get() + 1);
        response
    }
}

/// Returns a response with the same body. Reads the whole body first, so that a slow or too large body can be refused.
async fn echo(body: Incoming) -> Response<Full<Bytes>> {
    let mut response = match Limited::new(body, MAX_ECHO_BYTES).collect().timeout(REQUEST_TIMEOUT).await {
        Ok(Ok(body)) => return Response::new(Full::new(body.to_bytes())),
        Ok(Err(_)) => refusal(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.\n"),
        Err(_elapsed) => refusal(StatusCode::REQUEST_TIMEOUT, "The body took too long.\n"),
    };
    // The rest of the body is not read, so the connection cannot be used for another request.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns the refusal of a method, with a list of the allowed methods.
fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Returns a response with an error status, and the reason as its body.
fn refusal(status: StatusCode, reason: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(reason));
    *response.status_mut() = status;
    response
}
