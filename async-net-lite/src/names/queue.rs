//! Lookups that wait for their threads, and the threads.
//!
//! `getaddrinfo(3)` blocks, for many seconds if no name server answers, and cannot be interrupted. So a lookup holds its
//! thread until it ends, whether or not its caller still waits. The plain form of a queue:
//!
//! ```text
//! ask(name):  put the name into the queue; start a thread if none is idle and fewer than the maximum run
//! a thread:   loop { take a name, look it up, give the answer to the caller }
//! ```
//!
//! The real one is longer for these reasons:
//!
//! 1. **Slow lookups must not hold every thread.** A few names that no server answers would make `localhost` wait. So a
//!    thread first asks which new names need no server ([`Backend::quick`]). All other lookups get all threads but one.
//! 2. **Equal lookups are shared.** A name in the queue, or at a thread, gets one more waiter.
//! 3. **Given-up lookups are not begun.** A waiter is a channel, and knows whether its receiver still exists.
//! 4. **Everything is bounded**: threads, the queue, and for each lookup the waiters without a receiver.
//! 5. **A thread can fail to start.** Then the others go on, and without any other the waiters get the error.
//!
//! ```text
//!            ask                   classify                       at most threads - 1 run
//!   caller ──────► fresh ──────────────┬──────────────► slow ──────────────────────────────┐
//!     ▲                                └──────────────► quick ───────────────────────────┐ │
//!     └──────────────────────────────── answers, by channels ◄──────────────── threads ◄─┴─┘
//! ```
//!
//! Callers are woken and channels are dropped without the lock, since wakers run foreign code. No panic of this code ends a
//! thread: the count of threads would not go down, and once it has reached the maximum, no lookup would begin. Nothing here knows
//! `getaddrinfo`, or that a process can fork: see `system.rs`.

use super::family::Family;
use crate::foreign::contain;
use futures::channel::oneshot;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The number of threads unless another is chosen.
pub(super) const DEFAULT_THREADS: usize = 8;
/// The largest number of lookups that wait or run. Equal lookups count once.
const MAX_LOOKUPS: usize = 4096;
/// How long a thread without work waits for more before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// A way to look up names.
pub(super) trait Backend: Send + Sync + 'static {
    /// Returns the names among `names` that need no name server, in lower case. Must not wait for a network.
    fn quick(&self, names: &mut dyn Iterator<Item = &str>) -> HashSet<String>;

    /// Looks up the addresses of `host`. Blocks. `is_quick` says whether [`quick`](Self::quick) has returned the name.
    fn look_up(&self, host: &str, family: Family, is_quick: bool) -> Result<Vec<SocketAddr>, Failure>;
}

/// Why a lookup has no addresses: an [`io::Error`] with `Clone`.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The kind of the error.
    pub(super) kind: io::ErrorKind,
    /// Its message.
    pub(super) message: Arc<str>,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, &*failure.message)
    }
}

/// The addresses of a name, each with port 0, or why there are none. Shared by all waiters.
pub(super) type Answer = Result<Arc<[SocketAddr]>, Failure>;

/// What a lookup asks for. Equal questions share one lookup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    /// The name, as the caller has written it.
    host: Arc<str>,
    /// The addresses wanted.
    family: Family,
}

/// The channel of a waiter. Its other end is dropped when the waiter gives up.
type Waiter = oneshot::Sender<Answer>;

/// The queue, its lookups and its threads.
struct State {
    /// The waiters of each waiting or running lookup. At most [`MAX_LOOKUPS`]. A waiter without a receiver stays in
    /// its list until the list would grow.
    lookups: HashMap<Question, Vec<Waiter>>,
    /// New lookups, not classified yet, the oldest first.
    fresh: VecDeque<Question>,
    /// Lookups without need for a name server, the oldest first.
    quick: VecDeque<Question>,
    /// Other lookups, perhaps slow, the oldest first.
    slow: VecDeque<Question>,
    /// The number of threads, with those being started.
    threads: usize,
    /// The number of waiting threads.
    idle: usize,
    /// The number of threads with a lookup of `slow`.
    slow_running: usize,
    /// Whether idle threads end at once. Set once, when the resolver is dropped.
    is_closed: bool,
}

