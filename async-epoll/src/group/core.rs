//! What a group knows: its running children, the results that are unread, and what waits for either.
//!
//! All of this is on the pool's thread. User code runs in many places: destructors of children and results, wakers, hooks. Any
//! of it may spawn into, abort, drop or poll the group. So no borrow of the state is held while user code runs; each function
//! changes the state in one step, and runs what it took out of the state afterwards.
//!
//! | the group is dropped | what happens to a child |
//! |---|---|
//! | while the child waits or is ready, also before its first poll | its future is dropped before the drop of the group returns |
//! | inside of the child's own poll | the child ends after that poll, and is not polled again |
//! | by the destructor of a sibling, also while the pool is dropped | as if the child waits |
//! | while the thread unwinds | the same; a panic of a destructor is caught and reported |
//! | in a forked child of the process | nothing: the tasks belong to the parent |
//!
//! A child that spawns while it is being aborted gets an error if the group is closed. Otherwise its new sibling lives on: an
//! abort is for the children of the time of the call, which are told from later ones by their numbers in the reactor.

use super::places::Places;
use crate::table::Table;
use crate::task::error::{Reason, TaskError};
use crate::task::handle::AbortHandle;
use crate::task::job::Job;
use crate::task::label::{Label, TaskName};
use crate::task::set::TaskSet;
use crate::task::waker::TaskWaker;
use crate::task::watched::{Outcome, Owner, Parent};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The result of a child that has ended. The error is boxed, so that a result takes little more than the output.
type Ended<T> = Result<T, Box<TaskError>>;

/// A child that has not ended.
#[derive(Clone, Copy)]
struct Child {
    /// The number of the task in the task set. Another task may have it after the end.
    number: u32,
    /// The number of the task in the reactor, which no other task ever has.
    id: u64,
}

/// How many children have ended, and how, since the group was made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// The children that have ended by themselves.
    pub(crate) ended: usize,
    /// The children that were aborted, also with the pool.
    pub(crate) aborted: usize,
    /// The children that have panicked.
    pub(crate) panicked: usize,
}

/// The state of a group.
struct State<T> {
    /// The children that have not ended.
    running: Table<Child>,
    /// The results that are unread, in the order of the ends.
    results: VecDeque<Ended<T>>,
    /// Wakes what reads the results.
    reader: Option<Waker>,
    /// The limits, and the spawns that wait.
    places: Places,
    /// How the children have ended.
    counts: Counts,
    /// Spawns are refused. Set once.
    is_closed: bool,
    /// Results are not kept: the group is detached, or has been dropped. Set once.
    is_detached: bool,
    /// What the user wants to be called when the group is closed. Taken then.
    hooks: Vec<Box<dyn FnOnce()>>,
}

/// A group, as its owner, its spawners and the entries of its children refer to it.
pub(crate) struct Core<T> {
    /// The tasks.
    tasks: Rc<TaskSet>,
    /// The number of the group among those of the tasks.
    number: u32,
    /// All else.
    state: RefCell<State<T>>,
}

