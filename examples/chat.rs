//! A chat server: what a client writes, all of them read.
//!
//! ```sh
//! cargo run --release --example chat -- --addr 127.0.0.1:7979
//! nc 127.0.0.1 7979  # in two other terminals; the first line is the name
//!
//! IDLE=60 cargo run --release --example chat  # clients may be silent for 60 seconds, instead of 600
//! ```
//!
//! The idea: a server limits what its clients can make it keep, and for how long. Each client has two tasks. The first
//! reads the client's lines, whose length and number per second are limited, and puts each line into the queues of all
//! clients. The second writes the client's queue to its socket. So no client waits for another: only the second task of a
//! slow client waits. A client whose queue is full is disconnected; lines that are left out in silence would be worse.
//!
//! Ctrl-C ends the server in order: no new clients, a last line to all, and some time to take what is in the queues. A
//! second Ctrl-C ends the program at once.

use async_epoll::{Handle, Spawner, spawn_local, terminate, try_block_on};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{CancelToken, DropGuard, TimeoutExt, guard, sleep};
use examples::{Args, because, exit_code, next_line, say, warn};
use futures::{AsyncWriteExt, FutureExt, StreamExt, channel::mpsc, future::join, io};
use std::{cell::RefCell, collections::HashMap, convert::Infallible, env, process::ExitCode, rc::Rc, time::Duration};

/// How many lines may wait for a client.
const QUEUE: usize = 512;
/// How long a client that is to be disconnected may take to read its last lines.
const FLUSH: Duration = Duration::from_secs(2);

/// The clients by name: the queue of each, and what ends the client when it is removed from here. The queues share a line.
type Room = Rc<RefCell<HashMap<String, (mpsc::Sender<Rc<[u8]>>, DropGuard)>>>;

fn main() -> ExitCode {
    exit_code(try_block_on(run()))
}

/// Accepts clients until Ctrl-C or SIGTERM.
async fn run() -> io::Result<()> {
    let Some(listener) = Args::listen("A chat server.")? else { return Ok(()) };
    let listener = TcpListener::from_std(listener, &Handle::current()?)?;
    let idle = env::var("IDLE").map_or(Ok(600), |s| s.parse()).map_err(io::Error::other).map_err(because("IDLE"))?;
    let (room, stop) = (Room::default(), CancelToken::new());
    // Signals count from now on. If descriptors run out, new clients wait, and `warn` says so.
    let mut clients = listener.incoming().on_error(warn).enumerate().take_until(terminate()?);
    say(&format!("listening on {}", listener.local_addr()?));
    while let Some((number, stream)) = clients.next().await {
        spawn_local(serve(stream?, number, Rc::clone(&room), stop.child(), Duration::from_secs(idle)).map(drop))?;
    }
    drop((listener, clients));
    tell(&room, "* the server ends");
    // The queues end with their senders, and the second tasks with the queues.
    room.borrow_mut().clear();
    // Ends the clients that have not sent a name.
    stop.cancel();
    // The clients that have not taken their last lines by then are cut off.
    Spawner::current()?.idle().timeout(FLUSH).await.or(Ok(()))
}

/// Puts a line into all queues, and removes the clients whose queue is full.
fn tell(room: &Room, line: &str) {
    let line = Rc::<[u8]>::from(format!("{line}\n").as_bytes());
    room.borrow_mut().retain(|_, (queue, _)| queue.try_send(Rc::clone(&line)).is_ok());
}

/// Serves a client: reads its name, then its lines, and tells all others why it has left.
async fn serve(stream: TcpStream, number: usize, room: Room, end: CancelToken, idle: Duration) -> io::Result<()> {
    let mut reader = io::BufReader::new(guard(stream.clone()).read_idle(idle));
    // Two clients of one name have different numbers.
    let name = format!("{}#{number}", next_line(&mut reader).until(&end).await??);
    let (queue, lines) = mpsc::channel(QUEUE);
    // Lines that wait go out together, in one write. When the queue ends, this task closes the writing side.
    let write = Spawner::current()?.spawn_task(lines.map(Ok).forward(io::BufWriter::new(stream).into_sink()))?;
    room.borrow_mut().insert(name.clone(), (queue, end.drop_guard()));
    tell(&room, &format!("* {name} has joined"));
    let Err::<Infallible, io::Error>(why) = async {
        loop {
            tell(&room, &format!("{name}: {}", next_line(&mut reader).until(&end).await??));
            // The next lines wait in the kernel: no client can fill the queues of the others.
            sleep(Duration::from_millis(50)).await;
        }
    }
    .await;
    tell(&room, &format!("* {name} has left: {why}"));
    room.borrow_mut().remove(&name);
    // Reads on until the client has closed its side: closing with input unread would be a reset, which overtakes data.
    join(write.abort_on_drop(), io::copy(&mut reader, &mut io::sink())).timeout(FLUSH).await.map(drop).or(Ok(()))
}
