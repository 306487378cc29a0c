//! The names that the machine knows by itself: those of `/etc/hosts`, and old forms of IPv4 addresses.
//!
//! `getaddrinfo(3)` answers these without a name server, so their lookups are quick when no server answers. The queue
//! asks here which of its names they are, and keeps a thread for them. Their addresses still come from
//! `getaddrinfo`, which also knows the order of `nsswitch.conf` and `gai.conf`. So an error here costs time only.
//!
//! The file is read for each batch of new names, and never kept: `getaddrinfo` reads it for each lookup, too.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The file, as the C library has it.
pub(super) const PATH: &str = "/etc/hosts";

/// Returns the names among `names` that need no name server, in lower case. The file is at `path`; a file that cannot be
/// read has no names.
pub(super) fn known(path: impl AsRef<Path>, names: &mut dyn Iterator<Item = &str>) -> HashSet<String> {
    let (mut known, mut unknown) = (HashSet::new(), HashSet::new());
    for name in names {
        let set = if is_old_ipv4(name) { &mut known } else { &mut unknown };
        set.insert(name.to_ascii_lowercase());
    }
    let Ok(file) = File::open(path) else { return known };
    let (mut file, mut line) = (BufReader::new(file), Vec::new());
    while !unknown.is_empty() && file.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        line.make_ascii_lowercase();
        let text = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        // The first word is the address.
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1);
        known.extend(words.filter_map(|word| unknown.take(std::str::from_utf8(word).ok()?)));
        line.clear();
    }
    known
}

/// Returns whether `name` is an IPv4 address of `inet_aton(3)`, such as `127.1` or `0x7f.1`, which std does not parse: up
/// to four numbers, of which the last stands for all remaining bytes. The C library asks a name server for similar
/// names, such as `1.2.3.4.5`.
fn is_old_ipv4(name: &str) -> bool {
    let numbers: Option<Vec<u32>> = name.split('.').map(number).collect();
    numbers.is_some_and(|numbers| match &numbers[..] {
        [before @ .., last] if before.len() < 4 => {
            before.iter().all(|byte| *byte < 256) && u64::from(*last) < 1 << (8 * (4 - before.len()))
        }
        _ => false,
    })
}

/// Returns the value of a decimal, octal (`0…`) or hexadecimal (`0x…`) number.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign, too.
    u32::from_str_radix(digits, radix).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are found in every column but the first, in any case, and not in comments.
    #[test]
    fn names_of_a_file() {
        let path = std::env::temp_dir().join(format!("async-net-lite-hosts-{}", std::process::id()));
        let text = b"127.0.0.1 localhost\tHere.Example # comment\n#127.0.0.2 hidden\n\n  ::1\tsix alias \xff\n9.9.9.9\n1.1.1.1 last";
        std::fs::write(&path, text).unwrap();
        let all = [
            "localhost",
            "LOCALHOST",
            "here.example",
            "comment",
            "hidden",
            "six",
            "alias",
            "9.9.9.9",
            "last",
            "#",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "host1.invalid",
            "1.example",
            "",
            ".",
            "1..2",
        ];
        let known_names = known(&path, &mut all.into_iter());
        let right = ["localhost", "here.example", "six", "alias", "9.9.9.9", "last", "127.0.0.1", "127.1", "0x7f.1"];
        assert_eq!(known_names, right.into_iter().map(String::from).collect());
        std::fs::remove_file(&path).unwrap();
        assert!(known(&path, &mut ["localhost"].into_iter()).is_empty(), "without the file");
        assert_eq!(known("/", &mut ["127.1", "localhost"].into_iter()).len(), 1, "a folder in its place");
    }

    /// Old forms of IPv4 addresses, as `inet_aton(3)` takes them, and similar names.
    #[test]
    fn old_addresses() {
        let addresses =
            ["1", "4294967295", "1.2", "1.16777215", "1.2.65535", "1.2.3.255", "0177.0.0.1", "0x7F.1", "0", "0X1"];
        let names = [
            "",
            ".",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4.5",
            "4294967296",
            "1.16777216",
            "1.2.65536",
            "1.2.3.256",
            "256.1",
            "08",
            "0x",
            "1x",
            "-1",
            "+1",
            "0x+1",
            "1.example",
            "1e",
            " 1",
        ];
        addresses.iter().for_each(|address| assert!(is_old_ipv4(address), "{address}"));
        names.iter().for_each(|name| assert!(!is_old_ipv4(name), "{name}"));
    }
}
