//! A hello-world web server: one thread, one task for each connection.
//!
//! ```sh
//! cargo run --release --example http_hello             # then open http://127.0.0.1:7878/
//! cargo run --release --example http_hello -- --trace  # shows what the reactor does
//! ```
//!
//! The idea: an `async fn` reads like blocking code, but thousands of them share one thread, because at every `.await`
//! the thread may leave the connection and go on with another. Three parts make this work. The *pool* of futures-rs
//! polls the tasks. When no task is ready, the *reactor* puts the thread to sleep in `epoll_wait`, and then wakes the
//! tasks of ready sockets. The *sockets* register with the reactor, and leave their task's waker there.
//!
//! Read `run` first, then `Connection::serve` and the methods it calls, in order.

use async_epoll::{Reactor, spawn_local, terminate_with};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{CancelToken, TimeoutExt};
use examples::http::{self, MAX_HEAD, Response, Status};
use examples::{Args, exit_code, say, trace, warn};
use futures::executor::LocalPool;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// The limit of each wait for the client: the silence between two requests, the rest of a head, and the writing of a
/// response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server still reads after it has closed its side of a connection.
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes the server still reads then, at most.
const LINGER_BYTES: usize = 64 * 1024;
/// The first size of the buffer, in bytes. Most requests are smaller; for the others the buffer grows.
const FIRST_READ: usize = 1024;

fn main() -> ExitCode {
    exit_code(run())
}

/// Runs the program, from the command line to the last printed line.
fn run() -> io::Result<()> {
    let about = "A hello-world web server on one thread.";
    let Some(args) = Args::from_env(about, "127.0.0.1:7878")? else {
        return Ok(());
    };
    if args.trace {
        trace::print(); // Before the reactor is made, to trace that too.
    }

    // A listener of std, so the program could take it from elsewhere: from a supervisor, for example.
    let listener = args.listener()?;

    // The reactor waits, and the pool polls. `spawn_local` puts tasks into the pool that is run, with wakers that end the
    // reactor's sleep.
    let mut reactor = Reactor::new()?;
    let mut pool = LocalPool::new();

    let listener = TcpListener::from_std(listener, &reactor.handle())?;
    // Listens from now on, so no Ctrl-C is missed.
    let interrupted = terminate_with(&reactor.handle())?;
    say(&format!("listening on http://{}/", listener.local_addr()?));

    // Runs this future, and beside it all tasks that are spawned meanwhile.
    let stop = CancelToken::new();
    let served = reactor.try_run_until(&mut pool, async {
        let mut served = 0_u64;
        let mut incoming = listener.incoming().on_error(warn).take_until(interrupted);
        while let Some(stream) = incoming.next().await {
            let connection = Connection::new(stream?, stop.clone());
            // An error ends only this connection: the server and the other connections go on.
            spawn_local(async { drop(connection.serve().await) })?;
            served += 1;
        }
        io::Result::Ok(served)
    })?;

    // No more clients. Connections without a request end at once, the others after their answer, within the time limits
    // of a client. `run` returns when the last task has ended.
    drop(listener);
    stop.cancel();
    reactor.run(&mut pool)?;
    say(&format!("stopped, {served} {} served", if served == 1 { "connection" } else { "connections" }));
    Ok(())
}

/// A connection with one client.
struct Connection {
    /// The socket.
    stream: TcpStream,
    /// The bytes that were read. Grows up to [`MAX_HEAD`].
    buffer: Vec<u8>,
    /// How many bytes of the buffer have been read and not yet been used: a part of a request, or several requests.
    ///
    /// A number beside the buffer, not the buffer's length: a timeout may drop a read half-way, and the number is still
    /// right then.
    filled: usize,
    /// Tells that the server is to stop.
    stop: CancelToken,
}

impl Connection {
    /// Returns a connection that has read nothing yet.
    fn new(stream: TcpStream, stop: CancelToken) -> Self {
        Self { stream, buffer: Vec::new(), filled: 0, stop }
    }

