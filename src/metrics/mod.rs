// server, client, connection   what is counted for requests, calls and raw connections
//   peer/                      the values of labels: our own, and those of a peer
//   store/                     the names of labels (labels.rs), the series and their cells
//   conventions/               OpenTelemetry's own metrics, where they are wanted
// expose/                      one pass over all, and the text for Prometheus
// scrape, otlp, collector, facade   who gets it: Prometheus, a collector, other libraries

//! Istio's standard metrics: the series that a sidecar reports, with the same names, labels and
//! buckets.
//!
//! A [`Registry`] holds all metrics. [`Registry::server`] makes the metrics of the calls that come
//! in (`reporter="destination"`), [`Registry::client`] those of the calls that go out
//! (`reporter="source"`). [`MetricsLayer`] is the tower layer for both; code that composes its own
//! layers takes their steps one by one. [`Scrape`] serves a registry to Prometheus. Other parts of
//! the process count with [`Registry::counter`] and [`Registry::gauge`].
//!
//! Every request that began is counted once, at its end, whether it was answered, refused, failed
//! or dropped: in `istio_requests_total`, `istio_request_duration_milliseconds`,
//! `istio_request_bytes` and `istio_response_bytes`. Connections that carry no HTTP are counted in
//! Istio's TCP families.
//!
//! The two ends of a call describe themselves to each other in the headers `x-envoy-peer-metadata`
//! and `x-envoy-peer-metadata-id`, as sidecars do. This metadata only labels metrics. It is read
//! only from peers that use mutual TLS, up to 16 KiB, and is removed before the application sees
//! the message.
//!
//! Counting never waits: cells are striped over threads, and an existing series is found without a
//! lock. Each family keeps at most 2000 series. What would need one more is counted under labels
//! that say `unknown`; one peer alone cannot use all series up.
//!
//! Metadata cannot be used to fill the registry, either. A field that no workload can have (more
//! than 253 bytes as a label writes it, or a control character) is ignored, and so is metadata that
//! would write more than 512 bytes. For each name, up to eight descriptions are shown at a time,
//! because several workloads may share an account. A description that was not sent for an hour
//! makes room for another. A peer that sends more than eight within an hour is counted under its
//! name alone for the next hour. Descriptions that came only with refused requests are dropped
//! after an hour.
//!
//! # Example
//! ```
//! use axum::{Router, routing::get};
//! use tower_mesh::Workload;
//! use tower_mesh::metrics::{self, MetricsLayer, Registry, Scrape};
//!
//! let workload = Workload::new("default", "patients").service("patients", 8443);
//! let registry = Registry::new();
//! let app: Router = Router::new()
//!     .route("/patients", get(|| async { "none" }))
//!     .layer(MetricsLayer::new(registry.server(&workload)));
//! let admin: Router = Router::new().route_service(metrics::PATH, Scrape::new(registry));
//! ```
//!
//! # Differences from Envoy/Istio
//! - `# HELP` lines are written, and OpenMetrics to a scraper that asks for it. The sidecar writes
//!   neither.
//! - In OpenMetrics and OTLP, samples name a recorded request as their exemplar.
//! - A label of this workload that is not set is `unknown`; the sidecar writes an empty one.
//! - A gRPC call that is refused counts as `grpc`; the sidecar may say `http`.
//! - A gRPC status that gRPC does not define counts as 2. The response code of a status that HTTP
//!   does not define (600 and more) is `unknown`.
//! - More than a few descriptions of one caller are not shown (see above).
//! - Sizes are those of the messages as HTTP/1 writes them, or of HTTP/2's uncompressed fields
//!   without HTTP/2's frames.
//! - A call to a host outside the mesh carries no peer metadata.
//! - A call to a host that the mesh does not know counts under `BlackHoleCluster` with the code 404
//!   of `NR`; Istio's block answers with 502.
//! - Peer metadata is remembered by a hash of its bytes for each sender, not by its id alone, and
//!   counts only over mutual TLS.
//! - Destination hosts are stripped of their port.

mod builder;
mod client;
#[cfg(feature = "prometheus-client")]
mod collector;
mod connection;
mod conventions;
mod expose;
#[cfg(feature = "metrics-facade")]
mod facade;
mod layer;
mod measurement;
mod options;
#[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
pub(crate) mod otlp;
mod peer;
mod plan;
mod registry;
mod scrape;
mod scrape_body;
mod server;
mod store;

pub use builder::{OptionsError, RegistryBuilder};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use client::Reached;
pub use client::{ClientMetrics, ClientRecord};
pub use connection::Connection;
pub use expose::format::Format;
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
pub(crate) use expose::projection::value as label_value;
pub use layer::{Metrics, MetricsLayer};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use peer::service_name::ServiceName;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use plan::{FAMILIES, FamilyPlan, MetricsPlan, SidePlan, TagPlan};
pub use registry::Registry;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use registry::plan_owner::PlanOwner;
pub use scrape::{PATH, Scrape};
pub use scrape_body::{ScrapeBody, ScrapeError};
pub use server::{ServerMetrics, ServerRecord};
pub use store::process::{Counter, Gauge};
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
pub(crate) use store::tags::TagValues;
