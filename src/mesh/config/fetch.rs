use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project::pin_project;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::error_chain::ErrorChain;
use crate::mesh::ClientBody;
use crate::mesh::client::pool::upstreams::bare;
use crate::policy::is_loopback;
use crate::tls::{OneWayConnector, Reason, Settings, Stream};

/// Where and how keys are fetched.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct FetchOptions {
    /// PEM; the system's roots when absent.
    pub(in crate::mesh) roots: Option<Vec<u8>>,
    /// Hosts that DNS is not asked for.
    pub(in crate::mesh) addresses: BTreeMap<String, SocketAddr>,
    /// Whether plain HTTP is spoken with this machine.
    pub(in crate::mesh) loopback_http: bool,
}

/// The client that fetches keys.
pub(in crate::mesh) type Fetch = Client<KeyConnector, ClientBody>;

/// A client over HTTPS. Plaintext is refused, except of loopback where that is asked for.
///
/// # Errors
/// The mistake of the option that is to blame.
pub(in crate::mesh) fn client(options: FetchOptions, settings: &Settings) -> Result<Fetch, String> {
    let tls = match &options.roots {
        Some(pem) => OneWayConnector::with_roots(settings, pem),
        None => OneWayConnector::with_system_roots(settings),
    };
    let tls = tls.map_err(|error| {
        let what = ErrorChain(&error);
        match (error.reason(), &options.roots) {
            (Reason::BadCertificate, Some(_)) => format!("jwks_roots: {what}"),
            (Reason::BadCertificate, None) => {
                format!("jwks_roots is not called, and {what}; give it roots")
            }
            _ => format!("tls: {what}"),
        }
    })?;
    let connector = KeyConnector {
        tls,
        addresses: Arc::new(options.addresses),
        loopback_http: options.loopback_http,
    };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector))
}

/// Connects to the host of an `https` URI, or of an `http` one on loopback.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct KeyConnector {
    tls: OneWayConnector,
    addresses: Arc<BTreeMap<String, SocketAddr>>,
    loopback_http: bool,
}

impl KeyConnector {
    async fn connect(self, uri: Uri) -> io::Result<KeyStream> {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let mut addresses = match uri.scheme_str() {
            Some("https") => self.addresses(&host, uri.port_u16().unwrap_or(443)).await?,
            Some("http") if self.loopback_http && is_loopback(bare(&host)) => {
                self.addresses(&host, uri.port_u16().unwrap_or(80)).await?
            }
            _ => return Err(io::Error::other("keys are fetched over https only")),
        };
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain {
            // `localhost` leads where the system says, which here must be to the system itself.
            addresses.retain(|address| address.ip().is_loopback());
        }
        let none = match is_plain {
            true => "the host has no loopback address, and plain HTTP goes to no other",
            false => "the host has no address",
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, none);
        for address in addresses {
            let connected = match is_plain {
                true => plain(address).await,
                false => self.tls(address, bare(&host)).await,
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn tls(&self, address: SocketAddr, host: &str) -> io::Result<KeyStream> {
        let stream = self.tls.connect(address, host).await;
        let stream = stream.map_err(io::Error::other)?;
        Ok(KeyStream::Tls(TokioIo::new(stream)))
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.addresses.get(&format!("{host}:{port}")) {
            Some(address) => Ok(vec![*address]),
            None => Ok(tokio::net::lookup_host((bare(host), port)).await?.collect()),
        }
    }
}

async fn plain(address: SocketAddr) -> io::Result<KeyStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    Ok(KeyStream::Plain(TokioIo::new(stream)))
}

impl Service<Uri> for KeyConnector {
    type Response = KeyStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<KeyStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection to a server of keys.
#[pin_project(project = Projected)]
pub(in crate::mesh) enum KeyStream {
    Tls(#[pin] TokioIo<Stream<TcpStream>>),
    Plain(#[pin] TokioIo<TcpStream>),
}

impl Connection for KeyStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for KeyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Tls(stream) => stream.poll_read(cx, buf),
            Projected::Plain(stream) => stream.poll_read(cx, buf),
        }
    }
}

impl Write for KeyStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.project() {
            Projected::Tls(stream) => stream.poll_write(cx, buf),
            Projected::Plain(stream) => stream.poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Tls(stream) => stream.poll_flush(cx),
            Projected::Plain(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Tls(stream) => stream.poll_shutdown(cx),
            Projected::Plain(stream) => stream.poll_shutdown(cx),
        }
    }
}

/// As that of TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
