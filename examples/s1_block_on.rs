//! Lesson 1: an executor for one future, with std alone.
//!
//! ```sh
//! cargo run --example s1_block_on
//! ```
//!
//! The idea: a future that cannot go on returns `Pending` and keeps a *waker*. As soon as the future can go on, other
//! code calls the waker, and the executor polls the future again. This is the whole contract.
//!
//! The open question is at the end of `run`: which code calls the waker? Here it is another thread. For a socket, only
//! the kernel knows when the future can go on, and the kernel calls no wakers. Lesson 2 adds the missing part: a
//! reactor.

use examples::{Usage, exit_code};
use futures::channel::oneshot;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

/// A waker that unparks the thread of the executor.
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` until it is ready, and parks the thread between two polls. Returns the output of `future`.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(ThreadWaker(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // A wake that has come since the poll is not lost: `park` returns at once then.
            Poll::Pending => thread::park(),
        }
    }
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some([]) = (Usage { about: "An executor for one future.", words: [], trace: false }).from_env()? else {
        return Ok(());
    };
    let (sender, receiver) = oneshot::channel();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        println!("helper: sending the answer");
        sender.send(42).expect("main waits");
    });
    println!("main: waiting, asleep");
    let answer = block_on(receiver);
    println!("main: woken, {answer:?}");
    assert_eq!(answer, Ok(42));
    helper.join().expect("the helper does not panic");
    Ok(())
}
