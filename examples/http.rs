//! The part of HTTP/1 that a hello-world server needs: parse the head of a request, and format a response. No I/O is
//! here.
//!
//! The hard idea is where a request *ends*, because with keep-alive the next request begins there. A head ends with an
//! empty line; `httparse` finds it. A body ends where `Content-Length` or `Transfer-Encoding` say. A server that gets
//! this wrong takes a body for a request, and requests can be smuggled past a proxy. So this server does not read
//! bodies: it answers a request with a body, and closes the connection.

use httparse::EMPTY_HEADER;
use std::fmt;
use std::str;

/// The maximum size of a request's head, in bytes: method, path and all headers.
pub const MAX_HEAD: usize = 16 * 1024;
/// The maximum number of headers in a request.
const MAX_HEADERS: usize = 100;

/// The head of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// `GET`, `HEAD`, …
    pub method: &'a str,
    /// The path, without the host and the query: `/` for `http://localhost/?q=1`.
    pub path: &'a str,
    /// What happens to the connection after the response.
    pub connection: Connection,
    /// The size of the head, in bytes. The next request begins after the head.
    pub head_len: usize,
}

/// What happens to the connection after a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// The connection stays open: the default in HTTP/1.1.
    Keep,
    /// The connection stays open, and a header says so: an HTTP/1.0 client needs it.
    KeepWithHeader,
    /// The connection is closed.
    Close,
}

/// The status of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// 200: the page follows.
    Ok,
    /// 400: the bytes are not an HTTP/1 request.
    BadRequest,
    /// 404: there is no page at this path.
    NotFound,
    /// 405: only `GET` and `HEAD` are allowed.
    MethodNotAllowed,
    /// 408: the head took too long to arrive.
    RequestTimeout,
    /// 431: the head is too large.
    HeadTooLarge,
}

/// A response. Its `Display` form is the bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status.
    pub status: Status,
    /// What happens to the connection afterwards.
    pub connection: Connection,
    /// Whether the response answers a `HEAD` request: all headers, but no body.
    pub head_only: bool,
}

/// Parses the request head at the beginning of `bytes`. Returns `None` if more bytes are needed.
///
/// # Errors
///
/// The status of the refusal, if `bytes` cannot be the beginning of an acceptable request.
pub fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, Status> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head_len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => return Err(Status::HeadTooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
        Err(_) => return Err(Status::BadRequest),
    };
    if head_len > MAX_HEAD {
        return Err(Status::HeadTooLarge);
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Status::BadRequest);
    };
    let connection = check_headers(version, request.headers)?;
    Ok(Some(Request { method, path: path_of(target), connection, head_len }))
}

/// Checks the headers. Returns what happens to the connection after the response.
fn check_headers(version: u8, headers: &[httparse::Header<'_>]) -> Result<Connection, Status> {
    let (mut hosts, mut close, mut keep_alive, mut has_body) = (0, false, false, false);
    for header in headers {
        let value = header.value.trim_ascii();
        let is = |name| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            close |= has_token(value, "close");
            keep_alive |= has_token(value, "keep-alive");
        } else if is("transfer-encoding") {
            has_body = true;
        } else if is("content-length") {
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(Status::BadRequest);
            }
            has_body |= value.iter().any(|&digit| digit != b'0');
        }
    }
    // RFC 9112, 3.2: without a Host, or with two, an HTTP/1.1 request must be refused.
    if hosts > 1 || version == 1 && hosts == 0 {
        return Err(Status::BadRequest);
    }
    Ok(match version {
        _ if close || has_body => Connection::Close,
        1 => Connection::Keep,
        _ if keep_alive => Connection::KeepWithHeader,
        _ => Connection::Close,
    })
}

/// Returns whether a comma-separated list contains `token`.
fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|&byte| byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns the path of a request target: `/a` for `/a?b` and for `http://host/a?b`. Clients send the second form to
/// proxies, and servers have to accept it.
fn path_of(target: &str) -> &str {
    let target = target.split('?').next().unwrap_or_default();
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    }
}

impl Response {
    /// Returns the response to a request.
    pub fn to(request: &Request<'_>) -> Self {
        let status = match (request.method, request.path) {
            ("GET" | "HEAD", "/") => Status::Ok,
            ("GET" | "HEAD", _) => Status::NotFound,
            _ => Status::MethodNotAllowed,
        };
        Self { status, connection: request.connection, head_only: request.method == "HEAD" }
    }

    /// Returns the response to an unacceptable request. The end of such a request is unknown, so the connection is
    /// closed.
    pub const fn refusal(status: Status) -> Self {
        Self { status, connection: Connection::Close, head_only: false }
    }
}

