use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::sync::Arc;
use tokio::net::TcpStream;
use tower_service::Service;

use super::ClientBody;
use super::error::BuildError;
use super::upstream::bare;
use crate::tls::{OneWayConnector, Settings, Stream};

/// Where and how keys are fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct FetchOptions {
    /// PEM; the system's roots when absent.
    pub(super) roots: Option<Vec<u8>>,
    /// Hosts that DNS is not asked for.
    pub(super) addresses: BTreeMap<String, SocketAddr>,
}

/// The HTTPS client that fetches keys.
pub(super) type Fetch = Client<HttpsConnector, ClientBody>;

/// A client over HTTPS; plaintext is refused.
pub(super) fn client(options: FetchOptions, settings: &Settings) -> Result<Fetch, BuildError> {
    let tls = match &options.roots {
        Some(pem) => OneWayConnector::with_roots(settings, pem)
            .map_err(|error| BuildError::option(format!("MeshBuilder::jwks_roots: {error}")))?,
        None => OneWayConnector::with_system_roots(settings)?,
    };
    let connector = HttpsConnector {
        tls,
        addresses: Arc::new(options.addresses),
    };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector))
}

/// Connects to the host of an `https` URI.
#[derive(Clone, Debug)]
pub(super) struct HttpsConnector {
    tls: OneWayConnector,
    addresses: Arc<BTreeMap<String, SocketAddr>>,
}

impl HttpsConnector {
    async fn connect(self, uri: Uri) -> io::Result<HttpsStream> {
        if uri.scheme_str() != Some("https") {
            return Err(io::Error::other("keys are fetched over https only"));
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(443);
        let bare = bare(&host);
        let addresses: Vec<SocketAddr> = match self.addresses.get(&format!("{host}:{port}")) {
            Some(address) => vec![*address],
            None => tokio::net::lookup_host((bare, port)).await?.collect(),
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match self.tls.connect(address, bare).await {
                Ok(stream) => return Ok(HttpsStream(TokioIo::new(stream))),
                Err(error) => failure = io::Error::other(error),
            }
        }
        Err(failure)
    }
}

impl Service<Uri> for HttpsConnector {
    type Response = HttpsStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpsStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection to an HTTPS server.
pub(super) struct HttpsStream(TokioIo<Stream<TcpStream>>);

impl Connection for HttpsStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for HttpsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for HttpsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
