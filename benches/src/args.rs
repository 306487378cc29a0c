//! The command line, parsed by hand: a dozen words need no parser of their own.
//!
//! [`Service`] and [`Target`] are also what the conductor wants of its children; they turn themselves back into
//! arguments, so that the two directions stand side by side.

use crate::cases::{self, Case, Effort};
use crate::load::Traffic;
use crate::proxies::Haul;
use crate::reads;
use crate::servers::{Peer, Protocol};
use crate::timers;
use crate::wakes::Bout;
use std::str::FromStr;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: benches run CASE… [--quick] [--pairs N]     measure, and print a table for each case
       benches all [--quick] [--pairs N]           every case, and write RESULTS.md and plots/

  CASE       E1 throughput  E2 system calls  E3 instructions  E4 large requests  C1 C2 connections
             M1 memory  M2 memory given back
             T1 T2 T3 T4 one timeout  T5 T6 many timers  T7 lone sleeps  T8 reads with a limit
             W1 wakes  F1 fairness  H1 hyper  U1 datagrams  P1 proxy, or `all`
  --quick    fewer pairs and shorter runs: shows that everything works, its figures are not to be quoted
  --pairs N  interleaved rounds of all cases but E2, E3, C1, M1 and M2 (E1 and H1 need 25 for a claim)

The parts, which `run` starts by itself:
       benches serve ours|raw|tokio [--protocol echo|http|http-flat|http-timed] [--port P] [--connections N] [--defer-accept]
                     [--close-first] [--count-heap]
       benches serve ours|tokio --datagrams BATCH [--port P]
       benches load echo|bulk|http|connect|firehose|datagrams --port P --connections N --size BYTES [--close-first]
       benches timers PEER ready|earliest|latest|churn|storm|bytes|lone --count N
       benches reads bare|ours|tokio-timeout|tokio-reset --count N
       benches wakes ours|tokio --connections TASKS --count ROUNDS
       benches proxy ours|tokio --connections N --count MIB";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Run),
    Serve(Service),
    Load(Target),
    Timers(timers::Order),
    Reads(reads::Order),
    Wakes(Bout),
    Proxy(Haul),
}

/// Cases to measure.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) effort: Effort,
    /// Every case was asked for, so the results are written to files.
    pub(crate) all: bool,
}

/// What a server does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) peer: Peer,
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// 0 for any free port.
    pub(crate) port: u16,
    /// The server ends after so many connections; `None` to serve until killed.
    pub(crate) connections: Option<u64>,
    /// Set `TCP_DEFER_ACCEPT` on the listener.
    pub(crate) defer_accept: bool,
    /// Close after the first answer instead of waiting for the client to.
    pub(crate) close_first: bool,
    /// Count the bytes of the heap, and tell them when asked.
    pub(crate) count_heap: bool,
    /// Echo datagrams instead, so many at a time.
    pub(crate) datagrams: Option<usize>,
}

impl Service {
    /// Echoes on any port until killed.
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            protocol: Protocol::Echo,
            port: 0,
            connections: None,
            defer_accept: false,
            close_first: false,
            count_heap: false,
            datagrams: None,
        }
    }

    /// The command line that asks for this.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["serve".into(), self.peer.to_string(), "--port".into(), self.port.to_string()];
        args.extend(["--protocol".into(), self.protocol.to_string()]);
        if let Some(connections) = self.connections {
            args.extend(["--connections".into(), connections.to_string()]);
        }
        args.extend(self.defer_accept.then(|| "--defer-accept".into()));
        args.extend(self.close_first.then(|| "--close-first".into()));
        args.extend(self.count_heap.then(|| "--count-heap".into()));
        if let Some(batch) = self.datagrams {
            args.extend(["--datagrams".into(), batch.to_string()]);
        }
        args
    }
}

