//! Scopes: children in place, which borrow from their parent.

use async_epoll::{LocalRuntime, Reactor, Scope, Timer, scope, yield_now};
use futures::channel::oneshot;
use futures::future::{FutureExt, join, pending};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tests::common::block_on;
use tests::{CountingWaker, HOUR, OnDrop, TIME, millis, watchdog};

/// Children read and change what belongs to the parent, and the scope waits for all of them, also for those that the body does
/// not await and that children spawn.
#[test]
fn children_borrow_from_the_parent() {
    let text = String::from("a text of the parent");
    let mut words = [0; 2];
    let (total, found) = block_on(async {
        let (first, second) = words.split_at_mut(1);
        let total = Cell::new(0);
        let found = scope(async |scope| {
            for (place, letter) in [(first, 't'), (second, 'e')] {
                let (text, total) = (&text, &total);
                let inside = scope.clone();
                scope.spawn(async move {
                    place[0] = text.matches(letter).count();
                    yield_now().await;
                    // A sibling, spawned when the body has ended.
                    inside.spawn(async move { total.set(total.get() + place[0]) });
                });
            }
            scope.spawn(async { text.find("of") }).await
        })
        .await;
        (total.get(), found)
    });
    assert_eq!((words, total, found), ([4, 3], 7, Some(7)));
}

/// Children run while the body awaits something else, and while the scope is polled beside another future; they stand still
/// while it is not polled.
#[test]
fn children_run_while_the_scope_is_polled() {
    let _watchdog = watchdog(TIME);
    let steps = Cell::new(0);
    let mut runtime = LocalRuntime::new().unwrap();
    let ran = runtime.run_until(async {
        let mut scope = pin!(scope(async |scope| {
            scope.spawn(async {
                loop {
                    steps.set(steps.get() + 1);
                    yield_now().await;
                }
            });
            // The watchdog ends the test if the child stands still.
            while steps.get() < 10 {
                yield_now().await;
            }
            pending::<()>().await;
        }));
        assert!(scope.as_mut().now_or_never().is_none());
        let before = steps.get();
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(steps.get(), before, "nothing polls the scope");
        let enough = pin!(async {
            while steps.get() < before + 20 {
                yield_now().await;
            }
        });
        futures::future::select(scope, enough).await;
    });
    ran.unwrap();
}

/// Returns a guard that notes its number when it is dropped.
fn guard<'a>(drops: &'a RefCell<Vec<u32>>, number: u32) -> OnDrop<impl FnMut() + 'a> {
    OnDrop(move || drops.borrow_mut().push(number))
}

/// A panic of a child, or of the body, drops all others and is seen once, by the parent. Destructors that panic meanwhile do
/// not hide it, and do not keep others from being dropped.
#[test]
fn a_panic_ends_the_scope() {
    let _watchdog = watchdog(TIME);
    for in_body in [false, true] {
        for destructors_panic in [false, true] {
            let hooked = Rc::new(Cell::new(0));
            let counter = Rc::clone(&hooked);
            let reactor = Reactor::builder().on_task_panic(move |_| counter.set(counter.get() + 1)).build().unwrap();
            let mut runtime = LocalRuntime::from(reactor);
            let drops = RefCell::new(Vec::new());
            let panic = runtime.run_until(async {
                let scope = scope(async |scope| {
                    for number in 0..5 {
                        let guard = guard(&drops, number);
                        scope.spawn(async move {
                            let _guard = guard;
                            let _panics = OnDrop(|| {
                                if destructors_panic {
                                    resume_unwind(Box::new("of a destructor"));
                                }
                            });
                            if number == 2 && !in_body {
                                yield_now().await;
                                std::mem::forget(_panics);
                                resume_unwind(Box::new("first"));
                            }
                            pending::<()>().await;
                        });
                    }
                    yield_now().await;
                    if in_body {
                        resume_unwind(Box::new("first"));
                    }
                    pending::<()>().await;
                });
                let mut scope = pin!(scope);
                let panic = AssertUnwindSafe(scope.as_mut()).catch_unwind().await.unwrap_err();
                // Before the scope itself is dropped.
                assert_eq!(drops.borrow().len(), 5, "{in_body}, {destructors_panic}");
                panic
            });
            assert_eq!(*panic.unwrap().downcast::<&str>().unwrap(), "first");
            drops.borrow_mut().sort_unstable();
            assert_eq!((drops.into_inner(), hooked.get()), (vec![0, 1, 2, 3, 4], 0));
        }
    }
    // In a task, it is the task's panic.
    let hooked = Rc::new(Cell::new(0));
    let counter = Rc::clone(&hooked);
    let reactor = Reactor::builder().on_task_panic(move |_| counter.set(counter.get() + 1)).build().unwrap();
    let mut runtime = LocalRuntime::from(reactor);
    let task = scope(async |scope| {
        scope.spawn(async { resume_unwind(Box::new("of a child")) });
        pending::<()>().await;
    });
    runtime.spawner().spawn(task).unwrap();
    runtime.run().unwrap();
    assert_eq!((hooked.get(), runtime.handle().stats().task_panics), (1, 1));
}

