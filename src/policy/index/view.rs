use std::cell::OnceCell;

use crate::identity::PeerCertificate;
use crate::policy::{Attributes, eval};

/// A request whose answers are read once, because most rules ask for them.
pub(in crate::policy) struct View<'a> {
    pub(super) request: &'a dyn Attributes,
    pub(super) method: Option<&'a [u8]>,
    pub(super) path: Option<&'a [u8]>,
    /// The path without its query.
    pub(super) url_path: Option<&'a [u8]>,
    /// Read when the first rule asks: few ask for the host, which has to be looked for.
    authority: OnceCell<Option<&'a [u8]>>,
    pub(super) sni: &'a [u8],
    is_tls: bool,
    certificate: Option<&'a PeerCertificate>,
}

impl<'a> View<'a> {
    pub(in crate::policy) fn new(request: &'a dyn Attributes) -> Self {
        let path = request.path();
        Self {
            request,
            method: request.method().map(str::as_bytes),
            path: path.map(str::as_bytes),
            url_path: path.and_then(eval::before_query).map(str::as_bytes),
            authority: OnceCell::new(),
            sni: request.sni().as_bytes(),
            is_tls: request.is_tls(),
            certificate: request.certificate(),
        }
    }

    pub(super) fn authority(&self) -> Option<&'a [u8]> {
        let read = || self.request.authority().map(str::as_bytes);
        *self.authority.get_or_init(read)
    }

    /// The text of a top-level claim.
    pub(super) fn claim(&self, name: &str) -> Option<&'a [u8]> {
        self.request.text_claim(name).map(str::as_bytes)
    }

    /// Calls `visit` with each name of the peer until it returns `true`; see
    /// [`eval::any_peer_name`].
    pub(super) fn any_peer_name(&self, mut visit: impl FnMut(&'a [u8]) -> bool) -> bool {
        match self.certificate {
            _ if !self.is_tls => false,
            None => visit(b""),
            Some(certificate) => {
                let mut names = certificate.uri_sans.iter().chain(&certificate.dns_sans);
                names.any(|name| visit(name.as_bytes())) || visit(certificate.subject.as_bytes())
            }
        }
    }
}