/// What a load generator does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) traffic: Traffic,
    /// Where the server listens, on 127.0.0.1.
    pub(crate) port: u16,
    /// How many at a time; beside the firehose, if it is one; datagrams, if it is such.
    pub(crate) connections: usize,
    /// Bytes of a request and of its answer.
    pub(crate) size: usize,
    /// The server closes first, after its answer.
    pub(crate) close_first: bool,
}

impl Target {
    /// The command line that asks for this.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["load".into(), self.traffic.to_string()];
        args.extend(["--port".into(), self.port.to_string(), "--connections".into(), self.connections.to_string()]);
        args.extend(["--size".into(), self.size.to_string()]);
        args.extend(self.close_first.then(|| "--close-first".into()));
        args
    }
}

/// Every flag there is, before it is known which command it belongs to.
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
    /// How many connections, or tasks, at a time.
    fn connections(&self) -> Result<usize, String> {
        usize::try_from(self.connections.unwrap_or(1)).map_err(|error| error.to_string())
    }
}

/// Understands the command line, or says what is wrong with it.
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
            timers::Order::new(peer, exercise.parse()?, count).map(Command::Timers)
        }
        ["reads", way] => {
            let count = flags.count.ok_or("reads needs --count")?;
            reads::Order::new(way, count).map(Command::Reads)
        }
        ["wakes", peer] => {
            let rounds = flags.count.ok_or("wakes needs --count")?;
            Ok(Command::Wakes(Bout { peer: peer.parse()?, tasks: flags.connections()?, rounds }))
        }
        ["proxy", peer] => {
            let mib = flags.count.ok_or("proxy needs --count")?;
            Ok(Command::Proxy(Haul { peer: peer.parse()?, connections: flags.connections()?, mib }))
        }
        _ => Err("say what to run".into()),
    }
}

/// The value of an option.
fn value<T: FromStr>(option: &str, value: Option<String>) -> Result<T, String> {
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("{option} needs a number"))
}

/// The cases by name.
fn run(names: &[&str], flags: &Flags) -> Result<Command, String> {
    let all = names.iter().any(|name| name.eq_ignore_ascii_case("all"));
    let cases = if all {
        cases::ALL.iter().collect()
    } else {
        let find = |name: &&str| cases::find(name).ok_or_else(|| format!("there is no case {name}"));
        names.iter().map(find).collect::<Result<_, _>>()?
    };
    let pairs = flags.pairs.unwrap_or(if flags.quick { 3 } else { 9 }).max(1);
    Ok(Command::Run(Run { cases, effort: Effort { quick: flags.quick, pairs }, all }))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let order = timers::Order::new("tokio", timers::Exercise::Storm, 7).unwrap();
        let Ok(Command::Timers(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
        let order = reads::Order::new("ours", 7).unwrap();
        let Ok(Command::Reads(parsed)) = parse(order.to_args().into_iter()) else { panic!("no order") };
        assert_eq!(format!("{parsed:?}"), format!("{order:?}"));
        let bout = Bout { peer: Peer::Tokio, tasks: 3, rounds: 7 };
        let Ok(Command::Wakes(parsed)) = parse(bout.to_args().into_iter()) else { panic!("no bout") };
        assert_eq!(format!("{parsed:?}"), format!("{bout:?}"));
        let haul = Haul { peer: Peer::Tokio, connections: 3, mib: 7 };
        let Ok(Command::Proxy(parsed)) = parse(haul.to_args().into_iter()) else { panic!("no haul") };
        assert_eq!(format!("{parsed:?}"), format!("{haul:?}"));
    }

    #[test]
    fn all_names_every_case_and_nonsense_is_refused() {
        let Ok(Command::Run(run)) = parse(words("all --quick")) else { panic!("no run") };
        assert!(run.all && run.effort.quick && run.cases.len() == cases::ALL.len());
        assert!(parse(words("run E9")).is_err());
        assert!(parse(words("run E1 --pairs many")).is_err());
        assert!(parse(words("run")).is_err());
    }
}
