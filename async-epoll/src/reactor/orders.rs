//! A test under many orders, each drawn from another seed (feature `test-util`).
//!
//! What is shuffled, and how, is told in [`order`](crate::order). Here the seed gets to the reactors that a test makes,
//! often deep inside the code under test: it is the default of every builder on the thread, as long as
//! [`check_orders`] runs the test. So the code under test need not know of it.
//!
//! A library must not change its ways because of a variable in the environment. [`check_orders`] reads variables, and a
//! test has to call it. Builders read one only if the whole program was built with `--cfg async_epoll_shuffle`, which
//! is for running existing tests as they are.

/// With the feature: the seed of the thread.
#[cfg(feature = "test-util")]
mod enabled {
    use std::cell::Cell;
    use std::env::{self, VarError};
    use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
    use std::process::{ExitCode, Termination};

    /// The variable with the one seed to run.
    const SEED: &str = "ASYNC_EPOLL_SEED";
    /// The variable with the number of seeds to run.
    const SEEDS: &str = "ASYNC_EPOLL_SEEDS";

    thread_local! {
        /// The seed of the test that this thread runs. Set and taken back by [`check_orders`].
        static CURRENT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Makes a seed the current one until it is dropped.
    struct Current {
        /// The seed that was current before.
        outer: Option<u64>,
    }

    impl Current {
        /// Makes `seed` the current one.
        fn set(seed: u64) -> Self {
            Self { outer: CURRENT.replace(Some(seed)) }
        }
    }

    impl Drop for Current {
        fn drop(&mut self) {
            CURRENT.set(self.outer);
        }
    }

    /// Returns the seed of new reactors on this thread.
    pub(crate) fn default_seed() -> Option<u64> {
        // In the destructor of another thread-local there may be no seed any more.
        CURRENT.try_with(Cell::get).ok().flatten().or_else(seed_of_all)
    }

    /// Returns the seed of all reactors of the program.
    #[cfg(async_epoll_shuffle)]
    fn seed_of_all() -> Option<u64> {
        // Read once: a forked child must not wait for the lock of the environment.
        static SEED_OF_ALL: std::sync::OnceLock<Option<u64>> = std::sync::OnceLock::new();
        *SEED_OF_ALL.get_or_init(|| number(SEED))
    }

    /// Returns the seed of all reactors of the program: there is none.
    #[cfg(not(async_epoll_shuffle))]
    const fn seed_of_all() -> Option<u64> {
        None
    }

    /// Returns the number in a variable of the environment, if the variable is set.
    fn number(name: &str) -> Option<u64> {
        match env::var(name) {
            Err(VarError::NotPresent) => None,
            Err(error) => panic!("{name}: {error}"),
            Ok(text) => Some(text.parse().unwrap_or_else(|error| panic!("{name} is {text:?}, not a number: {error}"))),
        }
    }

    /// Runs a test once under each of the seeds 0, 1, 2, …, at least one and at most `seeds` of them, and names the seed
    /// under which it fails (feature `test-util`).
    ///
    /// Every reactor that `test` makes on this thread, by itself or within [`block_on`](crate::block_on) or
    /// [`LocalRuntime::new`](crate::LocalRuntime::new), serves what is ready in an order drawn from the seed, as if it
    /// were built with [`ReactorBuilder::shuffle`](crate::ReactorBuilder::shuffle). `test` gets the seed, to pass it to
    /// reactors on other threads and to generators of its own. The test fails by a panic, or by returning an error. (A
    /// panic of a task ends the task alone: await its [handle](crate::TaskHandle), or look at
    /// [`Stats::task_panics`](crate::Stats::task_panics).)
    ///
    /// The seeds are the same in each run, so a test does not fail by chance. Two variables of the environment change
    /// them:
    ///
    /// - `ASYNC_EPOLL_SEED=17` runs the seed 17 alone, to repeat a failure;
    /// - `ASYNC_EPOLL_SEEDS=10000` runs that many seeds in place of `seeds`.
    ///
    /// A seed repeats an order as far as the rest of the test repeats: when the kernel reports an event, and when another
    /// thread wakes a task, is not drawn. Stop the time by a [`TestClock`](crate::TestClock), and let the test talk to
    /// itself, by channels or through socket pairs. A test that hangs names no seed, so give it a time limit if it may.
    ///
    /// # Panics
    ///
    /// If the test fails: with the payload of its panic, or with a message of its own for an error. Before that, the seed
    /// and the way to repeat it are printed to the standard error. Also if one of the variables is not a number.
    ///
    /// # Examples
    ///
    /// The sum of two tasks does not depend on their order.
    ///
    /// ```
    /// use async_epoll::{LocalRuntime, check_orders};
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// check_orders(100, |_seed| {
    ///     let sum = Rc::new(Cell::new(0));
    ///     let mut runtime = LocalRuntime::new()?;
    ///     for number in [1, 2] {
    ///         let sum = Rc::clone(&sum);
    ///         runtime.spawner().spawn(async move { sum.set(sum.get() + number) })?;
    ///     }
    ///     runtime.run()?;
    ///     assert_eq!(sum.get(), 3);
    ///     std::io::Result::Ok(())
    /// });
    /// ```
    ///
    /// Here, the second task relies on the first one to have been polled, which is true in the order of spawning only:
    ///
    /// ```should_panic
    /// # use async_epoll::{LocalRuntime, check_orders};
    /// # use std::cell::Cell;
    /// # use std::rc::Rc;
    /// check_orders(100, |_seed| {
    ///     let address = Rc::new(Cell::new(None));
    ///     let (server, client) = (Rc::clone(&address), address);
    ///     let mut runtime = LocalRuntime::new()?;
    ///     runtime.spawner().spawn(async move { server.set(Some("127.0.0.1:80")) })?;
    ///     let client = runtime.spawner().spawn_task(async move { client.get().expect("an address") })?;
    ///     runtime.run_until(client)?.map(drop).map_err(std::io::Error::other)
    /// });
    /// // thread 'main' panicked: …
    /// // the test at src/main.rs:3:1 has failed under the seed 1; to repeat it, run it with ASYNC_EPOLL_SEED=1
    /// ```
    #[track_caller]
    pub fn check_orders<T: Termination>(seeds: u64, mut test: impl FnMut(u64) -> T) {
        let place = Location::caller();
        let seeds = match number(SEED) {
            Some(seed) => seed..=seed,
            None => 0..=number(SEEDS).unwrap_or(seeds).saturating_sub(1),
        };
        for seed in seeds {
            let current = Current::set(seed);
            let result = catch_unwind(AssertUnwindSafe(|| test(seed).report()));
            drop(current);
            if !matches!(&result, Ok(code) if *code == ExitCode::SUCCESS) {
                eprintln!(
                    "the test at {place} has failed under the seed {seed}; to repeat it, run it with {SEED}={seed}"
                );
            }
            match result {
                Ok(code) => assert!(code == ExitCode::SUCCESS, "the test has returned an error under the seed {seed}"),
                Err(panic) => resume_unwind(panic),
            }
        }
    }
}

/// Without the feature: there are no seeds.
#[cfg(not(feature = "test-util"))]
mod disabled {
    /// Returns the seed of new reactors on this thread: there is none.
    pub(crate) const fn default_seed() -> Option<u64> {
        None
    }
}

#[cfg(not(feature = "test-util"))]
pub(crate) use disabled::default_seed;
#[cfg(feature = "test-util")]
pub use enabled::check_orders;
#[cfg(feature = "test-util")]
pub(crate) use enabled::default_seed;
