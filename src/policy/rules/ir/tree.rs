use std::collections::BTreeMap;

use super::super::decision::PolicyId;
use crate::matcher::{Cidr, PathTemplate, StringMatcher};

/// `envoy.config.rbac.v3.RBAC`: policies under one action. Walked in byte order of the names; the
/// first match is the one reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Rbac {
    /// What a match means.
    pub action: RbacAction,
    /// The policies by name.
    pub policies: BTreeMap<PolicyId, Policy>,
}

/// `RBAC.Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RbacAction {
    /// Allowed iff some policy matches.
    Allow,
    /// Refused iff some policy matches.
    Deny,
    /// Always allowed; says whether some policy matches.
    Log,
}

/// Matches iff one of its permissions and one of its principals do.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What may be done; ORed, at least one.
    pub permissions: Vec<Permission>,
    /// Who may do it; ORed, at least one.
    pub principals: Vec<Principal>,
}

/// What may be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Permission {
    /// Anything.
    Any,
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// A header.
    Header(HeaderMatcher),
    /// The path without its query.
    UrlPath(StringMatcher),
    /// The path without its query, by template.
    UriTemplate(PathTemplate),
    /// Our address of the connection.
    DestinationIp(Cidr),
    /// Our port of the connection.
    DestinationPort(u16),
    /// Our port of the connection, `start <= port < end`.
    DestinationPortRange {
        /// The first port inside.
        start: u32,
        /// The first port beyond.
        end: u32,
    },
    /// The server name of the TLS handshake; empty when there was none.
    RequestedServerName(StringMatcher),
    /// Dynamic metadata.
    Metadata(Box<MetadataMatcher>),
}

/// Who may do it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Principal {
    /// Anyone.
    Any,
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// The peer's certificate: any URI SAN, else any DNS SAN, else the subject. Without a matcher:
    /// any TLS connection.
    Authenticated(Option<StringMatcher>),
    /// The TCP peer's address.
    DirectRemoteIp(Cidr),
    /// The address after `x-forwarded-for` or the PROXY protocol.
    RemoteIp(Cidr),
    /// The connection's remote address (PROXY protocol yes, `x-forwarded-for` no); legacy resources
    /// use it.
    SourceIp(Cidr),
    /// A header.
    Header(HeaderMatcher),
    /// The path without its query.
    UrlPath(StringMatcher),
    /// Dynamic metadata.
    Metadata(Box<MetadataMatcher>),
}

/// `envoy.config.route.v3.HeaderMatcher`: a test of one header, each of its values alone.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatcher {
    /// The header's name in lower case, or a pseudo-header (`:method`, `:path`, `:authority`).
    pub name: String,
    /// The test.
    pub test: HeaderTest,
    /// Negates the answer; an absent header still fails a test of its value.
    pub invert: bool,
    /// An absent header is tested as the empty string.
    pub treat_missing_as_empty: bool,
}

/// The test of a [`HeaderMatcher`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HeaderTest {
    /// Some value matches.
    String(StringMatcher),
    /// Some value is an integer, `start <= value < end`.
    Range {
        /// The first value inside.
        start: i64,
        /// The first value beyond.
        end: i64,
    },
    /// The header is present (`true`) or absent (`false`).
    Present(bool),
}

/// `envoy.type.matcher.v3.MetadataMatcher`: a test of dynamic metadata, such as a token's claims.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataMatcher {
    /// Whose metadata (`envoy.filters.http.jwt_authn`).
    pub filter: String,
    /// Keys through objects (`payload`, `iss`); a missing one means no value.
    pub path: Vec<String>,
    /// The test; without a value it fails.
    pub value: ValueMatcher,
    /// Flips the final answer.
    pub invert: bool,
}

impl MetadataMatcher {
    pub(in crate::policy) fn new<P: Into<String>>(
        filter: &str,
        path: impl IntoIterator<Item = P>,
        value: ValueMatcher,
    ) -> Box<Self> {
        Box::new(Self {
            filter: filter.to_owned(),
            path: path.into_iter().map(Into::into).collect(),
            value,
            invert: false,
        })
    }
}

/// `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueMatcher {
    /// The value is null.
    Null,
    /// The value is this bool.
    Bool(bool),
    /// The value is this number.
    DoubleExact(f64),
    /// The value is a number, `start <= value < end`.
    DoubleRange {
        /// The first number inside.
        start: f64,
        /// The first number beyond.
        end: f64,
    },
    /// The value is a string and matches.
    String(StringMatcher),
    /// The value exists, of any type; `false` never matches.
    Present(bool),
    /// The value is a list and one of its elements matches.
    ListOneOf(Box<Self>),
    /// One of these matches.
    Or(Vec<Self>),
}