impl<T: 'static> Core<T> {
    /// Returns an empty group.
    pub(crate) fn new(tasks: Rc<TaskSet>) -> Rc<Self> {
        let state = State {
            running: Table::new(),
            results: VecDeque::new(),
            reader: None,
            places: Places::new(),
            counts: Counts::default(),
            is_closed: false,
            is_detached: false,
            hooks: Vec::new(),
        };
        Rc::new_cyclic(|core| {
            let weak: Weak<Self> = Weak::clone(core);
            let number = tasks.add_group(weak);
            Self { tasks, number, state: RefCell::new(state) }
        })
    }

    /// Returns the tasks.
    pub(crate) const fn tasks(&self) -> &Rc<TaskSet> {
        &self.tasks
    }

    /// Sets the limits, and wakes spawns that wait, as far as there are places now.
    pub(crate) fn set_limits(&self, set: impl FnOnce(&mut Places)) {
        set(&mut self.state.borrow_mut().places);
        self.grant();
    }

    /// Keeps no results from now on. Returns whether this changes something.
    pub(crate) fn detach(&self) -> bool {
        !std::mem::replace(&mut self.state.borrow_mut().is_detached, true)
    }

    /// Returns the number of children that have not ended.
    pub(crate) fn running(&self) -> usize {
        self.state.borrow().running.len()
    }

    /// Returns the number of results that are unread.
    pub(crate) fn unread(&self) -> usize {
        self.state.borrow().results.len()
    }

    /// Returns whether spawns are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed
    }

    /// Returns how many children have ended, and how.
    pub(crate) fn counts(&self) -> Counts {
        self.state.borrow().counts
    }

    /// Spawns a child, in a place that is free or was granted.
    fn adopt(self: &Rc<Self>, job: Pin<Box<dyn Job>>, label: Label) -> io::Result<AbortHandle> {
        let mut abort = None;
        let owner = |number, id, waker: &Arc<TaskWaker>| {
            abort = Some(Arc::clone(waker));
            let child = self.state.borrow_mut().running.insert_with(|_| Child { number, id });
            let parent: Rc<Self> = Rc::clone(self);
            Owner::Group(parent, child)
        };
        let (_, id) = self.tasks.spawn_watched(job, &label, owner).map_err(TaskSet::pool_dropped)?;
        Ok(AbortHandle::new(abort, id, label))
    }

    /// Spawns a child if there is a place.
    pub(crate) fn try_spawn(self: &Rc<Self>, job: Pin<Box<dyn Job>>, label: Label) -> io::Result<AbortHandle> {
        {
            let state = self.state.borrow();
            if state.is_closed {
                return Err(closed());
            }
            if !state.places.admits(state.running.len(), state.results.len()) {
                return Err(full());
            }
        }
        self.adopt(job, label)
    }

    /// Returns whether a spawn that has no ticket would find a place.
    pub(crate) fn has_place(&self) -> bool {
        let state = self.state.borrow();
        state.places.admits(state.running.len(), state.results.len())
    }

    /// Waits for a place. Ready when the caller may [`spawn_granted`](Self::spawn_granted): then a ticket, if there is one,
    /// stands for a granted place. An error if the wait would not end.
    pub(crate) fn poll_place(&self, ticket: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_there = |ticket: Option<u64>| {
            let state = self.state.borrow();
            let admits = || state.places.admits(state.running.len(), state.results.len());
            let waits = ticket.map_or_else(|| !admits(), |ticket| state.places.waits(ticket));
            state.is_closed || !waits
        };
        if is_there(*ticket) {
            return Poll::Ready(Ok(()));
        }
        if self.tasks.turn.shared.is_child() {
            return Poll::Ready(Err(io::Error::other(
                "the group belongs to the parent process; no place becomes free in a forked child",
            )));
        }
        if ticket.is_some_and(|ticket| self.state.borrow().places.will_wake(ticket, cx.waker())) {
            return Poll::Pending;
        }
        // The clone may run user code, so the group is asked anew after it.
        let waker = cx.waker().clone();
        if is_there(*ticket) {
            return Poll::Ready(Ok(()));
        }
        let (registered, replaced) = self.state.borrow_mut().places.wait(*ticket, waker);
        *ticket = Some(registered);
        self.drop_wakers(replaced);
        Poll::Pending
    }

    /// Spawns a child after [`poll_place`](Self::poll_place) was ready. Takes the ticket.
    pub(crate) fn spawn_granted(
        self: &Rc<Self>,
        ticket: &mut Option<u64>,
        job: Pin<Box<dyn Job>>,
        label: Label,
    ) -> io::Result<AbortHandle> {
        if self.is_closed() {
            self.leave(ticket);
            return Err(closed());
        }
        let spawned = self.adopt(job, label);
        // After the spawn, which may have failed: then the place goes to the next spawn that waits.
        if ticket.is_some() {
            self.leave(ticket);
        }
        spawned
    }

    /// Gives up a ticket, and the place that was granted to it.
    pub(crate) fn leave(&self, ticket: &mut Option<u64>) {
        if let Some(ticket) = ticket.take() {
            let waker = self.state.borrow_mut().places.leave(ticket);
            self.drop_wakers(waker);
            self.grant();
        }
    }

    /// Wakes spawns that wait, as far as there are places.
    fn grant(&self) {
        loop {
            let granted = {
                let state = &mut *self.state.borrow_mut();
                state.places.grant(state.running.len(), state.results.len())
            };
            let Some(waker) = granted else { return };
            self.tasks.wake(waker);
        }
    }

    /// Returns the next result; `None` if neither a child nor a result is left.
    pub(crate) fn poll_result(&self, cx: &mut Context<'_>) -> Poll<Option<Result<T, TaskError>>> {
        if let Some(result) = self.take_result() {
            return Poll::Ready(Some(result));
        }
        match self.poll_ended(cx, |state| state.running.len() == 0 || !state.results.is_empty()) {
            Poll::Ready(true) => Poll::Ready(self.take_result()),
            Poll::Ready(false) => Poll::Ready(self.take_orphan().map(Err)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits until no child runs.
    pub(crate) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_ended(cx, |state| state.running.len() == 0).map(drop)
    }

    /// Waits until `is_there`. Ready with `false` in a forked child, in which the wait would not end.
    fn poll_ended(&self, cx: &mut Context<'_>, is_there: impl Fn(&State<T>) -> bool) -> Poll<bool> {
        let waits = {
            let state = self.state.borrow();
            if is_there(&state) {
                return Poll::Ready(true);
            }
            state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker()))
        };
        if self.tasks.turn.shared.is_child() {
            return Poll::Ready(false);
        }
        if waits {
            return Poll::Pending;
        }
        // The clone may run user code, so the group is asked anew after it.
        let waker = cx.waker().clone();
        let replaced = self.state.borrow_mut().reader.replace(waker);
        self.drop_wakers(replaced);
        if is_there(&self.state.borrow()) { Poll::Ready(true) } else { Poll::Pending }
    }

    /// Takes the oldest unread result.
    fn take_result(&self) -> Option<Result<T, TaskError>> {
        let (result, is_awaited) = {
            let state = &mut *self.state.borrow_mut();
            (state.results.pop_front()?, state.places.is_awaited())
        };
        if is_awaited {
            self.grant();
        }
        Some(result.map_err(|error| *error))
    }

    /// Takes a child out of the group, in a forked child of the process that runs it. Returns the error in its place.
    #[cold]
    fn take_orphan(&self) -> Option<TaskError> {
        let state = &mut *self.state.borrow_mut();
        let (child, number) = state.running.iter_mut().next().map(|(child, task)| (child, task.number))?;
        state.running.remove(child);
        let label = self.tasks.watched().borrow_mut().disown(number)?;
        Some(TaskError::new(label, Reason::InChild))
    }

    /// Takes all unread results.
    pub(crate) fn take_results(&self) -> Vec<Result<T, TaskError>> {
        let results = std::mem::take(&mut self.state.borrow_mut().results);
        self.grant();
        results.into_iter().map(|result| result.map_err(|error| *error)).collect()
    }

    /// Calls `hook` when the group is closed; at once if it is.
    pub(crate) fn on_close(&self, hook: Box<dyn FnOnce()>) {
        if self.is_closed() {
            self.tasks.catch(hook);
        } else {
            self.state.borrow_mut().hooks.push(hook);
        }
    }

    /// Refuses spawns from now on, calls the hooks, and lets the spawns that wait fail.
    pub(crate) fn close(&self) {
        let (hooks, waiting) = {
            let state = &mut *self.state.borrow_mut();
            state.is_closed = true;
            (std::mem::take(&mut state.hooks), state.places.grant_all())
        };
        for hook in hooks {
            self.tasks.catch(hook);
        }
        waiting.into_iter().for_each(|waker| self.tasks.wake(waker));
    }

    /// Aborts the children that the group has now, and drops their futures before this returns, but for a child that is being
    /// polled or dropped.
    pub(crate) fn abort_all(&self) {
        // A list of the children of now. A destructor may end others of the list, and spawn children in their places.
        let mut children: Vec<_> =
            self.state.borrow_mut().running.iter_mut().map(|(child, task)| (child, *task)).collect();
        if children.is_empty() {
            return;
        }
        children.reverse();
        self.tasks.abort_now(|| {
            let state = self.state.borrow();
            loop {
                let (child, task) = children.pop()?;
                if state.running.get(child).is_some_and(|now| now.id == task.id) {
                    return Some(task.number);
                }
            }
        });
    }

    /// Ends the group: drops its children, and drops what is unread. Panics that are unread are reported.
    pub(crate) fn end(&self) {
        self.close();
        self.detach();
        self.abort_all();
        let (results, reader) = {
            let state = &mut *self.state.borrow_mut();
            (std::mem::take(&mut state.results), state.reader.take())
        };
        self.drop_wakers(reader);
        for result in results {
            match result.map_err(|error| error.try_into_panic()) {
                Err(Ok(panic)) => self.tasks.turn.report(panic),
                result => drop(self.tasks.catch(|| drop(result))),
            }
        }
    }

    /// Drops wakers of the user's.
    fn drop_wakers(&self, wakers: impl IntoIterator<Item = Waker>) {
        wakers.into_iter().for_each(|waker| self.tasks.turn.shared.drop_waker(waker));
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        // The memory of the group is freed with the last reference to it.
        self.tasks.remove_group(self.number);
    }
}

