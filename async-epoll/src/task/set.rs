//! The tasks of a pool, and the *driver*, the one future that the pool polls in their place.
//!
//! futures-rs gives its executors no hook for "nothing left to do, wait here", and a `LocalPool`'s waker cannot end an
//! `epoll_wait`. The seam is one future of ours in the pool, the driver. The driver polls all tasks that were spawned
//! through our [`Spawner`](crate::Spawner), each with a waker of our own. So our code sees every wake, poll, panic and
//! end of a task:
//!
//! - **A wake** puts the task into the [queue](crate::wake::queue). The first wake calls the driver and ends the
//!   reactor's sleep, so the reactor [never sleeps while a task is ready](crate::wake::notifier).
//! - **A task that keeps waking itself** would keep the pool busy for ever. The driver counts polls; beyond the
//!   [budget](Turn::admit) it stops, leaves the rest in the queue, and goes on after the reactor has looked for events.
//!   The driver also stops after a task that has done all the [operations](crate::budget) of one poll.
//! - **A panic** ends the task that panicked, and is reported.
//! - **The end** of a task is counted, so `run` knows when the last task is done.
//!
//! ```text
//!             wake: into the queue                       poll
//!   IDLE ───────────────────────────────► SCHEDULED ──────────────────► being polled ──► IDLE or DONE
//!                                           ▲    │ over budget
//!                                           └────┘ (wakes change nothing)
//! ```
//!
//! Why one driver, and not one future in the pool for each task, a wrapper that swaps its waker? A wrapped task has a
//! place in the pool's own queue and a waker of the pool's, and pays for both beside ours. Measured with wrappers, a
//! request to an echo server took 756 instructions, and an idle connection 448 bytes; with one driver for all tasks the
//! numbers are 691 and 345.
//!
//! To the pool, the driver behaves as if each task were a future in the pool: a driver ends whenever a task ends, and
//! leaves a successor if other tasks remain. So `LocalPool::try_run_one` completes one task, and `LocalPool::run`
//! returns after the last. A `run` method of the reactor polls until nothing is left to do, and does not look at what ends;
//! there the driver goes on after the end of a task, which saves the two allocations of a successor.

use super::arrival::Arrival;
use super::current::Target;
use super::job::Job;
use super::label::{Label, TaskName};
use super::record::Record;
use super::running::{self, Running};
use super::turn::{Admission, Turn};
use super::waiting::Waiting;
use super::waker::{PoolQueue, TaskWaker, WATCHED};
use super::watched::{Leftovers, Outcome, Owner, Parent, Payload, Watched, Work};
use crate::budget;
use crate::engine::handle::Handle;
#[cfg(feature = "test-util")]
use crate::engine::watch::Census;
use crate::table::Table;
use crate::trace::{self, TaskSpan};
use crate::wake::scheduled::ScheduledFlag;
use futures::executor::LocalSpawner;
use futures::task::{LocalFutureObj, LocalSpawn, SpawnError, waker_ref};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

/// The number of wakers of ended tasks that are kept for new ones.
const SPARE_WAKERS: usize = 256;

/// One task.
struct Task {
    /// The user's future.
    future: LocalFutureObj<'static, ()>,
    /// What the wakers of the task refer to.
    waker: Arc<TaskWaker>,
    /// The span of the task's polls, with the feature `tracing`.
    span: TaskSpan,
}

