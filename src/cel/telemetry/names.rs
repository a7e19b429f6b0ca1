//! The names of facts in an expression.

use std::fmt;

use super::fact::{Fact, PeerField};
use crate::cel::attribute::Type;
use crate::cel::syntax::vocabulary::{self, Named, Vocabulary};
use crate::matcher::header::holds_secret;

/// The attributes of Telemetry resources.
#[derive(Debug)]
pub(super) struct Exchange;

impl Vocabulary for Exchange {
    type Attribute = Fact;

    const ROOTS: &'static [&'static str] = &[
        "request",
        "response",
        "source",
        "destination",
        "connection",
        "upstream",
        "xds",
        "filter_state",
    ];
    const HAS_TIMES: bool = true;

    fn find(segments: &[&str]) -> Named<Fact> {
        match segments {
            ["request", "headers"] | ["response", "headers" | "trailers"] => Named::Headers,
            ["request", "headers", name] => header(name, of_request),
            ["response", "headers", name] => header(name, |name| Fact::ResponseHeader(name.into())),
            ["response", "trailers", name] => trailer(name),
            ["filter_state", "downstream_peer", rest @ ..] => peer(rest, Fact::DownstreamPeer),
            ["filter_state", "upstream_peer", rest @ ..] => peer(rest, Fact::UpstreamPeer),
            _ => plain(segments),
        }
    }

    fn value_type(fact: &Fact) -> Type {
        match fact {
            Fact::RequestSize
            | Fact::RequestTotalSize
            | Fact::ResponseCode
            | Fact::ResponseFlags
            | Fact::ResponseGrpcStatus
            | Fact::ResponseSize
            | Fact::ResponseTotalSize
            | Fact::SourcePort
            | Fact::DestinationPort
            | Fact::UpstreamPort
            | Fact::UpstreamAttempts => Type::Int,
            Fact::ConnectionMtls
            | Fact::DownstreamPeer(PeerField::Any)
            | Fact::UpstreamPeer(PeerField::Any) => Type::Bool,
            Fact::RequestTime => Type::Timestamp,
            Fact::RequestDuration => Type::Duration,
            _ => Type::Text,
        }
    }
}

/// The facts whose names have no variable part.
const NAMES: &[(&str, Fact)] = &[
    ("request.path", Fact::RequestPath),
    ("request.url_path", Fact::RequestUrlPath),
    ("request.query", Fact::RequestQuery),
    ("request.host", Fact::RequestHost),
    ("request.scheme", Fact::RequestScheme),
    ("request.method", Fact::RequestMethod),
    ("request.protocol", Fact::RequestProtocol),
    ("request.id", Fact::RequestId),
    ("request.time", Fact::RequestTime),
    ("request.duration", Fact::RequestDuration),
    ("request.size", Fact::RequestSize),
    ("request.total_size", Fact::RequestTotalSize),
    ("response.code", Fact::ResponseCode),
    ("response.code_details", Fact::ResponseCodeDetails),
    ("response.flags", Fact::ResponseFlags),
    ("response.grpc_status", Fact::ResponseGrpcStatus),
    ("response.size", Fact::ResponseSize),
    ("response.total_size", Fact::ResponseTotalSize),
    ("source.address", Fact::SourceAddress),
    ("source.port", Fact::SourcePort),
    ("destination.address", Fact::DestinationAddress),
    ("destination.port", Fact::DestinationPort),
    ("connection.mtls", Fact::ConnectionMtls),
    (
        "connection.requested_server_name",
        Fact::ConnectionServerName,
    ),
    ("connection.tls_version", Fact::ConnectionTlsVersion),
    ("connection.uri_san_peer_certificate", Fact::PeerUriSan),
    ("connection.uri_san_local_certificate", Fact::LocalUriSan),
    ("connection.termination_details", Fact::TerminationDetails),
    ("upstream.address", Fact::UpstreamAddress),
    ("upstream.port", Fact::UpstreamPort),
    ("upstream.transport_failure_reason", Fact::UpstreamFailure),
    ("upstream.request_attempt_count", Fact::UpstreamAttempts),
    ("xds.cluster_name", Fact::ClusterName),
    ("xds.route_name", Fact::RouteName),
    ("xds.node.id", Fact::NodeId),
];

/// Names that have a variable part, or another name.
const OTHERS: [&str; 8] = [
    "request.headers",
    "request.useragent",
    "request.referer",
    "response.headers",
    "response.trailers",
    "filter_state.downstream_peer",
    "filter_state.upstream_peer",
    "xds.node",
];

