//! Cancel tokens: which tasks a cancel ends, in which states, from which threads, and what it costs.

use async_epoll::LocalRuntime;
use async_timeout::{
    CancelToken, Cancellation, Cancelled, TimeoutExt, Until, deadline, sleep, token, with_deadline, with_token,
};
use futures::executor::block_on;
use futures::future::{FusedFuture, FutureExt, join_all, pending, poll_fn, ready};
use futures::stream::{FuturesUnordered, StreamExt};
use std::cell::Cell;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;
use tests::common::everywhere;
use tests::{
    CountingAllocator, CountingWaker, HOUR, OnDrop, TIME, WakerCall, allocations, hostile_waker, in_child, later,
    live_heap, millis, thread_cpu, waker_fn, watchdog, yield_now,
};

/// For the tests of memory, each of which runs in a process of its own.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The descendants of the large trees.
const MANY: usize = 100_000;

/// Polls a future once, without a task.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// A wait that was polled once, and the wakes since.
fn waiting(token: &CancelToken) -> (Cancellation, Arc<CountingWaker>) {
    let (counter, waker) = CountingWaker::new();
    let mut wait = token.cancelled();
    assert!(wait.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    (wait, counter)
}

/// What has become of a token in the table.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Live,
    Cancelled,
    ParentCancelled,
    ParentDropped,
    /// No clone is left. What was made of the token before lives on, below the parent.
    Dropped,
}

/// An operation of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Operation {
    WaitBefore,
    WaitAfter,
    WaitGivenUp,
    ChildBefore,
    ChildAfter,
    CancelHere,
    CancelOnAThread,
    CancelInAWaker,
    DropGuard,
    UntilReady,
    UntilPending,
    UntilPanics,
}

/// A token in one of the states, and what was made of it before it came to that state.
struct Scene {
    parent: Option<CancelToken>,
    token: Option<CancelToken>,
    wait: (Cancellation, Arc<CountingWaker>),
    given_up: Arc<CountingWaker>,
    child: CancelToken,
    guard: async_timeout::DropGuard,
    is_cancelled: bool,
}

impl Scene {
    fn new(state: State) -> Self {
        let parent = CancelToken::new();
        let token = parent.child();
        let (given_up, counter) = waiting(&token);
        let guard = token.child().drop_guard();
        let mut scene = Self {
            wait: waiting(&token),
            given_up: counter,
            child: token.child(),
            guard,
            parent: Some(parent),
            token: Some(token),
            is_cancelled: matches!(state, State::Cancelled | State::ParentCancelled),
        };
        drop(given_up);
        match state {
            State::Live => {}
            State::Cancelled => scene.token.as_ref().unwrap().cancel_with("first"),
            State::ParentCancelled => scene.parent.as_ref().unwrap().cancel_with("first"),
            State::ParentDropped => scene.parent = None,
            State::Dropped => scene.token = None,
        }
        scene
    }

    /// Cancels what is left of the token, from above if there is no token.
    fn cancel(&self) {
        self.token.as_ref().or(self.parent.as_ref()).unwrap().cancel_with("second");
    }

    /// Checks that everything made of the token is cancelled, by the first cancel that reached it.
    fn check_end(&mut self) {
        let reason = if self.is_cancelled { "first" } else { "second" };
        assert_eq!(poll_once(&mut self.wait.0), Poll::Ready(()));
        assert_eq!((self.wait.1.count(), self.given_up.count()), (1, 0), "woken once, and not after its drop");
        assert!(self.child.is_cancelled());
        assert_eq!(self.child.reason(), Some(reason));
        if let Some(token) = &self.token {
            assert!(token.is_cancelled() && token.child().is_cancelled());
            assert_eq!(token.cancelled().now_or_never(), Some(()));
            assert_eq!((token.reason(), token.child().reason()), (Some(reason), Some(reason)));
        }
    }
}

