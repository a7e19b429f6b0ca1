//! A collector of spans: Zipkin's API and OpenTelemetry's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use serde_json::{Value, json};

use crate::stub::{plain, serve};

/// The spans that have come.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&spans);
        let address = serve(move |whole| {
            let read = match whole.uri().path() {
                "/v1/traces" => of_otlp(whole.body()),
                _ => serde_json::from_slice(whole.body()).unwrap(),
            };
            kept.lock().unwrap().extend(read);
            async { plain(202, &[], "") }
        })
        .await;
        Self { address, spans }
    }

    pub(crate) fn spans(&self) -> Vec<Value> {
        self.spans.lock().unwrap().clone()
    }
}

fn of_otlp(body: &[u8]) -> Vec<Value> {
    // Envoy's is not valid where a header is not UTF-8.
    let Ok(export) = ExportTraceServiceRequest::decode(body) else {
        return Vec::new();
    };
    let mut spans = Vec::new();
    for of_resource in export.resource_spans {
        let resource = of_resource.resource.unwrap_or_default().attributes;
        let resource = texts(&resource);
        for span in of_resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = |bytes: &[u8]| -> String { hex(bytes) };
            let status = span.status.as_ref().map_or(0, |status| status.code);
            spans.push(json!({
                "traceId": hex(&span.trace_id),
                "id": hex(&span.span_id),
                "parentId": hex(&span.parent_span_id),
                "name": span.name,
                "kind": span.kind,
                "status": status,
                "flags": span.flags,
                "traceState": span.trace_state,
                "service": resource.get("service.name"),
                "tags": texts(&span.attributes),
                "events": span.events.iter().map(|event| &event.name).collect::<Vec<_>>(),
            }));
        }
    }
    spans
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|any| any.value.clone()) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let attributes = attributes.iter();
    attributes
        .map(|one| (one.key.clone(), text(&one.value)))
        .collect()
}
