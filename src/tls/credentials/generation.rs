//! One identity, made ready for handshakes: the configurations of rustls for both ends.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use crate::identity::SpiffeId;
use crate::tls::identity::allowed::AllowedIds;
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::error::IdentityError;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::{Reason, Refusal};

use super::own_resolver::OwnResolver;
use super::rustls_verifier::{JudgeChain, PeerChain, Role, RustlsVerifier};
use super::settings::Settings;
use super::verifier::{Expected, Verifier};

/// One identity, made ready for handshakes.
pub(in crate::tls) struct Generation {
    id: SpiffeId,
    bundles: Arc<TrustBundles>,
    shown: Shown,
    server: Arc<ServerConfig>,
    server_without_alpn: Arc<ServerConfig>,
    tcp_server: Arc<ServerConfig>,
}

/// Where the certificate of a handshake comes from.
enum Shown {
    /// One, with its key.
    Svid {
        not_after: SystemTime,
        chain: Vec<CertificateDer<'static>>,
        key: Arc<SingleCertAndKey>,
    },
    /// Whatever the application's resolvers return.
    Resolved(Arc<OwnResolver>),
}

impl Generation {
    pub(super) fn new(identity: &Identity, settings: &Settings) -> Result<Self, IdentityError> {
        let svid = identity.svid();
        let wrong_key = |text: fmt::Arguments<'_>| {
            svid.key_error(IdentityError::new(Reason::KeyMismatch, text))
        };
        let key = (settings.provider.load_key)(svid.key()).map_err(|_| {
            wrong_key(format_args!(
                "the private key cannot be used: make one for ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
            ))
        })?;
        let certified = CertifiedKey::new(svid.chain().to_vec(), key);
        let matches = certified.keys_match();
        // A leaf whose key cannot be read is judged with the chain.
        if let Err(rustls::Error::InconsistentKeys(_)) = matches {
            let leaf = match svid.chain_file() {
                Some(file) => format!("the leaf in {}", file.display()),
                None => "the leaf".to_owned(),
            };
            return Err(wrong_key(format_args!(
                "the private key does not belong to {leaf}: give the one that it was issued for"
            )));
        }
        let shown = Shown::Svid {
            not_after: svid.not_after(),
            chain: svid.chain().to_vec(),
            key: Arc::new(certified.into()),
        };
        let id = svid.spiffe_id().clone();
        Self::showing(id, shown, svid.chain(), identity.bundles(), settings)
            .map_err(|error| svid.chain_error(error))
    }

    /// Shows what the application's own resolvers return.
    pub(super) fn resolved(
        resolver: OwnResolver,
        settings: &Settings,
    ) -> Result<Self, IdentityError> {
        let first = resolver.certified()?;
        let resolver = Arc::new(resolver);
        let (id, bundles) = (resolver.resolvers.id.clone(), &resolver.resolvers.bundles);
        let shown = Shown::Resolved(Arc::clone(&resolver));
        Self::showing(id, shown, &first.cert, bundles, settings)
    }

    fn showing(
        id: SpiffeId,
        shown: Shown,
        chain: &[CertificateDer<'_>],
        bundles: &TrustBundles,
        settings: &Settings,
    ) -> Result<Self, IdentityError> {
        let bundles = Arc::new(settings.allowed(bundles));
        // An identity that a peer with our bundles would refuse would only fail later, on every
        // call.
        judge(chain, &[Role::Client, Role::Server], &bundles, settings)?;
        let mut server = server_config(&bundles, shown.to_clients(), settings)?;
        let server_without_alpn = Arc::new(server.clone());
        server.alpn_protocols = vec![b"istio".to_vec()];
        let tcp_server = Arc::new(server.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            id,
            bundles,
            shown,
            server: Arc::new(server),
            server_without_alpn,
            tcp_server,
        })
    }

    pub(super) fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub(in crate::tls) fn bundles(&self) -> &Arc<TrustBundles> {
        &self.bundles
    }

    /// Our certificate, if there is one now.
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    pub(in crate::tls) fn leaf(&self) -> Option<CertificateDer<'static>> {
        match &self.shown {
            Shown::Svid { chain, .. } => chain.first().cloned(),
            Shown::Resolved(resolver) => resolver.certified().ok()?.cert.first().cloned(),
        }
    }

    /// When our certificate expires; 1970 when the application has none that is ours.
    pub(in crate::tls) fn not_after(&self) -> SystemTime {
        match &self.shown {
            Shown::Svid { not_after, .. } => *not_after,
            Shown::Resolved(resolver) => resolver.not_after().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// The configuration for a client that offers these protocols.
    ///
    /// Istio's TCP clusters offer only `istio-peer-exchange` and `istio`. Such a client gets no
    /// ALPN answer, and then speaks HTTP anyway. Any other client without a protocol of ours is
    /// refused.
    pub(in crate::tls) fn server_config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let mut istio = false;
        for protocol in hello.alpn().into_iter().flatten() {
            match protocol {
                b"h2" | b"http/1.1" => return Arc::clone(&self.server),
                other => istio |= other.starts_with(b"istio"),
            }
        }
        if istio {
            Arc::clone(&self.server_without_alpn)
        } else {
            Arc::clone(&self.server)
        }
    }

    /// The configuration for a client of a port that speaks no HTTP: the answer to `istio` is
    /// `istio`, and any other client gets none.
    pub(in crate::tls) fn tcp_server_config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let mut offered = hello.alpn().into_iter().flatten();
        match offered.any(|protocol| protocol == b"istio") {
            true => Arc::clone(&self.tcp_server),
            false => Arc::clone(&self.server_without_alpn),
        }
    }

    /// The configuration for one connection to a server that may have one of these ids.
    pub(in crate::tls) fn client_config(
        &self,
        allowed: AllowedIds,
        alpn: &[&[u8]],
        settings: &Settings,
    ) -> Result<ClientConfig, rustls::Error> {
        let expected = Expected::Allowed(allowed);
        let verifier = Verifier::new(Arc::clone(&self.bundles), settings, expected);
        client_config(settings, verifier, self.to_servers(), alpn)
    }

    /// The certificate that servers see.
    pub(super) fn to_servers(&self) -> Arc<dyn ResolvesClientCert> {
        match &self.shown {
            Shown::Svid { key, .. } => Arc::clone(key) as _,
            Shown::Resolved(resolver) => Arc::clone(resolver) as _,
        }
    }

    pub(super) fn is(&self, identity: &Identity, settings: &Settings) -> bool {
        let Shown::Svid { chain, .. } = &self.shown else {
            return false;
        };
        *chain == identity.svid().chain() && *self.bundles == settings.allowed(identity.bundles())
    }
}