/// Why other names of a certificate are not served.
const SPIFFE_ID_ALONE: &str = "of a caller's certificate only the SPIFFE id is kept, because its \
     authority vouches for no other name, so this would never have a value: name \
     connection.uri_san_peer_certificate";

fn plain(segments: &[&str]) -> Named<Fact> {
    match segments {
        ["request", "useragent"] => {
            return Named::Attribute(Fact::RequestHeader("user-agent".into()));
        }
        ["request", "referer"] => return Named::Attribute(Fact::RequestHeader("referer".into())),
        ["xds", "node"] => {
            return Named::Wrong("`xds.node` has no value of its own; name xds.node.id".to_owned());
        }
        [
            "connection",
            "dns_san_peer_certificate" | "subject_peer_certificate",
        ] => return Named::Wrong(SPIFFE_ID_ALONE.to_owned()),
        _ => {}
    }
    let is = |name: &str| name.split('.').eq(segments.iter().copied());
    if let Some((_, fact)) = NAMES.iter().find(|(name, _)| is(name)) {
        return Named::Attribute(fact.clone());
    }
    let root = segments.first().copied();
    let names = NAMES.iter().map(|(name, _)| *name).chain(OTHERS);
    let names = names.filter(|name| name.split('.').next() == root);
    Named::Wrong(vocabulary::unknown(segments, names))
}

/// A header by its name in any case. Envoy keeps method, target and host among the headers.
fn of_request(name: &str) -> Fact {
    match name {
        ":method" => Fact::RequestMethod,
        ":path" => Fact::RequestPath,
        ":scheme" => Fact::RequestScheme,
        ":authority" | "host" => Fact::RequestHost,
        _ => Fact::RequestHeader(name.into()),
    }
}

fn header(name: &str, fact: impl FnOnce(&str) -> Fact) -> Named<Fact> {
    let name = name.to_ascii_lowercase();
    if holds_secret(&name) {
        return Named::Wrong(format!(
            "the header `{name}` holds a secret, which logs and metrics must not show"
        ));
    }
    let fact = fact(&name);
    match fact {
        Fact::RequestHeader(_) | Fact::ResponseHeader(_) if !vocabulary::is_token(&name) => {
            Named::Wrong("no header can have this name".to_owned())
        }
        fact => Named::Attribute(fact),
    }
}

/// Of trailers no more is kept than what metrics count.
fn trailer(name: &str) -> Named<Fact> {
    match name.to_ascii_lowercase().as_str() {
        "grpc-status" => Named::Attribute(Fact::ResponseTrailerGrpcStatus),
        _ => Named::Wrong(
            "of response.trailers only response.trailers['grpc-status'] has a value here: name it, \
             or response.grpc_status"
                .to_owned(),
        ),
    }
}

fn peer(rest: &[&str], fact: impl FnOnce(PeerField) -> Fact) -> Named<Fact> {
    let field = match rest {
        [] => PeerField::Any,
        ["namespace"] => PeerField::Namespace,
        ["cluster"] => PeerField::Cluster,
        ["service"] => PeerField::Service,
        ["revision"] => PeerField::Revision,
        ["app"] => PeerField::App,
        ["version"] => PeerField::Version,
        ["workload"] => PeerField::Workload,
        ["type" | "name"] | ["labels", ..] => {
            return Named::Wrong(format!(
                "peers do not tell this, so it would never have a value; {FIELDS}"
            ));
        }
        _ => return Named::Wrong(format!("no such field of a peer; {FIELDS}")),
    };
    Named::Attribute(fact(field))
}

/// What there is of a peer.
const FIELDS: &str = "there are namespace, cluster, service, revision, app, version and workload";

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestHeader(name) => write!(f, "request.headers['{name}']"),
            Self::ResponseHeader(name) => write!(f, "response.headers['{name}']"),
            Self::ResponseTrailerGrpcStatus => f.write_str("response.trailers['grpc-status']"),
            Self::DownstreamPeer(field) => write!(f, "filter_state.downstream_peer.{field:?}"),
            Self::UpstreamPeer(field) => write!(f, "filter_state.upstream_peer.{field:?}"),
            plain => {
                let found = NAMES.iter().find(|(_, fact)| fact == plain);
                f.write_str(found.map_or("fact", |(name, _)| name))
            }
        }
    }
}