/// The tasks of one spawner and its clones, in one pool. Stays on the pool's thread.
pub(crate) struct TaskSet {
    /// What all tasks of this thread share with the loop.
    pub(crate) turn: Rc<Turn>,
    /// The part that other threads use.
    pub(crate) pool: Arc<PoolQueue>,
    /// Puts the driver into the pool.
    spawner: LocalSpawner,
    /// The tasks without a handle and a name, by number. An entry is empty while its task is polled, and from the end of the task until its number
    /// has left the queue.
    tasks: RefCell<Table<Option<Task>>>,
    /// The tasks with a handle or a name.
    watched: RefCell<Watched>,
    /// What the wakers of ended tasks have referred to, for new tasks with a handle or in a group. Nothing else refers to it.
    spare_wakers: RefCell<Vec<Arc<TaskWaker>>>,
    /// What waits for the end of the last task.
    idle: RefCell<Waiting>,
    /// The groups of these tasks, for the deadlock report.
    groups: RefCell<Table<Weak<dyn Parent>>>,
    /// The number of tasks that have not ended, of both kinds.
    live: Cell<usize>,
    /// The numbers taken from the queue. Out of the cell while the driver polls the tasks.
    batch: Cell<Batch>,
    /// The polls without budget that are left in this turn. Set by the driver's first poll in a turn; a spawn from
    /// outside of a task adds a poll.
    free: Cell<usize>,
    /// The number of the last turn in which the driver was polled.
    last_turn: Cell<u32>,
    /// A driver is in the pool. Written when a driver is put in, or ends.
    has_driver: Cell<bool>,
    /// The driver of this set has been polled. Set once, by the driver.
    has_run: Cell<bool>,
    /// A [probe](Self::ask) was put into the pool and has not been polled yet. Cleared by the probe.
    asked: Rc<Cell<bool>>,
}

impl TaskSet {
    /// Returns an empty set for the pool behind `spawner`.
    pub(crate) fn new(spawner: LocalSpawner, turn: Rc<Turn>) -> Self {
        let pool = PoolQueue::new(&turn.shared);
        let last_turn = turn.number().wrapping_sub(1);
        Self {
            turn,
            pool,
            spawner,
            tasks: RefCell::new(Table::new()),
            watched: RefCell::default(),
            spare_wakers: RefCell::default(),
            idle: RefCell::default(),
            groups: RefCell::default(),
            live: Cell::new(0),
            batch: Cell::default(),
            free: Cell::new(0),
            last_turn: Cell::new(last_turn),
            has_driver: Cell::new(false),
            has_run: Cell::new(false),
            asked: Rc::default(),
        }
    }

    /// Returns an error if the pool has been dropped.
    pub(crate) fn status(&self) -> Result<(), SpawnError> {
        self.spawner.status_local()
    }

    /// Returns the error of a spawn into a pool that has been dropped, as an `io::Error`.
    pub(crate) fn pool_dropped(_: SpawnError) -> io::Error {
        io::Error::new(io::ErrorKind::NotConnected, "the pool of this spawner has been dropped")
    }

