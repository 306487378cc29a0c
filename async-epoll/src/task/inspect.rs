//! What the tasks of a reactor wait for (feature `inspect`).
//!
//! Nothing is recorded while a task waits. When the user asks, the wakers that sources and timers hold are compared
//! with the wakers of the tasks. A waker in the registration of a source means that its task waits for that descriptor,
//! and a waker in the wheel means that its task waits for a deadline. A waker found in neither is *foreign*: a channel
//! holds it, another thread, or a `FuturesUnordered` between the task and what the task waits for.

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

/// One task, from [`Handle::tasks`]. Its [`Display`](fmt::Display) form is one line of text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The number of the task, in order of spawning, from 0. No other task of the reactor has this number, now or
    /// later.
    pub id: u64,
    /// The name of the task, if it was [spawned with one](crate::Spawner::task).
    pub name: Option<String>,
    /// The place of the call that spawned the task. `LocalSpawnExt` hides the call, so its tasks have a place inside
    /// futures-rs.
    pub spawned_at: &'static Location<'static>,
    /// The number of polls, including the poll in progress.
    pub polls: u64,
    /// The duration of the longest poll, including the poll in progress.
    pub longest_poll: Duration,
    /// How long the poll in progress has taken; `None` if the task is not being polled. A long time means that the task
    /// blocks its thread.
    pub polled_for: Option<Duration>,
    /// Whether the task has been woken and waits to be polled.
    pub is_ready: bool,
    /// What the task waits for, as far as can be told from the places that hold its wakers.
    pub waits_for: Vec<WaitsFor>,
}

/// One thing that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// A source to become readable.
    Readable {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if the descriptor is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// A source to become writable.
    Writable {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if the descriptor is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// An exceptional condition of a source.
    Priority {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if the descriptor is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// An error of a source.
    Error {
        /// The descriptor.
        fd: RawFd,
        /// The other end, if the descriptor is a connected TCP or UDP socket.
        peer: Option<SocketAddr>,
    },
    /// A timer.
    Timer {
        /// When the timer fires; `None` for never.
        deadline: Option<Instant>,
    },
    /// Another holder of a waker of the task: a channel, another thread or the end of another task; or a combinator with
    /// wakers of its own (`FuturesUnordered`, a large `join_all`), whatever the futures inside wait for. An
    /// [`AbortHandle`](crate::AbortHandle) counts, too: it can end the wait.
    Foreign,
}

impl Handle {
    /// Returns the live tasks of the reactor, in order of spawning (feature `inspect`).
    ///
    /// May be called on any thread, and holds up the other threads for a moment. The main future of
    /// [`run_until`](crate::Reactor::run_until) is not a task, so it is not included.
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
        let held = HeldWakers::of(shared);
        let tasks = shared.directory.tasks().into_iter().filter_map(|task| task.downcast::<TaskWaker>().ok());
        tasks.map(|task| held.look_up(&task)).collect()
    }
}

/// Returns the address that a waker points to. All wakers of a task point to its [`TaskWaker`].
fn address(waker: &Waker) -> usize {
    waker.data().addr()
}

/// The wakers that the sources and timers of a reactor hold.
struct HeldWakers<'a> {
    /// The address of each waker, with the source or timer that holds the waker. Sorted by address.
    wakers: Vec<(usize, WaitsFor)>,
    /// The reactor's clock.
    clock: &'a Clock,
}

impl<'a> HeldWakers<'a> {
    /// Collects the wakers of all sources and timers.
    fn of(shared: &'a Shared) -> Self {
        let mut waiting = Vec::new();
        if let Some(registry) = shared.registry_in_child() {
            registry.visit_waiters(shared.process, |fd, want, waker| waiting.push((fd, want, address(waker))));
        }
        let mut wakers: Vec<_> = waiting
            .into_iter()
            .map(|(fd, want, address)| {
                let peer = sys::peer(fd);
                let waits_for = match want {
                    Want::Read => WaitsFor::Readable { fd, peer },
                    Want::Write => WaitsFor::Writable { fd, peer },
                    Want::Priority => WaitsFor::Priority { fd, peer },
                    Want::Error => WaitsFor::Error { fd, peer },
                };
                (address, waits_for)
            })
            .collect();
        if let Some(mut wheel) = shared.wheel_in_child() {
            wheel.visit(|deadline, waker| {
                wakers.push((address(waker), WaitsFor::Timer { deadline: shared.clock.to_instant(deadline) }));
            });
        }
        wakers.sort_by_key(|(address, _)| *address);
        Self { wakers, clock: &shared.clock }
    }

    /// Describes a task. The caller holds one `Arc` of its own.
    fn look_up(&self, task: &Arc<TaskWaker>) -> TaskInfo {
        let address = Arc::as_ptr(task).addr();
        let begin = self.wakers.partition_point(|(other, _)| *other < address);
        let found = self.wakers[begin..].iter().take_while(|(other, _)| *other == address);
        let mut waits_for: Vec<_> = found.map(|(_, waits_for)| waits_for.clone()).collect();
        let record = &task.record;
        let polled_for = record.polled_for(self.clock);
        // The table of tasks holds one reference, the caller another, and the driver a third while it polls a watched
        // task.
        let own = if task.is_watched() && polled_for.is_some() { 3 } else { 2 };
        if Arc::strong_count(task) > waits_for.len() + own {
            waits_for.push(WaitsFor::Foreign);
        }
        TaskInfo {
            id: record.id,
            name: record.name.as_ref().map(|name| name.as_str().to_owned()),
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
        write!(f, "task {id}")?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, ", spawned at {spawned_at}, {polls} poll{plural}, the longest {longest_poll:?}")?;
        if let Some(time) = self.polled_for {
            return write!(f, ", being polled for {time:?}");
        }
        if self.is_ready {
            return f.write_str(", ready");
        }
        let mut separator = ", waits for";
        for waits_for in &self.waits_for {
            write!(f, "{separator} {waits_for}")?;
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
            Self::Readable { fd, peer } => (fd, peer, "to become readable"),
            Self::Writable { fd, peer } => (fd, peer, "to become writable"),
            Self::Priority { fd, peer } => (fd, peer, "to become exceptional"),
            Self::Error { fd, peer } => (fd, peer, "to report an error"),
            Self::Timer { deadline: None } => return f.write_str("a timer that never fires"),
            Self::Timer { deadline: Some(deadline) } => {
                let left = deadline.saturating_duration_since(Instant::now());
                return write!(f, "a timer in {:.3} s", left.as_secs_f64());
            }
            Self::Foreign => return f.write_str("a waker held elsewhere (a channel, a thread, a set of futures)"),
        };
        match peer {
            Some(peer) => write!(f, "descriptor {fd} (peer {peer}) {what}"),
            None => write!(f, "descriptor {fd} {what}"),
        }
    }
}
