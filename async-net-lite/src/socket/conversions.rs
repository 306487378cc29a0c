//! Conversions from and to the sockets of std, the same for every type.
//!
//! The file of each public socket type calls `std_conversions!` once. A macro and not a trait, since Rust forbids
//! `TryFrom<OwnedFd>` for all types of a trait. A bare descriptor may be anything, so its domain and kind are checked:
//! otherwise a socket of another kind would fail only in a later operation, with an error that does not say why. The
//! work of `from_std` and `into_std` is not here: each type knows how to wait and what its clones share.

/// Implements the conversions of a socket type with the methods `inner`, `from_std` and `into_std`.
macro_rules! std_conversions {
    ($ours:ident, $std:ty, $what:literal, $domains:pat, $kind:ident) => {
        const _: () = {
            use async_epoll::Handle;
            use socket2::{Domain, SockRef, Type};
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
            use std::{fmt, io};

            impl TryFrom<$std> for $ours {
                type Error = io::Error;

                /// Calls [`from_std`](Self::from_std) with the current reactor.
                fn try_from(socket: $std) -> io::Result<Self> {
                    Self::from_std(socket, &Handle::current()?)
                }
            }

            impl TryFrom<OwnedFd> for $ours {
                type Error = io::Error;

                #[doc = concat!("Converts a descriptor of a ", $what, ", with the current reactor.")]
                ///
                /// Fails with `InvalidInput` if the descriptor is a socket of another kind, and with the errors of
                /// `getsockopt(2)` if it is no socket.
                fn try_from(fd: OwnedFd) -> io::Result<Self> {
                    let socket = SockRef::from(&fd);
                    let (domain, kind) = (socket.domain()?, socket.r#type()?);
                    if !matches!(domain, $domains) || kind != Type::$kind {
                        let message = concat!("the descriptor is no ", $what);
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                    }
                    <$std>::from(fd).try_into()
                }
            }

            impl TryFrom<$ours> for OwnedFd {
                type Error = io::Error;

                #[doc = concat!("Returns the descriptor of [`into_std`](", stringify!($ours), "::into_std).")]
                fn try_from(socket: $ours) -> io::Result<Self> {
                    socket.into_std().map(Self::from)
                }
            }

            /// Returns the descriptor. Once it has been handed out, dropping the socket takes one system call more, since
            /// a duplicate may exist.
            impl AsFd for $ours {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    self.inner().hand_out()
                }
            }

            /// Returns the number of the descriptor, as [`AsFd`] does.
            impl AsRawFd for $ours {
                fn as_raw_fd(&self) -> RawFd {
                    self.inner().hand_out().as_raw_fd()
                }
            }

            impl fmt::Debug for $ours {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Debug::fmt(self.inner().get_ref(), f)
                }
            }
        };
    };
}

pub(crate) use std_conversions;
