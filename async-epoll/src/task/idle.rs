//! A future that waits for the end of the last task.

use super::set::TaskSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Waits until no task of a spawner is left; from [`Spawner::idle`](crate::Spawner::idle).
#[must_use = "futures do nothing unless polled or awaited"]
pub struct Idle {
    /// The tasks.
    tasks: Rc<TaskSet>,
    /// The number of this future among all that wait. `None` until it waits.
    number: Option<u32>,
}

impl Idle {
    /// Returns a future that waits for the end of the last of `tasks`.
    pub(crate) const fn new(tasks: Rc<TaskSet>) -> Self {
        Self { tasks, number: None }
    }
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { tasks, number } = &mut *self;
        // A forked child runs none of its parent's tasks.
        if tasks.is_empty() || tasks.turn.shared.is_child() {
            return Poll::Ready(());
        }
        if number.is_some_and(|number| tasks.idle().borrow().will_wake(number, cx.waker())) {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let (registered, replaced) = tasks.idle().borrow_mut().register(*number, waker);
        *number = Some(registered);
        drop(replaced);
        // The clone of the waker may have run code that has ended the last task.
        if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.tasks.idle().borrow_mut().leave(number);
            waker.into_iter().for_each(|waker| self.tasks.turn.shared.drop_waker(waker));
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}
