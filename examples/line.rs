//! Reading lines of limited length.
//!
//! `lines` and `read_line` of futures-rs have no limit: a client that never ends its line would fill the memory.

use futures::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use std::io;

/// How long a line may be, in bytes, its end included.
const MAX_LINE: usize = 1024;

/// Reads a line of at most 1024 bytes. Returns it without its end and without other control characters, which could
/// change the terminal on which it is shown, and with U+FFFD for what is not UTF-8. The last line may lack its end.
///
/// # Errors
///
/// Those of the reader, `UnexpectedEof` if there is no line left, and `InvalidData` for a longer line, of which the first
/// bytes have been read.
///
/// # Cancel safety
///
/// Bytes that have been read are lost when the future is dropped.
pub async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(MAX_LINE as u64).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end of file"));
    }
    if line.len() == MAX_LINE && !line.ends_with(b"\n") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {MAX_LINE} bytes")));
    }
    Ok(String::from_utf8_lossy(&line).chars().filter(|character| !character.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::io::BufReader;

    /// Returns all lines of `input`, and the kind of the error at their end.
    fn lines(input: &[u8]) -> (Vec<String>, io::ErrorKind) {
        // A buffer of two bytes, so lines come in parts.
        let mut reader = BufReader::with_capacity(2, input);
        let mut lines = Vec::new();
        loop {
            match next_line(&mut reader).now_or_never().expect("a slice is always ready") {
                Ok(line) => lines.push(line),
                Err(error) => return (lines, error.kind()),
            }
        }
    }

    #[test]
    fn ends_of_lines() {
        for (input, expected) in [
            (b"".as_slice(), [].as_slice()),
            (b"\n", &[""]),
            (b"one\n\r\ntwo\r\n", &["one", "", "two"]),
            (b"one\ntwo", &["one", "two"]),
            (b"a\tb\x1b[2Jc\xc2\x85\n", &["ab[2Jc"]),
            (b"a\xffb\n", &["a\u{fffd}b"]),
        ] {
            let expected = expected.iter().map(ToString::to_string).collect();
            assert_eq!(lines(input), (expected, io::ErrorKind::UnexpectedEof), "{input:?}");
        }
    }

    #[test]
    fn long_lines() {
        let longest = "a".repeat(MAX_LINE - 1);
        assert_eq!(lines(format!("{longest}\nb\n").as_bytes()).0, [longest.as_str(), "b"]);
        assert_eq!(lines(longest.as_bytes()).0, [longest.as_str()]);
        for too_long in ["a\n", "a", "é\n"] {
            let input = format!("first\n{longest}{too_long}");
            assert_eq!(
                lines(input.as_bytes()),
                (vec![String::from("first")], io::ErrorKind::InvalidData),
                "{too_long}"
            );
        }
    }
}
