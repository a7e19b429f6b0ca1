use super::SpiffeId;

/// What a peer's verified certificate says about the peer, as policy sees it.
///
/// Several URI names, DNS names and a subject occur only where the engine judges a certificate that
/// another TLS stack let in: the verifiers of this crate accept exactly one URI name, and what a
/// [`Peer`](crate::context::Peer) of theirs shows is that name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCertificate {
    /// The SPIFFE id, when the only URI name is one.
    pub spiffe_id: Option<SpiffeId>,
    /// Every URI subject alternative name, in the certificate's order, as written.
    pub uri_sans: Vec<String>,
    /// Every DNS subject alternative name, in the certificate's order.
    pub dns_sans: Vec<String>,
    /// The subject in RFC 2253 form (`CN=x,O=y`); empty when the certificate has none.
    pub subject: String,
}

impl PeerCertificate {
    /// The facts of a certificate that holds this one identity and nothing else.
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
