//! Sends spans to a collector, and lines of the access log.
//!
//! A span that ends is put into a bounded queue, which never waits: a span without room is counted
//! and dropped. One task for each exporter takes the spans out in batches and sends them. It starts
//! with the first span, on the runtime in which that span ends, and starts anew when that runtime
//! has ended. So nothing of a collector, slow, broken or absent, reaches a request.

mod batch;
#[cfg(feature = "otlp")]
pub(crate) mod collector;
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
mod post;
mod queue;
#[cfg(feature = "zipkin")]
pub(super) mod zipkin;
#[cfg(feature = "zipkin")]
mod zipkin_json;

pub use endpoint::EndpointError;