/// Does an operation on a token in a state, and checks what comes of it. Returns `false` if there is no token to do it on.
fn cell(state: State, operation: Operation) -> bool {
    let mut scene = Scene::new(state);
    let is_cancelled = scene.is_cancelled;
    let token = scene.token.clone();
    // The clone is not the scene's: in the state `Dropped` there is none.
    match operation {
        Operation::WaitBefore | Operation::WaitGivenUp => {
            assert_eq!(poll_once(&mut scene.wait.0).is_ready(), is_cancelled);
            assert_eq!((scene.wait.1.count(), scene.given_up.count()), (usize::from(is_cancelled), 0));
            if operation == Operation::WaitGivenUp {
                // A wait beside it, given up in the state; the other is still woken.
                drop(std::mem::replace(&mut scene.wait, (CancelToken::new().cancelled(), Arc::default())));
                scene.cancel();
                assert!(scene.child.is_cancelled());
                return true;
            }
            // `poll_once` has replaced the waker of the first poll.
            if !is_cancelled {
                let mut cx = Context::from_waker(Waker::noop());
                let (counter, waker) = CountingWaker::new();
                assert!(scene.wait.0.poll_unpin(&mut cx).is_pending());
                assert!(scene.wait.0.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
                scene.wait.1 = counter;
            }
        }
        Operation::WaitAfter => {
            let Some(token) = &token else { return false };
            let mut wait = token.cancelled();
            let (counter, waker) = CountingWaker::new();
            let mut cx = Context::from_waker(&waker);
            for _ in 0..2 {
                assert_eq!(wait.poll_unpin(&mut cx).is_ready(), is_cancelled);
                assert_eq!(wait.is_terminated(), is_cancelled);
            }
            scene.cancel();
            assert_eq!(counter.count(), usize::from(!is_cancelled));
            assert!(wait.poll_unpin(&mut cx).is_ready() && wait.is_terminated());
        }
        Operation::ChildBefore => {
            assert_eq!(scene.child.is_cancelled(), is_cancelled);
            assert_eq!(scene.child.reason(), is_cancelled.then_some("first"));
            if !is_cancelled {
                let (wait, counter) = waiting(&scene.child);
                scene.cancel();
                assert_eq!((counter.count(), wait.now_or_never()), (1, Some(())));
            }
        }
        Operation::ChildAfter => {
            let Some(token) = &token else { return false };
            let child = token.child();
            assert_eq!((child.is_cancelled(), child.child().is_cancelled()), (is_cancelled, is_cancelled));
            assert_eq!(child.cancelled().now_or_never().is_some(), is_cancelled);
            if !is_cancelled {
                let (_wait, counter) = waiting(&child);
                scene.cancel();
                assert_eq!(counter.count(), 1);
            }
            assert!(child.is_cancelled());
        }
        Operation::CancelHere => {
            let Some(token) = &token else { return false };
            token.cancel_with("second");
            token.cancel_with("third");
            token.cancel();
            if state == State::Live {
                assert!(!scene.parent.as_ref().unwrap().is_cancelled(), "a cancel goes down");
            }
        }
        Operation::CancelOnAThread => {
            let Some(token) = &token else { return false };
            let wait = token.child().cancelled();
            let token = token.clone();
            let thread = later(move || token.cancel_with("second"));
            block_on(wait);
            thread.join().unwrap();
        }
        Operation::CancelInAWaker => {
            let Some(token) = &token else { return false };
            // The waker of a wait for another token, for this one, for one above and for one below.
            let (other, mut waits) = (CancelToken::new(), Vec::new());
            for below in [&other, token, &token.child()] {
                let target = token.clone();
                let waker = waker_fn(move || {
                    target.cancel_with("second");
                    assert!(target.is_cancelled() && target.child().is_cancelled());
                });
                let mut wait = below.cancelled();
                let _ = wait.poll_unpin(&mut Context::from_waker(&waker));
                waits.push(wait);
            }
            other.cancel();
        }
        Operation::DropGuard => {
            let sibling = std::mem::replace(&mut scene.guard, CancelToken::new().drop_guard()).disarm();
            assert_eq!(sibling.is_cancelled(), is_cancelled);
            drop(sibling.drop_guard());
            assert!(sibling.is_cancelled());
            assert_eq!(scene.child.is_cancelled(), is_cancelled, "it cancels its own token only");
            let Some(token) = &token else { return false };
            assert_eq!(token.drop_guard().disarm().is_cancelled(), is_cancelled);
            if !is_cancelled {
                token.clone().cancel_with("second");
            }
            drop(token.drop_guard());
        }
        Operation::UntilReady => {
            let Some(token) = &token else { return false };
            let polls = Cell::new(0);
            let mut until = poll_fn(|_| Poll::Ready(polls.replace(polls.get() + 1))).until(token);
            assert!(!until.is_terminated());
            let polled = poll_once(&mut until);
            assert!(until.is_terminated());
            if is_cancelled {
                let Poll::Ready(Err(cancelled)) = polled else { panic!("{polled:?}") };
                assert_eq!((cancelled.reason(), polls.get()), (Some("first"), 0), "not polled");
                assert_eq!(poll_once(&mut until), Poll::Ready(Err(cancelled)), "the same again");
            } else {
                assert_eq!((polled, polls.get()), (Poll::Ready(Ok(0)), 1));
                assert!(poll_once(&mut until).is_pending());
                scene.cancel();
                assert!(poll_once(&mut until).is_pending(), "it has been ready");
            }
        }
        Operation::UntilPending => {
            let Some(token) = &token else { return false };
            let is_dropped = Rc::new(Cell::new(false));
            let canary = OnDrop({
                let is_dropped = Rc::clone(&is_dropped);
                move || is_dropped.set(true)
            });
            let mut until = poll_fn(move |_| {
                let _canary = &canary;
                Poll::<()>::Pending
            })
            .until(token);
            let (counter, waker) = CountingWaker::new();
            let mut cx = Context::from_waker(&waker);
            if !is_cancelled {
                assert!(until.poll_unpin(&mut cx).is_pending());
                scene.cancel();
                assert_eq!((counter.count(), is_dropped.get()), (1, false));
            }
            for _ in 0..2 {
                let Poll::Ready(Err(cancelled)) = until.poll_unpin(&mut cx) else { panic!("not cancelled") };
                assert_eq!(cancelled.reason(), token.reason());
                assert_eq!(token.has_caused(&cancelled), state != State::ParentCancelled);
                assert!(is_dropped.get(), "although the outer future is still there");
            }
        }
        Operation::UntilPanics => {
            let Some(token) = &token else { return false };
            let mut is_first = true;
            let mut until = poll_fn(|_| {
                if std::mem::replace(&mut is_first, false) { Poll::<()>::Pending } else { panic!("on purpose") }
            })
            .until(token);
            assert_eq!(poll_once(&mut until).is_ready(), is_cancelled);
            let polled = catch_unwind(AssertUnwindSafe(|| poll_once(&mut until).is_ready()));
            assert_eq!(polled.ok(), is_cancelled.then_some(true), "the panic goes through");
            drop(until);
        }
    }
    scene.cancel();
    if operation == Operation::DropGuard && !is_cancelled {
        assert_eq!(scene.child.reason(), Some("second"));
    }
    drop(token);
    scene.check_end();
    true
}

/// Each operation on a token in each state.
#[test]
fn states_and_operations() {
    use Operation::*;
    let _watchdog = watchdog(TIME);
    let operations = [
        WaitBefore,
        WaitAfter,
        WaitGivenUp,
        ChildBefore,
        ChildAfter,
        CancelHere,
        CancelOnAThread,
        CancelInAWaker,
        DropGuard,
        UntilReady,
        UntilPending,
        UntilPanics,
    ];
    let mut impossible = Vec::new();
    for state in [State::Live, State::Cancelled, State::ParentCancelled, State::ParentDropped, State::Dropped] {
        for operation in operations {
            if !cell(state, operation) {
                impossible.push((state, operation));
            }
        }
    }
    // Without a token, only what was made before is left.
    assert!(impossible.iter().all(|(state, _)| *state == State::Dropped), "{impossible:?}");
    assert_eq!(impossible.len(), 9);
}

/// A wait ends on each executor, also by a cancel on another thread while the executor sleeps. Waiting uses no CPU.
#[test]
fn tasks_everywhere() {
    everywhere(async || {
        let token = CancelToken::new();
        let cpu = thread_cpu();
        let canceller = {
            let token = token.clone();
            later(move || token.cancel())
        };
        let waits = (0..10).map(|_| token.child().cancelled()).collect::<FuturesUnordered<_>>().count();
        let (count, ended) = futures::join!(waits, sleep(HOUR).until(&token));
        assert_eq!((count, ended.is_err()), (10, true));
        assert!(thread_cpu() - cpu < millis(15), "spins");
        canceller.join().unwrap();
    });
}

/// A wait that moves to another task wakes that task, and no other.
#[test]
fn the_last_task_is_woken() {
    let _watchdog = watchdog(TIME);
    let token = CancelToken::new();
    let (mut wait, first) = waiting(&token);
    let (second, waker) = CountingWaker::new();
    for _ in 0..3 {
        assert!(wait.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&first), 1, "the old waker is dropped");
    assert_eq!(Arc::strong_count(&second), 3, "the new one is kept once");
    token.cancel();
    assert_eq!((first.count(), second.count()), (0, 1));
    // Some waits are dropped before, in every order: exactly the others are woken.
    for mask in 0..32 {
        let token = CancelToken::new();
        let mut waits: Vec<_> = (0..5).map(|_| Some(waiting(&token))).collect();
        let counters: Vec<_> = waits.iter().flatten().map(|(_, counter)| Arc::clone(counter)).collect();
        for (number, wait) in waits.iter_mut().enumerate() {
            *wait = wait.take().filter(|_| mask >> number & 1 == 0);
        }
        let late = waiting(&token);
        token.cancel();
        let woken: usize = counters.iter().enumerate().map(|(number, counter)| counter.count() << number).sum();
        assert_eq!((woken, late.1.count()), (31 & !mask, 1));
    }
}

/// Bugs D1 and D2: every call of a waker uses the token in every way. Nothing is locked meanwhile, and no other wait is lost.
#[test]
fn wakers_may_use_the_token() {
    let _watchdog = watchdog(TIME);
    let acts = ["cancel", "cancel the parent", "cancel the child", "make a child", "wait", "drop a wait", "panic"];
    for (call, end) in [
        (WakerCall::Clone, "cancel"),
        (WakerCall::Wake, "cancel"),
        (WakerCall::Drop, "cancel"),
        (WakerCall::Drop, "another waker"),
        (WakerCall::Drop, "give up"),
    ] {
        for act in acts {
            let parent = CancelToken::new();
            let (token, calls) = (parent.child(), Arc::new(AtomicUsize::new(0)));
            let child = token.child();
            let kept = Arc::new(Mutex::new(Some(waiting(&token).0)));
            let waker = {
                let (parent, token, child) = (parent.clone(), token.clone(), child.clone());
                let (calls, kept) = (Arc::clone(&calls), Arc::clone(&kept));
                hostile_waker(Arc::new(move |now| {
                    if now != call || calls.fetch_add(1, Ordering::SeqCst) > 0 {
                        return;
                    }
                    match act {
                        "cancel" => token.cancel(),
                        "cancel the parent" => parent.cancel(),
                        "cancel the child" => child.cancel(),
                        "make a child" => drop(token.child().child()),
                        "wait" => drop(waiting_if_live(&token)),
                        "drop a wait" => drop(kept.lock().unwrap().take()),
                        _ => panic!("on purpose"),
                    }
                }))
            };
            let (before, after) = (waiting(&token), token.cancelled());
            let mut wait = token.cancelled();
            let guarded = |act: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(act)).is_err();
            let mut panics = 0;
            panics += usize::from(guarded(&mut || {
                let polled = wait.poll_unpin(&mut Context::from_waker(&waker));
                // A cancel between the first look and the registration is seen.
                assert_eq!(polled.is_ready(), token.is_cancelled(), "{call:?} {end} {act}");
            }));
            let after = if token.is_cancelled() { None } else { Some((after, waiting(&token))) };
            panics += usize::from(guarded(&mut || match end {
                "another waker" => {
                    let _ = poll_once(&mut wait);
                }
                "give up" => drop(std::mem::replace(&mut wait, token.cancelled())),
                _ => {}
            }));
            panics += usize::from(guarded(&mut || token.cancel()));
            panics += usize::from(guarded(&mut || drop(std::mem::replace(&mut wait, token.cancelled()))));
            assert_eq!(panics, usize::from(act == "panic" && calls.load(Ordering::SeqCst) > 0), "{call:?} {end} {act}");
            assert_eq!(before.1.count(), 1, "{call:?} {end} {act}");
            assert!(after.is_none_or(|(_, (_, counter))| counter.count() == 1), "{call:?} {end} {act}");
            assert!(child.is_cancelled() && token.is_cancelled());
            assert!(wait.now_or_never().is_some());
            let waker = AssertUnwindSafe(waker);
            let _ = catch_unwind(|| drop(waker));
            assert!(calls.load(Ordering::SeqCst) > 0, "{call:?} {end} {act}: it is called");
        }
    }
}

