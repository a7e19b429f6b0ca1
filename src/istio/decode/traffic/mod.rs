//! Decodes the kinds that route and balance calls.

// virtual_service    VirtualService and its TLS and TCP routes; of HTTP: http_route
// actions, headers   what an HTTP route does
// destination_rule   DestinationRule; its blocks: balancing, locality, pool
// service_entry      ServiceEntry
// workload           WorkloadEntry, WorkloadGroup
// sidecar            Sidecar
// gateway_api        HTTPRoute, GRPCRoute, ReferenceGrant
// kubernetes         Service, EndpointSlice, Pod, Node, Namespace
// name, value        what they have in common

mod actions;
mod balancing;
mod destination_rule;
mod gateway_api;
mod headers;
mod http_route;
mod kubernetes;
mod locality;
mod name;
mod pool;
mod service_entry;
mod sidecar;
mod value;
mod virtual_service;
mod workload;

pub(super) use actions::retries;
pub(in crate::istio) use destination_rule::destination_rule;
pub(in crate::istio) use gateway_api::{grpc_route, http_route, reference_grant};
pub(in crate::istio) use kubernetes::{kubernetes, metadata_labels};
pub(super) use locality::{locality_lb_setting, zone_aware_lb_setting};
pub(super) use name::{Exports, export_to};
pub(super) use pool::{connection_pool, outlier_detection, tcp_keepalive};
pub(in crate::istio) use service_entry::service_entry;
pub(in crate::istio) use sidecar::sidecar;
pub(super) use value::{choice, duration, field};
pub(in crate::istio) use virtual_service::virtual_service;
pub(in crate::istio) use workload::{workload_entry, workload_group};
