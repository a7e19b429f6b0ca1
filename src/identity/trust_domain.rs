//! Parses trust domain names.

use std::fmt;
use std::sync::Arc;

use super::as_text::as_text;

/// The name of a root of trust: the authority part of a [`SpiffeId`](super::SpiffeId).
///
/// It has lower-case letters, digits, `.`, `-` and `_`, 1 to 255 bytes (SPIFFE-ID §2.1). Upper case
/// is refused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a trust domain name, without a scheme.
    ///
    /// # Errors
    /// When the name is empty, longer than 255 bytes, or holds a byte outside `[a-z0-9._-]`.
    pub fn new(name: &str) -> Result<Self, TrustDomainError> {
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > MAX_LENGTH || !name.bytes().all(legal) {
            return Err(TrustDomainError(()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

as_text!(TrustDomain, TrustDomainError);

impl Default for TrustDomain {
    /// `cluster.local`, Istio's default.
    fn default() -> Self {
        Self("cluster.local".into())
    }
}

/// A trust domain name that SPIFFE does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomainError(());

impl fmt::Display for TrustDomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trust domain is 1 to 255 characters of a-z, 0-9, '.', '-' and '_'")
    }
}

impl std::error::Error for TrustDomainError {}

const MAX_LENGTH: usize = 255;
