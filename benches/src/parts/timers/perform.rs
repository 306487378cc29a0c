//! The whole process: carry out an order and print its figures.

use super::async_io::AsyncIo;
use super::exercises::exercise;
use super::futures_timer::FuturesTimer;
use super::monoio::Monoio;
use super::ours::Ours;
use super::tokio::Tokio;
use crate::machine::{cores, heap, sys};
use crate::orders::timers::{Exercise, TimerOrder, TimerPeer};
use async_epoll::Reactor;
use std::io;

/// The kernel ends the process after this number of seconds: a wake-up was lost.
const TIME_LIMIT: u32 = 60;

/// Carries out an order, and prints its figures on a line.
pub(crate) fn perform(order: &TimerOrder) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(TIME_LIMIT);
    // Threads started by a peer inherit this core.
    cores::pin_to_server_core()?;
    if order.exercise == Exercise::Bytes {
        heap::count();
    }
    let figures = match order.peer {
        TimerPeer::Ours => exercise(Ours(Reactor::builder()), order),
        TimerPeer::OursPrecise => exercise(Ours(Reactor::builder().precise_timers()), order),
        TimerPeer::Tokio => exercise(Tokio, order),
        TimerPeer::Monoio => exercise(Monoio, order),
        TimerPeer::AsyncIo => exercise(AsyncIo, order),
        TimerPeer::FuturesTimer => exercise(FuturesTimer, order),
    }?;
    let words: Vec<_> = figures.iter().map(f64::to_string).collect();
    println!("{}", words.join(" "));
    Ok(())
}
