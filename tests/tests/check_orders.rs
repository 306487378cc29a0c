//! `check_orders`: a test under many seeds, which names the seed that fails.
//!
//! The variables of the environment count for the whole process. So each scenario runs in a process of its own, with its
//! variables, and its output is looked at: `passes`, `fails`.

use async_epoll::{LocalRuntime, Reactor, block_on, check_orders, spawn_local};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::thread;
use tests::{TIME, watchdog, yield_now};

const SCENARIO: &str = "TEST_ORDERS_SCENARIO";
const SEED: &str = "ASYNC_EPOLL_SEED";
const SEEDS: &str = "ASYNC_EPOLL_SEEDS";

/// Variables of the environment, with their values.
type Variables = &'static [(&'static str, &'static str)];

/// Runs a scenario in a process of its own, with these variables. Returns whether it has passed, and its output.
fn run(scenario: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenario", "--ignored", "--nocapture", "--test-threads=1"])
        .env_remove(SEED)
        .env_remove(SEEDS)
        .env(SCENARIO, scenario)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

/// Checks that a scenario passes. Returns its output.
fn passes(scenario: &str, variables: &[(&str, &str)]) -> String {
    let (success, output) = run(scenario, variables);
    assert!(success, "{scenario} {variables:?}:\n{output}");
    output
}

/// Checks that a scenario fails, and that its output has all of `parts`. Returns the output.
fn fails(scenario: &str, variables: &[(&str, &str)], parts: &[&str]) -> String {
    let (success, output) = run(scenario, variables);
    assert!(!success, "{scenario} {variables:?}:\n{output}");
    for part in parts {
        assert!(output.contains(part), "{scenario} {variables:?}: no {part:?} in\n{output}");
    }
    output
}

/// Returns the order in which a reactor made as by default polls three tasks.
fn order() -> Vec<usize> {
    let polled = Rc::new(RefCell::new(Vec::new()));
    let mut runtime = LocalRuntime::new().unwrap();
    for number in 0..3 {
        let polled = Rc::clone(&polled);
        runtime.spawner().spawn(async move { polled.borrow_mut().push(number) }).unwrap();
    }
    runtime.run().unwrap();
    polled.take()
}

/// Code with a mistake: a request takes a ticket, waits, and writes back what it has read. Two requests lose a ticket if
/// the second one reads before the first one has written, which the order of spawning happens to avoid.
fn planted() {
    let (tickets, open) = (Rc::new(Cell::new(2)), Rc::new(Cell::new(false)));
    let result = block_on(async {
        let (door, counter) = (Rc::clone(&open), Rc::clone(&tickets));
        spawn_local(async move {
            door.set(true);
            counter.set(counter.get() - 1);
        })
        .unwrap();
        let (door, counter) = (Rc::clone(&open), Rc::clone(&tickets));
        spawn_local(async move {
            let left = counter.get();
            if !door.get() {
                yield_now().await;
            }
            counter.set(left - 1);
        })
        .unwrap();
        for _ in 0..4 {
            yield_now().await;
        }
    });
    result.unwrap();
    assert_eq!(tickets.get(), 0, "a ticket is lost");
}

#[test]
#[ignore = "the other tests of this file run it in processes of their own"]
fn scenario() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let _watchdog = watchdog(TIME);
    match scenario.as_str() {
        "planted" => check_orders(100, |_| planted()),
        "in order" => planted(),
        "seeds" => check_orders(3, |seed| println!("seed<{seed}>")),
        "no seed" => check_orders(0, |seed| println!("seed<{seed}>")),
        "an error" => check_orders(5, |seed| if seed == 3 { Err(io::Error::other("the third")) } else { Ok(()) }),
        "seeds of reactors" => check_orders(50, |seed| {
            let expected = {
                let polled = Rc::new(RefCell::new(Vec::new()));
                let mut runtime = LocalRuntime::from(Reactor::builder().shuffle(seed).build().unwrap());
                for number in 0..3 {
                    let polled = Rc::clone(&polled);
                    runtime.spawner().spawn(async move { polled.borrow_mut().push(number) }).unwrap();
                }
                runtime.run().unwrap();
                polled.take()
            };
            assert_eq!(order(), expected);
        }),
        "beyond the test" => {
            let reversed = Cell::new(0);
            let failed = catch_unwind(AssertUnwindSafe(|| {
                check_orders(50, |seed| {
                    check_orders(1, |_| ());
                    reversed.set(reversed.get() + u32::from(order() == [2, 1, 0]));
                    assert_eq!(thread::spawn(order).join().unwrap(), [0, 1, 2], "another thread");
                    assert!(seed < 49, "the last");
                });
            }));
            assert_eq!(failed.unwrap_err().downcast_ref::<&str>(), Some(&"the last"));
            assert!(reversed.get() > 1, "a test within the test takes the seed away");
            assert_eq!(order(), [0, 1, 2], "the seed stays after the test");
        }
        "default" => println!("order: {:?}", order()),
        _ => panic!("no scenario {scenario}"),
    }
}

