//! A stream in two halves: which half closes what, and which halves belong together.

use async_epoll::LocalRuntime;
use async_net_lite::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use futures::future::{FutureExt, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;
use tests::common::block_on;
use tests::common::tcp::pair;
use tests::{TIME, watchdog};

/// Returns whether the stream is at its end; `false` if it is open without data.
async fn is_at_its_end(stream: &TcpStream) -> bool {
    let read = async_timeout::Timeout::new(stream.peek(&mut [0]), Duration::from_millis(50)).await;
    read.is_ok_and(|read| read.unwrap() == 0)
}

/// Behaviour 53: one task reads and another writes, a megabyte there and back.
#[test]
fn a_megabyte_through_two_halves() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let data: Vec<u8> = (0..1 << 20).map(|i: u32| (i * 13 + (i >> 9)) as u8).collect();
    let sent = data.clone();
    let received = runtime.run_until(async move {
        let (client, server) = pair().await;
        let (server_reader, mut server_writer) = server.into_split();
        // Neither task closes its half explicitly.
        let echo = async move { futures::io::copy(server_reader, &mut server_writer).await.map(drop).unwrap() };
        spawner.spawn_local(echo).unwrap();
        let (mut reader, mut writer) = client.into_split();
        spawner.spawn_local(async move { writer.write_all(&sent).await.unwrap() }).unwrap();
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        received
    });
    assert!(received.unwrap() == data);
    runtime.run().unwrap();
    let stats = runtime.handle().stats();
    assert_eq!((stats.task_panics, stats.sources), (0, 0));
}

/// Behaviour 54; bug G11: dropping the write half sends an end of file, at once and not before, and the read half still
/// works. Dropping the read half has no effect on the peer.
#[test]
fn dropping_halves() {
    block_on(async {
        let (client, mut server) = pair().await;
        let (mut reader, writer) = client.into_split();
        assert!(!is_at_its_end(&server).await);
        drop(writer);
        assert!(is_at_its_end(&server).await);
        server.write_all(b"still here").await.unwrap();
        let mut buffer = [0; 10];
        reader.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"still here");
        drop(server);
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);

        let (client, mut server) = pair().await;
        let (reader, mut writer) = client.into_split();
        drop(reader);
        server.write_all(b"never read").await.unwrap();
        writer.write_all(b"x").await.unwrap();
        server.read_exact(&mut [0]).await.unwrap();
        assert!(!is_at_its_end(&server).await);
        drop(writer);
        assert_ne!(server.read(&mut [0]).await.ok(), Some(1), "the end, or a reset for the unread bytes");
    });
}

/// A write half is forgotten or closed, or its connection is gone.
#[test]
fn ends_of_the_half_that_writes() {
    block_on(async {
        let (client, server) = pair().await;
        let (reader, writer) = client.into_split();
        writer.forget();
        assert!(!is_at_its_end(&server).await, "forgotten, not closed");
        drop(reader);
        assert!(is_at_its_end(&server).await, "both halves are gone");

        let (client, server) = pair().await;
        let (_reader, mut writer) = client.into_split();
        for _ in 0..3 {
            writer.close().await.unwrap();
            assert!(is_at_its_end(&server).await);
        }
        assert_eq!(writer.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(writer);

        let (client, server) = pair().await;
        let (mut reader, mut writer) = client.into_split();
        server.set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(reader.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        writer.close().await.unwrap();
        drop(writer);
    });
}

/// Behaviour 55; bug G11: two halves of one stream reunite without an end of file. Halves of different streams are
/// returned in working order.
#[test]
fn reuniting() {
    block_on(async {
        let (client, server) = pair().await;
        let (other, other_server) = pair().await;
        let (reader, writer) = client.into_split();
        let (other_reader, other_writer) = other.into_split();
        let error = reader.reunite(other_writer).unwrap_err();
        assert!(error.to_string().contains("not of the same stream"), "{error}");
        let (reader, other_writer) = (error.0, error.1);
        let error = writer.reunite(other_reader).unwrap_err();
        let (other_reader, writer) = (error.0, error.1);
        assert!(!is_at_its_end(&server).await && !is_at_its_end(&other_server).await);
        for (reader, writer, server, by_writer) in
            [(reader, writer, server, false), (other_reader, other_writer, other_server, true)]
        {
            let address = reader.local_addr().unwrap();
            let mut whole = if by_writer { writer.reunite(reader) } else { reader.reunite(writer) }.unwrap();
            assert_eq!(whole.local_addr().unwrap(), address);
            assert!(!is_at_its_end(&server).await, "reunited, not closed");
            whole.write_all(b"x").await.unwrap();
            (&server).write_all(b"y").await.unwrap();
            (&server).read_exact(&mut [0]).await.unwrap();
            whole.read_exact(&mut [0]).await.unwrap();
            // The stream is the only owner again, so no duplicate is needed to take it out.
            drop(whole.into_std().unwrap());
            assert!(is_at_its_end(&server).await);
        }
    });
}

/// Halves give access to their stream, its addresses and options, and match halves of clones.
#[test]
fn what_halves_know() {
    block_on(async {
        let (client, server) = pair().await;
        let clone = client.clone();
        let (reader, writer): (OwnedReadHalf, OwnedWriteHalf) = client.into_split();
        let addresses = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!((reader.local_addr().unwrap(), reader.peer_addr().unwrap()), addresses);
        assert_eq!((writer.local_addr().unwrap(), writer.peer_addr().unwrap()), addresses);
        writer.as_ref().set_nodelay(true).unwrap();
        assert!(reader.as_ref().nodelay().unwrap() && clone.nodelay().unwrap());
        assert!(SockRef::from(reader.as_ref()).nonblocking().unwrap());
        server.try_write(b"peeked").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(reader.peek(&mut buffer).await.unwrap(), 6);
        assert!(format!("{reader:?} {writer:?}").contains("127.0.0.1"));
        // Halves of a clone and of the stream belong together: there is one connection.
        let (clones_reader, clones_writer) = clone.into_split();
        let whole = clones_reader.reunite(writer).unwrap();
        clones_writer.forget();
        whole.shutdown(Shutdown::Write).unwrap();
        assert!(is_at_its_end(&server).await);
        drop(reader);
    });
}

/// A half on another thread, in an executor without a reactor.
#[test]
fn halves_on_two_threads() {
    block_on(async {
        let (client, server) = pair().await;
        let (mut reader, mut writer) = client.into_split();
        let writing = std::thread::spawn(move || {
            futures::executor::block_on(async move {
                for round in 0..2000_u32 {
                    writer.write_all(&round.to_le_bytes()).await.unwrap();
                }
            });
        });
        let echo = async {
            futures::io::copy(&server, &mut &server).await?;
            (&server).close().await
        };
        let read = async {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.map(|_| received)
        };
        let ((), received) = try_join(echo, read).await.unwrap();
        let expected: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
        assert!(received == expected);
        writing.join().unwrap();
    });
}

/// Cancel safety of the halves: a dropped read has taken nothing.
#[test]
fn a_dropped_read_takes_nothing() {
    block_on(async {
        let (client, server) = pair().await;
        let (mut reader, _writer) = client.into_split();
        for round in 0..100_u8 {
            assert!(reader.read(&mut [0]).now_or_never().is_none());
            server.try_write(&[round]).unwrap();
            let mut byte = [0];
            assert_eq!(reader.peek(&mut byte).await.unwrap(), 1);
            reader.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, [round]);
        }
    });
}
