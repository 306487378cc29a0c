//! Wakers that misbehave (bug D1, D2, D4): a table of every operation that clones, wakes or drops a waker, times every
//! act that the waker may do meanwhile.
//!
//! The three functions of a waker are foreign code, which the reactor calls in the middle of its own. The table has an
//! [`Operation`] for each such call, and an [`Act`] for each thing that foreign code may do there: call the reactor,
//! drop what the operation uses, panic. Each pair is a cell. A cell is played on a thread with the cell's name, under a
//! watchdog. After each cell,
//!
//! - the act has run exactly once;
//! - a panic has ended in the right place: if a waker was cloned, in the code that polled with it (in the task's count if
//!   this code was a task); if a waker was woken or dropped that a task had left in the reactor, in the reactor's count,
//!   whichever code did it;
//! - the witnesses, which wait beside the hostile waker, before it and behind it in the same batch, were woken once
//!   each;
//! - the reactor still works, its counts are back at zero, and no descriptor and no waker is left.

use async_epoll::{Handle, Reactor, Source, Spawner, Timer};
use async_net_lite::{TcpListener, TcpStream};
use async_timeout::{Sleep, Timeout};
use futures::executor::LocalPool;
use futures::future::{BoxFuture, FutureExt, Pending, pending, poll_fn};
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::Stream;
use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tests::WakerCall::{self, Clone as Cloned, Drop as Dropped, Wake as Woken};
use tests::{CountingWaker, FullListener, HOUR, TIME, WakerAct, full_listener, hostile_waker, open_fds, watchdog};

/// A row of the table.
struct Operation {
    name: &'static str,
    /// The functions of the waker that the operation calls.
    calls: &'static [WakerCall],
    /// Whether the operation runs inside a loop or a task, where a blocking wait is refused.
    inside: bool,
    /// Where a panic of the waker ends.
    panic: Panic,
    play: fn(&mut Scene),
}

/// The place where a panic of a waker ends.
#[derive(Clone, Copy, PartialEq)]
enum Panic {
    /// The code that polled with this waker: the panic unwinds through it.
    Caller,
    /// `stats().waker_panics`.
    Reactor,
    /// `stats().task_panics`.
    Task,
}

/// A column: what the waker does. `run` returns `false` if the scene has nothing for the act to work on.
struct Act {
    name: &'static str,
    run: fn(&Props) -> bool,
}

const ACTS: &[Act] = &[
    Act { name: "registers a source", run: register_a_source },
    Act { name: "drops the very source", run: |props| take(&props.source).is_some() },
    Act { name: "drops another source", run: |props| take(&props.other_source).is_some() },
    Act { name: "polls the source again", run: poll_again },
    Act { name: "arms a timer", run: arm_a_timer },
    Act { name: "resets a timer", run: reset_a_timer },
    Act { name: "drops a timer", run: |props| take(&props.other_timer).is_some() },
    Act { name: "drops the very timer", run: |props| take(&props.timer).is_some() },
    Act { name: "spawns a task", run: spawn_a_task },
    Act { name: "waits", run: |props| props.try_to_block(|reactor| reactor.wait(Some(Duration::ZERO)).map(drop)) },
    Act { name: "runs a pool", run: |props| props.try_to_block(|reactor| reactor.run(&mut LocalPool::new())) },
    Act { name: "notifies", run: notify },
    Act { name: "asks for numbers", run: ask_for_numbers },
    Act { name: "enters", run: enter },
    Act { name: "panics", run: |_| resume_unwind(Box::new(Deliberate)) },
];

/// The payload of the act that panics, by `resume_unwind`: `panic!` would print a page of messages.
struct Deliberate;

fn register_a_source(props: &Props) -> bool {
    match Source::with_handle(pair().0, &props.handle) {
        Ok(source) => props.keep(source),
        Err(error) => error.to_string().contains("has been dropped"),
    }
}

fn poll_again(props: &Props) -> bool {
    // Cloned out of the lock: the last reference may be dropped here.
    let Some(source) = lock(&props.source).clone() else { return false };
    let mut cx = Context::from_waker(&props.calm);
    let _ = source.poll_readable(&mut cx);
    let _ = source.poll_writable(&mut cx);
    let _ = source.poll_read_with(&mut cx, |mut stream| stream.read(&mut [0]));
    true
}

fn arm_a_timer(props: &Props) -> bool {
    let mut timer = Timer::after(Duration::from_secs(3600), &props.handle);
    let _ = timer.poll_unpin(&mut Context::from_waker(&props.calm));
    props.keep(timer)
}

fn reset_a_timer(props: &Props) -> bool {
    let Some(mut timer) = take(&props.other_timer) else { return false };
    timer.reset(Instant::now() + Duration::from_secs(7200));
    timer.reset(Instant::now() + Duration::from_secs(60));
    *lock(&props.other_timer) = Some(timer);
    true
}

fn spawn_a_task(_: &Props) -> bool {
    SPAWNER.with_borrow(|spawner| {
        // Fails if the pool is being dropped at the moment.
        let _ = spawner.as_ref().unwrap().spawn_local(async { tests::yield_now().await });
    });
    true
}

fn notify(props: &Props) -> bool {
    props.handle.notify();
    true
}

fn ask_for_numbers(props: &Props) -> bool {
    let (stats, now) = (props.handle.stats(), props.handle.now());
    stats.sources < 100 && now <= Instant::now()
}

fn enter(props: &Props) -> bool {
    let _guard = props.handle.enter();
    Handle::current().is_ok()
}

