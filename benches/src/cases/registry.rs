//! All cases by id.

use super::case::Case;
use super::{
    connections, datagrams, echo, firehose, hyper, idle_limit, idle_memory, instructions, large_echo, lone_sleep,
    proxy, returned_memory, system_calls, tasks, timers_many, timers_one, wakes,
};

/// All cases, in the order of the results.
pub(crate) const ALL: [Case; 22] = [
    echo::E1,
    system_calls::E2,
    instructions::E3,
    large_echo::E4,
    connections::C1,
    connections::C2,
    idle_memory::M1,
    returned_memory::M2,
    timers_one::T1,
    timers_one::T2,
    timers_one::T3,
    timers_one::T4,
    timers_many::T5,
    timers_many::T6,
    lone_sleep::T7,
    idle_limit::T8,
    wakes::W1,
    tasks::G1,
    firehose::F1,
    hyper::H1,
    datagrams::U1,
    proxy::P1,
];

/// Returns the case with this id, in upper or lower case.
pub(crate) fn find(id: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.id.eq_ignore_ascii_case(id))
}
