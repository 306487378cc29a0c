//! The addresses and files of Unix sockets: which addresses are impossible, which users have access, and what removes
//! the files.

use async_net_lite::unix::{UnixDatagram, UnixListenOptions, UnixListener, UnixStream};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{self};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::common::block_on;
use tests::{Folder, OnDrop, TIME, abstract_name, watchdog};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Behaviour 99: impossible addresses, and addresses without a socket.
#[test]
fn addresses_that_cannot_be() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let long = |length: usize| {
        let stem = folder.join("");
        folder.join(&"p".repeat(length - stem.as_os_str().len()))
    };
    fs::write(folder.join("file"), "text").unwrap();
    drop(net::UnixListener::bind(folder.join("stale")).unwrap());
    let use_invalid = |path: &Path| {
        assert_eq!(UnixListener::bind(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
        assert_eq!(UnixDatagram::bind(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
    };
    block_on(async {
        // Each operation with a path returns the same error.
        let datagram = UnixDatagram::unbound().unwrap();
        let kinds = async |path: &Path| {
            let errors = [
                UnixStream::connect(path).await.unwrap_err(),
                datagram.connect(path).unwrap_err(),
                datagram.send_to(b"x", path).await.unwrap_err(),
                datagram.try_send_to(b"x", path).unwrap_err(),
            ];
            let kinds = errors.map(|error| error.kind());
            assert!(kinds.iter().all(|kind| *kind == kinds[0]), "{path:?}: {kinds:?}");
            kinds[0]
        };
        for invalid in [Path::new(""), Path::new("\0"), Path::new("a\0b"), &long(108), &long(109), &long(300)] {
            assert_eq!(kinds(invalid).await, ErrorKind::InvalidInput, "{invalid:?}");
            use_invalid(invalid);
        }
        let error = UnixListener::bind(long(108)).unwrap_err();
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
        let longest = long(107);
        let listener = UnixListener::bind(&longest).unwrap();
        let client = UnixStream::connect(&longest).await.unwrap();
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*longest));
        listener.accept().await.unwrap();
        // A C program may use all 108 bytes, which std cannot express: no panic, no wrong address.
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        tests::bind_full_path(client.as_fd(), &long(108)).unwrap();
        client.connect(&socket2::SockAddr::unix(&longest).unwrap()).unwrap();
        assert!(listener.accept().await.unwrap().1.is_unnamed());
        drop(listener);

        assert_eq!(kinds(&folder.join("missing")).await, ErrorKind::NotFound);
        assert_eq!(kinds(&folder.join("missing/socket")).await, ErrorKind::NotFound);
        assert_eq!(kinds(&folder.join("file/socket")).await, ErrorKind::NotADirectory);
        for none in ["file", "stale", ""] {
            assert_eq!(kinds(&folder.join(none)).await, ErrorKind::ConnectionRefused, "{none:?}");
        }
        for (path, kind) in [
            ("file", ErrorKind::AddrInUse),
            ("stale", ErrorKind::AddrInUse),
            ("", ErrorKind::AddrInUse),
            ("missing/socket", ErrorKind::NotFound),
            ("file/socket", ErrorKind::NotADirectory),
        ] {
            assert_eq!(UnixListener::bind(folder.join(path)).unwrap_err().kind(), kind, "{path:?}");
            assert_eq!(UnixDatagram::bind(folder.join(path)).unwrap_err().kind(), kind, "{path:?}");
        }
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"text");

        // A socket of another kind.
        let server = UnixDatagram::bind(folder.join("datagram")).unwrap();
        let wrong = UnixStream::connect(folder.join("datagram")).await.unwrap_err();
        assert_eq!(wrong.raw_os_error(), Some(libc::EPROTOTYPE));
        drop(server);
    });
}

