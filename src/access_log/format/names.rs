//! The names of operators.

use super::refused::refused;
use super::simple::{End, Shown, Simple};

/// The sentence about an operator that there is not.
pub(super) fn unknown(name: &str) -> String {
    if let Some(why) = refused(name) {
        return format!("%{name}% is no operator here: {why}");
    }
    let with_argument = [
        "START_TIME",
        "EMIT_TIME",
        "REQ",
        "REQUEST_HEADER",
        "REQ_WITHOUT_QUERY",
        "PATH",
        "RESP",
        "RESPONSE_HEADER",
        "TRAILER",
        "RESPONSE_TRAILER",
        "COMMON_DURATION",
        "GRPC_STATUS",
        "GRPC_STATUS_NUMBER",
        "HOSTNAME",
        "ENVIRONMENT",
    ];
    let known = SIMPLE.iter().map(|(known, _)| *known).chain(with_argument);
    let nearest = known
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3);
    match nearest {
        Some((_, nearest)) => {
            format!("%{name}% is no operator here: did you mean %{nearest}%?")
        }
        None => format!("%{name}% is no operator here"),
    }
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.bytes().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(b.bytes()) {
            let swapped = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = swapped.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

/// The operators without an argument.
pub(super) const SIMPLE: [(&str, Simple); 55] = [
    ("PROTOCOL", Simple::Protocol),
    ("RESPONSE_CODE", Simple::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Simple::ResponseCodeDetails),
    (
        "CONNECTION_TERMINATION_DETAILS",
        Simple::ConnectionTerminationDetails,
    ),
    ("RESPONSE_FLAGS", Simple::ResponseFlags),
    ("RESPONSE_FLAGS_LONG", Simple::ResponseFlagsLong),
    (
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        Simple::UpstreamTransportFailureReason,
    ),
    ("BYTES_RECEIVED", Simple::BytesReceived),
    ("BYTES_SENT", Simple::BytesSent),
    ("DURATION", Simple::Duration),
    ("RESPONSE_DURATION", Simple::ResponseDuration),
    ("RESPONSE_TX_DURATION", Simple::ResponseTxDuration),
    ("UPSTREAM_CLUSTER", Simple::UpstreamCluster),
    ("UPSTREAM_CLUSTER_RAW", Simple::UpstreamCluster),
    ("REQUESTED_SERVER_NAME", Simple::RequestedServerName),
    ("ROUTE_NAME", Simple::RouteName),
    ("DOWNSTREAM_PEER_URI_SAN", Simple::DownstreamPeerUriSan),
    ("DOWNSTREAM_PEER_DNS_SAN", Simple::DownstreamPeerDnsSan),
    ("DOWNSTREAM_TLS_VERSION", Simple::DownstreamTlsVersion),
    ("DOWNSTREAM_TLS_CIPHER", Simple::DownstreamTlsCipher),
    ("DOWNSTREAM_PEER_SUBJECT", Simple::DownstreamPeerSubject),
    (
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        Simple::DownstreamPeerFingerprint,
    ),
    ("DOWNSTREAM_LOCAL_URI_SAN", Simple::DownstreamLocalUriSan),
    ("UPSTREAM_PEER_URI_SAN", Simple::UpstreamPeerUriSan),
    ("UPSTREAM_PEER_DNS_SAN", Simple::UpstreamPeerDnsSan),
    ("UPSTREAM_PEER_SUBJECT", Simple::UpstreamPeerSubject),
    ("UPSTREAM_LOCAL_URI_SAN", Simple::UpstreamLocalUriSan),
    ("UPSTREAM_TLS_VERSION", Simple::UpstreamTlsVersion),
    ("UPSTREAM_TLS_CIPHER", Simple::UpstreamTlsCipher),
    ("UPSTREAM_PROTOCOL", Simple::UpstreamProtocol),
    (
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        Simple::UpstreamRequestAttemptCount,
    ),
    ("REQUEST_DURATION", Simple::RequestDuration),
    ("TRACE_ID", Simple::TraceId),
    ("SPAN_ID", Simple::SpanId),
    ("STREAM_ID", Simple::StreamId),
    ("ACCESS_LOG_TYPE", Simple::AccessLogType),
    (
        "UPSTREAM_HOST",
        Simple::Address(End::Upstream, Shown::Whole),
    ),
    (
        "UPSTREAM_REMOTE_ADDRESS",
        Simple::Address(End::Upstream, Shown::Whole),
    ),
    (
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Simple::Address(End::Upstream, Shown::Ip),
    ),
    (
        "UPSTREAM_REMOTE_PORT",
        Simple::Address(End::Upstream, Shown::Port),
    ),
    (
        "UPSTREAM_LOCAL_ADDRESS",
        Simple::Address(End::UpstreamLocal, Shown::Whole),
    ),
    (
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Simple::Address(End::UpstreamLocal, Shown::Ip),
    ),
    (
        "UPSTREAM_LOCAL_PORT",
        Simple::Address(End::UpstreamLocal, Shown::Port),
    ),
    (
        "DOWNSTREAM_LOCAL_ADDRESS",
        Simple::Address(End::DownstreamLocal, Shown::Whole),
    ),
    (
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Simple::Address(End::DownstreamLocal, Shown::Ip),
    ),
    (
        "DOWNSTREAM_LOCAL_PORT",
        Simple::Address(End::DownstreamLocal, Shown::Port),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        Simple::Address(End::DownstreamLocal, Shown::Whole),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
        Simple::Address(End::DownstreamLocal, Shown::Ip),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_PORT",
        Simple::Address(End::DownstreamLocal, Shown::Port),
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS",
        Simple::Address(End::DownstreamRemote, Shown::Whole),
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Simple::Address(End::DownstreamRemote, Shown::Ip),
    ),
    (
        "DOWNSTREAM_REMOTE_PORT",
        Simple::Address(End::DownstreamRemote, Shown::Port),
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Simple::Address(End::DownstreamDirect, Shown::Whole),
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        Simple::Address(End::DownstreamDirect, Shown::Ip),
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_PORT",
        Simple::Address(End::DownstreamDirect, Shown::Port),
    ),
];
