//! A listener as `axum::serve` takes it.

use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use crate::context::Peer;
use crate::tls::connection::inbound::Connection;

use super::listener::Listener;

/// For axum's own server. A connection is cut when an identity on it stops being valid, at the
/// latest when one of its certificates expires. Age and rotations do not end it, because this
/// server cannot finish a single connection (a mesh's own `serve` can). With
/// `into_make_service_with_connect_info::<Peer>()` handlers get the [`Peer`] as connect info, and
/// the layers and extractors of this crate find it.
impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let connection = Self::accept(self).await.cut_when_no_longer_good();
        let remote = connection.peer().remote_addr();
        (connection, remote)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(Self::local_addr(self))
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().peer().clone()
    }
}
