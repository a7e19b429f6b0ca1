//! The HTTP client that fetches the keys of token issuers.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::error_chain::ErrorChain;
use crate::mesh::ClientBody;
use crate::mesh::client::pool::connection::dial::in_plaintext;
use crate::mesh::client::pool::connection::stream::MeshStream;
use crate::mesh::client::pool::ports::bare;
use crate::mesh::options::TokenOptions;
use crate::policy::is_loopback;
use crate::tls::{OneWayConnector, Reason, Settings};

/// The client that fetches keys.
pub(in crate::mesh) type Fetch = Client<KeyConnector, ClientBody>;

/// Makes a client that speaks HTTPS, and plain HTTP with loopback addresses where the options ask
/// for it.
///
/// # Errors
/// The mistake, which names the option that is wrong.
pub(in crate::mesh) fn client(options: TokenOptions, settings: &Settings) -> Result<Fetch, String> {
    let tls = match &options.roots {
        Some(pem) => OneWayConnector::with_roots(settings, pem),
        None => OneWayConnector::with_system_roots(settings),
    };
    let tls = tls.map_err(|error| {
        let what = ErrorChain(&error);
        match (error.reason(), &options.roots) {
            (Reason::BadCertificate, Some(_)) => format!("tokens: jwks_roots: {what}"),
            (Reason::BadCertificate, None) => {
                format!("tokens: jwks_roots is not called, and {what}; give it roots")
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

/// Connects to the host of an `https` URI, or of an `http` URI on loopback.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct KeyConnector {
    tls: OneWayConnector,
    addresses: Arc<BTreeMap<String, SocketAddr>>,
    loopback_http: bool,
}

impl KeyConnector {
    async fn connect(self, uri: Uri) -> io::Result<MeshStream> {
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
            // The system may resolve `localhost` to any address; only those of loopback are
            // accepted.
            addresses.retain(|address| address.ip().is_loopback());
        }
        let none = match is_plain {
            true => "the host has no loopback address, and plain HTTP goes to no other",
            false => "the host has no address",
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, none);
        for address in addresses {
            let connected = match is_plain {
                true => in_plaintext(address, CONNECT_TIMEOUT).await,
                false => {
                    let connected = self.tls.connect(address, bare(&host)).await;
                    connected.map_err(io::Error::other)
                }
            };
            match connected {
                Ok(stream) => {
                    let lifetime = stream.lifetime();
                    return Ok(MeshStream::external(stream, lifetime));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.addresses.get(&format!("{host}:{port}")) {
            Some(address) => Ok(vec![*address]),
            None => Ok(tokio::net::lookup_host((bare(host), port)).await?.collect()),
        }
    }
}

impl Service<Uri> for KeyConnector {
    type Response = MeshStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<MeshStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// For plain HTTP; the TLS connector has the same.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
