//! Tasks that are spawned and end: with a handle, aborted, in a group.
//!
//! The tasks are spawned, and waited for, in rounds of [`ROUND`], by the main future. Each returns its number, or waits without
//! end. *ours* is `Spawner::spawn_task` and `TaskGroup`; *tokio* is `LocalSet::spawn_local` and `JoinSet::spawn_local`. The
//! exercises use no descriptors and no timers, so nearly all instructions of a process are those of spawning, polling, ending
//! and joining.

use crate::machine::{cores, heap, sys};
use crate::orders::peer::Peer;
use crate::orders::tasks::{TaskExercise, TaskOrder};
use async_epoll::{LocalRuntime, Spawner, TaskGroup};
use futures::StreamExt;
use std::future::pending;
use std::io;
use tokio::task::{JoinSet, LocalSet};

/// The kernel ends the process after this number of seconds.
const TIME_LIMIT: u32 = 120;
/// Tasks at a time.
const ROUND: usize = 100;

/// Carries out an order, and prints its figure on a line.
pub(crate) fn perform(order: &TaskOrder) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(TIME_LIMIT);
    cores::pin_to_server_core()?;
    heap::count();
    let rounds = order.count.div_ceil(ROUND);
    let allocations = match order.peer {
        Peer::Ours => on_ours(order.exercise, rounds)?,
        Peer::Tokio => on_tokio(order.exercise, rounds)?,
        Peer::Raw => return Err(io::Error::other("raw has no tasks")),
    };
    println!("{}", allocations as f64 / (rounds * ROUND) as f64);
    Ok(())
}

/// Runs a round once for the first allocations, and then `rounds` times. Returns the number of allocations.
async fn repeat(rounds: usize, mut round: impl AsyncFnMut() -> io::Result<()>) -> io::Result<u64> {
    round().await?;
    let before = heap::allocations();
    for _ in 0..rounds {
        round().await?;
    }
    Ok(heap::allocations() - before)
}

/// Runs an exercise on our runtime.
fn on_ours(exercise: TaskExercise, rounds: usize) -> io::Result<u64> {
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    match exercise {
        TaskExercise::Handle => runtime.try_run_until(repeat(rounds, async || ours_handle(&spawner).await)),
        TaskExercise::Abort => runtime.try_run_until(repeat(rounds, async || ours_abort(&spawner).await)),
        TaskExercise::Group => runtime.try_run_until(repeat(rounds, async || ours_group(&spawner).await)),
        TaskExercise::Drop => runtime.try_run_until(repeat(rounds, async || ours_drop(&spawner).await)),
    }
}

/// Spawns tasks with handles, and awaits them.
async fn ours_handle(spawner: &Spawner) -> io::Result<()> {
    let mut tasks = Vec::with_capacity(ROUND);
    for number in 0..ROUND {
        tasks.push(spawner.spawn_task(async move { number })?);
    }
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await?, number);
    }
    Ok(())
}

/// Spawns tasks that wait, aborts them, and awaits them.
async fn ours_abort(spawner: &Spawner) -> io::Result<()> {
    let mut tasks = Vec::with_capacity(ROUND);
    for _ in 0..ROUND {
        tasks.push(spawner.spawn_task(pending::<usize>())?);
    }
    async_epoll::yield_now().await;
    tasks.iter().for_each(async_epoll::TaskHandle::abort);
    for task in tasks {
        assert!(task.await.is_err());
    }
    Ok(())
}

/// Spawns tasks into a group, and reads their results.
async fn ours_group(spawner: &Spawner) -> io::Result<()> {
    let mut group = TaskGroup::with_spawner(spawner);
    for number in 0..ROUND {
        group.spawn(async move { number }).await?;
    }
    let mut sum = 0;
    while let Some(result) = group.next().await {
        sum += result?;
    }
    assert_eq!(sum, ROUND * (ROUND - 1) / 2);
    Ok(())
}

/// Spawns tasks that wait into a group, and drops the group.
async fn ours_drop(spawner: &Spawner) -> io::Result<()> {
    let group = TaskGroup::with_spawner(spawner);
    for _ in 0..ROUND {
        group.spawn(pending::<usize>()).await?;
    }
    async_epoll::yield_now().await;
    drop(group);
    Ok(())
}

/// Runs an exercise on tokio's current_thread runtime, with sockets enabled, as ours has them.
fn on_tokio(exercise: TaskExercise, rounds: usize) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let set = LocalSet::new();
    match exercise {
        TaskExercise::Handle => runtime.block_on(set.run_until(repeat(rounds, tokio_handle))),
        TaskExercise::Abort => runtime.block_on(set.run_until(repeat(rounds, tokio_abort))),
        TaskExercise::Group => runtime.block_on(set.run_until(repeat(rounds, tokio_group))),
        TaskExercise::Drop => runtime.block_on(set.run_until(repeat(rounds, tokio_drop))),
    }
}

/// Spawns tasks with handles, and awaits them.
async fn tokio_handle() -> io::Result<()> {
    let mut tasks = Vec::with_capacity(ROUND);
    for number in 0..ROUND {
        tasks.push(tokio::task::spawn_local(async move { number }));
    }
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await?, number);
    }
    Ok(())
}

/// Spawns tasks that wait, aborts them, and awaits them.
async fn tokio_abort() -> io::Result<()> {
    let mut tasks = Vec::with_capacity(ROUND);
    for _ in 0..ROUND {
        tasks.push(tokio::task::spawn_local(pending::<usize>()));
    }
    tokio::task::yield_now().await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    for task in tasks {
        assert!(task.await.is_err());
    }
    Ok(())
}

/// Spawns tasks into a set, and reads their results.
async fn tokio_group() -> io::Result<()> {
    let mut set = JoinSet::new();
    for number in 0..ROUND {
        set.spawn_local(async move { number });
    }
    let mut sum = 0;
    while let Some(result) = set.join_next().await {
        sum += result?;
    }
    assert_eq!(sum, ROUND * (ROUND - 1) / 2);
    Ok(())
}

/// Spawns tasks that wait into a set, and drops the set. The tasks are dropped in the next turn, which is awaited.
async fn tokio_drop() -> io::Result<()> {
    let mut set = JoinSet::new();
    for _ in 0..ROUND {
        set.spawn_local(pending::<usize>());
    }
    tokio::task::yield_now().await;
    drop(set);
    tokio::task::yield_now().await;
    Ok(())
}
