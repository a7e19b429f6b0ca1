//! Trace context and request ids, in and out, and the spans of the mesh.
//!
//! A caller names the trace of its request in the request's headers. The
//! [server layer](PropagationLayer) reads them (W3C Trace Context and B3, see [`Format`]) and opens
//! a server span in that trace. It leaves a [`TraceContext`](crate::context::TraceContext) in three
//! places: the request's headers, its [`Exchange`](crate::context::Exchange), and
//! [`context::current_trace`](crate::context::current_trace) around each poll of the request's
//! future and body. The [client layer](ClientPropagationLayer) finds it there and makes the calls
//! of the request its children. So an application that knows nothing of tracing still links its
//! calls. Trace headers that a handler copied by hand are replaced.
//!
//! The spans are not spans of the `tracing` crate. A span that is not recorded costs its ids and
//! headers. A recorded one goes to the [`SpanSink`] once, when the body of the response has ended,
//! failed or been dropped. With the feature `opentelemetry`, `OpenTelemetry` hands the spans to the
//! application's own span processor, and the application's spans become children of the server
//! span, with `tracing-opentelemetry` or without it. With the features `otlp` and `zipkin`, `Otlp`
//! and `Zipkin` send the spans to a collector.
//!
//! # At the edges
//!
//! - A task that a handler spawns is not the task of the request, so nothing is current in it.
//!   Spawn it [in its request](carry), or insert the
//!   [`TraceContext`](crate::context::TraceContext) into the extensions of the calls it makes.
//! - A caller that an acceptor of this crate found to have no identity is outside the mesh: see
//!   [`EdgeTrace`]. A caller that no acceptor of this crate accepted is trusted.
//! - A span's `http.url` leaves out query parameters that may hold a token: `access_token`, those
//!   in which a guard for tokens looks, and, for requests that no guard has seen, those whose value
//!   has the form of a signed token.
//! - An invalid header counts as absent. What a caller sends is bounded everywhere.
//! - Health checks, by their paths, are never recorded: see [`Propagation::never_trace`].
//!
//! # Log lines
//!
//! [`context::current_trace`](crate::context::current_trace) is what a formatter of log lines asks,
//! in any logging crate. With `tracing-subscriber`:
//!
//! ```
//! use std::fmt;
//!
//! use tower_mesh::context;
//! use tracing::{Event, Subscriber};
//! use tracing_subscriber::fmt::format::{Format, Writer};
//! use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
//! use tracing_subscriber::registry::LookupSpan;
//!
//! struct WithTrace<F>(F);
//!
//! impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
//! where
//!     S: Subscriber + for<'a> LookupSpan<'a>,
//!     N: for<'a> FormatFields<'a> + 'static,
//!     F: FormatEvent<S, N>,
//! {
//!     fn format_event(&self, fields: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
//!         if let Some(trace) = context::current_trace() {
//!             write!(line, "trace_id={} ", trace.trace_id)?;
//!         }
//!         self.0.format_event(fields, line, event)
//!     }
//! }
//!
//! tracing_subscriber::fmt().event_format(WithTrace(Format::default())).init();
//! ```
//!
//! # Differences from Envoy/Istio
//!
//! - `traceparent` is read by the letter of the standard. Envoy takes upper-case digits and version
//!   `ff`, takes the first of two headers, and makes no span at all for an invalid one.
//! - B3's debug flag is kept; Envoy forgets it. Text in `x-b3-sampled` that means nothing defers the
//!   decision.
//! - Both families of headers are read and written by default, and no stale header is left behind.
//! - An inbound request gets its ids in the formats that its caller sent and in the first configured
//!   one; outbound requests get all formats.
//! - A call names its operation to the server (`x-envoy-decorator-operation`) where it is recorded;
//!   a sidecar does so always. A server answers with its own name to peers of the mesh alone.
//! - A [custom tag](CustomTag) shows no header that holds a secret.
//! - The caller's decision to record counts, and is written into an undecided request id, so that a
//!   sidecar further on agrees.
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_mesh::context;
//! use tower_mesh::propagation::Propagation;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let propagation = Propagation::new();
//! let other = ServiceBuilder::new().layer(propagation.client_layer()).service(service_fn(
//!     |call: Request<Empty<bytes::Bytes>>| async move {
//!         assert!(call.headers()["traceparent"].to_str().unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
//!         Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//!     },
//! ));
//! let service = ServiceBuilder::new().layer(propagation.server_layer()).service(service_fn(
//!     move |_: Request<Empty<bytes::Bytes>>| other.clone().oneshot(Request::new(Empty::new())),
//! ));
//!
//! let request = Request::get("/patients/7")
//!     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
//!     .body(Empty::new())
//!     .unwrap();
//! service.oneshot(request).await.unwrap();
//! assert!(context::current_trace().is_none());
//! # });
//! ```

mod by_hand;
pub mod carry;
mod config;
mod decide_trace;
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "the mesh's client knows it")
)]
mod destination;
#[cfg(any(feature = "otlp", feature = "zipkin"))]
mod export;
mod format;
mod ids;
mod inbound;
mod layer;
mod options;
mod outbound;
mod share;
mod span;
mod task;

pub use by_hand::{ChildSpan, Span, Within, current_span, event, span, tag};
pub use config::{EdgeTrace, Propagation};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use destination::Destination;
#[cfg(any(feature = "otlp", feature = "zipkin"))]
pub use export::EndpointError;
#[cfg(all(feature = "otlp", any(feature = "access-log", feature = "audit")))]
pub(crate) use export::collector;
#[cfg(feature = "otlp")]
pub use export::otlp::Otlp;
#[cfg(all(feature = "otlp", feature = "access-log"))]
pub(crate) use export::otlp_logs as log_export;
#[cfg(feature = "zipkin")]
pub use export::zipkin::Zipkin;
pub use format::baggage::BaggageEntry;
pub use format::extract::Format;
pub use inbound::ServerSpan;
pub use layer::{ClientPropagation, ClientPropagationLayer, PropagationLayer, ServerPropagation};
pub use options::TraceOptions;
pub use outbound::{ClientSpan, ClientSpans};
pub use span::custom::CustomTagError;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use span::custom::formatted::{TagFormat, TagText, TextBeginning, shown_header};
pub use span::custom::tag::CustomTag;
pub use span::export_counts::ExportCounts;
pub use span::finished::{FinishedSpan, SpanEvent, SpanKind, SpanSink, SpanView, TagValue};
#[cfg(feature = "opentelemetry")]
pub use span::open_telemetry::OpenTelemetry;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use span::tries::attempt::{Tries, Try};

#[cfg(test)]
mod tests;