impl Status {
    /// Returns the code and the reason, as in the first line of the response.
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.status.line();
        let body = if self.status == Status::Ok { "Hello, world!" } else { line };
        write!(f, "HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\n")?;
        // The body's line ends with a newline: one byte more.
        write!(f, "Content-Length: {}\r\n", body.len() + 1)?;
        if self.status == Status::MethodNotAllowed {
            f.write_str("Allow: GET, HEAD\r\n")?;
        }
        f.write_str(match self.connection {
            Connection::Keep => "",
            Connection::KeepWithHeader => "Connection: keep-alive\r\n",
            Connection::Close => "Connection: close\r\n",
        })?;
        f.write_str("\r\n")?;
        if self.head_only { Ok(()) } else { writeln!(f, "{body}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the response to a head that is given as lines.
    fn respond(lines: &[&str]) -> Response {
        let head = lines.join("\r\n") + "\r\n\r\n";
        match parse(head.as_bytes()) {
            Ok(request) => Response::to(&request.expect("a whole head")),
            Err(status) => Response::refusal(status),
        }
    }

    #[test]
    fn method_and_path_decide() {
        for (line, status) in [
            ("GET / HTTP/1.1", Status::Ok),
            ("HEAD / HTTP/1.1", Status::Ok),
            ("GET /?a=http://b/c HTTP/1.1", Status::Ok),
            ("GET http://a/ HTTP/1.1", Status::Ok),
            ("GET http://a HTTP/1.1", Status::Ok),
            ("GET http://a/b HTTP/1.1", Status::NotFound),
            ("GET /http://a/ HTTP/1.1", Status::NotFound),
            ("GET /favicon.ico HTTP/1.1", Status::NotFound),
            ("DELETE / HTTP/1.1", Status::MethodNotAllowed),
            ("OPTIONS * HTTP/1.1", Status::MethodNotAllowed),
            ("get / HTTP/1.1", Status::MethodNotAllowed),
            ("GET / HTTP/2.0", Status::BadRequest),
            ("GET /", Status::BadRequest),
        ] {
            assert_eq!(respond(&[line, "Host: a"]).status, status, "{line}");
        }
    }

    #[test]
    fn a_head_is_the_get_without_its_body() {
        for path in ["/", "/other"] {
            let whole = respond(&[&format!("GET {path} HTTP/1.1"), "Host: a"]).to_string();
            let head = respond(&[&format!("HEAD {path} HTTP/1.1"), "Host: a"]).to_string();
            let (expected, body) = whole.split_once("\r\n\r\n").unwrap();
            assert_eq!(head, format!("{expected}\r\n\r\n"));
            assert!(expected.contains(&format!("Content-Length: {}", body.len())));
        }
    }

    #[test]
    fn keep_alive_or_close() {
        for (version, header, connection) in [
            ("1.1", "A: b", Connection::Keep),
            ("1.1", "Connection: keep-alive", Connection::Keep),
            ("1.1", "connection: Close", Connection::Close),
            ("1.1", "Connection: TE,  close ", Connection::Close),
            ("1.1", "Connection: closed", Connection::Keep),
            ("1.1", "Content-Length: 0", Connection::Keep),
            ("1.1", "Content-Length: 10", Connection::Close),
            ("1.1", "Transfer-Encoding: chunked", Connection::Close),
            ("1.0", "A: b", Connection::Close),
            ("1.0", "Connection: Keep-Alive", Connection::KeepWithHeader),
            ("1.0", "Connection: keep-alive, close", Connection::Close),
        ] {
            let response = respond(&[&format!("GET / HTTP/{version}"), "Host: a", header]);
            assert_eq!((response.status, response.connection), (Status::Ok, connection), "{version} {header}");
        }
    }

    #[test]
    fn what_is_refused() {
        for lines in [
            &["GET / HTTP/1.1"][..],
            &["GET / HTTP/1.1", "Host: a", "Host: b"],
            &["GET / HTTP/1.1", "Host: a", "Content-Length: -1"],
            &["GET / HTTP/1.1", "Host: a", "Content-Length:"],
            &["GET / HTTP/1.1", "Host: a", "no colon"],
            &["\u{16}\u{3}\u{1}", "Host: a"],
        ] {
            assert_eq!(respond(lines), Response::refusal(Status::BadRequest), "{lines:?}");
        }
        assert!(parse(b"\x16\x03\x01\x02\x00").is_err(), "a TLS client, refused before the end of a line");
        assert_eq!(respond(&["GET / HTTP/1.0"]).status, Status::Ok, "HTTP/1.0 needs no Host");
    }

    #[test]
    fn limits_of_a_head() {
        let head = |length: usize| {
            let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nA: ", "\r\n\r\n");
            format!("{start}{}{end}", "x".repeat(length - start.len() - end.len()))
        };
        assert_eq!(parse(head(MAX_HEAD).as_bytes()).unwrap().unwrap().head_len, MAX_HEAD);
        assert_eq!(parse(head(MAX_HEAD + 1).as_bytes()), Err(Status::HeadTooLarge));
        assert_eq!(parse(&head(MAX_HEAD + 1).as_bytes()[..MAX_HEAD]), Err(Status::HeadTooLarge));
        assert_eq!(parse(&head(MAX_HEAD).as_bytes()[..MAX_HEAD - 1]), Ok(None));
        let lines = [&["GET / HTTP/1.1", "Host: a"][..], &["A: b"; MAX_HEADERS]].concat();
        assert_eq!(respond(&lines).status, Status::HeadTooLarge);
    }

    /// A head is parsed as soon as it is whole and not before, and the bytes after the head are not touched.
    #[test]
    fn a_head_in_pieces() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
        let first = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        for length in 0..first {
            assert_eq!(parse(&bytes[..length]), Ok(None), "{length}");
        }
        for length in first..=bytes.len() {
            let request = parse(&bytes[..length]).unwrap().unwrap();
            assert_eq!((request.method, request.head_len), ("GET", first));
        }
        assert_eq!(parse(&bytes[first..]).unwrap().unwrap().method, "HEAD");
    }
}
