//! Sends spans to a collector, and lines of the access log.
//!
//! A span that ends is put into a bounded queue, which never waits: a span without room is counted
//! and dropped. One task for each exporter takes the spans out in batches and sends them. It starts
//! with the first span, on the runtime in which that span ends, and starts anew when that runtime
//! has ended. So nothing of a collector, slow, broken or absent, reaches a request.

mod batch;
mod counts;
mod endpoint;
mod item;
mod limits;
#[cfg(feature = "otlp")]
pub(super) mod otlp;
#[cfg(all(feature = "otlp", feature = "access-log"))]
pub(crate) mod otlp_logs;
#[cfg(feature = "otlp")]
mod otlp_send;
#[cfg(feature = "otlp")]
mod otlp_target;
mod post;
mod queue;
#[cfg(feature = "zipkin")]
pub(super) mod zipkin;
#[cfg(feature = "zipkin")]
mod zipkin_json;

/// How to reach a collector, for metrics.
#[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
pub(crate) mod collector {
    pub(crate) use super::endpoint::{read, shown};
    pub(crate) use super::otlp_target::headers;
    pub(crate) use super::post::post;
}

pub use endpoint::EndpointError;
