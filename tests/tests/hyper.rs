//! hyper 1 with our sockets, spawner and timers: both protocols, both sides, and errors.

use async_epoll::{LocalRuntime, Spawner};
use async_net_lite::HyperSocket;
use async_net_lite::unix::UnixStream;
use async_net_lite::{HyperExecutor, HyperIo, HyperTimer, TcpStream};
use async_timeout::TimeoutExt;
use futures::future::{RemoteHandle, join_all, pending, ready, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::noop_waker;
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, HOST, UPGRADE};
use hyper::rt::{Executor, Read, ReadBuf, Sleep, Timer, Write};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, client, server};
use socket2::SockRef;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt::Debug;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tests::common::tcp::{pair, std_pair};
use tests::{CountingWaker, TIME, noise, thread_cpu, watchdog};

const MIB: usize = 1 << 20;

// The traits that hyper and its users require.
assert_impl_all!(HyperIo<TcpStream>: Read, Write, Send, Sync, Unpin, Clone, Debug, From<TcpStream>);
assert_impl_all!(HyperTimer: Timer, Send, Sync, Copy, Default, Debug);
assert_impl_all!(HyperExecutor: Clone, Debug, From<Spawner>);
assert_impl_all!(dyn Sleep: Send, Sync);
assert_not_impl_any!(HyperExecutor: Send, Sync);
// The trait is sealed: a type of std has no `Read` here.
assert_not_impl_any!(HyperIo<std::net::TcpStream>: Read, Write);
assert_impl_all!(HyperIo<UnixStream>: Read, Write, Send, Sync, Unpin, Clone, Debug, From<UnixStream>);

type Body = Either<Full<Bytes>, Incoming>;
type Answer = Result<Response<Body>, hyper::Error>;

/// Runs a test, and then the tasks that are left, which must end by themselves.
fn run<T>(test: impl AsyncFnOnce(&Spawner) -> T) -> T {
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let output = runtime.run_until(test(&spawner)).unwrap();
    runtime.run().unwrap();
    assert_eq!(spawner.live_tasks(), 0);
    output
}

fn text(text: &str) -> Response<Body> {
    Response::new(Either::Left(Full::from(text.to_owned())))
}

/// The web site: `/` answers "hello", `/echo` sends the body back as it arrives, `/length` answers with its length.
async fn answer(request: Request<Incoming>) -> Answer {
    match request.uri().path() {
        "/" => Ok(text("hello")),
        "/echo" => Ok(Response::new(Either::Right(request.into_body()))),
        "/length" => Ok(text(&request.into_body().collect().await?.to_bytes().len().to_string())),
        _ => {
            let mut response = text("");
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
    }
}

/// Spawns an HTTP/1 server for one connection.
fn serve(spawner: &Spawner, stream: impl HyperSocket + 'static) -> RemoteHandle<hyper::Result<()>> {
    let connection = server::conn::http1::Builder::new()
        .half_close(true)
        .pipeline_flush(true)
        .serve_connection(HyperIo::new(stream), service_fn(answer));
    spawner.spawn_local_with_handle(connection).unwrap()
}

/// Returns an HTTP/1 client. Its connection is a spawned task.
async fn handshake(spawner: &Spawner, stream: impl HyperSocket + 'static) -> SendRequest<Full<Bytes>> {
    let (requests, connection) = client::conn::http1::handshake(HyperIo::new(stream)).await.unwrap();
    spawner.spawn_local(async move { connection.await.unwrap() }).unwrap();
    requests
}

fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).header(HOST, "localhost").body(Full::new(body.into())).unwrap()
}

async fn body(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Several requests over one connection, and an orderly end on both sides.
#[test]
fn requests_and_answers() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (client, stream) = pair().await;
        let served = serve(spawner, stream);
        let mut requests = handshake(spawner, client).await;
        for _ in 0..3 {
            let response = requests.send_request(request(Method::GET, "/", "")).await.unwrap();
            assert_eq!((response.status(), &body(response).await[..]), (StatusCode::OK, &b"hello"[..]));
        }
        let response = requests.send_request(request(Method::HEAD, "/", "")).await.unwrap();
        assert_eq!(response.headers()["content-length"], "5");
        assert_eq!(body(response).await, "");
        let response = requests.send_request(request(Method::GET, "/elsewhere", "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(body(response).await, "");
        drop(requests);
        served.await.unwrap();
    });
}