impl<T: 'static> Parent for Core<T> {
    fn keeps_outputs(&self) -> bool {
        !self.state.borrow().is_detached
    }

    fn child_ended(
        &self,
        child: u32,
        outcome: Outcome,
        spawned_at: &'static Location<'static>,
        name: Option<TaskName>,
    ) -> Option<Outcome> {
        let (unread, reader, is_awaited) = {
            let state = &mut *self.state.borrow_mut();
            state.running.remove(child);
            let count = match &outcome {
                Outcome::Done(_) => &mut state.counts.ended,
                Outcome::Panicked(_) => &mut state.counts.panicked,
                _ => &mut state.counts.aborted,
            };
            *count += 1;
            let unread = if state.is_detached {
                Some(outcome)
            } else {
                if let Some(result) = to_result(outcome, spawned_at, name) {
                    state.results.push_back(result);
                }
                None
            };
            // What reads a detached group waits for the last child alone.
            let reader = if state.is_detached && state.running.len() != 0 { None } else { state.reader.take() };
            (unread, reader, state.places.is_awaited())
        };
        if let Some(waker) = reader {
            self.tasks.wake(waker);
        }
        if is_awaited {
            self.grant();
        }
        unread
    }

    fn wakers(&self, each: &mut dyn FnMut(&Waker)) {
        let state = self.state.borrow();
        state.reader.iter().chain(state.places.wakers()).for_each(each);
    }
}

/// Returns the result of a child. `None` if its output has the type of another group, which does not happen.
fn to_result<T: 'static>(
    outcome: Outcome,
    spawned_at: &'static Location<'static>,
    name: Option<TaskName>,
) -> Option<Ended<T>> {
    let failed = |reason| Some(failed(Label { spawned_at, name }, reason));
    match outcome {
        Outcome::Done(job) => {
            let mut output = None::<T>;
            job?.as_mut().take(&mut output);
            output.map(Ok)
        }
        Outcome::Aborted | Outcome::Taken => failed(Reason::Aborted),
        Outcome::PoolDropped => failed(Reason::PoolDropped),
        Outcome::Panicked(payload) => failed(Reason::Panicked(Mutex::new(payload))),
    }
}

/// Returns the result of a child that has no output.
#[cold]
fn failed<T>(label: Label, reason: Reason) -> Ended<T> {
    Err(Box::new(TaskError::new(label, reason)))
}

/// Returns the error of a spawn into a group that is closed.
fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the group is closed: it was cancelled, joined or dropped, and takes no task",
    )
}

/// Returns the error of a spawn into a group that is full.
fn full() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "the group is full: await `spawn`, which waits for a place")
}