/// A scope that is dropped drops its body and its children, whether they were polled or not, also while the thread unwinds and
/// if destructors panic. A child that is spawned by a destructor is dropped, too.
#[test]
fn a_scope_is_dropped() {
    let _watchdog = watchdog(TIME);
    for is_polled in [false, true] {
        for is_unwinding in [false, true] {
            let drops = RefCell::new(Vec::new());
            let mut scope = Box::pin(scope(async |scope| {
                let _body = guard(&drops, 10);
                for number in 0..3 {
                    let (guard, inside, drops) = (guard(&drops, number), scope.clone(), &drops);
                    scope.spawn(async move {
                        let _guard = guard;
                        let _spawns = OnDrop(move || {
                            let late = self::guard(drops, 20);
                            drop(inside.spawn(async move { drop(late) }));
                        });
                        let _panics = OnDrop(|| resume_unwind(Box::new("of a destructor")));
                        pending::<()>().await;
                    });
                }
                pending::<()>().await;
            }));
            if is_polled {
                let _ = scope.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            let panic = catch_unwind(AssertUnwindSafe(|| {
                let _scope = scope;
                if is_unwinding {
                    resume_unwind(Box::new("first"));
                }
            }));
            let panic = panic.err().map(|panic| *panic.downcast::<&str>().unwrap());
            let expected = match (is_unwinding, is_polled) {
                (true, _) => Some("first"),
                (false, true) => Some("of a destructor"),
                (false, false) => None,
            };
            assert_eq!(panic, expected);
            drops.borrow_mut().sort_unstable();
            let all = if is_polled { vec![0, 1, 2, 10, 20, 20, 20] } else { vec![] };
            assert_eq!(drops.into_inner(), all);
        }
    }
}

/// Each child is polled when it is woken, and not otherwise: ten thousand children that end one by one are polled twice each.
#[test]
fn a_child_is_polled_when_it_is_woken() {
    const CHILDREN: usize = 10_000;
    let polls = Cell::new(0);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..CHILDREN).map(|_| oneshot::channel::<()>()).unzip();
    block_on(async {
        let scope = scope(async |scope| {
            for receiver in receivers {
                let mut receiver = receiver;
                let polls = &polls;
                scope.spawn(std::future::poll_fn(move |cx| {
                    polls.set(polls.get() + 1);
                    receiver.poll_unpin(cx)
                }));
            }
        });
        let send = async {
            for sender in senders {
                yield_now().await;
                sender.send(()).unwrap();
            }
        };
        join(scope, send).await;
    });
    assert_eq!(polls.get(), CHILDREN * 2);
}

