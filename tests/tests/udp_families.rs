//! UDP sockets of one family, or of both, and hosts with addresses of one family, or of both.

use async_net_lite::{Resolver, UdpSocket, with_resolver};
use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::{self, BoxStream, StreamExt};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tests::common::block_on;
use tests::{TIME, has_ipv6, watchdog};

/// A resolver with these addresses. `is_half` leaves the lookup of the other family open for ever.
struct Host {
    addresses: Vec<SocketAddr>,
    is_half: bool,
}

impl Resolver for Host {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        assert!(!self.is_half, "needs both families");
        async { Ok(self.addresses.clone()) }.boxed()
    }

    fn resolve_stream<'a>(&'a self, host: &'a str, port: u16) -> BoxStream<'a, io::Result<Vec<SocketAddr>>> {
        if self.is_half {
            let known = stream::once(async { Ok(self.addresses.clone()) });
            return known.chain(stream::once(pending())).boxed();
        }
        let families = [true, false].map(|is_ipv6| {
            let of_family = self.addresses.iter().copied().filter(move |address| address.is_ipv6() == is_ipv6);
            Ok(of_family.collect())
        });
        let _ = (host, port);
        stream::iter(families).boxed()
    }
}

/// Returns a socket of the reactor that is bound to `address`.
fn socket(address: SocketAddr, only_v6: bool) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(only_v6).unwrap();
    }
    socket.bind(&address.into()).unwrap();
    UdpSocket::try_from(std::net::UdpSocket::from(socket)).unwrap()
}

/// Found 14: the socket's family × the families of the host × the operation. An address that fits is used, wherever it
/// stands; without any, the kernel's error is returned, and nothing is sent.
#[test]
fn sockets_and_hosts_of_each_family() {
    let _watchdog = watchdog(TIME);
    if !has_ipv6() {
        return;
    }
    block_on(async {
        let servers = [socket("127.0.0.1:0".parse().unwrap(), true), socket("[::1]:0".parse().unwrap(), true)];
        let [four, six] = servers.each_ref().map(|server| server.local_addr().unwrap());
        let any = |ip: [u16; 8]| SocketAddr::from((ip, 0));
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().segments();
        // The socket, and whether it can send to IPv4 and to IPv6.
        let sockets = [
            ("v4", SocketAddr::from(([0, 0, 0, 0], 0)), false, true, false),
            ("v4, bound", SocketAddr::from(([127, 0, 0, 1], 0)), false, true, false),
            ("v6 only", any([0; 8]), true, false, true),
            ("v6, bound", any(Ipv6Addr::LOCALHOST.segments()), false, false, true),
            ("dual", any([0; 8]), false, true, true),
            ("mapped, bound", any(mapped), false, true, false),
        ];
        let hosts = [vec![four], vec![six], vec![four, six], vec![six, four], vec![six, six, four, four]];
        for (name, address, only_v6, can_four, can_six) in sockets {
            for host in &hosts {
                let fits = |address: &&SocketAddr| if address.is_ipv4() { can_four } else { can_six };
                let right = host.iter().find(fits).copied();
                let resolver = Arc::new(Host { addresses: host.clone(), is_half: false });
                // As a name, and as a list.
                for is_name in [true, false] {
                    let what = format!("{name} to {host:?}, by name: {is_name}");
                    let client = socket(address, only_v6);
                    let sent = match is_name {
                        true => with_resolver(resolver.clone(), client.send_to(b"x", ("host", 7))).await,
                        false => client.send_to(b"x", host.as_slice()).await,
                    };
                    let connected = match is_name {
                        true => with_resolver(resolver.clone(), client.connect(("host", 7))).await,
                        false => client.connect(host.as_slice()).await,
                    };
                    let Some(right) = right else {
                        assert!(sent.is_err() && connected.is_err(), "{what}: {sent:?} {connected:?}");
                        continue;
                    };
                    assert_eq!(sent.unwrap_or_else(|error| panic!("{what}: {error}")), 1);
                    let server = &servers[usize::from(right.is_ipv6())];
                    let (_, from) = server.recv_from(&mut [0; 8]).await.unwrap();
                    assert_eq!(from.port(), client.local_addr().unwrap().port(), "{what}");
                    connected.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(client.peer_addr().unwrap().port(), right.port(), "{what}");
                    client.send(b"y").await.unwrap();
                    let (_, from) = server.recv_from(&mut [0; 8]).await.unwrap();
                    // Answers arrive.
                    server.send_to(b"z", from).await.unwrap();
                    assert_eq!(client.recv(&mut [0; 8]).await.unwrap(), 1, "{what}");
                }
                // Binding opens a socket of the address's family.
                let free: Vec<_> = host.iter().map(|address| SocketAddr::new(address.ip(), 0)).collect();
                let resolver = Arc::new(Host { addresses: free.clone(), is_half: false });
                let bound = with_resolver(resolver, UdpSocket::bind(("host", 0))).await.unwrap();
                assert_eq!(bound.local_addr().unwrap().ip(), free[0].ip());
            }
        }
        // No datagram went astray.
        servers.iter().for_each(|server| assert!(server.try_recv(&mut [0; 8]).is_err()));
    });
}

/// Found 14: a socket of one family does not wait for the addresses of the other.
#[test]
fn a_half_answered_name() {
    let _watchdog = watchdog(TIME);
    block_on(async {
        let server = socket("127.0.0.1:0".parse().unwrap(), true);
        let half = Host { addresses: vec![server.local_addr().unwrap()], is_half: true };
        let client = socket("0.0.0.0:0".parse().unwrap(), true);
        with_resolver(Arc::new(half), async {
            client.send_to(b"x", ("host", 7)).await.unwrap();
            client.connect(("host", 7)).await.unwrap();
        })
        .await;
        assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 1);
    });
}