/// The rows. The waker is armed only for the operation itself; the lines before prepare the scene.
const OPERATIONS: &[Operation] = &[
    // Polling a source.
    polls("Source::poll_readable", &[Cloned], |s| s.poll_source(|source, cx| source.poll_readable(cx).map_ok(drop))),
    polls("Source::poll_writable", &[Cloned], |s| {
        s.fill();
        s.poll_source(|source, cx| source.poll_writable(cx).map_ok(drop));
    }),
    polls("Source::priority", &[Cloned], |s| {
        s.poll_source(|source, cx| pin!(source.priority()).poll_unpin(cx).map_ok(drop));
    }),
    polls("Source::poll_read_with", &[Cloned], |s| {
        s.poll_source(|source, cx| source.poll_read_with(cx, |mut io| io.read(&mut [0])).map_ok(drop));
    }),
    polls("Source::poll_write_with", &[Cloned], |s| {
        s.fill();
        s.poll_source(|source, cx| source.poll_write_with(cx, |mut io| io.write(&[0])).map_ok(drop));
    }),
    polls("AsyncRead::poll_read", &[Cloned], |s| {
        s.poll_source(|mut source, cx| Pin::new(&mut source).poll_read(cx, &mut [0]).map_ok(drop));
    }),
    polls("AsyncWrite::poll_write", &[Cloned], |s| {
        s.fill();
        s.poll_source(|mut source, cx| Pin::new(&mut source).poll_write(cx, &[0]).map_ok(drop));
    }),
    polls("a lazy source", &[Cloned], |s| {
        let (stream, peer) = pair();
        stream.set_nonblocking(true).unwrap();
        *lock(&s.props.source) = Some(Arc::new(Source::lazy(stream, &s.props.handle)));
        s.peer = Some(peer);
        s.poll_source(|source, cx| source.poll_readable(cx).map_ok(drop));
    }),
    polls("a second waiter", &[Cloned], |s| {
        s.wait_beside();
        s.poll_source(|source, cx| source.poll_readable(cx).map_ok(drop));
    }),
    polls("the same waiter again", &[Cloned, Dropped], |s| {
        s.wait_for_source();
        s.poll_source(|source, cx| source.poll_readable(cx).map_ok(drop));
    }),
    polls("the same second waiter again", &[Cloned, Dropped], |s| {
        s.wait_beside();
        s.wait_for_source();
        s.poll_source(|source, cx| source.poll_readable(cx).map_ok(drop));
    }),
    Operation {
        name: "a waiter too many",
        calls: &[Woken, Dropped],
        inside: false,
        panic: Panic::Reactor,
        play: a_waiter_too_many,
    },
    polls("a task that has done enough", &[Woken], |s| {
        let source = s.props.source();
        s.armed(|s| while source.poll_writable(&mut s.cx()).is_ready() {});
    }),
    polls("a source without its reactor", &[Cloned, Dropped], |s| {
        s.reactor = None;
        let source = s.props.source();
        let poll = s.armed(|s| source.poll_readable(&mut s.cx()));
        assert!(matches!(poll, Poll::Ready(Err(_))));
    }),
    gives_up("a source that is dropped", |s| {
        s.wait_for_source();
        let source = take(&s.props.source);
        s.armed(|_| drop(source));
    }),
    gives_up("Source::into_inner", |s| {
        s.wait_for_source();
        let source = Arc::into_inner(take(&s.props.source).unwrap()).unwrap();
        s.armed(|_| source.into_inner().unwrap());
    }),
    // Futures that wait for a source.
    polls("readable's first poll", &[Cloned], |s| {
        let mut wait = readable(s.props.source());
        s.armed(|s| assert!(wait.poll_unpin(&mut s.cx()).is_pending()));
    }),
    polls("readable polled again", &[Cloned, Dropped], |s| {
        let mut wait = s.waiting(readable);
        s.armed(|s| assert!(wait.poll_unpin(&mut s.cx()).is_pending()));
    }),
    polls("readable polled again, in the list", &[Cloned, Dropped], |s| {
        s.wait_beside();
        let mut wait = s.waiting(readable);
        s.armed(|s| assert!(wait.poll_unpin(&mut s.cx()).is_pending()));
    }),
    gives_up("readable polled by another task", |s| {
        let mut wait = s.waiting(readable);
        let calm = s.props.calm.clone();
        s.armed(|_| assert!(wait.poll_unpin(&mut Context::from_waker(&calm)).is_pending()));
    }),
    gives_up("readable polled by another task, in the list", |s| {
        s.wait_beside();
        let mut wait = s.waiting(readable);
        let calm = s.props.calm.clone();
        s.armed(|_| assert!(wait.poll_unpin(&mut Context::from_waker(&calm)).is_pending()));
    }),
    gives_up("a readable that is dropped", |s| {
        let wait = s.waiting(readable);
        s.armed(|_| drop(wait));
    }),
    gives_up("a readable that is dropped, in the list", |s| {
        s.wait_beside();
        let wait = s.waiting(readable);
        s.armed(|_| drop(wait));
    }),
    gives_up("a writable that is dropped", |s| {
        s.fill();
        let wait = s.waiting(|source| async move { source.writable().await.map(drop) }.boxed());
        s.armed(|_| drop(wait));
    }),
    gives_up("a priority that is dropped", |s| {
        let wait = s.waiting(|source| async move { source.priority().await.map(drop) }.boxed());
        s.armed(|_| drop(wait));
    }),
    gives_up("a read_with that is dropped", |s| {
        let wait = s.waiting(|source| {
            async move { source.read_with(|mut stream| stream.read(&mut [0])).await.map(drop) }.boxed()
        });
        s.armed(|_| drop(wait));
    }),
    gives_up("a write_with that is dropped", |s| {
        s.fill();
        let wait = s.waiting(|source| {
            async move { source.write_with(|mut stream| stream.write(&[0])).await.map(drop) }.boxed()
        });
        s.armed(|_| drop(wait));
    }),
    wakes("an event for readable", |s| {
        let _wait = s.waiting(readable);
        s.wait_beside();
        s.fire(Scene::write_to_source);
    }),
    // Wakes by the reactor.
    wakes("an event for a reader", |s| {
        s.wait_for_source();
        s.wait_beside();
        s.fire(Scene::write_to_source);
    }),
    wakes("an event for a second reader", |s| {
        s.wait_beside();
        s.wait_for_source();
        s.fire(Scene::write_to_source);
    }),
    wakes("an event for a writer", |s| {
        s.fill();
        let source = s.props.source();
        assert!(source.poll_writable(&mut s.cx()).is_pending());
        drop(source);
        s.wait_beside();
        // Makes room for the writer, and sends a byte to the witness, which reads.
        let mut peer = s.peer.as_ref().unwrap();
        peer.set_nonblocking(true).unwrap();
        while peer.read(&mut [0; 65536]).is_ok() {}
        s.fire(Scene::write_to_source);
    }),
    wakes("a hang-up for a task that waits for priority", |s| {
        let _wait = s.waiting(|source| async move { source.priority().await.map(drop) }.boxed());
        s.wait_beside();
        s.fire(|s| s.peer = None);
    }),
    // `run` has a loop of its own and does not call `wait`.
    wakes("an event inside run", |s| {
        s.wait_for_source();
        s.wait_beside();
        // Gives the loop a task to wait for, which waits for the same event.
        let source = s.props.source();
        s.spawn(async move { source.readable().await.map(drop).unwrap() });
        s.pool.run_until_stalled();
        s.make_due(Scene::write_to_source);
        s.armed(|s| s.reactor.as_mut().unwrap().run(&mut s.pool).unwrap());
    }),
    Operation {
        name: "a reactor that is dropped, for a source",
        calls: &[Woken, Dropped],
        inside: false,
        panic: Panic::Reactor,
        play: |s| {
            s.wait_for_source();
            s.wait_beside();
            s.armed(|s| s.reactor = None);
        },
    },
    Operation {
        name: "a reactor that is dropped, for a timer",
        calls: &[Woken, Dropped],
        inside: false,
        panic: Panic::Reactor,
        play: |s| {
            s.wait_for_timer(Waits::timer);
            s.wait_beside();
            s.armed(|s| s.reactor = None);
        },
    },
    // Timers.
    polls("a timer's first poll", &[Cloned], |s| s.poll_timer(Waits::timer)),
    gives_up("a timer polled by another task", |s| {
        s.wait_for_timer(Waits::timer);
        let mut timer = take(&s.props.timer).unwrap();
        let calm = s.props.calm.clone();
        s.armed(|_| assert!(timer.poll(&mut Context::from_waker(&calm)).is_pending()));
    }),
    polls("a timer taken over by this task", &[Cloned], |s| {
        let mut timer = Waits::timer(&s.props.handle);
        assert!(timer.poll(&mut Context::from_waker(&s.props.calm)).is_pending());
        s.armed(|s| assert!(timer.poll(&mut s.cx()).is_pending()));
    }),
    wakes("a timer that fires", |s| s.fire_timer(Waits::timer)),
    wakes("a timer that is reset and fires", |s| {
        s.wait_for_timer(Waits::timer);
        let later = Instant::now() + Duration::from_secs(9);
        lock(&s.props.timer).as_mut().unwrap().reset(later);
        s.wait_beside();
        s.fire(Scene::write_to_source);
    }),
    gives_up("a timer that is dropped", |s| s.drop_timer(Waits::timer)),
    polls("Sleep's first poll", &[Cloned], |s| s.poll_timer(Waits::sleep)),
    wakes("a Sleep that ends", |s| s.fire_timer(Waits::sleep)),
    gives_up("a Sleep that is dropped", |s| s.drop_timer(Waits::sleep)),
    polls("Timeout's first poll", &[Cloned], |s| s.poll_timer(Waits::timeout)),
    wakes("a Timeout that ends", |s| s.fire_timer(Waits::timeout)),
    gives_up("a Timeout that is dropped", |s| s.drop_timer(Waits::timeout)),
    // Sockets.
    polls("TcpListener::poll_accept", &[Cloned], |s| {
        let listener = s.listener();
        s.armed(|s| assert!(listener.poll_accept(&mut s.cx()).is_pending()));
    }),
    polls("Incoming::poll_next", &[Cloned], |s| {
        let mut incoming = s.listener().incoming();
        s.armed(|s| assert!(Pin::new(&mut incoming).poll_next(&mut s.cx()).is_pending()));
    }),
    wakes("a connection for poll_accept", |s| {
        let listener = s.listener();
        assert!(listener.poll_accept(&mut s.cx()).is_pending());
        s.wait_beside();
        let address = listener.local_addr().unwrap();
        let mut client = None;
        s.make_due(|s| {
            s.write_to_source();
            client = Some(std::net::TcpStream::connect(address).unwrap());
        });
        s.armed(Scene::turn);
    }),
    gives_up("a TcpListener that is dropped", |s| {
        let listener = s.listener();
        assert!(listener.poll_accept(&mut s.cx()).is_pending());
        s.armed(|_| drop(listener));
    }),
    polls("TcpStream::poll_read", &[Cloned], |s| {
        let (mut stream, _peer) = s.connection();
        s.armed(|s| assert!(Pin::new(&mut stream).poll_read(&mut s.cx(), &mut [0]).is_pending()));
    }),
    polls("TcpStream::poll_write", &[Cloned], |s| {
        let (mut stream, _peer) = s.connection();
        let full = vec![0; 1 << 20];
        let mut cx = Context::from_waker(Waker::noop());
        while Pin::new(&mut stream).poll_write(&mut cx, &full).is_ready() {}
        s.armed(|s| assert!(Pin::new(&mut stream).poll_write(&mut s.cx(), &full).is_pending()));
    }),
    wakes("bytes for TcpStream::poll_read", |s| {
        let (mut stream, mut peer) = s.connection();
        assert!(Pin::new(&mut stream).poll_read(&mut s.cx(), &mut [0]).is_pending());
        s.wait_beside();
        s.make_due(|s| {
            s.write_to_source();
            peer.write_all(b"x").unwrap();
        });
        s.armed(Scene::turn);
    }),
    gives_up("a TcpStream that is dropped", |s| {
        let (mut stream, _peer) = s.connection();
        assert!(Pin::new(&mut stream).poll_read(&mut s.cx(), &mut [0]).is_pending());
        s.armed(|_| drop(stream));
    }),
    polls("TcpStream::connect", &[Cloned], |s| {
        let handle = s.props.handle.clone();
        let mut connect = pin!(TcpStream::connect_with(FULL_LISTENER.address, &handle));
        s.armed(|s| assert!(connect.as_mut().poll(&mut s.cx()).is_pending()));
    }),
    gives_up("a connect that is dropped", |s| {
        let handle = s.props.handle.clone();
        let mut connect = TcpStream::connect_with(FULL_LISTENER.address, &handle).boxed();
        assert!(connect.poll_unpin(&mut s.cx()).is_pending());
        s.armed(|_| drop(connect));
    }),
    // Tasks.
    of_task("a task that polls", &[Cloned], |s| {
        let (source, hostile) = (s.props.source(), s.hostile.clone());
        s.spawn(poll_fn(move |_| {
            assert!(source.poll_readable(&mut Context::from_waker(&hostile)).is_pending());
            Poll::Ready(())
        }));
        s.armed(|s| s.pool.run_until_stalled());
    }),
    Operation {
        panic: Panic::Reactor,
        ..of_task("a task that ends", &[Dropped], |s| {
            let (source, hostile) = (take(&s.props.source).unwrap(), s.hostile.clone());
            s.spawn(poll_fn(move |_| {
                assert!(source.poll_readable(&mut Context::from_waker(&hostile)).is_pending());
                Poll::Ready(())
            }));
            s.armed(|s| s.pool.run_until_stalled());
        })
    },
    Operation {
        name: "a pool that is dropped",
        calls: &[Dropped],
        inside: false,
        panic: Panic::Reactor,
        play: |s| {
            let (source, hostile) = (take(&s.props.source).unwrap(), s.hostile.clone());
            s.spawn(poll_fn(move |_| source.poll_readable(&mut Context::from_waker(&hostile)).map(|_| ())));
            s.pool.run_until_stalled();
            s.armed(|s| s.pool = LocalPool::new());
        },
    },
    Operation {
        name: "a main future that polls",
        calls: &[Cloned],
        inside: true,
        panic: Panic::Caller,
        play: |s| {
            let (source, hostile) = (s.props.source(), s.hostile.clone());
            let main = poll_fn(move |_| {
                assert!(source.poll_readable(&mut Context::from_waker(&hostile)).is_pending());
                Poll::Ready(())
            });
            s.armed(|s| s.reactor.as_mut().unwrap().run_until(&mut s.pool, main).unwrap());
        },
    },
];

