//! A server of key sets for tests.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{Issuer, Leaf, Pki};
use crate::live::Live;

/// An ordinary HTTPS server outside the mesh that publishes an issuer's keys at any path, as an
/// identity provider does, or one over plain HTTP, as on a developer's machine. Stops when it is
/// dropped.
#[derive(Debug)]
pub struct JwksServer {
    address: SocketAddr,
    body: Live<String>,
    serving: AbortHandle,
}

impl JwksServer {
    /// Serves the keys of an issuer on loopback, with a certificate of this authority for `host`, a
    /// name or an address.
    ///
    /// # Errors
    /// When there is no port, or `host` cannot be in a certificate.
    pub async fn start(pki: &Pki, host: &str, issuer: &Issuer) -> io::Result<Self> {
        let leaf = Leaf::without_uri();
        let leaf = match host.parse() {
            Ok(address) => leaf.ip(address),
            Err(_) => leaf.dns(host),
        };
        let issued = pki.issue(&leaf).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(issued.chain().to_vec(), issued.key())
            .map_err(io::Error::other)?;
        Self::bind(Some(TlsAcceptor::from(Arc::new(config))), issuer).await
    }

    /// Serves the keys of an issuer on 127.0.0.1 over plain HTTP, for
    /// [`TokenOptions::loopback_http_jwks`](crate::mesh::TokenOptions::loopback_http_jwks).
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start_plaintext(issuer: &Issuer) -> io::Result<Self> {
        Self::bind(None, issuer).await
    }

    async fn bind(acceptor: Option<TlsAcceptor>, issuer: &Issuer) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let body = Live::new(issuer.jwks());
        let serving = tokio::spawn(serve(listener, acceptor, body.clone())).abort_handle();
        Ok(Self {
            address,
            body,
            serving,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with this text from now on, valid or not.
    pub fn answer(&self, body: impl Into<String>) {
        self.body.store(body.into());
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, body: Live<String>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, body) = (acceptor.clone(), body.clone());
        connections.spawn(async move {
            let Some(acceptor) = acceptor else {
                return answer(tcp, &body).await;
            };
            if let Ok(stream) = acceptor.accept(tcp).await {
                answer(stream, &body).await;
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, body: &Live<String>) {
    let answer = service_fn(|_: Request<Incoming>| {
        let body = Bytes::from(body.snapshot().to_string());
        async move {
            let mut response = Response::new(Full::new(body));
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok::<_, Infallible>(response)
        }
    });
    // A client that goes away is no failure of the server.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}