/// An unprivileged user may not enter a closed directory, connect to a socket without write permission, or remove
/// another user's stale socket. Needs root, to become another user.
#[test]
fn without_permission() {
    const CHILD: &str = "TEST_UNIX_NOBODY";
    let _watchdog = watchdog(TIME);
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = PathBuf::from(folder);
        block_on(async {
            for path in ["closed/socket", "private"] {
                let error = UnixStream::connect(folder.join(path)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{path}");
                let datagram = UnixDatagram::unbound().unwrap();
                let error = datagram.send_to(b"x", folder.join(path)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{path}");
            }
            UnixStream::connect(folder.join("public")).await.unwrap();
            let error = UnixListener::bind(folder.join("closed/mine")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let error = UnixListenOptions::new().remove_stale(true).bind(folder.join("stale")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().contains("another user"), "{error}");
        });
        return;
    }
    let folder = Folder::new();
    // A directory in which every user may remove every file.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(folder.join("closed")).unwrap();
    fs::set_permissions(folder.join("closed"), Permissions::from_mode(0o700)).unwrap();
    drop(net::UnixListener::bind(folder.join("stale")).unwrap());
    block_on(async {
        let options = UnixListenOptions::new();
        let _closed = UnixListener::bind(folder.join("closed/socket")).unwrap();
        let _private = options.clone().mode(0o600).bind(folder.join("private")).unwrap();
        let _public = options.mode(0o666).bind(folder.join("public")).unwrap();
        // A copy of this program, in a place that the other user can reach.
        let program = folder.join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut child = Command::new(program);
        child.args(["--exact", "without_permission"]).env(CHILD, folder.path()).uid(65534).gid(65534);
        match child.status() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => eprintln!("skipped: this is not root"),
            status => assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}"),
        }
    });
    assert!(folder.join("stale").exists());
}

/// Behaviour 111; bug F16: the file has the requested mode, whatever the umask. Impossible modes are refused.
#[test]
fn the_mode_of_the_file() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    block_on(async {
        for asked in [0o600, 0o660, 0o666, 0o777, 0o000, 0o622] {
            let path = folder.join(&format!("{asked:o}"));
            let listener = UnixListenOptions::new().mode(asked).bind(&path).unwrap();
            assert_eq!(mode(&path), asked);
            drop(listener);
            assert!(path.exists());
            let path = folder.join(&format!("{asked:o}-datagram"));
            let _socket = UnixListenOptions::new().mode(asked).bind_datagram(&path).unwrap();
            assert_eq!(mode(&path), asked);
        }
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
        let _listener = UnixListener::bind(folder.join("usual")).unwrap();
        assert_eq!(mode(&folder.join("usual")), 0o777 & !u32::from_str_radix(umask, 8).unwrap());

        for bad in [0o1777, 0o4600, 0o10600, u32::MAX] {
            let error = UnixListenOptions::new().mode(bad).bind(folder.join("bad")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        let error = UnixListenOptions::new().mode(0o600).bind_addr(&abstract_name("mode")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("everybody"), "{error}");
        assert!(!folder.join("bad").exists());
    });
}

/// Bug F16: at no moment does the file have more permissions than requested. Another thread looks all the time.
#[test]
fn the_file_is_never_open_to_others() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let path = folder.join("socket");
    let done = Arc::new(AtomicBool::new(false));
    let (seen_path, until) = (path.clone(), Arc::clone(&done));
    let spy = std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !until.load(Ordering::Relaxed) {
            seen.extend(fs::symlink_metadata(&seen_path).map(|found| found.permissions().mode() & 0o777));
        }
        seen
    });
    block_on(async {
        for _ in 0..2000 {
            drop(UnixListenOptions::new().mode(0o600).unlink_on_drop(true).bind(&path).unwrap());
        }
    });
    done.store(true, Ordering::Relaxed);
    assert_eq!(spy.join().unwrap(), BTreeSet::from([0o600]));
}

