//! The whole process of a load generator: connect, then carry out orders until the input ends.

use super::bulk::{self, Bulk};
use super::client::BUFFER;
use super::closed_loop::run;
use super::connect::Connect;
use super::datagrams::Datagrams;
use super::echo::Echo;
use super::firehose::Firehose;
use crate::machine::cores;
use crate::machine::sys::{self, NO_EVENT};
use crate::orders::load::{LoadOrder, LoadOutcome, Target, Traffic};
use std::io::{self, BufRead, Write};

/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// Connects, and carries out orders until standard input ends.
pub(crate) fn generate(target: &Target) -> io::Result<()> {
    sys::raise_file_limit()?;
    cores::pin_to_load_core()?;
    let largest = if target.traffic == Traffic::Bulk { bulk::LARGEST } else { BUFFER - 1 };
    if !(1..=largest).contains(&target.size) {
        return Err(io::Error::other(format!("the size must be from 1 to {largest}")));
    }
    let mut events = [NO_EVENT; EVENTS];
    match target.traffic {
        Traffic::Echo | Traffic::Http => serve_orders(Echo::new(target)?, |load, order| run(load, order, &mut events)),
        Traffic::Bulk => serve_orders(Bulk::new(target)?, |load, order| run(load, order, &mut events)),
        Traffic::Connect => serve_orders(Connect::new(target)?, |load, order| run(load, order, &mut events)),
        Traffic::Datagrams => serve_orders(Datagrams::new(target)?, |load, order| load.run(order)),
        Traffic::Firehose => serve_orders(Firehose::new(target)?, |load, order| load.run(order, &mut events)),
    }
}

/// Reports that everything is connected, then reads orders and prints outcomes until the input ends.
fn serve_orders<L>(
    mut load: L,
    mut carry_out: impl FnMut(&mut L, LoadOrder) -> io::Result<LoadOutcome>,
) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output)?;
    for line in io::stdin().lock().lines() {
        let outcome = carry_out(&mut load, line?.parse()?)?;
        writeln!(output, "{}", outcome.to_line())?;
    }
    Ok(())
}