/// A queue of lookups with its threads. Its threads share it, and it lives until the last has ended.
pub(super) struct Queue {
    /// What callers and threads share.
    state: Mutex<State>,
    /// Notified when there may be work for an idle thread.
    work: Condvar,
    /// The way to look up names.
    backend: Box<dyn Backend>,
    /// The largest number of threads, at least 1.
    max_threads: usize,
    /// How long an idle thread waits for work: [`IDLE`], less in tests.
    idle_time: Duration,
}

impl Queue {
    /// Returns a queue with at most `max_threads` threads. None is started yet.
    pub(super) fn new(max_threads: usize, backend: impl Backend) -> Arc<Self> {
        Self::with_idle_time(max_threads, IDLE, backend)
    }

    /// Returns a queue of threads with the idle time `idle_time`.
    fn with_idle_time(max_threads: usize, idle_time: Duration, backend: impl Backend) -> Arc<Self> {
        let state = State {
            lookups: HashMap::new(),
            fresh: VecDeque::new(),
            quick: VecDeque::new(),
            slow: VecDeque::new(),
            threads: 0,
            idle: 0,
            slow_running: 0,
            is_closed: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            backend: Box::new(backend),
            max_threads: max_threads.max(1),
            idle_time,
        })
    }

    /// Locks the state. No foreign code runs under the lock, so a poisoned state is consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a lookup, or a waiter to an equal lookup. Returns the channel of the answer; dropping it gives up.
    ///
    /// Fails if the queue is full. If no thread can be started, the channel gets the error.
    pub(super) fn ask(self: &Arc<Self>, host: &str, family: Family) -> Result<oneshot::Receiver<Answer>, Failure> {
        let question = Question { host: host.into(), family };
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        if let Some(waiters) = state.lookups.get_mut(&question) {
            let given_up = if waiters.len() == waiters.capacity() { take_given_up(waiters) } else { Vec::new() };
            waiters.push(sender);
            drop(state);
            discard(given_up);
            return Ok(receiver);
        }
        let given_up = if state.lookups.len() < MAX_LOOKUPS { Vec::new() } else { state.remove_given_up() };
        if state.lookups.len() >= MAX_LOOKUPS {
            drop(state);
            let message = format!(
                "cannot look up {host:?}: {MAX_LOOKUPS} lookups wait already; is the name server down? Limit the \
                 lookups under way, or give up some of them"
            );
            return Err(Failure { kind: io::ErrorKind::ResourceBusy, message: message.into() });
        }
        state.lookups.insert(question.clone(), vec![sender]);
        state.fresh.push_back(question);
        self.find_threads(state);
        discard(given_up);
        Ok(receiver)
    }

    /// Lets idle threads end at once. Lookups in the queue are still done, for their waiters.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// Wakes idle threads, or starts threads, for the work in the queue. Called after every change to the
    /// queue.
    fn find_threads(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let wanted = state.startable(self.max_threads);
        let mut missing = wanted.saturating_sub(state.idle).min(self.max_threads - state.threads);
        state.threads += missing;
        let idle = state.idle;
        drop(state);
        // An idle thread counts until it has woken up, so one notification per call might go to the same thread twice.
        for _ in 0..wanted.min(idle) {
            self.work.notify_one();
        }
        while missing > 0 {
            let queue = Arc::clone(self);
            let thread = thread::Builder::new().name("net-lite-names".into());
            if let Err(error) = thread.spawn(move || queue.serve()) {
                self.give_up_threads(missing, &error);
                return;
            }
            missing -= 1;
        }
    }

    /// Corrects the count after `missing` threads could not be started. Without any other thread, every lookup fails with
    /// `error`, since none would begin.
    fn give_up_threads(&self, missing: usize, error: &io::Error) {
        let mut state = self.lock();
        state.threads -= missing;
        let lost = if state.threads == 0 { state.remove_all() } else { Vec::new() };
        drop(state);
        let message = format!("cannot start a thread for the lookup of names: {error}").into();
        let failure = Failure { kind: error.kind(), message };
        answer(lost, &Err(failure));
    }

    /// Runs lookups until there is no work for [`idle_time`](Self::idle_time). The body of a thread.
    fn serve(self: Arc<Self>) {
        while let Some(task) = self.next_task() {
            match task {
                Task::Classify(batch) => self.classify(batch),
                Task::LookUp(question, is_quick) => self.look_up(&question, is_quick),
            }
        }
    }

    /// Waits for work. Returns `None` if the thread is to end.
    fn next_task(self: &Arc<Self>) -> Option<Task> {
        let mut given_up = Vec::new();
        let mut state = self.lock();
        let task = loop {
            if let Some(task) = state.take_task(self.max_threads, &mut given_up) {
                break task;
            }
            let is_closed = state.is_closed;
            if !is_closed {
                state.idle += 1;
                let (next, wait) =
                    self.work.wait_timeout(state, self.idle_time).unwrap_or_else(PoisonError::into_inner);
                state = next;
                state.idle -= 1;
                if !wait.timed_out() || state.startable(self.max_threads) > 0 {
                    continue;
                }
            }
            state.threads -= 1;
            drop(state);
            discard(given_up);
            return None;
        };
        // This thread will be busy, so the rest of the work needs another.
        self.find_threads(state);
        discard(given_up);
        Some(task)
    }

    /// Distributes new lookups to the two queues.
    fn classify(self: &Arc<Self>, batch: VecDeque<Question>) {
        let quick = || self.backend.quick(&mut batch.iter().map(|question| &*question.host));
        let quick = contain(quick).unwrap_or_default();
        let mut state = self.lock();
        for question in batch {
            // The backend returns names in lower case.
            let is_quick = !quick.is_empty() && quick.contains(&question.host.to_ascii_lowercase());
            let queue = if is_quick { &mut state.quick } else { &mut state.slow };
            queue.push_back(question);
        }
    }

    /// Does a lookup, and gives the answer to its waiters.
    fn look_up(&self, question: &Question, is_quick: bool) {
        let (host, family) = (&*question.host, question.family);
        let result = contain(|| self.backend.look_up(host, family, is_quick)).unwrap_or_else(|| {
            let message = format!("the lookup of {host:?} has panicked").into();
            Err(Failure { kind: io::ErrorKind::Other, message })
        });
        let mut state = self.lock();
        let waiters = state.lookups.remove(question).unwrap_or_default();
        state.slow_running -= usize::from(!is_quick);
        drop(state);
        answer(waiters, &result.map(Arc::from));
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("max_threads", &self.max_threads).finish_non_exhaustive()
    }
}