/// Polls a new wait, whatever comes of it.
fn waiting_if_live(token: &CancelToken) -> Cancellation {
    let mut wait = token.cancelled();
    let _ = poll_once(&mut wait);
    wait
}

/// Bug D4: a waker that panics keeps no other task from being woken, at the token or below. A guard that is dropped by a
/// panic does not panic again.
#[test]
fn a_panicking_waker_loses_nobody() {
    /// The payload of a panic, which panics when it is dropped.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("in the drop of a payload");
            }
        }
    }
    let _watchdog = watchdog(TIME);
    for is_unwinding in [false, true] {
        let token = CancelToken::new();
        let tokens: Vec<_> = (0..3).map(|_| token.child()).chain([token.clone()]).collect();
        let (mut waits, mut counters) = (Vec::new(), Vec::new());
        for token in tokens.iter().cycle().take(12) {
            let (wait, counter) = waiting(token);
            counters.push(counter);
            waits.push(wait);
            let mut wait = token.cancelled();
            let panicking = waker_fn(|| std::panic::panic_any(Bomb));
            assert!(wait.poll_unpin(&mut Context::from_waker(&panicking)).is_pending());
            waits.push(wait);
        }
        let end = catch_unwind(AssertUnwindSafe(|| {
            if is_unwinding {
                let _guard = token.drop_guard();
                panic!("the first");
            }
            token.cancel();
        }));
        let payload = end.unwrap_err();
        assert_eq!(payload.is::<Bomb>(), !is_unwinding);
        std::mem::forget(payload);
        assert!(counters.iter().all(|counter| counter.count() == 1));
        assert!(tokens.iter().all(CancelToken::is_cancelled));
        assert_eq!(join_all(waits).now_or_never().map(|all| all.len()), Some(24));
    }
}

