//! A web server by hyper, on one thread: our sockets, spawner and timers behind hyper's traits.
//!
//! ```sh
//! cargo run --release --example hyper_server  # then, elsewhere:
//! curl http://127.0.0.1:7879/
//! curl --data 'say it again' http://127.0.0.1:7879/echo
//! ```
//!
//! The idea: hyper knows HTTP and nothing of sockets, tasks or clocks; it asks for them through the traits of
//! `hyper::rt`. `HyperIo` and `HyperTimer` are all that HTTP/1 needs. Everything stays on this thread, so the site
//! counts its requests in a `Cell` that all connections share.
//!
//! Compare `http_hello`, which does by hand what hyper does here: pipelining, time limits, orderly goodbyes.
//!
//! Read `run`, then `Server::serve`, then `Site::answer`.

use async_epoll::LocalRuntime;
use async_net_lite::{HyperIo, HyperTimer, TcpListener, TcpStream};
use async_timeout::{TimeoutExt, sleep};
use examples::{Args, Interrupt, exit_code, say, trace};
use futures::channel::oneshot;
use futures::future::{Either, FutureExt, Shared, select};
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

/// How long the head of a request may take, with the silence before it; and how long the body may.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so long, a connection is asked to end. That bounds those that never take their answers, too.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long a connection that has been asked to end may take to finish its answer.
const GRACE: Duration = Duration::from_secs(5);
/// The most that is echoed, in bytes.
const MOST_ECHOED: usize = 64 * 1024;

fn main() -> ExitCode {
    exit_code(run())
}

/// Everything, from the command line to the last line.
fn run() -> io::Result<()> {
    let about = "Says hello to web browsers by hyper, on one thread.";
    let Some(args) = Args::from_env(about, "127.0.0.1:7879")? else {
        return Ok(());
    };
    if args.trace {
        trace::print(); // Before the reactor is made, to see that too.
    }
    let listener = args.listener()?;

    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    let listener = TcpListener::from_std(listener, &runtime.handle())?;
    let interrupt = Interrupt::new(&runtime.handle())?;
    say(&format!("listening on http://{}/", listener.local_addr()?));

    // Nothing is ever sent through this channel. When `stop` is dropped, all who wait for it know.
    let (stop, stopped) = oneshot::channel();
    let site = Rc::new(Site::default());
    let server = Server { site: Rc::clone(&site), stopped: stopped.shared() };

    runtime.run_until(async {
        // The stream survives whatever concerns a single connection, and waits when descriptors run out.
        let interrupted = pin!(interrupt.received());
        let mut incoming = listener.incoming().take_until(interrupted);
        while let Some(stream) = incoming.next().await {
            let stream = stream?;
            // Or answers to requests that come together would wait for one another. If the client is gone, it does not matter.
            let _ = stream.set_nodelay(true);
            spawner.spawn_local(server.clone().serve(stream)).map_err(io::Error::other)?;
        }
        io::Result::Ok(())
    })??;

    // Whoever is being answered gets the rest of the answer. `run` returns with the last task, after GRACE at most.
    drop((listener, stop));
    runtime.run()?;
    say(&format!("stopped, {} requests answered", site.answered.get()));
    Ok(())
}

/// What each connection needs of the others: next to nothing.
#[derive(Clone)]
struct Server {
    site: Rc<Site>,
    /// Ready when the server is to stop.
    stopped: Shared<oneshot::Receiver<()>>,
}

impl Server {
    /// The life of a connection. What goes wrong with it is between that client and us; the others need not know.
    async fn serve(self, stream: TcpStream) {
        let Self { site, stopped } = self;
        let service = service_fn(|request| {
            let site = Rc::clone(&site);
            async move { Ok::<_, Infallible>(site.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(HyperTimer)
            .header_read_timeout(PATIENCE)
            .half_close(true)
            .serve_connection(HyperIo::new(stream), service);
        let mut connection = pin!(connection);
        let enough = select(stopped, sleep(LIFETIME));
        if let Either::Right(_) = select(connection.as_mut(), enough).await {
            // An idle connection ends at once, the others after the answer that they are in.
            connection.as_mut().graceful_shutdown();
            let _ = connection.timeout(GRACE).await;
        }
    }
}

/// What is served.
#[derive(Default)]
struct Site {
    /// A plain cell: all connections are on one thread.
    answered: Cell<u64>,
}

impl Site {
    /// Decides about a request.
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let response = match (request.uri().path(), request.method()) {
            ("/", &Method::GET | &Method::HEAD) => Response::new(Full::from("Hello from hyper!\n")),
            ("/echo", &Method::POST) => echo(request.into_body()).await,
            ("/", _) => not_allowed("GET, HEAD"),
            ("/echo", _) => not_allowed("POST"),
            _ => refusal(StatusCode::NOT_FOUND, "Nothing is here.\n"),
        };
        self.answered.set(self.answered.get() + 1);
        response
    }
}

/// The same body back: all of it, so that one that comes too slowly or is too large can still be refused.
async fn echo(body: Incoming) -> Response<Full<Bytes>> {
    let mut response = match Limited::new(body, MOST_ECHOED).collect().timeout(PATIENCE).await {
        Ok(Ok(body)) => return Response::new(Full::new(body.to_bytes())),
        Ok(Err(_)) => refusal(StatusCode::PAYLOAD_TOO_LARGE, "That is too much to say again.\n"),
        Err(_elapsed) => refusal(StatusCode::REQUEST_TIMEOUT, "That took too long.\n"),
    };
    // The rest of the body is not read, so no other request can follow it.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Another method would do.
fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "Not like that.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// An answer that says no.
fn refusal(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(why));
    *response.status_mut() = status;
    response
}
