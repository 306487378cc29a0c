//! Lesson 1: an executor for one future, without any crate of ours (but for the words on the command line).
//!
//! ```sh
//! cargo run --example s1_block_on
//! ```
//!
//! The idea: a future that cannot go on says `Pending` and keeps a *waker*. Whoever brings what it waits for calls the
//! waker, and then the executor polls again. That is the whole contract.
//!
//! What is missing is at the end of `run`: the one who calls the waker. Here it is another thread. For a socket it
//! would have to be the kernel, and the kernel calls no wakers. Lesson 2 adds who does: a reactor.

use examples::{Usage, exit_code};
use futures::channel::oneshot;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

/// Wakes a future by waking the thread that polls it.
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` until it is ready, and sleeps in between.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(ThreadWaker(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // A wake that came before we got here is not lost: `park` returns at once then.
            Poll::Pending => thread::park(),
        }
    }
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> io::Result<()> {
    let Some([]) = (Usage { about: "A waker, and who calls it.", words: [], trace: false }).from_env()? else {
        return Ok(());
    };
    let (sender, receiver) = oneshot::channel();
    let helper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        println!("helper: here it is");
        sender.send(42).expect("main waits");
    });
    println!("main: waiting, asleep");
    let answer = block_on(receiver);
    println!("main: woken, {answer:?}");
    assert_eq!(answer, Ok(42));
    helper.join().expect("the helper does not panic");
    Ok(())
}
