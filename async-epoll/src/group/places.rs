//! How many children a group may have, and which spawn is the next.
//!
//! A spawn into a full group waits, with a ticket, and takes its place in the order of the tickets. A place that becomes free
//! is *granted* to the first ticket: it counts as taken from then on, so no later spawn overtakes. The granted spawn takes its
//! place in its next poll; if its future is dropped before, it gives the place back, and the next ticket gets it.
//!
//! The functions of this file run no user code and drop none: the wakers to be woken and dropped are returned.

use std::collections::BTreeMap;
use std::task::Waker;

/// The limits of a group, and the spawns that wait for them.
#[derive(Debug)]
pub(crate) struct Places {
    /// The most children that may run at the same time. Set by the user.
    pub(crate) limit: usize,
    /// The number of unread results from which on spawns wait. Set by the user.
    pub(crate) backlog: usize,
    /// The spawns that wait, in order of their tickets.
    waiting: BTreeMap<u64, Waker>,
    /// The next ticket.
    next_ticket: u64,
    /// The number of places that are granted and not taken yet.
    granted: usize,
}

impl Places {
    /// Returns places without a limit.
    pub(crate) const fn new() -> Self {
        Self { limit: usize::MAX, backlog: usize::MAX, waiting: BTreeMap::new(), next_ticket: 0, granted: 0 }
    }

    /// Returns whether one more place may be granted, beside `running` children and `unread` results.
    const fn has_room(&self, running: usize, unread: usize) -> bool {
        running.saturating_add(self.granted) < self.limit && unread < self.backlog
    }

    /// Returns whether a spawn waits for a place.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns whether a spawn that has no ticket may go on.
    pub(crate) fn admits(&self, running: usize, unread: usize) -> bool {
        self.waiting.is_empty() && self.has_room(running, unread)
    }

    /// Returns whether the spawn with this ticket has to wait.
    pub(crate) fn waits(&self, ticket: u64) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Returns whether the waker of this ticket wakes the same task as `waker`.
    pub(crate) fn will_wake(&self, ticket: u64, waker: &Waker) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| waiting.will_wake(waker))
    }

    /// Leaves the waker of a spawn that waits, under its ticket or a new one. Returns the ticket and what `waker` replaces.
    pub(crate) fn wait(&mut self, ticket: Option<u64>, waker: Waker) -> (u64, Option<Waker>) {
        let ticket = ticket.unwrap_or_else(|| {
            self.next_ticket += 1;
            self.next_ticket
        });
        (ticket, self.waiting.insert(ticket, waker))
    }

    /// Takes or gives back a place that was granted.
    pub(crate) fn settle(&mut self) {
        self.granted -= 1;
    }

    /// Gives up a ticket. Returns the waker if the spawn was still waiting; otherwise its place is given back.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        let waker = self.waiting.remove(&ticket);
        if waker.is_none() {
            self.settle();
        }
        waker
    }

    /// Grants a free place to the first spawn that waits, if there are both. Returns the waker of the spawn.
    pub(crate) fn grant(&mut self, running: usize, unread: usize) -> Option<Waker> {
        if self.waiting.is_empty() || !self.has_room(running, unread) {
            return None;
        }
        let (_, waker) = self.waiting.pop_first()?;
        self.granted += 1;
        Some(waker)
    }

    /// Lets all spawns that wait go on: the group is closed, and each gets an error.
    pub(crate) fn grant_all(&mut self) -> Vec<Waker> {
        let waiting = std::mem::take(&mut self.waiting);
        self.granted += waiting.len();
        waiting.into_values().collect()
    }

    /// Returns the wakers of the spawns that wait.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.waiting.values()
    }
}