impl Shown {
    fn to_clients(&self) -> Arc<dyn ResolvesServerCert> {
        match self {
            Self::Svid { key, .. } => Arc::clone(key) as _,
            Self::Resolved(resolver) => Arc::clone(resolver) as _,
        }
    }
}

/// A resumed session would skip the verifier (M-40).
pub(in crate::tls) fn without_memory(config: &mut ClientConfig) {
    config.resumption = Resumption::disabled();
    config.cert_compressors = Vec::new();
    config.cert_decompressors = Vec::new();
}

/// The configuration of a client: `judge` decides about servers, and `shown` is what they see.
pub(super) fn client_config(
    settings: &Settings,
    judge: impl JudgeChain + 'static,
    shown: Arc<dyn ResolvesClientCert>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, rustls::Error> {
    let crypto = Arc::clone(&settings.provider.crypto);
    let verifier = RustlsVerifier::new(judge, settings);
    let mut config = ClientConfig::builder_with_details(crypto, Arc::new(settings.clock.clone()))
        .with_protocol_versions(settings.versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(shown);
    without_memory(&mut config);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn server_config(
    bundles: &Arc<TrustBundles>,
    shown: Arc<dyn ResolvesServerCert>,
    settings: &Settings,
) -> Result<ServerConfig, IdentityError> {
    let crypto = &settings.provider.crypto;
    let verifier = Verifier::new(Arc::clone(bundles), settings, Expected::Anyone);
    let verifier = RustlsVerifier::new(verifier, settings);
    let mut config =
        ServerConfig::builder_with_details(Arc::clone(crypto), Arc::new(settings.clock.clone()))
            .with_protocol_versions(settings.versions())
            .map_err(|error| IdentityError::new(Reason::Tls, error))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(shown);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.cert_compressors = Vec::new();
    config.cert_decompressors = Vec::new();
    Ok(config)
}

/// Judges a chain by these roots, now, as that of a peer of each role.
pub(super) fn judge(
    chain: &[CertificateDer<'_>],
    roles: &[Role],
    bundles: &Arc<TrustBundles>,
    settings: &Settings,
) -> Result<(), Refusal> {
    let verifier = Verifier::new(Arc::clone(bundles), settings, Expected::Anyone);
    let (leaf, intermediates) = chain.split_first().ok_or(Reason::NoCertificate)?;
    let now = settings.clock.unix();
    for &role in roles {
        verifier.verify(&PeerChain {
            leaf,
            intermediates,
            role,
            now,
        })?;
    }
    Ok(())
}