/// Returns an operation that the test calls itself, outside any loop.
const fn polls(name: &'static str, calls: &'static [WakerCall], play: fn(&mut Scene)) -> Operation {
    Operation { name, calls, inside: false, panic: Panic::Caller, play }
}

/// Returns an operation outside any loop that drops the waker of a wait that is given up. The waker may be that of another
/// task.
const fn gives_up(name: &'static str, play: fn(&mut Scene)) -> Operation {
    Operation { name, calls: &[Dropped], inside: false, panic: Panic::Reactor, play }
}

/// Returns an operation that is a turn of the reactor.
const fn wakes(name: &'static str, play: fn(&mut Scene)) -> Operation {
    Operation { name, calls: &[Woken, Dropped], inside: true, panic: Panic::Reactor, play }
}

/// Returns an operation inside a task.
const fn of_task(name: &'static str, calls: &'static [WakerCall], play: fn(&mut Scene)) -> Operation {
    Operation { name, calls, inside: true, panic: Panic::Task, play }
}

/// A future that waits for a source.
type Wait = BoxFuture<'static, io::Result<()>>;

fn readable(source: Arc<Source<UnixStream>>) -> Wait {
    async move { source.readable().await.map(drop) }.boxed()
}

/// More waiters than a source keeps: the whole list is woken and emptied, so that tasks still waiting register again.
fn a_waiter_too_many(s: &mut Scene) {
    s.wait_beside();
    s.wait_for_source();
    let source = s.props.source();
    for _ in 1..32 {
        let (counter, waker) = CountingWaker::new();
        s.evicted.push(counter);
        assert!(source.poll_readable(&mut Context::from_waker(&waker)).is_pending());
    }
    let (counter, waker) = CountingWaker::new();
    s.evicted.push(counter);
    s.armed(|_| assert!(source.poll_readable(&mut Context::from_waker(&waker)).is_pending()));
}