/// A waker that panics when it is dropped does not end the process if the thread unwinds already. Otherwise the panic is
/// that of the drop of the wait.
#[test]
fn a_waker_that_panics_when_it_is_dropped() {
    let act = |now| {
        if now == WakerCall::Drop {
            resume_unwind(Box::new(1))
        }
    };
    for is_unwinding in [false, true] {
        let token = CancelToken::new();
        // The clone that the token has is the only one that is dropped.
        let waker = ManuallyDrop::new(hostile_waker(Arc::new(act)));
        let mut wait = token.cancelled();
        assert!(wait.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        let end = catch_unwind(AssertUnwindSafe(|| {
            let _wait = wait;
            if is_unwinding {
                resume_unwind(Box::new(0));
            }
        }));
        assert_eq!(end.unwrap_err().downcast_ref(), Some(&i32::from(!is_unwinding)));
        // Nothing is locked, and nothing is left.
        token.cancel();
    }
}

/// A future is polled first once it has begun, so its output is never lost to a cancel. A loop over futures that are
/// always ready ends nevertheless.
#[test]
fn the_future_is_polled_first() {
    everywhere(async || {
        let token = CancelToken::new();
        let mut until = poll_fn(|_| {
            token.cancel();
            Poll::<()>::Pending
        })
        .until(&token);
        // The cancel comes during the first poll, which finds the future pending.
        assert!(matches!(futures::poll!(&mut until), Poll::Ready(Err(_))));

        let token = CancelToken::new();
        let (sender, receiver) = futures::channel::oneshot::channel();
        let mut until = receiver.until(&token);
        assert!(futures::poll!(&mut until).is_pending());
        token.cancel();
        sender.send(7).unwrap();
        assert_eq!(until.await, Ok(Ok(7)), "both are there: the output wins");

        let (token, mut rounds) = (CancelToken::new(), 0);
        let busy = async {
            while ready(()).until(&token).await.is_ok() {
                rounds += 1;
                if rounds == 10 {
                    token.cancel();
                }
            }
        };
        busy.await;
        assert_eq!(rounds, 10);
    });
}

/// A future that always wakes itself, and a stream, end by a token.
#[test]
fn whatever_is_ended() {
    everywhere(async || {
        let token = CancelToken::new();
        let self_waking = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let stopper = async {
            yield_now().await;
            token.cancel_with("enough");
        };
        let (ended, ()) = futures::join!(self_waking.until(&token), stopper);
        assert_eq!(ended.unwrap_err().reason(), Some("enough"));

        let token = CancelToken::new();
        let numbers = futures::stream::iter(0..).take_until(token.cancelled());
        let taken: Vec<i32> = numbers
            .inspect(|number| {
                if *number == 3 {
                    token.cancel()
                }
            })
            .collect()
            .await;
        assert_eq!(taken, [0, 1, 2, 3]);
    });
}

/// The errors: equal if they come from one cancel; with a reason, and a text; as `io::Error`, of a kind that no loop tries
/// again.
#[test]
fn errors() {
    let end = |token: &CancelToken| block_on(pending::<()>().until(token)).unwrap_err();
    let (parent, other) = (CancelToken::new(), CancelToken::default());
    let child = parent.child();
    parent.cancel_with(String::from("a reason"));
    other.cancel();
    let (above, below, error) = (end(&parent), end(&child), end(&other));
    assert!(above == below && above != error && above.clone() == above);
    assert!(parent.has_caused(&below) && !child.has_caused(&below) && !other.has_caused(&below));
    assert!(!parent.child().has_caused(&below));
    assert_eq!((below.to_string(), error.to_string()), ("cancelled: a reason".into(), "cancelled".into()));
    assert_eq!((below.reason(), error.reason(), other.reason()), (Some("a reason"), None, None));
    let error = io::Error::from(below);
    assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::Other, "cancelled: a reason".into()));
    assert!(Cancelled::of(&error).is_some_and(|payload| *payload == above));
    assert!(Cancelled::of(&io::ErrorKind::Interrupted.into()).is_none());
    // An error outlives the tokens.
    drop((parent, child));
    assert_eq!(above.reason(), Some("a reason"));
    let texts = [
        format!("{:?}", CancelToken::new()),
        format!("{other:?}"),
        format!("{above:?}"),
        format!("{:?}", other.cancelled()),
        format!("{:?}", ready(1).until(&other)),
        format!("{:?}", with_token(ready(1), &other)),
        format!("{:?}", CancelToken::new().drop_guard().disarm()),
    ];
    assert_eq!(texts[0], "CancelToken { is_cancelled: false, reason: None }");
    assert_eq!(texts[2], "Cancelled { reason: Some(\"a reason\") }");
    assert!(texts.iter().all(|text| text.len() > 10 && text.len() < 200), "{texts:?}");
}