    /// Answers requests until the connection is to be closed, and closes it.
    async fn serve(mut self) -> io::Result<()> {
        // Each response is a single write, so nothing is gained by Nagle's algorithm, which collects small writes.
        self.stream.set_nodelay(true)?;
        while let Some(response) = self.next_response().await? {
            self.write(response).await?;
            if response.connection == http::Connection::Close || self.stop.is_cancelled() {
                break;
            }
        }
        self.close().await
    }

    /// Waits for a request. Returns the response to it, or `None` if the client sends no more requests.
    async fn next_response(&mut self) -> io::Result<Option<Response>> {
        // 1. The first byte. Silence between two requests is not an error: after the timeout, or when the server stops,
        //    the connection is closed without a response. With pipelining, the buffer may already hold the next request.
        if self.filled == 0 {
            let stop = self.stop.clone();
            let read = self.read().timeout(CLIENT_TIMEOUT).until(&stop).await;
            if read.map_or(Ok(0), |in_time| in_time.unwrap_or(Ok(0)))? == 0 {
                return Ok(None);
            }
        }
        // 2. The rest of the head. A single timeout for all of it, so a client cannot keep the connection open by
        //    sending a byte now and then. A request in the buffer costs no timer: the timeout arms it at the first
        //    `Pending`.
        match self.read_head().timeout(CLIENT_TIMEOUT).await {
            Ok(response) => response.map(Some),
            Err(_elapsed) => Ok(Some(Response::refusal(Status::RequestTimeout))),
        }
    }

    /// Reads until the head of a request is whole, and removes it from the buffer. Returns the response.
    async fn read_head(&mut self) -> io::Result<Response> {
        loop {
            match http::parse(&self.buffer[..self.filled]) {
                Ok(Some(request)) => {
                    let (response, used) = (Response::to(&request), request.head_len);
                    self.buffer.copy_within(used..self.filled, 0);
                    self.filled -= used;
                    return Ok(response);
                }
                Err(status) => return Ok(Response::refusal(status)),
                Ok(None) => {}
            }
            if !self.read_line().await? {
                // The client has closed its side in the middle of a head.
                return Ok(Response::refusal(Status::BadRequest));
            }
        }
    }

    /// Reads until a line has ended or the buffer is full. Returns `false` at the end of file.
    ///
    /// The parser always begins at the first byte of the head. So the server parses once for each line, not for each
    /// read: a client that sends single bytes would otherwise make it parse the same bytes ten thousand times.
    async fn read_line(&mut self) -> io::Result<bool> {
        loop {
            let start = self.filled;
            if self.read().await? == 0 {
                return Ok(false);
            }
            if self.filled == MAX_HEAD || self.buffer[start..self.filled].contains(&b'\n') {
                return Ok(true);
            }
        }
    }

    /// Reads once, and returns the number of bytes. The buffer must hold less than [`MAX_HEAD`].
    async fn read(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize((self.filled * 2).clamp(FIRST_READ, MAX_HEAD), 0);
        }
        let count = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += count;
        Ok(count)
    }

    /// Sends a response, by a single system call unless the send buffer is full.
    async fn write(&mut self, response: Response) -> io::Result<()> {
        let bytes = response.to_string();
        self.stream.write_all(bytes.as_bytes()).io_timeout(CLIENT_TIMEOUT).await?;
        // A socket has nothing to flush, but other streams do: a `BufWriter`, or TLS.
        self.stream.flush().await
    }

    /// Closes the connection so that the client gets all bytes that were sent.
    ///
    /// If the socket were closed while bytes from the client are unread or under way, the kernel would send a reset. A
    /// reset overtakes data: the client might lose the response that was just written. So the server closes its own
    /// side, and reads on until the client has closed its side too, within the limits of `LINGER` and `LINGER_BYTES`.
    async fn close(mut self) -> io::Result<()> {
        self.stream.close().await?;
        self.buffer.resize(FIRST_READ, 0);
        let drain = async {
            let mut drained = 0;
            while drained < LINGER_BYTES {
                match self.stream.read(&mut self.buffer).await? {
                    0 => break,
                    count => drained += count,
                }
            }
            Ok(())
        };
        drain.io_timeout(LINGER).await
    }
}
