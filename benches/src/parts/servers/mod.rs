//! The servers under measurement, all of the same shape: a task (or record) per connection with a buffer of 4 KiB
//! inside. The task reads the available bytes and writes them back, until the client closes.
//!
//! [`serve()`] pins the process, opens the listening socket and starts the server of the ordered peer and protocol.
//! `TCP_NODELAY` is set on the listening socket; Linux passes it on to accepted connections, so no server spends a
//! system call on it.
//!
//! ```text
//!                  serve
//!    ┌──────┬────────┼───────┬─────────┐
//!   raw   ours     tokio   hyper   datagrams      hyper and datagrams: ours and tokio each
//!           └────┬───┘
//!            listener
//! ```

mod listener;
mod raw;
mod ours;
mod tokio;
mod hyper;
mod datagrams;
mod serve;

pub(crate) use serve::serve;
