//! How a program speaks to its user and ends: lines, never a backtrace.

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints a line to standard output.
///
/// `println!` panics if nobody reads there any more, as with `program | head -1`. A server has better things to do.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The same error, with what was being done when it came.
pub fn because(what: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// For the end of a task whose result nobody awaits: prints why it has failed, if it has.
pub fn report(result: io::Result<()>) {
    if let Err(error) = result {
        say(&format!("a task failed: {error}"));
    }
}

/// For the end of `main`: 0, or 1 with one line on standard error.
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
