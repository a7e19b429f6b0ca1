use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::identity::SpiffeId;
use crate::tls::identity::allowed::AllowedIds;
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::error::IdentityError;
use crate::tls::protocol::Protocol;
use crate::tls::reason::Reason;

use super::generation::{Generation, without_memory};
use super::in_use::Credentials;
use super::own_resolver::OwnResolver;
use super::settings::Settings;
use super::verifier::{Expected, Verifier, to_rustls};

/// Ways around what [`Credentials`] keep safe, in the terms of rustls: [`Credentials::danger`].
#[derive(Debug)]
pub struct DangerousCredentials(());

/// An application's own rustls resolvers as its identity.
#[derive(Clone, Debug)]
pub struct OwnResolvers {
    /// Whose certificates they give; any other is not shown.
    pub id: SpiffeId,
    /// The roots that peers are judged by.
    pub bundles: TrustBundles,
    /// What clients are shown.
    pub server: Arc<dyn ResolvesServerCert>,
    /// What servers are shown.
    pub client: Arc<dyn ResolvesClientCert>,
}

impl DangerousCredentials {
    /// An identity from resolvers of the application's, for keys that cannot leave a hardware module, say.
    ///
    /// They are asked in each handshake and must not block. A certificate of another id, or one that has ended, is not shown. What is
    /// lost: nobody checks that key and certificate belong together and that peers would accept the chain before it is shown, and
    /// connections do not end when the resolvers change their mind, only with their certificate.
    ///
    /// # Errors
    /// When they give no certificate now, another id's, or one that the bundles do not vouch for.
    pub fn resolved_by(
        self,
        resolvers: OwnResolvers,
        settings: Settings,
    ) -> Result<Credentials, IdentityError> {
        let OwnResolvers {
            id,
            bundles,
            server,
            client,
        } = resolvers;
        let resolver = OwnResolver::new(id, server, client, settings.clone());
        let first = Generation::resolved(resolver, &bundles, &settings)?;
        Ok(Credentials::from_first(first, settings))
    }

    /// A rustls configuration for clients that bring their own connector, as reqwest does: by
    /// `tls_backend_preconfigured` of 0.13 with its feature `rustls`, by `use_preconfigured_tls` of
    /// 0.12 with `rustls-tls`.
    ///
    /// It reads the credentials anew for each handshake, so it may be kept. It accepts the given identities whatever the client thinks it
    /// is connecting to, hence one client for one destination. What is lost: connections are not closed when identities change, and
    /// nothing keeps such a client from sending in plaintext when its URL says `http`.
    ///
    /// # Errors
    /// When the provider cannot speak the chosen versions.
    pub fn client_config(
        self,
        credentials: &Credentials,
        allowed: AllowedIds,
        protocol: Protocol,
    ) -> Result<ClientConfig, IdentityError> {
        let settings = credentials.settings();
        let crypto = &settings.provider.crypto;
        let current = Arc::new(Current {
            credentials: credentials.clone(),
            allowed,
            algorithms: crypto.signature_verification_algorithms,
        });
        let builder = ClientConfig::builder_with_details(
            Arc::clone(crypto),
            Arc::new(settings.clock.clone()),
        );
        let mut config = builder
            .with_protocol_versions(settings.versions())
            .map_err(|error| IdentityError::new(Reason::Tls, error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&current) as _)
            .with_client_cert_resolver(current);
        without_memory(&mut config);
        config.alpn_protocols = protocol.alpn().iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

impl Credentials {
    /// What goes around the rules that this type keeps.
    #[must_use]
    pub fn danger() -> DangerousCredentials {
        DangerousCredentials(())
    }
}

/// The credentials as they are at each handshake.
#[derive(Debug)]
struct Current {
    credentials: Credentials,
    allowed: AllowedIds,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ResolvesClientCert for Current {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let generation = self.credentials.current().ok()?;
        generation.to_servers().resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Current {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let generation = self.credentials.current().map_err(to_rustls)?;
        let bundles = Arc::clone(generation.bundles());
        let expected = Expected::Allowed(self.allowed.clone());
        Verifier::new(bundles, self.algorithms, expected).verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
