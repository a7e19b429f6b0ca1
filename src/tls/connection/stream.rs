//! The bytes of a connection after its handshake: TLS of either direction, or plaintext.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Version;
use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::context::Peer;
use crate::live::Live;
use crate::tls::credentials::rustls_verifier::Role;
use crate::tls::mode::Modes;

use super::facts::HandshakeFacts;
use super::lifetime::{Lifetime, Lifetimes};

/// A connection after its handshake: TLS of either direction, or plaintext where a port takes it.
pub struct Stream<S> {
    inner: Inner<S>,
    /// What the handshake used; `None` where we showed no identity.
    facts: Option<HandshakeFacts>,
    /// For a connection without identities: the port that it was accepted on, and the modes.
    port: Option<(Live<Modes>, u16)>,
    lifetimes: Lifetimes,
    /// The peer, once its certificate was read.
    peer: Option<Peer>,
}

enum Inner<S> {
    /// The bytes that were read to find the protocol, then the stream.
    Plain(Box<[u8]>, S),
    // The TLS state is a kilobyte: boxed, so that a plaintext stream is not.
    Tls(Box<TlsStream<S>>),
}

impl<S> Stream<S> {
    pub(in crate::tls) fn plaintext(read: &[u8], io: S, lifetimes: Lifetimes) -> Self {
        Self::new(Inner::Plain(read.into(), io), lifetimes)
    }

    /// A stream without TLS, to or from a peer outside the mesh.
    #[must_use]
    pub fn unprotected(io: S) -> Self {
        Self::plaintext(&[], io, Lifetimes::default())
    }

    /// The connection may last while this port accepts connections without identities.
    pub(in crate::tls) fn while_taken(mut self, modes: Live<Modes>, port: u16) -> Self {
        self.port = Some((modes, port));
        self
    }

    /// TLS whose handshake is done.
    pub(in crate::tls) fn secured(stream: impl Into<TlsStream<S>>, lifetimes: Lifetimes) -> Self {
        Self::new(Inner::Tls(Box::new(stream.into())), lifetimes)
    }

    fn new(inner: Inner<S>, lifetimes: Lifetimes) -> Self {
        Self {
            inner,
            facts: None,
            port: None,
            lifetimes,
            peer: None,
        }
    }

    /// With facts, the stream is mutual TLS: each side has proven its identity.
    pub(in crate::tls) fn with_facts(mut self, facts: Option<HandshakeFacts>) -> Self {
        self.facts = facts;
        self
    }

    pub(in crate::tls) fn with(mut self, peer: Peer) -> Self {
        self.peer = Some(peer);
        self
    }

    /// How long the connection may go on from now.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        let role = match &self.inner {
            Inner::Tls(tls) if matches!(**tls, TlsStream::Client(_)) => Role::Server,
            Inner::Plain(..) | Inner::Tls(_) => Role::Client,
        };
        let chain = self.tls().and_then(CommonState::peer_certificates);
        match (&self.facts, chain, &self.peer, &self.port) {
            (Some(facts), Some(chain), Some(peer), _) => Lifetime::for_mutual(
                self.lifetimes,
                facts.clone(),
                role,
                chain.to_vec(),
                peer.clone(),
            ),
            (_, _, _, Some((modes, port))) => {
                Lifetime::for_port(self.lifetimes, modes.clone(), *port)
            }
            _ => Lifetime::of_age(self.lifetimes),
        }
    }

    /// The transport underneath.
    #[must_use]
    pub fn transport(&self) -> &S {
        match &self.inner {
            Inner::Plain(_, io) => io,
            Inner::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whether both ends agreed on HTTP/2.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.agreed_version() == Some(Version::HTTP_2)
    }

    /// The version of HTTP that both ends agreed on, if they did.
    pub(crate) fn agreed_version(&self) -> Option<Version> {
        match self.tls()?.alpn_protocol()? {
            b"h2" | b"istio-h2" => Some(Version::HTTP_2),
            b"http/1.1" | b"istio-http/1.1" => Some(Version::HTTP_11),
            _ => None,
        }
    }

    /// What the handshake of the mesh agreed on; `None` for plaintext and for the application's own
    /// TLS.
    pub(in crate::tls) fn mutual(&self) -> Option<&CommonState> {
        self.facts.as_ref().and_then(|_| self.tls())
    }

    /// SHA-256 of the certificate that the peer has shown to the mesh.
    pub(in crate::tls) fn peer_certificate_sha256(&self) -> Option<[u8; 32]> {
        let leaf = self.mutual()?.peer_certificates()?.first()?;
        self.facts.as_ref()?.credentials.settings().sha256(leaf)
    }

    /// As [`is_tls`](Self::is_tls), for the rest of the crate.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn is_protected(&self) -> bool {
        self.is_tls()
    }

    /// Whether the connection is TLS: the mesh's or the application's own.
    pub(in crate::tls) fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    fn tls(&self) -> Option<&CommonState> {
        match &self.inner {
            Inner::Plain(..) => None,
            Inner::Tls(tls) => Some(tls.get_ref().1),
        }
    }

    pub(in crate::tls) fn server_name(&self) -> Option<&str> {
        match &self.inner {
            Inner::Tls(tls) => match &**tls {
                TlsStream::Server(tls) => tls.get_ref().1.server_name(),
                TlsStream::Client(_) => None,
            },
            Inner::Plain(..) => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(read, io) if read.is_empty() => Pin::new(io).poll_read(cx, buf),
            Inner::Plain(read, _) => {
                let (now, later) = read.split_at(read.len().min(buf.remaining()));
                buf.put_slice(now);
                *read = later.into();
                Poll::Ready(Ok(()))
            }
            Inner::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

/// Calls the same method of whichever stream there is.
macro_rules! with_io {
    ($inner:expr, $io:ident => $call:expr) => {
        match $inner {
            Inner::Plain(_, $io) => $call,
            Inner::Tls($io) => $call,
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        with_io!(&mut self.inner, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_io!(&mut self.inner, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        with_io!(&self.inner, io => io.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_io!(&mut self.inner, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_io!(&mut self.inner, io => Pin::new(io).poll_shutdown(cx))
    }
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.inner {
            Inner::Plain(..) => "Stream(plaintext)",
            Inner::Tls(tls) => match **tls {
                TlsStream::Server(_) => "Stream(TLS server)",
                TlsStream::Client(_) => "Stream(TLS client)",
            },
        })
    }
}
