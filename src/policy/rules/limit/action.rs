//! Envoy's descriptor actions, and those of this crate.

use crate::matcher::{PathTemplate, PathTemplateError, StringMatcher};
use crate::policy::ir::HeaderMatcher;

/// Makes one entry of a descriptor, a key and a value, from a request.
///
/// An action whose value the request does not have drops its whole descriptor, unless its
/// [`Fallback`] says otherwise. The rows of `config.route.v3.RateLimit.Action` keep Envoy's meaning
/// and Envoy's default keys; [`Method`](Self::Method), [`Path`](Self::Path), [`Host`](Self::Host),
/// [`Principal`](Self::Principal), [`RequestPrincipal`](Self::RequestPrincipal) and
/// [`Claim`](Self::Claim) are this crate's own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// `source_cluster`: the workload's own service and namespace, `SERVICE.NAMESPACE`.
    SourceCluster,
    /// `destination_cluster`: `inbound|PORT||`, as Istio names the cluster of the application.
    DestinationCluster,
    /// `request_headers`: the value of a header; of several, the first.
    RequestHeader {
        /// The header's name in lower case, or a pseudo-header (`:path`, `:method`, `:authority`).
        name: String,
        /// The entry's key.
        key: String,
        /// Without the header.
        fallback: Fallback,
    },
    /// `query_parameters`: the first value of a parameter of the query, percent-decoded.
    QueryParameter {
        /// The parameter's name.
        name: String,
        /// The entry's key.
        key: String,
        /// Without the parameter.
        fallback: Fallback,
    },
    /// `query_parameter_value_match`: a fixed value, if the parameters match.
    QueryMatch {
        /// The entry's key; Envoy's default is `query_match`.
        key: String,
        /// The entry's value.
        value: String,
        /// Whether all matchers have to agree (`true`), or not all of them (`false`).
        expect: bool,
        /// What the parameters are compared with.
        parameters: Vec<QueryMatcher>,
    },
    /// `remote_address`: the address of the client behind the trusted proxies, without its port.
    RemoteAddress,
    /// `masked_remote_address`: the network of that address, such as `10.1.2.0/24`.
    MaskedRemoteAddress {
        /// How many bits of an IPv4 address count, at most 32.
        v4: u8,
        /// How many bits of an IPv6 address count, at most 128.
        v6: u8,
    },
    /// `generic_key`: a fixed entry.
    GenericKey {
        /// The entry's key; Envoy's default is `generic_key`.
        key: String,
        /// The entry's value.
        value: String,
    },
    /// `header_value_match`: a fixed value, if the headers match.
    HeaderMatch {
        /// The entry's key; Envoy's default is `header_match`.
        key: String,
        /// The entry's value.
        value: String,
        /// Whether all matchers have to agree (`true`), or not all of them (`false`).
        expect: bool,
        /// What the headers are compared with.
        headers: Vec<HeaderMatcher>,
    },
    /// `metadata`, from the source DYNAMIC: a text that an authorizer has said of the request.
    Metadata {
        /// The entry's key.
        key: String,
        /// Whose metadata (`envoy.filters.http.ext_authz`).
        filter: String,
        /// The way to the value, through objects; at least one key.
        path: Vec<String>,
        /// Without the value, or where it is empty or no text.
        fallback: Fallback,
    },
    /// The method, under the key `method`.
    Method,
    /// The host in lower case, without its port, under the key `host`.
    Host,
    /// Which of these patterns the path matches first, under the key `path`: the value is the
    /// pattern as it was written. A path that matches none drops the descriptor.
    Path {
        /// The patterns, in the order in which they are tried.
        patterns: Vec<PathPattern>,
    },
    /// The peer's identity as AuthorizationPolicy writes it (`cluster.local/ns/default/sa/web`),
    /// under the key `principal`.
    Principal {
        /// Without an identity.
        fallback: Fallback,
    },
    /// The end user, `ISSUER/SUBJECT`, under the key `request_principal`.
    RequestPrincipal {
        /// Without a verified token.
        fallback: Fallback,
    },
    /// A claim of the end user's verified token: a text, a number or a boolean; of a list its
    /// texts, joined with `,`.
    Claim {
        /// The entry's key.
        key: String,
        /// The way to the claim, through objects; at least one name.
        path: Vec<String>,
        /// Without the claim, or where it is empty or an object.
        fallback: Fallback,
    },
}

/// What an [`Action`] does when the request does not have its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// The whole descriptor is dropped: it counts nothing.
    #[default]
    Drop,
    /// The entry is left out (`skip_if_absent`).
    Skip,
    /// The entry has this value (`default_value`).
    Value(String),
}

impl Action {
    /// The value of a header, under a key. `name` is taken in lower case.
    pub fn header(name: &str, key: impl Into<String>) -> Self {
        Self::RequestHeader {
            name: name.to_ascii_lowercase(),
            key: key.into(),
            fallback: Fallback::Drop,
        }
    }

