//! The implementations that most cases compare: ours, raw epoll, tokio.
//!
//! Servers, wakes and proxies are measured in these; timers have a longer list of peers of their own
//! ([`TimerPeer`](super::timers::TimerPeer)).

use std::fmt;
use std::str::FromStr;

/// An implementation under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// async-epoll and async-net-lite with a `LocalPool`.
    Ours,
    /// A hand-written epoll loop without futures: the limit for epoll.
    Raw,
    /// tokio's current_thread runtime.
    Tokio,
}

impl Peer {
    /// All peers, in the order of the tables.
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Raw, Self::Tokio];
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Raw => "raw",
            Self::Tokio => "tokio",
        })
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let peer = Self::ALL.into_iter().find(|peer| peer.to_string() == name);
        peer.ok_or_else(|| format!("there is no server {name}"))
    }
}