thread_local! {
    /// The spawner of the scene. A spawner stays on its thread, so the acts find it here and not in [`Props`].
    static SPAWNER: RefCell<Option<Spawner>> = const { RefCell::new(None) };
}

/// An address to which connecting stays pending.
static FULL_LISTENER: LazyLock<FullListener> = LazyLock::new(full_listener);

/// The values that acts use. Acts run in the middle of library code, and call library code, so no lock of these fields
/// is held across a call.
struct Props {
    handle: Handle,
    /// A waker that does nothing.
    calm: Waker,
    /// The source that the operation waits for, if it waits for a source.
    source: Mutex<Option<Arc<Source<UnixStream>>>>,
    /// The timer that the operation waits for, if it waits for a timer.
    timer: Mutex<Option<Waits>>,
    /// A source and a timer that another waker waits for, ready and due in the same batch.
    other_source: Mutex<Option<Source<UnixStream>>>,
    other_timer: Mutex<Option<Timer>>,
    /// Values made by the acts.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
    /// Whether a blocking wait is to be refused.
    inside: bool,
}

impl Props {
    fn keep(&self, thing: impl Any + Send) -> bool {
        lock(&self.kept).push(Box::new(thing));
        true
    }

    /// Returns the operation's source. The operation holds the returned reference, so the acts cannot drop the last
    /// one.
    fn source(&self) -> Arc<Source<UnixStream>> {
        Arc::clone(lock(&self.source).as_ref().unwrap())
    }

