//! The server's side of a handshake: TLS or plaintext, as the mode of the port says.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{Accepted, Acceptor as Hello, ClientHello};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Duration, timeout};
use tokio_rustls::StartHandshake;

use crate::context::{ForwardedPeer, Peer, ProxySocket, Via};
use crate::live::Live;
use crate::tls::connection::facts::HandshakeFacts;
use crate::tls::connection::lifetime::Lifetimes;
use crate::tls::connection::silence::{Silent, in_silence};
use crate::tls::connection::stream::Stream;
use crate::tls::credentials::in_use::Credentials;
use crate::tls::mode::{Mode, Modes};
use crate::tls::reason::{Reason, Refusal};

use super::handshake::{self, HandshakeError, HandshakeTimeouts};
use super::proxy_protocol::{self, ProxyHeader};

/// Accepts connections as a workload of the mesh: mutual TLS, and plaintext where the port's
/// [`Mode`] allows it.
///
/// It holds no identity itself: each handshake reads the [`Credentials`] and the [`Modes`]. Cheap
/// to clone.
///
/// - The first byte decides whether the client speaks TLS. The acceptor never guesses from silence:
///   it closes a client that sends nothing.
/// - A TLS client must show a certificate, also on a PERMISSIVE port; see
///   [`own_tls`](Self::own_tls).
/// - It agrees on `h2` or `http/1.1`, never on Istio's own protocol names, which sidecars also
///   offer.
/// - The server name is kept as a fact and decides nothing.
/// - Decision: it sends no root hints, the names of the authorities that it trusts. They would have to
///   name the roots of every trust domain, and would show each client which domains are federated. A
///   workload has one certificate and needs no hint.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// `None` for an acceptor that only takes plaintext.
    credentials: Option<Credentials>,
    modes: Live<Modes>,
    timeouts: HandshakeTimeouts,
    lifetimes: Lifetimes,
    own_tls: Option<Arc<ServerConfig>>,
    proxy: Option<TrustedSocket>,
    /// Whether the port speaks no HTTP.
    is_tcp: bool,
}

/// A socket on which only a trusted proxy connects.
#[derive(Clone, Debug)]
pub(crate) struct TrustedSocket {
    /// The proxy.
    pub(crate) via: Via,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) has_header: bool,
}

