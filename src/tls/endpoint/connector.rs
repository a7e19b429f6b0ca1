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
use crate::tls::connection::lifetime::{Lifetimes, Made};
use crate::tls::connection::stream::Stream;
use crate::tls::connection::tally::Tally;
use crate::tls::credentials::in_use::Credentials;
use crate::tls::identity::allowed::Accepted;
use crate::tls::protocol::Protocol;
use crate::tls::reason::{LimitByReason, Reason, Refusal};

use super::handshake::{self, HandshakeError};

/// Opens connections to workloads whose identity is known beforehand.
///
/// The server must prove one of the [`Destination`]'s ids; its DNS names play no part. Each connection reads the [`Credentials`] anew. It
/// has no way to open a plaintext connection, nor to trust the roots of the system. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    /// None only for a mesh in plaintext, which `danger()` asked for.
    credentials: Option<Credentials>,
    timeout: Duration,
    lifetimes: Lifetimes,
    tally: Arc<Tally>,
}

impl Connector {
    /// A connector with our identity; 10 s for a TCP connection, 10 s for a handshake.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self::with(Some(credentials))
    }

    /// A connector without an identity: its connections are plaintext, and whoever answers is taken.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn plaintext() -> Self {
        Self::with(None)
    }

    fn with(credentials: Option<Credentials>) -> Self {
        Self {
            credentials,
            timeout: Duration::from_secs(10),
            lifetimes: Lifetimes::default(),
            tally: Arc::default(),
        }
    }

    /// How long its connections go on.
    #[must_use]
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// Counts the handshakes here, instead of in a tally of its own.
    #[must_use]
    pub fn counting(mut self, tally: Arc<Tally>) -> Self {
        self.tally = tally;
        self
    }

    /// What became of its handshakes, and of those of its clones.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Bounds the TCP connection and the handshake, each.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens a TCP connection and makes the handshake.
    ///
    /// # Errors
    /// When nobody answers, or the handshake fails.
    pub async fn connect(
        &self,
        address: SocketAddr,
        destination: &Destination,
    ) -> Result<(Stream<TcpStream>, Peer), HandshakeError> {
        let stream = match self.open(address).await {
            Ok(stream) => stream,
            Err(error) => return Err(self.refused(address, error)),
        };
        let local = stream.local_addr()?;
        if self.credentials.is_none() {
            let stream = Stream::plaintext(&[], stream, self.lifetimes);
            return Ok((stream, Peer::plaintext(address, local)));
        }
        self.handshake(stream, address, local, destination).await
    }

    async fn open(&self, address: SocketAddr) -> Result<TcpStream, HandshakeError> {
        let connecting = timeout(self.timeout, TcpStream::connect(address));
        let stream = connecting
            .await
            .map_err(|_| HandshakeError::new(Reason::Timeout))?
            .map_err(HandshakeError::unreachable)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn refused(&self, remote: SocketAddr, error: HandshakeError) -> HandshakeError {
        self.tally.count(Some(error.reason()));
        limited!(limit: REFUSED.of(error.reason()), target: "tower_mesh::tls", DEBUG, %remote, reason = %error.reason(), error = %ErrorChain(&error), "no connection");
        error
    }

    /// Makes the handshake on a connection that stands.
    ///
    /// # Errors
    /// When the server is not one of those expected, refuses us, picks a protocol that was not offered, is too slow, or is gone.
    pub async fn handshake<S>(
        &self,
        stream: S,
        remote: SocketAddr,
        local: SocketAddr,
        destination: &Destination,
    ) -> Result<(Stream<S>, Peer), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.shake(stream, remote, local, destination).await {
            Ok(connected) => {
                self.tally.count(None);
                Ok(connected)
            }
            Err(error) => Err(self.refused(remote, error)),
        }
    }

    async fn shake<S>(
        &self,
        stream: S,
        remote: SocketAddr,
        local: SocketAddr,
        destination: &Destination,
    ) -> Result<(Stream<S>, Peer), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if destination.accepted.is_empty() {
            return Err(nobody());
        }
        let Some(credentials) = &self.credentials else {
            return Err(HandshakeError::new(Reason::NoIdentity));
        };
        let generation = credentials.current()?;
        let config = generation.client_config(
            destination.accepted.clone(),
            destination.protocol.alpn(),
            credentials.settings(),
        )?;
        let connector = TlsConnector::from(Arc::new(config));
        let connecting = connector.connect(destination.sni.clone(), stream);
        let connecting = timeout(self.timeout, connecting);
        let stream = connecting
            .await
            .map_err(|_| HandshakeError::new(Reason::Timeout))??;
        let made = Made {
            credentials: credentials.clone(),
            not_after: generation.not_after(),
            generation: generation.generation(),
            bundles: Arc::clone(generation.bundles()),
            accepted: Some(destination.accepted.clone()),
        };
        let stream = Stream::client(stream, self.lifetimes).made(made);
        let peer = handshake::peer(&stream, remote, local)?;
        Ok((stream.with(peer.clone()), peer))
    }
}

/// Where a connection goes: who may answer, and in which protocol.
#[derive(Clone, Debug)]
pub struct Destination {
    accepted: Accepted,
    sni: ServerName<'static>,
    protocol: Protocol,
}

impl Destination {
    /// Whoever proves one of `ids` may answer. `sni` is the server name sent ([`outbound_sni`](crate::tls::outbound_sni) makes Istio's); an address sends none.
    ///
    /// # Errors
    /// When `ids` is empty, as nobody could answer, or `sni` is neither a DNS name nor an address.
    pub fn new(
        ids: impl IntoIterator<Item = SpiffeId>,
        sni: &str,
        protocol: Protocol,
    ) -> Result<Self, HandshakeError> {
        let accepted: Accepted = ids.into_iter().collect();
        if accepted.is_empty() {
            return Err(nobody());
        }
        Self::accepting(accepted, sni, protocol)
    }

    /// As [`new`](Self::new), for whoever is accepted. A list that is empty when it is asked refuses the connection then.
    ///
    /// # Errors
    /// When `sni` is neither a DNS name nor an address.
    pub fn accepting(
        accepted: Accepted,
        sni: &str,
        protocol: Protocol,
    ) -> Result<Self, HandshakeError> {
        let sni = ServerName::try_from(sni.to_owned()).map_err(|_| {
            Refusal::with(
                Reason::Tls,
                "the server name is neither a DNS name nor an address",
            )
        })?;
        Ok(Self {
            accepted,
            sni,
            protocol,
        })
    }

    /// Who may answer.
    #[must_use]
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }
}

/// M-29: where nobody is expected nobody can be accepted, nor anybody refused.
fn nobody() -> HandshakeError {
    let text = "no identity is expected, so none can be accepted: name the ids that may answer";
    Refusal::with(Reason::IdNotAllowed, text).into()
}

static REFUSED: LimitByReason = LimitByReason::new();
