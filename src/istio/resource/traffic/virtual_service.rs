//! `networking.istio.io` VirtualService.

use std::time::Duration;

use super::{
    CorsPolicy, Destination, DirectResponse, FaultInjection, FractionalPercent, Headers, HttpMatch,
    HttpRedirect, HttpRetry, HttpRewrite, L4Match, MirrorPolicy, TlsMatch,
};
use crate::istio::{Meta, Position, Text};

/// `VirtualService`: where the calls of hosts go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VirtualService {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `hosts[]`: names, `*.` and a suffix, addresses, or `*`. Empty: it is a delegate.
    pub hosts: Vec<Text>,
    /// `gateways[]`: `NAME`, `NAMESPACE/NAME` or `mesh`. Empty: `mesh`.
    pub gateways: Vec<Text>,
    /// `http[]`, tried in order.
    pub http: Vec<HttpRoute>,
    /// `tls[]`, tried in order.
    pub tls: Vec<TlsRoute>,
    /// `tcp[]`, tried in order.
    pub tcp: Vec<TcpRoute>,
    /// `exportTo[]`: `.`, `*` or names of namespaces. Empty: MeshConfig's
    /// `defaultVirtualServiceExportTo`.
    pub export_to: Vec<Text>,
}

/// `http[]`. It has a delegate, a redirect, a direct response, or destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRoute {
    /// `name`.
    pub name: Option<Text>,
    /// `match[]`: one of these must hold. Empty: everything matches.
    pub matches: Vec<HttpMatch>,
    /// `route[]`: the destinations, one of which is drawn by weight.
    pub route: Vec<HttpRouteDestination>,
    /// `redirect`.
    pub redirect: Option<HttpRedirect>,
    /// `directResponse`.
    pub direct_response: Option<DirectResponse>,
    /// `delegate`.
    pub delegate: Option<Delegate>,
    /// `rewrite`.
    pub rewrite: Option<HttpRewrite>,
    /// `timeout`, at least 1 ms. `None`: none.
    pub timeout: Option<Duration>,
    /// `retries`.
    pub retries: Option<HttpRetry>,
    /// `fault`.
    pub fault: Option<FaultInjection>,
    /// `mirror` with `mirrorPercentage` (or `mirrorPercent`), or `mirrors[]`.
    pub mirrors: Vec<MirrorPolicy>,
    /// `mirrorPercentage` (or `mirrorPercent`) where there is no `mirror`: of a delegate or its
    /// root, which may lend its mirror.
    pub mirror_percentage: Option<FractionalPercent>,
    /// `corsPolicy`.
    pub cors_policy: Option<CorsPolicy>,
    /// `headers`.
    pub headers: Option<Headers>,
    /// Where it was written.
    pub at: Position,
}

/// `delegate`: the VirtualService, without hosts, whose routes take the place of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegate {
    /// `name`.
    pub name: Text,
    /// `namespace`; `None`: the resource's.
    pub namespace: Option<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `http[].route[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRouteDestination {
    /// `destination`.
    pub destination: Destination,
    /// `weight`, without a sum to reach. A single destination needs none, and several without one
    /// are refused.
    pub weight: u32,
    /// `headers`.
    pub headers: Option<Headers>,
    /// Where it was written.
    pub at: Position,
}

/// `tls[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsRoute {
    /// `match[]`: one of these must hold; at least one.
    pub matches: Vec<TlsMatch>,
    /// `route[]`: the destinations, one of which is drawn by weight.
    pub route: Vec<RouteDestination>,
    /// Where it was written.
    pub at: Position,
}

/// `tcp[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpRoute {
    /// `match[]`: one of these must hold. Empty: everything matches.
    pub matches: Vec<L4Match>,
    /// `route[]`: the destinations, one of which is drawn by weight.
    pub route: Vec<RouteDestination>,
    /// Where it was written.
    pub at: Position,
}

/// `tls[].route[]` and `tcp[].route[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteDestination {
    /// `destination`.
    pub destination: Destination,
    /// `weight`, without a sum to reach. A single destination needs none.
    pub weight: u32,
    /// Where it was written.
    pub at: Position,
}
