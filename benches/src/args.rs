//! The command line, parsed by hand: a dozen words do not need a parser crate.
//!
//! The user's commands are `run` and `all`. The other commands start the parts; the conductor writes them with the
//! `to_args` methods of the orders. The tests check that every order survives this round trip.

use crate::cases::case::Effort;
use crate::cases::registry;
use crate::orders::load::Target;
use crate::orders::proxy::ProxyOrder;
use crate::orders::reads::ReadOrder;
use crate::orders::service::{Protocol, Service};
use crate::orders::tasks::TaskOrder;
use crate::orders::timers::TimerOrder;
use crate::orders::wakes::WakeOrder;
use crate::run::Run;
use std::str::FromStr;

/// The text of `--help`.
pub(crate) const USAGE: &str = "\
usage: benches run CASE… [--quick] [--pairs N]     measure, and print a table for each case
       benches all [--quick] [--pairs N]           every case, and write RESULTS.md and plots/

  CASE       E1 throughput  E2 system calls  E3 instructions  E4 large requests  C1 C2 connections
             M1 memory  M2 memory given back
             T1 T2 T3 T4 one timeout  T5 T6 many timers  T7 lone sleeps  T8 reads with a limit
             W1 wakes  G1 tasks  F1 fairness  H1 hyper  U1 datagrams  P1 proxy, or `all`
  --quick    fewer pairs and shorter runs: checks that everything works; do not quote its figures
  --pairs N  interleaved rounds of all cases but E2, E3, C1, M1, M2 and G1 (E1 and H1 need 25 for a claim)

The parts, started by `run`:
       benches serve ours|raw|tokio [--protocol echo|http|http-flat|http-timed] [--port P] [--connections N] [--defer-accept]
                     [--close-first] [--count-heap]
       benches serve ours|tokio --datagrams BATCH [--port P]
       benches load echo|bulk|http|connect|firehose|datagrams --port P --connections N --size BYTES [--close-first]
       benches timers PEER ready|earliest|latest|churn|storm|bytes|lone --count N
       benches reads bare|ours|tokio-timeout|tokio-reset --count N
       benches wakes ours|tokio --connections TASKS --count ROUNDS
       benches tasks ours|tokio handle|abort|group|drop --count TASKS
       benches proxy ours|tokio --connections N --count MIB";

/// A parsed command line.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Run),
    Serve(Service),
    Load(Target),
    Timers(TimerOrder),
    Reads(ReadOrder),
    Wakes(WakeOrder),
    Tasks(TaskOrder),
    Proxy(ProxyOrder),
}

/// The words and options of a command line, before they are matched with a command.
#[derive(Default)]
struct Flags {
    words: Vec<String>,
    quick: bool,
    pairs: Option<usize>,
    protocol: Option<Protocol>,
    port: Option<u16>,
    connections: Option<u64>,
    size: Option<usize>,
    count: Option<usize>,
    defer_accept: bool,
    close_first: bool,
    count_heap: bool,
    datagrams: Option<usize>,
}

impl Flags {
    /// Returns the value of `--connections`: connections, or tasks, at a time.
    fn connections(&self) -> Result<usize, String> {
        usize::try_from(self.connections.unwrap_or(1)).map_err(|error| error.to_string())
    }
}

