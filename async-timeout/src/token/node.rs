//! A token: whether it is cancelled and by which cancel, and the tasks that wait for it.
//!
//! Two locks, never held together with a call of foreign code:
//!
//! - The lock of the *tree*, one for a root and everything below. It guards the [`Links`], and a cancel sets the causes of
//!   all tokens under it.
//! - The lock of the *waiters*, one per token, so tasks that wait for different tokens do not meet.
//!
//! No wait is lost. A cancel sets the cause, then takes the wakers. A task that waits looks at the cause again under the
//! lock of the waiters, before it leaves its waker. So either the task sees the cause, or the cancel sees the waker.

use super::arena::Arena;
use super::links::Links;
use crate::foreign::{drop_all, wake_all};
use std::iter;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

/// A root token and everything below.
type Tree = Mutex<Links<Node>>;

/// What all clones of a token, and all waits for it, share.
pub(super) struct Node {
    /// The tree that the token belongs to.
    tree: Arc<Tree>,
    /// The token's place in the tree. Of no meaning once the token is cancelled: then it is in no tree.
    place: usize,
    /// Which cancel has reached this token; empty until then. Set once, under the lock of the tree, before the causes of the
    /// tokens above: everything below a cancelled token is cancelled.
    cause: OnceLock<Cause>,
    /// The wakers of the tasks that wait. Empty once the token is cancelled.
    waiters: Mutex<Arena<Waker>>,
}

/// A cancel that has reached a token.
enum Cause {
    /// Of the token itself, with the reason that was given.
    Own(Option<Box<str>>),
    /// Of this token above, whose cause is `Own`.
    Above(Arc<Node>),
}

/// Locks a mutex. No code panics while it holds one of these locks, so they are never poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Makes a token with a tree of its own.
    pub(super) fn root() -> Arc<Self> {
        let tree = Arc::new(Tree::default());
        Arc::new_cyclic(|node| {
            let place = lock(&tree).insert(None, node.clone());
            Self { tree, place, cause: OnceLock::new(), waiters: Mutex::default() }
        })
    }

    /// Makes a token below this one. If this token is cancelled, so is the new one.
    pub(super) fn child(self: &Arc<Self>) -> Arc<Self> {
        // Locked until the new token can be upgraded: a cancel that finds its link must be able to reach it.
        let mut links = lock(&self.tree);
        Arc::new_cyclic(|node| {
            let (place, cause) = match self.origin() {
                Some(origin) => (usize::MAX, OnceLock::from(Cause::Above(Arc::clone(origin)))),
                None => (links.insert(Some(self.place), node.clone()), OnceLock::new()),
            };
            Self { tree: Arc::clone(&self.tree), place, cause, waiters: Mutex::default() }
        })
    }

    /// Cancels this token and everything below, unless it is cancelled already.
    ///
    /// # Panics
    ///
    /// With the first panic of a waker, once all tasks are woken.
    pub(super) fn cancel(self: &Arc<Self>, reason: Option<Box<str>>) {
        if self.is_cancelled() {
            return;
        }
        let mut links = lock(&self.tree);
        if self.is_cancelled() {
            return;
        }
        let below = links.cut(self.place);
        // From the leaves up. The causes are empty, because each cancel takes the tokens from the tree.
        for node in below.iter().rev() {
            let _ = node.cause.set(Cause::Above(Arc::clone(self)));
        }
        let _ = self.cause.set(Cause::Own(reason));
        drop(links);
        wake_all(iter::once(self).chain(&below).flat_map(|node| mem::take(&mut *lock(&node.waiters)).into_values()));
    }

    /// Returns whether a cancel has reached this token.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cause.get().is_some()
    }

    /// Returns the token whose cancel has reached this one, which may be this token itself; `None` if none has.
    pub(super) fn origin(self: &Arc<Self>) -> Option<&Arc<Self>> {
        match self.cause.get()? {
            Cause::Own(_) => Some(self),
            Cause::Above(origin) => Some(origin),
        }
    }

    /// Returns the reason of the cancel that has reached this token, if one was given.
    pub(super) fn reason(&self) -> Option<&str> {
        match self.cause.get()? {
            Cause::Own(reason) => reason.as_deref(),
            Cause::Above(origin) => origin.reason(),
        }
    }

    /// Leaves `waker` for the cancel of this token, in place of the waker left with `key`. Returns the key of the waker, or
    /// `None` if the token is cancelled.
    pub(super) fn wait(&self, key: Option<usize>, waker: &Waker) -> Option<usize> {
        let is_left = |key| lock(&self.waiters).get_mut(key).is_some_and(|left| left.will_wake(waker));
        if key.is_some_and(is_left) {
            return key;
        }
        // Cloned and dropped without the lock: wakers are code of the user.
        let clone = waker.clone();
        let mut waiters = lock(&self.waiters);
        if self.is_cancelled() {
            drop(waiters);
            return None;
        }
        if let Some(left) = key.and_then(|key| waiters.get_mut(key)) {
            let replaced = mem::replace(left, clone);
            drop(waiters);
            drop(replaced);
            return key;
        }
        Some(waiters.insert(clone))
    }

    /// Removes the waker of `key`, unless a cancel has taken it.
    pub(super) fn give_up(&self, key: usize) {
        let removed = lock(&self.waiters).remove(key);
        drop_all(removed);
    }
}

impl Drop for Node {
    /// Takes the token from its tree. What is below stays below what is above.
    fn drop(&mut self) {
        if !self.is_cancelled() {
            lock(&self.tree).release(self.place);
        }
    }
}
