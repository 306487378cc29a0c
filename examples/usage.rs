//! The command line of a program that takes words (files, an address) or no words.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::args::invalid;
use crate::{say, trace};

/// The words and options that a program takes. Any other word is an error of one line.
#[derive(Clone, Copy, Debug)]
pub struct Usage<const N: usize> {
    /// What the program does, in one line.
    pub about: &'static str,
    /// The meaning of each word: `["SRC", "DST"]`.
    pub words: [&'static str; N],
    /// Whether the program has a reactor, and so the option `--trace`.
    pub trace: bool,
}

impl<const N: usize> Usage<N> {
    /// Reads the command line of this process, and begins to [trace](trace::print) if asked to. Returns the words, or
    /// `None` after `--help`: the help has been printed then.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with one line that names the missing word, or the word too many.
    pub fn from_env(&self) -> io::Result<Option<[OsString; N]>> {
        let mut args = env::args_os();
        let program = args.next().unwrap_or_default();
        let Some((words, trace)) = self.parse(args)? else {
            say(&self.help(&Path::new(&program).file_name().unwrap_or_default().to_string_lossy()));
            return Ok(None);
        };
        if trace {
            trace::print();
        }
        Ok(Some(words))
    }

    /// Returns the words, and whether to trace; `None` if help is wanted. After `--`, an option is a word like any
    /// other.
    fn parse(&self, args: impl Iterator<Item = OsString>) -> io::Result<Option<([OsString; N], bool)>> {
        let (mut words, mut trace, mut options) = (Vec::new(), false, true);
        for arg in args {
            match arg.to_str() {
                Some("--help" | "-h") if options => return Ok(None),
                Some("--trace") if options && self.trace => trace = true,
                Some("--") if options => options = false,
                _ if options && arg.as_encoded_bytes().starts_with(b"-") && arg.len() > 1 => {
                    return Err(invalid(&format!("unknown option {arg:?}; --help lists the options")));
                }
                _ if words.len() == N => return Err(invalid(&format!("{arg:?} is one word too many; see --help"))),
                _ => words.push(arg),
            }
        }
        let words = words
            .try_into()
            .map_err(|words: Vec<_>| invalid(&format!("{} is missing; see --help", self.words[words.len()])))?;
        Ok(Some((words, trace)))
    }

    /// Returns the text of `--help`.
    fn help(&self, program: &str) -> String {
        let (about, words) = (self.about, self.words.map(|word| format!(" {word}")).concat());
        let trace = if self.trace { "--trace  print what the reactor does, to standard error\n  " } else { "" };
        format!("{about}\n\nUsage: {program} [OPTION]{words}\n\nOptions:\n  {trace}--help   print this text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: Usage<2> = Usage { about: "Copies.", words: ["SRC", "DST"], trace: true };
    const NONE: Usage<0> = Usage { about: "Runs.", words: [], trace: false };

    fn parse<const N: usize>(usage: Usage<N>, line: &str) -> io::Result<Option<([OsString; N], bool)>> {
        usage.parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn words_and_options() {
        let words = ["a", "b"].map(OsString::from);
        assert_eq!(parse(COPY, "a b").unwrap(), Some((words.clone(), false)));
        assert_eq!(parse(COPY, "a --trace b").unwrap(), Some((words, true)));
        let dashes = ["-", "--help"].map(OsString::from);
        assert_eq!(parse(COPY, "- -- --help").unwrap(), Some((dashes, false)));
        assert_eq!(parse(COPY, "a --help").unwrap(), None);
        assert_eq!(parse(NONE, "").unwrap(), Some(([], false)));
    }

    #[test]
    fn errors_name_the_culprit() {
        for (error, culprit) in [
            (parse(COPY, "").unwrap_err(), "SRC is missing"),
            (parse(COPY, "a").unwrap_err(), "DST is missing"),
            (parse(COPY, "a b c").unwrap_err(), "\"c\""),
            (parse(COPY, "-v a b").unwrap_err(), "\"-v\""),
            (parse(NONE, "--trace").unwrap_err(), "\"--trace\""),
            (parse(NONE, "a\nb").unwrap_err(), "\"a\""),
        ] {
            let message = error.to_string();
            assert!(message.contains(culprit) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn help_tells_what_there_is() {
        assert!(COPY.help("copy").contains("Usage: copy [OPTION] SRC DST\n"));
        assert!(COPY.help("copy").contains("--trace") && !NONE.help("none").contains("--trace"));
    }
}
