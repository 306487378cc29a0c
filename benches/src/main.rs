//! Measures async-epoll, async-net-lite and async-timeout beside their peers: `run CASE…`, `run all`.
//!
//! One binary plays every part. `run` is the conductor: for each measurement it starts a server (`serve`) and a load
//! generator (`load`) as child processes, each pinned to a core of its own, and compares their reports. `README.md`
//! describes the cases and how to read the tables.
//!
//! ```text
//!   main ─▶ args ─▶ run ─▶ cases ─▶ children            the conductor
//!     │                      │         │
//!     └────▶ parts ──────────┤         │                a child: a server, a load generator, timers, …
//!              │             ▼         ▼
//!              └──▶ orders   figures   machine          the ground floor: these do not know each other
//! ```

mod machine;
mod figures;
mod orders;
mod parts;
mod children;
mod cases;
mod run;
mod args;

use args::Command;
use parts::{load, proxies, reads, servers, tasks, timers, wakes};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("{message}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let result = match command {
        Command::Help => {
            println!("{}", args::USAGE);
            Ok(())
        }
        Command::Run(run) => run::run(&run),
        Command::Serve(service) => servers::serve(&service),
        Command::Load(target) => load::generate(&target),
        Command::Timers(order) => timers::perform(&order),
        Command::Reads(order) => reads::read(&order),
        Command::Wakes(order) => wakes::wake(&order),
        Command::Tasks(order) => tasks::perform(&order),
        Command::Proxy(order) => proxies::proxy(&order),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}