    /// Returns whether the set has neither a task nor an arrival that will be made into a task.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.get() == 0 && self.pool.queue().arrivals() == 0
    }

    /// Returns whether the set has a task although its pool has never been run.
    pub(crate) fn waits_for_its_first_run(&self) -> bool {
        !self.has_run.get() && !self.is_empty()
    }

    /// Puts a probe into the pool by the pool's own means: a future that notes that it was polled. At most one probe is
    /// on its way at a time, so that a pool that is never run collects no probes.
    pub(crate) fn ask(&self) {
        if !self.asked.replace(true) {
            let asked = Rc::clone(&self.asked);
            let probe = LocalFutureObj::new(Box::new(async move { asked.set(false) }));
            // Fails if the pool is gone: then the set never answers.
            let _ = self.spawner.spawn_local_obj(probe);
        }
    }

    /// Returns whether the probe has been polled, which means that the set's pool has been run.
    pub(crate) fn has_answered(&self) -> bool {
        !self.asked.get()
    }

    /// Returns the number of tasks that have not ended, and of arrivals that will be made into tasks.
    pub(crate) fn len(&self) -> usize {
        self.live.get() + self.pool.queue().arrivals()
    }

    /// Puts a new task into the table and into the queue.
    pub(crate) fn spawn(
        self: &Rc<Self>,
        future: LocalFutureObj<'static, ()>,
        spawned_at: &'static Location<'static>,
    ) -> Result<(), SpawnError> {
        self.status()?;
        self.adopt(future, spawned_at, || self.pool.shared.task_begins());
        self.ensure_driver();
        Ok(())
    }

    /// Puts a new task with a handle, a group or a name into the table and into the queue. `owner` makes what learns of the
    /// end, from the number of the task in the table, its number in the reactor, and what its wakers refer to; it runs no user
    /// code. Returns the two numbers.
    pub(crate) fn spawn_watched(
        self: &Rc<Self>,
        job: Pin<Box<dyn Job>>,
        label: &Label,
        owner: impl FnOnce(u32, u64, &Arc<TaskWaker>) -> Owner,
    ) -> Result<(u32, u64), SpawnError> {
        self.status()?;
        // First, since this runs a subscriber's code, which may spawn or panic.
        let span = TaskSpan::new(label.spawned_at, label.name());
        self.pool.shared.task_begins();
        let id = self.turn.next_task();
        let work = Work { job, span };
        let make = |number| {
            let waker = self.reuse_waker(number, id, label);
            let owner = owner(number, id, &waker);
            (waker, owner)
        };
        let number = self.watched.borrow_mut().insert(work, label.name.clone(), make);
        self.begin(number);
        self.ensure_driver();
        Ok((number, id))
    }

    /// Calls `count`, and then puts a new task into the table and into the queue.
    fn adopt(&self, future: LocalFutureObj<'static, ()>, spawned_at: &'static Location<'static>, count: impl FnOnce()) {
        // First, since this runs a subscriber's code, which may spawn or panic.
        let span = TaskSpan::new(spawned_at, None);
        count();
        let id = self.turn.next_task();
        let number = self.tasks.borrow_mut().insert_with(|number| {
            let waker = self.new_waker(number, id, spawned_at, None);
            Some(Task { future, waker, span })
        });
        self.begin(number);
    }

    /// Returns what the wakers of a new task refer to.
    fn new_waker(
        &self,
        number: u32,
        id: u64,
        spawned_at: &'static Location<'static>,
        name: Option<&TaskName>,
    ) -> Arc<TaskWaker> {
        let waker = Arc::new(TaskWaker {
            scheduled: ScheduledFlag::scheduled(),
            number,
            pool: Arc::clone(&self.pool),
            spawned_at,
            record: Record::new(id, name),
        });
        waker.record.enter(&self.pool.shared, &waker);
        waker
    }

    /// Returns what the wakers of a new task refer to, in memory that the wakers of another task have referred to before, if
    /// there is some.
    fn reuse_waker(&self, number: u32, id: u64, label: &Label) -> Arc<TaskWaker> {
        let spare = self.spare_wakers.borrow_mut().pop();
        if let Some(mut spare) = spare {
            if let Some(waker) = Arc::get_mut(&mut spare) {
                waker.renew(number, label.spawned_at, Record::new(id, label.name.as_ref()));
                spare.record.enter(&self.pool.shared, &spare);
                return spare;
            }
        }
        self.new_waker(number, id, label.spawned_at, label.name.as_ref())
    }

    /// Keeps what the wakers of an ended task have referred to for another task, if no waker and no abort handle is left. A
    /// wake in progress on another thread holds a reference, so it cannot reach the other task.
    fn keep_waker(&self, mut waker: Arc<TaskWaker>) {
        if Arc::get_mut(&mut waker).is_some() {
            let mut spare = self.spare_wakers.borrow_mut();
            if spare.len() < SPARE_WAKERS {
                spare.push(waker);
            }
        }
    }

    /// Counts a task that is in the table, and puts it into the queue.
    fn begin(&self, number: u32) {
        self.live.set(self.live.get() + 1);
        if !running::is_running() {
            // The first poll of a task that a task has spawned costs budget, so that a chain of spawns is bounded, too.
            self.free.set(self.free.get() + 1);
        }
        self.pool.push(number);
    }

    /// Puts a driver into the pool, unless there is one.
    pub(crate) fn ensure_driver(self: &Rc<Self>) {
        if !self.has_driver.get() {
            let driver = LocalFutureObj::new(Box::new(Driver { set: Some(Rc::clone(self)) }));
            // Fails only if the pool is gone; then dropping the driver has ended all tasks.
            self.has_driver.set(self.spawner.spawn_local_obj(driver).is_ok());
        }
    }

    /// Takes what is in the queue, unless some of the last batch is left. Returns `false` if there is nothing to do at
    /// all: then the queue is idle from now on.
    fn refill(&self, batch: &mut Batch) -> bool {
        if batch.left() != 0 {
            return true;
        }
        batch.numbers.clear();
        batch.polled = 0;
        let busy = self.pool.queue().take(&mut batch.numbers, &self.pool.shared.notifier);
        self.turn.order.shuffle(&mut batch.numbers);
        self.pool.queue().set_taken(batch.left());
        busy
    }

    /// Polls each ready task once. A task that is woken meanwhile goes behind all other futures in the pool. Stops after the
    /// end of a task, unless a `run` method polls the pool.
    fn poll_ready(&self) -> Stop {
        let stops_at_end = !self.turn.shared.runner.is_in_method();
        let mut batch = self.batch.take();
        self.refill(&mut batch);
        let stop = loop {
            if batch.left() == 0 {
                break if self.refill(&mut batch) { Stop::Later } else { Stop::Idle };
            }
            if let Some(stop) = self.admit() {
                break stop;
            }
            let ended = batch.next().is_some_and(|number| {
                self.pool.queue().set_taken(batch.left());
                self.poll_task(number)
            });
            if ended && stops_at_end {
                break Stop::Ended;
            }
        };
        self.batch.set(batch);
        stop
    }

    /// Polls a task. Returns whether the task has ended.
    fn poll_task(&self, number: u32) -> bool {
        // The number of a watched task is beyond the end of this table, so the test of the number costs nothing.
        let mut entry = self.tasks.borrow_mut().get_mut(number).and_then(Option::take);
        let Some(task) = &mut entry else { return self.poll_another(number) };
        task.waker.scheduled.begin_poll();
        let result = self.poll_future(Pin::new(&mut task.future), &task.waker, &task.span);
        match result {
            Ok(Poll::Pending) => {
                self.tasks.borrow_mut()[number] = entry;
                return false;
            }
            Ok(Poll::Ready(())) => {}
            Err(panic) => self.turn.report_task(panic),
        }
        entry.into_iter().for_each(|task| self.end(task));
        true
    }

    /// Deals with a task that has left another reactor current than its own.
    #[cold]
    fn current_has_changed(&self) {
        if self.turn.shared.is_child() {
            // The task has forked, and this is the child. The other tasks belong to the parent: no poll is left for them.
            self.turn.shared.runner.note_child();
            self.free.set(0);
            self.turn.end_early();
        } else {
            // The task holds a guard of another reactor across an await. The guard must not affect other tasks.
            Handle::make_current(&self.turn.shared);
        }
    }

    /// Polls the future of a task, and catches its panic.
    #[inline]
    fn poll_future(
        &self,
        future: Pin<&mut (impl Future<Output = ()> + ?Sized)>,
        waker: &Arc<TaskWaker>,
        span: &TaskSpan,
    ) -> thread::Result<Poll<()>> {
        self.turn.shared.counters.polls.add(1);
        let result = {
            let (record, clock) = (&waker.record, &self.turn.shared.clock);
            let waker = waker_ref(waker);
            let mut cx = Context::from_waker(&waker);
            let budget = budget::begin_poll();
            let result =
                catch_unwind(AssertUnwindSafe(|| record.measure(clock, || span.in_scope(|| future.poll(&mut cx)))));
            if budget.is_spent() {
                self.turn.end_early();
            }
            result
        };
        if !Handle::is_current(&self.turn.shared) {
            self.current_has_changed();
        }
        result
    }

    /// Polls a task with a handle or a name. Removes the entry of any other task, which ended while its number was in the
    /// queue.
    #[inline(never)]
    fn poll_another(&self, number: u32) -> bool {
        if number & WATCHED != 0 {
            return self.poll_watched(number);
        }
        self.tasks.borrow_mut().remove(number);
        false
    }

    /// Polls a task with a handle or a name, or drops it if it was aborted. Returns whether the task has ended.
    fn poll_watched(&self, number: u32) -> bool {
        let Some((mut work, waker)) = self.watched.borrow_mut().begin_poll(number) else {
            // The task ended while its number was in the queue.
            return false;
        };
        waker.scheduled.begin_poll();
        let outcome = if waker.scheduled.is_aborted() {
            Outcome::Aborted
        } else {
            match self.poll_future(work.job.as_mut(), &waker, &work.span) {
                Ok(Poll::Pending) => {
                    self.watched.borrow_mut().end_poll(number, work);
                    return false;
                }
                Ok(Poll::Ready(())) => Outcome::Done(None),
                Err(panic) => self.panicked(panic),
            }
        };
        self.end_watched(number, work, waker, outcome);
        true
    }

    /// Counts the panic of a task with a handle or a name.
    fn panicked(&self, panic: Payload) -> Outcome {
        self.turn.shared.counters.task_panics.add(1);
        Outcome::Panicked(panic)
    }

    /// Ends a task with a handle or a name that was taken out of the table, and takes the task out of all counts.
    ///
    /// Everything of the user's is dropped before the task counts as ended, except for an output for which there is a
    /// handle or a group.
    fn end_watched(&self, number: u32, work: Work, waker: Arc<TaskWaker>, mut outcome: Outcome) {
        let Work { job, span } = work;
        let is_closed = matches!(outcome, Outcome::PoolDropped);
        if matches!(outcome, Outcome::Done(_)) && self.watched.borrow_mut().keeps_output(number) {
            outcome = Outcome::Done(Some(job));
        } else if let Err(panic) = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| drop(job)))) {
            // The handle gets the first panic, and the hook any other.
            match outcome {
                Outcome::Panicked(_) => self.turn.report_task(panic),
                _ => outcome = self.panicked(panic),
            }
        }
        #[cfg_attr(not(feature = "tracing"), allow(clippy::drop_non_drop, reason = "no subscriber, nothing to drop"))]
        self.catch(|| drop(span));
        waker.record.leave(&self.pool.shared);
        let is_queued = waker.scheduled.finish() && !is_closed;
        let leftovers = self.watched.borrow_mut().end(number, outcome, is_queued);
        self.pool.shared.note_end(&waker);
        let spawned_at = waker.spawned_at;
        self.keep_waker(waker);
        let live = self.count_end();
        self.clear(leftovers, spawned_at);
        // Last, since this runs user code: a group must not refer to a child by a number that is free.
        if live == 0 {
            self.note_idle();
        }
    }

    /// Wakes what has waited for the end of a task, and reports a panic that no handle will take. Drops the rest, which
    /// may run user code.
    #[inline]
    fn clear(&self, leftovers: Leftovers, spawned_at: &'static Location<'static>) {
        let Leftovers { joiner, parent, outcome } = leftovers;
        if let Some(waker) = joiner {
            self.wake(waker);
        }
        // With a handle, there is none.
        let Some(outcome) = outcome else { return };
        let unread = match parent {
            Some((parent, child, name)) => parent.child_ended(child, outcome, spawned_at, name),
            None => Some(outcome),
        };
        self.discard(unread);
    }

    /// Reports a panic that no handle will take, or drops an output, which may panic, too.
    fn discard(&self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Panicked(panic)) => self.turn.report(panic),
            Some(outcome) => drop(self.catch(|| drop(outcome))),
            None => {}
        }
    }

    /// Adds a group, whose children are tasks of this set. Returns the number of the group.
    pub(crate) fn add_group(&self, group: Weak<dyn Parent>) -> u32 {
        self.groups.borrow_mut().insert_with(|_| group)
    }

    /// Removes a group, which is being dropped.
    pub(crate) fn remove_group(&self, number: u32) {
        self.groups.borrow_mut().remove(number);
    }

    /// Aborts tasks with a handle or in a group, on the pool's thread: drops their futures before this returns, but for a
    /// task that is being polled or dropped, whose future is dropped after that poll. Does nothing to a task that has ended.
    /// Does nothing in a forked child: the tasks belong to the parent.
    ///
    /// `next` returns the number of the next task, until none is left. It is asked after each drop, which may have run user
    /// code.
    pub(crate) fn abort_now(self: &Rc<Self>, mut next: impl FnMut() -> Option<u32>) {
        if self.turn.shared.is_child() {
            return;
        }
        let running = Running::begin(self, &self.turn.shared);
        while let Some(number) = next() {
            // Each borrow ends before the future is dropped and the pool is called.
            let taken = self.watched.borrow_mut().take_work(number);
            if let Some((work, waker)) = taken {
                self.end_watched(number, work, waker, Outcome::Aborted);
            } else {
                let waker = self.watched.borrow_mut().waker(number);
                waker.into_iter().for_each(|waker| waker.abort());
            }
        }
        drop(running);
        if self.live.get() == 0 {
            // The driver has to end with the last task.
            self.pool.queue().call_driver(&self.pool.shared.notifier);
        }
    }

    /// Wakes a waker of the user's, and counts its panic.
    pub(crate) fn wake(&self, waker: Waker) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            self.turn.shared.note_waker_panic(panic);
        }
    }

    /// Returns the table of the tasks with a handle or a name, for their handles.
    pub(crate) const fn watched(&self) -> &RefCell<Watched> {
        &self.watched
    }

    /// Lets go of the handle of a task. A panic that the handle has not taken is reported; an output is dropped.
    pub(crate) fn release(&self, number: u32) {
        let leftovers = self.watched.borrow_mut().release(number);
        if let Some(joiner) = leftovers.joiner {
            self.turn.shared.drop_waker(joiner);
        }
        self.discard(leftovers.outcome);
    }

    /// Returns what waits for the end of the last task.
    pub(crate) const fn idle(&self) -> &RefCell<Waiting> {
        &self.idle
    }

    /// Wakes what waits for the end of the last task, if the set is empty.
    #[cold]
    fn note_idle(&self) {
        // Asked in this order: most programs never wait for the last task.
        if !self.idle.borrow().is_empty() && self.is_empty() {
            let waiting = self.idle.borrow_mut().take_all();
            waiting.into_iter().for_each(|waker| self.wake(waker));
        }
    }

    /// Drops a task that was taken out of the table, and takes the task out of all counts.
    fn end(&self, task: Task) {
        let waker = self.drop_task(task);
        // If the number is in the queue, the driver removes the entry when it takes the number.
        if !waker.scheduled.finish() {
            self.tasks.borrow_mut().remove(waker.number);
        }
        self.forget_task();
    }

    /// Drops what the user has put into a task. Returns the task's waker.
    #[cfg_attr(not(feature = "tracing"), allow(clippy::drop_non_drop, reason = "no subscriber, nothing to drop"))]
    fn drop_task(&self, task: Task) -> Arc<TaskWaker> {
        let Task { future, waker, span } = task;
        self.catch(|| span.in_scope(|| drop(future)));
        self.catch(|| drop(span));
        waker.record.leave(&self.pool.shared);
        self.pool.shared.note_end(&waker);
        waker
    }

    /// Takes a task out of the counts. Returns how many are left. Runs no user code.
    fn count_end(&self) -> usize {
        let live = self.live.get() - 1;
        self.live.set(live);
        self.pool.shared.task_ends();
        live
    }

    /// Takes a task out of the counts, and wakes what waits for the last.
    fn forget_task(&self) {
        if self.count_end() == 0 {
            self.note_idle();
        }
    }

    /// Takes an arrival that has not become a task out of the counts.
    fn forget_arrival(&self) {
        self.pool.shared.task_ends();
        self.note_idle();
    }

    /// Runs user code, and reports its panic.
    pub(crate) fn catch<T>(&self, code: impl FnOnce() -> T) -> Option<T> {
        catch_unwind(AssertUnwindSafe(code)).map_err(|panic| self.turn.report_task(panic)).ok()
    }

    /// Removes, when no task is live, the entries of ended tasks with a number still in the queue. Returns whether the
    /// driver may end.
    fn is_finished(&self) -> bool {
        let mut batch = self.batch.take();
        while self.live.get() == 0 && self.refill(&mut batch) && batch.left() != 0 {
            while let Some(number) = batch.next() {
                if number & WATCHED != 0 {
                    self.watched.borrow_mut().leave_queue(number);
                } else {
                    drop(self.tasks.borrow_mut().remove(number));
                }
            }
        }
        self.batch.set(batch);
        // A number is missing if a wake on another thread has begun and not reached the queue yet.
        let all_numbers_have_come = self.tasks.borrow().len() == 0 && !self.watched.borrow().has_queued();
        self.live.get() == 0 && all_numbers_have_come && !self.may_get_more()
    }

    /// Returns whether the driver has to stay in the pool without tasks, for tasks that other threads may spawn.
    fn may_get_more(&self) -> bool {
        // In this order: the last remote spawner may leave an arrival just before the spawner is dropped. After the end
        // of the reactor, remote spawners leave nothing more.
        self.pool.has_remotes() && !self.pool.shared.is_gone() || self.pool.queue().arrivals() != 0
    }

    /// Makes tasks of arrivals, each at the price of a poll. Returns the reason for stopping early.
    fn build(&self, arrivals: Vec<Arrival>) -> Option<Stop> {
        let mut arrivals = VecDeque::from(arrivals);
        while let Some(arrival) = arrivals.pop_front() {
            if let Some(stop) = self.admit() {
                arrivals.push_front(arrival);
                self.pool.queue().put_back(arrivals.into_iter());
                return Some(stop);
            }
            let spawned_at = arrival.spawned_at;
            // The arrival was counted as a live task when another thread left it.
            if self.catch(|| self.adopt(arrival.build(), spawned_at, || ())).is_none() {
                self.forget_arrival();
            }
        }
        None
    }

    /// Asks for one more poll. Returns the reason if the turn refuses.
    fn admit(&self) -> Option<Stop> {
        match self.turn.admit(&self.free) {
            Admission::Granted => None,
            Admission::NextTurn => Some(Stop::NextTurn),
            Admission::Later => Some(Stop::Later),
        }
    }

    /// Drops all arrivals and refuses further ones: there are no tasks, and the reactor is gone.
    fn refuse_arrivals(&self) {
        for arrival in self.pool.queue().refuse_arrivals() {
            self.catch(|| drop(arrival));
            self.forget_arrival();
        }
    }

    /// Drops all tasks and arrivals: the pool has been dropped.
    fn close(self: &Rc<Self>) {
        self.has_driver.set(false);
        let (arrivals, driver) = self.pool.queue().close(&self.pool.shared.notifier);
        let tasks = self.tasks.borrow_mut().take_all();
        let watched = self.watched.borrow_mut().close();
        let _running = Running::begin(self, &self.turn.shared);
        for arrival in arrivals {
            self.catch(|| drop(arrival));
            self.forget_arrival();
        }
        for task in tasks.into_iter().flatten() {
            // The flag first: the task is no longer in the table, so a wake must do nothing.
            task.waker.scheduled.finish();
            self.drop_task(task);
            self.forget_task();
        }
        for number in watched {
            // A task is not in the table any more if its group was dropped with a task before it.
            let taken = self.watched.borrow_mut().take_work(number);
            if let Some((work, waker)) = taken {
                self.end_watched(number, work, waker, Outcome::PoolDropped);
            }
        }
        drop(driver);
    }

    /// Calls `visit` with each waker that only the end of a task of this set would wake.
    fn visit_inside(&self, mut visit: impl FnMut(&Waker)) {
        self.watched.borrow().joiners().chain(self.idle.borrow().iter()).for_each(&mut visit);
        for group in self.groups.borrow().iter().filter_map(Weak::upgrade) {
            group.wakers(&mut visit);
        }
    }

    /// Adds the tasks to `census`, and the wakers that only the end of a task of this set would wake.
    #[cfg(feature = "test-util")]
    pub(crate) fn count(&self, census: &mut Census) {
        census.note_remotes(self.pool.has_remotes());
        self.visit_inside(|waker| _ = census.add_inside(waker));
        let (tasks, watched) = (self.tasks.borrow(), self.watched.borrow());
        tasks.iter().flatten().for_each(|task| census.add_task(&task.waker, 1));
        watched.live().for_each(|(waker, _)| census.add_task(waker, 1));
    }

    /// Returns the labels of the live tasks, if it is certain that no task can ever be woken: each task's waker is referred
    /// to by the table and by what only the end of a task of this set would wake. `None` if a task may be woken.
    pub(crate) fn stuck(&self) -> Option<Vec<Label>> {
        if self.pool.has_remotes() {
            return None;
        }
        let mut waiting = Vec::new();
        self.visit_inside(|waker| waiting.push(waker.data().addr()));
        waiting.sort_unstable();
        let (tasks, watched) = (self.tasks.borrow(), self.watched.borrow());
        let is_stuck = |waker: &Arc<TaskWaker>| {
            let address = Arc::as_ptr(waker).addr();
            let waits =
                waiting.partition_point(|other| *other <= address) - waiting.partition_point(|other| *other < address);
            Arc::strong_count(waker) == 1 + waits
        };
        let unnamed = tasks.iter().map(|task| {
            let waker = &task.as_ref()?.waker;
            is_stuck(waker).then(|| Label { spawned_at: waker.spawned_at, name: None })
        });
        let watched = watched.live().map(|(waker, label)| is_stuck(waker).then_some(label));
        unnamed.chain(watched).collect()
    }
}