/// A hundred requests in one write are answered in order.
#[test]
fn pipelined_requests() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (mut client, stream) = pair().await;
        let served = serve(spawner, stream);
        let mut sent = Vec::new();
        for number in 0..100 {
            let length = number.to_string().len();
            write!(sent, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{number}").unwrap();
        }
        client.write_all(&sent).await.unwrap();
        client.close().await.unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        let bodies = received.split("HTTP/1.1 200 OK\r\n").skip(1).map(|part| part.split_once("\r\n\r\n").unwrap().1);
        // hyper knows the length of the echoed body, so the answers are not chunked.
        assert!(bodies.eq((0..100).map(|number| number.to_string())), "{received}");
        served.await.unwrap();
    });
}

/// Short reads and short writes: a mebibyte in each direction, through buffers of all sizes.
#[test]
fn large_bodies_both_ways() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (client, stream) = pair().await;
        // The kernel's buffers are smaller than the body, so both sides have to wait.
        SockRef::from(&client).set_send_buffer_size(16 * 1024).unwrap();
        SockRef::from(&stream).set_send_buffer_size(16 * 1024).unwrap();
        let served = serve(spawner, stream);
        let mut requests = handshake(spawner, client).await;
        let sent = noise(1, MIB);
        let sum = checksum(&sent);
        for _ in 0..2 {
            let response = requests.send_request(request(Method::POST, "/echo", sent.clone())).await.unwrap();
            let received = body(response).await;
            assert_eq!((received.len(), checksum(&received)), (MIB, sum));
        }
        let response = requests.send_request(request(Method::POST, "/length", sent)).await.unwrap();
        assert_eq!(body(response).await, MIB.to_string());
        drop(requests);
        served.await.unwrap();
    });
}

/// A client closes in the middle of a body, by a FIN or by a reset: the service gets an error, and the task ends.
#[test]
fn clients_that_go_in_mid_body() {
    let _watchdog = watchdog(TIME);
    for resets in [false, true] {
        run(async |spawner| {
            let (mut client, stream) = std_pair().await;
            let served = serve(spawner, stream);
            client.write_all(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nonly this").unwrap();
            if resets {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            assert!(served.await.is_err(), "resets: {resets}");
        });
    }
}

/// A client reads nothing of a large answer and closes: the server neither hangs nor spins.
#[test]
fn a_client_that_goes_in_mid_answer() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (mut client, stream) = std_pair().await;
        SockRef::from(&stream).set_send_buffer_size(16 * 1024).unwrap();
        let service = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(vec![0; 16 * MIB])))));
        let connection = server::conn::http1::Builder::new().serve_connection(HyperIo::new(stream), service);
        let served = spawner.spawn_local_with_handle(connection).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let before = thread_cpu();
        async_timeout::sleep(Duration::from_millis(300)).await;
        let used = thread_cpu() - before;
        assert!(used < Duration::from_millis(100), "waiting for a silent client took {used:?}");
        drop(client);
        assert!(served.await.is_err());
    });
}

/// A client that half-closes after its request still gets the answer.
#[test]
fn half_closed_clients_are_answered() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (mut client, stream) = pair().await;
        let served = serve(spawner, stream);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(received.starts_with("HTTP/1.1 200 OK\r\n") && received.ends_with("hello"), "{received}");
        served.await.unwrap();
    });
}

/// Behaviour 223, 225: the time limit for a head counts from the accept, includes the time between two requests, and is
/// not restarted by each byte.
#[test]
fn slow_heads_are_cut_off() {
    let _watchdog = watchdog(TIME);
    const LIMIT: Duration = Duration::from_millis(300);
    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // Silent from the start; one byte now and then; silent after a request.
    for (first, then) in [(&b""[..], &b""[..]), (b"", HEAD), (HEAD, b"")] {
        run(async |spawner| {
            let (mut client, stream) = pair().await;
            let begin = Instant::now();
            let connection = server::conn::http1::Builder::new()
                .timer(HyperTimer::new())
                .header_read_timeout(LIMIT)
                .serve_connection(HyperIo::new(stream), service_fn(answer));
            let served = spawner.spawn_local_with_handle(connection).unwrap();
            if !first.is_empty() {
                client.write_all(first).await.unwrap();
                let mut received = [0; 256];
                assert!(client.read(&mut received).await.unwrap() > 0);
            }
            let dribble = async {
                for byte in then {
                    client.write_all(&[*byte]).await?;
                    async_timeout::sleep(LIMIT / 3).await;
                }
                pending().await
            };
            let cut = async { served.await.map_err(io::Error::other) };
            let result: io::Result<((), ())> = try_join(dribble, cut).await;
            let took = begin.elapsed();
            let error = result.unwrap_err();
            let error = error.get_ref().and_then(|error| error.downcast_ref::<hyper::Error>()).unwrap();
            assert!(error.is_timeout(), "{error:?}");
            // Never early, and long before the last of the 26 bytes of the head.
            assert!(took >= LIMIT && took < LIMIT * 7, "{took:?}");
        });
    }
}

