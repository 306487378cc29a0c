//! The command line of a server: the address to listen on, and whether to trace.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::{because, say, trace};

/// The parsed options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Args {
    /// `--addr HOST:PORT`: the address to listen on.
    pub addr: SocketAddr,
    /// `--trace`: print what the reactor does.
    pub trace: bool,
}

impl Args {
    /// Reads the command line of this process. Returns `None` after `--help`: the help has been printed then.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with one line that names the wrong option.
    pub fn from_env(about: &str, default_addr: &str) -> io::Result<Option<Self>> {
        let args = Self::parse(env::args_os().skip(1), default_addr)?;
        if args.is_none() {
            say(&help(about, default_addr));
        }
        Ok(args)
    }

    /// Reads the command line of this process, begins to [trace](trace::print) if asked to, and listens, by default on
    /// any free port. Returns `None` after `--help`.
    ///
    /// The listener is a listener of std, so no reactor is needed yet.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with one line that names the wrong option, and the errors of [`listener`](Self::listener).
    pub fn listen(about: &str) -> io::Result<Option<TcpListener>> {
        let Some(args) = Self::from_env(about, "127.0.0.1:0")? else {
            return Ok(None);
        };
        if args.trace {
            trace::print();
        }
        args.listener().map(Some)
    }

    /// Returns a listener on [`addr`](Self::addr).
    ///
    /// # Errors
    ///
    /// The errors of `bind(2)`, such as `AddrInUse`, with the address in the message.
    pub fn listener(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self.addr).map_err(because(format!("cannot listen on {}", self.addr)))
    }

    /// Parses the options. Returns `None` if help is wanted.
    fn parse(args: impl Iterator<Item = OsString>, default_addr: &str) -> io::Result<Option<Self>> {
        let mut addr = None;
        let mut trace = false;
        let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--trace" => trace = true,
                "--addr" => addr = Some(args.next().ok_or_else(|| invalid("--addr needs a value: HOST:PORT"))?),
                _ => match arg.strip_prefix("--addr=") {
                    Some(value) => addr = Some(value.to_owned()),
                    None => return Err(invalid(&format!("unknown option {arg:?}; --help lists the options"))),
                },
            }
        }
        let addr = address(addr.as_deref().unwrap_or(default_addr))?;
        Ok(Some(Self { addr, trace }))
    }
}

/// Returns the text of `--help`.
fn help(about: &str, default_addr: &str) -> String {
    format!(
        "{about}\n\n\
         Options:\n  \
           --addr HOST:PORT  listen on this address; port 0 means any free port [default: {default_addr}]\n  \
           --trace           print what the reactor does, to standard error\n  \
           --help            print this text"
    )
}

/// Returns the first address of `text`. A host name is looked up at once: the lookup blocks, but no loop is running
/// yet.
///
/// # Errors
///
/// `InvalidInput`, with one line that says what is wrong with the address.
pub fn address(text: &str) -> io::Result<SocketAddr> {
    let explain = |what: &dyn std::fmt::Display| invalid(&format!("cannot use the address {text:?}: {what}"));
    if !text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return Err(explain(&"expected HOST:PORT, such as 127.0.0.1:7878"));
    }
    let mut addresses = text.to_socket_addrs().map_err(|error| explain(&error))?;
    addresses.next().ok_or_else(|| explain(&"the name has no address"))
}

/// Returns the error of a wrong command line.
pub(crate) fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "127.0.0.1:7878";

    fn parse(line: &str) -> io::Result<Option<Args>> {
        Args::parse(line.split_whitespace().map(OsString::from), DEFAULT)
    }

    #[test]
    fn both_spellings_of_an_option() {
        let default = Args { addr: DEFAULT.parse().unwrap(), trace: false };
        assert_eq!(parse("").unwrap(), Some(default));
        let other = Args { addr: "127.0.0.2:0".parse().unwrap(), trace: true };
        assert_eq!(parse("--trace --addr 127.0.0.2:0").unwrap(), Some(other));
        assert_eq!(parse("--addr=127.0.0.2:0 --trace").unwrap(), Some(other));
        assert_eq!(parse("--addr [::1]:80").unwrap().unwrap().addr, "[::1]:80".parse().unwrap());
        assert_eq!(parse("--addr nonsense --help").unwrap(), None);
    }

    #[test]
    fn errors_name_the_culprit() {
        for (line, culprit) in [
            ("--addr", "--addr needs a value"),
            ("--addr nonsense", "\"nonsense\""),
            ("--addr 127.0.0.1", "HOST:PORT"),
            ("--addr 127.0.0.1:65536", "65536"),
            ("--addr :80", "HOST:PORT"),
            ("--verbose", "\"--verbose\""),
            ("7878", "\"7878\""),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(culprit) && !message.contains('\n'), "{line}: {message}");
        }
    }
}