/// A mistake that the usual order hides is found and named, and the named seed repeats it, alone.
#[test]
fn a_planted_mistake_is_found_and_repeated() {
    passes("in order", &[]);
    let output = fails("planted", &[], &["a ticket is lost", "check_orders.rs:", "has failed under the seed "]);
    let (_, seed) = output.split_once("run it with ASYNC_EPOLL_SEED=").expect("how to repeat it");
    let seed = seed.split_whitespace().next().unwrap();
    for _ in 0..3 {
        fails("planted", &[(SEED, seed)], &["a ticket is lost", &format!("under the seed {seed};")]);
    }
    // It was the first that fails.
    if seed != "0" {
        passes("planted", &[(SEEDS, seed)]);
        passes("planted", &[(SEED, "0")]);
    }
}

/// The table: what the test asks for, and the variables, against the seeds that run.
#[test]
fn which_seeds_run() {
    let table: [(&str, Variables, &[&str]); 6] = [
        ("seeds", &[], &["0", "1", "2"]),
        ("seeds", &[(SEED, "17")], &["17"]),
        ("seeds", &[(SEED, "18446744073709551615")], &["18446744073709551615"]),
        ("seeds", &[(SEEDS, "5")], &["0", "1", "2", "3", "4"]),
        ("seeds", &[(SEEDS, "5"), (SEED, "2")], &["2"]),
        ("no seed", &[], &["0"]),
    ];
    for (scenario, variables, expected) in table {
        let output = passes(scenario, variables);
        let seeds: Vec<_> = output.split("seed<").skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
        assert_eq!(seeds, expected, "{scenario} {variables:?}");
    }
}

/// A variable that is no number is an error, and not a test that runs under no seed.
#[test]
fn variables_that_are_no_numbers() {
    for (name, value) in [(SEED, "x"), (SEED, ""), (SEED, "-1"), (SEEDS, "18446744073709551616")] {
        fails("seeds", &[(name, value)], &[&format!("{name} is {value:?}, not a number")]);
    }
}

/// A test that returns an error has failed; the error is printed.
#[test]
fn an_error_is_a_failure() {
    fails("an error", &[], &["the third", "ASYNC_EPOLL_SEED=3", "has returned an error under the seed 3"]);
    passes("an error", &[(SEED, "4")]);
}

/// The reactors of the test have the seed, however they are made.
#[test]
fn reactors_take_the_seed_of_the_test() {
    passes("seeds of reactors", &[]);
}

/// Reactors of other threads, and those made after the test, also after a panic, have no seed. Tests may be nested.
#[test]
#[cfg_attr(async_epoll_shuffle, ignore = "the program has a seed")]
fn the_seed_ends_with_the_test() {
    passes("beyond the test", &[]);
}

/// The variable is read by reactors only if the program was built for that.
#[test]
fn the_environment_alone_changes_nothing() {
    let orders: Vec<_> = (0..20).map(|seed| passes("default", &[(SEED, &seed.to_string())])).collect();
    let in_order = orders.iter().filter(|output| output.contains("order: [0, 1, 2]")).count();
    match cfg!(async_epoll_shuffle) {
        false => assert_eq!(in_order, 20),
        true => assert!(in_order < 15, "{in_order}"),
    }
    assert!(passes("default", &[]).contains("order: [0, 1, 2]"));
}