/// A client that keeps sending requests is not cut off by the time limit for heads.
#[test]
fn the_time_for_a_head_begins_anew_with_each_request() {
    let _watchdog = watchdog(TIME);
    const LIMIT: Duration = Duration::from_secs(1);
    run(async |spawner| {
        let (client, stream) = pair().await;
        let connection = server::conn::http1::Builder::new()
            .timer(HyperTimer)
            .header_read_timeout(LIMIT)
            .serve_connection(HyperIo::new(stream), service_fn(answer));
        let served = spawner.spawn_local_with_handle(connection).unwrap();
        let mut requests = handshake(spawner, client).await;
        let begin = Instant::now();
        while begin.elapsed() < LIMIT * 2 {
            let response = requests.send_request(request(Method::GET, "/", "")).await.unwrap();
            assert_eq!(body(response).await, "hello");
            async_timeout::sleep(LIMIT / 10).await;
        }
        drop(requests);
        served.await.unwrap();
    });
}

/// Behaviour 226: a graceful shutdown before the first request does not wait for a request.
#[test]
fn a_graceful_stop_before_the_first_request() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (_client, stream) = pair().await;
        let connection = server::conn::http1::Builder::new().serve_connection(HyperIo::new(stream), service_fn(answer));
        let mut connection = pin!(connection);
        assert!(futures::poll!(connection.as_mut()).is_pending());
        connection.as_mut().graceful_shutdown();
        connection.timeout(TIME / 2).await.expect("it waits for a request").unwrap();
    });
}

/// Behaviour 227: a graceful shutdown in the middle of a request finishes the answer and closes.
#[test]
fn a_graceful_stop_in_mid_request() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (mut client, stream) = pair().await;
        let connection = server::conn::http1::Builder::new().serve_connection(HyperIo::new(stream), service_fn(answer));
        let mut connection = pin!(connection);
        client.write_all(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12").await.unwrap();
        for _ in 0..10 {
            assert!(futures::poll!(connection.as_mut()).is_pending());
            tests::yield_now().await;
        }
        connection.as_mut().graceful_shutdown();
        client.write_all(b"34").await.unwrap();
        connection.await.unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(received.starts_with("HTTP/1.1 200 OK\r\n") && received.ends_with("\r\n\r\n4"), "{received}");
        assert!(received.contains("connection: close"), "{received}");
    });
}

/// After an upgrade the socket is returned, with the bytes that hyper has read beyond the head.
#[test]
fn an_upgraded_connection_is_ours_again() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (mut client, stream) = pair().await;
        let upgraded: Rc<RefCell<Option<hyper::upgrade::OnUpgrade>>> = Rc::default();
        let kept = Rc::clone(&upgraded);
        let service = service_fn(move |request: Request<Incoming>| {
            *kept.borrow_mut() = Some(hyper::upgrade::on(request));
            let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            let response = response.header(CONNECTION, "upgrade").header(UPGRADE, "raw").body(Empty::<Bytes>::new());
            ready(response)
        });
        let connection = server::conn::http1::Builder::new().serve_connection(HyperIo::new(stream), service);
        spawner.spawn_local(async { connection.with_upgrades().await.unwrap() }).unwrap();

        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nearly")
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).await.unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        let upgrade = upgraded.borrow_mut().take().unwrap();
        let upgraded = upgrade.await.unwrap();
        let parts = upgraded.downcast::<HyperIo<TcpStream>>().expect("the socket that went in");
        assert_eq!(parts.read_buf, "early");
        let mut stream = parts.io.into_inner();
        stream.write_all(b"raw bytes").await.unwrap();
        let mut raw = [0; 9];
        client.read_exact(&mut raw).await.unwrap();
        assert_eq!(&raw, b"raw bytes");
    });
}