/// What a thread does next.
enum Task {
    /// Find out which of these lookups are quick.
    Classify(VecDeque<Question>),
    /// Look this up; `true` if it is quick.
    LookUp(Question, bool),
}

impl State {
    /// Returns how many lookups of `slow` may begin now. With several threads, one is kept for quick lookups.
    fn slow_slots(&self, max_threads: usize) -> usize {
        (max_threads - usize::from(max_threads > 1)).saturating_sub(self.slow_running)
    }

    /// Returns how many threads could begin work now. Quick work counts once: it is done in no time.
    fn startable(&self, max_threads: usize) -> usize {
        let has_quick = !self.fresh.is_empty() || !self.quick.is_empty();
        usize::from(has_quick) + self.slow.len().min(self.slow_slots(max_threads))
    }

    /// Takes the next work out of the queue: quick lookups, then new ones, then slow ones. Lookups without a waiter
    /// are removed; their channels are added to `given_up`.
    fn take_task(&mut self, max_threads: usize, given_up: &mut Vec<Waiter>) -> Option<Task> {
        loop {
            let (question, is_quick) = if let Some(question) = self.quick.pop_front() {
                (question, true)
            } else if !self.fresh.is_empty() {
                return Some(Task::Classify(std::mem::take(&mut self.fresh)));
            } else if self.slow_slots(max_threads) > 0 {
                (self.slow.pop_front()?, false)
            } else {
                return None;
            };
            if self.lookups.get(&question).is_some_and(|waiters| is_wanted(waiters)) {
                self.slow_running += usize::from(!is_quick);
                return Some(Task::LookUp(question, is_quick));
            }
            given_up.extend(self.lookups.remove(&question).unwrap_or_default());
        }
    }

    /// Removes the unwanted lookups of the queues, and returns their channels. Lookups at a thread stay.
    fn remove_given_up(&mut self) -> Vec<Waiter> {
        let (lookups, mut given_up) = (&mut self.lookups, Vec::new());
        for queue in [&mut self.fresh, &mut self.quick, &mut self.slow] {
            queue.retain(|question| {
                let stays = lookups.get(question).is_some_and(|waiters| is_wanted(waiters));
                if !stays {
                    given_up.extend(lookups.remove(question).unwrap_or_default());
                }
                stays
            });
        }
        given_up
    }

