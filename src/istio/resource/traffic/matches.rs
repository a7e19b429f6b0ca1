//! What the routes of a VirtualService match.

use std::collections::BTreeMap;

use crate::istio::{Position, Text};

/// `StringMatch`: the one test that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringMatch {
    /// `exact`.
    Exact(Text),
    /// `prefix`, of text.
    Prefix(Text),
    /// `regex`: RE2, of the whole text, at most 1024 bytes.
    Regex(Text),
}

impl StringMatch {
    /// The text, the prefix or the regex.
    #[must_use]
    pub fn text(&self) -> &Text {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => text,
        }
    }
}

/// The test of one header or query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedMatch {
    /// Its name, as written. The name of a header is compared without regard to case.
    pub name: Text,
    /// The test; `None` where `null` or an empty one is written: it must be there. Of
    /// `withoutHeaders` it must then be absent, and so for the regex `*`, which is only allowed
    /// there.
    pub test: Option<StringMatch>,
    /// The way to a claim of the token, of a name such as `@request.auth.claims.group` or
    /// `@request.auth.claims[realm][group]`. Empty: it is a header. Only routes of gateways have
    /// them.
    pub claim: Vec<String>,
}

/// `http[].match[]`: all of its tests must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpMatch {
    /// `name`, which becomes a part of the route's.
    pub name: Option<Text>,
    /// `uri`: of the path, without the query.
    pub uri: Option<StringMatch>,
    /// `scheme`.
    pub scheme: Option<StringMatch>,
    /// `method`.
    pub method: Option<StringMatch>,
    /// `authority`.
    pub authority: Option<StringMatch>,
    /// `headers`, as they are written.
    pub headers: Vec<NamedMatch>,
    /// `withoutHeaders`: none of these may match.
    pub without_headers: Vec<NamedMatch>,
    /// `queryParams`; names are compared exactly, and none has a claim.
    pub query_params: Vec<NamedMatch>,
    /// `ignoreUriCase`, which concerns exact and prefix tests of `uri` only.
    pub ignore_uri_case: bool,
    /// `port` of the listener.
    pub port: Option<u16>,
    /// `sourceLabels` of the calling workload.
    pub source_labels: BTreeMap<String, Text>,
    /// `sourceNamespace` of the calling workload.
    pub source_namespace: Option<Text>,
    /// `gateways`: `NAME`, `NAMESPACE/NAME` or `mesh`. Empty: the resource's.
    pub gateways: Vec<Text>,
    /// `statPrefix`.
    pub stat_prefix: Option<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `tls[].match[]`: all of its tests must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsMatch {
    /// `sniHosts[]`, at least one, each within one of the resource's hosts.
    pub sni_hosts: Vec<Text>,
    /// What it has in common with matches of TCP.
    pub l4: L4Match,
}

/// `tcp[].match[]`: all of its tests must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct L4Match {
    /// `destinationSubnets[]`: addresses and CIDR blocks, one of which must hold the destination.
    pub destination_subnets: Vec<Text>,
    /// `port` of the listener.
    pub port: Option<u16>,
    /// `sourceLabels` of the calling workload.
    pub source_labels: BTreeMap<String, Text>,
    /// `sourceNamespace` of the calling workload.
    pub source_namespace: Option<Text>,
    /// `gateways`: `NAME`, `NAMESPACE/NAME` or `mesh`. Empty: the resource's.
    pub gateways: Vec<Text>,
    /// Where it was written.
    pub at: Position,
}