/// HTTP/2 with prior knowledge: hyper spawns a task for each request, and neither the service nor the body is `Send`.
#[test]
fn http2_on_our_executor() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (client, stream) = pair().await;
        let executor = HyperExecutor::new(spawner.clone());
        let served = Rc::new(Cell::new(0));
        let count = Rc::clone(&served);
        let most = Rc::new(Cell::new(0));
        let (highest, tasks) = (Rc::clone(&most), spawner.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (count, highest, tasks) = (Rc::clone(&count), Rc::clone(&highest), tasks.clone());
            count.set(count.get() + 1);
            async move {
                // No request is answered before all ten have arrived, each in a task of its own.
                while count.get() < 10 {
                    async_timeout::sleep(Duration::from_millis(1)).await;
                }
                highest.set(highest.get().max(tasks.live_tasks()));
                answer(request).await
            }
        });
        let connection = server::conn::http2::Builder::new(executor.clone())
            .timer(HyperTimer)
            .keep_alive_interval(Duration::from_millis(20))
            .serve_connection(HyperIo::new(stream), service);
        let connection = spawner.spawn_local_with_handle(connection).unwrap();

        let (mut requests, client) =
            client::conn::http2::Builder::new(executor).handshake(HyperIo::new(client)).await.unwrap();
        spawner.spawn_local(async { client.await.unwrap() }).unwrap();
        let mut get = |path: &str, sent: Vec<u8>| {
            let request = Request::post(format!("http://localhost{path}")).body(Full::<Bytes>::from(sent)).unwrap();
            let response = requests.send_request(request);
            async { body(response.await.unwrap()).await }
        };
        let answers = join_all((0..10).map(|number: u8| get("/echo", vec![number; 10]))).await;
        assert!(answers.iter().zip(0..10).all(|(answer, number)| answer[..] == [number; 10]));

        assert!(most.get() >= 12, "the requests' and the two connections', but only {}", most.get());

        let sent = noise(1, MIB);
        let sum = checksum(&sent);
        let received = get("/echo", sent).await;
        assert_eq!((received.len(), checksum(&received)), (MIB, sum));
        // Idle for several keep-alive intervals: the pings are answered, so the connection stays open.
        async_timeout::sleep(Duration::from_millis(100)).await;
        assert_eq!(get("/", Vec::new()).await, "hello");
        assert_eq!(served.get(), 12);
        drop(requests);
        connection.await.unwrap();
    });
}

/// An HTTP/2 server with a silent client: the keep-alive, which resets its timer again and again, ends the connection.
#[test]
fn a_silent_http2_client_is_given_up() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (mut client, stream) = pair().await;
        // The preface and an empty SETTINGS frame, and then silence: no answer to a ping.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let connection = server::conn::http2::Builder::new(HyperExecutor::new(spawner.clone()))
            .timer(HyperTimer)
            .keep_alive_interval(Duration::from_millis(100))
            .keep_alive_timeout(Duration::from_millis(100))
            .serve_connection(HyperIo::new(stream), service_fn(answer));
        let begin = Instant::now();
        let error = connection.await.unwrap_err();
        let took = begin.elapsed();
        assert!(error.is_timeout(), "{error:?}");
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    });
}

/// Tasks of the executor are tasks of the pool: counted, and polled there. After the pool is dropped, new tasks are
/// dropped at once.
#[test]
fn the_executor_and_its_pool() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let spawner = runtime.spawner();
    let executor = HyperExecutor::from(spawner.clone());
    let done = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let done = Rc::clone(&done);
        executor.execute(async move {
            tests::yield_now().await;
            done.set(done.get() + 1);
            "what it returns is thrown away"
        });
    }
    assert_eq!(spawner.live_tasks(), 3);
    runtime.run().unwrap();
    assert_eq!((spawner.live_tasks(), done.get()), (0, 3));

    drop(runtime);
    let task = Rc::clone(&done);
    executor.execute(async move { task.set(4) });
    assert_eq!((Rc::strong_count(&done), done.get()), (1, 3), "the future was neither polled nor kept");
}

