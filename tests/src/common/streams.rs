//! Checks that are the same for streams of each kind, TCP and Unix.

use crate::{TIME, watchdog};
use async_epoll::LocalRuntime;
use futures::future::try_join;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Sends a megabyte through one end of `pair` and back, in both directions at the same time, by shared references to the
/// streams. The other end echoes until the half-close, and then closes its own direction.
pub fn a_megabyte_both_ways<S: Clone + 'static>(pair: impl AsyncFnOnce() -> (S, S))
where
    for<'a> &'a S: AsyncRead + AsyncWrite + Unpin,
{
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().expect("a reactor");
    let spawner = runtime.spawner();
    let data: Rc<Vec<u8>> = Rc::new((0..1 << 20).map(|i: u32| (i * 7 + (i >> 8)) as u8).collect());
    let sent = Rc::clone(&data);
    let received = runtime.run_until(async move {
        let (client, server) = pair().await;
        spawner
            .spawn_local(async move {
                futures::io::copy(&server, &mut &server).await.unwrap();
                (&server).close().await.unwrap();
            })
            .unwrap();
        let reader = client.clone();
        let write = async {
            (&client).write_all(&sent).await?;
            (&client).close().await
        };
        let read = async {
            let mut received = Vec::new();
            (&reader).read_to_end(&mut received).await.map(|_| received)
        };
        try_join(write, read).await.unwrap().1
    });
    assert!(received.unwrap() == *data);
    assert_eq!(runtime.handle().stats().task_panics, 0);
}

/// A wrapper that hides the type of a stream, so that the copy does not know it to be a socket.
#[derive(Debug)]
pub struct Stranger<T>(pub T);

impl<T: AsyncRead + Unpin> AsyncRead for Stranger<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stranger<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
