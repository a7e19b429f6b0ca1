//! Istio's and OpenTelemetry's families, in the order in which they are written.

use crate::metrics::store::buckets::Buckets;
use crate::metrics::store::series::Messages;

/// A family: its name, its help, and what it shows.
pub(super) enum Part {
    Requests(&'static str, &'static str),
    /// Of the histogram with this number.
    Histogram(&'static str, &'static str, usize),
    Messages(&'static str, &'static str, Count),
    /// Of the counter with this number.
    Connections(&'static str, &'static str, usize),
    /// Of OpenTelemetry's histogram with this number.
    Convention(usize),
    /// What OpenTelemetry counts as active on this side.
    Active(usize),
}

impl Part {
    /// Whether plans are for it.
    pub(super) const fn is_istios(&self) -> bool {
        !matches!(self, Self::Convention(_) | Self::Active(_))
    }
}

type Count = fn(&Messages) -> u64;

pub(super) const PARTS: [Part; 20] = [
    Part::Requests("istio_requests", "Requests that have ended."),
    Part::Histogram(
        Buckets::NAMES[0],
        "Time from the first byte of a request to the last byte of its response, \
         in whole milliseconds.",
        0,
    ),
    Part::Histogram(Buckets::NAMES[1], "Size of requests, head and body.", 1),
    Part::Histogram(Buckets::NAMES[2], "Size of responses, head and body.", 2),
    Part::Messages(
        "istio_request_messages",
        "gRPC messages of requests.",
        |messages| messages.request,
    ),
    Part::Messages(
        "istio_response_messages",
        "gRPC messages of responses.",
        |messages| messages.response,
    ),
    Part::Connections("istio_tcp_connections_opened", "Connections opened.", 0),
    Part::Connections("istio_tcp_connections_closed", "Connections closed.", 1),
    Part::Connections(
        "istio_tcp_sent_bytes",
        "Bytes sent to the calling side of connections.",
        2,
    ),
    Part::Connections(
        "istio_tcp_received_bytes",
        "Bytes received from the calling side of connections.",
        3,
    ),
    Part::Convention(0),
    Part::Convention(1),
    Part::Convention(2),
    Part::Convention(3),
    Part::Convention(4),
    Part::Convention(5),
    Part::Convention(6),
    Part::Convention(7),
    Part::Active(0),
    Part::Active(1),
];
