//! What the programs of this folder share. None of it is clever; it is here so that each program can keep to its idea.
//!
//! In reading order:

mod args;
pub use args::{Args, address};

mod usage;
pub use usage::Usage;

mod exit;
pub use exit::{because, exit_code, report, say};

pub mod trace;

mod interrupt;
pub use interrupt::Interrupt;

mod file;
pub use file::open_regular;

mod stdin;
pub use stdin::Stdin;

pub mod http;

pub mod echo;
