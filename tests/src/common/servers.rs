//! A server beside its clients in one loop, and a handler that does what its client says.

use crate::{TIME, watchdog};
use async_epoll::LocalRuntime;
use async_net_lite::server::{Connection, Handler, HandlerResult, Next, Report, Server};
use async_net_lite::{TcpListener, TcpStream};
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Runs a server in a task, and `clients` beside it, until both are ready. `clients` has to stop the server. Checks that the report adds
/// up, and that no task is left.
pub fn serve_in<T>(runtime: &mut LocalRuntime, server: Server, clients: impl Future<Output = T>) -> (Report, T) {
    let _watchdog = watchdog(TIME);
    let spawner = runtime.spawner();
    // A task of its own, which is polled only if something wakes it.
    let serve = spawner.spawn_task(server.serve(&spawner)).expect("a pool");
    let output = runtime.run_until(clients).expect("a reactor that works");
    let report = runtime.run_until(serve).expect("a reactor that works").expect("a server that does not panic");
    let report = report.expect("a server that works");
    assert_eq!((report.ended(), report.active), (report.accepted, 0), "{report}");
    assert_eq!(spawner.live_tasks(), 0, "a task is left");
    (report, output)
}

/// Returns a runtime, a listener of its reactor on a free port, and the address.
pub fn listening() -> (LocalRuntime, TcpListener, SocketAddr) {
    let mut runtime = LocalRuntime::new().expect("a reactor");
    let listener = runtime.run_until(TcpListener::bind(crate::LOCALHOST)).expect("a reactor").expect("a listener");
    let address = listener.local_addr().expect("an address");
    (runtime, listener, address)
}

/// A handler that obeys its client: each byte is a command, and is sent back when it is done.
///
/// | byte | what the handler does |
/// |---|---|
/// | `e` | nothing more |
/// | `s` | sleeps for 20 ms |
/// | `w` | waits for ever |
/// | `c` | returns |
/// | `f` | returns an error |
/// | `p` | panics in a poll |
/// | `d` | returns, and panics when its future is dropped |
/// | `b` | fills the peer's buffers until it takes no more |
/// | `l` | sends a kilobyte and returns, without reading on |
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// The number of handlers that run.
    pub running: Rc<Cell<usize>>,
    /// The number of handlers' futures that were dropped.
    pub dropped: Rc<Cell<usize>>,
}

/// Counts a running handler.
struct Running(Commands);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in the drop, on purpose");
        }
    }
}

impl Commands {
    /// Obeys one connection.
    async fn obey(self, mut connection: Connection) -> io::Result<()> {
        self.running.set(self.running.get() + 1);
        let _running = Running(self);
        let mut bomb = None;
        while connection.idle().await? == Next::Data {
            let mut command = [0];
            if connection.read(&mut command).await? == 0 {
                break;
            }
            match command[0] {
                b's' => async_timeout::sleep(Duration::from_millis(20)).await,
                b'w' => std::future::pending().await,
                b'f' => return Err(io::Error::other("failed on purpose")),
                b'p' => panic!("in a poll, on purpose"),
                b'd' => bomb = Some(Bomb),
                b'b' => loop {
                    connection.write_all(&[b'b'; 64 * 1024]).await?;
                },
                b'l' => {
                    connection.write_all(&[b'l'; 1024]).await?;
                    return Ok(());
                }
                _ => {}
            }
            if bomb.is_some() {
                return Ok(());
            }
            connection.write_all(&command).await?;
            if command[0] == b'c' {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Handler for Commands {
    fn handle<'a, 'b>(&'a self, connection: Connection) -> LocalBoxFuture<'b, HandlerResult>
    where
        'a: 'b,
        Self: 'b,
    {
        let obey = self.clone().obey(connection);
        async move { Ok(obey.await?) }.boxed_local()
    }
}

/// Connects a client, sends `command` and returns the answer, up to the end of file.
///
/// # Errors
///
/// Those of the connection: a reset, for example.
pub async fn ask(address: SocketAddr, command: &[u8]) -> io::Result<Vec<u8>> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(command).await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Sends `command` and waits until it comes back.
pub fn order<'a>(client: &'a mut TcpStream, command: u8) -> BoxFuture<'a, io::Result<()>> {
    async move {
        client.write_all(&[command]).await?;
        let mut answer = [0];
        client.read_exact(&mut answer).await?;
        assert_eq!(answer, [command]);
        Ok(())
    }
    .boxed()
}

/// Waits until `condition` is true.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        async_timeout::sleep(Duration::from_micros(500)).await;
    }
}
