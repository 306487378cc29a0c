//! A load of datagrams: a fixed number in flight, and each answer is followed by the next question.
//!
//! The generator uses batches, through the same crate that another process measures. A generator without batches would
//! be slower than a server with batches, and the server would find its queue empty. Each datagram carries the time of
//! sending. No datagram may be lost: the queues on both sides hold more than is in flight, so silence is an error.

use super::job::{Job, SILENCE};
use crate::orders::load::{LoadOrder, LoadOutcome, Target};
use crate::orders::service::{DATAGRAM_QUEUE, MAX_DATAGRAM};
use async_epoll::LocalRuntime;
use async_net_lite::{RecvBatch, SendBatch, UdpSocket};
use async_timeout::TimeoutExt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket as StdSocket};

/// Datagrams per system call, at most.
const BATCH: usize = 64;
/// Bytes of the time stamp at the beginning of each datagram.
const STAMP: usize = size_of::<u64>();

/// A connected socket and its datagram.
pub(super) struct Datagrams {
    runtime: LocalRuntime,
    socket: UdpSocket,
    /// Datagrams in flight.
    window: u64,
    /// The datagram to send; its first bytes are overwritten by the time stamp.
    question: Vec<u8>,
}

impl Datagrams {
    /// Connects the socket to the server's port.
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        if !(STAMP..=MAX_DATAGRAM).contains(&target.size) {
            return Err(io::Error::other(format!("the size must be from {STAMP} to {MAX_DATAGRAM}")));
        }
        let runtime = LocalRuntime::new()?;
        let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, target.port))?;
        let socket = UdpSocket::from_std(socket, &runtime.handle())?;
        socket.set_recv_buffer_size(DATAGRAM_QUEUE)?;
        Ok(Self { runtime, socket, window: target.connections as u64, question: vec![b'x'; target.size] })
    }

    /// Carries out an order.
    pub(super) fn run(&mut self, order: LoadOrder) -> io::Result<LoadOutcome> {
        let Self { runtime, socket, window, question } = self;
        runtime.run_until(async {
            let mut job = Job::new(order);
            let (mut out, mut back) = (SendBatch::new(BATCH, MAX_DATAGRAM)?, RecvBatch::new(BATCH, MAX_DATAGRAM)?);
            loop {
                let now = job.now();
                while job.outstanding() < *window && job.more(now) {
                    if out.is_full() {
                        send(socket, &mut out).await?;
                    }
                    question[..STAMP].copy_from_slice(&now.to_le_bytes());
                    out.push(question)?;
                }
                send(socket, &mut out).await?;
                if job.outstanding() == 0 {
                    return Ok(job.finish());
                }
                socket.recv_batch(&mut back).io_timeout(SILENCE).await?;
                let now = job.now();
                for answer in &back {
                    let stamp = answer.bytes.first_chunk().filter(|_| answer.bytes.len() == question.len());
                    let sent = u64::from_le_bytes(*stamp.ok_or(ErrorKind::InvalidData)?);
                    job.answered(now.saturating_sub(sent));
                }
            }
        })?
    }
}

/// Sends a whole batch.
async fn send(socket: &UdpSocket, out: &mut SendBatch) -> io::Result<()> {
    while !out.is_empty() {
        socket.send_batch(out).await?;
    }
    Ok(())
}
