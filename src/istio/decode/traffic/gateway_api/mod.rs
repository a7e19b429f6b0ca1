//! Decodes the routes of the Gateway API.

// http_route   HTTPRoute
// grpc_route   GRPCRoute
// filter       what their rules do
// backends     where calls go
// reference    parents, single backends, ReferenceGrant

mod backends;
mod filter;
mod grpc_route;
mod http_route;
mod reference;

pub(in crate::istio) use grpc_route::grpc_route;
pub(in crate::istio) use http_route::http_route;
pub(in crate::istio) use reference::reference_grant;
