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
//! [`hyper::rt`]: https://docs.rs/hyper/1/hyper/rt/index.html

mod io;
pub use io::{HyperIo, HyperSocket};

mod executor;
pub use executor::HyperExecutor;

mod timer;
pub use timer::HyperTimer;
