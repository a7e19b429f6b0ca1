//! A connection that was accepted and has not made its handshake yet.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::error_chain::ErrorChain;
use crate::log_limit::limited;
use crate::tls::connection::http_timeouts::{HttpTimeouts, HttpTimer};
use crate::tls::connection::inbound::Connection;
use crate::tls::connection::silence::Silent;
use crate::tls::connection::socket::Socket;
use crate::tls::connection::stats::HandshakeStats;
use crate::tls::reason::REFUSED;

use super::acceptor::Acceptor;
use super::admission::Tickets;
use super::refusal_observer::RefusalObserver;

/// A connection that a [`Listener`](crate::tls::Listener) took from its socket, before its
/// handshake.
///
/// For servers that spawn a task for each connection: the handshake runs in that task, so it needs
/// no task of its own and the connection does not move between tasks. The connection counts against
/// [`Limits::connections`](crate::tls::Limits::connections) until it is dropped.
#[derive(Debug)]
#[must_use = "the client waits for its handshake"]
pub struct Incoming {
    pub(super) socket: Socket,
    pub(super) remote: SocketAddr,
    /// The address of the listener.
    pub(super) listening: SocketAddr,
    pub(super) acceptor: Acceptor,
    pub(super) tickets: Tickets,
    pub(super) silent: Silent,
    pub(super) timeouts: Option<HttpTimeouts>,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) stats: Arc<HandshakeStats>,
    pub(super) observer: RefusalObserver,
}

impl Incoming {
    /// Makes the handshake, within the listener's limits of time and number. `None` when the client
    /// was refused or is gone; that is then already counted and logged.
    ///
    /// The state of the handshake is on the heap and freed when it is over. As part of the caller's
    /// task it would take memory for as long as the connection lasts.
    pub fn handshake(self) -> impl Future<Output = Option<Connection>> + Send + Unpin + 'static {
        Box::pin(self.make())
    }

    async fn make(self) -> Option<Connection> {
        let mut silent = Some(self.silent);
        let handshake = async {
            let local = self.socket.prepare(self.listening)?;
            let turn = self.tickets.take();
            self.acceptor
                .accept_in_turn(self.socket, self.remote, local, &mut silent, turn)
                .await
        };
        match handshake.await {
            Ok((stream, peer)) => {
                if peer.is_tls() {
                    self.stats.count(None);
                } else {
                    self.stats.count_plaintext();
                }
                let timer = self
                    .timeouts
                    .map(|timeouts| HttpTimer::new(timeouts, peer.clone()));
                let (permit, stats) = (self.permit, self.stats);
                Some(Connection::new(stream, peer, permit, stats, silent, timer))
            }
            Err(error) => {
                self.stats.count(Some(error.reason()));
                self.observer.refused(self.remote, error.reason());
                limited!(limit: REFUSED.get(error.reason()), target: "tower_mesh::tls", DEBUG, remote = %self.remote, local = %self.listening, reason = %error.reason(), error = %ErrorChain(&error), "connection refused");
                None
            }
        }
    }
}
