//! Children in place, which may borrow from their parent.
//!
//! A scope is one future: it polls its body and its children, and is ready when all have ended. The children are in a
//! `FuturesUnordered` of futures-rs, which polls a child only if the child itself was woken. A child that is spawned while the
//! scope polls comes into a list, from which the scope takes it, so that no borrow is held while user code runs.
//!
//! ```text
//!   scope(body).await ─── InScope { body, children: FuturesUnordered, shared ──► new children, waker }
//!                                                                        ▲
//!                         Scope, in the body and in children: spawn ─────┘
//! ```
//!
//! A panic of the body or of a child ends the scope: all futures are dropped, and the panic goes on in the task that polls the
//! scope. A destructor that panics meanwhile is caught, since a second panic would end the process.

use crate::foreign::drop_payload;
use futures::future::{LocalBoxFuture, ready};
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

/// Runs `body`, and the children that it spawns into the [`Scope`], in the present task. Ready with the output of `body` when
/// the body and all children have ended.
///
/// The children may borrow from outside of the scope, as the threads of [`std::thread::scope`] may. For children that need not
/// borrow, a [`TaskGroup`](crate::TaskGroup) is better, for the reason that comes next.
///
/// # Children run only while the scope is polled
///
/// A child in a scope is not a task. While the parent awaits something else *beside* the scope, the children stand still, and a
/// child with a timeout, a lock or a peer that waits is late. Do not keep a scope aside while you await: await it, or poll it
/// together with the other future (`join!`, `select!`). Inside of the body anything may be awaited: the children run meanwhile.
/// All children share the one task, so they also share its budget of [operations](crate::OPERATIONS_PER_POLL) per poll.
///
/// # Panics
///
/// A panic of the body or of a child goes on in the task that awaits the scope, once; the body and all children are dropped
/// before. Panics of their destructors are dropped then.
///
/// # Cancel safety
///
/// Dropping the future drops the body and all children.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::scope;
/// use std::cell::Cell;
///
/// async_epoll::block_on(async {
///     let numbers = vec![1, 2, 3, 4];
///     let sum = Cell::new(0);
///     let doubled = scope(async |scope| {
///         for number in &numbers {
///             let sum = &sum;
///             // Borrows `sum` and an element of `numbers`.
///             scope.spawn(async move { sum.set(sum.get() + number) });
///         }
///         let last = numbers.last();
///         let child = scope.spawn(async move { last.map(|last| last * 2) });
///         child.await
///     })
///     .await;
///     assert_eq!((sum.get(), doubled), (10, Some(8)));
/// })
/// # }
/// ```
pub async fn scope<'env, T>(body: impl AsyncFnOnce(Scope<'env>) -> T) -> T {
    let shared = Rc::new(Shared { new: RefCell::default(), waker: Cell::default(), is_over: Cell::new(false) });
    let handle = Scope { shared: Rc::clone(&shared) };
    // First the scope, so that what is spawned is dropped in order if the call of the body panics.
    let mut scope = InScope { body: None, output: None, children: FuturesUnordered::new(), shared };
    scope.body = Some(Box::pin(body(handle)));
    scope.await
}

/// The number of children that may end in one poll of the scope. Then other tasks have their turn: a chain of children, each
/// of which spawns the next and ends, would hold the thread.
const ENDS_PER_POLL: u32 = 64;

/// What the handles of a scope share with the scope.
struct Shared<'env> {
    /// The children that the scope has not taken yet.
    new: RefCell<Vec<LocalBoxFuture<'env, ()>>>,
    /// Wakes the task that polls the scope. Left by the scope before it is pending, taken by a spawn.
    waker: Cell<Option<Waker>>,
    /// The scope has ended: it takes no child any more. Set once.
    is_over: Cell<bool>,
}

/// Spawns children into a [`scope`]. Cheap to clone, so that children can spawn siblings.
pub struct Scope<'env> {
    /// What the scope shares.
    shared: Rc<Shared<'env>>,
}

impl<'env> Scope<'env> {
    /// Spawns a child, which may borrow what lives longer than the scope. It is polled when the scope is polled next.
    ///
    /// Dropping the returned task leaves the child running. After the scope has ended, `future` is dropped at once, and the task
    /// is never ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{Scope, scope};
    /// use std::cell::Cell;
    ///
    /// fn count_down<'env>(scope: &Scope<'env>, number: u32, steps: &'env Cell<u32>) {
    ///     let inside = scope.clone();
    ///     scope.spawn(async move {
    ///         steps.set(steps.get() + 1);
    ///         if number > 0 {
    ///             count_down(&inside, number - 1, steps);
    ///         }
    ///     });
    /// }
    ///
    /// async_epoll::block_on(async {
    ///     let steps = Cell::new(0);
    ///     scope(async |scope| count_down(&scope, 5, &steps)).await;
    ///     assert_eq!(steps.get(), 6);
    /// })
    /// # }
    /// ```
    pub fn spawn<F>(&self, future: F) -> ScopedTask<F::Output>
    where
        F: Future<Output: 'env> + 'env,
    {
        let slot = Rc::new(Slot { output: Cell::new(None), waker: Cell::new(None) });
        let filled = Rc::clone(&slot);
        let child = async move {
            let output = future.await;
            filled.output.set(Some(output));
            filled.waker.take().into_iter().for_each(Waker::wake);
        };
        if !self.shared.is_over.get() {
            self.shared.new.borrow_mut().push(Box::pin(child));
            self.shared.waker.take().into_iter().for_each(Waker::wake);
        }
        ScopedTask { slot }
    }
}

