//! Which token is below which other.
//!
//! A link belongs to a token and has its place in the tree: its parent, its first child, and its neighbours among the
//! children of its parent. All are keys of one [`Arena`]. So there are no pointers to follow when a link is freed, and
//! no function here recurses, however deep the tree.
//!
//! A token that is dropped while others are below it leaves a link without a token, so that these others are still
//! reached from above. Such a link is kept only while it has two or more children: with one child, the child takes its
//! place. Hence a tree has at most twice as many links as tokens.
//!
//! ```text
//!        a                     a                     a
//!        │   drop(b)           │    drop(d)          │
//!        b   ───────►       (no token)  ───────►     c
//!       ╱ ╲                   ╱ ╲
//!      c   d                 c   d
//! ```

use super::arena::Arena;
use std::sync::{Arc, Weak};

/// No link.
const NONE: usize = usize::MAX;

/// The links of a root and of everything below it.
pub(super) struct Links<N>(Arena<Link<N>>);

/// The place of a token in the tree.
struct Link<N> {
    /// The token; `None` once it has been released. A token that cannot be upgraded is about to be released.
    node: Option<Weak<N>>,
    /// The link above, or [`NONE`].
    parent: usize,
    /// The first child, or [`NONE`].
    first: usize,
    /// The previous child of the same parent, or [`NONE`].
    prev: usize,
    /// The next child of the same parent, or [`NONE`].
    next: usize,
}

impl<N> Default for Links<N> {
    fn default() -> Self {
        Self(Arena::default())
    }
}

impl<N> Links<N> {
    /// Inserts a token below that of the place `parent`, or a root. Returns the place of the new token.
    pub(super) fn insert(&mut self, parent: Option<usize>, node: Weak<N>) -> usize {
        let place = self.0.insert(Link { node: Some(node), parent: NONE, first: NONE, prev: NONE, next: NONE });
        self.attach(place, parent.unwrap_or(NONE));
        place
    }

    /// Removes the token of `place`, which is being dropped. What is below it stays below what is above it.
    pub(super) fn release(&mut self, place: usize) {
        self.0[place].node = None;
        self.tidy(place);
    }

    /// Removes the token of `place` and everything below. Returns the tokens below: each behind those above it.
    ///
    /// A token whose drop has begun on another thread is not returned. Its link stays, alone, until it is released.
    pub(super) fn cut(&mut self, place: usize) -> Vec<Arc<N>> {
        let parent = self.detach(place);
        if parent != NONE {
            self.tidy(parent);
        }
        let (mut to_do, mut found) = (Vec::new(), Vec::new());
        self.push_children(place, &mut to_do);
        self.0.remove(place);
        while let Some(place) = to_do.pop() {
            self.push_children(place, &mut to_do);
            let link = &mut self.0[place];
            match link.node.as_ref().map(Weak::upgrade) {
                Some(None) => (link.parent, link.first, link.prev, link.next) = (NONE, NONE, NONE, NONE),
                node => {
                    found.extend(node.flatten());
                    self.0.remove(place);
                }
            }
        }
        found
    }

    /// Pushes the children of `place` to `children`.
    fn push_children(&self, place: usize, children: &mut Vec<usize>) {
        let mut child = self.0[place].first;
        while child != NONE {
            children.push(child);
            child = self.0[child].next;
        }
    }

    /// Puts a link that has no parent below `parent`, as the first child. Does nothing for [`NONE`].
    fn attach(&mut self, place: usize, parent: usize) {
        if parent == NONE {
            return;
        }
        let next = std::mem::replace(&mut self.0[parent].first, place);
        if next != NONE {
            self.0[next].prev = place;
        }
        (self.0[place].parent, self.0[place].next) = (parent, next);
    }

    /// Takes a link from its parent, and returns the parent, or [`NONE`]. The children stay below the link.
    fn detach(&mut self, place: usize) -> usize {
        let link = &mut self.0[place];
        let (parent, prev, next) = (link.parent, link.prev, link.next);
        (link.parent, link.prev, link.next) = (NONE, NONE, NONE);
        if prev != NONE {
            self.0[prev].next = next;
        } else if parent != NONE {
            self.0[parent].first = next;
        }
        if next != NONE {
            self.0[next].prev = prev;
        }
        parent
    }

