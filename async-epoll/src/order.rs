//! The order of what is ready at the same moment, drawn from a seed (feature `test-util`).
//!
//! Tasks that are ready together, events of one turn and timers of one instant have to be served, and programs must not
//! depend on which comes first. The order is always the same in an idle test, and another one under load: so a mistake is
//! found late. A seed draws another order each time, and the same one again for the same seed.
//!
//! ```text
//!   ready tasks      task/set.rs, as the driver takes them from the queue      ┐
//!   parked drivers   task/turn.rs, as a turn begins                            ├─ shuffled in place, by an `Order` of
//!   events           engine/engine.rs, before they are dispatched              │  its own for each kind
//!   due timers       time/wheel.rs, before they are sorted by deadline         ┘
//! ```
//!
//! All of these places hold a batch that is served to its end before the next batch is taken. Only the order within the
//! batch changes: each task is still polled once before any task is polled for the second time, the budgets count as before,
//! and nothing is lost that was in the batch.
//!
//! Each kind has a sequence of numbers of its own. An event more, which the kernel may report or not, so leaves the order of
//! the tasks as it was.
//!
//! Without the feature an [`Order`] is empty, and its functions vanish.

/// What an [`Order`] is for. Orders of different kinds do not agree, though they are drawn from the same seed.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "test-util"), allow(dead_code, reason = "nothing is drawn"))]
pub(crate) enum Kind {
    /// The ready tasks of a pool, and the drivers that a turn calls.
    Tasks,
    /// The events of a turn.
    Events,
    /// The timers that are due at the same time.
    Timers,
}

/// With the feature: draws from a seed, if there is one.
#[cfg(feature = "test-util")]
mod enabled {
    use super::Kind;
    use std::cell::Cell;

    /// How far the state moves for each number: 2⁶⁴ divided by the golden ratio, and odd.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The order in which a batch is served: its own, or one that is drawn from a seed.
    #[derive(Debug)]
    pub(crate) struct Order {
        /// The state of the generator; `None` without a seed. Moved by each number that is drawn.
        state: Option<Cell<u64>>,
    }

    impl Order {
        /// Leaves each batch in its own order.
        pub(crate) const AS_IT_COMES: Self = Self { state: None };

        /// Returns the order for one kind of batches, drawn from `seed` if there is one.
        pub(crate) fn new(seed: Option<u64>, kind: Kind) -> Self {
            // Mixed, so that the sequences of neighbouring seeds and of the kinds do not begin close to each other.
            Self { state: seed.map(|seed| Cell::new(mix(mix(seed).wrapping_add(kind as u64)))) }
        }

        /// Brings the items of a batch into another order, if there is a seed. Each order is equally likely. A batch of
        /// one draws nothing.
        #[inline]
        pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
            if let Some(state) = &self.state {
                // Fisher and Yates: each place gets one of the items that are left.
                for last in (1..items.len()).rev() {
                    items.swap(last, below(state, last + 1));
                }
            }
        }
    }

    /// Draws a number below `end`. Numbers differ in likelihood by less than `end` in 2⁶⁴.
    fn below(state: &Cell<u64>, end: usize) -> usize {
        let product = u128::from(next(state)) * end as u128;
        (product >> 64) as usize
    }

    /// Draws a number: SplitMix64, of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    fn next(state: &Cell<u64>) -> u64 {
        state.set(state.get().wrapping_add(STEP));
        mix(state.get())
    }

    /// Returns a number in which each bit depends on all bits of `value`. No two values have the same.
    const fn mix(mut value: u64) -> u64 {
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::collections::{BTreeMap, BTreeSet};

        fn shuffled<const N: usize>(order: &Order) -> [usize; N] {
            let mut items = std::array::from_fn(|i| i);
            order.shuffle(&mut items);
            items
        }

        /// The first numbers from the seed 1234567, as published with the reference implementation.
        #[test]
        fn draws_what_splitmix64_draws() {
            let state = Cell::new(1_234_567);
            let drawn = [(); 5].map(|()| next(&state));
            let published = [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ];
            assert_eq!(drawn, published);
        }

        #[test]
        fn a_seed_draws_the_same_orders_again() {
            let (one, other) = (Order::new(Some(7), Kind::Tasks), Order::new(Some(7), Kind::Tasks));
            for _ in 0..100 {
                assert_eq!(shuffled::<9>(&one), shuffled::<9>(&other));
            }
        }

        #[test]
        fn without_a_seed_nothing_moves() {
            for order in [Order::AS_IT_COMES, Order::new(None, Kind::Events)] {
                assert_eq!(shuffled::<5>(&order), [0, 1, 2, 3, 4]);
            }
        }

        #[test]
        fn seeds_and_kinds_draw_different_orders() {
            let kinds = [Kind::Tasks, Kind::Events, Kind::Timers];
            let orders = (0..100).flat_map(|seed| kinds.map(|kind| shuffled::<20>(&Order::new(Some(seed), kind))));
            assert_eq!(orders.collect::<BTreeSet<_>>().len(), 300);
        }

        /// All 24 orders of four items, each about 1000 times in 24 000: over the batches of one seed, and over seeds.
        #[test]
        fn each_order_is_equally_likely() {
            let one = Order::new(Some(1), Kind::Timers);
            let batches: Vec<[usize; 4]> = (0..24_000).map(|_| shuffled(&one)).collect();
            let seeds: Vec<[usize; 4]> =
                (0..24_000).map(|seed| shuffled(&Order::new(Some(seed), Kind::Timers))).collect();
            for orders in [batches, seeds] {
                let mut counts = BTreeMap::new();
                orders.into_iter().for_each(|order| *counts.entry(order).or_insert(0) += 1);
                assert_eq!(counts.len(), 24);
                assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
            }
        }

        #[test]
        fn short_batches_draw_nothing() {
            let (one, other) = (Order::new(Some(3), Kind::Tasks), Order::new(Some(3), Kind::Tasks));
            one.shuffle::<u8>(&mut []);
            one.shuffle(&mut [1]);
            assert_eq!(shuffled::<9>(&one), shuffled::<9>(&other));
        }
    }
}

/// Without the feature: each batch is served as it comes.
#[cfg(not(feature = "test-util"))]
mod disabled {
    use super::Kind;

    /// Stands for the order of a batch, which is its own.
    #[derive(Debug)]
    pub(crate) struct Order;

    impl Order {
        /// Leaves each batch in its own order.
        pub(crate) const AS_IT_COMES: Self = Self;

        /// Returns the order of all batches.
        pub(crate) const fn new(_: Option<u64>, _: Kind) -> Self {
            Self
        }

        /// Does nothing.
        #[inline(always)]
        pub(crate) const fn shuffle<T>(&self, _: &mut [T]) {}
    }
}

#[cfg(not(feature = "test-util"))]
pub(crate) use disabled::Order;
#[cfg(feature = "test-util")]
pub(crate) use enabled::Order;