    /// A fixed entry, under the key `generic_key`.
    pub fn generic(value: impl Into<String>) -> Self {
        Self::GenericKey {
            key: "generic_key".to_owned(),
            value: value.into(),
        }
    }

    /// Which of these patterns the path matches, as AuthorizationPolicy writes paths.
    ///
    /// # Errors
    ///
    /// When one of them has `{*}` or `{**}` and is no path template.
    pub fn path<'p>(
        patterns: impl IntoIterator<Item = &'p str>,
    ) -> Result<Self, PathTemplateError> {
        let patterns = patterns.into_iter().map(PathPattern::new);
        let patterns = patterns.collect::<Result<_, _>>()?;
        Ok(Self::Path { patterns })
    }

    /// The peer's identity. Callers without one share the value `default`, because a descriptor
    /// that is dropped limits nobody.
    pub fn principal_or(default: impl Into<String>) -> Self {
        Self::Principal {
            fallback: Fallback::Value(default.into()),
        }
    }

    /// The end user. Requests without a token share the value `default`.
    pub fn request_principal_or(default: impl Into<String>) -> Self {
        Self::RequestPrincipal {
            fallback: Fallback::Value(default.into()),
        }
    }

    /// A claim, by the names on the way to it. Its key is these names, joined with `.`. Requests
    /// without it share the value `default`.
    pub fn claim_or<'p>(
        path: impl IntoIterator<Item = &'p str>,
        default: impl Into<String>,
    ) -> Self {
        let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
        Self::Claim {
            key: path.join("."),
            path,
            fallback: Fallback::Value(default.into()),
        }
    }

    /// Whether its value is known only when policies have judged the request: it needs the peer's
    /// identity, the end user's token, or what another filter has said.
    #[must_use]
    pub fn is_late(&self) -> bool {
        match self {
            Self::Claim { .. }
            | Self::Metadata { .. }
            | Self::Principal { .. }
            | Self::RequestPrincipal { .. } => true,
            Self::SourceCluster
            | Self::DestinationCluster
            | Self::RequestHeader { .. }
            | Self::QueryParameter { .. }
            | Self::QueryMatch { .. }
            | Self::RemoteAddress
            | Self::MaskedRemoteAddress { .. }
            | Self::GenericKey { .. }
            | Self::HeaderMatch { .. }
            | Self::Method
            | Self::Host
            | Self::Path { .. } => false,
        }
    }

    /// What it does when the request does not have its value.
    pub(crate) fn fallback(&self) -> &Fallback {
        match self {
            Self::RequestHeader { fallback, .. }
            | Self::QueryParameter { fallback, .. }
            | Self::Metadata { fallback, .. }
            | Self::Principal { fallback }
            | Self::RequestPrincipal { fallback }
            | Self::Claim { fallback, .. } => fallback,
            _ => &Fallback::Drop,
        }
    }

    /// Whether a descriptor can be made without its entry.
    #[must_use]
    pub fn may_be_left_out(&self) -> bool {
        *self.fallback() == Fallback::Skip
    }

    /// The key of its entry.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::SourceCluster => "source_cluster",
            Self::DestinationCluster => "destination_cluster",
            Self::RemoteAddress => "remote_address",
            Self::MaskedRemoteAddress { .. } => "masked_remote_address",
            Self::RequestHeader { key, .. }
            | Self::QueryParameter { key, .. }
            | Self::QueryMatch { key, .. }
            | Self::GenericKey { key, .. }
            | Self::HeaderMatch { key, .. }
            | Self::Metadata { key, .. }
            | Self::Claim { key, .. } => key,
            Self::Method => "method",
            Self::Host => "host",
            Self::Path { .. } => "path",
            Self::Principal { .. } => "principal",
            Self::RequestPrincipal { .. } => "request_principal",
        }
    }
}

/// A path as AuthorizationPolicy writes it: `*`, `/a*`, `*a`, a template, or the path itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPattern {
    text: String,
    test: PathTest,
}

#[derive(Clone, Debug, PartialEq)]
enum PathTest {
    Text(StringMatcher),
    Template(PathTemplate),
}

impl PathPattern {
    /// The pattern that this text writes.
    ///
    /// # Errors
    ///
    /// When it has `{*}` or `{**}` and is no path template.
    pub fn new(text: &str) -> Result<Self, PathTemplateError> {
        let test = match PathTemplate::is_template(text) {
            true => PathTest::Template(PathTemplate::new(text)?),
            false => PathTest::Text(StringMatcher::of_value(text)),
        };
        Ok(Self {
            text: text.to_owned(),
            test,
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches a path without its query.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match &self.test {
            PathTest::Text(matcher) => matcher.matches(path.as_bytes()),
            PathTest::Template(template) => template.matches(path.as_bytes()),
        }
    }
}

/// `config.route.v3.QueryParameterMatcher`: a test of one parameter of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryMatcher {
    /// The parameter's name.
    pub name: String,
    /// The test of its first value, percent-decoded; `None`: it is enough that the parameter is
    /// there. A parameter that is not there matches no test.
    pub test: Option<StringMatcher>,
}
