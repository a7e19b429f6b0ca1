//! What the Envoy and the mesh have in common: servers, a collector, logs and records.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::call::{Call, End};
use super::servers::Servers;
use super::table_traces::SPAN;
use crate::telemetry::app::Seen;
use crate::telemetry::collector::Collector;
use crate::telemetry::parties::{Logs, until};
use crate::telemetry::record::{Record, Told, record};

/// The Envoy, or the mesh.
pub(super) struct Party {
    pub(super) servers: Servers,
    pub(super) collector: Collector,
    pub(super) logs: Logs,
    pub(super) caller: Caller,
    /// What the caller got, by call.
    answers: Mutex<BTreeMap<&'static str, String>>,
}

/// Who makes the calls.
pub(super) enum Caller {
    Mesh(super::mesh::Caller),
    Envoy(super::envoy::Caller),
}

/// The time of a call that has little.
pub(super) const SHORT: Duration = Duration::from_millis(150);

impl Party {
    pub(super) fn new(servers: Servers, collector: Collector, logs: Logs, caller: Caller) -> Self {
        Self {
            servers,
            collector,
            logs,
            caller,
            answers: Mutex::default(),
        }
    }

    /// Makes a call, and waits for its lines.
    pub(super) async fn make(&self, call: &Call) {
        let before = self.logs.count();
        let answer = self.send(call).await;
        self.answers.lock().unwrap().insert(call.name, answer);
        until(call.name, || self.logs.count() > before).await;
        assert_eq!(self.logs.count(), before + 1, "lines of {}", call.name);
    }

    async fn send(&self, call: &Call) -> String {
        let seen = &self.servers.seen;
        let sent = async {
            match &self.caller {
                Caller::Mesh(caller) => caller.send(call, seen).await,
                Caller::Envoy(caller) => caller.send(call, seen).await,
            }
        };
        let sent = tokio::time::timeout(Duration::from_secs(30), sent).await;
        sent.unwrap_or_else(|_| panic!("no answer in time: {}", call.name))
    }

    /// Waits until all spans are there.
    pub(super) async fn end(&self) {
        let last = Call::get("the last", "/last").with("x-request-id", LAST);
        self.send(&last).await;
        let is_last = |span: &Value| {
            let id = span["tags"]["guid:x-request-id"].as_str();
            id.is_some_and(|id| id.starts_with(&LAST[..14]))
        };
        until("the last span", || {
            self.collector.spans().iter().any(is_last)
        })
        .await;
    }

    /// What is known of each call.
    pub(super) fn records(&self, calls: &[Call]) -> Vec<Record> {
        let lines = self.logs.lines();
        let (spans, answers) = (self.collector.spans(), self.answers.lock().unwrap());
        let calls = calls.iter().enumerate();
        let of_call = |(index, call): (usize, &Call)| {
            let [text, json, more] = &lines;
            let mut names = self.servers.names();
            if !call.context.is_empty() {
                // The request for which the mesh calls has a span of its own in between.
                names.push((SPAN.to_owned(), "PARENT"));
            }
            let json_line: Value = serde_json::from_str(&json[index]).unwrap();
            for (field, name) in [
                ("upstream_local_address", "LOCAL"),
                ("downstream_local_address", "OUTBOUND"),
                ("downstream_remote_address", "CALLER"),
            ] {
                if let Some(address) = json_line[field].as_str().filter(|it| it.contains(':')) {
                    names.push((address.to_owned(), name));
                }
            }
            record(Told {
                status: json!(answers[call.name]),
                lines: [&text[index], &json[index], &more[index]],
                seen: self.servers.seen.of(call.name),
                spans: &spans,
                has_sent: &|text| call.has_sent(text),
                names,
            })
        };
        calls.map(of_call).collect()
    }

    /// The metrics of a mesh.
    pub(super) fn metrics(&self) -> String {
        match &self.caller {
            Caller::Mesh(caller) => caller.metrics(),
            Caller::Envoy(_) => String::new(),
        }
    }
}

/// Reads a response as its caller does, and says what it was.
pub(super) async fn read<B>(call: &Call, response: http::Response<B>) -> String
where
    B: http_body::Body + Unpin,
{
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let mut trailers = HeaderMap::new();
    let mut end = "";
    if call.end == End::LeavesLater {
        drop(body.frame().await);
        return status.to_string();
    }
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_trailers) {
            Ok(Ok(found)) => trailers = found,
            Ok(Err(_)) => {}
            Err(_) => {
                end = ", broken";
                break;
            }
        }
    }
    let code = trailers
        .get("grpc-status")
        .or_else(|| head.headers.get("grpc-status"));
    match code.filter(|_| call.is_grpc()) {
        Some(code) => format!("{status}, grpc {}{end}", code.to_str().unwrap()),
        None => format!("{status}{end}"),
    }
}

/// Waits until the server has the request of a call.
pub(super) async fn arrived(call: &Call, seen: &Seen) {
    seen.wait(call.name).await;
}

const LAST: &str = "ffffffff-0000-4000-8000-000000000000";
