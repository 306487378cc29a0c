//! Twenty bytes over UDP, from one task to another, while a third one prints.
//!
//! ```sh
//! cargo run --example udp                         # ends by itself
//! cargo run --example udp -- --addr [::1]:0       # by IPv6
//! ```
//!
//! The idea: a datagram arrives whole, or not at all, and nobody says which. So each byte goes in a datagram of its own,
//! the receiver sends it back to say that it has come, and the sender sends it again if it hears nothing for a while. The
//! receiver may have had it already, then; it takes each byte once.

use async_epoll::LocalRuntime;
use async_net_lite::UdpSocket;
use async_timeout::{TimeoutExt, sleep};
use examples::{Args, because, exit_code, report, say, trace};
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// What is sent.
const BYTES: Range<u8> = b'a'..b'u';
/// How long the sender rests before each byte.
const REST: Duration = Duration::from_millis(5);
/// How long it waits until it sends a byte again.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often it sends a byte at most.
const ATTEMPTS: usize = 20;
/// How often the third task prints.
const TICK: Duration = Duration::from_millis(25);

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some(args) = Args::from_env("Sends twenty bytes from one task to another, over UDP.", "127.0.0.1:0")? else {
        return Ok(());
    };
    if args.trace {
        trace::print();
    }
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    runtime.run_until(async move {
        let receiver = UdpSocket::bind(args.addr).await.map_err(because(format!("cannot bind to {}", args.addr)))?;
        let address = receiver.local_addr()?;
        let sender = UdpSocket::bind((address.ip(), 0)).await?;
        sender.connect(address).await?;

        let arrived = Rc::new(RefCell::new(String::new()));
        let seen = Rc::clone(&arrived);
        // These two go on for ever; they are dropped with the runtime.
        spawner.spawn_local(async move { report(receive(&receiver, &seen).await) }).map_err(io::Error::other)?;
        let seen = Rc::clone(&arrived);
        spawner.spawn_local(async move { print(&seen).await }).map_err(io::Error::other)?;
        send(&sender).await?;
        let arrived = arrived.borrow();
        say(&format!("{} bytes have arrived: {arrived}", arrived.len()));
        Ok(())
    })?
}

/// Sends each byte until it comes back.
async fn send(socket: &UdpSocket) -> io::Result<()> {
    for byte in BYTES {
        sleep(REST).await;
        let mut attempts = 0;
        while !is_answered(socket, byte).await? {
            attempts += 1;
            if attempts == ATTEMPTS {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the receiver does not answer"));
            }
        }
    }
    Ok(())
}

/// Sends a byte, and says whether it has come back in time.
async fn is_answered(socket: &UdpSocket, byte: u8) -> io::Result<bool> {
    socket.send(&[byte]).await?;
    let mut answer = [0];
    let answered = async {
        // An answer to an earlier attempt may come late, and is none to this byte.
        while answer != [byte] {
            socket.recv(&mut answer).await?;
        }
        Ok(())
    };
    match answered.io_timeout(PATIENCE).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        result => result.map(|()| true),
    }
}

/// Sends back whatever comes, to where it came from, and keeps each byte once.
async fn receive(socket: &UdpSocket, arrived: &RefCell<String>) -> io::Result<()> {
    let mut next = BYTES;
    loop {
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).await?;
        if buffer[..length] == [next.start] {
            arrived.borrow_mut().extend(next.next().map(char::from));
        }
        socket.send_to(&buffer[..length], from).await?;
    }
}

/// Shows that the thread has time for others while two of its tasks wait for each other.
async fn print(arrived: &RefCell<String>) {
    loop {
        sleep(TICK).await;
        say(&format!("so far {}", arrived.borrow().len()));
    }
}