/// Scopes: the innermost token is the current one, in the polls of the future and nowhere else.
#[test]
fn scopes() {
    everywhere(async || {
        let is_current = |token: &CancelToken| token::current().as_ref() == Some(token);
        let (outer, inner) = (CancelToken::new(), CancelToken::new());
        assert!(token::current().is_none());
        let scope = with_token(
            async {
                assert!(is_current(&outer));
                yield_now().await;
                with_token(
                    async {
                        yield_now().await;
                        assert!(is_current(&inner));
                    },
                    &inner,
                )
                .await
                .unwrap();
                assert!(is_current(&outer), "put back");
                // Neither the drop of the inner future nor the wait for the token is inside.
                let scope = with_token(
                    async {
                        let _canary = OnDrop(|| assert!(is_current(&outer), "dropped outside its scope"));
                        pending::<()>().await;
                    },
                    &inner,
                );
                let mut scope = pin!(scope);
                assert!(futures::poll!(&mut scope).is_pending() && !scope.is_terminated());
                inner.cancel();
                assert!(scope.as_mut().await.is_err() && scope.is_terminated());
                assert!(scope.await.is_err(), "the same again");
                "output"
            },
            &outer,
        );
        let mut scope = pin!(scope);
        assert!(futures::poll!(&mut scope).is_pending());
        assert!(token::current().is_none(), "only while it is polled");
        assert_eq!(scope.token(), Some(&outer));
        assert_eq!(scope.as_mut().await, Ok("output"));
        assert!(futures::poll!(&mut scope).is_pending(), "it has been ready");

        // A cancel of the outer token ends everything inside, whatever the inner tokens are.
        let inside = with_token(with_token(pending::<()>(), &CancelToken::new()), &outer);
        let (ended, ()) = futures::join!(inside, async { outer.cancel() });
        assert!(outer.has_caused(&ended.unwrap_err()));

        // A panic leaves the scope.
        let token = CancelToken::new();
        let mut scope = Box::pin(with_token(async { panic!("on purpose") }, &token));
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut scope))).is_err());
        assert!(token::current().is_none());
    });
}

