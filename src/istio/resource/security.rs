//! `security.istio.io/v1` (and `v1beta1`, the same fields).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::uri::shown_uri;
use crate::istio::{Meta, Position, Selector, TargetRef, Text, Within};

/// What a matching rule means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Let the request pass.
    #[default]
    Allow,
    /// Mark the request, decide nothing.
    Audit,
    /// Ask an external provider.
    Custom,
    /// Refuse the request.
    Deny,
}

impl Action {
    /// The action as Istio writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Audit => "AUDIT",
            Self::Custom => "CUSTOM",
            Self::Deny => "DENY",
        }
    }
}

/// `AuthorizationPolicy`: who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizationPolicy {
    /// Name, namespace, position.
    pub meta: Meta,
    /// Which workloads it touches.
    pub selector: Selector,
    /// `targetRef` and `targetRefs`, as one list.
    pub target_refs: Vec<TargetRef>,
    /// What a match means.
    pub action: Action,
    /// The provider's name; present exactly with [`Action::Custom`].
    pub provider: Option<Text>,
    /// The rules; empty when absent, `null` or `[]`.
    pub rules: Vec<Rule>,
    /// Annotation `istio.io/dry-run`.
    pub dry_run: bool,
}

/// One rule: `from` × `to` × `when`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Who; ORed. Empty: anyone.
    pub from: Vec<Source>,
    /// What; ORed. Empty: anything.
    pub to: Vec<Operation>,
    /// Under which conditions; ANDed.
    pub when: Vec<Condition>,
    /// Where the rule was written.
    pub at: Position,
}

/// `from[].source`; all fields are ANDed, values of a field ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Istio's own, name for name")]
#[non_exhaustive]
pub struct Source {
    pub principals: Vec<Text>,
    pub not_principals: Vec<Text>,
    pub request_principals: Vec<Text>,
    pub not_request_principals: Vec<Text>,
    pub namespaces: Vec<Text>,
    pub not_namespaces: Vec<Text>,
    pub service_accounts: Vec<Text>,
    pub not_service_accounts: Vec<Text>,
    pub trust_domains: Vec<Text>,
    pub not_trust_domains: Vec<Text>,
    pub ip_blocks: Vec<Text>,
    pub not_ip_blocks: Vec<Text>,
    pub remote_ip_blocks: Vec<Text>,
    pub not_remote_ip_blocks: Vec<Text>,
    pub at: Position,
}

/// `to[].operation`; all fields are ANDed, values of a field ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Istio's own, name for name")]
#[non_exhaustive]
pub struct Operation {
    pub hosts: Vec<Text>,
    pub not_hosts: Vec<Text>,
    pub ports: Vec<Text>,
    pub not_ports: Vec<Text>,
    pub methods: Vec<Text>,
    pub not_methods: Vec<Text>,
    pub paths: Vec<Text>,
    pub not_paths: Vec<Text>,
    pub at: Position,
}

/// `when[]`: one condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// The key, as written (`request.headers[x]`, `source.ip`, …).
    pub key: Text,
    /// At least one of these values must match.
    pub values: Vec<Text>,
    /// None of these values may match.
    pub not_values: Vec<Text>,
}

/// `RequestAuthentication`: which end-user tokens are good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestAuthentication {
    /// Name, namespace, position.
    pub meta: Meta,
    /// Which workloads it touches.
    pub selector: Selector,
    /// `targetRef` and `targetRefs`, as one list.
    pub target_refs: Vec<TargetRef>,
    /// The rules.
    pub jwt_rules: Vec<JwtRule>,
}

/// One issuer, its keys, and where its tokens are looked for.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtRule {
    /// The issuer; `None`: any, even none.
    pub issuer: Option<Text>,
    /// Accepted audiences; empty: not checked.
    pub audiences: Vec<Text>,
    /// Where to fetch the keys.
    pub jwks_uri: Option<Text>,
    /// The keys themselves, a JWK set as JSON text.
    pub jwks: Option<Text>,
    /// Headers that may carry the token.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that may carry the token.
    pub from_params: Vec<Text>,
    /// Cookies that may carry the token.
    pub from_cookies: Vec<Text>,
    /// A header that receives the payload segment.
    pub output_payload_to_header: Option<Text>,
    /// Headers that receive single claims.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// Top-level string claims that are split on spaces, in addition to `scope` and `permission`.
    pub space_delimited_claims: Vec<Text>,
    /// Keep the token in the request.
    pub forward_original_token: bool,
    /// Bound on one fetch of the keys.
    pub timeout: Option<Duration>,
    /// Which resource it is part of.
    pub within: Within,
    /// Where the rule was written.
    pub at: Position,
}

impl fmt::Debug for JwtRule {
    /// Prints where the keys are fetched without userinfo and query, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jwks_uri = self.jwks_uri.as_deref().map(shown_uri);
        f.debug_struct("JwtRule")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("jwks_uri", &jwks_uri)
            .field("jwks", &self.jwks)
            .field("from_headers", &self.from_headers)
            .field("from_params", &self.from_params)
            .field("from_cookies", &self.from_cookies)
            .field("output_payload_to_header", &self.output_payload_to_header)
            .field("output_claim_to_headers", &self.output_claim_to_headers)
            .field("space_delimited_claims", &self.space_delimited_claims)
            .field("forward_original_token", &self.forward_original_token)
            .field("timeout", &self.timeout)
            .field("within", &self.within)
            .field("at", &self.at)
            .finish()
    }
}

/// `fromHeaders[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtHeader {
    /// The header's name, as written.
    pub name: Text,
    /// The text in front of the token; may be empty.
    pub prefix: String,
}

/// `outputClaimToHeaders[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimToHeader {
    /// The header that receives the claim.
    pub header: Text,
    /// The claim; `a.b` walks objects.
    pub claim: Text,
}

/// `PeerAuthentication`: which connections are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerAuthentication {
    /// Name, namespace, position.
    pub meta: Meta,
    /// Which workloads it touches.
    pub selector: Selector,
    /// `mtls.mode`.
    pub mode: MtlsMode,
    /// `portLevelMtls`, by the workload's own port.
    pub port_level: BTreeMap<u16, MtlsMode>,
}

/// A mode of mutual TLS, as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MtlsMode {
    /// Inherit.
    #[default]
    Unset,
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