/// Behaviour 111; bug F16: only a dead socket of the same kind and user is removed, and only on request.
#[test]
fn what_is_in_the_way_of_a_socket() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let options = UnixListenOptions::new().remove_stale(true);
    let stale = |name: &str| {
        let path = folder.join(name);
        drop(net::UnixListener::bind(&path).unwrap());
        path
    };
    let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
    block_on(async {
        // A free path.
        let path = folder.join("new");
        drop(options.bind(&path).unwrap());

        let path = stale("stale");
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        let listener = options.bind(&path).unwrap();
        UnixStream::connect(&path).await.unwrap();
        listener.accept().await.unwrap();

        // A live socket: with an empty queue, where the attempt leaves no trace, and with a full queue.
        let before = inode(&path);
        let error = options.bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("a server listens there"), "{error}");
        let full = folder.join("full");
        let busy = UnixListenOptions::new().backlog(0).bind(&full).unwrap();
        let _queued = UnixStream::connect(&full).await.unwrap();
        assert_eq!(options.bind(&full).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(inode(&path), before);
        assert!(busy.accept().await.is_ok());

        // A socket of another kind, live and dead.
        let datagram = folder.join("datagram");
        let socket = UnixDatagram::bind(&datagram).unwrap();
        assert_eq!(options.bind(&datagram).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(options.bind_datagram(&datagram).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(socket);
        let again = options.bind_datagram(&datagram).unwrap();
        UnixDatagram::unbound().unwrap().send_to(b"x", &datagram).await.unwrap();
        assert_eq!(again.recv(&mut [0; 2]).await.unwrap(), 1);

        // Files that are not sockets.
        fs::write(folder.join("file"), "text").unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        let target = stale("target");
        symlink(&target, folder.join("link")).unwrap();
        symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
        for other in ["file", "folder", "link", "dangling"] {
            let before = inode(&folder.join(other));
            let error = options.bind(folder.join(other)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{other}");
            assert!(error.to_string().contains("not a socket"), "{other}: {error}");
            assert_eq!(inode(&folder.join(other)), before);
        }
        assert!(fs::symlink_metadata(&target).unwrap().file_type().is_socket());
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"text");
        // An abstract name has no file to remove.
        let address = abstract_name("in-the-way");
        let _listener = options.bind_addr(&address).unwrap();
        assert_eq!(options.bind_addr(&address).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

/// Behaviour 111; bug F16: the file at the path is exchanged while it is being checked. Binding then fails with an error
/// that says so, and leaves the new file alone. The new file was never checked, so it may belong to a live server.
#[test]
fn a_file_that_is_exchanged_during_the_checks() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let (path, fresh) = (folder.join("socket"), folder.join("fresh"));
    let exchange = || {
        drop(net::UnixListener::bind(&fresh).unwrap());
        fs::rename(&fresh, &path).unwrap();
    };
    exchange();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange();
            }
        });
        // Ends the other thread also if an assertion fails.
        let _end = OnDrop(|| done.store(true, Ordering::Relaxed));
        block_on(async {
            let options = UnixListenOptions::new().remove_stale(true);
            // An exchange meets the checks about every third time.
            let noticed = (0..100_000).find_map(|_| match options.bind(&path) {
                Err(error) if error.to_string().contains("made anew") => Some(error),
                _ => None,
            });
            assert_eq!(noticed.expect("the exchange is noticed").kind(), ErrorKind::AddrInUse);
            assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket(), "the new file stays");
        });
    });
}

/// Behaviour 111; bug F16: the last owner of the socket removes its file, if the file is still the same.
#[test]
fn who_removes_the_file() {
    let _watchdog = watchdog(TIME);
    let folder = Folder::new();
    let options = UnixListenOptions::new().unlink_on_drop(true).remove_stale(true);
    block_on(async {
        let path = folder.join("socket");
        let listener = options.bind(&path).unwrap();
        let incoming = listener.incoming();
        drop(listener);
        UnixStream::connect(&path).await.unwrap();
        drop(incoming);
        assert!(!path.exists());

        let socket = options.bind_datagram(&path).unwrap();
        drop(socket.clone());
        assert!(path.exists());
        drop(socket);
        assert!(!path.exists());

        // Another socket was bound at the path: its file stays, even if the file system reuses the inode number.
        let listener = options.bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = net::UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        UnixStream::connect(&path).await.unwrap();
        drop(other);

        // A file that was moved is not searched for.
        let listener = options.bind(&path).unwrap();
        fs::rename(&path, folder.join("moved")).unwrap();
        fs::write(&path, "text").unwrap();
        drop(listener);
        assert!(path.exists() && folder.join("moved").exists());
        fs::remove_file(&path).unwrap();

        // Converted to std's listener: the file stays.
        let listener = options.bind(&path).unwrap();
        drop(listener.into_std().unwrap());
        assert!(path.exists());
        let listener = options.bind(&path).unwrap();
        let incoming = listener.incoming();
        let std_listener = listener.into_std().unwrap();
        drop(incoming);
        assert!(path.exists());
        drop(std_listener);
        drop(options.bind_datagram(&path).unwrap().into_std().unwrap());
        assert!(path.exists());
    });
}
