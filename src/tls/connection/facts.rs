//! What a handshake used: our identity, the roots, and the ids that were allowed.

use std::sync::Arc;
use std::time::SystemTime;

use crate::live::Snapshot;
use crate::tls::credentials::generation::Generation;
use crate::tls::credentials::in_use::Credentials;
use crate::tls::identity::allowed::AllowedIds;
use crate::tls::identity::bundle::TrustBundles;

/// What a handshake of the mesh used: our identity, the roots that judged the peer, and the ids
/// that were allowed to answer.
#[derive(Clone)]
pub(in crate::tls) struct HandshakeFacts {
    pub(super) credentials: Credentials,
    /// When the certificate that we showed expires.
    pub(super) not_after: SystemTime,
    /// The last generation that judged the peer, and its roots.
    pub(super) generation: u64,
    pub(super) bundles: Arc<TrustBundles>,
    /// The ids that may answer, where we are the client.
    pub(super) allowed: Option<AllowedIds>,
}

impl HandshakeFacts {
    pub(in crate::tls) fn new(
        credentials: &Credentials,
        generation: &Snapshot<Generation>,
        allowed: Option<AllowedIds>,
    ) -> Self {
        Self {
            credentials: credentials.clone(),
            not_after: generation.not_after(),
            generation: generation.generation(),
            bundles: Arc::clone(generation.bundles()),
            allowed,
        }
    }
}