/// An HTTP/2 client after its pool was dropped: requests fail and do not hang.
#[test]
fn http2_without_a_pool() {
    let _watchdog = watchdog(TIME);
    let executor = HyperExecutor::new(LocalRuntime::new().unwrap().spawner());
    run(async |_| {
        let (client, mut stream) = pair().await;
        let (mut requests, connection) =
            client::conn::http2::Builder::new(executor).handshake(HyperIo::new(client)).await.unwrap();
        let request = Request::get("http://localhost/").body(Empty::<Bytes>::new()).unwrap();
        let (sent, ended) = futures::join!(requests.send_request(request), connection.timeout(TIME / 2));
        assert!(sent.is_err());
        drop(ended.expect("the connection hangs"));
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
}

/// An HTTP/2 server after its pool was dropped: requests are reset, and the connection goes on.
#[test]
fn an_http2_server_without_a_pool() {
    let _watchdog = watchdog(TIME);
    let gone = HyperExecutor::new(LocalRuntime::new().unwrap().spawner());
    run(async |spawner| {
        let (client, stream) = pair().await;
        let connection =
            server::conn::http2::Builder::new(gone).serve_connection(HyperIo::new(stream), service_fn(answer));
        let connection = spawner.spawn_local_with_handle(connection).unwrap();
        let executor = HyperExecutor::new(spawner.clone());
        let (mut requests, client) =
            client::conn::http2::Builder::new(executor).handshake(HyperIo::new(client)).await.unwrap();
        spawner.spawn_local(async { client.await.unwrap() }).unwrap();
        for _ in 0..2 {
            let request = Request::get("http://localhost/").body(Empty::<Bytes>::new()).unwrap();
            let answer = requests.send_request(request).timeout(TIME / 2).await;
            assert!(answer.expect("the request hangs").is_err());
        }
        drop(requests);
        connection.await.unwrap();
    });
}

/// The timer through hyper's trait objects: reset to a later, an earlier and a past time, and after it has fired.
#[test]
fn the_timer_through_its_traits() {
    let _watchdog = watchdog(TIME);
    const MS: Duration = Duration::from_millis(1);
    let timer: &dyn Timer = &HyperTimer;
    let wait = async |sleep: &mut Pin<Box<dyn Sleep>>, begin: Instant| {
        sleep.as_mut().await;
        begin.elapsed()
    };
    let all = async {
        let begin = timer.now();
        assert!(wait(&mut timer.sleep(20 * MS), begin).await >= 20 * MS);
        assert!(wait(&mut timer.sleep_until(begin + 40 * MS), begin).await >= 40 * MS);

        // `reset` works in place: the object that hyper holds does not move.
        let begin = timer.now();
        let mut sleep = timer.sleep_until(begin + 5 * MS);
        let place: *const dyn Sleep = &*sleep;
        assert!(futures::poll!(sleep.as_mut()).is_pending());
        timer.reset(&mut sleep, begin + 60 * MS);
        assert!(std::ptr::addr_eq(place, &*sleep));
        let took = wait(&mut sleep, begin).await;
        assert!(took >= 60 * MS, "the old deadline: {took:?}");

        // Reset after it has fired, and then to an earlier time.
        let begin = timer.now();
        timer.reset(&mut sleep, begin + TIME * 10);
        assert!(futures::poll!(sleep.as_mut()).is_pending());
        timer.reset(&mut sleep, begin + 10 * MS);
        let took = wait(&mut sleep, begin).await;
        assert!(took >= 10 * MS && took < TIME / 2, "{took:?}");
        timer.reset(&mut sleep, begin);
        assert!(futures::poll!(sleep.as_mut()).is_ready(), "a deadline that has passed");

        // A sleep without end can be reset, too.
        let mut sleep = timer.sleep(Duration::MAX);
        assert!(futures::poll!(sleep.as_mut()).is_pending());
        timer.reset(&mut sleep, timer.now() + MS);
        sleep.await;
    };
    async_epoll::block_on(all).unwrap();

    // Without a reactor, futures-timer provides the time.
    let begin = Instant::now();
    futures::executor::block_on(async {
        let mut sleep = timer.sleep(TIME * 10);
        assert!(futures::poll!(sleep.as_mut()).is_pending());
        timer.reset(&mut sleep, begin + 10 * MS);
        sleep.await;
    });
    assert!(begin.elapsed() >= 10 * MS);
}

/// A sleep of another timer cannot be reset, so it is replaced.
#[test]
fn a_sleep_of_another_timer() {
    struct Never;
    impl Future for Never {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
    impl Sleep for Never {}

    let _watchdog = watchdog(TIME);
    async_epoll::block_on(async {
        let mut sleep: Pin<Box<dyn Sleep>> = Box::pin(Never);
        HyperTimer.reset(&mut sleep, Instant::now());
        sleep.await;
    })
    .unwrap();
}

/// Reads once into one of hyper's buffers.
async fn read<T: HyperSocket>(io: &mut HyperIo<T>, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled())).await
}

/// Bug G14: in an uninitialised buffer, exactly the bytes that were read count as filled.
#[test]
fn nothing_but_what_was_read_is_filled() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (mut client, stream) = std_pair().await;
        let mut io = HyperIo::new(stream);
        let mut memory = [MaybeUninit::uninit(); 16];
        let mut buffer = ReadBuf::uninit(&mut memory);

        // Pending: no byte is filled.
        let waker = noop_waker();
        assert!(Pin::new(&mut io).poll_read(&mut Context::from_waker(&waker), buffer.unfilled()).is_pending());
        assert_eq!(buffer.filled(), b"");
        // Less than the buffer has room for, then more of it, then more than there is room for.
        for (sent, filled) in [("hello", "hello"), (", you", "hello, you"), (" and you", "hello, you and y")] {
            client.write_all(sent.as_bytes()).unwrap();
            read(&mut io, &mut buffer).await.unwrap();
            assert_eq!(buffer.filled(), filled.as_bytes());
        }
        // The buffer is full: neither a read nor an end of file.
        read(&mut io, &mut buffer).await.unwrap();
        assert_eq!(buffer.filled().len(), 16);

        // Reads the rest. The other bytes of the memory must not change.
        let mut memory = [0xAA; 16];
        let mut buffer = ReadBuf::new(&mut memory);
        read(&mut io, &mut buffer).await.unwrap();
        assert_eq!(buffer.filled(), b"ou");
        assert_eq!(memory[2..], [0xAA; 14]);

        // Neither the end of file nor an error fills a byte.
        drop(client);
        let mut buffer = ReadBuf::new(&mut memory);
        read(&mut io, &mut buffer).await.unwrap();
        assert_eq!(buffer.filled(), b"");

        let (client, stream) = std_pair().await;
        let mut io = HyperIo::new(stream);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(read(&mut io, &mut buffer).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(buffer.filled(), b"");
    });
}

