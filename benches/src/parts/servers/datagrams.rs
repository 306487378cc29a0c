//! Echo servers for datagrams: ours, with or without batches, and tokio's, which has no batches.
//!
//! Each is a single task that sends every datagram back to its sender, until killed.

use crate::orders::service::MAX_DATAGRAM;
use async_epoll::LocalRuntime;
use async_net_lite::{RecvBatch, SendBatch, UdpSocket};
use std::io;
use std::net;

/// Serves with our crates, `batch` datagrams at a time.
pub(super) fn ours(socket: net::UdpSocket, batch: usize) -> io::Result<()> {
    let mut runtime = LocalRuntime::new()?;
    let socket = UdpSocket::from_std(socket, &runtime.handle())?;
    let echo = async move {
        let result = if batch == 1 { one_by_one(&socket).await } else { in_batches(&socket, batch).await };
        eprintln!("datagrams: {result:?}");
    };
    runtime.spawner().spawn_local(echo).map_err(io::Error::other)?;
    runtime.run()
}

/// Echoes all datagrams in the queue, up to the size of a batch, with two system calls.
async fn in_batches(socket: &UdpSocket, batch: usize) -> io::Result<()> {
    let (mut questions, mut answers) = (RecvBatch::new(batch, MAX_DATAGRAM)?, SendBatch::new(batch, MAX_DATAGRAM)?);
    loop {
        socket.recv_batch(&mut questions).await?;
        for question in &questions {
            answers.push_to(question.bytes, question.address)?;
        }
        while !answers.is_empty() {
            socket.send_batch(&mut answers).await?;
        }
    }
}

/// Echoes with two system calls per datagram.
async fn one_by_one(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}

/// Serves with the echo server of tokio's documentation.
pub(super) fn tokio(socket: net::UdpSocket) -> io::Result<()> {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // A spawned task, because `block_on` polls its own future outside the scheduler's queue.
    let echoing = runtime.spawn(async move {
        let socket = ::tokio::net::UdpSocket::from_std(socket)?;
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..length], &from).await?;
        }
    });
    runtime.block_on(echoing).map_err(io::Error::other)?
}
