//! Certificates from an application's own rustls resolvers, checked when they are shown.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity::SpiffeId;
use crate::log_limit::limited;
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::leaf::Leaf;
use crate::tls::reason::{Reason, Refusal, refusal};

use super::settings::Settings;

/// An application's own rustls resolvers as its identity.
#[derive(Clone, Debug)]
pub struct OwnResolvers {
    /// The id that their certificates must have; any other certificate is not shown.
    pub id: SpiffeId,
    /// The roots that judge peers.
    pub bundles: TrustBundles,
    /// The certificate that clients see.
    pub server: Arc<dyn ResolvesServerCert>,
    /// The certificate that servers see.
    pub client: Arc<dyn ResolvesClientCert>,
}

/// Certificates and keys from the application's own resolvers. Each one is checked when it is
/// shown: it must have our id and be valid now.
#[derive(Debug)]
pub(super) struct OwnResolver {
    pub(super) resolvers: OwnResolvers,
    settings: Settings,
}

impl OwnResolver {
    pub(super) fn new(resolvers: OwnResolvers, settings: &Settings) -> Self {
        Self {
            resolvers,
            settings: settings.clone(),
        }
    }

    /// The certificate that a server would see now.
    pub(super) fn certified(&self) -> Result<Arc<CertifiedKey>, Refusal> {
        let schemes = self.settings.algorithms().supported_schemes();
        let certified = self.resolvers.client.resolve(&[], &schemes);
        let certified = certified.ok_or(Reason::NoCertificate)?;
        self.check(&certified)?;
        Ok(certified)
    }

    /// When that certificate expires.
    pub(super) fn not_after(&self) -> Option<SystemTime> {
        let certified = self.certified().ok()?;
        self.check(&certified).ok()
    }

    fn check(&self, certified: &CertifiedKey) -> Result<SystemTime, Refusal> {
        let leaf = certified.cert.first().ok_or(Reason::NoCertificate)?;
        let leaf = Leaf::read(leaf)?;
        leaf.check()?;
        let own = &self.resolvers.id;
        if leaf.id != *own {
            return Err(refusal!(
                Reason::IdNotAllowed,
                "expected {own}, got {}: the resolver must yield our own certificate",
                leaf.id
            ));
        }
        if self.settings.clock.now() > leaf.not_after {
            return Err(Reason::OwnIdentityExpired.into());
        }
        Ok(leaf.not_after)
    }

    /// Drops a certificate that has another id or has expired, so that the handshake fails.
    fn only_ours(&self, certified: Option<Arc<CertifiedKey>>) -> Option<Arc<CertifiedKey>> {
        certified.filter(|certified| match self.check(certified) {
            Ok(_) => true,
            Err(refusal) => {
                limited!(target: "tower_mesh::tls", ERROR, reason = %refusal.reason(), error = %refusal, "the application's resolver gave a certificate that cannot be shown");
                false
            }
        })
    }
}

impl ResolvesServerCert for OwnResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.only_ours(self.resolvers.server.resolve(hello))
    }
}

impl ResolvesClientCert for OwnResolver {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.only_ours(self.resolvers.client.resolve(hints, schemes))
    }

    fn has_certs(&self) -> bool {
        self.resolvers.client.has_certs()
    }
}
