//! A reactor inside another event loop, the *host*: here an epoll loop that is written by hand.
//!
//! ```sh
//! cargo run --example embedded_epoll  # ends by itself
//! ```
//!
//! The idea: a program already has an event loop (a game, a user interface, a C library), and wants async tasks on the
//! same thread. Two loops cannot both sleep. But a reactor that is built with `embedded` has a descriptor that is
//! readable whenever the reactor has work: a socket is ready, a timer is due, a task was woken or spawned. So the host
//! watches one more descriptor, and runs a turn of the reactor, its *guest*, when the descriptor is readable.

use async_epoll::Reactor;
use async_net_lite::TcpListener;
use examples::{Args, echo, exit_code, report, say};
use futures::executor::LocalPool;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{read, retry_on_intr};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use std::cell::Cell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// How many clients there are, and so how many connections.
const CLIENTS: usize = 10;
/// The period of the host's own clock: two milliseconds.
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// The host's token for the descriptor of its clock.
const CLOCK: u64 = 0;
/// The host's token for the descriptor of the guest.
const GUEST: u64 = 1;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some(listener) = Args::listen("A server and its clients inside an epoll loop that is written by hand.")? else {
        return Ok(());
    };

    // The guest.
    let (mut reactor, mut pool) = (Reactor::builder().embedded().build()?, LocalPool::new());
    let spawner = reactor.spawner(&pool);
    let listener = TcpListener::from_std(listener, &reactor.handle())?;
    let address = listener.local_addr()?;
    let connections = listener.incoming().take(CLIENTS);
    let server = connections.try_for_each_concurrent(None, echo::serve);
    spawner.spawn(server.map(report))?;
    let echoes = Rc::new(Cell::new(0));
    for _ in 0..CLIENTS {
        let echoes = Rc::clone(&echoes);
        let client = echo::ask(address).map_ok(move |_| echoes.set(echoes.get() + echo::LINES));
        spawner.spawn(client.map(report))?;
    }

    // The host.
    let clock = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    timerfd_settime(&clock, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: PERIOD, it_value: PERIOD })?;
    let host = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&host, &clock, EventData::new_u64(CLOCK), EventFlags::IN)?;
    epoll::add(&host, &reactor, EventData::new_u64(GUEST), EventFlags::IN)?;
    let (mut ticks, mut turns, mut events) = (0, 0, Vec::with_capacity(2));
    while spawner.live_tasks() > 0 {
        retry_on_intr(|| epoll::wait(&host, spare_capacity(&mut events), None))?;
        for event in events.drain(..) {
            if event.data.u64() == GUEST {
                // A turn of the guest: take the events without sleeping, and poll the tasks that were woken.
                reactor.wait(Some(Duration::ZERO))?;
                pool.run_until_stalled();
                turns += 1;
            } else {
                read(&clock, &mut [0; 8])?;
                ticks += 1;
            }
        }
    }
    say(&format!("the guest's {CLIENTS} clients had {} echoes, in {turns} turns", echoes.get()));
    say(&format!("the host's clock ticked {ticks} times meanwhile, on the same thread"));
    Ok(())
}