impl Target for TaskSet {
    fn task_set(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

/// Numbers of tasks that were taken from the queue.
#[derive(Default)]
struct Batch {
    /// The numbers, in the order of the tasks' wakes, or in one [drawn from a seed](crate::order).
    numbers: Vec<u32>,
    /// How many of the numbers, from the front, are done with.
    polled: usize,
}

impl Batch {
    /// Returns how many numbers are not done with.
    fn left(&self) -> usize {
        self.numbers.len() - self.polled
    }

    /// Returns the next number, if any is left.
    fn next(&mut self) -> Option<u32> {
        let next = self.numbers.get(self.polled).copied()?;
        self.polled += 1;
        Some(next)
    }
}

/// Why the driver stops polling tasks.
enum Stop {
    /// The queue is empty.
    Idle,
    /// A task has ended, and the pool may have to see that.
    Ended,
    /// The budget is spent: the reactor looks for events first, and then calls the driver.
    NextTurn,
    /// Other futures in the pool go first: the drivers of other spawners, and the pool's own tasks.
    Later,
}

/// The future that the pool polls in place of our tasks. A wake calls the driver if the queue was idle.
///
/// ```text
///   make arrivals into tasks; then poll the tasks in the queue, in the order of their wakes, until
///     nothing is left             ─► Pending: the next wake calls the driver
///     a task has ended            ─► Ready: a successor goes on (in a `run` method: the driver goes on)
///     the turn's budget is spent  ─► Pending, parked: the next turn calls the driver
///     each has been polled once   ─► Pending, woken: other futures in the pool go first
/// ```
struct Driver {
    /// The tasks. `None` once they have a new driver, or have all ended.
    set: Option<Rc<TaskSet>>,
}

impl Driver {
    /// Ends this driver after the end of a task, and leaves a successor if the set needs one.
    fn hand_over(&mut self) -> Poll<()> {
        if let Some(set) = self.set.take() {
            set.has_driver.set(false);
            if !set.is_finished() || set.pool.queue().retire().is_none() {
                set.ensure_driver();
            } else if set.pool.shared.is_gone() {
                set.refuse_arrivals();
            }
        }
        Poll::Ready(())
    }

    /// Polls nothing, in a forked child: the tasks belong to the parent. They stay until the pool is dropped. A pool that
    /// runs itself, beside a reactor in the background, would wait for them without end: it loses the driver, and the
    /// tasks are leaked.
    #[cold]
    fn poll_in_child(&mut self, set: &Rc<TaskSet>) -> Poll<()> {
        set.turn.shared.runner.note_child();
        if set.turn.is_detached() {
            std::mem::forget(self.set.take());
            return Poll::Ready(());
        }
        set.turn.park(&set.pool);
        Poll::Pending
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(set) = self.set.clone() else { return Poll::Ready(()) };
        let running = Running::begin(&set, &set.turn.shared);
        if running.has_changed_current() && set.turn.shared.is_child() {
            return self.poll_in_child(&set);
        }
        let (old_waker, arrivals) = set.pool.queue().attend(cx.waker().clone());
        drop(old_waker);
        set.has_run.set(true);
        if !set.turn.is_detached() {
            running.tell_replaced();
        }
        let turn = set.turn.number();
        if set.last_turn.replace(turn) != turn {
            // Each task that is ready when the pool begins its turn has one poll without budget.
            set.free.set(set.pool.queue().len());
        }
        match set.build(arrivals).unwrap_or_else(|| set.poll_ready()) {
            Stop::Ended => return self.hand_over(),
            // No task is left, though numbers of ended tasks may be, which cost no budget here. A driver that stayed for them
            // would keep `LocalPool::run` from returning.
            _ if set.live.get() == 0 && set.is_finished() => return self.hand_over(),
            Stop::Idle => {}
            Stop::NextTurn => set.turn.park(&set.pool),
            Stop::Later => cx.waker().wake_by_ref(),
        }
        let shared = &set.turn.shared;
        if trace::ENABLED && !shared.runner.is_run() && !set.turn.is_detached() {
            shared.runner.note_idle_driver(shared.clock.real());
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(set) = self.set.take() {
            set.close();
        }
    }
}

impl fmt::Debug for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet").field("live", &self.live).finish_non_exhaustive()
    }
}
