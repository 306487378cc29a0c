//! Child processes, without a thread and without a handler for SIGCHLD.
//!
//! `std::process::Command` starts the program. A [process descriptor](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
//! then stands for the child: it becomes readable when the child ends, signals sent through it reach this child and no other
//! process that has got the number, and `waitid(2)` on it collects the status of this child alone. So a
//! [`Child`](child::Child) is a source like any other, on any reactor. A child that is dropped leaves its descriptor to the
//! reactor, with a [waker that collects the status](orphan), so that no zombie stays behind.
//!
//! ```text
//!   Command::spawn_async ──► fork, exec ──► the child's process
//!           │ pidfd_open                        │ ends
//!           ▼                                   ▼
//!   Child { Source(pidfd), pipes } ◄─ edge ─ epoll
//!           │ wait: waitid(pidfd, WNOHANG)
//!           └ dropped ──► Orphan: Source(pidfd), and a waker that calls waitid(pidfd, WNOHANG)
//! ```

pub(crate) mod sys;
pub(crate) mod orphan;
pub(crate) mod child;
pub(crate) mod command;