    /// Removes all lookups, and returns their channels.
    fn remove_all(&mut self) -> Vec<Waiter> {
        [&mut self.fresh, &mut self.quick, &mut self.slow].into_iter().for_each(VecDeque::clear);
        self.lookups.drain().flat_map(|(_, waiters)| waiters).collect()
    }
}

/// Returns whether one of `waiters` has not given up.
fn is_wanted(waiters: &[Waiter]) -> bool {
    waiters.iter().any(|waiter| !waiter.is_canceled())
}

/// Removes the waiters without a receiver, and returns them.
fn take_given_up(waiters: &mut Vec<Waiter>) -> Vec<Waiter> {
    let (given_up, wanted) = std::mem::take(waiters).into_iter().partition(oneshot::Sender::is_canceled);
    *waiters = wanted;
    given_up
}

/// Gives `answer` to each waiter, and wakes it. A waker that panics does not keep the others from being woken.
fn answer(waiters: Vec<Waiter>, answer: &Answer) {
    for waiter in waiters {
        // A waiter without a receiver does not take the answer.
        contain(|| drop(waiter.send(answer.clone())));
    }
}

/// Drops the channels of waiters without a receiver. A waiter may be giving up right now, and its waker be called.
fn discard(waiters: Vec<Waiter>) {
    for waiter in waiters {
        contain(|| drop(waiter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    /// The payload of a panic. It panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(thread::panicking(), "dropped on purpose");
        }
    }

    /// A backend whose names say what happens. It records the lookups that have begun.
    #[derive(Clone, Default)]
    struct Fake(Arc<FakeState>);

    #[derive(Default)]
    struct FakeState {
        /// The names of the lookups that have begun, in order.
        begun: Mutex<Vec<String>>,
        /// Whether the lookups of slow names may end.
        is_open: Mutex<bool>,
        opened: Condvar,
        /// Whether `quick` panics.
        is_broken: AtomicBool,
    }

    impl Fake {
        /// Lets the lookups of slow names end.
        fn open(&self) {
            *self.0.is_open.lock().unwrap() = true;
            self.0.opened.notify_all();
        }

        fn begun(&self) -> Vec<String> {
            self.0.begun.lock().unwrap().clone()
        }

        /// Waits until `count` lookups have begun.
        fn wait_for(&self, count: usize) {
            wait_until(|| self.begun().len() >= count);
        }
    }

    impl Backend for Fake {
        fn quick(&self, names: &mut dyn Iterator<Item = &str>) -> HashSet<String> {
            if self.0.is_broken.load(Ordering::Relaxed) {
                panic_any(Bomb);
            }
            names.filter(|name| name.starts_with("quick")).map(String::from).collect()
        }

        fn look_up(&self, host: &str, family: Family, is_quick: bool) -> Result<Vec<SocketAddr>, Failure> {
            assert_eq!(is_quick, host.starts_with("quick") && !self.0.is_broken.load(Ordering::Relaxed));
            self.0.begun.lock().unwrap().push(host.into());
            if host.contains("slow") {
                let open = self.0.is_open.lock().unwrap();
                drop(self.0.opened.wait_while(open, |open| !*open).unwrap());
            }
            if host.contains("error") {
                return Err(Failure { kind: io::ErrorKind::NotFound, message: "no such name".into() });
            }
            assert!(!host.contains("panic"), "on purpose");
            if host.contains("bomb") {
                panic_any(Bomb);
            }
            let last = if family == Family::V6 { "[::1]:0" } else { "127.0.0.1:0" };
            Ok(if host.contains("nothing") { Vec::new() } else { vec![last.parse().unwrap()] })
        }
    }

    /// Waits until `condition` holds, for at most ten seconds.
    fn wait_until(mut condition: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < Duration::from_secs(10), "waited in vain");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn queue(threads: usize) -> (Arc<Queue>, Fake) {
        let fake = Fake::default();
        (Queue::with_idle_time(threads, Duration::from_millis(50), fake.clone()), fake)
    }

    type Channel = oneshot::Receiver<Answer>;

    fn ask(queue: &Arc<Queue>, host: &str) -> Channel {
        queue.ask(host, Family::Any).unwrap()
    }

    fn wait(mut channel: Channel) -> Answer {
        let mut answer = None;
        wait_until(|| {
            answer = channel.try_recv().expect("an answer");
            answer.is_some()
        });
        answer.expect("was waited for")
    }

    /// Checks that nothing is left, and that the threads end.
    fn assert_idle(queue: &Queue) {
        wait_until(|| queue.lock().threads == 0);
        let state = queue.lock();
        assert_eq!((state.lookups.len(), state.idle, state.slow_running), (0, 0, 0));
        assert!(state.fresh.is_empty() && state.quick.is_empty() && state.slow.is_empty());
    }

    /// Found 11: what happens to a lookup × what its waiters do × the number of threads. Each waiter that has not given up
    /// gets the answer, equal lookups are done once, and afterwards nothing is left.
    #[test]
    fn every_answer_reaches_every_waiter() {
        for threads in [1, 2, 8] {
            for kind in ["", "error", "panic", "bomb", "nothing"] {
                for speed in ["quick", "slow", "plain"] {
                    let (queue, fake) = queue(threads);
                    let name = format!("{speed}-{kind}");
                    // One alone, two that share, one of two that gives up before or after the beginning, and none.
                    for round in ["alone", "shared", "early", "late", "lost"] {
                        let host = format!("{name}-{round}");
                        *fake.0.is_open.lock().unwrap() = false;
                        let first = ask(&queue, &host);
                        let others: Vec<_> = (0..10).map(|_| ask(&queue, &host)).collect();
                        let wanted = match round {
                            "alone" => vec![first],
                            "shared" => std::iter::once(first).chain(others).collect(),
                            "early" => others,
                            "late" => {
                                wait_until(|| fake.begun().contains(&host));
                                others
                            }
                            _ => Vec::new(),
                        };
                        fake.open();
                        for channel in wanted {
                            match (wait(channel), kind) {
                                (Ok(addresses), "") => assert_eq!(addresses.len(), 1, "{host}"),
                                (Ok(addresses), "nothing") => assert!(addresses.is_empty(), "{host}"),
                                (Err(failure), "error") => assert_eq!(failure.kind, io::ErrorKind::NotFound),
                                (Err(failure), "panic" | "bomb") => {
                                    assert!(failure.message.contains("panicked"), "{host}")
                                }
                                other => panic!("{host}: {other:?}"),
                            }
                        }
                    }
                    assert_idle(&queue);
                    // A lookup that is not slow may end before the next waiter comes, so another begins.
                    let (begun, mut once) = (fake.begun(), fake.begun());
                    once.dedup();
                    assert!(speed != "slow" || begun == once, "an equal lookup was done twice: {begun:?}");
                }
            }
        }
    }

    /// Found 11: 600 lookups that no server answers. A name that needs no server is answered at once, and so is each
    /// after it; the threads stay within their number.
    #[test]
    fn quick_names_do_not_wait_behind_slow_ones() {
        let (queue, fake) = queue(8);
        let slow: Vec<_> = (0..600).map(|number| ask(&queue, &format!("slow{number}"))).collect();
        fake.wait_for(7);
        let mut times = Vec::new();
        for number in 0..20 {
            let begin = Instant::now();
            wait(ask(&queue, &format!("quick{number}"))).unwrap();
            times.push(begin.elapsed());
            // New slow lookups do not take the last thread either.
            drop(ask(&queue, &format!("slow-too-{number}")));
        }
        times.sort();
        assert!(times[10] < Duration::from_millis(50), "{times:?}");
        assert!(queue.lock().threads <= 8);
        assert_eq!(fake.begun().iter().filter(|name| name.starts_with("slow")).count(), 7);
        // Lookups that are given up are not begun; the others are done in order.
        let kept = slow.into_iter().enumerate().filter(|(number, _)| number % 100 == 50);
        let kept: Vec<_> = kept.map(|(_, channel)| channel).collect();
        fake.open();
        kept.into_iter().for_each(|channel| drop(wait(channel).unwrap()));
        assert_idle(&queue);
        let begun: Vec<_> = fake.begun().into_iter().filter(|name| name.starts_with("slow")).collect();
        assert_eq!(begun.len(), 7 + 6, "{begun:?}");
    }

    /// A single thread takes quick names first, and begins slow ones as well.
    #[test]
    fn one_thread() {
        let (queue, fake) = queue(1);
        let slow: Vec<_> = (0..3).map(|number| ask(&queue, &format!("slow{number}"))).collect();
        fake.wait_for(1);
        let quick = ask(&queue, "quick");
        fake.open();
        wait(quick).unwrap();
        slow.into_iter().for_each(|channel| drop(wait(channel).unwrap()));
        assert_eq!(fake.begun(), ["slow0", "quick", "slow1", "slow2"]);
        assert_idle(&queue);
        // Zero counts as one.
        assert_eq!(Queue::new(0, fake).max_threads, 1);
    }

    /// Equal names of different families are different lookups.
    #[test]
    fn families_are_apart() {
        let (queue, fake) = queue(8);
        let families = [Family::V6, Family::V4, Family::Any];
        let channels = families.map(|family| queue.ask("plain", family).unwrap());
        let six = channels.map(|channel| wait(channel).unwrap()[0].is_ipv6());
        assert_eq!((six, fake.begun().len()), ([true, false, false], 3));
    }

    /// The queue is bounded, and says so. Lookups that are given up make room, and so do waiters.
    #[test]
    fn the_queue_is_bounded() {
        let (queue, fake) = queue(2);
        let mut waiting = VecDeque::new();
        let error = loop {
            match queue.ask(&format!("slow{}", waiting.len()), Family::Any) {
                Ok(channel) => waiting.push_back(channel),
                Err(failure) => break failure,
            }
        };
        assert_eq!((waiting.len(), error.kind), (MAX_LOOKUPS, io::ErrorKind::ResourceBusy));
        assert!(error.message.contains("4096 lookups wait") && error.message.contains("slow4096"), "{error:?}");
        // An equal name still finds its lookup.
        drop(ask(&queue, "slow4000"));
        // Giving up makes room, once the lookups have been classified.
        waiting.truncate(100);
        wait_until(|| queue.ask("slow-new", Family::Any).is_ok());
        assert!(queue.lock().lookups.len() <= 102);
        // Waiters that give up do not pile up.
        let kept = ask(&queue, "slow-shared");
        for _ in 0..10_000 {
            drop(ask(&queue, "slow-shared"));
        }
        let waiters = queue.lock().lookups.values().map(Vec::capacity).max();
        assert!(waiters.unwrap() < 16, "{waiters:?}");
        fake.open();
        waiting.into_iter().for_each(|channel| drop(wait(channel).unwrap()));
        drop(kept);
        assert_idle(&queue);
    }

    /// Threads without work end, at once if the queue is closed, and a later lookup starts new ones.
    #[test]
    fn idle_threads_end() {
        let (queue, _) = queue(8);
        for _ in 0..3 {
            wait(ask(&queue, "plain")).unwrap();
            assert_idle(&queue);
        }
        let patient = Queue::with_idle_time(8, Duration::from_secs(3600), Fake::default());
        wait(ask(&patient, "plain")).unwrap();
        patient.close();
        assert_idle(&patient);
        wait(ask(&patient, "plain")).unwrap();
        assert_idle(&patient);
    }

    /// Found 11: a waker that panics does not keep other waiters from their answer, whatever the panic carries, and a backend
    /// that cannot say which names are quick is asked for all of them. No thread is lost, not even if each lookup panics.
    #[test]
    fn panics() {
        struct Panics(fn());
        impl futures::task::ArcWake for Panics {
            fn wake_by_ref(this: &Arc<Self>) {
                (this.0)();
            }
        }
        use futures::future::FutureExt;
        let (plain, bomb): (fn(), fn()) = (|| panic!("on purpose"), || panic_any(Bomb));
        for (act, threads) in [(plain, 2), (bomb, 1), (bomb, 2)] {
            let (queue, fake) = queue(threads);
            fake.0.is_broken.store(true, Ordering::Relaxed);
            for round in 0..2 * threads {
                *fake.0.is_open.lock().unwrap() = false;
                let name = format!("slow{round}");
                let (mut bad, good) = (ask(&queue, &name), ask(&queue, &name));
                let waker = futures::task::waker(Arc::new(Panics(act)));
                assert!(bad.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_pending());
                fake.open();
                wait(good).unwrap();
                wait(bad).unwrap();
                wait(ask(&queue, "quick")).unwrap();
            }
            assert_idle(&queue);
        }
    }
}
