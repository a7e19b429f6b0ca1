//! HTTPRoute, GRPCRoute and ReferenceGrant of the Gateway API, `gateway.networking.k8s.io`.
//!
//! Only routes with a Service as parent route calls of the mesh; those with gateways as parents are
//! kept as they are.

use std::time::Duration;

use super::FractionalPercent;
use crate::istio::{Meta, Position, Text};

/// `HTTPRoute`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRoute {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `parentRefs[]`.
    pub parents: Vec<ParentRef>,
    /// `hostnames[]`, which count for gateways only.
    pub hostnames: Vec<Text>,
    /// `rules[]`, at least one: `/` where none is written.
    pub rules: Vec<HttpRouteRule>,
}

/// `GRPCRoute`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcRoute {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `parentRefs[]`.
    pub parents: Vec<ParentRef>,
    /// `hostnames[]`, which count for gateways only.
    pub hostnames: Vec<Text>,
    /// `rules[]`.
    pub rules: Vec<GrpcRouteRule>,
}

/// `parentRefs[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParentRef {
    /// `group`; empty for the core group, and `gateway.networking.k8s.io` where it is not written.
    pub group: String,
    /// `kind`; `Gateway` where it is not written.
    pub kind: String,
    /// `namespace`; `None`: the route's.
    pub namespace: Option<Text>,
    /// `name`.
    pub name: Text,
    /// `sectionName`.
    pub section_name: Option<Text>,
    /// `port`; `None`: all of the parent.
    pub port: Option<u16>,
    /// Where it was written.
    pub at: Position,
}

impl ParentRef {
    /// Whether it is a Service of Kubernetes, so that the route is one of the mesh.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.group.is_empty() && self.kind == "Service"
    }
}

/// `rules[]` of an HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRouteRule {
    /// `name`.
    pub name: Option<Text>,
    /// `matches[]`: one of these must hold. Empty: everything matches.
    pub matches: Vec<HttpRouteMatch>,
    /// `filters[]`.
    pub filters: Vec<HttpRouteFilter>,
    /// `backendRefs[]`.
    pub backends: Vec<HttpBackendRef>,
    /// `timeouts.request`; zero: none.
    pub request_timeout: Option<Duration>,
    /// `timeouts.backendRequest`; zero: none.
    pub backend_request_timeout: Option<Duration>,
    /// `retry`.
    pub retry: Option<RouteRetry>,
    /// Where it was written.
    pub at: Position,
}

/// `rules[]` of a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcRouteRule {
    /// `name`.
    pub name: Option<Text>,
    /// `matches[]`: one of these must hold. Empty: everything matches.
    pub matches: Vec<GrpcRouteMatch>,
    /// `filters[]`, without redirects, rewrites and CORS.
    pub filters: Vec<HttpRouteFilter>,
    /// `backendRefs[]`.
    pub backends: Vec<HttpBackendRef>,
    /// Where it was written.
    pub at: Position,
}

/// `matches[]` of an HTTPRoute: all of its tests must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRouteMatch {
    /// `path`; `None`: the prefix `/`.
    pub path: Option<PathMatch>,
    /// `headers[]`, each of a name of its own.
    pub headers: Vec<ValueMatch>,
    /// `queryParams[]`, each of a name of its own.
    pub query_params: Vec<ValueMatch>,
    /// `method`.
    pub method: Option<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathMatch {
    /// `Exact`.
    Exact(Text),
    /// `PathPrefix`: of whole segments.
    PathPrefix(Text),
    /// `RegularExpression`: RE2, of the whole path.
    RegularExpression(Text),
}

/// A test of a header or a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueMatch {
    /// `name`.
    pub name: Text,
    /// `value`.
    pub value: Text,
    /// `type: RegularExpression`; otherwise it is compared exactly.
    pub is_regex: bool,
}

/// `matches[]` of a GRPCRoute: all of its tests must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcRouteMatch {
    /// `method.service`; `None`: any.
    pub service: Option<Text>,
    /// `method.method`; `None`: any.
    pub method: Option<Text>,
    /// `method.type: RegularExpression`.
    pub is_regex: bool,
    /// `headers[]`.
    pub headers: Vec<ValueMatch>,
    /// Where it was written.
    pub at: Position,
}

