//! Helpers that the programs of this folder share, so that each program can keep to its own idea.
//!
//! The modules are in reading order. README.md of this folder lists the programs.

mod args;
pub use args::{Args, address};

mod usage;
pub use usage::Usage;

mod exit;
pub use exit::{because, exit_code, report, say, warn};

pub mod trace;

mod file;
pub use file::open_regular;

mod line;
pub use line::next_line;

pub mod http;

pub mod echo;
