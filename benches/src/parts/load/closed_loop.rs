//! The epoll loop of echo, connect and bulk.

use super::job::{Job, SILENCE};
use crate::machine::sys::{Epoll, epoll_event};
use crate::orders::load::{LoadOrder, LoadOutcome};
use std::io::{self, ErrorKind};

/// A kind of load in which each answer allows the next request.
pub(super) trait ClosedLoop {
    /// Sends the first requests, as many as may be in flight.
    fn begin(&mut self, job: &mut Job) -> io::Result<()>;
    /// Handles an event of the connection with this token.
    fn receive(&mut self, token: usize, job: &mut Job) -> io::Result<()>;
    /// Returns the epoll instance of the connections.
    fn epoll(&self) -> &Epoll;
}

/// Carries out an order. The kernel's events are written to `events`.
pub(super) fn run(load: &mut dyn ClosedLoop, order: LoadOrder, events: &mut [epoll_event]) -> io::Result<LoadOutcome> {
    let mut job = Job::new(order);
    load.begin(&mut job)?;
    while job.outstanding() > 0 {
        let count = load.epoll().wait(events, Some(SILENCE))?;
        if count == 0 {
            return Err(io::Error::new(ErrorKind::TimedOut, "the server has fallen silent"));
        }
        for event in &events[..count] {
            load.receive(usize::try_from(event.u64).unwrap_or(usize::MAX), &mut job)?;
        }
    }
    Ok(job.finish())
}
