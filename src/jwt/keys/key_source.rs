//! Where the keys of an issuer are fetched, and which addresses are allowed.

use std::fmt;

use http::Uri;

use crate::istio::shown_uri;
use crate::policy::{PlainHttp, check_key_uri, discovery_uri};

/// Where keys are fetched. The text is that of the rule: keys of one address never verify tokens
/// for another (rule J-48).
///
/// Prints neither userinfo nor query, which may be secret.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeySource {
    /// A JWK set.
    Uri(Box<str>),
    /// The `jwks_uri` of an issuer's `/.well-known/openid-configuration`.
    Discovery(Box<str>),
    /// The bundle of a SPIFFE trust domain, a JWK set with the keys of its JWT-SVIDs.
    Bundle(Box<str>),
}

impl KeySource {
    /// The URI to ask first, complete.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Uri(uri) | Self::Bundle(uri) => uri.to_string(),
            Self::Discovery(issuer) => discovery_uri(issuer),
        }
    }

    /// Whether it is asked over plain HTTP, which a [`Keyring`](super::Keyring) refuses by default.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        let (Self::Uri(uri) | Self::Discovery(uri) | Self::Bundle(uri)) = self;
        let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
    }
}

impl fmt::Display for KeySource {
    /// Prints the URI to ask first, without userinfo and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown_uri(&self.uri()))
    }
}

impl fmt::Debug for KeySource {
    /// Prints no userinfo and no query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self {
            Self::Uri(uri) => ("Uri", uri),
            Self::Discovery(issuer) => ("Discovery", issuer),
            Self::Bundle(uri) => ("Bundle", uri),
        };
        f.debug_tuple(name).field(&shown_uri(text)).finish()
    }
}

/// Rule J-47: only https, unless plain HTTP was allowed.
pub(crate) fn check_uri(uri: &str, http: PlainHttp) -> Result<Uri, String> {
    check_key_uri(uri, http)?;
    uri.parse().map_err(|_| "not a URI".to_owned())
}
