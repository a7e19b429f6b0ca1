//! A listener as the stream of connections that tonic takes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tonic::transport::server::Connected;

use crate::context::Peer;
use crate::tls::connection::inbound::Connection;

use super::listener::Listener;

/// For tonic's own server: `Server::builder().add_service(..).serve_with_incoming(listener)`. The
/// stream never ends and never fails. Connections end as they do under axum's server.
impl Stream for Listener {
    type Item = Result<Connection, Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Connection, Infallible>>> {
        self.poll_accept(cx)
            .map(|connection| Some(Ok(connection.cut_when_no_longer_good())))
    }
}

/// Requests carry the [`Peer`] in their extensions.
impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer().clone()
    }
}
