//! Parses SPIFFE ids.

use std::sync::Arc;

use super::TrustDomain;
use super::as_text::as_text;

/// The identity of a workload: `spiffe://<trust domain>/<path>`.
///
/// Parsing follows the SPIFFE-ID standard strictly: nothing is case-folded, decoded or normalized.
/// An id without a path, which is legal only for a trust domain itself, is refused. The Istio shape
/// `/ns/<namespace>/sa/<service account>` is recognized.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// The whole id, scheme included.
    uri: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Parses an id with its scheme.
    ///
    /// # Errors
    /// When the text is not a SPIFFE id of a workload. The error names the rule that the text
    /// breaks and does not repeat the text.
    pub fn new(uri: &str) -> Result<Self, SpiffeIdError> {
        if uri.len() > MAX_LENGTH {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeIdError::NoPath)?;
        let trust_domain = TrustDomain::new(domain).map_err(|_| SpiffeIdError::TrustDomain)?;
        if !path.split('/').all(is_segment) {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self {
            uri: uri.into(),
            trust_domain,
        })
    }

    /// The id Istio gives to a service account:
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    ///
    /// # Errors
    /// When a part is not a legal path segment.
    pub fn istio(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        Self::new(&format!(
            "{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"
        ))
    }

    /// The id as text, scheme included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The trust domain that vouches for this id.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The id as Istio's policies write it: without `spiffe://`.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.uri.strip_prefix(SCHEME).unwrap_or(&self.uri)
    }

    /// The path, with its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.principal()
            .strip_prefix(self.trust_domain.as_str())
            .unwrap_or_default()
    }

    /// The namespace, when the path has Istio's shape.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.istio_parts().map(|(namespace, _)| namespace)
    }

    /// The service account, when the path has Istio's shape.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.istio_parts().map(|(_, account)| account)
    }

    /// Exactly `/ns/NS/sa/SA`. A longer path has no namespace, so that a peer cannot smuggle one in
    /// (ISTIO-SECURITY-2026-003).
    fn istio_parts(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        (!namespace.contains('/') && !account.contains('/')).then_some((namespace, account))
    }
}

fn is_segment(segment: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(legal)
}

as_text!(SpiffeId, SpiffeIdError);

errors! {
    /// Why a text is not the SPIFFE id of a workload.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum SpiffeIdError {
        /// It has no path, so it names a trust domain instead of a workload.
        NoPath = "a workload's SPIFFE id needs a path after its trust domain",
        /// A path segment is empty, `.`, `..`, or holds a character outside `[A-Za-z0-9._-]`.
        Path = "a SPIFFE id's path segments are non-empty, not '.' or '..', and of [A-Za-z0-9._-]",
        /// It does not start with `spiffe://`, in lower case.
        Scheme = "a SPIFFE id starts with spiffe://",
        /// It is longer than 2048 bytes.
        TooLong = "a SPIFFE id has at most 2048 bytes",
        /// The trust domain is not 1 to 255 characters of `[a-z0-9._-]`.
        TrustDomain = "a SPIFFE id's trust domain is 1 to 255 characters of [a-z0-9._-]",
    }
}

const SCHEME: &str = "spiffe://";
const MAX_LENGTH: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table of SPIFFE-ID §2: what a strict parser accepts.
    #[test]
    fn accepts_every_legal_shape() {
        for good in [
            "spiffe://td/ns/a/sa/b",
            "spiffe://a.b_c-1/x",
            "spiffe://td/.x",
            "spiffe://td/..x",
            "spiffe://td/...",
            "spiffe://td/UPPER/Case",
        ] {
            assert_eq!(
                SpiffeId::new(good).map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
    }

    #[test]
    fn refuses_what_the_standard_refuses() {
        use SpiffeIdError::{NoPath, Path, Scheme, TooLong, TrustDomain};
        for (bad, why) in [
            ("SPIFFE://td/x", Scheme),
            ("https://td/x", Scheme),
            ("td/x", Scheme),
            ("", Scheme),
            ("spiffe://td", NoPath),
            ("spiffe://TD/x", TrustDomain),
            ("spiffe:///x", TrustDomain),
            ("spiffe://td:80/x", TrustDomain),
            ("spiffe://u@td/x", TrustDomain),
            ("spiffe://t%64/x", TrustDomain),
            ("spiffe://td/", Path),
            ("spiffe://td/a/", Path),
            ("spiffe://td/a//b", Path),
            ("spiffe://td/./a", Path),
            ("spiffe://td/a/..", Path),
            ("spiffe://td/a?b", Path),
            ("spiffe://td/a#b", Path),
            ("spiffe://td/a%20b", Path),
            ("spiffe://td/a\\b", Path),
            ("spiffe://td/é", Path),
            ("spiffe://td/a\0", Path),
            ("spiffe://td/a,By=x", Path),
        ] {
            assert_eq!(SpiffeId::new(bad), Err(why), "{bad:?}");
        }
        let long = format!("spiffe://td/{}", "a".repeat(2048));
        assert_eq!(SpiffeId::new(&long), Err(TooLong));
    }

    #[test]
    fn reads_namespace_and_account_only_from_exactly_istios_shape() {
        let parts = |uri: &str| {
            let id = SpiffeId::new(uri).unwrap();
            (
                id.namespace().map(str::to_owned),
                id.service_account().map(str::to_owned),
            )
        };
        assert_eq!(
            parts("spiffe://td/ns/a/sa/b"),
            (Some("a".into()), Some("b".into()))
        );
        for other in [
            "spiffe://td/x/ns/a/sa/b",
            "spiffe://td/ns/a/sa/b/c",
            "spiffe://td/ns/a/x/sa/b",
            "spiffe://td/ns/a",
        ] {
            assert_eq!(parts(other), (None, None), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_back(
            uri in prop_oneof![".{0,40}", "spiffe://[a-z.]{0,6}(/(ns|sa|[a-zA-Z._-]{0,4}|%2e)){0,6}"],
        ) {
            if let Ok(id) = SpiffeId::new(&uri) {
                prop_assert_eq!(id.as_str(), &uri);
                prop_assert_eq!(format!("spiffe://{}", id.principal()), &*uri);
                prop_assert_eq!(format!("{}{}", id.trust_domain(), id.path()), id.principal());
                prop_assert_eq!(id.namespace().is_some(), id.service_account().is_some());
            }
        }
    }
}