    /// Tries to block the thread with a new reactor, because the scene's reactor is borrowed.
    fn try_to_block(&self, block: impl FnOnce(&mut Reactor) -> io::Result<()>) -> bool {
        let result = block(&mut Reactor::new().unwrap());
        match result {
            Ok(()) => assert!(!self.inside, "the loop was blocked, and no error came"),
            Err(error) => assert!(self.inside && error.to_string().contains("called inside a task"), "{error}"),
        }
        true
    }
}

/// A timer of one of three kinds.
enum Waits {
    Timer(Timer),
    Sleep(Sleep),
    Timeout(Timeout<Pending<()>>),
}

impl Waits {
    fn timer(handle: &Handle) -> Self {
        Self::Timer(Timer::after(HOUR, handle))
    }

    fn sleep(_: &Handle) -> Self {
        Self::Sleep(async_timeout::sleep(HOUR))
    }

    fn timeout(handle: &Handle) -> Self {
        Self::Timeout(Timeout::with_handle(pending(), HOUR, handle))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Timer(timer) => timer.poll_unpin(cx).map(drop),
            Self::Sleep(sleep) => sleep.poll_unpin(cx),
            Self::Timeout(timeout) => timeout.poll_unpin(cx).map(drop),
        }
    }

    fn reset(&mut self, deadline: Instant) {
        match self {
            Self::Timer(timer) => timer.reset(deadline),
            Self::Sleep(sleep) => sleep.reset(deadline),
            Self::Timeout(timeout) => Pin::new(timeout).reset(deadline),
        }
    }
}

/// A source and a timer that wait beside the hostile waker. Each must be woken once.
struct Witness {
    peer: UnixStream,
    source: Source<UnixStream>,
    timer: Timer,
    by_source: Arc<CountingWaker>,
    by_timer: Arc<CountingWaker>,
}

impl Witness {
    fn new(handle: &Handle) -> Self {
        let ((by_source, reads), (by_timer, sleeps)) = (CountingWaker::new(), CountingWaker::new());
        let (stream, peer) = pair();
        let (source, mut timer) = (Source::with_handle(stream, handle).unwrap(), Timer::after(HOUR, handle));
        assert!(source.poll_readable(&mut Context::from_waker(&reads)).is_pending());
        assert!(timer.poll_unpin(&mut Context::from_waker(&sleeps)).is_pending());
        Self { peer, source, timer, by_source, by_timer }
    }

    fn make_due(&mut self, now: Instant) {
        (&self.peer).write_all(b"x").unwrap();
        self.timer.reset(now);
    }

    fn check(&mut self, reactor_is_gone: bool) {
        assert_eq!((self.by_source.count(), self.by_timer.count()), (1, 1), "a witness was lost");
        let mut cx = Context::from_waker(Waker::noop());
        let (read, slept) = (self.source.poll_readable(&mut cx), self.timer.poll_unpin(&mut cx));
        assert!(matches!(read, Poll::Ready(result) if result.is_err() == reactor_is_gone));
        assert!(matches!(slept, Poll::Ready(result) if result.is_err() == reactor_is_gone));
    }
}

