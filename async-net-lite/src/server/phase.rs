//! The phases of a server's life, and what leads from one to the next.
//!
//! ```text
//!             stop               delay over            backlog empty
//!   Running ───────► Delaying ──────────────► Draining ─────────────► Closing ──► ended, with the last connection
//!      │                │                        │ deadline              │ deadline
//!      └────────────────┴──── abort ─────────────┴──────────► Aborting ◄─┘
//!                                                               └──────────────► ended, with the last connection
//! ```
//!
//! A phase never goes back. A cause that says nothing new, such as a second stop, changes nothing.

/// What a server does with new connections and with those that it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// Accepts and serves.
    Running,
    /// Accepts and serves, but is not ready any more: a load balancer should send its clients elsewhere.
    Delaying,
    /// Takes what is in the backlog, closes idle connections, and lets the others end.
    Draining,
    /// The listeners are closed. Waits for the last connection.
    Closing,
    /// Waits for the last of the aborted connections.
    Aborting,
}

/// What changes the phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// A stop was asked for.
    Stop,
    /// A stop without a delay was asked for, or a listener has failed.
    StopNow,
    /// An abort was asked for.
    Abort,
    /// The delay of a stop is over.
    DelayOver,
    /// Each backlog was found empty, or is given up.
    BacklogEmpty,
    /// The deadline of the stop has come.
    Deadline,
}

impl Phase {
    /// Returns the phase after `cause`.
    pub(super) const fn after(self, cause: Cause) -> Self {
        match (self, cause) {
            (Self::Running, Cause::Stop) => Self::Delaying,
            (Self::Running | Self::Delaying, Cause::StopNow) | (Self::Delaying, Cause::DelayOver) => Self::Draining,
            (Self::Draining, Cause::BacklogEmpty) => Self::Closing,
            (Self::Draining | Self::Closing, Cause::Deadline) | (_, Cause::Abort) => Self::Aborting,
            (phase, _) => phase,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause::{Abort, BacklogEmpty, Deadline, DelayOver, Stop, StopNow};
    use Phase::{Aborting, Closing, Delaying, Draining, Running};

    /// Every phase and every cause.
    #[test]
    fn phases_and_causes() {
        let causes = [Stop, StopNow, Abort, DelayOver, BacklogEmpty, Deadline];
        for (phase, after) in [
            (Running, [Delaying, Draining, Aborting, Running, Running, Running]),
            (Delaying, [Delaying, Draining, Aborting, Draining, Delaying, Delaying]),
            (Draining, [Draining, Draining, Aborting, Draining, Closing, Aborting]),
            (Closing, [Closing, Closing, Aborting, Closing, Closing, Aborting]),
            (Aborting, [Aborting; 6]),
        ] {
            for (cause, after) in causes.into_iter().zip(after) {
                assert_eq!(phase.after(cause), after, "{phase:?} {cause:?}");
                assert!(phase <= after, "a phase never goes back");
            }
        }
    }
}