/// Bug B2, for reads into hyper's buffer: a short read at urgent data does not hide the data behind it.
#[test]
fn urgent_data_does_not_hide_what_follows() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (mut client, stream) = std_pair().await;
        let mut io = HyperIo::new(stream);
        client.write_all(b"abc").unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"def").unwrap();
        let mut memory = [0; 64];
        let mut buffer = ReadBuf::new(&mut memory);
        while buffer.filled().len() < 6 {
            read(&mut io, &mut buffer).await.unwrap();
        }
        assert_eq!(buffer.filled(), b"abcdef");
    });
}

/// Bug B3, for reads into hyper's buffer: on a Unix socket a short read does not mean that the queue is empty. The
/// kernel never reads across a message with descriptors.
#[test]
fn descriptors_do_not_hide_what_follows() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (stream, mut client) = UnixStream::pair().unwrap();
        let (mut io, file) = (HyperIo::new(stream), std::fs::File::open("/dev/null").unwrap());
        let mut memory = [0; 64];
        let mut buffer = ReadBuf::new(&mut memory);
        for round in 1..=3 {
            // All three messages are queued before the first read, so there is a single edge for them.
            for bytes in [b"ab", b"cd"] {
                tests::send_with_fd(client.as_fd(), bytes, file.as_fd()).unwrap();
            }
            client.write_all(b"ef").await.unwrap();
            while buffer.filled().len() < round * 6 {
                read(&mut io, &mut buffer).timeout(Duration::from_secs(5)).await.expect("a stall").unwrap();
            }
            assert!(buffer.filled().ends_with(b"abcdef"));
        }
        // The end of file is found as well.
        drop(client);
        read(&mut io, &mut buffer).await.unwrap();
        assert_eq!(buffer.filled().len(), 18);
    });
}

