//! A system call that the crates do not offer, on their sockets: which process has sent each message.
//!
//! ```sh
//! cargo run --example own_calls             # ends by itself
//! cargo run --example own_calls -- --trace  # also shows the one registration, and each wait
//! ```
//!
//! The idea: the receiver asks the kernel for the credentials of the sender of each datagram (`SO_PASSCRED` of
//! `unix(7)`), which arrive as a control message of `recvmsg(2)`. rustix makes the call, and `read_with` makes it wait:
//! it calls the closure at once, unless the socket is known not to be readable, and then after each event of the
//! reactor. When the closure fails with `WouldBlock`, the socket knows that it is not readable any more.
//!
//! Time stamps (`SO_TIMESTAMPNS`) arrive in the same way, but `recvmsg` of rustix 1 returns descriptors and credentials
//! only: for the rest the closure calls another library, such as nix.
//!
//! A call on the bare descriptor goes unnoticed: after its `WouldBlock`, `readable()` would return at once, again and
//! again. For code that has to do so, a C library for example, there is `clear_ready`.

use async_epoll::{Interest, LocalRuntime};
use async_net_lite::unix::UnixDatagram;
use async_timeout::sleep;
use examples::{Usage, exit_code, report, say};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, UCred, recv, recvmsg, sockopt::set_socket_passcred,
};
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::time::Duration;

/// The messages that are sent.
const MESSAGES: [&str; 3] = ["one", "two", "three"];
/// The time between two messages.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let about = "Receives datagrams together with the credentials of their sender.";
    let Some([]) = (Usage { about, words: [], trace: true }).from_env()? else {
        return Ok(());
    };
    let mut runtime = LocalRuntime::new()?;
    let spawner = runtime.spawner();
    runtime.try_run_until(async move {
        let (receiver, sender) = UnixDatagram::pair()?;
        // An option without a method in the crates: any call that takes a descriptor will do.
        set_socket_passcred(&receiver, true)?;
        spawner.spawn(async move { report(send(&sender).await) })?;

        for _ in MESSAGES {
            let mut buffer = [0; 64];
            // May be called several times, and waits in between.
            let (length, sender) = receiver.read_with(|socket| receive(socket, &mut buffer)).await?;
            let text = String::from_utf8_lossy(&buffer[..length]);
            let sender = sender.ok_or_else(|| io::Error::other("the kernel has sent no credentials"))?;
            let is_this_process = sender.pid.as_raw_nonzero().get().unsigned_abs() == std::process::id();
            say(&format!("{text}: from user {}, this process: {is_this_process}", sender.uid.as_raw()));
        }

        // The same on the bare descriptor: the socket has to be told.
        let nothing =
            recv(&receiver, &mut [0; 8], RecvFlags::DONTWAIT).map_err(io::Error::from).map(|(length, _)| length);
        if nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            receiver.clear_ready(Interest::READABLE);
        }
        say("no more messages");
        Ok(())
    })
}

/// Receives a datagram and the credentials of its sender, without waiting. Returns the length of the datagram.
fn receive(socket: &std::os::unix::net::UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Option<UCred>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::empty())?;
    let credentials = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials),
        _ => None,
    });
    Ok((received.bytes, credentials))
}

/// Sends the messages, with a pause before each.
async fn send(socket: &UnixDatagram) -> io::Result<()> {
    for text in MESSAGES {
        sleep(PAUSE).await;
        socket.send(text.as_bytes()).await?;
    }
    Ok(())
}