/// A spawned task is ended by the token of its parent's scope only if it inherits the token.
#[test]
fn spawned_tasks_do_not_inherit_unless_asked() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let server = CancelToken::new();
    let parent = async {
        let alone = spawner.spawn_local_with_handle(async { token::current() }).unwrap();
        let asked = spawner.spawn_local_with_handle(token::inherit(async { token::current() })).unwrap();
        let ended = spawner.spawn_local_with_handle(token::inherit(pending::<()>())).unwrap();
        (alone.await, asked.await, ended)
    };
    let (alone, asked, ended) = runtime.run_until(with_token(parent, &server)).unwrap().unwrap();
    assert_eq!((alone, asked), (None, Ok(Some(server.clone()))));
    server.cancel();
    assert!(runtime.run_until(ended).unwrap().is_err(), "it lives longer than the scope, and still ends by its token");

    // Outside a scope there is nothing to inherit.
    let unlimited = token::inherit(yield_now());
    assert_eq!(unlimited.token(), None);
    assert_eq!(runtime.run_until(unlimited).unwrap(), Ok(()));
    // Inherited nothing is not a scope of its own: the current token stays.
    let unlimited = token::inherit(async { token::current() });
    let token = CancelToken::new();
    assert_eq!(runtime.run_until(with_token(unlimited, &token)).unwrap(), Ok(Ok(Some(token))));
}

/// Scopes of deadlines and of tokens, inside each other: the first end counts, and each is current inside.
#[test]
fn deadlines_and_tokens() {
    everywhere(async || {
        let (soon, far) = (|| Instant::now() + millis(10), Instant::now() + HOUR);
        let token = CancelToken::new();
        let both = || async { (deadline::current(), token::current()) };
        let seen = (Some(far), Some(token.clone()));
        assert_eq!(with_deadline(with_token(both(), &token), far).await, Ok(Ok(seen.clone())));
        assert_eq!(with_token(with_deadline(both(), far), &token).await, Ok(Ok(seen)));
        // The deadline is first.
        assert!(with_deadline(with_token(pending::<()>(), &token), soon()).await.is_err());
        assert!(with_token(with_deadline(pending::<()>(), soon()), &token).await.unwrap().is_err());
        assert!(with_deadline(token.cancelled(), soon()).await.is_err(), "a wait inside a deadline");
        assert!(token.cancelled().timeout(millis(1)).await.is_err());
        // The token is first.
        let cancel = || async {
            yield_now().await;
            token.cancel();
        };
        let (ended, ()) = futures::join!(with_deadline(with_token(pending::<()>(), &token), far), cancel());
        assert!(ended.unwrap().is_err());
        assert!(with_token(with_deadline(sleep(HOUR), far), &token).await.is_err());
        assert_eq!(with_deadline(token.cancelled(), far).await, Ok(()));
    });
}

/// Threads make children, wait, give up and drop, while others cancel. Each wait ends, and what is below a cancelled token
/// is cancelled.
#[test]
fn races() {
    const THREADS: usize = 4;
    let _watchdog = watchdog(TIME);
    let ended = Arc::new(AtomicUsize::new(0));
    for round in 0..300 {
        let root = CancelToken::new();
        let (middle, start) = (root.child(), Arc::new(Barrier::new(THREADS + 2)));
        let below = middle.child();
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (token, start, ended) = (middle.clone(), Arc::clone(&start), Arc::clone(&ended));
            threads.push(thread::spawn(move || {
                start.wait();
                let (mut token, mut kept) = (token, Vec::new());
                for step in 0..50 {
                    match (number + step + round) % 5 {
                        0 => kept.push(token.child().cancelled()),
                        1 => kept.push(token.cancelled()),
                        // The parent is dropped by this thread, and perhaps reached by the cancel just now.
                        2 => token = token.child(),
                        3 => drop((waiting_if_live(&token), token.child())),
                        _ => drop(kept.pop()),
                    }
                    for wait in &mut kept {
                        let _ = poll_once(wait);
                    }
                }
                drop(token);
                ended.fetch_add(kept.len(), Ordering::Relaxed);
                block_on(join_all(kept));
            }));
        }
        let observer = {
            let (root, middle, below, start) = (root.clone(), middle.clone(), below.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                while !root.is_cancelled() {
                    thread::yield_now();
                }
                assert!(middle.is_cancelled() && below.is_cancelled(), "from the leaves up");
                assert!(middle.child().is_cancelled());
            })
        };
        let other = {
            let (middle, start) = (middle.clone(), Arc::clone(&start));
            move || {
                start.wait();
                if round % 2 == 0 {
                    middle.cancel_with("middle");
                }
            }
        };
        drop(middle);
        let canceller = thread::spawn(other);
        for _ in 0..round % 64 {
            thread::yield_now();
        }
        root.cancel_with("root");
        canceller.join().unwrap();
        observer.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(below.is_cancelled() && below.reason().is_some());
    }
    assert!(ended.load(Ordering::Relaxed) > 0);
}

