//! Addresses of Unix sockets: what users give, what std has, and what the kernel takes.
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

/// Bytes of the longest path: those of `sun_path`, less one for the zero at its end.
const LONGEST_PATH: usize = 107;

/// The address of a path. Refuses what the kernel or std would take for something else, and says why.
pub(crate) fn from_path(path: &Path) -> io::Result<SocketAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        // To the kernel it means "any abstract name".
        return Err(invalid("an empty path names no socket".to_owned()));
    }
    if bytes.contains(&0) {
        return Err(invalid(format!(
            "{path:?} contains a zero byte: for an abstract name, give a SocketAddr::from_abstract_name to the function \
             whose name ends in _addr"
        )));
    }
    if bytes.len() > LONGEST_PATH {
        return Err(invalid(format!(
            "the path of a Unix socket has at most {LONGEST_PATH} bytes, and {path:?} has {}: use a shorter one, perhaps \
             relative to the current directory",
            bytes.len()
        )));
    }
    SocketAddr::from_pathname(path)
}

/// The kernel's form of an address that names a socket.
pub(crate) fn to_named(address: &SocketAddr) -> io::Result<SockAddr> {
    if address.is_unnamed() {
        return Err(invalid("an unnamed address leads to no socket".to_owned()));
    }
    to_kernel(address)
}

/// The kernel's form of any address. To bind to an unnamed one means to get a free abstract name.
pub(crate) fn to_kernel(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return SockAddr::unix(path);
    }
    let mut bytes = Vec::new();
    if let Some(name) = address.as_abstract_name() {
        bytes.push(0);
        bytes.extend_from_slice(name);
    }
    // socket2 takes what begins with a zero byte for an abstract name, and nothing for no name.
    SockAddr::unix(OsString::from_vec(bytes))
}

/// std's form of the kernel's.
pub(crate) fn from_kernel(address: &SockAddr) -> io::Result<SocketAddr> {
    match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => from_sun_path(path.as_os_str().as_bytes()),
        (None, Some(name)) => SocketAddr::from_abstract_name(name),
        (None, None) => unnamed(),
    }
}

/// The address that these bytes of a `sun_path` mean.
pub(crate) fn from_sun_path(bytes: &[u8]) -> io::Result<SocketAddr> {
    match bytes.split_first() {
        None => unnamed(),
        Some((0, name)) => SocketAddr::from_abstract_name(name),
        Some(_) => {
            let path = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            match path.len() {
                0..=LONGEST_PATH => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path))),
                // 108 bytes and no zero: a C program can bind to that, and std has no way to say it. Cut, it would be the
                // address of somebody else.
                _ => unnamed(),
            }
        }
    }
}

/// The address of a socket that is bound to none.
fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

/// An address that cannot be.
fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_kernel_and_back() {
        let longest = "p".repeat(LONGEST_PATH);
        let full = vec![b'n'; LONGEST_PATH];
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
