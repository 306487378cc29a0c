//! A web server that says hello: one thread, one task for each connection.
//!
//! ```sh
//! cargo run --release --example http_hello             # then open http://127.0.0.1:7878/
//! cargo run --release --example http_hello -- --trace  # and watch the reactor
//! ```
//!
//! The idea: `async fn` with `.await` reads like blocking code, and thousands of them share one thread, because every
//! `.await` is a place where the thread may leave one connection and look after another. Three parts make that work.
//! The *pool* of futures-rs polls the tasks. When none can go on, the *reactor* puts the thread to sleep in
//! `epoll_wait` and wakes those tasks whose sockets have something. The *sockets* tell the reactor what they wait for.
//!
//! Read `run`, then `Connection::serve` and the methods that it calls, in order.

use async_epoll::Reactor;
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::TimeoutExt;
use examples::http::{self, MAX_HEAD, Response, Status};
use examples::{Args, Interrupt, exit_code, say, trace};
use futures::executor::LocalPool;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

/// How long a client may be silent between two requests, how long the head of one may take, and how long a client may
/// refuse to take a response.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long, and for how many bytes, the server listens on to a client that it has said goodbye to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;
/// Most requests are smaller than this. The buffer grows for those that are not.
const FIRST_READ: usize = 1024;

fn main() -> ExitCode {
    exit_code(run())
}

/// Everything, from the command line to the last line.
fn run() -> io::Result<()> {
    let about = "Says hello to web browsers, on one thread: futures-rs, with something that waits.";
    let Some(args) = Args::from_env(about, "127.0.0.1:7878")? else {
        return Ok(());
    };
    if args.trace {
        trace::print(); // Before the reactor is made, to see that too.
    }

    // A listener as std gives it, so it might as well come from elsewhere: inherited from a supervisor, say.
    let listener = args.listener()?;

    // The three parts: the reactor waits, the pool polls, and the spawner puts tasks into the pool in such a way that
    // the reactor knows of them.
    let mut reactor = Reactor::new()?;
    let mut pool = LocalPool::new();
    let spawner = reactor.spawner(&pool);

    let listener = TcpListener::from_std(listener, &reactor.handle())?;
    let interrupt = Interrupt::new(&reactor.handle())?;
    say(&format!("listening on http://{}/", listener.local_addr()?));

    // Runs this future, and beside it all the tasks that are spawned meanwhile.
    let served = reactor.run_until(&mut pool, async {
        let mut served = 0_u64;
        let stop = pin!(interrupt.received());
        let mut incoming = listener.incoming().take_until(stop);
        while let Some(stream) = incoming.next().await {
            let connection = Connection::new(stream?);
            // What goes wrong with one connection is between that client and us; the others need not know.
            let task = async { drop(connection.serve().await) };
            spawner.spawn_local(task).map_err(io::Error::other)?;
            served += 1;
        }
        io::Result::Ok(served)
    })??;

    // The tasks that are left go with the pool, and their connections with them.
    say(&format!("stopped, {served} connections served"));
    Ok(())
}

/// One client.
struct Connection {
    stream: TcpStream,
    /// Where requests are read to; grows up to [`MAX_HEAD`].
    buffer: Vec<u8>,
    /// Bytes of the buffer that have been read and not been dealt with: part of a request, or several of them.
    ///
    /// A number beside the buffer, rather than the buffer's length: a timeout may drop a read half-way, and then this
    /// still tells the truth.
    filled: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new(), filled: 0 }
    }

    /// The life of a connection: requests and responses in turns, then goodbye.
    async fn serve(mut self) -> io::Result<()> {
        // Each response is one write, so there is nothing to gain from collecting small ones.
        self.stream.set_nodelay(true)?;
        while let Some(response) = self.next_response().await? {
            self.write(response).await?;
            if response.connection == http::Connection::Close {
                break;
            }
        }
        self.close().await
    }

    /// Waits for a request and decides about it. `None` if there will be none.
    async fn next_response(&mut self) -> io::Result<Option<Response>> {
        // 1. The first byte. Between two requests silence is no offence: who is silent for too long is not scolded,
        //    only let go. With pipelining, the next request may be here already.
        if self.filled == 0 && self.read().timeout(PATIENCE).await.unwrap_or(Ok(0))? == 0 {
            return Ok(None);
        }
        // 2. The rest of the head. One deadline for all of it, so a client cannot keep us by sending a byte now and
        //    then. A request that is here already costs no timer: the timeout arms it at the first `Pending`.
        match self.read_head().timeout(PATIENCE).await {
            Ok(response) => response.map(Some),
            Err(_elapsed) => Ok(Some(Response::refusal(Status::RequestTimeout))),
        }
    }

    /// Reads until the head of a request is whole, and takes it out of the buffer.
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

    /// Reads until another line has ended or the buffer is full; `false` at the end of file.
    ///
    /// Parsing begins anew each time. Doing it once a line, not once a read, keeps a client that sends single bytes
    /// from making us parse the same ones ten thousand times.
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

    /// Reads once. There must be room below [`MAX_HEAD`].
    async fn read(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize((self.filled * 2).clamp(FIRST_READ, MAX_HEAD), 0);
        }
        let count = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += count;
        Ok(count)
    }

    /// Sends a response, by one system call unless the client is slow to take it.
    async fn write(&mut self, response: Response) -> io::Result<()> {
        let bytes = response.to_string();
        self.stream.write_all(bytes.as_bytes()).io_timeout(PATIENCE).await?;
        // A socket has nothing to flush. Other streams have: a `BufWriter`, or TLS.
        self.stream.flush().await
    }

    /// Ends the connection so that the client gets all that was sent.
    ///
    /// Were the socket closed while bytes of the client are unread or under way, the kernel would answer them with a
    /// reset, and a reset overtakes: the client might never see the response that we have just written. So we close our
    /// side, and read on until the client has closed its own. A client that does not is not waited for much longer.
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
