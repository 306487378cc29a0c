//! What is done on a connection, in which direction, and what comes of it.

/// A direction of a connection. At most one task waits for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    /// Returns the other direction.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
        }
    }
}

/// An operation on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
    Close,
}

impl Operation {
    /// Returns the direction of the operation.
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Read => Direction::Read,
            Self::Write | Self::Flush | Self::Close => Direction::Write,
        }
    }
}

/// The outcome of an operation that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// This number of bytes, not 0, was written.
    Written(usize),
    /// This number of bytes was read and taken: 0 if the buffer was empty.
    Taken(usize),
    /// The reader has this number of bytes, not 0, in its buffer, and shows them.
    Shown(usize),
    /// No byte is left to flush. The flush has certainly moved bytes only if it had to wait before.
    Flushed,
    /// No byte will follow in this direction.
    Ended,
    /// An error, or a write of no byte although the buffer had bytes.
    Failed,
    /// There was nothing to write.
    Nothing,
}
