//! TCP proxies: every byte of a connection is forwarded to another address.
//!
//! The process has three threads. The main thread is the proxy, on the core for measured code; its CPU time is the
//! figure. On the core for load, a thread sends through each connection and closes it, and another receives. Both use
//! blocking calls, so they use no CPU while they wait.

use crate::machine::{cores, process, sys};
use crate::orders::peer::Peer;
use crate::orders::proxy::ProxyOrder;
use async_epoll::LocalRuntime;
use futures::future::join_all;
use std::io::{self, Read, Write};
use std::net::{self, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

/// The kernel ends the process after this number of seconds.
const TIME_LIMIT: u32 = 120;
/// Bytes sent or received at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes of a MiB.
const MIB: usize = 1024 * 1024;

/// Carries out an order, and prints its figure on a line.
pub(crate) fn proxy(order: &ProxyOrder) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::end_after(TIME_LIMIT);
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (front, back) = (listen()?, listen()?);
    let (front_address, back_address) = (front.local_addr()?, back.local_addr()?);
    let (connections, bytes) = (order.connections, order.mib * MIB);
    let seconds = thread::scope(|scope| {
        let sending = scope.spawn(move || send(front_address, connections, bytes));
        let taking = scope.spawn(move || take(&back, connections));
        cores::pin_to_server_core()?;
        let before = process::cpu_nanos(std::process::id())?;
        let copied = match order.peer {
            Peer::Ours => ours(front, back_address, connections),
            Peer::Tokio => tokio(front, back_address, connections),
            Peer::Raw => Err(io::Error::other("raw has no proxy")),
        }?;
        let nanos = process::cpu_nanos(std::process::id())? - before;
        let panicked = |_| io::Error::other("the load has panicked");
        sending.join().map_err(panicked)??;
        let taken = taking.join().map_err(panicked)??;
        if (copied, taken) != ((bytes * connections) as u64, bytes * connections) {
            return Err(io::Error::other("bytes were lost"));
        }
        io::Result::Ok(nanos as f64 / 1e9 / (taken as f64 / (1024 * MIB) as f64))
    })?;
    println!("{seconds}");
    Ok(())
}

/// Sends `bytes` through each connection, [`CHUNK`] bytes to each in turn.
fn send(address: SocketAddr, connections: usize, bytes: usize) -> io::Result<()> {
    cores::pin_to_load_core()?;
    let connect = |_| net::TcpStream::connect(address);
    let mut streams = (0..connections).map(connect).collect::<io::Result<Vec<_>>>()?;
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..bytes / CHUNK {
        streams.iter_mut().try_for_each(|stream| stream.write_all(&chunk))?;
    }
    Ok(())
}

/// Receives until all connections are closed, with a thread per connection. Returns the number of bytes.
fn take(listener: &TcpListener, connections: usize) -> io::Result<usize> {
    cores::pin_to_load_core()?;
    thread::scope(|scope| {
        let takers = (0..connections).map(|_| {
            let (mut stream, _) = listener.accept()?;
            // A new thread inherits the core.
            Ok(scope.spawn(move || {
                let (mut chunk, mut taken) = (vec![0; CHUNK], 0);
                loop {
                    match stream.read(&mut chunk)? {
                        0 => return io::Result::Ok(taken),
                        length => taken += length,
                    }
                }
            }))
        });
        let takers = takers.collect::<io::Result<Vec<_>>>()?;
        let panicked = |_| io::Error::other("a taker has panicked");
        takers.into_iter().map(|taker| taker.join().map_err(panicked)?).sum()
    })
}

/// Runs our proxy. Returns the bytes forwarded from the sender to the receiver.
fn ours(listener: TcpListener, target: SocketAddr, connections: usize) -> io::Result<u64> {
    use async_net_lite::{TcpListener, TcpStream, copy_bidirectional};
    let mut runtime = LocalRuntime::new()?;
    let listener = TcpListener::from_std(listener, &runtime.handle())?;
    let spawner = runtime.spawner();
    let proxying = async {
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let (client, _) = listener.accept().await?;
            let copying = async move { copy_bidirectional(client, TcpStream::connect(target).await?).await };
            let (sender, receiver) = futures::channel::oneshot::channel();
            let task = async { drop(sender.send(copying.await)) };
            spawner.spawn_local(task).map_err(io::Error::other)?;
            tasks.push(receiver);
        }
        join_all(tasks).await.into_iter().map(|copied| Ok(copied.map_err(io::Error::other)??.0)).sum()
    };
    runtime.run_until(proxying)?
}

/// Runs tokio's proxy on its current_thread runtime. Returns the bytes forwarded from the sender to the receiver.
fn tokio(listener: TcpListener, target: SocketAddr, connections: usize) -> io::Result<u64> {
    use tokio::net::{TcpListener, TcpStream};
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let accepting = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let (mut client, _) = listener.accept().await?;
            tasks.push(tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            }));
        }
        join_all(tasks).await.into_iter().map(|copied| Ok(copied.map_err(io::Error::other)??.0)).sum()
    });
    runtime.block_on(accepting).map_err(io::Error::other)?
}
