//! The routing engine reads Istio's traffic resources and chooses as a sidecar would: which
//! cluster a call goes to, and with which timeout, retries and rewrites. It needs no HTTP library,
//! no runtime and no clock; random numbers and times are arguments.
//!
//! A [`Routing`] is made once for one [`Workload`](crate::Workload), from the resources that a
//! cluster holds: VirtualService, ServiceEntry, Sidecar, the Services of Kubernetes, and routes of
//! the Gateway API with a Service as parent. For each port of the services that the workload sees
//! it has a [`RouteTable`]: virtual hosts with their routes, shaped like Envoy's own, which
//! [`envoy`] prints as its configuration. A call is anything that implements
//! [`CallHead`](route::CallHead); what is found for it is a [`Choice`], which makes its changes on
//! demand.
//!
//! [`RouteTable::choose`] tries virtual hosts and routes one by one and is the reference.
//! [`Routing::choose`] looks them up in an index, and allocates nothing.
//!
//! Needs the feature `routing`.
//!
//! # Example
//! ```
//! use tower_mesh::Workload;
//! use tower_mesh::istio::{MeshConfig, parse};
//! use tower_mesh::routing::route::Call;
//! use tower_mesh::routing::{Routing, RoutingOptions};
//!
//! let resources = parse("routes.yaml", "
//! apiVersion: v1
//! kind: Service
//! metadata: {name: patients, namespace: ward}
//! spec: {clusterIP: 10.96.0.5, ports: [{name: http, port: 80}]}
//! ---
//! apiVersion: networking.istio.io/v1
//! kind: VirtualService
//! metadata: {name: patients, namespace: ward}
//! spec:
//!   hosts: [patients]
//!   http:
//!   - match: [{uri: {prefix: /charts/}}]
//!     rewrite: {uri: /}
//!     timeout: 2s
//!     route:
//!     - {destination: {host: patients, subset: v1}, weight: 90}
//!     - {destination: {host: patients, subset: v2}, weight: 10}
//! ", "ward")?;
//!
//! let (workload, mesh) = (Workload::new("ward", "nurse"), MeshConfig::default());
//! let routing = Routing::new(&workload, &mesh, &resources.traffic, &(), &RoutingOptions::default())?;
//!
//! let call = Call::get("http://patients/charts/7?open=1");
//! let choice = routing.choose(80, &call).expect("a route takes it");
//! let drawn = choice.draw(95).expect("it is sent on");
//! assert_eq!(drawn.cluster.to_string(), "outbound|80|v2|patients.ward.svc.cluster.local");
//! assert_eq!(drawn.target(&call).as_deref(), Some("/7?open=1"));
//! # Ok::<(), tower_mesh::istio::Problems>(())
//! ```
//!
//! # Differences from Envoy/Istio
//!
//! Routes are those of Istio's main branch of August 2026 (1.32), where it and 1.29 differ. These
//! differences are chosen:
//!
//! - What Istio writes and Envoy then refuses, so that it keeps its old routes, is refused:
//!   statuses and redirect codes out of range, and regular expressions that are none.
//! - `egress[]` of a Sidecar with the protocol HTTP_PROXY is of requests that name a proxy. A
//!   process has none, and no table.
//! - Envoy's `%...%` in the values of headers are no variables.
//! - Routes ask who balances by hash through [`HashLookup`].

pub mod balance;
pub mod cluster;
pub mod destination_rule;
pub mod endpoints;
mod engine;
pub mod envoy;
pub mod explain;
mod gateway_api;
mod host;
mod hosts;
mod index;
pub mod route;
pub mod services;
mod virtual_service;

pub use engine::{Routing, RoutingOptions};
pub use host::{host_contains, hosts_overlap, resolve_host};
pub use hosts::{Choice, Drawn, L4Route, L4Routes, RouteTable, SniHosts, Unknown, VirtualHost};
pub use virtual_service::{HashLookup, delegate_agrees};

#[cfg(test)]
mod tests;
