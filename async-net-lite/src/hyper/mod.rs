//! The feature `hyper`: the runtime traits of [hyper](https://docs.rs/hyper/1) 1, on the sockets of this crate, the
//! spawner of async-epoll and the timers of async-timeout.
//!
//! hyper implements HTTP/1 and HTTP/2, and leaves sockets, tasks and timers to the traits of [`hyper::rt`]:
//!
//! ```text
//!                       hyper: HTTP/1, HTTP/2
//!         │ rt::Read, rt::Write     │ rt::Executor          │ rt::Timer, rt::Sleep
//!     HyperIo<TcpStream>       HyperExecutor           HyperTimer
//!         │                         │                       │
//!     async-net-lite           async_epoll::Spawner    async_timeout::Sleep
//! ```
//!
//! An HTTP/1 connection needs only a [`HyperIo`], and a [`HyperTimer`] for timeouts. HTTP/2 also needs a
//! [`HyperExecutor`], for a task per request. Services and bodies need not be `Send`, so they may use an `Rc`.
//!
//! [`hyper::rt`]: https://docs.rs/hyper/1/hyper/rt/index.html

mod io;
pub use io::{HyperIo, HyperSocket};

mod executor;
pub use executor::HyperExecutor;

mod timer;
pub use timer::HyperTimer;
