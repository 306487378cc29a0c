//! Output and exit of a program: lines, never a backtrace.

use async_net_lite::AcceptReport;
use std::env;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints a line to standard output.
///
/// `println!` panics if the reader of a pipe has gone, as with `program | head -1`. A server must not end for this
/// reason, so errors are ignored here.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Returns a function for `map_err` that puts `what` (what the program was doing) before the error's message.
pub fn because(what: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Prints what a server does not see otherwise to standard error: that it has run out of descriptors, for example.
pub fn warn(report: &AcceptReport<'_>) {
    // As for `say`: a closed pipe must not end a server.
    let _ = writeln!(io::stderr(), "warning: {report}");
}

/// Prints the error of a task without a handle, if the task has failed.
pub fn report(result: io::Result<()>) {
    if let Err(error) = result {
        say(&format!("a task failed: {error}"));
    }
}

/// Returns the exit code for `main`: 0 for success. For an error 1, and prints one line to standard error.
pub fn exit_code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let program = env::args_os().next().map(PathBuf::from).unwrap_or_default();
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let _ = writeln!(io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
