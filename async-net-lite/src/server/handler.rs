//! What serves the connections of a listener.

use super::connection::Connection;
use async_trait::async_trait;
use std::error::Error;
use std::future::Future;

/// What a handler returns. An error ends only its own connection; the server counts it, and tells
/// [`Server::on_event`](super::Server::on_event).
pub type HandlerResult = Result<(), Box<dyn Error>>;

/// Serves the connections of a listener, each in a task of its own. The trait is object-safe.
///
/// Most handlers are closures: `async |connection: Connection| { … }`, or, if the closure captures something, one that clones
/// it for each future, `move |connection: Connection| { let state = Rc::clone(&state); async move { … } }`. The output is `()`
/// or a [`Result`] with any error. A type implements the trait by the macro
/// [`async_trait`](https://docs.rs/async-trait), in the form `#[async_trait(?Send)]`.
///
/// # Panics
///
/// A panic of the handler, when it is called, in a poll, or when its future is dropped, ends that connection alone, and is
/// counted.
///
/// # Examples
///
/// ```
/// use async_net_lite::server::{Connection, Handler, HandlerResult};
/// use async_trait::async_trait;
/// use futures::AsyncWriteExt;
///
/// struct Greeter {
///     greeting: String,
/// }
///
/// #[async_trait(?Send)]
/// impl Handler for Greeter {
///     async fn handle(&self, mut connection: Connection) -> HandlerResult {
///         connection.write_all(self.greeting.as_bytes()).await?;
///         Ok(())
///     }
/// }
/// ```
#[async_trait(?Send)]
pub trait Handler {
    /// Serves one connection. The server calls this in the connection's task.
    ///
    /// The future may be dropped at any time: when the server aborts the connection.
    ///
    /// # Errors
    ///
    /// Any error. The connection then counts as failed.
    async fn handle(&self, connection: Connection) -> HandlerResult;
}

#[async_trait(?Send)]
impl<F, T> Handler for F
where
    F: Fn(Connection) -> T,
    T: Future<Output: IntoResult>,
{
    async fn handle(&self, connection: Connection) -> HandlerResult {
        self(connection).await.into_result()
    }
}

/// What the future of a closure may return. Sealed: implemented for `()` and for a `Result` with any error.
pub trait IntoResult: sealed::Sealed {
    /// Returns the result of the handler.
    ///
    /// # Errors
    ///
    /// The error of the closure.
    fn into_result(self) -> HandlerResult;
}

impl IntoResult for () {
    fn into_result(self) -> HandlerResult {
        Ok(self)
    }
}

impl<E: Into<Box<dyn Error>>> IntoResult for Result<(), E> {
    fn into_result(self) -> HandlerResult {
        self.map_err(Into::into)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}
