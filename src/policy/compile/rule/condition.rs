//! The keys of `when`. A new key is one arm here and, for a new fact, one in [`PrincipalKey`] or
//! [`PermissionKey`].

use super::claims::claim_path;
use super::permission::PermissionKey;
use super::principal::PrincipalKey;
use super::text::bracketed;

/// Where a condition goes: it narrows every `from` or every `to` of its rule.
pub(super) enum ConditionKey {
    Permission(PermissionKey),
    Principal(PrincipalKey),
}

impl ConditionKey {
    /// Reads a key.
    ///
    /// # Errors
    /// A message for the writer of the key.
    pub(super) fn parse(key: &str) -> Result<Self, String> {
        use ConditionKey::{Permission, Principal};
        Ok(match key {
            "connection.sni" => Permission(PermissionKey::ServerName),
            "destination.ip" => Permission(PermissionKey::DestinationIp),
            "destination.port" => Permission(PermissionKey::DestinationPort),
            "remote.ip" => Principal(PrincipalKey::RemoteIp),
            "request.auth.audiences" => Principal(PrincipalKey::Claim(vec!["aud".to_owned()])),
            "request.auth.presenter" => Principal(PrincipalKey::Claim(vec!["azp".to_owned()])),
            "request.auth.principal" => Principal(PrincipalKey::RequestPrincipal),
            "source.ip" => Principal(PrincipalKey::SourceIp),
            "source.namespace" => Principal(PrincipalKey::Namespace),
            "source.principal" => Principal(PrincipalKey::Principal),
            "source.serviceAccount" => Principal(PrincipalKey::ServiceAccount),
            "source.trustDomain" => Principal(PrincipalKey::TrustDomain),
            _ => Self::parse_map_key(key).ok_or_else(|| unknown(key))?,
        })
    }

    fn parse_map_key(key: &str) -> Option<Self> {
        if let Some(name) = bracketed(key, "request.headers") {
            let name = PrincipalKey::Header(name.to_ascii_lowercase());
            return Some(Self::Principal(name));
        }
        if let Some(brackets) = key.strip_prefix("request.auth.claims") {
            return Some(Self::Principal(PrincipalKey::Claim(claim_path(brackets)?)));
        }
        let (filter, key) = filter_metadata(key)?;
        Some(Self::Permission(PermissionKey::Metadata {
            filter: filter.to_owned(),
            key: key.to_owned(),
        }))
    }
}

/// The filter and the key of `experimental.envoy.filters.F[k]`.
pub(in crate::policy::compile) fn filter_metadata(key: &str) -> Option<(&str, &str)> {
    let name = key.strip_prefix("experimental.")?;
    let (filter, key) = name.strip_suffix(']')?.split_once('[')?;
    (filter.starts_with("envoy.filters.") && !key.is_empty()).then_some((filter, key))
}

fn unknown(key: &str) -> String {
    format!(
        "unknown key {key:?}; known are source.ip, remote.ip, source.namespace, source.principal, \
         source.serviceAccount, \
         source.trustDomain, request.headers[..], request.auth.principal, request.auth.audiences, request.auth.presenter, \
         request.auth.claims[..], destination.ip, destination.port, connection.sni and experimental.envoy.filters.*[..]"
    )
}
