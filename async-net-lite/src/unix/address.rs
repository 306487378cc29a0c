//! Addresses of Unix sockets, in three forms: the user's path, std's `SocketAddr` and the kernel's bytes.
//!
//! ```text
//!   path ────► std's SocketAddr ────► socket2's SockAddr ────► kernel
//!              (path, abstract        (bytes and a length)
//!               name, unnamed)  ◄───────────────────────────────┘
//! ```

use socket2::SockAddr;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// The length of the longest path, in bytes: the size of `sun_path`, less the zero at its end.
const MAX_PATH: usize = 107;

/// Returns the address of a path. Refuses a path that the kernel or std would take for something else, and says why.
pub(crate) fn from_path(path: &Path) -> io::Result<SocketAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        // The kernel would bind to any free abstract name.
        return Err(invalid("an empty path names no socket".to_owned()));
    }
    if bytes.contains(&0) {
        return Err(invalid(format!(
            "{path:?} contains a zero byte: for an abstract name, give a SocketAddr::from_abstract_name to the function \
             whose name ends in _addr"
        )));
    }
    if bytes.len() > MAX_PATH {
        return Err(invalid(format!(
            "the path of a Unix socket has at most {MAX_PATH} bytes, and {path:?} has {}: use a shorter one, perhaps \
             relative to the current directory",
            bytes.len()
        )));
    }
    SocketAddr::from_pathname(path)
}

/// Returns the kernel's form of an address. Refuses an unnamed address.
pub(crate) fn to_named(address: &SocketAddr) -> io::Result<SockAddr> {
    if address.is_unnamed() {
        return Err(invalid("an unnamed address leads to no socket".to_owned()));
    }
    to_kernel(address)
}

/// Returns the kernel's form of any address. Binding to an unnamed address makes the kernel choose a free abstract
/// name.
pub(crate) fn to_kernel(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return SockAddr::unix(path);
    }
    let mut bytes = Vec::new();
    if let Some(name) = address.as_abstract_name() {
        bytes.push(0);
        bytes.extend_from_slice(name);
    }
    // socket2 takes bytes with a zero in front for an abstract name, and no bytes for an unnamed address.
    SockAddr::unix(OsString::from_vec(bytes))
}

/// Returns std's form of the kernel's address.
pub(crate) fn from_kernel(address: &SockAddr) -> io::Result<SocketAddr> {
    match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => from_sun_path(path.as_os_str().as_bytes()),
        (None, Some(name)) => SocketAddr::from_abstract_name(name),
        (None, None) => unnamed(),
    }
}

/// Returns the address of the bytes of a `sun_path`.
pub(crate) fn from_sun_path(bytes: &[u8]) -> io::Result<SocketAddr> {
    match bytes.split_first() {
        None => unnamed(),
        Some((0, name)) => SocketAddr::from_abstract_name(name),
        Some(_) => {
            let path = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            match path.len() {
                0..=MAX_PATH => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path))),
                // 108 bytes without a zero: a C program can bind to such a path, but std cannot express it. Cut to
                // 107 bytes, the path would be another socket's.
                _ => unnamed(),
            }
        }
    }
}

/// Returns the address of a socket that is not bound.
fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

/// Returns the error for an address that is not valid.
fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_kernel_and_back() {
        let longest = "p".repeat(MAX_PATH);
        let full = vec![b'n'; MAX_PATH];
        let addresses = [
            SocketAddr::from_pathname("/tmp/socket"),
            SocketAddr::from_pathname(longest),
            SocketAddr::from_abstract_name("name"),
            SocketAddr::from_abstract_name("name\0"),
            SocketAddr::from_abstract_name(b"\0\0"),
            SocketAddr::from_abstract_name(full),
            unnamed(),
        ];
        for address in addresses.map(Result::unwrap) {
            let back = from_kernel(&to_kernel(&address).unwrap()).unwrap();
            assert_eq!(back.as_pathname(), address.as_pathname());
            assert_eq!(back.as_abstract_name(), address.as_abstract_name());
            assert_eq!(back.is_unnamed(), address.is_unnamed());
            assert_eq!(to_named(&address).is_err(), address.is_unnamed());
        }
    }

    #[test]
    fn bytes_of_a_sun_path() {
        assert!(from_sun_path(b"").unwrap().is_unnamed());
        assert_eq!(from_sun_path(b"\0").unwrap().as_abstract_name(), Some(&b""[..]));
        assert_eq!(from_sun_path(b"\0a\0").unwrap().as_abstract_name(), Some(&b"a\0"[..]));
        assert_eq!(from_sun_path(b"/a\0rest").unwrap().as_pathname(), Some(Path::new("/a")));
        assert_eq!(from_sun_path(&[b'p'; 107]).unwrap().as_pathname().unwrap().as_os_str().len(), 107);
        assert!(from_sun_path(&[b'p'; 108]).unwrap().is_unnamed());
        assert!(from_sun_path(b"p\0".repeat(54).as_slice()).unwrap().as_pathname().is_some());
    }

    #[test]
    fn paths_that_cannot_be() {
        for bad in ["", "\0", "a\0", "\0name"] {
            assert_eq!(from_path(Path::new(bad)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
        for (length, fits) in [(1, true), (106, true), (107, true), (108, false), (109, false), (5000, false)] {
            assert_eq!(from_path(Path::new(&"p".repeat(length))).is_ok(), fits, "{length}");
        }
    }
}
