use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{self as otel, Link, SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanEvents, SpanLinks, SpanProcessor};

use super::finished::{FinishedSpan, SpanKind, SpanSink, TagValue};
use super::resource;
use crate::context::{SpanId, TraceContext, TraceId};
use crate::identity::Workload;
use crate::propagation::format::headers::text;

/// Hands the mesh's spans to the application's own OpenTelemetry span processor. Cheap to clone.
///
/// It is a span processor itself, so that the application's tracer provider and the mesh share one:
/// one queue, one exporter.
///
/// ```
/// use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor};
/// use tower_mesh::Workload;
/// use tower_mesh::propagation::{OpenTelemetry, Propagation};
///
/// let workload = Workload::new("default", "patients").label("app", "patients");
/// let resource = OpenTelemetry::resource(&workload);
/// let spans = OpenTelemetry::new(SimpleSpanProcessor::new(InMemorySpanExporter::default()), &resource);
///
/// let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(spans.clone()).build();
/// let propagation = Propagation::new().workload(&workload).export_to(spans);
/// # let _ = (provider, propagation);
/// ```
///
/// # To a collector
///
/// With `opentelemetry-otlp = { version = "0.33", features = ["grpc-tonic"] }`, inside a tokio
/// runtime. The endpoint is that of `OTEL_EXPORTER_OTLP_ENDPOINT`, `http://localhost:4317` by
/// default, and `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`, `OTEL_SERVICE_NAME` and
/// `OTEL_RESOURCE_ATTRIBUTES` count as everywhere.
///
/// ```ignore
/// let workload = Workload::new("default", "patients").label("app", "patients");
/// let resource = OpenTelemetry::resource(&workload);
/// let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?;
/// let spans = OpenTelemetry::new(BatchSpanProcessor::builder(exporter).build(), &resource);
/// let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(spans.clone()).build();
/// let application = tracing_opentelemetry::layer().with_tracer(provider.tracer("patients"));
/// // RUST_LOG, else INFO: without a filter `fmt::layer()` prints TRACE. For it, switch on the
/// // feature `env-filter` of tracing-subscriber.
/// let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
/// let lines = tracing_subscriber::fmt::layer();
/// tracing_subscriber::registry().with(filter).with(lines).with(application).init();
/// let propagation = Propagation::new().semantic_conventions().export_to(spans);
/// let mesh = Mesh::builder(workload, identity).telemetry(|telemetry| telemetry.propagation(propagation));
/// // At the end, so that no span is left behind:
/// provider.shutdown()?;
/// ```
#[derive(Clone, Debug)]
pub struct OpenTelemetry(Arc<Export>);

#[derive(Debug)]
struct Export {
    processor: Box<dyn SpanProcessor>,
    scope: InstrumentationScope,
}

impl OpenTelemetry {
    /// Takes over the processor and sets its resource. A tracer provider that shares the processor
    /// cannot change the resource later.
    #[must_use]
    pub fn new(mut processor: impl SpanProcessor + 'static, resource: &Resource) -> Self {
        processor.set_resource(resource);
        let scope = InstrumentationScope::builder("tower-mesh")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self(Arc::new(Export {
            processor: Box::new(processor),
            scope,
        }))
    }

    /// The resource of a workload: `service.name` is `<app>.<namespace>`, by which Kiali looks
    /// traces up.
    ///
    /// `<app>` is the label `app`, else `app.kubernetes.io/name`, else
    /// `service.istio.io/canonical-name`, else the workload's name. There are also
    /// `service.namespace`; `service.version` by the label `version`, else
    /// `app.kubernetes.io/version`; in a pod, whose name the workload has,
    /// `k8s.namespace.name`, `k8s.pod.name` and `k8s.cluster.name`; and, where they are known,
    /// `cloud.region` and `cloud.availability_zone`. What `OTEL_RESOURCE_ATTRIBUTES` says (`key=value,key=value`,
    /// percent-encoded) counts before all of it; where that cannot be read, none of it counts, and
    /// a WARN says so. `OTEL_SERVICE_NAME` is the last word on `service.name`.
    #[must_use]
    pub fn resource(workload: &Workload) -> Resource {
        let attributes = resource::attributes(workload).into_iter();
        Resource::builder_empty()
            .with_attributes(attributes.map(|(name, value)| KeyValue::new(name, value)))
            .build()
    }
}

impl SpanSink for OpenTelemetry {
    fn export(&self, span: FinishedSpan) {
        let mut links = SpanLinks::default();
        if let Some((trace_id, span_id)) = span.link {
            let context = context(trace_id, span_id, false, true, TraceState::NONE);
            links.links.push(Link::new(context, Vec::new(), 0));
        }
        let mut events = SpanEvents::default();
        events.dropped_count = span.dropped_events;
        let noted = span.events.into_iter();
        let noted = noted.map(|event| otel::Event::new(event.name, event.time, Vec::new(), 0));
        events.events = noted.collect();
        let parent = span.trace.parent_span_id;
        self.0.processor.on_end(SpanData {
            span_context: own_context(&span.trace),
            parent_span_id: parent.map_or(otel::SpanId::INVALID, |id| {
                otel::SpanId::from_bytes(id.to_bytes())
            }),
            parent_span_is_remote: span.parent_is_remote,
            span_kind: match span.kind {
                SpanKind::Server => otel::SpanKind::Server,
                SpanKind::Client => otel::SpanKind::Client,
                SpanKind::Internal => otel::SpanKind::Internal,
            },
            name: span.name.to_string().into(),
            start_time: span.start,
            end_time: span.end,
            attributes: span
                .tags
                .into_iter()
                .map(|(name, tag)| KeyValue::new(Key::from(name), value(tag)))
                .collect(),
            dropped_attributes_count: span.dropped_tags,
            events,
            links,
            status: if span.is_error {
                Status::error("")
            } else {
                Status::Unset
            },
            instrumentation_scope: self.0.scope.clone(),
        });
    }

    /// OpenTelemetry's ids are of one span each.
    fn takes_shared_spans(&self) -> bool {
        false
    }
}

impl SpanProcessor for OpenTelemetry {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.0.processor.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.processor.shutdown_with_timeout(timeout)
    }
}

fn own_context(trace: &TraceContext) -> SpanContext {
    let state = trace
        .tracestate()
        .and_then(text)
        .and_then(|state| state.parse().ok());
    context(
        trace.trace_id,
        trace.span_id,
        trace.sampled,
        false,
        state.unwrap_or(TraceState::NONE),
    )
}

fn context(
    trace_id: TraceId,
    span_id: SpanId,
    sampled: bool,
    is_remote: bool,
    state: TraceState,
) -> SpanContext {
    let flags = TraceFlags::NOT_SAMPLED.with_sampled(sampled);
    let trace_id = otel::TraceId::from_bytes(trace_id.to_bytes());
    let span_id = otel::SpanId::from_bytes(span_id.to_bytes());
    SpanContext::new(trace_id, span_id, flags, is_remote, state)
}

fn value(tag: TagValue) -> Value {
    Value::String(match tag {
        TagValue::Static(text) => StringValue::from(text),
        TagValue::Shared(text) => StringValue::from(text),
        TagValue::Header(_) => StringValue::from(tag.as_str().to_owned()),
        TagValue::Owned(text) => StringValue::from(text),
        TagValue::Number(number, _) => return Value::I64(number),
    })
}
