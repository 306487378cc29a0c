//! The future of a watched task and, once the future is ready, its output, in one allocation.
//!
//! A handle wants the output in its own type, and the table of tasks knows no types. [`MaybeDone`] of futures-rs is a
//! future that becomes its output in place. A [`Job`] is one of these with its type erased, and gives the output out
//! through [`Any`]: so no task has an allocation for its output alone, and no code here is unsafe.

use futures::future::MaybeDone;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;

/// A future that keeps its output. Ready with `()` when the output is there.
pub(crate) trait Job: Future<Output = ()> {
    /// Moves the output into `output`, which is an `Option` of the output's type. Runs no user code.
    fn take(self: Pin<&mut Self>, output: &mut dyn Any);
}

impl<F> Job for MaybeDone<F>
where
    F: Future<Output: 'static> + 'static,
{
    fn take(self: Pin<&mut Self>, output: &mut dyn Any) {
        if let Some(output) = output.downcast_mut::<Option<F::Output>>() {
            *output = self.take_output();
        }
    }
}

/// Returns the job of a future that has not been polled.
pub(crate) fn job<F>(future: F) -> Pin<Box<dyn Job>>
where
    F: Future<Output: 'static> + 'static,
{
    Box::pin(MaybeDone::Future(future))
}
