//! Routes of the Gateway API whose parent is a Service, as Istio converts them: to VirtualServices
//! of that service's host.

mod backends;
mod filters;
mod grpc;
mod http;
mod mesh;
mod reference;
mod rule;

pub(super) use mesh::mesh_routes;
