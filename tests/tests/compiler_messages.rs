//! What the compiler says about programs that are wrong: the message names the remedy.
//!
//! The programs are compiled with the libraries beside this test. A folder of builds may have several of each, with other
//! features; the first that a right program compiles with is taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use tests::{Folder, TIME, watchdog};

/// A program that is right.
const RIGHT: &str = "use async_epoll::Source; use async_net_lite::TcpStream; use futures::AsyncRead; use std::fs::File;
pub fn takes(_: impl AsyncRead) {}
pub fn right(file: Source<File>) { takes(file); let _ = TcpStream::connect((\"localhost\", 80)); }";

/// The folder of the libraries that this test was built with.
static LIBRARIES: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::current_exe().unwrap().parent().expect("a folder").to_owned());

/// Compiles a program, up to code generation, and returns what the compiler says.
fn compile(program: &str, libraries: &[(&str, PathBuf)]) -> Output {
    let folder = Folder::new();
    let source = folder.file("program.rs", program.as_bytes());
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--crate-type=lib", "--edition=2024", "--emit=metadata", "--color=never", "--out-dir"]);
    command.arg(folder.path()).arg(&source).arg("-L").arg(&*LIBRARIES).stdin(Stdio::null());
    for (name, file) in libraries {
        command.arg("--extern").arg(format!("{name}={}", file.display()));
    }
    command.output().expect("a compiler")
}

/// Returns the builds of a library, the newest first.
fn builds(library: &str) -> Vec<PathBuf> {
    let is_build = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("lib").and_then(|name| name.strip_prefix(library)).is_some_and(|rest| rest.starts_with('-'))
            && path.extension().is_some_and(|extension| extension == "rlib")
    };
    let mut found: Vec<_> =
        fs::read_dir(&*LIBRARIES).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_build(path)).collect();
    found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).and_then(|data| data.modified()).ok()));
    found
}

/// Each mistake × what the message has to say.
#[test]
fn messages_name_the_remedy() {
    let _watchdog = watchdog(TIME);
    let libraries = builds("async_net_lite")
        .into_iter()
        .flat_map(|net| builds("async_epoll").into_iter().map(move |epoll| (net.clone(), epoll)))
        .flat_map(|(net, epoll)| {
            builds("futures").into_iter().map(move |futures| (net.clone(), epoll.clone(), futures))
        })
        .map(|(net, epoll, futures)| [("async_net_lite", net), ("async_epoll", epoll), ("futures", futures)])
        .find(|libraries| compile(RIGHT, libraries).status.success())
        .expect("libraries that fit together");
    let reader = "use async_epoll::Source; use futures::AsyncRead; use std::process::{ChildStdin, ChildStdout};
        fn takes(_: impl AsyncRead) {}
        pub fn wrong(pipe: Source<ChildStdout>) { takes(pipe) }";
    let writer = "use async_epoll::Source; use futures::AsyncWrite; use std::process::ChildStdout;
        fn takes(_: impl AsyncWrite) {}
        pub fn wrong(pipe: Source<ChildStdout>) { takes(pipe) }";
    let address = "pub fn wrong() { drop(async_net_lite::TcpStream::connect(80)) }";
    for (program, remedies) in [
        (reader, &["a source of `ChildStdout` cannot be read", "File::from(OwnedFd::from(io))", "spawn_async"][..]),
        (writer, &["a source of `ChildStdout` cannot be written", "File::from(OwnedFd::from(io))"]),
        (address, &["is not an address to bind or connect to", "(\"host\", 80)"]),
    ] {
        let output = compile(program, &libraries);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "compiles: {program}");
        for remedy in remedies {
            assert!(message.contains(remedy), "{remedy:?} is not in: {message}");
        }
    }
}
