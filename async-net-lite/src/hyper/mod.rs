//! The feature `hyper`: what [hyper](https://docs.rs/hyper/1) 1 wants of a runtime, on the sockets of this crate, the
//! spawner of async-epoll and the timers of async-timeout.
//!
//! hyper speaks HTTP/1 and HTTP/2 and leaves the rest to others, behind the traits of [`hyper::rt`]:
//!
//! ```text
//!                       hyper: HTTP/1, HTTP/2
//!         │ rt::Read, rt::Write     │ rt::Executor          │ rt::Timer, rt::Sleep
//!     HyperIo<TcpStream>       HyperExecutor           HyperTimer
//!         │                         │                       │
//!     async-net-lite           async_epoll::Spawner    async_timeout::Sleep
//! ```
//!
//! An HTTP/1 connection needs a [`HyperIo`] alone; a [`HyperTimer`] if it is to have timeouts. HTTP/2 needs a
//! [`HyperExecutor`], too, for a task per request. Nothing has to be `Send`: neither services, nor bodies, nor what
//! they borrow from an `Rc`.
//!
//! # Examples
//!
//! A server and a client on one thread, with a counter that needs no lock.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use async_net_lite::{HyperIo, HyperTimer, TcpListener, TcpStream};
//! use http_body_util::{BodyExt, Empty, Full};
//! use hyper::body::{Bytes, Incoming};
//! use hyper::service::service_fn;
//! use hyper::{Request, Response};
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use std::rc::Rc;
//! use std::time::Duration;
//!
//! let mut runtime = async_epoll::LocalRuntime::new()?;
//! let spawner = runtime.spawner();
//! let text = runtime.run_until(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let client = TcpStream::connect(listener.local_addr()?).await?;
//!     let (stream, _peer) = listener.accept().await?;
//!
//!     let served = Rc::new(Cell::new(0));
//!     let service = service_fn(move |_: Request<Incoming>| {
//!         served.set(served.get() + 1);
//!         let text = format!("hello, number {}", served.get());
//!         async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text))) }
//!     });
//!     let connection = hyper::server::conn::http1::Builder::new()
//!         .timer(HyperTimer)
//!         .header_read_timeout(Duration::from_secs(10))
//!         .serve_connection(HyperIo::new(stream), service);
//!     spawner.spawn_local(async { drop(connection.await) })?;
//!
//!     let (mut requests, connection) = hyper::client::conn::http1::handshake(HyperIo::new(client)).await?;
//!     spawner.spawn_local(async { drop(connection.await) })?;
//!     let request = Request::get("/").header("Host", "localhost").body(Empty::<Bytes>::new())?;
//!     let body = requests.send_request(request).await?.into_body().collect().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(String::from_utf8(body.to_bytes().into())?)
//! })??;
//! assert_eq!(text, "hello, number 1");
//! # Ok(())
//! # }
//! ```
//!
//! [`hyper::rt`]: https://docs.rs/hyper/1/hyper/rt/index.html

mod io;
pub use io::{HyperIo, Socket};

mod executor;
pub use executor::HyperExecutor;

mod timer;
pub use timer::HyperTimer;
