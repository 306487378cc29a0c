//! Wakes from another thread: that thread raises a flag for each of some tasks, wakes them, and waits until all have
//! lowered their flags.
//!
//! The other thread has the core of the load generator. It waits by looking, not by sleeping, so that the way back
//! costs nothing, and the round trip is the wake. Whoever sleeps in epoll has to be woken through a descriptor; how
//! often that was written to, the kernel tells, since this process writes to nothing else meanwhile.

use crate::servers::Peer;
use crate::{child, process, sys};
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
const PATIENCE: u32 = 60;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bout {
    /// Ours or tokio.
    pub(crate) peer: Peer,
    /// How many are woken in a round.
    pub(crate) tasks: usize,
    pub(crate) rounds: usize,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Rounds per second.
    pub(crate) rate: f64,
    /// Calls of `write(2)` per wake.
    pub(crate) writes: f64,
    /// How many more writes than sleeps the reactor itself has counted. Not for peers.
    pub(crate) beyond_sleeps: f64,
}

impl Bout {
    /// The command line that asks for this.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["wakes".into(), self.peer.to_string()];
        args.extend(["--connections".into(), self.tasks.to_string(), "--count".into(), self.rounds.to_string()]);
        args
    }

    /// Has a child process do it.
    pub(crate) fn measure(self) -> io::Result<Outcome> {
        match child::figures(&self.to_args(), "the process that is woken")?[..] {
            [rate, writes, beyond_sleeps] => Ok(Outcome { rate, writes, beyond_sleeps }),
            _ => Err(io::Error::other("the process that is woken does not say how often")),
        }
    }
}

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
fn measure(bout: Bout, ring: &Ring, counted: impl Fn() -> [u64; 2]) -> io::Result<Outcome> {
    sys::pin(child::load_core()?)?;
    ring.wake_all(bout.rounds / 10 + 1);
    let (writes, [counted_writes, counted_sleeps]) = (process::own_writes()?, counted());
    let begin = Instant::now();
    ring.wake_all(bout.rounds);
    let rate = bout.rounds as f64 / begin.elapsed().as_secs_f64();
    let (writes_after, [counted_writes_after, counted_sleeps_after]) = (process::own_writes()?, counted());
    Ok(Outcome {
        rate,
        writes: (writes_after - writes) as f64 / (bout.rounds * bout.tasks) as f64,
        beyond_sleeps: (counted_writes_after - counted_writes) as f64 - (counted_sleeps_after - counted_sleeps) as f64,
    })
}

/// The whole child process: prints what it found on one line.
pub(crate) fn fight(bout: &Bout) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(PATIENCE);
    sys::pin(child::server_core()?)?;
    let flags = (0..bout.tasks).map(|_| Flag::default()).collect();
    let ring = Arc::new(Ring { flags, ..Ring::default() });
    let outcome = match bout.peer {
        Peer::Ours => ours(*bout, &ring),
        Peer::Tokio => tokio(*bout, &ring),
        Peer::Raw => Err(io::Error::other("raw has no tasks")),
    }?;
    println!("{} {} {}", outcome.rate, outcome.writes, outcome.beyond_sleeps);
    Ok(())
}

/// Our tasks.
fn ours(bout: Bout, ring: &Arc<Ring>) -> io::Result<Outcome> {
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    for number in 0..bout.tasks {
        spawner.spawn_local(ring.task(number)).map_err(io::Error::other)?;
    }
    let handle = runtime.handle();
    let counted = move || {
        let stats = handle.stats();
        [stats.eventfd_writes, stats.sleeps]
    };
    beside(bout, ring, counted, || runtime.run())
}

/// The same tasks on tokio's current_thread runtime, with sockets enabled, so that it sleeps in epoll.
fn tokio(bout: Bout, ring: &Arc<Ring>) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks: Vec<_> = (0..bout.tasks).map(|number| runtime.spawn(ring.task(number))).collect();
    beside(
        bout,
        ring,
        || [0, 0],
        || runtime.block_on(join_all(tasks)).into_iter().collect::<Result<(), _>>().map_err(io::Error::other),
    )
}

/// Runs the tasks on this thread while the other one wakes them.
fn beside(
    bout: Bout,
    ring: &Ring,
    counted: impl Fn() -> [u64; 2] + Send,
    run: impl FnOnce() -> io::Result<()>,
) -> io::Result<Outcome> {
    thread::scope(|scope| {
        let waking = scope.spawn(move || {
            let outcome = measure(bout, ring, counted);
            ring.finish();
            outcome
        });
        run()?;
        waking.join().map_err(|_| io::Error::other("the other thread has panicked"))?
    })
}
