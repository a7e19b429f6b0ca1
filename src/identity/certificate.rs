//! The names in a peer's certificate.

use super::SpiffeId;

/// What a peer's verified certificate says about the peer, as policy sees it.
///
/// The verifiers of this crate accept exactly one URI name, and a [`Peer`](crate::context::Peer)
/// from them shows only that name. More URI names, DNS names and a subject occur only if another
/// TLS stack admitted the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCertificate {
    /// The SPIFFE id, if it is the only URI name.
    pub spiffe_id: Option<SpiffeId>,
    /// Every URI subject alternative name, in the certificate's order, as written.
    pub uri_sans: Vec<String>,
    /// Every DNS subject alternative name, in the certificate's order.
    pub dns_sans: Vec<String>,
    /// The subject in RFC 2253 form (`CN=x,O=y`); empty if the certificate has none.
    pub subject: String,
}

impl PeerCertificate {
    /// The facts of a certificate that holds only this identity.
    #[must_use]
    pub fn from_spiffe_id(spiffe_id: SpiffeId) -> Self {
        Self {
            uri_sans: vec![spiffe_id.as_str().to_owned()],
            spiffe_id: Some(spiffe_id),
            ..Self::default()
        }
    }

    /// The facts of any certificate, from its names.
    #[must_use]
    pub fn from_names(uri_sans: Vec<String>, dns_sans: Vec<String>, subject: String) -> Self {
        let spiffe_id = match uri_sans.as_slice() {
            [only] => SpiffeId::new(only).ok(),
            _ => None,
        };
        Self {
            spiffe_id,
            uri_sans,
            dns_sans,
            subject,
        }
    }
}