/// Two threads cancel a tree at once: when either cancel returns, everything is cancelled, by one cancel per token.
#[test]
fn two_cancels_at_once() {
    let _watchdog = watchdog(TIME);
    for round in 0..200 {
        let root = CancelToken::new();
        let children: Vec<_> = (0..20).map(|_| root.child()).collect();
        let grandchildren: Vec<_> = children.iter().map(CancelToken::child).collect();
        let waits: Vec<_> = grandchildren.iter().map(waiting).collect();
        let start = Arc::new(Barrier::new(2));
        let other = {
            let (start, grandchildren) = (Arc::clone(&start), grandchildren.clone());
            let target = if round % 2 == 0 { root.clone() } else { children[7].clone() };
            thread::spawn(move || {
                start.wait();
                target.cancel_with("other");
                assert!(grandchildren[7].is_cancelled());
                assert!(round % 2 == 1 || grandchildren.iter().all(CancelToken::is_cancelled));
            })
        };
        start.wait();
        root.cancel_with("root");
        assert!(grandchildren.iter().all(CancelToken::is_cancelled));
        other.join().unwrap();
        assert!(waits.iter().all(|(_, counter)| counter.count() == 1), "each is woken once");
        let reasons: Vec<_> = grandchildren.iter().map(|token| token.reason().unwrap()).collect();
        let odd = reasons.iter().filter(|reason| **reason != reasons[0]).count();
        assert!(odd == 0 || round % 2 == 1 && odd == 1, "{reasons:?}");
    }
}

/// A token that shows its cancel is above cancelled tokens only, at every moment of a cancel.
#[test]
fn a_cancel_shows_from_the_leaves_up() {
    let _watchdog = watchdog(TIME);
    for _ in 0..5 {
        let root = CancelToken::new();
        let middle = root.child();
        let children: Vec<_> = (0..MANY).map(|_| middle.child()).collect();
        let observer = {
            let middle = middle.clone();
            thread::spawn(move || {
                while !middle.is_cancelled() {
                    thread::yield_now();
                }
                assert!([0, MANY / 2, MANY - 1].iter().all(|number| children[*number].is_cancelled()));
            })
        };
        root.cancel();
        observer.join().unwrap();
    }
}

