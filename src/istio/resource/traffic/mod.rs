//! What routes, balances and protects calls, as it is written: the kinds of `networking.istio.io`,
//! the Services and EndpointSlices of Kubernetes, and the routes of the Gateway API.
//!
//! The types have Istio's fields, name for name, with what its schema promises: durations, shares
//! and ports are numbers, words are enums. What Istio's validation refuses is not among them. A
//! field that is not written is `None` or empty; defaults are the business of who uses them. Every
//! text, and every message that an explanation may have to name, keeps its [`Position`].
//!
//! Needs the feature `routing`.
//!
//! [`Position`]: crate::istio::Position

mod actions;
mod balancing;
mod destination_rule;
pub mod gateway_api;
mod kubernetes;
mod matches;
mod mesh;
mod pool;
mod resources;
mod service_entry;
mod sidecar;
mod value;
mod virtual_service;

pub use actions::{
    CorsPolicy, DirectResponse, FaultAbort, FaultDelay, FaultInjection, FaultStatus,
    HeaderOperations, Headers, HttpRedirect, HttpRetry, HttpRewrite, MirrorPolicy, RedirectPort,
    RegexRewrite, UnmatchedPreflights,
};
pub use balancing::{
    ConsistentHash, HashAlgorithm, HashCookie, HashKey, LoadBalancer, LocalityDistribute,
    LocalityFailover, LocalityLbSetting, SimpleLb, Warmup, ZoneAwareLbSetting,
};
pub use destination_rule::{
    ClientTls, ClientTlsMode, DestinationRule, PortTrafficPolicy, RetryBudget, Subset,
    TrafficPolicy,
};
pub use kubernetes::{
    EndpointSlice, KubernetesService, KubernetesServicePort, Namespace, Node, Pod, ServiceType,
    SliceEndpoint, SlicePort, TargetPort, TrafficDistribution,
};
pub use matches::{HttpMatch, L4Match, NamedMatch, StringMatch, TlsMatch};
pub use mesh::{MeshOutboundMode, MeshTraffic};
pub use pool::{
    ConnectionPool, H2UpgradePolicy, Http2KeepAlive, HttpPool, OutlierDetection, TcpKeepalive,
    TcpPool,
};
pub use resources::TrafficResources;
pub use service_entry::{
    Location, Resolution, ServiceEntry, ServicePort, WorkloadEntry, WorkloadEntrySpec,
    WorkloadGroup,
};
pub use sidecar::{EgressListener, OutboundMode, OutboundTrafficPolicy, Sidecar, SidecarPort};
pub use value::{Destination, FractionalPercent, Locality, Protocol};
pub use virtual_service::{
    Delegate, HttpRoute, HttpRouteDestination, RouteDestination, TcpRoute, TlsRoute, VirtualService,
};
