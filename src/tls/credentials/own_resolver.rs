use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity::SpiffeId;
use crate::log_limit::limited;
use crate::tls::identity::leaf::Leaf;
use crate::tls::reason::{Reason, Refusal};

use super::settings::Settings;

/// Certificates and keys from the application's own resolvers. Each one is checked when it is
/// shown: it must have our id and be valid now.
pub(super) struct OwnResolver {
    pub(super) id: SpiffeId,
    pub(super) server: Arc<dyn ResolvesServerCert>,
    pub(super) client: Arc<dyn ResolvesClientCert>,
    pub(super) settings: Settings,
}

impl OwnResolver {
    pub(super) fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The certificate that a server would see now.
    pub(super) fn certified(&self) -> Result<Arc<CertifiedKey>, Refusal> {
        let algorithms = &self.settings.provider.crypto;
        let schemes = algorithms
            .signature_verification_algorithms
            .supported_schemes();
        let certified = self.client.resolve(&[], &schemes);
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
        if leaf.id != self.id {
            let text = format_args!(
                "expected {}, got {}: the resolver must yield our own certificate",
                self.id, leaf.id
            );
            return Err(Refusal::with(Reason::IdNotAllowed, text));
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
        self.only_ours(self.server.resolve(hello))
    }
}

impl ResolvesClientCert for OwnResolver {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.only_ours(self.client.resolve(hints, schemes))
    }

    fn has_certs(&self) -> bool {
        self.client.has_certs()
    }
}

debug_fields!(OwnResolver { id });
