//! Numeric addresses: the forms that need no lookup.
//!
//! | form | meaning |
//! |---|---|
//! | `127.0.0.1`, `::1` | as std parses it |
//! | `[::1]` | the same in brackets, as in a URI |
//! | `fe80::1%eth0`, `[fe80::1%eth0]` | with the zone of a link-local address: the name of a network interface |
//! | `fe80::1%2`, `[fe80::1%2]` | with the zone as a number: the index of the interface, as std parses it |
//!
//! RFC 4007, section 11 defines the zones. A zone of digits alone is always a number, so the forms here and the
//! parsers of std agree. `%25` is not decoded, since a host is not a URI here.

use crate::sys;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Returns the address if `host` is numeric, or why it is none although it has the form of one. `None` for a name,
/// which needs a lookup.
///
/// Makes a system call only for a zone with a name.
pub(crate) fn numeric(host: &str, port: u16) -> Option<io::Result<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(SocketAddr::new(address, port)));
    }
    let invalid = |what| Some(Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?} {what}"))));
    let inner = match host.strip_prefix('[') {
        None => host,
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) => inner,
            None => return invalid("begins with a bracket and does not end with one"),
        },
    };
    let is_bracketed = inner.len() != host.len();
    let (address, zone) = inner.split_once('%').map_or((inner, None), |(address, zone)| (address, Some(zone)));
    match (address.parse::<Ipv6Addr>(), zone) {
        (Ok(address), None) => Some(Ok((address, port).into())),
        (Ok(address), Some(zone)) => {
            let with_scope = |scope| SocketAddr::from(SocketAddrV6::new(address, port, 0, scope));
            Some(index_of(zone, host).map(with_scope))
        }
        (Err(_), _) if is_bracketed => invalid("is no IPv6 address, as its brackets say"),
        (Err(_), Some(_)) if address.parse::<Ipv4Addr>().is_ok() => invalid("has a zone, and IPv4 has no zones"),
        (Err(_), _) => None,
    }
}

/// Returns the index of the interface that `zone` names by name or number.
fn index_of(zone: &str, host: &str) -> io::Result<u32> {
    let error = |kind, what: &str| Err(io::Error::new(kind, format!("{host:?} has the zone {zone:?}, {what}")));
    if zone.is_empty() {
        return error(io::ErrorKind::InvalidInput, "which is empty");
    }
    if zone.bytes().all(|byte| byte.is_ascii_digit()) {
        // The kernel checks the number when the address is used.
        return zone.parse().or_else(|_| error(io::ErrorKind::InvalidInput, "which is no 32-bit number"));
    }
    match sys::interface_index(zone) {
        Err(error_of_call) if matches!(error_of_call.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {
            error(io::ErrorKind::NotFound, "and no network interface has this name")
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// Found 13: every form of a numeric host, with its address, its error, or as a name.
    #[test]
    fn forms() {
        let lo = sys::interface_index("lo").unwrap();
        let v6 = |text: &str, scope| Some(Ok(SocketAddrV6::new(text.parse().unwrap(), 80, 0, scope).into()));
        let invalid = Some(Err(ErrorKind::InvalidInput));
        let table: [(&str, Option<Result<SocketAddr, ErrorKind>>); 36] = [
            ("127.0.0.1", Some(Ok("127.0.0.1:80".parse().unwrap()))),
            ("::1", v6("::1", 0)),
            ("[::1]", v6("::1", 0)),
            ("::ffff:127.0.0.1", v6("::ffff:127.0.0.1", 0)),
            ("fe80::1%lo", v6("fe80::1", lo)),
            ("[fe80::1%lo]", v6("fe80::1", lo)),
            ("::1%lo", v6("::1", lo)),
            ("[::1%lo]", v6("::1", lo)),
            ("ff02::1%lo", v6("ff02::1", lo)),
            ("[::1%1]", v6("::1", 1)),
            ("::1%1", v6("::1", 1)),
            ("fe80::1%0", v6("fe80::1", 0)),
            ("fe80::1%007", v6("fe80::1", 7)),
            ("fe80::1%4294967295", v6("fe80::1", u32::MAX)),
            ("fe80::1%4294967296", invalid),
            ("fe80::1%", invalid),
            ("[fe80::1%]", invalid),
            ("fe80::1%no-such", Some(Err(ErrorKind::NotFound))),
            ("[fe80::1%no-such]", Some(Err(ErrorKind::NotFound))),
            ("fe80::1%25lo", Some(Err(ErrorKind::NotFound))),
            ("fe80::1%lo%lo", Some(Err(ErrorKind::NotFound))),
            ("fe80::1%a-name-of-more-than-fifteen-bytes", Some(Err(ErrorKind::NotFound))),
            ("fe80::1%+1", Some(Err(ErrorKind::NotFound))),
            ("fe80::1%l\0o", invalid),
            ("127.0.0.1%lo", invalid),
            ("[127.0.0.1]", invalid),
            ("[localhost]", invalid),
            ("[localhost%lo]", invalid),
            ("[]", invalid),
            ("[", invalid),
            ("[::1", invalid),
            ("::1]", None),
            ("localhost", None),
            ("a%lo", None),
            ("127.1", None),
            ("", None),
        ];
        for (host, right) in table {
            let found = numeric(host, 80);
            let kind = found.as_ref().map(|result| result.as_ref().map(|address| *address).map_err(io::Error::kind));
            assert_eq!(kind, right, "{host:?}");
            if let Some(Err(error)) = found.filter(|_| !host.contains('\0')) {
                assert!(error.to_string().contains(host), "the error says which host: {error}");
            }
        }
    }
}
