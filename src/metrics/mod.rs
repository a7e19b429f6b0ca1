//! Istio's standard metrics: the series that a sidecar would report, under the same names, labels and buckets.
//!
//! A [`Registry`] holds them all. [`Registry::server`] gives the metrics of calls that come in (`reporter="destination"`),
//! [`Registry::client`] those of calls that go out (`reporter="source"`): as synchronous steps for whoever composes layers, and as the
//! tower layers [`MetricsLayer`] and [`ClientMetricsLayer`]. [`Scrape`] shows a registry to Prometheus. Other parts of the process count
//! with [`Registry::counter`] and [`Registry::gauge`].
//!
//! Every request that began is counted once, at its end, whether it was answered, refused, failed or dropped: `istio_requests_total`,
//! `istio_request_duration_milliseconds`, `istio_request_bytes` and `istio_response_bytes`. Connections that carry no HTTP have Istio's
//! TCP families.
//!
//! The two ends of a call describe themselves to each other in the headers `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id`, as
//! sidecars do. What a peer says there only labels metrics: it is read from mutual TLS peers alone, at most 16 KiB of it, and removed
//! before the application sees the message.
//!
//! Counting waits for nobody: cells are striped over threads, and a series is found without a lock once it exists. At most 2000 series
//! are kept per family; what would be one more is counted under labels that say `unknown`, and one peer cannot use them all up.
//!
//! What a peer says of itself costs little, too. A field that no workload can have (longer than 253 bytes as a label writes it, or with a
//! control character) is as if absent, and so is metadata that would write more than 512. Of one name, up to eight descriptions are shown at
//! a time: several workloads may share an account. One that nobody has given for an hour makes room for another; who gives more than eight
//! within an hour is counted under its name alone for the next. Descriptions that only refused requests gave go after an hour.
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
//! - `# HELP` lines are written, and OpenMetrics to a scraper that asks for it; the sidecar writes neither.
//! - An own label that is not set is `unknown`, where the sidecar writes an empty one.
//! - A gRPC call that is refused counts as `grpc`, where the sidecar may say `http`.
//! - A gRPC status that gRPC does not define counts as 2, and the response code of a status that HTTP does not (600 and more) is `unknown`.
//! - More than a few descriptions of one caller are not shown (see above).
//! - Sizes are those of the messages as HTTP/1 would write them, or of HTTP/2's uncompressed fields, without HTTP/2's frames.
//! - A call to a host outside the mesh carries no peer metadata.
//! - Peer metadata is remembered by a hash of its bytes, for each sender, not by its id alone, and counts only over mutual TLS.
//! - Destination hosts are stripped of their port.

mod client;
mod connection;
mod expose;
mod layer;
mod measure;
mod measurement;
mod peer;
mod registry;
mod scrape;
mod scrape_body;
mod server;
mod store;

pub use client::{ClientMetrics, ClientRecord};
pub use connection::Connection;
pub use expose::format::Format;
pub use layer::{Metrics, MetricsLayer, OpenRecord, ResponseBody, ResponseFuture};
pub use measure::Measure;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use peer::service_name::ServiceName;
pub use registry::Registry;
pub use scrape::{PATH, Scrape};
pub use scrape_body::{ScrapeBody, ScrapeError};
pub use server::{ServerMetrics, ServerRecord};
pub use store::process::{Counter, Gauge};
