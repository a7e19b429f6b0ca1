//! What a run shows: the table, one trace, the metrics.

use std::fmt::{self, Display};
use std::io::Write;

use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry_sdk::trace::SpanData;
use serde::Serialize;
use serde_json::json;

use crate::signals::Signals;

/// What came of a run.
pub struct Report {
    pub rows: Vec<Row>,
    pub trace: Trace,
    /// The rows whose requests came with trace headers.
    pub continued: Vec<Continued>,
    pub metrics: String,
}

/// One call.
#[derive(Clone, Debug, Default, Serialize)]
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
    #[serde(skip)]
    pub request_id: String,
}

/// A request that came within a trace, and whether the server spans of both services went on with it.
pub struct Continued {
    pub row: usize,
    pub headers: &'static str,
    pub trace_id: &'static str,
    pub is_continued: bool,
}

/// The spans of one request, parents before children.
#[derive(Default)]
pub struct Trace(Vec<TraceSpan>);

#[derive(Serialize)]
struct TraceSpan {
    name: String,
    kind: &'static str,
    trace_id: String,
    span_id: String,
    parent_id: Option<String>,
    service: String,
    #[serde(skip)]
    depth: usize,
}

impl Report {
    /// Whether every row came out as it must, and the traces are whole.
    pub fn is_as_expected(&self) -> bool {
        self.rows.iter().all(Row::is_ok)
            && self.trace.is_whole()
            && self.continued.iter().all(|trace| trace.is_continued)
    }

    /// For humans.
    pub fn print(&self) {
        print(self);
    }

    /// For programs: one object a line.
    pub fn print_json(&self) {
        print(&(self.json_lines().join("\n") + "\n"));
    }

    /// The rows, the trace, the metrics.
    pub fn json_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rows.iter().map(Row::json).collect();
        lines.push(json_of(&TraceLine {
            trace: &self.trace.0,
        }));
        lines.push(json!({"metrics": self.metrics}).to_string());
        lines
    }
}

#[derive(Serialize)]
struct TraceLine<'a> {
    trace: &'a [TraceSpan],
}

/// One line, its keys in the order of the fields.
fn json_of(what: &impl Serialize) -> String {
    serde_json::to_string(what).unwrap()
}

/// Prints as much as the reader wants to read.
fn print(what: &impl Display) {
    let _ = std::io::stdout().write_all(what.to_string().as_bytes());
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>3}  {:<20}  {:<16}  {:<8}  {:<6}  {:<24}  {:<14}  {:<13}  {:<13}  decided by",
            "row", "caller", "target", "protocol", "method", "path", "token", "expected", "got"
        )?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        write!(f, "\nThe first request, as a trace:\n{}", self.trace)?;
        for trace in &self.continued {
            let verb = if trace.is_continued {
                "went"
            } else {
                "DID NOT GO"
            };
            let (row, headers, id) = (trace.row, trace.headers, trace.trace_id);
            writeln!(
                f,
                "Row {row} came with {headers} and {verb} on as trace {id}."
            )?;
        }
        write!(
            f,
            "\nThe golden signals of each edge, from the metrics (--json prints them as Prometheus reads them):\n{}",
            Signals::of(&self.metrics)
        )?;
        let wrong = self.rows.iter().filter(|row| !row.is_ok()).count();
        let rows = self.rows.len();
        writeln!(f, "\n{rows} rows, {wrong} differ from what is expected")
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_ok() { "" } else { "   <-- DIFFERS" };
        write!(
            f,
            "{:>3}  {:<20}  {:<16}  {:<8}  {:<6}  {:<24}  {:<14}  {:<13}  {:<13}  {}{mark}",
            self.row,
            self.caller,
            self.target,
            self.protocol,
            self.method,
            self.path,
            self.token,
            self.expected,
            self.got,
            self.policy
        )
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for span in &self.0 {
            let parent = span.parent_id.as_deref().unwrap_or("-");
            let indent = "  ".repeat(span.depth + 1);
            writeln!(
                f,
                "{indent}{} [{}] {}  trace {} span {} parent {parent}",
                span.name, span.kind, span.service, span.trace_id, span.span_id
            )?;
        }
        Ok(())
    }
}

impl Row {
    pub fn is_ok(&self) -> bool {
        self.got == self.expected
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(flatten)]
            row: &'a Row,
            ok: bool,
        }
        let line = Line {
            row: self,
            ok: self.is_ok(),
        };
        json_of(&line)
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

    /// Whether it has all that one request causes: a server span, under it the call, under that the other service's server span, and
    /// under that the span that the handler opened.
    fn is_whole(&self) -> bool {
        let kinds = self.0.iter().map(|span| (span.kind, span.depth));
        let expected = ["server", "client", "server", "internal"];
        kinds.eq(expected.into_iter().zip(0..))
    }

    /// Whether a row's request arrived in the trace and the span that its headers named, and went on to the other service.
    pub fn is_continued(row: &Row, spans: &[SpanData], trace_id: &str, parent_id: &str) -> bool {
        let servers = spans.iter().filter(|span| {
            span.span_kind == SpanKind::Server
                && span.span_context.trace_id().to_string() == trace_id
                && tag(span, "guid:x-request-id").as_deref() == Some(row.request_id.as_str())
        });
        let (first, next): (Vec<_>, Vec<_>) =
            servers.partition(|span| span.parent_span_id.to_string() == parent_id);
        (first.len(), next.len()) == (1, 1)
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

fn tag(span: &SpanData, name: &str) -> Option<String> {
    let found = span
        .attributes
        .iter()
        .find(|tag| tag.key.as_str() == name)?;
    Some(found.value.as_str().into_owned())
}
