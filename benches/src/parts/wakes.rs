//! Wakes from another thread. In each round the *waking thread* raises a flag for every task, wakes the task, and waits
//! until all tasks have lowered their flags.
//!
//! The waking thread waits by polling, not by sleeping, so the way back costs nothing and the round trip is the wake. A
//! reactor asleep in epoll must be woken through a descriptor. The kernel counts the writes to this descriptor: the
//! process makes no other writes during the measurement.
//!
//! Both threads run on the core for measured code. The waking thread starts after the process was pinned and inherits
//! the mask, so the core for load is not among its allowed cores.

use crate::machine::{cores, process, sys};
use crate::orders::peer::Peer;
use crate::orders::wakes::{WakeOrder, WakeOutcome};
use async_epoll::LocalRuntime;
use futures::future::join_all;
use futures::task::AtomicWaker;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Instant;

/// The kernel ends the process after this number of seconds: a wake-up was lost.
const TIME_LIMIT: u32 = 60;

/// The state shared by the two threads.
#[derive(Default)]
struct Shared {
    /// A flag per task.
    flags: Vec<Flag>,
    /// The number of flags lowered so far, counted by the tasks.
    lowered: AtomicUsize,
    /// Set by the waking thread when the tasks must end.
    over: AtomicBool,
}

/// A flag: raised by the waking thread, lowered by its task.
#[derive(Default)]
struct Flag {
    raised: AtomicBool,
    waker: AtomicWaker,
}

impl Shared {
    /// Returns the task of a flag.
    fn task(self: &Arc<Self>, number: usize) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(self);
        poll_fn(move |cx| {
            let flag = &shared.flags[number];
            flag.waker.register(cx.waker());
            if flag.raised.swap(false, Ordering::AcqRel) {
                shared.lowered.fetch_add(1, Ordering::Release);
            }
            if shared.over.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Runs `rounds` rounds on the waking thread.
    fn wake_all(&self, rounds: usize) {
        for _ in 0..rounds {
            let wanted = self.lowered.load(Ordering::Acquire) + self.flags.len();
            for flag in &self.flags {
                flag.raised.store(true, Ordering::Release);
                flag.waker.wake();
            }
            while self.lowered.load(Ordering::Acquire) < wanted {
                thread::yield_now();
            }
        }
    }

    /// Ends all tasks.
    fn finish(&self) {
        self.over.store(true, Ordering::Release);
        self.flags.iter().for_each(|flag| flag.waker.wake());
    }
}

/// Warms up and measures, on the waking thread. `counted` returns the reactor's own counts of writes and sleeps.
fn measure(order: WakeOrder, shared: &Shared, counted: impl Fn() -> [u64; 2]) -> io::Result<WakeOutcome> {
    cores::pin_to_load_core()?;
    shared.wake_all(order.rounds / 10 + 1);
    let (writes, [counted_writes, counted_sleeps]) = (process::own_writes()?, counted());
    let begin = Instant::now();
    shared.wake_all(order.rounds);
    let rate = order.rounds as f64 / begin.elapsed().as_secs_f64();
    let (writes_after, [counted_writes_after, counted_sleeps_after]) = (process::own_writes()?, counted());
    Ok(WakeOutcome {
        rate,
        writes: (writes_after - writes) as f64 / (order.rounds * order.tasks) as f64,
        beyond_sleeps: (counted_writes_after - counted_writes) as f64 - (counted_sleeps_after - counted_sleeps) as f64,
    })
}

/// Carries out an order, and prints its outcome on a line.
pub(crate) fn wake(order: &WakeOrder) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(TIME_LIMIT);
    cores::pin_to_server_core()?;
    let flags = (0..order.tasks).map(|_| Flag::default()).collect();
    let shared = Arc::new(Shared { flags, ..Shared::default() });
    let outcome = match order.peer {
        Peer::Ours => ours(*order, &shared),
        Peer::Tokio => tokio(*order, &shared),
        Peer::Raw => Err(io::Error::other("raw has no tasks")),
    }?;
    println!("{}", outcome.to_line());
    Ok(())
}

/// Runs the tasks on our runtime.
fn ours(order: WakeOrder, shared: &Arc<Shared>) -> io::Result<WakeOutcome> {
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    for number in 0..order.tasks {
        spawner.spawn_local(shared.task(number)).map_err(io::Error::other)?;
    }
    let handle = runtime.handle();
    let counted = move || {
        let stats = handle.stats();
        [stats.eventfd_writes, stats.sleeps]
    };
    beside(order, shared, counted, || runtime.run())
}

/// Runs the tasks on tokio's current_thread runtime, with sockets enabled, so the runtime sleeps in epoll.
fn tokio(order: WakeOrder, shared: &Arc<Shared>) -> io::Result<WakeOutcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks: Vec<_> = (0..order.tasks).map(|number| runtime.spawn(shared.task(number))).collect();
    beside(
        order,
        shared,
        || [0, 0],
        || runtime.block_on(join_all(tasks)).into_iter().collect::<Result<(), _>>().map_err(io::Error::other),
    )
}

/// Runs the tasks on this thread, while the waking thread measures.
fn beside(
    order: WakeOrder,
    shared: &Shared,
    counted: impl Fn() -> [u64; 2] + Send,
    run: impl FnOnce() -> io::Result<()>,
) -> io::Result<WakeOutcome> {
    thread::scope(|scope| {
        let waking = scope.spawn(move || {
            let outcome = measure(order, shared, counted);
            shared.finish();
            outcome
        });
        run()?;
        waking.join().map_err(|_| io::Error::other("the other thread has panicked"))?
    })
}
