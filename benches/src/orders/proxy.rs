//! The order for a process that measures a TCP proxy.
//!
//! The process answers with a single figure: seconds of CPU time of the proxy per GiB.

use super::peer::Peer;

/// The order for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProxyOrder {
    /// Ours or tokio; raw has no proxy.
    pub(crate) peer: Peer,
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// MiB through each connection.
    pub(crate) mib: usize,
}

impl ProxyOrder {
    /// Returns the command line arguments for this order.
    pub(crate) fn to_args(self) -> Vec<String> {
        let mut args = vec!["proxy".into(), self.peer.to_string()];
        args.extend(["--connections".into(), self.connections.to_string(), "--count".into(), self.mib.to_string()]);
        args
    }
}