impl Acceptor {
    /// An acceptor with STRICT on every port.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self::with(Some(credentials), Modes::default())
    }

    /// An acceptor without an identity: it takes plaintext, and cannot make a TLS handshake.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn plaintext() -> Self {
        Self::with(None, Modes::new(Mode::Disable))
    }

    fn with(credentials: Option<Credentials>, modes: Modes) -> Self {
        Self {
            credentials,
            modes: Live::new(modes),
            timeouts: HandshakeTimeouts::default(),
            lifetimes: Lifetimes::default(),
            own_tls: None,
            proxy: None,
            is_tcp: false,
        }
    }

    /// The TLS configuration that the application used before the mesh, for clients outside it. On
    /// a PERMISSIVE port, a client that offers none of Istio's protocol names is served with this
    /// configuration. It counts as a client without identity, as on plaintext, even if it shows a
    /// certificate, and its connection ends when the port becomes STRICT. Unset by default, so that
    /// a client must show a certificate of the mesh.
    ///
    /// Sidecars and [`Connector`](crate::tls::Connector)s offer Istio's names and must show a
    /// certificate; Istio tells its clients apart in the same way.
    #[must_use]
    pub fn own_tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.own_tls = Some(config);
        self
    }

    /// Its connections carry no HTTP: it agrees on `istio` with a client that offers it, as Istio's
    /// sidecars do for TCP, and names no protocol to any other client.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.is_tcp = true;
        self
    }

    /// Every connection is plaintext of this proxy, whatever the mode of its port.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn trusting(mut self, proxy: TrustedSocket) -> Self {
        self.proxy = Some(proxy);
        self
    }

    setters! {
        /// Reads the mode of each connection's port from here.
        modes: Live<Modes>,
        /// Bounds handshakes in time.
        timeouts: HandshakeTimeouts,
        /// How long its connections last.
        lifetimes: Lifetimes,
    }

    /// Makes the handshake of one connection: returns the stream to serve, and its peer.
    ///
    /// `local` is the address that the client reached; its port selects the mode.
    ///
    /// # Errors
    /// When the client is refused, too slow, or gone. The connection is then closed, and
    /// [`HandshakeError::reason`] gives the reason.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Result<(Stream<S>, Peer), HandshakeError> {
        let at_once = ready(Ok(()));
        self.accept_in_turn(stream, remote, local, &mut None, at_once)
            .await
    }

    /// As [`accept`](Self::accept), with a turn. The acceptor awaits the turn once the client's
    /// hello is complete, and holds it until the handshake is over, for [`TURN`] at most.
    ///
    /// Before the hello no computation was spent on the client, and after it the acceptor mostly
    /// waits, so a silent client does not take turns from others for long. A client stops being
    /// `silent` when it has sent the expected bytes; on a port that expects none it stays silent.
    pub(super) async fn accept_in_turn<S: AsyncRead + AsyncWrite + Unpin, T>(
        &self,
        mut stream: S,
        remote: SocketAddr,
        local: SocketAddr,
        silent: &mut Option<Silent>,
        turn: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<(Stream<S>, Peer), HandshakeError> {
        if let Some(proxy) = &self.proxy {
            return self
                .accept_proxy(proxy, stream, remote, local, silent)
                .await;
        }
        let mode = || self.modes.load().for_port(local.port());
        let plaintext = |read: &[u8], stream| {
            let stream = Stream::plaintext(read, stream, self.lifetimes);
            let stream = stream.while_taken(self.modes.clone(), local.port());
            Ok((stream, Peer::plaintext(remote, local)))
        };
        if mode() == Mode::Disable {
            return plaintext(&[], stream);
        }
        let mut buffer = [0; CHUNK];
        let first = timeout(self.timeouts.first_byte, stream.read(&mut buffer));
        let read = in_silence(silent, first).await???;
        // Reads the mode again, here and below: the client may have been silent for long.
        match (buffer.get(..read).unwrap_or_default(), mode()) {
            ([], _) => Err(HandshakeError::new(Reason::Closed)),
            (hello @ [TLS_HANDSHAKE, ..], Mode::Permissive | Mode::Strict) => {
                let handshake = self.handshake(stream, hello, mode, silent, turn);
                let stream = timeout(self.timeouts.handshake, handshake).await??;
                let peer = handshake::peer(&stream, remote, local)?;
                if peer.is_tls() {
                    return Ok((stream.with(peer.clone()), peer));
                }
                if mode() == Mode::Strict {
                    return Err(HandshakeError::new(Reason::PlaintextRefused));
                }
                let stream = stream.while_taken(self.modes.clone(), local.port());
                Ok((stream, peer))
            }
            (bytes, Mode::Disable | Mode::Permissive) => {
                *silent = None;
                plaintext(bytes, stream)
            }
            (_, Mode::Strict) => Err(HandshakeError::new(Reason::PlaintextRefused)),
        }
    }

    /// Accepts a connection of a trusted proxy, and reads the header that it begins with.
    async fn accept_proxy<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        proxy: &TrustedSocket,
        mut stream: S,
        remote: SocketAddr,
        local: SocketAddr,
        silent: &mut Option<Silent>,
    ) -> Result<(Stream<S>, Peer), HandshakeError> {
        let via = proxy.via.clone();
        let (rest, proxy) = match proxy.has_header {
            false => (Vec::new(), ProxySocket::Requests(via)),
            true => {
                let (header, rest) = self.proxy_header(&mut stream, silent).await?;
                let caller = ForwardedPeer::new(header.identity, header.source, via);
                (rest, ProxySocket::Connection(caller))
            }
        };
        let stream = Stream::plaintext(&rest, stream, self.lifetimes);
        Ok((stream, Peer::of_proxy(remote, local, proxy)))
    }

    /// The header, and the bytes that were read behind it.
    async fn proxy_header<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        silent: &mut Option<Silent>,
    ) -> Result<(ProxyHeader, Vec<u8>), HandshakeError> {
        let mut bytes = Vec::new();
        let mut buffer = [0; CHUNK];
        let first = timeout(self.timeouts.first_byte, stream.read(&mut buffer));
        let mut read = in_silence(silent, first).await???;
        *silent = None;
        let rest = async {
            loop {
                match buffer.get(..read).unwrap_or_default() {
                    [] => return Err(HandshakeError::new(Reason::Closed)),
                    more => bytes.extend_from_slice(more),
                }
                let header = proxy_protocol::read(&bytes);
                let header = header.map_err(|why| Refusal::with(Reason::ProxyHeader, why))?;
                if let Some((header, length)) = header {
                    return Ok((header, bytes.split_off(length)));
                }
                read = stream.read(&mut buffer).await?;
            }
        };
        timeout(self.timeouts.handshake, rest).await?
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin, T>(
        &self,
        mut stream: S,
        read: &[u8],
        mode: impl Fn() -> Mode,
        silent: &mut Option<Silent>,
        turn: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<Stream<S>, HandshakeError> {
        let accepted = in_silence(silent, hello(&mut stream, read)).await??;
        *silent = None;
        let turn = turn.await?;
        let own_tls = self.own_tls.as_ref().filter(|_| mode() == Mode::Permissive);
        let (config, facts) = match own_tls {
            Some(config) if !is_of_istio(&accepted.client_hello()) => (Arc::clone(config), None),
            _ => {
                let credentials = self.credentials.as_ref();
                let credentials = credentials.ok_or_else(|| Refusal::new(Reason::NoIdentity))?;
                let generation = credentials.current()?;
                let facts = HandshakeFacts::new(credentials, &generation, None);
                let hello = accepted.client_hello();
                let config = match self.is_tcp {
                    true => generation.tcp_server_config(&hello),
                    false => generation.server_config(&hello),
                };
                (config, Some(facts))
            }
        };
        let handshake = StartHandshake::from_parts(accepted, stream);
        let mut handshake = pin!(handshake.into_stream(config));
        let in_turn = timeout(TURN, handshake.as_mut()).await;
        drop(turn);
        let stream = match in_turn {
            Ok(stream) => stream?,
            Err(_) => handshake.await?,
        };
        Ok(Stream::secured(stream, self.lifetimes).with_facts(facts))
    }
}

/// Whether the client offers one of Istio's protocol names.
fn is_of_istio(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.any(|protocol| protocol.starts_with(b"istio"))
}

/// Reads until the client's first message is complete, up to [`LONGEST_HELLO`].
async fn hello<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    read: &[u8],
) -> Result<Accepted, HandshakeError> {
    let mut hello = Hello::default();
    let mut total = read.len();
    feed(&mut hello, read)?;
    loop {
        match hello.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                stream.write_all(&bytes).await?;
                return Err(error.into());
            }
        }
        let mut buffer = [0; CHUNK];
        let read = stream.read(&mut buffer).await?;
        total += read;
        match buffer.get(..read).unwrap_or_default() {
            [] => return Err(Refusal::new(Reason::Closed).into()),
            _ if total > LONGEST_HELLO => return Err(Refusal::new(Reason::HelloTooLong).into()),
            bytes => feed(&mut hello, bytes)?,
        }
    }
}

fn feed(hello: &mut Hello, mut bytes: &[u8]) -> Result<(), HandshakeError> {
    while !bytes.is_empty() {
        if hello.read_tls(&mut bytes)? == 0 {
            return Err(HandshakeError::new(Reason::Tls));
        }
    }
    Ok(())
}

/// The record type that every TLS connection begins with.
const TLS_HANDSHAKE: u8 = 0x16;
const CHUNK: usize = 2048;
/// Longer than a handshake takes with a client that answers.
const TURN: Duration = Duration::from_secs(1);
/// Four times the size of a hello with post-quantum key shares and a long list of names.
const LONGEST_HELLO: usize = 8192;
