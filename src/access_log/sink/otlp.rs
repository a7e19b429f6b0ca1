//! A line of the access log as OpenTelemetry's log record.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use crate::access_log::format::{Facts, details_of};
use crate::propagation::collector::{attribute, text};

/// The record of a line: the line is its body, and a few facts by which records are searched are
/// attributes, after OpenTelemetry's conventions and, for what these do not know, Envoy's names.
pub(super) fn record(line: &[u8], facts: Facts<'_>) -> LogRecord {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let trace = facts.trace();
    let body = Value::StringValue(String::from_utf8_lossy(line).into_owned());
    LogRecord {
        time_unix_nano: nanos(facts.kept.began),
        observed_time_unix_nano: nanos(SystemTime::now()),
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(body) }),
        attributes: attributes(facts),
        flags: trace.map_or(0, |trace| trace.sampled.into()),
        trace_id: trace.map_or_else(Vec::new, |trace| trace.trace_id.to_bytes().to_vec()),
        span_id: trace.map_or_else(Vec::new, |trace| trace.span_id.to_bytes().to_vec()),
        ..LogRecord::default()
    }
}

fn attributes(facts: Facts<'_>) -> Vec<KeyValue> {
    let report = facts.report;
    let side = if facts.is_inbound() {
        "server"
    } else {
        "client"
    };
    let mut attributes = vec![
        text("log_name", "access_log"),
        text("reporter_side", side),
        text("response_flags", report.flags.to_string()),
    ];
    if facts.is_http() {
        let details = cut(details_of(facts));
        attributes.push(text("response_code_details", details));
    }
    if let Some(why) = facts.termination() {
        attributes.push(text("connection_termination_details", cut(why)));
    }
    if facts.is_http() && !facts.kept.is_unreadable {
        attributes.push(text("http.request.method", cut(report.method.as_str())));
        let path = facts.redaction.shown(facts.path());
        attributes.push(text("url.path", cut(path)));
        if let Some(authority) = facts.authority() {
            let authority = String::from_utf8_lossy(authority);
            attributes.push(text("authority", cut(authority)));
        }
    }
    if facts.status() > 0 {
        let status = Value::IntValue(facts.status().into());
        attributes.push(attribute("http.response.status_code", status));
    }
    if let Some(id) = facts.request_id().and_then(|id| id.to_str().ok()) {
        attributes.push(text("guid:x-request-id", cut(id)));
    }
    attributes
}

/// What a caller has sent, cut at the end of a character. The line has its bounds already, so a
/// record has, too.
fn cut<'t>(value: impl Into<Cow<'t, str>>) -> String {
    let value = value.into();
    let mut end = LONGEST.min(value.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    match value.get(..end) {
        // Not `truncate`, which would keep the memory.
        Some(start) if end < value.len() => start.to_owned(),
        _ => value.into_owned(),
    }
}

/// As much as a line shows of a value.
const LONGEST: usize = 4096;

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_at_the_end_of_a_character_and_keeps_no_more_memory() {
        assert_eq!(cut("/patients"), "/patients");
        assert_eq!(cut("ü".repeat(LONGEST / 2)).len(), LONGEST);
        let long = cut(format!("/{}", "ü".repeat(1_000_000)));
        assert_eq!(long.len(), LONGEST - 1);
        assert!(long.capacity() <= LONGEST);
    }
}
