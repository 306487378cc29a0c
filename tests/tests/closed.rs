//! Closed states that end: a file is opened or connected again, and the source shows it.
//!
//! A hang-up is a state of the file, not of the source. Where the change makes an event, the event ends the state; where
//! it makes none, a read that meets `WouldBlock` does. States that are final stay, whatever is tried.

use async_epoll::{Handle, Interest, Source};
use futures::future::FutureExt;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tests::common::block_on;
use tests::common::waiting::{fill, idle, waits};
use tests::{Folder, LOCALHOST, abstract_name, std_tcp_pair};

/// Returns what is closed: reading, writing. Checks that the wait for the end of writing agrees.
fn closed<T: AsFd>(source: &Source<T>) -> (bool, bool) {
    let readiness = source.readiness();
    let has_ended = poll_fn(|cx| source.poll_write_closed(cx)).now_or_never().is_some();
    assert_eq!(has_ended, readiness.is_write_closed(), "ready without the state: a loop around the wait spins");
    (readiness.is_read_closed(), readiness.is_write_closed())
}

/// Reads, which must meet `WouldBlock`.
fn read_blocks<T: AsFd>(source: &Source<T>, mut read: impl FnMut(&T) -> io::Result<usize>) {
    assert_eq!(source.try_io(Interest::READABLE, &mut read).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Lets the reactor dispatch what has happened.
async fn dispatch() {
    for _ in 0..3 {
        tests::yield_now().await;
    }
}

fn fifo(folder: &Folder) -> std::path::PathBuf {
    let path = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    path
}

fn open_reader(path: &Path) -> File {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

fn open_writer(path: &Path) -> File {
    File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

fn read_file(mut file: &File) -> io::Result<usize> {
    file.read(&mut [0; 8])
}

/// Found 5: a FIFO whose writer has gone gets another writer, which is silent, or writes at once.
#[test]
fn a_fifo_gets_another_writer() {
    let folder = Folder::new();
    let path = fifo(&folder);
    block_on(async {
        let reader = Source::new(open_reader(&path)).unwrap();
        for speaks in [false, true, false] {
            drop(open_writer(&path));
            reader.readable().await.unwrap();
            dispatch().await;
            assert_eq!(closed(&reader), (true, true), "no writer");
            assert_eq!(reader.try_io(Interest::READABLE, read_file).unwrap(), 0);
            assert_eq!(closed(&reader), (true, true), "an end of file proves nothing else");

            let mut writer = open_writer(&path);
            if speaks {
                writer.write_all(b"x").unwrap();
                dispatch().await;
                assert_eq!(closed(&reader), (false, false), "the event shows the new writer");
                assert_eq!(reader.try_io(Interest::READABLE, read_file).unwrap(), 1);
            } else {
                read_blocks(&reader, read_file);
                assert_eq!(closed(&reader), (false, false), "WouldBlock proves the new writer");
                assert!(reader.readable().now_or_never().is_none());
                let writes = move || writer.write_all(b"x").unwrap();
                assert_eq!(waits(reader.read_with(read_file), writes).await.unwrap(), 1);
            }
        }
        idle().await;
    });
}

/// Found 5: a FIFO whose reader has gone gets another reader, with room in the buffer and without.
#[test]
fn a_fifo_gets_another_reader() {
    let folder = Folder::new();
    let path = fifo(&folder);
    let write = |mut file: &File| file.write(b"x");
    block_on(async {
        for is_full in [false, true] {
            let reader = open_reader(&path);
            let writer = Source::new(open_writer(&path)).unwrap();
            let filled = if is_full { fill(&writer).await } else { 0 };
            drop(reader);
            assert!(writer.errors().await.unwrap().is_error(), "no reader");
            assert_eq!(writer.try_io(Interest::WRITABLE, write).unwrap_err().kind(), ErrorKind::BrokenPipe);
            let mut reader = open_reader(&path);
            if is_full {
                assert_eq!(writer.try_io(Interest::WRITABLE, write).unwrap_err().kind(), ErrorKind::WouldBlock);
                let drain = move || {
                    reader.read_exact(&mut vec![0; filled]).unwrap();
                    reader
                };
                let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
                let keep = std::sync::Arc::clone(&kept);
                waits(writer.write_with(write), move || *keep.lock().unwrap() = Some(drain())).await.unwrap();
                assert!(!writer.readiness().is_error(), "the event shows the new reader");
                drop(kept);
            } else {
                // No event comes, and no operation on a pipe tells of errors alone. The write has succeeded, so an
                // attempt notes that there is no error.
                assert_eq!(writer.try_io(Interest::WRITABLE, write).unwrap(), 1);
                let none = writer.try_io(Interest::ERROR, |_| -> io::Result<()> { Err(ErrorKind::WouldBlock.into()) });
                assert!(none.is_err() && !writer.readiness().is_error());
                assert!(waits(writer.errors(), move || drop(reader)).await.unwrap().is_error());
            }
        }
    });
}

/// Found 5: a terminal is opened again. While it is not, a full buffer of the controlling end does not count as a sign
/// that reading is open.
#[test]
fn a_terminal_is_opened_again() {
    block_on(async {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        unlockpt(&controller).unwrap();
        let controller = Source::new(File::from(controller)).unwrap();
        let open = || File::from(ioctl_tiocgptpeer(controller.lend(), flags).unwrap());
        for _ in 0..2 {
            drop(open());
            controller.readable().await.unwrap();
            dispatch().await;
            assert_eq!(closed(&controller), (true, true));
            assert_eq!(controller.try_io(Interest::READABLE, read_file).unwrap_err().raw_os_error(), Some(libc::EIO));
            let _program = open();
            read_blocks(&controller, read_file);
            assert_eq!(closed(&controller), (false, false));
        }
        drop(open());
        dispatch().await;
        let blocked =
            controller.try_io(Interest::WRITABLE, |_| -> io::Result<()> { Err(ErrorKind::WouldBlock.into()) });
        assert!(blocked.is_err());
        assert_eq!(closed(&controller), (true, false), "room says nothing about reading");
    });
}

/// Found 5: a TCP socket is registered before it is connected.
#[test]
fn a_socket_registered_before_it_is_connected() {
    block_on(async {
        let listener = TcpListener::bind(LOCALHOST).unwrap();
        let source = Source::new(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).unwrap();
        source.writable().await.unwrap();
        assert_eq!(closed(&source), (true, true), "not connected yet");
        let _ = source.lend().connect(&listener.local_addr().unwrap().into());
        let peer = listener.accept().unwrap().0;
        async_timeout::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(closed(&source), (false, false), "the event shows the connection");
        assert!(source.priority().now_or_never().is_none());
        assert_eq!(source.lend().send(b"x").unwrap(), 1);
        // And it can be closed again.
        drop(peer);
        assert!(source.priority().await.unwrap().is_read_closed());
    });
}

/// Found 5: sockets that are registered before they listen.
#[test]
fn a_socket_registered_before_it_listens() {
    let unix = SockAddr::unix(format!("\0listens-{}", std::process::id())).unwrap();
    let tcp = SockAddr::from(std::net::SocketAddr::from(LOCALHOST));
    block_on(async {
        for (domain, address) in [(Domain::IPV4, tcp), (Domain::UNIX, unix)] {
            let source = Source::new(Socket::new(domain, Type::STREAM, None).unwrap()).unwrap();
            source.writable().await.unwrap();
            assert_eq!(closed(&source), (true, true), "{domain:?}");
            source.lend().bind(&address).unwrap();
            source.lend().listen(8).unwrap();
            let accept = |socket: &Socket| socket.accept().map(|_| 1);
            read_blocks(&source, accept);
            assert_eq!(closed(&source), (false, false), "{domain:?}");
            let address = source.lend().local_addr().unwrap();
            let connects = move || Socket::new(domain, Type::STREAM, None).unwrap().connect(&address).unwrap();
            assert_eq!(waits(source.read_with(accept), connects).await.unwrap(), 1);
            assert_eq!(closed(&source), (false, false), "{domain:?}");
        }
    });
}

/// Found 5: a Unix socket that is registered before it is connected gets no event for that.
#[test]
fn a_unix_socket_registered_before_it_is_connected() {
    let address = abstract_name("connects");
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    block_on(async {
        let source = Source::new(Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()).unwrap();
        source.writable().await.unwrap();
        assert_eq!(closed(&source), (true, true));
        source.lend().connect(&SockRef::from(&listener).local_addr().unwrap()).unwrap();
        read_blocks(&source, |mut socket| socket.read(&mut [0]));
        assert_eq!(closed(&source), (false, false));
        let mut peer = listener.accept().unwrap().0;
        let read = source.read_with(|mut socket| socket.read(&mut [0; 8]));
        assert_eq!(waits(read, move || peer.write_all(b"x").unwrap()).await.unwrap(), 1);
    });
}

/// Found 5: a state that is final stays closed: the peer's half-close while writes succeed, meet `WouldBlock` and get
/// room again, and then the close of both directions.
#[test]
fn final_states_stay() {
    block_on(async {
        let (one, mut peer) = std_tcp_pair();
        SockRef::from(&one).set_send_buffer_size(1 << 16).unwrap();
        SockRef::from(&peer).set_recv_buffer_size(1 << 16).unwrap();
        let source = Source::new(File::from(std::os::fd::OwnedFd::from(one))).unwrap();
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(source.priority().await.unwrap().is_read_closed());
        assert_eq!(source.try_io(Interest::READABLE, read_file).unwrap(), 4);
        let filled = fill(&source).await;
        assert_eq!(closed(&source), (true, false), "a full buffer");
        peer.read_exact(&mut vec![0; filled]).unwrap();
        source.writable().await.unwrap();
        for _ in 0..3 {
            assert_eq!(source.try_io(Interest::READABLE, read_file).unwrap(), 0);
            dispatch().await;
            assert_eq!(closed(&source), (true, false), "room again");
        }
        drop::<TcpStream>(peer);
        assert_eq!(source.try_io(Interest::WRITABLE, |mut file: &File| file.write(b"x")).unwrap(), 1);
        source.errors().await.unwrap();
        assert_eq!(closed(&source), (true, true), "the peer has reset the connection");
        let _ = source.try_io(Interest::READABLE, read_file);
        assert_eq!(source.try_io(Interest::READABLE, read_file).unwrap(), 0);
        assert_eq!(closed(&source), (true, true));
        assert_eq!(Handle::current().unwrap().stats().sources, 1);
    });
}
