//! `mesh.tower/v1`, kind Authorizer.

use std::fmt;
use std::time::Duration;

use crate::istio::{Meta, Position, Text};

/// A provider that CUSTOM policies can name, or a cache for the decisions of one.
///
/// With an [`expression`](Self::expression) it is a provider. With only a [`cache`](Self::cache) it
/// adds the cache to the provider of its name, which MeshConfig or the application defines.
///
/// One in the root namespace serves the policies of every namespace, another one those of its own
/// namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorizer {
    /// Its head. The name is the provider's.
    pub meta: Meta,
    /// A rule in the Common Expression Language (CEL), as written. It allows the requests for
    /// which it is true.
    pub expression: Option<Text>,
    /// How the provider's decisions are cached.
    pub cache: Option<AuthorizerCache>,
}

/// The settings of a decision cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizerCache {
    /// The attributes by which a decision is found again. Requests that are equal in all of them
    /// get one decision.
    pub keys: Vec<CacheKey>,
    /// How long a decision counts.
    pub ttl: Duration,
    /// For how long after that it still counts when the provider cannot be asked.
    pub stale_if_error: Duration,
    /// How long a refusal counts; `None`: as long as any decision. Zero: refusals are not kept.
    pub denial_ttl: Option<Duration>,
    /// The most decisions.
    pub max_entries: u32,
    /// The most bytes of all decisions and their keys.
    pub max_bytes: u32,
    /// Where it was written.
    pub at: Position,
}

impl AuthorizerCache {
    /// The most that [`max_entries`](Self::max_entries) can be.
    pub const MOST_ENTRIES: u32 = 1_000_000;
    /// The least that [`max_bytes`](Self::max_bytes) can be.
    pub const FEWEST_BYTES: u32 = 4_096;

    /// The settings that nothing is written about: decisions count for ten seconds and never
    /// longer, 10,000 of them in 16 MiB.
    #[must_use]
    pub fn keyed_by(keys: Vec<CacheKey>) -> Self {
        Self {
            keys,
            ttl: Duration::from_secs(10),
            stale_if_error: Duration::ZERO,
            denial_ttl: None,
            max_entries: 10_000,
            max_bytes: 16 << 20,
            at: Position::default(),
        }
    }
}

/// An attribute of a request by which decisions are cached.
///
/// It prints the name by which a resource writes it, such as `request.headers[x-tenant]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheKey {
    /// `request.method`.
    Method,
    /// `request.path`: the path as policy judges it, with the query.
    Path,
    /// `request.url_path`: the path as policy judges it, without the query.
    PathWithoutQuery,
    /// `request.host`: the host with its port.
    Host,
    /// `request.scheme`: `https` on the mesh's TLS, else `http`.
    Scheme,
    /// `request.headers[NAME]`: all values of a header. The name is in lower case.
    Header(String),
    /// `request.auth.principal`: issuer and subject of the verified token.
    RequestPrincipal,
    /// `request.auth.claims[NAME]`: a claim of the verified token, with all that is in it.
    Claim(String),
    /// `source.principal`: the identity of the caller.
    Principal,
    /// `source.ip`: the address of the connection's other end.
    SourceIp,
    /// `remote.ip`: the address of the client, behind the proxies that are trusted.
    RemoteIp,
    /// `destination.port`: our own port.
    DestinationPort,
    /// `connection.sni`: the server name of the TLS handshake.
    Sni,
}

/// The attributes without a parameter, by their names.
const PLAIN: &[(&str, CacheKey)] = &[
    ("connection.sni", CacheKey::Sni),
    ("destination.port", CacheKey::DestinationPort),
    ("remote.ip", CacheKey::RemoteIp),
    ("request.auth.principal", CacheKey::RequestPrincipal),
    ("request.host", CacheKey::Host),
    ("request.method", CacheKey::Method),
    ("request.path", CacheKey::Path),
    ("request.scheme", CacheKey::Scheme),
    ("request.url_path", CacheKey::PathWithoutQuery),
    ("source.ip", CacheKey::SourceIp),
    ("source.principal", CacheKey::Principal),
];

const CLAIMS: &str = "request.auth.claims[";
const HEADERS: &str = "request.headers[";

impl CacheKey {
    /// A header, by its name in any case. `host` is [`Host`](Self::Host): in HTTP/2 a request has
    /// no such header.
    #[must_use]
    pub fn header(name: &str) -> Self {
        match name.to_ascii_lowercase() {
            host if host == "host" => Self::Host,
            name => Self::Header(name),
        }
    }

    /// A top-level claim of the verified token.
    #[must_use]
    pub fn claim(name: &str) -> Self {
        Self::Claim(name.to_owned())
    }

    /// The attribute that a resource writes so.
    pub(in crate::istio) fn parse(text: &str) -> Option<Self> {
        let inner = |before: &str| {
            let name = text.strip_prefix(before)?.strip_suffix(']')?;
            (!name.is_empty()).then_some(name)
        };
        let plain = PLAIN.iter().find(|(name, _)| *name == text);
        plain
            .map(|(_, key)| key.clone())
            .or_else(|| inner(HEADERS).map(Self::header))
            .or_else(|| inner(CLAIMS).map(Self::claim))
    }

    /// The names of all attributes.
    pub(in crate::istio) fn names() -> impl Iterator<Item = &'static str> {
        let plain = PLAIN.iter().map(|(name, _)| *name);
        plain.chain(["request.auth.claims[NAME]", "request.headers[NAME]"])
    }

    /// Whether it is known only after tokens are verified.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        match self {
            Self::RequestPrincipal | Self::Claim(_) => true,
            Self::Method
            | Self::Path
            | Self::PathWithoutQuery
            | Self::Host
            | Self::Scheme
            | Self::Header(_)
            | Self::Principal
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationPort
            | Self::Sni => false,
        }
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "{HEADERS}{name}]"),
            Self::Claim(name) => write!(f, "{CLAIMS}{name}]"),
            plain => {
                let known = PLAIN.iter().find(|(_, key)| key == plain);
                f.write_str(known.map_or("", |(name, _)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_prints_the_name_by_which_it_is_read() {
        let mut all: Vec<_> = PLAIN.iter().map(|(_, key)| key.clone()).collect();
        all.extend([CacheKey::header("X-Tenant"), CacheKey::claim("Role[]")]);
        assert_eq!(
            CacheKey::parse("request.headers[Host]"),
            Some(CacheKey::Host)
        );
        for key in all {
            assert_eq!(
                CacheKey::parse(&key.to_string()),
                Some(key.clone()),
                "{key}"
            );
        }
        for wrong in [
            "",
            "request.header[a]",
            "request.headers[]",
            "request.headers[a",
            "path",
        ] {
            assert_eq!(CacheKey::parse(wrong), None, "{wrong}");
        }
    }
}