    /// Removes a link that has no token, unless it has two or more children.
    fn tidy(&mut self, place: usize) {
        let Link { node, first, .. } = &self.0[place];
        let child = *first;
        if node.is_some() || child != NONE && self.0[child].next != NONE {
            return;
        }
        if child != NONE {
            self.detach(child);
        }
        let parent = self.detach(place);
        self.0.remove(place);
        if child != NONE {
            self.attach(child, parent);
        } else if parent != NONE {
            // Ends there: a parent without a token had two or more children, and has one left.
            self.tidy(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may happen to the token of a number.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// It gets a child.
        Child(usize),
        /// Its last clone is dropped, but the drop has not reached the links.
        Drop(usize),
        /// The drop reaches the links.
        Release(usize),
        /// It is cancelled.
        Cut(usize),
    }

    /// The state of a token, in the plain words of the model.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum State {
        Live,
        Dropped,
        Gone,
    }

    /// A token of the model.
    struct Token {
        node: Option<Arc<usize>>,
        place: usize,
        parent: Option<usize>,
        state: State,
    }

    /// The links, beside a model that only knows of each token from which token it was made.
    struct Scene {
        links: Links<usize>,
        tokens: Vec<Token>,
    }

    impl Scene {
        fn new() -> Self {
            let mut scene = Self { links: Links::default(), tokens: Vec::new() };
            scene.add(None);
            scene
        }

        fn add(&mut self, parent: Option<usize>) {
            let node = Arc::new(self.tokens.len());
            let place = self.links.insert(parent.map(|parent| self.tokens[parent].place), Arc::downgrade(&node));
            self.tokens.push(Token { node: Some(node), place, parent, state: State::Live });
        }

        /// Returns whether the token `above` is above `token`, however far.
        fn is_above(&self, above: usize, token: usize) -> bool {
            let mut parent = self.tokens[token].parent;
            while parent.is_some_and(|parent| parent != above) {
                parent = self.tokens[parent.unwrap()].parent;
            }
            parent.is_some()
        }

        /// Returns what may happen next, with at most `max` tokens.
        fn steps(&self, max: usize) -> Vec<Step> {
            let steps = |(number, token): (usize, &Token)| match token.state {
                State::Live if self.tokens.len() < max => {
                    vec![Step::Child(number), Step::Drop(number), Step::Cut(number)]
                }
                State::Live => vec![Step::Drop(number), Step::Cut(number)],
                State::Dropped => vec![Step::Release(number)],
                State::Gone => Vec::new(),
            };
            self.tokens.iter().enumerate().flat_map(steps).collect()
        }

        fn run(&mut self, step: Step) {
            match step {
                Step::Child(number) => self.add(Some(number)),
                Step::Drop(number) => {
                    self.tokens[number].node = None;
                    self.tokens[number].state = State::Dropped;
                }
                Step::Release(number) => {
                    self.links.release(self.tokens[number].place);
                    self.tokens[number].state = State::Gone;
                }
                Step::Cut(number) => {
                    let mut found: Vec<_> =
                        self.links.cut(self.tokens[number].place).iter().map(|node| **node).collect();
                    for (index, token) in found.iter().enumerate() {
                        assert!(!found[index..].iter().any(|later| self.is_above(*later, *token)), "{found:?}");
                    }
                    found.sort_unstable();
                    let is_below =
                        |token: &usize| self.tokens[*token].state == State::Live && self.is_above(number, *token);
                    assert_eq!(found, (0..self.tokens.len()).filter(is_below).collect::<Vec<_>>());
                    for token in found.into_iter().chain([number]) {
                        self.tokens[token].state = State::Gone;
                    }
                }
            }
            let tokens = self.tokens.iter().filter(|token| token.state != State::Gone).count();
            assert!(self.links.0.len() <= 2 * tokens, "{} links for {tokens} tokens", self.links.0.len());
        }

        /// Ends all tokens, and checks that no link is left.
        fn finish(mut self) {
            while let Some(step) = self.steps(0).last() {
                self.run(*step);
            }
            assert_eq!(self.links.0.len(), 0);
        }
    }

    /// All sequences of seven steps of up to five tokens, each as a prefix of a full life.
    #[test]
    fn every_short_life() {
        let (mut to_do, mut lives) = (vec![Vec::new()], 0);
        while let Some(prefix) = to_do.pop() {
            let mut scene = Scene::new();
            prefix.iter().for_each(|step| scene.run(*step));
            if prefix.len() < 7 {
                to_do.extend(scene.steps(5).into_iter().map(|step| [&prefix[..], &[step]].concat()));
            }
            lives += 1;
            scene.finish();
        }
        assert!(lives > 10_000, "{lives}");
    }

    /// Long lives of many tokens, at random.
    #[test]
    fn long_lives() {
        let mut state = 1_u64;
        for _ in 0..200 {
            let mut scene = Scene::new();
            for _ in 0..100 {
                let steps = scene.steps(60);
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Children are half of the steps.
                let is_child = |step: &&Step| matches!(step, Step::Child(_)) == (state >> 62 & 1 == 0);
                let steps: Vec<_> = steps.iter().filter(is_child).collect();
                if !steps.is_empty() {
                    scene.run(*steps[(state >> 33) as usize % steps.len()]);
                }
            }
            scene.finish();
        }
    }
}
