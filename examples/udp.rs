//! Twenty bytes over UDP, from one task to another, while a third task prints.
//!
//! ```sh
//! cargo run --example udp                         # ends by itself
//! cargo run --example udp -- --addr [::1]:0       # by IPv6
//! ```
//!
//! The idea: a datagram arrives whole or not at all, and UDP does not report a loss. So each byte goes in a datagram of
//! its own, the receiver sends the byte back as an acknowledgement, and the sender repeats the byte if no
//! acknowledgement arrives in time. A lost acknowledgement makes a duplicate; the receiver keeps each byte once.

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

/// The bytes that are sent.
const BYTES: Range<u8> = b'a'..b'u';
/// How long the sender sleeps before each byte.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the sender waits for an acknowledgement before it sends the byte again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// How many times the sender sends a byte at most.
const MAX_ATTEMPTS: usize = 20;
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
    runtime.try_run_until(async move {
        let receiver = UdpSocket::bind(args.addr).await.map_err(because(format!("cannot bind to {}", args.addr)))?;
        let address = receiver.local_addr()?;
        let sender = UdpSocket::bind((address.ip(), 0)).await?;
        sender.connect(address).await?;

        let arrived = Rc::new(RefCell::new(String::new()));
        let seen = Rc::clone(&arrived);
        // These two tasks never end; they are dropped with the runtime.
        spawner.spawn(async move { report(receive(&receiver, &seen).await) })?;
        let seen = Rc::clone(&arrived);
        spawner.spawn(async move { print(&seen).await })?;
        send(&sender).await?;
        let arrived = arrived.borrow();
        say(&format!("{} bytes have arrived: {arrived}", arrived.len()));
        Ok(())
    })
}

/// Sends each byte until it is acknowledged.
async fn send(socket: &UdpSocket) -> io::Result<()> {
    for byte in BYTES {
        sleep(PAUSE).await;
        let mut attempts = 0;
        while !is_answered(socket, byte).await? {
            attempts += 1;
            if attempts == MAX_ATTEMPTS {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the receiver does not answer"));
            }
        }
    }
    Ok(())
}

/// Sends a byte, and returns whether it was acknowledged in time.
async fn is_answered(socket: &UdpSocket, byte: u8) -> io::Result<bool> {
    socket.send(&[byte]).await?;
    let mut answer = [0];
    let answered = async {
        // A late answer to an earlier byte does not acknowledge this byte.
        while answer != [byte] {
            socket.recv(&mut answer).await?;
        }
        Ok(())
    };
    match answered.io_timeout(ANSWER_TIMEOUT).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        result => result.map(|()| true),
    }
}

/// Sends each datagram back to its sender, and keeps each byte once.
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

/// Prints the progress, to show that other tasks run while sender and receiver wait for each other.
async fn print(arrived: &RefCell<String>) {
    loop {
        sleep(TICK).await;
        say(&format!("so far {}", arrived.borrow().len()));
    }
}