/// Returns the command, or a message that says what is wrong with the command line.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut flags = Flags::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" | "help" => return Ok(Command::Help),
            "--quick" => flags.quick = true,
            "--defer-accept" => flags.defer_accept = true,
            "--close-first" => flags.close_first = true,
            "--pairs" => flags.pairs = Some(value(&arg, args.next())?),
            "--count-heap" => flags.count_heap = true,
            "--protocol" => flags.protocol = Some(args.next().ok_or("--protocol needs a name")?.parse()?),
            "--datagrams" => flags.datagrams = Some(value(&arg, args.next())?),
            "--port" => flags.port = Some(value(&arg, args.next())?),
            "--connections" => flags.connections = Some(value(&arg, args.next())?),
            "--count" => flags.count = Some(value(&arg, args.next())?),
            "--size" => flags.size = Some(value(&arg, args.next())?),
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            _ => flags.words.push(arg),
        }
    }
    let words: Vec<_> = flags.words.iter().map(String::as_str).collect();
    match words[..] {
        ["all"] => run(&["all"], &flags),
        ["run", ref names @ ..] if !names.is_empty() => run(names, &flags),
        ["serve", peer] => Ok(Command::Serve(Service {
            peer: peer.parse()?,
            protocol: flags.protocol.unwrap_or(Protocol::Echo),
            port: flags.port.unwrap_or(0),
            connections: flags.connections,
            defer_accept: flags.defer_accept,
            close_first: flags.close_first,
            count_heap: flags.count_heap,
            datagrams: flags.datagrams,
        })),
        ["load", traffic] => Ok(Command::Load(Target {
            traffic: traffic.parse()?,
            port: flags.port.ok_or("load needs --port")?,
            connections: flags.connections()?,
            size: flags.size.unwrap_or(64),
            close_first: flags.close_first,
        })),
        ["timers", peer, exercise] => {
            let count = flags.count.ok_or("timers needs --count")?;
            Ok(Command::Timers(TimerOrder { peer: peer.parse()?, exercise: exercise.parse()?, count }))
        }
        ["reads", limit] => {
            let count = flags.count.ok_or("reads needs --count")?;
            Ok(Command::Reads(ReadOrder { limit: limit.parse()?, count }))
        }
        ["wakes", peer] => {
            let rounds = flags.count.ok_or("wakes needs --count")?;
            Ok(Command::Wakes(WakeOrder { peer: peer.parse()?, tasks: flags.connections()?, rounds }))
        }
        ["tasks", peer, exercise] => {
            let count = flags.count.ok_or("tasks needs --count")?;
            Ok(Command::Tasks(TaskOrder { peer: peer.parse()?, exercise: exercise.parse()?, count }))
        }
        ["proxy", peer] => {
            let mib = flags.count.ok_or("proxy needs --count")?;
            Ok(Command::Proxy(ProxyOrder { peer: peer.parse()?, connections: flags.connections()?, mib }))
        }
        _ => Err("say what to run".into()),
    }
}

/// Parses the value of an option.
fn value<T: FromStr>(option: &str, value: Option<String>) -> Result<T, String> {
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("{option} needs a number"))
}

/// Returns the command that measures the cases with these names.
fn run(names: &[&str], flags: &Flags) -> Result<Command, String> {
    let all = names.iter().any(|name| name.eq_ignore_ascii_case("all"));
    let cases = if all {
        registry::ALL.iter().collect()
    } else {
        let find = |name: &&str| registry::find(name).ok_or_else(|| format!("there is no case {name}"));
        names.iter().map(find).collect::<Result<_, _>>()?
    };
    let pairs = flags.pairs.unwrap_or(if flags.quick { 3 } else { 9 }).max(1);
    Ok(Command::Run(Run { cases, effort: Effort { quick: flags.quick, pairs }, all }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::peer::Peer;
    use crate::orders::reads::ReadLimit;
    use crate::orders::tasks::TaskExercise;
    use crate::orders::timers::{Exercise, TimerPeer};

    fn words(line: &str) -> impl Iterator<Item = String> {
        line.split(' ').map(String::from)
    }

    #[test]
    fn a_service_survives_its_own_command_line() {
        let plain = Service::new(Peer::Raw);
        let protocol = Protocol::Http;
        let service = Service { protocol, connections: Some(7), close_first: true, datagrams: Some(9), ..plain };
        let Ok(Command::Serve(parsed)) = parse(service.to_args().into_iter()) else { panic!("no service") };
        assert_eq!(format!("{parsed:?}"), format!("{service:?}"));
    }

    #[test]
    fn the_others_survive_their_own_command_lines() {
        let order = TimerOrder { peer: TimerPeer::Tokio, exercise: Exercise::Storm, count: 7 };
        let Ok(Command::Timers(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
        let order = ReadOrder { limit: ReadLimit::Ours, count: 7 };
        let Ok(Command::Reads(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
        let order = WakeOrder { peer: Peer::Tokio, tasks: 3, rounds: 7 };
        let Ok(Command::Wakes(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
        let order = TaskOrder { peer: Peer::Tokio, exercise: TaskExercise::Group, count: 7 };
        let Ok(Command::Tasks(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
        let order = ProxyOrder { peer: Peer::Tokio, connections: 3, mib: 7 };
        let Ok(Command::Proxy(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
    }

    #[test]
    fn all_names_every_case_and_nonsense_is_refused() {
        let Ok(Command::Run(run)) = parse(words("all --quick")) else { panic!("no run") };
        assert!(run.all && run.effort.quick && run.cases.len() == registry::ALL.len());
        assert!(parse(words("run E9")).is_err());
        assert!(parse(words("run E1 --pairs many")).is_err());
        assert!(parse(words("run")).is_err());
    }
}
