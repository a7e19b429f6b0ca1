use std::sync::atomic::AtomicU64;

use super::cell::HistogramTotals;
use super::table::{Base, ConnectionCells, Messages, RequestSeries, RequestTotals, Table};
use super::text::{Kind, Text};

/// Writes Istio's request and connection families.
pub(super) fn write(text: &mut Text, table: &Table) {
    let requests: Vec<_> = table
        .bases()
        .flat_map(|base| base.requests().map(move |series| Row::of(base, series)))
        .collect();
    if !requests.is_empty() {
        write_requests(text, &requests);
    }
    let messages: Vec<_> = table
        .bases()
        .filter_map(|base| Some((base, base.messages()?)))
        .collect();
    for (name, help, count) in MESSAGE_FAMILIES {
        if !messages.is_empty() {
            text.family(Kind::Counter, name, help);
        }
        for (base, messages) in &messages {
            text.sample(name, "_total", &base.labels, count(messages));
        }
    }
    let connections: Vec<_> = table
        .bases()
        .flat_map(|base| base.connections().map(move |series| (base, series)))
        .collect();
    if connections.is_empty() {
        return;
    }
    for (name, help, counter) in CONNECTION_FAMILIES {
        text.family(Kind::Counter, name, help);
        for (base, series) in &connections {
            let labels = format!(
                "{},request_protocol=\"tcp\",response_flags=\"{}\",connection_security_policy=\"{}\"",
                base.labels, series.flags, base.security_policy
            );
            text.sample(name, "_total", &labels, series.total(counter));
        }
    }
}

/// One series, read once, so that its families agree with each other.
struct Row {
    labels: String,
    totals: RequestTotals,
}

impl Row {
    fn of(base: &Base, series: &RequestSeries) -> Self {
        let rest = series.outcome.render(base.security_policy);
        Self {
            labels: format!("{},{rest}", base.labels),
            totals: series.totals(),
        }
    }
}

fn write_requests(text: &mut Text, rows: &[Row]) {
    let name = "istio_requests";
    text.family(Kind::Counter, name, "Requests that have ended.");
    for row in rows {
        text.sample(name, "_total", &row.labels, row.totals.duration.count());
    }
    for (name, help, histogram) in REQUEST_HISTOGRAMS {
        text.family(Kind::Histogram, name, help);
        for row in rows {
            text.histogram(name, &row.labels, histogram(&row.totals));
        }
    }
}

type Count = fn(&Messages) -> u64;

const MESSAGE_FAMILIES: [(&str, &str, Count); 2] = [
    (
        "istio_request_messages",
        "gRPC messages of requests.",
        |messages| messages.request,
    ),
    (
        "istio_response_messages",
        "gRPC messages of responses.",
        |messages| messages.response,
    ),
];

type Tally = fn(&ConnectionCells) -> &AtomicU64;

const CONNECTION_FAMILIES: [(&str, &str, Tally); 4] = [
    (
        "istio_tcp_connections_opened",
        "Connections opened.",
        |cells| &cells.opened,
    ),
    (
        "istio_tcp_connections_closed",
        "Connections closed.",
        |cells| &cells.closed,
    ),
    (
        "istio_tcp_sent_bytes",
        "Bytes sent to the calling side of connections.",
        |cells| &cells.sent,
    ),
    (
        "istio_tcp_received_bytes",
        "Bytes received from the calling side of connections.",
        |cells| &cells.received,
    ),
];

type Histogram = fn(&RequestTotals) -> &HistogramTotals;

const REQUEST_HISTOGRAMS: [(&str, &str, Histogram); 3] = [
    (
        "istio_request_duration_milliseconds",
        "Time from the first byte of a request to the last byte of its response, in whole milliseconds.",
        |totals| &totals.duration,
    ),
    (
        "istio_request_bytes",
        "Size of requests, head and body.",
        |totals| &totals.request_bytes,
    ),
    (
        "istio_response_bytes",
        "Size of responses, head and body.",
        |totals| &totals.response_bytes,
    ),
];
