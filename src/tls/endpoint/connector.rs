//! The client's side of a handshake with a server of the mesh.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;

use crate::context::Peer;
use crate::error_chain::ErrorChain;
use crate::identity::SpiffeId;
use crate::log_limit::limited;
use crate::tls::connection::facts::HandshakeFacts;
use crate::tls::connection::lifetime::Lifetimes;
use crate::tls::connection::stats::HandshakeStats;
use crate::tls::connection::stream::Stream;
use crate::tls::credentials::in_use::Credentials;
use crate::tls::identity::allowed::AllowedIds;
#[cfg(all(feature = "server", feature = "client"))]
use crate::tls::jitter::FOREVER;
use crate::tls::protocol::Protocol;
use crate::tls::reason::{LimitByReason, Reason, Refusal};

use super::handshake::{self, HandshakeError, connect_tcp};

/// Opens connections to workloads whose identity is known beforehand.
///
/// The server must prove one of the [`Destination`]'s ids; its DNS names do not matter. Each
/// connection reads the [`Credentials`]. The connector cannot open a plaintext connection, and
/// cannot trust the system's roots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    /// `None` only for a plaintext mesh, which `danger()` asked for.
    credentials: Option<Credentials>,
    timeout: Duration,
    lifetimes: Lifetimes,
    stats: Arc<HandshakeStats>,
}

impl Connector {
    /// A connector with our identity; 10 s for a TCP connection, 10 s for a handshake.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self::with(Some(credentials))
    }

    /// A connector without an identity: its connections are plaintext, to any server.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn plaintext() -> Self {
        Self::with(None)
    }

    fn with(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            timeout: Duration::from_secs(10),
            lifetimes: Lifetimes::default(),
            stats: Arc::default(),
        }
    }

    setters! {
        /// How long its connections last.
        lifetimes: Lifetimes,
        /// Bounds the TCP connection and the handshake, each.
        timeout: Duration,
    }

    /// Counts the handshakes here, instead of in counters of its own.
    #[must_use]
    pub fn counting(mut self, stats: Arc<HandshakeStats>) -> Self {
        self.stats = stats;
        self
    }

    /// The counters of its handshakes, and of those of its clones.
    #[must_use]
    pub fn stats(&self) -> Arc<HandshakeStats> {
        Arc::clone(&self.stats)
    }

    /// How long a connection to a host outside the mesh may go on from now. At its maximum age it
    /// takes no more calls; no identity is on it, so nothing cuts the calls that it has.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn external_lifetime(&self) -> crate::tls::Lifetime {
        crate::tls::Lifetime::of_age(Lifetimes {
            drain: FOREVER,
            ..self.lifetimes
        })
    }

    /// Opens a TCP connection and makes the handshake.
    ///
    /// # Errors
    /// When no server answers, or the handshake fails.
    pub async fn connect(
        &self,
        address: SocketAddr,
        destination: &Destination,
    ) -> Result<(Stream<TcpStream>, Peer), HandshakeError> {
        let stream = connect_tcp(address, self.timeout).await;
        let stream = stream.map_err(|error| self.refused(address, error))?;
        let local = stream.local_addr()?;
        if self.credentials.is_none() {
            let stream = Stream::plaintext(&[], stream, self.lifetimes);
            return Ok((stream, Peer::plaintext(address, local)));
        }
        self.handshake(stream, address, local, destination).await
    }

    fn refused(&self, remote: SocketAddr, error: HandshakeError) -> HandshakeError {
        self.stats.count(Some(error.reason()));
        limited!(limit: REFUSED.get(error.reason()), target: "tower_mesh::tls", DEBUG, %remote, reason = %error.reason(), error = %ErrorChain(&error), "no connection");
        error
    }

    /// Makes the handshake on an open connection.
    ///
    /// # Errors
    /// When the server is not one of those expected, refuses us, picks a protocol that was not
    /// offered, is too slow, or is gone.
    pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        remote: SocketAddr,
        local: SocketAddr,
        destination: &Destination,
    ) -> Result<(Stream<S>, Peer), HandshakeError> {
        let attempt = async {
            if destination.allowed.is_empty() {
                return Err(no_ids());
            }
            let Some(credentials) = &self.credentials else {
                return Err(HandshakeError::new(Reason::NoIdentity));
            };
            let generation = credentials.current()?;
            let config = generation.client_config(
                destination.allowed.clone(),
                destination.protocol.alpn(),
                credentials.settings(),
            )?;
            let connector = TlsConnector::from(Arc::new(config));
            let connecting = connector.connect(destination.sni.clone(), stream);
            let connecting = timeout(self.timeout, connecting);
            let stream = connecting.await??;
            let facts =
                HandshakeFacts::new(credentials, &generation, Some(destination.allowed.clone()));
            let stream = Stream::secured(stream, self.lifetimes).with_facts(Some(facts));
            let peer = handshake::peer(&stream, remote, local)?;
            Ok((stream.with(peer.clone()), peer))
        };
        let connected = attempt.await.inspect(|_| self.stats.count(None));
        connected.map_err(|error| self.refused(remote, error))
    }
}

/// Where a connection goes: the ids that may answer, and the protocol.
#[derive(Clone, Debug)]
pub struct Destination {
    allowed: AllowedIds,
    sni: ServerName<'static>,
    protocol: Protocol,
}

impl Destination {
    /// A server that proves one of `ids` may answer. `sni` is the server name to send
    /// ([`outbound_sni`](crate::tls::outbound_sni) makes Istio's); an address sends none.
    ///
    /// # Errors
    /// When `ids` is empty, or `sni` is neither a DNS name nor an address.
    pub fn new(
        ids: impl IntoIterator<Item = SpiffeId>,
        sni: &str,
        protocol: Protocol,
    ) -> Result<Self, HandshakeError> {
        let allowed: AllowedIds = ids.into_iter().collect();
        if allowed.is_empty() {
            return Err(no_ids());
        }
        Self::accepting(allowed, sni, protocol)
    }

    /// As [`new`](Self::new), with [`AllowedIds`]. If their list is empty at the time of a
    /// connection, the connection is refused.
    ///
    /// # Errors
    /// When `sni` is neither a DNS name nor an address.
    pub fn accepting(
        allowed: AllowedIds,
        sni: &str,
        protocol: Protocol,
    ) -> Result<Self, HandshakeError> {
        let sni = ServerName::try_from(sni.to_owned()).map_err(|_| {
            let text = "the server name is neither a DNS name nor an address";
            Refusal::with(Reason::Tls, text)
        })?;
        Ok(Self {
            allowed,
            sni,
            protocol,
        })
    }

    /// The ids that may answer.
    #[must_use]
    pub fn allowed_ids(&self) -> &AllowedIds {
        &self.allowed
    }
}

/// M-29: an empty list can neither accept nor refuse a server, so it is an error.
fn no_ids() -> HandshakeError {
    let text = "no identity is expected, so none can be accepted: name the ids that may answer";
    Refusal::with(Reason::IdNotAllowed, text).into()
}

static REFUSED: LimitByReason = LimitByReason::new();