/// The reactor, pool and wakers of one cell.
struct Scene {
    /// `None` once the reactor has been dropped.
    reactor: Option<Reactor>,
    pool: LocalPool,
    props: Arc<Props>,
    hostile: Waker,
    armed: Arc<AtomicBool>,
    /// The other end of `props.source`.
    peer: Option<UnixStream>,
    /// The other end of `props.other_source`.
    other_peer: UnixStream,
    /// The witness that is ready before the operation's source and due before its timer.
    first: Witness,
    /// The witness behind all others.
    last: Witness,
    /// The counter of a waker that waits for the operation's own source.
    beside: Option<Arc<CountingWaker>>,
    /// The counters of wakers in a list that was emptied together with the hostile waker.
    evicted: Vec<Arc<CountingWaker>>,
}

impl Scene {
    fn cx(&self) -> Context<'_> {
        Context::from_waker(&self.hostile)
    }

    /// Runs `operation` with the hostile waker armed.
    fn armed<T>(&mut self, operation: impl FnOnce(&mut Self) -> T) -> T {
        self.armed.store(true, Ordering::SeqCst);
        let result = catch_unwind(AssertUnwindSafe(|| operation(self)));
        self.armed.store(false, Ordering::SeqCst);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Polls the source with the armed hostile waker.
    fn poll_source(&mut self, poll: fn(&Source<UnixStream>, &mut Context<'_>) -> Poll<io::Result<()>>) {
        let source = self.props.source();
        let result = self.armed(|s| poll(&source, &mut s.cx()));
        assert!(!matches!(result, Poll::Ready(Err(_))), "{result:?}");
    }

    /// Registers the hostile waker for reading, disarmed.
    fn wait_for_source(&self) {
        assert!(self.props.source().poll_readable(&mut self.cx()).is_pending());
    }

    /// Returns a future that waits for the source with the hostile waker, disarmed.
    fn waiting(&self, make: fn(Arc<Source<UnixStream>>) -> Wait) -> Wait {
        let mut wait = make(self.props.source());
        assert!(wait.poll_unpin(&mut self.cx()).is_pending());
        wait
    }

    /// Registers another waker for reading.
    fn wait_beside(&mut self) {
        let (counter, waker) = CountingWaker::new();
        assert!(self.props.source().poll_readable(&mut Context::from_waker(&waker)).is_pending());
        self.beside = Some(counter);
    }

    /// Fills the source's send buffer, so that a write has to wait.
    fn fill(&self) {
        let source = self.props.source();
        let mut cx = Context::from_waker(Waker::noop());
        while source.poll_write_with(&mut cx, |mut stream| stream.write(&[0; 65536])).is_ready() {}
    }

    fn write_to_source(&mut self) {
        self.peer.as_ref().unwrap().write_all(b"x").unwrap();
    }

    fn poll_timer(&mut self, make: fn(&Handle) -> Waits) {
        let _current = self.props.handle.enter();
        let mut timer = make(&self.props.handle);
        self.armed(|s| assert!(timer.poll(&mut s.cx()).is_pending()));
    }

    /// Registers the hostile waker with a timer, disarmed.
    fn wait_for_timer(&mut self, make: fn(&Handle) -> Waits) {
        let _current = self.props.handle.enter();
        let mut timer = make(&self.props.handle);
        assert!(timer.poll(&mut self.cx()).is_pending());
        *lock(&self.props.timer) = Some(timer);
    }

    fn fire_timer(&mut self, make: fn(&Handle) -> Waits) {
        self.wait_for_timer(make);
        self.wait_beside();
        self.fire(Self::write_to_source);
    }

    fn drop_timer(&mut self, make: fn(&Handle) -> Waits) {
        self.wait_for_timer(make);
        let timer = take(&self.props.timer);
        self.armed(|_| drop(timer));
    }

    fn listener(&self) -> TcpListener {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        TcpListener::from_std(listener, &self.props.handle).unwrap()
    }

    fn connection(&self) -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (TcpStream::from_std(listener.accept().unwrap().0, &self.props.handle).unwrap(), peer)
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        SPAWNER.with_borrow(|spawner| spawner.as_ref().unwrap().spawn_local(future).unwrap());
    }

    fn turn(&mut self) {
        self.reactor.as_mut().unwrap().wait(Some(Duration::ZERO)).unwrap();
    }

    /// Makes everything ready or due, in this order: the first witness, the effect of `make_ready` and the operation's
    /// timer, the other source and timer, the last witness.
    fn make_due(&mut self, make_ready: impl FnOnce(&mut Self)) {
        let now = Instant::now();
        self.first.make_due(now);
        make_ready(self);
        if let Some(timer) = &mut *lock(&self.props.timer) {
            timer.reset(now);
        }
        // Fails if the source has been dropped.
        let _ = self.other_peer.write_all(b"x");
        if let Some(timer) = &mut *lock(&self.props.other_timer) {
            timer.reset(now);
        }
        self.last.make_due(now);
    }

    /// Runs one turn with the waker armed, and with all events in one batch.
    fn fire(&mut self, make_ready: impl FnOnce(&mut Self)) {
        self.make_due(make_ready);
        self.armed(Self::turn);
    }
}