/// HTTP over a Unix socket: bodies larger than the buffers, in both directions, on one connection.
#[test]
fn http_over_a_unix_socket() {
    let _watchdog = watchdog(TIME);
    run(async |spawner| {
        let (client, server) = UnixStream::pair().unwrap();
        let serving = serve(spawner, server);
        let mut requests = handshake(spawner, client).await;
        for length in [0, 1, 100_000, 4 * MIB] {
            let sent = noise(1, length);
            let answer = requests.send_request(request(Method::POST, "/echo", sent.clone())).await.unwrap();
            assert!(body(answer).await == sent, "{length}");
        }
        drop(requests);
        serving.await.unwrap();
    });
}

/// One task reads while another one writes. Each is woken when its own direction is ready.
#[test]
fn reading_and_writing_wait_apart() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (mut client, stream) = pair().await;
        let (mut reading, mut writing) = (HyperIo::new(stream.clone()), HyperIo::new(stream));
        let (reads, reader) = CountingWaker::new();
        let (writes, writer) = CountingWaker::new();
        let (mut memory, chunk) = ([0; 8], vec![0; MIB]);
        let mut buffer = ReadBuf::new(&mut memory);
        let mut context = Context::from_waker(&writer);
        let mut written = 0;
        while let Poll::Ready(count) = Pin::new(&mut writing).poll_write(&mut context, &chunk) {
            written += count.unwrap();
            assert!(written < 1000 * MIB, "the kernel's buffers never fill");
            tests::yield_now().await;
        }
        assert!(Pin::new(&mut reading).poll_read(&mut Context::from_waker(&reader), buffer.unfilled()).is_pending());

        client.write_all(b"x").await.unwrap();
        while reads.count() == 0 {
            async_timeout::sleep(Duration::from_millis(1)).await;
        }
        let before = writes.count();
        let mut rest = vec![0; written];
        client.read_exact(&mut rest).await.unwrap();
        while writes.count() == before {
            async_timeout::sleep(Duration::from_millis(1)).await;
        }
        read(&mut reading, &mut buffer).await.unwrap();
        assert_eq!(buffer.filled(), b"x");
        assert!(Pin::new(&mut writing).poll_write(&mut context, b"y").is_ready());
    });
}

/// Vectored writes are passed on; shutdown is idempotent, and no error after a reset.
#[test]
fn writing_and_shutting_down() {
    let _watchdog = watchdog(TIME);
    run(async |_| {
        let (mut client, stream) = std_pair().await;
        let mut io = HyperIo::from(stream);
        assert!(io.is_write_vectored());
        assert_eq!(io.get_ref().peer_addr().unwrap(), client.local_addr().unwrap());
        let slices = [IoSlice::new(b""), IoSlice::new(b"head "), IoSlice::new(b""), IoSlice::new(b"body")];
        assert_eq!(poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &slices)).await.unwrap(), 9);
        assert_eq!(poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"")).await.unwrap(), 0);
        poll_fn(|cx| Pin::new(&mut io).poll_flush(cx)).await.unwrap();
        for _ in 0..2 {
            poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await.unwrap();
        }
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, "head body");

        let (client, stream) = std_pair().await;
        let mut io = HyperIo::new(stream);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert!(read(&mut io, &mut ReadBuf::new(&mut [0; 8])).await.is_err(), "a reset");
        poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await.unwrap();
        assert!(poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"x")).await.is_err(), "and no SIGPIPE");
    });
}

/// The reactor is dropped in the middle of a head: the connection fails with a clear error and does not hang.
#[test]
fn a_reactor_that_is_gone() {
    let _watchdog = watchdog(TIME);
    let mut runtime = LocalRuntime::new().unwrap();
    let (mut client, stream) = runtime.run_until(std_pair()).unwrap();
    let connection = server::conn::http1::Builder::new().serve_connection(HyperIo::new(stream), service_fn(answer));
    let mut connection = pin!(connection);
    client.write_all(b"GET / HT").unwrap();
    let polled = runtime.run_until(async { futures::poll!(connection.as_mut()) }).unwrap();
    assert!(polled.is_pending());
    drop(runtime);
    let error = futures::executor::block_on(connection).unwrap_err();
    let source = std::error::Error::source(&error).and_then(|error| error.downcast_ref::<io::Error>());
    assert_eq!(source.unwrap().kind(), io::ErrorKind::NotConnected, "{error:?}");
}
