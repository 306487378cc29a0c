//! Wakers that wait for one event, each under a number of its own.

use crate::table::Table;
use std::task::Waker;

/// A list of wakers. A number belongs to the future that has [registered](Self::register), until that future [leaves](Self::leave).
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The wakers by number. An entry is empty from a wake until its future registers again.
    wakers: Table<Option<Waker>>,
}

impl Waiting {
    /// Puts `waker` under the number of its future, or under a new one. Returns the number, and what `waker` replaces.
    pub(crate) fn register(&mut self, number: Option<u32>, waker: Waker) -> (u32, Option<Waker>) {
        match number {
            Some(number) => (number, self.wakers[number].replace(waker)),
            None => (self.wakers.insert_with(|_| Some(waker)), None),
        }
    }

    /// Returns whether the waker under `number` wakes the same task as `waker`.
    pub(crate) fn will_wake(&self, number: u32, waker: &Waker) -> bool {
        self.wakers[number].as_ref().is_some_and(|registered| registered.will_wake(waker))
    }

    /// Gives a number up. Returns its waker.
    pub(crate) fn leave(&mut self, number: u32) -> Option<Waker> {
        self.wakers.remove(number)
    }

    /// Takes all wakers, to be woken. The numbers stay with their futures.
    pub(crate) fn take_all(&mut self) -> Vec<Waker> {
        self.wakers.iter_mut().filter_map(|(_, waker)| waker.take()).collect()
    }

    /// Returns whether no future has a number.
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.len() == 0
    }

    /// Returns the wakers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waker> {
        self.wakers.iter().flatten()
    }
}