/// `backendRefs[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpBackendRef {
    /// The backend.
    pub backend: BackendRef,
    /// `weight`; 1 where it is not written.
    pub weight: u32,
    /// `filters[]`.
    pub filters: Vec<HttpRouteFilter>,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendRef {
    /// `group`; empty: the core group.
    pub group: String,
    /// `kind`; `Service` where it is not written.
    pub kind: String,
    /// `name`.
    pub name: Text,
    /// `namespace`; `None`: the route's.
    pub namespace: Option<Text>,
    /// `port`; a Service has one.
    pub port: Option<u16>,
    /// Where it was written.
    pub at: Position,
}

/// `filters[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpRouteFilter {
    /// `requestHeaderModifier`.
    RequestHeaderModifier(HeaderModifier),
    /// `responseHeaderModifier`.
    ResponseHeaderModifier(HeaderModifier),
    /// `requestMirror`.
    RequestMirror(RequestMirror),
    /// `requestRedirect`.
    RequestRedirect(RequestRedirect),
    /// `urlRewrite`.
    UrlRewrite(UrlRewrite),
    /// `cors`.
    Cors(RouteCors),
    /// `extensionRef`, which is not served: the rule is rejected.
    ExtensionRef(Text),
}

/// `requestHeaderModifier` and `responseHeaderModifier`, in the order they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderModifier {
    /// `set[]`: names and values.
    pub set: Vec<(Text, Text)>,
    /// `add[]`: names and values.
    pub add: Vec<(Text, Text)>,
    /// `remove[]`: names.
    pub remove: Vec<Text>,
}

/// `requestMirror`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestMirror {
    /// `backendRef`.
    pub backend: BackendRef,
    /// `percent`, or `fraction`. `None`: all.
    pub percentage: Option<FractionalPercent>,
}

/// `requestRedirect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRedirect {
    /// `scheme`.
    pub scheme: Option<Text>,
    /// `hostname`.
    pub hostname: Option<Text>,
    /// `path`.
    pub path: Option<PathModifier>,
    /// `port`.
    pub port: Option<u16>,
    /// `statusCode`: 301, 302, 303, 307 or 308; 302 where it is not written.
    pub status_code: u16,
}

/// `urlRewrite`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlRewrite {
    /// `hostname`.
    pub hostname: Option<Text>,
    /// `path`.
    pub path: Option<PathModifier>,
}

/// `path` of a redirect or a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathModifier {
    /// `replaceFullPath`.
    ReplaceFullPath(Text),
    /// `replacePrefixMatch`: takes the place of the segments that were matched.
    ReplacePrefixMatch(Text),
}

/// `cors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteCors {
    /// `allowOrigins[]`: origins, of which the host may start with `*`, or `*`.
    pub allow_origins: Vec<Text>,
    /// `allowCredentials`.
    pub allow_credentials: Option<bool>,
    /// `allowMethods[]`.
    pub allow_methods: Vec<Text>,
    /// `allowHeaders[]`.
    pub allow_headers: Vec<Text>,
    /// `exposeHeaders[]`.
    pub expose_headers: Vec<Text>,
    /// `maxAge`; 5 s where it is not written.
    pub max_age: Duration,
}

/// `retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteRetry {
    /// `codes[]`: status codes, from 400 to 599.
    pub codes: Vec<u16>,
    /// `attempts` beside the first; `None`: 2.
    pub attempts: Option<u32>,
    /// `backoff`: its base.
    pub backoff: Option<Duration>,
}

/// `ReferenceGrant`: which resources of other namespaces may refer to those of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReferenceGrant {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `from[]`.
    pub from: Vec<GrantFrom>,
    /// `to[]`.
    pub to: Vec<GrantTo>,
}

/// `from[]` of a [`ReferenceGrant`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantFrom {
    /// `group`; empty: the core group.
    pub group: String,
    /// `kind`.
    pub kind: String,
    /// `namespace`.
    pub namespace: String,
}

/// `to[]` of a [`ReferenceGrant`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantTo {
    /// `group`; empty: the core group.
    pub group: String,
    /// `kind`.
    pub kind: String,
    /// `name`; `None`: all.
    pub name: Option<String>,
}