/// A spawn from outside of a poll wakes the task of the scope, once; after the end of the scope a child is dropped unpolled.
#[test]
fn a_spawn_from_outside() {
    let _watchdog = watchdog(TIME);
    let drops = RefCell::new(Vec::new());
    let kept = RefCell::new(None);
    let (counter, waker) = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let (sender, receiver) = oneshot::channel::<()>();
    let mut scope = Box::pin(scope(async |scope| {
        *kept.borrow_mut() = Some(scope.clone());
        receiver.await.unwrap();
        scope.spawn(async {});
    }));
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    let outside: Scope<'_> = kept.borrow_mut().take().unwrap();
    for number in 0..3 {
        let guard = guard(&drops, number);
        let mut task = outside.spawn(async move { drop(guard) });
        assert!(task.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!((counter.count(), drops.borrow().len()), (1, 0));
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    assert_eq!(*drops.borrow(), [0, 1, 2]);
    sender.send(()).unwrap();
    let wakes = counter.count();
    assert!(scope.as_mut().poll(&mut cx).is_ready());
    assert_eq!(counter.count(), wakes, "a spawn inside of the poll needs no wake");
    let late = guard(&drops, 3);
    drop(outside.spawn(async move {
        let _late = late;
        unreachable!("the scope has ended");
    }));
    assert_eq!(*drops.borrow(), [0, 1, 2, 3]);
    assert!(format!("{outside:?}").starts_with("Scope"));
}

/// Timers and nested scopes work in a scope, and a cancelled scope leaves no timer.
#[test]
fn scopes_nest() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let sum = Cell::new(0);
    let nested = scope(async |outer| {
        for _ in 0..3 {
            outer.spawn(scope(async |inner| {
                for _ in 0..3 {
                    inner.spawn(async {
                        Timer::try_after(millis(1)).unwrap().await.unwrap();
                        sum.set(sum.get() + 1);
                    });
                }
            }));
        }
    });
    runtime.run_until(nested).unwrap();
    assert_eq!((sum.get(), handle.stats().timers), (9, 0));
    runtime
        .run_until(async {
            let scope = scope(async |scope| {
                scope.spawn(async { Timer::try_after(HOUR).unwrap().await.unwrap() });
            });
            let mut scope = Box::pin(scope);
            assert!(scope.as_mut().now_or_never().is_none());
            assert_eq!(handle.stats().timers, 1);
        })
        .unwrap();
    runtime.run_for(Duration::ZERO).unwrap();
    assert_eq!(runtime.handle().stats().timers, 0);
}

/// A child that spawns a sibling and waits for it: the sibling is polled although nothing else wakes the scope.
#[test]
fn a_child_waits_for_a_sibling() {
    let sum = block_on(scope(async |scope| {
        let inside = scope.clone();
        let child = scope.spawn(async move {
            let sibling = inside.spawn(async { 1 });
            sibling.await + 1
        });
        child.await + 1
    }));
    assert_eq!(sum, 3);
}

/// A body that panics when it is called, before it is a future: what it has spawned is dropped, also a child that holds the
/// scope.
#[test]
fn a_body_that_panics_at_once() {
    fn call<'env>(drops: &'env RefCell<Vec<u32>>, destructor_panics: bool) -> Option<()> {
        scope(|scope: Scope<'env>| {
            let (guard, inside) = (guard(drops, 1), scope.clone());
            scope.spawn(async move {
                let _kept = (guard, inside);
                let _panics = OnDrop(|| assert!(!destructor_panics, "of a destructor"));
                pending::<()>().await;
            });
            if drops.borrow().is_empty() {
                resume_unwind(Box::new("of the call"));
            }
            pending::<()>()
        })
        .now_or_never()
    }
    let _watchdog = watchdog(TIME);
    for destructor_panics in [false, true] {
        let drops = RefCell::new(Vec::new());
        let panic = catch_unwind(AssertUnwindSafe(|| call(&drops, destructor_panics))).unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), "of the call");
        assert_eq!(*drops.borrow(), [1]);
    }
}

/// A child panics after the body has ended: the output of the body is dropped, and a panic of its destructor is not the one
/// that is seen.
#[test]
fn an_output_that_panics_when_it_is_dropped() {
    let _watchdog = watchdog(TIME);
    let panic = catch_unwind(|| {
        block_on(scope(async |scope| {
            scope.spawn(async {
                yield_now().await;
                resume_unwind(Box::new("of a child"));
            });
            OnDrop(|| panic!("of the output"))
        }))
    });
    assert_eq!(*panic.err().unwrap().downcast::<&str>().unwrap(), "of a child");
}

/// Children that end at once, each of which spawns the next, leave the thread to other futures.
#[test]
fn a_chain_of_children_starves_no_future() {
    fn next<'env>(scope: &Scope<'env>, number: &'env Cell<u64>) {
        let inside = scope.clone();
        scope.spawn(async move {
            number.set(number.get() + 1);
            next(&inside, number);
        });
    }
    let number = Cell::new(0);
    block_on(async {
        let endless = pin!(scope(async |scope| next(&scope, &number)));
        futures::future::select(endless, Timer::try_after(millis(20)).unwrap()).await;
    });
    assert!(number.get() > 0);
}
