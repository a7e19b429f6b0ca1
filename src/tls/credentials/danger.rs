//! Ways around the rules of credentials, in the terms of rustls.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use crate::identity::SpiffeId;
use crate::tls::identity::allowed::AllowedIds;
use crate::tls::identity::error::IdentityError;
use crate::tls::protocol::Protocol;
use crate::tls::reason::{Reason, Refusal};

use super::generation::{Generation, client_config};
use super::in_use::Credentials;
use super::own_resolver::{OwnResolver, OwnResolvers};
use super::rustls_verifier::{JudgeChain, PeerChain};
use super::settings::Settings;
use super::verifier::{Expected, Verifier};

/// Ways around the rules of [`Credentials`], in the terms of rustls: [`Credentials::danger`].
#[derive(Debug)]
pub struct DangerousCredentials(());

impl DangerousCredentials {
    /// An identity from the application's own resolvers, for example for keys that cannot leave a
    /// hardware module.
    ///
    /// Each handshake calls the resolvers, which must not block. A certificate of another id, or
    /// one that has expired, is not shown. You lose three checks: that key and certificate belong
    /// together, that peers would accept the chain before it is shown, and that connections end
    /// when the resolvers change their answer. Connections end only when their certificate expires.
    ///
    /// # Errors
    /// When the resolvers return no certificate now, or one of another id, or one that the bundles
    /// do not vouch for.
    pub fn resolved_by(
        self,
        resolvers: OwnResolvers,
        settings: Settings,
    ) -> Result<Credentials, IdentityError> {
        let first = Generation::resolved(OwnResolver::new(resolvers, &settings), &settings)?;
        Ok(Credentials::from_first(first, settings))
    }

    /// A rustls configuration for clients that bring their own connector, as reqwest does: by
    /// `tls_backend_preconfigured` of 0.13 with its feature `rustls`, by `use_preconfigured_tls` of
    /// 0.12 with `rustls-tls`.
    ///
    /// It reads the credentials for each handshake, so it may be kept. It accepts the given
    /// identities for every host that the client calls, so use one client for each destination. You
    /// lose two things: connections do not close when identities change, and such a client sends in
    /// plaintext when its URL says `http`.
    ///
    /// # Errors
    /// When the provider does not support the chosen versions.
    pub fn client_config(
        self,
        credentials: &Credentials,
        allowed: AllowedIds,
        protocol: Protocol,
    ) -> Result<ClientConfig, IdentityError> {
        let settings = credentials.settings();
        let current = Current {
            credentials: credentials.clone(),
            allowed,
        };
        let shown = Arc::new(current.clone());
        client_config(settings, current, shown, protocol.alpn())
            .map_err(|error| IdentityError::new(Reason::Tls, error))
    }
}

impl Credentials {
    /// Ways around the rules that this type keeps.
    #[must_use]
    pub fn danger() -> DangerousCredentials {
        DangerousCredentials(())
    }
}

/// Reads the credentials at each handshake.
#[derive(Clone, Debug)]
struct Current {
    credentials: Credentials,
    allowed: AllowedIds,
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

impl JudgeChain for Current {
    fn verify(&self, shown: &PeerChain<'_>) -> Result<SpiffeId, Refusal> {
        let bundles = Arc::clone(self.credentials.current()?.bundles());
        let expected = Expected::Allowed(self.allowed.clone());
        Verifier::new(bundles, self.credentials.settings(), expected).verify(shown)
    }
}