impl Clone for Scope<'_> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// Where a child leaves its output.
struct Slot<T> {
    /// The output, from the end of the child until it is taken.
    output: Cell<Option<T>>,
    /// Wakes what awaits the output.
    waker: Cell<Option<Waker>>,
}

/// The output of a child in a [`scope`], as a future; from [`Scope::spawn`].
///
/// Await it inside of the scope: the child runs only while the scope does. Dropping it leaves the child running. A child that
/// awaits itself waits for ever. Once it has been ready, awaiting it again waits for ever, too.
///
/// # Cancel safety
///
/// Awaiting `&mut task` may be given up and begun again; nothing is lost.
pub struct ScopedTask<T> {
    /// Where the output comes.
    slot: Rc<Slot<T>>,
}

impl<T> Future for ScopedTask<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // The clone may run user code, so the output is looked for after it.
        let waker = cx.waker().clone();
        match self.slot.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                drop(self.slot.waker.replace(Some(waker)));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for ScopedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTask").finish_non_exhaustive()
    }
}

/// The future of a [`scope`].
struct InScope<'env, B: Future> {
    /// The body, until it has ended.
    body: Option<Pin<Box<B>>>,
    /// The output of the body.
    output: Option<B::Output>,
    /// The children that have not ended.
    children: FuturesUnordered<LocalBoxFuture<'env, ()>>,
    /// What is shared with the handles.
    shared: Rc<Shared<'env>>,
}

/// No field is pinned in place: the body and the children are boxed.
impl<B: Future> Unpin for InScope<'_, B> {}

impl<B: Future> InScope<'_, B> {
    /// Polls the body and the children that are ready.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What is spawned during this poll is found at its end, without a wake.
        drop(self.shared.waker.take());
        if let Some(body) = &mut self.body {
            if let Poll::Ready(output) = body.as_mut().poll(cx) {
                self.output = Some(output);
                self.body = None;
            }
        }
        let mut ended = 0;
        loop {
            self.children.extend(self.shared.new.take());
            let polled = self.children.poll_next_unpin(cx);
            if let Poll::Ready(Some(())) = polled {
                ended += 1;
                if ended < ENDS_PER_POLL {
                    continue;
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if polled.is_pending() || self.body.is_some() {
                // The clone may run user code, so the list is looked at after it.
                let waker = cx.waker().clone();
                drop(self.shared.waker.replace(Some(waker)));
                if self.shared.new.borrow().is_empty() {
                    return Poll::Pending;
                }
            } else if self.shared.new.borrow().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Drops the body, all children, the output and the waker, one by one. Returns the first panic of a destructor.
    fn clear(&mut self) -> thread::Result<()> {
        self.shared.is_over.set(true);
        let mut result = drop_one(self.body.take());
        let mut add = |dropped| match (dropped, &result) {
            (Err(panic), Ok(())) => result = Err(panic),
            (Err(panic), Err(_)) => drop_payload(panic),
            (Ok(()), _) => {}
        };
        let new = self.shared.new.take();
        let children = self.children.iter_mut().map(|child| std::mem::replace(child, Box::pin(ready(()))));
        children.chain(new).for_each(|child| add(drop_one(child)));
        add(drop_one(self.output.take()));
        add(drop_one(self.shared.waker.take()));
        result
    }
}

/// Drops something of the user's, and catches its panic.
fn drop_one<T>(value: T) -> thread::Result<()> {
    catch_unwind(AssertUnwindSafe(|| drop(value)))
}

impl<B: Future> Future for InScope<'_, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.poll_all(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                self.shared.is_over.set(true);
                self.output.take().map_or(Poll::Pending, Poll::Ready)
            }
            Err(panic) => {
                if let Err(second) = self.clear() {
                    drop_payload(second);
                }
                resume_unwind(panic)
            }
        }
    }
}

impl<B: Future> Drop for InScope<'_, B> {
    fn drop(&mut self) {
        if let Err(panic) = self.clear() {
            if thread::panicking() {
                drop_payload(panic);
            } else {
                resume_unwind(panic);
            }
        }
    }
}
