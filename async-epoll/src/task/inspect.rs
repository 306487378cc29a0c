//! What the tasks of a reactor wait for (feature `inspect`).
//!
//! Nothing is recorded while a task waits. When the user asks, the wakers that sources and timers hold are compared with
//! those of the tasks: a waker in the registration of a source means that the task waits for that descriptor, one in the
//! wheel that it waits for a deadline. A waker without such a place is *foreign*: a channel holds it, another thread, or a
//! `FuturesUnordered` between the task and what it waits for.

use super::waker::TaskWaker;
use crate::engine::handle::Handle;
use crate::engine::shared::Shared;
use crate::io::interest::Want;
use crate::sys;
use crate::time::clock::Clock;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// One task, from [`Handle::tasks`]. Its [`Display`](fmt::Display) form is a line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The number of the task, in order of spawning, from 0. No other task of the reactor has it, now or later.
    pub id: u64,
    /// Where it was spawned. `LocalSpawnExt` hides the place: it is the one inside futures-rs then.
    pub spawned_at: &'static Location<'static>,
    /// How often it was polled, the poll that is running included.
    pub polls: u64,
    /// How long the longest of these polls took, the one that is running included.
    pub longest_poll: Duration,
    /// How long the poll has taken that is running; `None` if none is. Much of it means that the task blocks its
    /// thread.
    pub polled_for: Option<Duration>,
    /// Whether it is to be polled.
    pub is_ready: bool,
    /// What it waits for, as far as that can be told: what its wakers were left with.
    pub waits_for: Vec<WaitsFor>,
}

/// One thing that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// For a source to become readable.
    Readable {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if it is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// For a source to become writable.
    Writable {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if it is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// For an exceptional condition of a source.
    Priority {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if it is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// For a timer.
    Timer {
        /// When it fires; `None` for never.
        deadline: Option<Instant>,
    },
    /// For somebody else who has a waker of the task: a channel, another thread; or a combinator with wakers of its
    /// own (`FuturesUnordered`, a large `join_all`), whatever waits inside it.
    Foreign,
}

impl Handle {
    /// The living tasks of the reactor, in order of spawning (feature `inspect`).
    ///
    /// It may be called on any thread, and holds up the others for a moment. The future of
    /// [`run_until`](crate::Reactor::run_until) is no task, and not among them.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use async_epoll::{LocalRuntime, Timer, WaitsFor};
    /// use std::time::Duration;
    ///
    /// let mut runtime = LocalRuntime::new()?;
    /// let timer = Timer::after(Duration::from_secs(60), &runtime.handle());
    /// runtime.spawner().spawn_local(async { timer.await.unwrap() }).unwrap();
    /// let handle = runtime.handle();
    /// runtime.run_until(async {
    ///     Timer::after(Duration::from_millis(1), &handle).await.unwrap();
    ///     let tasks = handle.tasks();
    ///     println!("{}", tasks[0]);
    ///     assert!(matches!(tasks[0].waits_for[..], [WaitsFor::Timer { deadline: Some(_) }]));
    /// })
    /// # }
    /// ```
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let shared = &self.shared;
        let places = Places::of(shared);
        let tasks = shared.directory.tasks().into_iter().filter_map(|task| task.downcast::<TaskWaker>().ok());
        tasks.map(|task| places.look_up(&task)).collect()
    }
}

/// A waker: what it points to says whose it is.
fn address(waker: &Waker) -> usize {
    waker.data().addr()
}

/// The wakers that lie about in a reactor, by what they point to.
struct Places<'a> {
    /// In order of what they point to.
    wakers: Vec<(usize, WaitsFor)>,
    /// The reactor's.
    clock: &'a Clock,
}

impl<'a> Places<'a> {
    /// Looks at all sources and timers.
    fn of(shared: &'a Shared) -> Self {
        let mut waiting = Vec::new();
        shared.registry().visit_waiters(|fd, want, waker| waiting.push((fd, want, address(waker))));
        let mut places: Vec<_> = waiting
            .into_iter()
            .map(|(fd, want, address)| {
                let peer = sys::peer(fd);
                let place = match want {
                    Want::Read => WaitsFor::Readable { fd, peer },
                    Want::Write => WaitsFor::Writable { fd, peer },
                    Want::Priority => WaitsFor::Priority { fd, peer },
                };
                (address, place)
            })
            .collect();
        shared.wheel().visit(|deadline, waker| {
            places.push((address(waker), WaitsFor::Timer { deadline: shared.clock.to_instant(deadline) }));
        });
        places.sort_by_key(|(address, _)| *address);
        Self { wakers: places, clock: &shared.clock }
    }

    /// Describes a task, which the caller has one more `Arc` of.
    fn look_up(&self, task: &Arc<TaskWaker>) -> TaskInfo {
        let address = Arc::as_ptr(task).addr();
        let begin = self.wakers.partition_point(|(other, _)| *other < address);
        let found = self.wakers[begin..].iter().take_while(|(other, _)| *other == address);
        let mut waits_for: Vec<_> = found.map(|(_, place)| place.clone()).collect();
        // One belongs to the table of tasks, one to the caller.
        if Arc::strong_count(task) > waits_for.len() + 2 {
            waits_for.push(WaitsFor::Foreign);
        }
        let record = &task.record;
        let polled_for = record.polled_for(self.clock);
        TaskInfo {
            id: record.id,
            spawned_at: task.spawned_at,
            polls: record.polls(),
            longest_poll: record.longest_poll().max(polled_for.unwrap_or_default()),
            polled_for,
            is_ready: task.scheduled.is_scheduled(),
            waits_for,
        }
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, spawned_at, polls, longest_poll, .. } = self;
        let plural = if *polls == 1 { "" } else { "s" };
        write!(f, "task {id}, spawned at {spawned_at}, {polls} poll{plural}, the longest {longest_poll:?}")?;
        if let Some(time) = self.polled_for {
            return write!(f, ", being polled for {time:?}");
        }
        if self.is_ready {
            return f.write_str(", ready");
        }
        let mut separator = ", waits for";
        for place in &self.waits_for {
            write!(f, "{separator} {place}")?;
            separator = " or";
        }
        if self.waits_for.is_empty() {
            f.write_str(", stuck: nobody can wake it")?;
        }
        Ok(())
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fd, peer, what) = match self {
            Self::Readable { fd, peer } => (fd, peer, "readable"),
            Self::Writable { fd, peer } => (fd, peer, "writable"),
            Self::Priority { fd, peer } => (fd, peer, "exceptional"),
            Self::Timer { deadline: None } => return f.write_str("a timer that never fires"),
            Self::Timer { deadline: Some(deadline) } => {
                let left = deadline.saturating_duration_since(Instant::now());
                return write!(f, "a timer in {:.3} s", left.as_secs_f64());
            }
            Self::Foreign => return f.write_str("a waker held elsewhere (a channel, a thread, a set of futures)"),
        };
        match peer {
            Some(peer) => write!(f, "descriptor {fd} (peer {peer}) to become {what}"),
            None => write!(f, "descriptor {fd} to become {what}"),
        }
    }
}
