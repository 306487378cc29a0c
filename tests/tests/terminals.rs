//! Both ends of a pseudoterminal as sources.
//!
//! For these descriptors a short read means least. The line discipline between both ends returns one line at a time,
//! sends the echo, and has an end of file that is not permanent.

use async_epoll::{Interest, Source};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use tests::common::block_on;
use tests::common::waiting::{fill, idle, waits};

/// Opens a new terminal. Returns the controlling end, where the user would sit, and the end of the programs.
fn terminal() -> (File, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&controller).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let program = ioctl_tiocgptpeer(&controller, flags).unwrap();
    (controller.into(), program.into())
}

/// Opens a terminal in raw mode: without lines and without an echo.
fn raw_terminal() -> (File, File) {
    let (controller, program) = terminal();
    let mut settings = tcgetattr(&program).unwrap();
    settings.make_raw();
    tcsetattr(&program, OptionalActions::Now, &settings).unwrap();
    (controller, program)
}

/// Reads once. Returns the text.
async fn read(source: &mut Source<File>) -> String {
    let mut buffer = [0; 256];
    let read = source.read(&mut buffer).await.unwrap();
    String::from_utf8(buffer[..read].to_vec()).unwrap()
}

/// Reads `text`, in any number of pieces.
async fn expect(source: &mut Source<File>, text: &str) {
    let mut buffer = vec![0; text.len()];
    source.read_exact(&mut buffer).await.unwrap();
    assert_eq!(String::from_utf8(buffer).unwrap(), text);
}

/// A program reads lines: half a line is not readable, two lines at once take two reads, and each has its echo.
#[test]
fn lines_are_read_one_by_one() {
    block_on(async {
        let (controller, program) = terminal();
        let (mut controller, mut program) = (Source::new(controller).unwrap(), Source::new(program).unwrap());
        let keyboard = Arc::new(controller.get_ref().try_clone().unwrap());
        let types = |text: &'static str| {
            let keyboard = Arc::clone(&keyboard);
            move || (&*keyboard).write_all(text.as_bytes()).unwrap()
        };
        // Half a line wakes the reader of the echo, and does not reach the program.
        waits(expect(&mut controller, "he"), types("he")).await;
        assert!(program.try_io(Interest::READABLE, |mut file| file.read(&mut [0; 9])).is_err());
        assert_eq!(waits(read(&mut program), types("llo\n")).await, "hello\n");
        expect(&mut controller, "llo\r\n").await;
        // Two lines with one write: the first read is short, and more data is there.
        assert_eq!(waits(read(&mut program), types("one\ntwo\n")).await, "one\n");
        assert_eq!(read(&mut program).await, "two\n");
        expect(&mut controller, "one\r\ntwo\r\n").await;
        // Control-D is an end of file for one read only.
        assert_eq!(waits(read(&mut program), types("\x04")).await, "");
        assert!(!program.readiness().is_read_closed());
        assert_eq!(waits(read(&mut program), types("more\n")).await, "more\n");
        idle().await;
    });
}

/// Bytes go both ways unchanged, and reading makes room for the writer at the other end.
#[test]
fn raw_bytes_both_ways() {
    block_on(async {
        for reversed in [false, true] {
            let (one, other) = raw_terminal();
            let (one, other) = if reversed { (other, one) } else { (one, other) };
            let (mut source, peer) = (Source::new(one).unwrap(), Arc::new(other));
            for text in ["a", "\x04 and \x03\n"] {
                let own = Arc::clone(&peer);
                let types = move || (&*own).write_all(text.as_bytes()).unwrap();
                waits(expect(&mut source, text), types).await;
            }
            for _ in 0..2 {
                let filled = fill(&source).await;
                let own = Arc::clone(&peer);
                let drain = move || (&*own).read_exact(&mut vec![0; filled]).unwrap();
                assert_eq!(waits(source.write(b"y"), drain).await.unwrap(), 1);
                let mut last = [0];
                (&*peer).read_exact(&mut last).unwrap();
                assert_eq!(&last, b"y");
            }
        }
    });
}

/// The user's end is closed: the program is woken, whichever direction it waits for.
#[test]
fn the_controlling_end_hangs_up() {
    block_on(async {
        let (controller, program) = terminal();
        let mut program = Source::new(program).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(waits(program.read(&mut buffer), move || drop(controller)).await.unwrap(), 0);
        let readiness = program.readiness();
        assert!(readiness.is_read_closed() && readiness.is_write_closed(), "{readiness:?}");
        let error = program.write(b"x").await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        idle().await;
    });
}

/// The last program closes its end: the user's end is woken. This state is not permanent, since another program may
/// open the terminal.
#[test]
fn the_programs_end_closes() {
    block_on(async {
        let (controller, program) = terminal();
        let reopen = {
            let controller = controller.try_clone().unwrap();
            move || File::from(ioctl_tiocgptpeer(controller, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap())
        };
        let mut controller = Source::new(controller).unwrap();
        let mut buffer = [0; 8];
        let error = waits(controller.read(&mut buffer), move || drop(program)).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        idle().await;
        let mut program = reopen();
        program.write_all(b"again").unwrap();
        expect(&mut controller, "again").await;
        assert_eq!(waits(read(&mut controller), move || program.write_all(b"!").unwrap()).await, "!");
    });
}

/// In packet mode, a change of state at the program's end is an exceptional condition at the user's.
#[test]
fn priority_of_a_packet() {
    block_on(async {
        let (controller, program) = raw_terminal();
        tests::packet_mode(controller.as_fd()).unwrap();
        let program = Arc::new(program);
        let source = Source::new(controller).unwrap();
        let state = |mut file: &File| {
            let mut packet = [0; 64];
            file.read(&mut packet).map(|read| packet[..read].to_vec())
        };
        for _ in 0..2 {
            let own = Arc::clone(&program);
            let flush = move || tcflush(&*own, QueueSelector::IFlush).unwrap();
            assert!(waits(source.priority(), flush).await.unwrap().is_priority());
            // The code is `TIOCPKT_FLUSHREAD`.
            assert_eq!(source.try_io(Interest::PRIORITY, state).unwrap(), [1]);
            assert_eq!(source.try_io(Interest::PRIORITY, state).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        // Plain data has its own packet, with a zero in front, and is not an exceptional condition.
        let own = Arc::clone(&program);
        let data = waits(source.read_with(state), move || (&*own).write_all(b"data").unwrap()).await.unwrap();
        assert_eq!(data, b"\0data");
        assert!(!source.readiness().is_priority());
    });
}

/// A program turns the echo off while it waits for input.
#[test]
fn settings_change_while_it_waits() {
    block_on(async {
        let (controller, program) = terminal();
        let settings = program.try_clone().unwrap();
        let mut program = Source::new(program).unwrap();
        let act = move || {
            let mut changed = tcgetattr(&settings).unwrap();
            changed.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(&settings, OptionalActions::Now, &changed).unwrap();
            (&controller).write_all(b"no line").unwrap();
            controller
        };
        let mut buffer = [0; 16];
        let kept = Arc::new(std::sync::Mutex::new(None));
        let keep = Arc::clone(&kept);
        let cause = move || *keep.lock().unwrap() = Some(act());
        let read = waits(program.read(&mut buffer), cause).await.unwrap();
        assert!(b"no line".starts_with(&buffer[..read]) && read > 0);
        drop(kept);
    });
}
