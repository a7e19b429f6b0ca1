//! What a run shows: the table, one trace, the metrics.

use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Value, json};

/// What came of a run.
pub struct Report {
    pub rows: Vec<Row>,
    pub trace: Trace,
    pub metrics: String,
}

/// One call.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub row: usize,
    pub caller: String,
    pub target: String,
    pub protocol: String,
    pub method: String,
    pub path: String,
    pub token: String,
    pub expected: String,
    pub got: String,
    pub policy: String,
    pub request_id: String,
}

/// The spans of one request, parents before children.
#[derive(Default)]
pub struct Trace(Vec<TraceSpan>);

struct TraceSpan {
    name: String,
    kind: &'static str,
    trace_id: String,
    span_id: String,
    parent_id: Option<String>,
    service: String,
    depth: usize,
}

impl Report {
    /// Whether every row came out as it must, and the trace is whole.
    pub fn is_as_expected(&self) -> bool {
        self.rows.iter().all(Row::is_ok) && self.trace.0.len() == 4
    }

    /// For humans.
    pub fn print(&self) {
        println!(
            "{:>3}  {:<22} {:<9} {:<7} {:<24} {:<15} {:<14} {:<14} decided by",
            "row", "caller", "protocol", "method", "path", "token", "expected", "got"
        );
        for row in &self.rows {
            let mark = if row.is_ok() { "" } else { "   <-- DIFFERS" };
            println!(
                "{:>3}  {:<22} {:<9} {:<7} {:<24} {:<15} {:<14} {:<14} {}{mark}",
                row.row,
                row.caller,
                row.protocol,
                row.method,
                row.path,
                row.token,
                row.expected,
                row.got,
                row.policy
            );
        }
        println!("\nThe first request, as a trace:");
        for span in &self.trace.0 {
            let parent = span.parent_id.as_deref().unwrap_or("-");
            let indent = "  ".repeat(span.depth + 1);
            println!(
                "{indent}{} [{}] {}  trace {} span {} parent {parent}",
                span.name, span.kind, span.service, span.trace_id, span.span_id
            );
        }
        println!("\nThe requests, as Prometheus reads them:");
        for line in self
            .metrics
            .lines()
            .filter(|line| line.starts_with("istio_requests_total{"))
        {
            println!("{line}");
        }
        let wrong = self.rows.iter().filter(|row| !row.is_ok()).count();
        println!(
            "\n{} rows, {wrong} differ from what is expected",
            self.rows.len()
        );
    }

    /// For programs: one object a line.
    pub fn print_json(&self) {
        for row in &self.rows {
            println!("{}", row.json());
        }
        let spans: Vec<Value> = self.trace.0.iter().map(TraceSpan::json).collect();
        println!("{}", json!({"trace": spans}));
        println!("{}", json!({"metrics": self.metrics}));
    }
}

impl Row {
    pub fn is_ok(&self) -> bool {
        self.got == self.expected
    }

    fn json(&self) -> Value {
        json!({
            "row": self.row,
            "caller": self.caller,
            "target": self.target,
            "protocol": self.protocol,
            "method": self.method,
            "path": self.path,
            "token": self.token,
            "expected": self.expected,
            "got": self.got,
            "policy": self.policy,
            "ok": self.is_ok(),
        })
    }
}

impl Trace {
    /// The trace of the first row: its request came without any trace headers, so the desk's server span is the root.
    pub fn of(rows: &[Row], spans: &[SpanData]) -> Self {
        let Some(first) = rows.first() else {
            return Self::default();
        };
        let is_root = |span: &&SpanData| {
            let id = tag(span, "guid:x-request-id");
            span.parent_span_id == SpanId::INVALID
                && id.as_deref() == Some(first.request_id.as_str())
        };
        let Some(root) = spans.iter().find(is_root) else {
            return Self::default();
        };
        let mut trace = Self::default();
        trace.add(root, spans, 0, "");
        trace
    }

    fn add(&mut self, span: &SpanData, spans: &[SpanData], depth: usize, parent_service: &str) {
        let service =
            tag(span, "istio.canonical_service").unwrap_or_else(|| parent_service.to_owned());
        let parent = span.parent_span_id;
        self.0.push(TraceSpan {
            name: span.name.to_string(),
            kind: match span.span_kind {
                SpanKind::Server => "server",
                SpanKind::Client => "client",
                _ => "internal",
            },
            trace_id: span.span_context.trace_id().to_string(),
            span_id: span.span_context.span_id().to_string(),
            parent_id: (parent != SpanId::INVALID).then(|| parent.to_string()),
            service: service.clone(),
            depth,
        });
        let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
        let is_child = |child: &&SpanData| {
            child.span_context.trace_id() == trace && child.parent_span_id == id
        };
        for child in spans.iter().filter(is_child) {
            self.add(child, spans, depth + 1, &service);
        }
    }
}

impl TraceSpan {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "kind": self.kind,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "service": self.service,
        })
    }
}

fn tag(span: &SpanData, name: &str) -> Option<String> {
    let found = span
        .attributes
        .iter()
        .find(|tag| tag.key.as_str() == name)?;
    Some(found.value.as_str().into_owned())
}
