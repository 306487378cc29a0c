//! Measures async-epoll, async-net-lite and async-timeout beside their peers: `run CASE…`, `run all`.
//!
//! One binary plays every part. `run` is the conductor: for each measurement it starts a server (`serve`) and a load
//! generator (`load`) as child processes, each kept on a core of its own, and compares what they report. `README.md`
//! says what is measured and how to read the tables.
//!
//! In reading order: [`cases`] holds the measurements, [`servers`], [`timers`], [`reads`], [`wakes`] and [`proxies`] what
//! is measured, [`load`], [`bulk`], [`firehose`] and [`datagrams`] what servers are measured with, [`child`] starts and
//! ends the processes, [`strace`], [`callgrind`], [`process`] and [`heap`] count, and [`spread`], [`table`], [`plot`] and
//! [`results`] turn figures into text.

mod args;
mod bulk;
mod callgrind;
mod cases;
mod child;
mod datagrams;
mod firehose;
mod heap;
mod histogram;
mod load;
mod plot;
mod process;
mod reads;
mod proxies;
mod results;
mod scratch;
mod servers;
mod spread;
mod strace;
mod sys;
mod table;
mod timers;
mod wakes;

use args::Command;
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
        Command::Run(run) => results::run(&run),
        Command::Serve(service) => servers::serve(&service),
        Command::Load(target) => load::generate(&target),
        Command::Timers(order) => timers::exercise(&order),
        Command::Reads(order) => reads::read(&order),
        Command::Wakes(bout) => wakes::fight(&bout),
        Command::Proxy(haul) => proxies::carry(&haul),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}
