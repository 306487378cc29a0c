//! Helpers of the tests. The tests themselves are in `tests/tests`, one file per subject. Each test describes the checked
//! guarantee, and cites the entries of the bug catalogue (such as `A1`) that it covers.
//!
//! ```text
//!   tests/tests/*.rs         one program per file
//!        │      │
//!        │      ▼
//!        │   common/         helpers that use the crates under test: block_on, everywhere, pairs, waits
//!        ▼      ▼
//!     guards  wakers  deferred  addresses  folder  process  time          std alone
//!        ▼
//!       sys                  system calls, the only unsafe code
//! ```
//!
//! - [`watchdog`] ends a test that hangs; [`alone`] also keeps the other tests of the program waiting.
//! - [`thread_cpu`] and [`process_cpu`] find a spinning loop by its CPU time; a wall clock would not show one.
//! - [`CountingWaker`] counts its wakes, [`waker_fn`] calls a closure; [`hostile_waker`] also calls its closure when the
//!   waker is cloned and dropped.
//! - [`full_listener`] is a listener with a full backlog: connecting stays pending.
//! - [`yield_now`] lets other tasks run first. [`later`] calls a closure on another thread, [`OnDrop`] when it is dropped.
//! - [`Folder`] and [`abstract_name`] are places for Unix sockets; [`noise`] is data for files and streams.
//! - [`in_child`] runs a test in a process of its own, [`in_own_network`] also in a network of its own.
//! - [`open_fds`] finds leaked descriptors, [`epoll_entries`] what is left in epoll, [`CountingAllocator`] leaked memory.
//! - [`refuse`] makes a system call fail on one thread.
//! - [`p99`] is for latencies.
//!
//! The helpers are a library and not a module of each test program: they are compiled once, and a helper unused in one
//! program causes no warning.

#![allow(clippy::missing_panics_doc, reason = "a helper of a test that panics fails the test, which is its job")]

pub mod common;
mod guards;
mod time;
mod wakers;
mod deferred;
mod addresses;
mod folder;
mod process;
mod sys;

pub use addresses::{FullListener, LOCALHOST, abstract_name, full_listener, has_ipv6, std_tcp_pair};
pub use deferred::{OnDrop, later};
pub use folder::{Folder, noise};
pub use guards::{Alone, Watchdog, alone, watchdog};
pub use process::{epoll_entries, in_child, in_own_network, open_fds};
pub use sys::{
    CountingAllocator, Forked, IdleChild, SignalSender, SignalStorm, WakerAct, WakerCall, allocations, bind_full_path,
    clone_within, close_raw, eventfd, fork, fork_and_run, fork_idle_child, fork_within, hostile_waker,
    ignore_meanwhile, ignore_signal, interrupt_this_thread, limit_memory, limit_open_files, live_heap, move_fd_high,
    new_pid_namespace, packet_mode, packet_pipe, pass_id_on, pipe, process_cpu, refuse, reopen_at, report_icmp_errors,
    restore_default_sigpipe, send_signal, send_with_fd, set_loopback_up, set_option_of_number, set_socket_option,
    signal_descriptor, socket_option, socket_options, thread_cpu,
};
pub use time::{HOUR, TIME, millis, p99, strict_timing};
pub use wakers::{CountingWaker, waker_fn, yield_now};

/// The program in the README is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// So is each block of the page for users of other runtimes.
#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from.md")]
pub struct ComingFrom;
