//! Wakes from another thread: that thread raises a flag for each of some tasks, wakes them, and waits until all have
//! lowered their flags.
//!
//! The other thread has the core of the load generator. It waits by looking, not by sleeping, so that the way back
//! costs nothing, and the round trip is the wake. Whoever sleeps in epoll has to be woken through a descriptor; how
//! often that was written to, the kernel tells, since this process writes to nothing else meanwhile.

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

/// After so many seconds the kernel ends a child that has not ended by itself: some wake-up was lost.
const TIME_LIMIT: u32 = 60;

/// What the two threads share.
#[derive(Default)]
struct Ring {
    /// One for each task.
    flags: Vec<Flag>,
    /// Flags that were lowered so far.
    lowered: AtomicUsize,
    /// The tasks are to end.
    over: AtomicBool,
}

/// Raised by the other thread, lowered by its task.
#[derive(Default)]
struct Flag {
    raised: AtomicBool,
    waker: AtomicWaker,
}

impl Ring {
    /// The task of one flag.
    fn task(self: &Arc<Self>, number: usize) -> impl Future<Output = ()> + Send + 'static {
        let ring = Arc::clone(self);
        poll_fn(move |cx| {
            let flag = &ring.flags[number];
            flag.waker.register(cx.waker());
            if flag.raised.swap(false, Ordering::AcqRel) {
                ring.lowered.fetch_add(1, Ordering::Release);
            }
            if ring.over.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// The other thread's part: so many rounds.
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

    /// All tasks end.
    fn finish(&self) {
        self.over.store(true, Ordering::Release);
        self.flags.iter().for_each(|flag| flag.waker.wake());
    }
}

/// The other thread: warms up, measures, and has the tasks end. `counted` tells how many writes and sleeps the reactor
/// has counted.
fn measure(order: WakeOrder, ring: &Ring, counted: impl Fn() -> [u64; 2]) -> io::Result<WakeOutcome> {
    cores::pin_to_load_core()?;
    ring.wake_all(order.rounds / 10 + 1);
    let (writes, [counted_writes, counted_sleeps]) = (process::own_writes()?, counted());
    let begin = Instant::now();
    ring.wake_all(order.rounds);
    let rate = order.rounds as f64 / begin.elapsed().as_secs_f64();
    let (writes_after, [counted_writes_after, counted_sleeps_after]) = (process::own_writes()?, counted());
    Ok(WakeOutcome {
        rate,
        writes: (writes_after - writes) as f64 / (order.rounds * order.tasks) as f64,
        beyond_sleeps: (counted_writes_after - counted_writes) as f64 - (counted_sleeps_after - counted_sleeps) as f64,
    })
}

/// The whole child process: prints what it found on one line.
pub(crate) fn wake(order: &WakeOrder) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(TIME_LIMIT);
    cores::pin_to_server_core()?;
    let flags = (0..order.tasks).map(|_| Flag::default()).collect();
    let ring = Arc::new(Ring { flags, ..Ring::default() });
    let outcome = match order.peer {
        Peer::Ours => ours(*order, &ring),
        Peer::Tokio => tokio(*order, &ring),
        Peer::Raw => Err(io::Error::other("raw has no tasks")),
    }?;
    println!("{}", outcome.to_line());
    Ok(())
}

/// Our tasks.
fn ours(order: WakeOrder, ring: &Arc<Ring>) -> io::Result<WakeOutcome> {
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    for number in 0..order.tasks {
        spawner.spawn_local(ring.task(number)).map_err(io::Error::other)?;
    }
    let handle = runtime.handle();
    let counted = move || {
        let stats = handle.stats();
        [stats.remote_wakes, stats.sleeps]
    };
    beside(order, ring, counted, || runtime.run())
}

/// The same tasks on tokio's current_thread runtime, with sockets enabled, so that it sleeps in epoll.
fn tokio(order: WakeOrder, ring: &Arc<Ring>) -> io::Result<WakeOutcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks: Vec<_> = (0..order.tasks).map(|number| runtime.spawn(ring.task(number))).collect();
    beside(
        order,
        ring,
        || [0, 0],
        || runtime.block_on(join_all(tasks)).into_iter().collect::<Result<(), _>>().map_err(io::Error::other),
    )
}

/// Runs the tasks on this thread while the other one wakes them.
fn beside(
    order: WakeOrder,
    ring: &Ring,
    counted: impl Fn() -> [u64; 2] + Send,
    run: impl FnOnce() -> io::Result<()>,
) -> io::Result<WakeOutcome> {
    thread::scope(|scope| {
        let waking = scope.spawn(move || {
            let outcome = measure(order, ring, counted);
            ring.finish();
            outcome
        });
        run()?;
        waking.join().map_err(|_| io::Error::other("the other thread has panicked"))?
    })
}