/// Plays one cell. Returns whether the act had something to do, and a reference to state that must be freed when the
/// thread has ended.
fn play(operation: &Operation, call: WakerCall, act: &'static Act) -> (bool, Weak<dyn Any + Send + Sync>) {
    let _watchdog = watchdog(TIME);
    let (reactor, pool) = (Reactor::new().unwrap(), LocalPool::new());
    let handle = reactor.handle();
    SPAWNER.set(Some(reactor.spawner(&pool)));
    let first = Witness::new(&handle);
    let (stream, peer) = pair();
    let source = Arc::new(Source::with_handle(stream, &handle).unwrap());
    let other = Witness::new(&handle);
    let last = Witness::new(&handle);
    let props = Arc::new(Props {
        handle: handle.clone(),
        calm: Waker::noop().clone(),
        source: Mutex::new(Some(source)),
        timer: Mutex::default(),
        other_source: Mutex::new(Some(other.source)),
        other_timer: Mutex::new(Some(other.timer)),
        kept: Mutex::default(),
        inside: operation.inside,
    });

    let (armed, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (applied, complaint) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let hostile: WakerAct = {
        let (props, armed, ran) = (Arc::clone(&props), Arc::clone(&armed), Arc::clone(&ran));
        let (applied, complaint) = (Arc::clone(&applied), Arc::clone(&complaint));
        Arc::new(move |called| {
            // Once only: an act that drops wakers must not call itself.
            if called != call || !armed.swap(false, Ordering::SeqCst) {
                return;
            }
            ran.fetch_add(1, Ordering::SeqCst);
            // A failed assertion would otherwise be caught with the waker's panics.
            match catch_unwind(AssertUnwindSafe(|| (act.run)(&props))) {
                Ok(did) => applied.store(did, Ordering::SeqCst),
                Err(panic) if panic.is::<Deliberate>() => {
                    applied.store(true, Ordering::SeqCst);
                    resume_unwind(panic);
                }
                Err(panic) => *lock(&complaint) = Some(panic),
            }
        })
    };
    let remains: Weak<dyn Any + Send + Sync> = Arc::downgrade(&props) as Weak<dyn Any + Send + Sync>;
    let hostile = hostile_waker(hostile);
    let mut scene = Scene {
        reactor: Some(reactor),
        pool,
        props,
        hostile,
        armed,
        peer: Some(peer),
        other_peer: other.peer,
        first,
        last,
        beside: None,
        evicted: Vec::new(),
    };
    // The first event of each source is "writable". It must not arrive in the middle of the operation.
    scene.turn();

    let result = catch_unwind(AssertUnwindSafe(|| (operation.play)(&mut scene)));

    // Check the act and its panic.
    if let Some(panic) = lock(&complaint).take() {
        resume_unwind(panic);
    }
    assert_eq!(ran.load(Ordering::SeqCst), 1, "times that the waker was called for this");
    let panicked = |place| usize::from(act.name == "panics" && operation.panic == place);
    match result {
        Err(panic) if panic.is::<Deliberate>() => assert_eq!(panicked(Panic::Caller), 1, "a panic came out"),
        Err(panic) => resume_unwind(panic),
        Ok(()) => assert_eq!(panicked(Panic::Caller), 0, "a panic was swallowed"),
    }
    let stats = handle.stats();
    let panics = (panicked(Panic::Reactor) as u64, panicked(Panic::Task) as u64);
    assert_eq!((stats.waker_panics, stats.task_panics), panics);
    assert!(Handle::current().is_err(), "something is current outside of everything");

    // Check the witnesses.
    if scene.first.by_source.count() == 0 {
        let source_is_there = lock(&scene.props.source).is_some();
        if source_is_there && scene.beside.is_none() {
            scene.wait_beside();
        } else if !source_is_there {
            // The source was dropped, so its witness has nothing to wait for.
            scene.beside = None;
        }
        scene.make_due(|scene| {
            if source_is_there {
                scene.write_to_source();
            }
        });
        scene.turn();
    }
    let reactor_is_gone = scene.reactor.is_none();
    scene.first.check(reactor_is_gone);
    scene.last.check(reactor_is_gone);
    for counter in scene.beside.iter().chain(&scene.evicted) {
        assert_eq!(counter.count(), 1, "a waiter for the same source was lost");
    }

    // Check that the reactor still works.
    if let Some(reactor) = &mut scene.reactor {
        let well = async {
            let (stream, peer) = pair();
            let source = Source::new(stream).unwrap();
            let writer = Timer::after(Duration::from_micros(200), &Handle::current().unwrap());
            writer.await.unwrap();
            (&peer).write_all(b"x").unwrap();
            source.read_with(|mut stream| stream.read(&mut [0])).await.unwrap()
        };
        assert_eq!(reactor.run_until(&mut scene.pool, well).unwrap(), 1);
    }
    scene.pool.run_until_stalled();

    // Check that nothing is left.
    let Scene { reactor, pool, props, hostile, peer, first, last, .. } = scene;
    drop((take(&props.source), take(&props.timer), take(&props.other_source), take(&props.other_timer)));
    let kept = std::mem::take(&mut *lock(&props.kept));
    drop((kept, first, last, peer, hostile, props));
    let stats = handle.stats();
    assert_eq!((stats.sources, stats.timers, stats.live_tasks, stats.ready_tasks), (0, 0, 0, 0));
    drop((reactor, pool));
    SPAWNER.take();
    (applied.load(Ordering::SeqCst), remains)
}

/// Bugs D1, D2 and D4: plays the whole table.
#[test]
fn every_call_of_a_hostile_waker() {
    let _alone = alone();
    LazyLock::force(&FULL_LISTENER);
    let (mut played, mut failed) = (0, Vec::new());
    for operation in OPERATIONS {
        for &call in operation.calls {
            for act in ACTS {
                let cell = format!("{}: {call:?} {}", operation.name, act.name);
                let fds = open_fds();
                let thread = std::thread::Builder::new().name(cell.clone());
                match thread.spawn(move || play(operation, call, act)).unwrap().join() {
                    Err(_) => failed.push(cell),
                    Ok((applied, remains)) => {
                        played += usize::from(applied);
                        if remains.strong_count() != 0 || open_fds() != fds {
                            failed.push(format!("{cell}, leaves something behind"));
                        }
                    }
                }
            }
        }
    }
    println!("{played} cells of {} operations and {} acts", OPERATIONS.len(), ACTS.len());
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
    assert!(played >= 900, "only {played} cells were played");
}

/// Bug A12: the waker drops the reactor while a poll clones the waker. The poll returns an error.
#[test]
fn a_clone_that_drops_the_reactor() {
    thread_local! {
        static REACTOR: RefCell<Option<Reactor>> = const { RefCell::new(None) };
    }
    let _alone = alone();
    let _watchdog = watchdog(TIME);
    let dropping = || hostile_waker(Arc::new(|_| drop(REACTOR.take())));
    for again in [false, true] {
        let reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let (stream, _peer) = pair();
        let source = Source::with_handle(stream, &handle).unwrap();
        let mut timer = Timer::after(HOUR, &handle);
        let (counter, counting) = CountingWaker::new();
        let mut cx = Context::from_waker(&counting);
        if again {
            assert!(source.poll_readable(&mut cx).is_pending());
            assert!(timer.poll_unpin(&mut cx).is_pending());
        }
        REACTOR.set(Some(reactor));
        let hostile = dropping();
        let mut cx = Context::from_waker(&hostile);
        if again {
            assert!(matches!(timer.poll_unpin(&mut cx), Poll::Ready(Err(_))));
            assert!(matches!(source.poll_readable(&mut cx), Poll::Ready(Err(_))));
        } else {
            assert!(matches!(source.poll_readable(&mut cx), Poll::Ready(Err(_))));
            assert!(matches!(timer.poll_unpin(&mut cx), Poll::Ready(Err(_))));
        }
        assert!(REACTOR.with_borrow(Option::is_none));
        assert_eq!(counter.count(), if again { 2 } else { 0 }, "the waiter was woken");
        assert_eq!((handle.stats().sources, handle.stats().timers), (0, 0));
    }
}

/// A waker that panics when it is dropped, after the code that made it has switched it on.
fn panics_in_drop(on: &Arc<AtomicBool>) -> Waker {
    let on = Arc::clone(on);
    hostile_waker(Arc::new(move |call| {
        if call == Dropped && on.load(Ordering::SeqCst) {
            resume_unwind(Box::new(Deliberate));
        }
    }))
}

/// Found 22: sources, timers and futures are dropped by code that is unwinding, and their wakers panic, too. A second
/// panic that got out of a drop would end the process. The first panic goes on, and all others are counted.
#[test]
fn drops_while_unwinding() {
    let _alone = alone();
    let _watchdog = watchdog(TIME);
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let on = Arc::new(AtomicBool::new(false));
    // Kept, so that only the clones in the reactor are dropped while the switch is on.
    let wakers: Vec<_> = (0..5).map(|_| panics_in_drop(&on)).collect();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let (stream, _peer) = pair();
        let (shared, (other, _other_peer)) = (Arc::new(Source::with_handle(stream, &handle).unwrap()), pair());
        let alone = Source::with_handle(other, &handle).unwrap();
        let mut timer = Timer::after(HOUR, &handle);
        // In the order of declaration reversed: the future, the timer, the sources.
        let mut wait = readable(Arc::clone(&shared));
        assert!(alone.poll_readable(&mut Context::from_waker(&wakers[0])).is_pending());
        assert!(alone.poll_readable(&mut Context::from_waker(&wakers[1])).is_pending());
        assert!(shared.poll_readable(&mut Context::from_waker(&wakers[2])).is_pending());
        assert!(timer.poll_unpin(&mut Context::from_waker(&wakers[3])).is_pending());
        assert!(wait.poll_unpin(&mut Context::from_waker(&wakers[4])).is_pending());
        on.store(true, Ordering::SeqCst);
        resume_unwind(Box::new("the first"));
    }));
    on.store(false, Ordering::SeqCst);
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "the first");
    assert_eq!(handle.stats().waker_panics, 5);
    assert_eq!((handle.stats().sources, handle.stats().timers), (0, 0));
}

/// Found 22: a task drops a source for which many others wait, and each waker panics. The task goes on, each waker is
/// dropped, and each panic is counted.
#[test]
fn the_wakers_of_strangers() {
    let _alone = alone();
    let _watchdog = watchdog(TIME);
    let (mut reactor, mut pool) = (Reactor::new().unwrap(), LocalPool::new());
    let handle = reactor.handle();
    let on = Arc::new(AtomicBool::new(false));
    let wakers: Vec<_> = (0..20).map(|_| panics_in_drop(&on)).collect();
    let (stream, _peer) = pair();
    let source = Source::with_handle(stream, &handle).unwrap();
    for waker in &wakers {
        assert!(source.poll_readable(&mut Context::from_waker(waker)).is_pending());
    }
    let went_on = reactor
        .run_until(&mut pool, async {
            on.store(true, Ordering::SeqCst);
            drop(source);
            on.store(false, Ordering::SeqCst);
            true
        })
        .unwrap();
    assert!(went_on);
    assert_eq!((handle.stats().waker_panics, handle.stats().task_panics), (20, 0));
}

/// Runs one test at a time, because descriptors are counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    lock(&LOCK)
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the value out of the lock, so that it is dropped without the lock.
fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    lock(slot).take()
}
