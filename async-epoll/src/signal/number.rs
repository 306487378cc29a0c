//! The names of signals, and which of them a process can listen for.

use std::fmt;
use std::io;

/// A signal, by its number: see [`signal(7)`](https://man7.org/linux/man-pages/man7/signal.7.html).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use async_epoll::Signal;
///
/// assert_eq!(Signal::from_raw(15)?, Signal::TERM);
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert!(Signal::from_raw(0).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// Defines the constants of [`Signal`], and the table of their names.
macro_rules! names {
    ($($name:ident = $number:ident, $about:literal;)*) => {
        impl Signal {
            $(
                #[doc = $about]
                pub const $name: Self = Self(libc::$number);
            )*
        }

        /// The names of all signals but the real-time signals.
        const NAMES: &[(Signal, &str)] = &[$((Signal::$name, stringify!($number)),)*];
    };
}

names! {
    HUP = SIGHUP, "The terminal is gone; many daemons read their configuration again.";
    INT = SIGINT, "Ctrl-C.";
    QUIT = SIGQUIT, "Ctrl-\\: ends the process with a core dump.";
    ILL = SIGILL, "An instruction is not valid. No listener.";
    TRAP = SIGTRAP, "A breakpoint.";
    ABRT = SIGABRT, "The process has called `abort(3)`. No listener.";
    BUS = SIGBUS, "An access to memory has failed. No listener.";
    FPE = SIGFPE, "An arithmetic operation has failed. No listener.";
    KILL = SIGKILL, "Ends the process at once. No listener.";
    USR1 = SIGUSR1, "For the program's own use.";
    SEGV = SIGSEGV, "An access to memory is not valid. No listener.";
    USR2 = SIGUSR2, "For the program's own use.";
    PIPE = SIGPIPE, "A write to a pipe or socket that has no reader. Rust's start-up code ignores this signal.";
    ALRM = SIGALRM, "The timer of `alarm(2)` or `setitimer(2)`.";
    TERM = SIGTERM, "Asks the process to end: what `kill(1)` and service managers send.";
    CHLD = SIGCHLD, "A child has ended, stopped or continued.";
    CONT = SIGCONT, "Continues a stopped process. A listener hears that; the process continues whatever it does.";
    STOP = SIGSTOP, "Stops the process. No listener.";
    TSTP = SIGTSTP, "Ctrl-Z. With a listener, the process does not stop.";
    TTIN = SIGTTIN, "A background process reads from its terminal.";
    TTOU = SIGTTOU, "A background process writes to its terminal.";
    URG = SIGURG, "Urgent data is at a socket.";
    XCPU = SIGXCPU, "The limit of CPU time is exceeded.";
    XFSZ = SIGXFSZ, "The limit of a file's size is exceeded.";
    VTALRM = SIGVTALRM, "The timer of CPU time in user mode.";
    PROF = SIGPROF, "The timer of CPU time.";
    WINCH = SIGWINCH, "The window of the terminal has another size.";
    IO = SIGIO, "A descriptor is ready, with `O_ASYNC`.";
    PWR = SIGPWR, "The power fails.";
    SYS = SIGSYS, "A system call is not valid, or is refused by `seccomp(2)`.";
}

impl Signal {
    /// Returns the signal with this number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no such signal, or if the C library uses the signal itself (32 and 33 with glibc).
    pub fn from_raw(number: i32) -> io::Result<Self> {
        let is_real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number);
        // 1 to 31 are the standard signals. There is one without a constant here: 16, `SIGSTKFLT`, unused.
        let message = match number {
            1..=31 => return Ok(Self(number)),
            _ if is_real_time => return Ok(Self(number)),
            32..=64 => "the C library uses this signal itself",
            _ => "there is no signal with this number: they go from 1 to 64",
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("signal {number}: {message}")))
    }

    /// Returns the number of the signal.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Fails, and says why, if a process cannot listen for the signal.
    pub(crate) fn check_listener(self) -> io::Result<()> {
        let reason = match self {
            Self::KILL | Self::STOP => "the kernel lets no process listen for it",
            Self::SEGV | Self::BUS | Self::ILL | Self::FPE => {
                "an instruction of the program has failed, and would be repeated without end if a handler returned"
            }
            Self::ABRT => "the process has called abort(3), which ends it before a listener could run",
            _ => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("cannot listen for {self}: {reason}")))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(signal, _)| signal == self) {
            Some((_, name)) => f.pad(name),
            None if self.0 < 32 => f.pad("SIGSTKFLT"),
            None => f.pad(&format!("SIGRTMIN+{}", self.0 - libc::SIGRTMIN())),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<i32> for Signal {
    type Error = io::Error;

    fn try_from(number: i32) -> io::Result<Self> {
        Self::from_raw(number)
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}