/// A hundred thousand descendants, deep and wide, are cancelled and dropped in each order on a small stack.
#[test]
fn a_hundred_thousand_descendants() {
    let _watchdog = watchdog(TIME * 2);
    let run = || {
        for is_deep in [true, false] {
            for end in ["cancel", "from the first", "from the last", "waits alone"] {
                let root = CancelToken::new();
                let mut tokens = vec![root.clone()];
                for number in 0..MANY {
                    let child = tokens[if is_deep { number } else { 0 }].child();
                    tokens.push(child);
                }
                let (counter, waker) = CountingWaker::new();
                let mut waits: Vec<_> = tokens.iter().skip(1).map(CancelToken::cancelled).collect();
                for wait in &mut waits {
                    assert!(wait.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
                }
                match end {
                    "cancel" => {
                        root.cancel();
                        assert!(tokens.iter().all(CancelToken::is_cancelled));
                        assert_eq!(counter.count(), MANY);
                        assert!(waits.into_iter().all(|wait| wait.now_or_never().is_some()));
                        assert!(tokens[MANY / 2].child().is_cancelled(), "made after the cancel");
                    }
                    "from the first" => {
                        drop(root);
                        drop(waits);
                        tokens.drain(..).for_each(drop);
                    }
                    "from the last" => while tokens.pop().is_some() && waits.pop().is_some() {},
                    _ => {
                        // The tokens between are gone, and the leaves are reached all the same.
                        drop(tokens);
                        waits.drain(..MANY - 10);
                        root.cancel();
                        assert_eq!(counter.count(), 10);
                    }
                }
            }
        }
    };
    // Two hundred thousand frames do not fit.
    thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
}

/// A waker cancels a hundred thousand descendants, on a small stack. Waits that were polled are woken, and those that were
/// not yet polled, or are made later, of children made later, too, are ready at once.
#[test]
fn a_waker_cancels_a_large_tree() {
    let _watchdog = watchdog(TIME * 2);
    let run = || {
        for is_deep in [true, false] {
            let (outer, root) = (CancelToken::new(), CancelToken::new());
            let mut tokens = vec![root.child()];
            for number in 1..MANY {
                let parent = if is_deep { &tokens[number - 1] } else { &root };
                tokens.push(parent.child());
            }
            let (counter, waker) = CountingWaker::new();
            let mut waits: Vec<_> = tokens.iter().map(CancelToken::cancelled).collect();
            for wait in waits.iter_mut().step_by(2) {
                assert!(wait.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            }
            let canceller = {
                let (root, last) = (root.clone(), tokens[MANY - 1].clone());
                waker_fn(move || {
                    root.cancel_with("in a waker");
                    assert!(last.is_cancelled() && last.child().is_cancelled(), "before the cancel returns");
                })
            };
            let mut wait = outer.cancelled();
            assert!(wait.poll_unpin(&mut Context::from_waker(&canceller)).is_pending());
            outer.cancel();
            assert_eq!(counter.count(), MANY / 2, "each that waited is woken once");
            assert!(waits.iter_mut().all(|wait| poll_once(wait).is_ready()));
            for token in tokens.iter().chain([&root]) {
                assert!(token.cancelled().now_or_never().is_some());
                assert_eq!(token.child().reason(), Some("in a waker"));
            }
        }
    };
    thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
}

/// A wait allocates nothing of its own, however many there are: only the list grows, by doubling.
#[test]
fn allocations_of_many_waits() {
    let count = |waiters: usize| {
        let (token, waker) = (CancelToken::new(), CountingWaker::new().1);
        let mut waits = Vec::with_capacity(waiters);
        let before = allocations();
        for _ in 0..waiters {
            waits.push(token.cancelled());
            assert!(waits.last_mut().unwrap().poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        token.cancel();
        assert!(waits.iter_mut().all(|wait| poll_once(wait).is_ready()));
        drop(waits);
        allocations() - before
    };
    let (few, many) = (count(100), count(10_000));
    println!("{few} allocations for 100 waits, {many} for 10,000");
    assert!(few > 0 && many <= few + 32, "{few}, {many}");
}

/// Memory: what a wait and a child take, and that all of it is given back while the root lives on.
#[test]
fn memory() {
    const WAITS: usize = 10_000;
    /// Bytes that the test harness may allocate meanwhile, and the kept entries.
    const NOISE: usize = 16 * 1024;
    if !in_child("memory") {
        return;
    }
    let root = CancelToken::new();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waits = Vec::with_capacity(WAITS);
    for round in 0..3 {
        let before = live_heap();
        waits.extend((0..WAITS).map(|_| root.cancelled()));
        assert!(live_heap().saturating_sub(before) <= NOISE, "nothing until the first poll");
        waits.iter_mut().for_each(|wait| assert!(wait.poll_unpin(&mut cx).is_pending()));
        let each = (live_heap() - before) / WAITS;
        println!("a wait: {each} bytes of the heap, {} of its own", size_of::<Cancellation>());
        assert!(each <= 32 && size_of::<Cancellation>() <= 24, "{each}");
        // From the front in one round, from the back in the next.
        if round == 0 {
            waits.drain(..).for_each(drop)
        } else {
            while waits.pop().is_some() {}
        }
        let left = live_heap().saturating_sub(before);
        assert!(left <= NOISE, "{left} bytes are left");
    }
    let mut children = Vec::with_capacity(MANY);
    let before = live_heap();
    children.extend((0..MANY).map(|_| root.child()));
    let each = (live_heap() - before) / MANY;
    println!("a child: {each} bytes");
    assert!(each <= 256, "{each} bytes");
    children.drain(..).for_each(drop);
    let left = live_heap().saturating_sub(before);
    assert!(left <= NOISE, "{left} bytes are left");

    // A chain of which only the last token is held does not grow.
    let mut last = root.child();
    for _ in 0..MANY {
        last = last.child();
    }
    let left = live_heap().saturating_sub(before);
    assert!(left <= NOISE, "{left} bytes are left");
    // The same with a sibling per link, which is dropped later.
    let mut siblings = Vec::with_capacity(1000);
    let before = live_heap();
    for _ in 0..MANY {
        siblings.push(last.child());
        last = last.child();
        if siblings.len() == 1000 {
            siblings.clear();
        }
    }
    drop(siblings);
    // The youngest link is behind the room of all siblings that lived at once.
    let left = live_heap().saturating_sub(before);
    assert!(left <= 256 * 1024, "{left} bytes");
    root.cancel();
    assert!(last.is_cancelled(), "reached through all links that are gone");
}

/// A wait costs the same beside a hundred thousand others, and so does its drop.
#[test]
fn a_wait_among_many() {
    const CYCLES: usize = 100_000;
    let _watchdog = watchdog(TIME);
    let cost = |others: usize| {
        let token = CancelToken::new();
        let _waits: Vec<_> = (0..others).map(|_| waiting_if_live(&token)).collect();
        let begin = thread_cpu();
        for _ in 0..CYCLES {
            drop(waiting_if_live(&token));
        }
        thread_cpu() - begin
    };
    let (alone, among_many) = (cost(0), cost(MANY));
    println!("{CYCLES} waits: {alone:?} alone, {among_many:?} among {MANY}");
    assert!(among_many <= 10 * alone + millis(50), "{among_many:?}, alone {alone:?}");
}

/// Nothing is left over: tokens that keep each other's waits, and futures that are forgotten.
#[test]
fn what_is_forgotten() {
    let _watchdog = watchdog(TIME);
    let token = CancelToken::new();
    let (wait, counter) = waiting(&token.child());
    std::mem::forget(wait);
    let until: Until<_> = pending::<()>().until(&token);
    std::mem::forget(until);
    token.cancel();
    assert_eq!(counter.count(), 1, "a forgotten wait is woken, and harms nothing");
    // A future that owns the token that ends it, and is ended.
    let is_dropped = Arc::new(AtomicBool::new(false));
    let canary = OnDrop({
        let is_dropped = Arc::clone(&is_dropped);
        move || is_dropped.store(true, Ordering::SeqCst)
    });
    let token = CancelToken::new();
    let until = {
        let own = token.clone();
        async move {
            let _canary = canary;
            own.cancel();
            pending::<()>().await;
        }
        .until(&token)
    };
    assert!(block_on(pin!(until)).is_err());
    assert!(is_dropped.load(Ordering::SeqCst));
    assert!(Pin::new(&mut token.cancelled()).now_or_never().is_some());
}
