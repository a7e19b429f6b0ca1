//! TLS to a server outside the mesh, which is judged by its DNS name.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;

use crate::tls::connection::lifetime::Lifetimes;
use crate::tls::connection::stream::Stream;
use crate::tls::credentials::generation::without_memory;
use crate::tls::credentials::settings::Settings;
use crate::tls::identity::bundle::read_roots;
use crate::tls::identity::error::IdentityError;
use crate::tls::protocol::Protocol;
use crate::tls::reason::{Reason, Refusal};

use super::handshake::{HandshakeError, connect_tcp};

/// Ordinary TLS to a server outside the mesh: the server proves its DNS name, and we prove nothing.
/// Cheap to clone.
///
/// It never replaces the mesh's [`Connector`](crate::tls::Connector): neither falls back to the
/// other.
#[derive(Clone, Debug)]
pub struct OneWayConnector {
    config: Arc<ClientConfig>,
    timeout: Duration,
}

impl OneWayConnector {
    /// Trusts the roots in this PEM text and no others: every certificate in it. Text between
    /// blocks is skipped, and so are keys.
    ///
    /// # Errors
    /// When the text holds no certificate, a certificate that cannot be a root, a revocation list,
    /// or a byte that is not understood. The error names the line.
    pub fn with_roots(settings: &Settings, pem: &[u8]) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        // `read_roots` has parsed each of them already, so none is left out here.
        roots.add_parsable_certificates(read_roots(pem)?);
        if roots.is_empty() {
            let text =
                "the roots hold no certificate: give each as a -----BEGIN CERTIFICATE----- block";
            return Err(IdentityError::new(Reason::BadCertificate, text));
        }
        let builder = builder(settings)?.with_root_certificates(roots);
        Ok(Self::new(builder.with_no_client_auth()))
    }

    /// Trusts the roots of the operating system.
    ///
    /// # Errors
    /// When the system's roots cannot be read.
    pub fn with_system_roots(settings: &Settings) -> Result<Self, IdentityError> {
        use rustls_platform_verifier::BuilderVerifierExt;

        let builder = builder(settings)?;
        let builder = builder.with_platform_verifier().map_err(|_| {
            IdentityError::new(Reason::BadCertificate, "the system's roots cannot be read")
        })?;
        Ok(Self::new(builder.with_no_client_auth()))
    }

    fn new(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        without_memory(&mut config);
        Self {
            config: Arc::new(config),
            timeout: Duration::from_secs(10),
        }
    }

    /// Offers this protocol; HTTP/1.1 by default.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        let names: &[&[u8]] = match protocol {
            Protocol::Either => &[b"h2", b"http/1.1"],
            Protocol::Http1 => &[b"http/1.1"],
            Protocol::Http2 => &[b"h2"],
            Protocol::Tcp => &[],
        };
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        self
    }

    setters! {
        /// Bounds the TCP connection and the handshake, each; 10 s by default.
        timeout: Duration,
    }

    /// Connects to an address where `host` is expected.
    ///
    /// # Errors
    /// When no server answers, or the server is not `host`.
    pub async fn connect(
        &self,
        address: SocketAddr,
        host: &str,
    ) -> Result<Stream<TcpStream>, HandshakeError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Refusal::with(Reason::Tls, "the host is neither a DNS name nor an address")
        })?;
        let stream = connect_tcp(address, self.timeout).await?;
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        let stream = timeout(self.timeout, connecting).await??;
        Ok(Stream::secured(stream, Lifetimes::default()))
    }
}

fn builder(
    settings: &Settings,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, IdentityError> {
    ClientConfig::builder_with_provider(Arc::clone(&settings.provider.crypto))
        .with_protocol_versions(settings.versions())
        .map_err(|_| {
            IdentityError::new(Reason::Tls, "the provider cannot speak the chosen versions")
        })
}
