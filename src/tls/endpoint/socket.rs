//! The socket that a listener accepts connections from.

#![cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only the mesh listens on Unix sockets")
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use crate::tls::connection::socket::Socket;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl ListeningSocket {
    /// The path of a Unix socket.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            #[cfg(unix)]
            Self::Unix(unix) => Some(unix.local_addr().ok()?.as_pathname()?.to_owned()),
        }
    }

    /// The next connection, and the address of its client. A client of a Unix socket has none: the
    /// unspecified address stands for it.
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, SocketAddr)>> {
        match self {
            Self::Tcp(tcp) => {
                let accepted = tcp.poll_accept(cx);
                accepted.map_ok(|(tcp, remote)| (Socket::Tcp(tcp), remote))
            }
            #[cfg(unix)]
            Self::Unix(unix) => {
                let accepted = unix.poll_accept(cx);
                accepted.map_ok(|(unix, _)| (Socket::Unix(unix), unaddressed(0)))
            }
        }
    }
}

/// The address of an end of a Unix socket, which has none, for policies of this port.
pub(super) fn unaddressed(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
