//! Envoy's command operators that have a meaning in a process.

use http::HeaderName;

use super::time::TimeFormat;

/// What a piece of a line is made from.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    /// With a format of its own, or Envoy's.
    StartTime(Option<Box<TimeFormat>>),
    /// A header of the request, or else the other one.
    Request(RequestPart, Option<RequestPart>),
    /// A header of the response, or else the other one.
    Response(ResponsePart, Option<ResponsePart>),
    GrpcStatus(GrpcForm),
    Simple(Simple),
}

/// The operators without an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Simple {
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    UpstreamTransportFailureReason,
    BytesReceived,
    BytesSent,
    Duration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamCluster,
    RequestedServerName,
    RouteName,
    DownstreamPeerUriSan,
    DownstreamTlsVersion,
    DownstreamTlsCipher,
    TraceId,
    Address(End, Shown),
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Upstream,
    UpstreamLocal,
    DownstreamLocal,
    /// The client, also where a trusted proxy has named it.
    DownstreamRemote,
    /// The other end of the connection.
    DownstreamDirect,
}

/// How much of an address is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Whole,
    Ip,
    Port,
}

/// What `%REQ(..)%` can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestPart {
    Method,
    Path,
    Authority,
    Scheme,
    RequestId,
    Header(HeaderName),
    /// A header that only a proxy sets, and that a caller must not.
    OfProxy,
}

/// What `%RESP(..)%` can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResponsePart {
    Status,
    ServiceTime,
    Header(HeaderName),
}

/// How `%GRPC_STATUS%` writes the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

impl Operator {
    /// The operator with this name and argument.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        if let Some((_, simple)) = SIMPLE.iter().find(|(known, _)| *known == name) {
            return match argument {
                None => Ok(Self::Simple(*simple)),
                Some(_) => Err(format!("%{name}% takes no argument")),
            };
        }
        match (name, argument) {
            ("START_TIME", None) => Ok(Self::StartTime(None)),
            ("START_TIME", Some(format)) => match TimeFormat::parse(format) {
                Ok(format) => Ok(Self::StartTime(Some(Box::new(format)))),
                Err(wrong) => Err(format!(
                    "%START_TIME(..)% does not know {wrong}: it knows \
                     %Y %m %d %H %M %S %F %T %s %z %Z %f and %1f to %9f"
                )),
            },
            ("REQ", Some(argument)) => {
                let (first, other) = two(argument, request_part)?;
                Ok(Self::Request(first, other))
            }
            ("RESP", Some(argument)) => {
                let (first, other) = two(argument, response_part)?;
                Ok(Self::Response(first, other))
            }
            ("REQ" | "RESP", None) => Err(format!("%{name}% needs a header: %{name}(NAME)%")),
            ("GRPC_STATUS", None | Some("CAMEL_STRING")) => Ok(Self::GrpcStatus(GrpcForm::Camel)),
            ("GRPC_STATUS", Some("SNAKE_STRING")) => Ok(Self::GrpcStatus(GrpcForm::Snake)),
            ("GRPC_STATUS", Some("NUMBER")) | ("GRPC_STATUS_NUMBER", None) => {
                Ok(Self::GrpcStatus(GrpcForm::Number))
            }
            ("GRPC_STATUS", Some(_)) => {
                Err("%GRPC_STATUS(..)% is CAMEL_STRING, SNAKE_STRING or NUMBER".to_owned())
            }
            ("GRPC_STATUS_NUMBER", Some(_)) => Err(format!("%{name}% takes no argument")),
            _ => Err(unknown(name)),
        }
    }

    /// Whether it has no value for a connection that carries no HTTP.
    pub(super) fn is_of_http(&self) -> bool {
        match self {
            Self::Request(..) | Self::Response(..) | Self::GrpcStatus(_) => true,
            Self::StartTime(_) => false,
            Self::Simple(simple) => matches!(
                simple,
                Simple::Protocol | Simple::ResponseCodeDetails | Simple::RouteName
            ),
        }
    }

    /// The headers of the request that it reads.
    pub(super) fn request_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let parts = match self {
            Self::Request(first, other) => [Some(first), other.as_ref()],
            _ => [None, None],
        };
        parts.into_iter().flatten().filter_map(|part| match part {
            RequestPart::Header(name) => Some(name),
            _ => None,
        })
    }

    /// The headers of the response that it reads.
    pub(super) fn response_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let parts = match self {
            Self::Response(first, other) => [Some(first), other.as_ref()],
            _ => [None, None],
        };
        parts.into_iter().flatten().filter_map(|part| match part {
            ResponsePart::Header(name) => Some(name),
            _ => None,
        })
    }
}

/// The parts of `A?B`.
fn two<P>(argument: &str, part: fn(&str) -> Result<P, String>) -> Result<(P, Option<P>), String> {
    match argument.split_once('?') {
        None => Ok((part(argument)?, None)),
        Some((first, other)) => Ok((part(first)?, Some(part(other)?))),
    }
}

fn request_part(name: &str) -> Result<RequestPart, String> {
    match name.to_ascii_lowercase().as_str() {
        ":method" => Ok(RequestPart::Method),
        ":path" => Ok(RequestPart::Path),
        ":authority" | "host" => Ok(RequestPart::Authority),
        ":scheme" => Ok(RequestPart::Scheme),
        "x-request-id" => Ok(RequestPart::RequestId),
        "x-envoy-original-path" => Ok(RequestPart::OfProxy),
        _ => header(name).map(RequestPart::Header),
    }
}

fn response_part(name: &str) -> Result<ResponsePart, String> {
    match name.to_ascii_lowercase().as_str() {
        ":status" => Ok(ResponsePart::Status),
        "x-envoy-upstream-service-time" => Ok(ResponsePart::ServiceTime),
        _ => header(name).map(ResponsePart::Header),
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    let lower = name.to_ascii_lowercase();
    if SECRET.contains(&lower.as_str()) {
        return Err(format!(
            "the header {name} holds a secret, and is not logged"
        ));
    }
    HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("{name:?} is no name of a header"))
}

/// The sentence about an operator that there is not.
fn unknown(name: &str) -> String {
    let with_argument = [
        "START_TIME",
        "REQ",
        "RESP",
        "GRPC_STATUS",
        "GRPC_STATUS_NUMBER",
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

const SECRET: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];

const SIMPLE: [(&str, Simple); 36] = [
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
    ("DOWNSTREAM_TLS_VERSION", Simple::DownstreamTlsVersion),
    ("DOWNSTREAM_TLS_CIPHER", Simple::DownstreamTlsCipher),
    ("TRACE_ID", Simple::TraceId),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_is_told_with_the_nearest_one() {
        for (name, argument, expected) in [
            (
                "RESPONSE_COD",
                None,
                "%RESPONSE_COD% is no operator here: did you mean %RESPONSE_CODE%?",
            ),
            (
                "UPSTREAM_HOTS",
                None,
                "%UPSTREAM_HOTS% is no operator here: did you mean %UPSTREAM_HOST%?",
            ),
            (
                "VIRTUAL_CLUSTER_NAME",
                None,
                "%VIRTUAL_CLUSTER_NAME% is no operator here",
            ),
            (
                "FILTER_STATE",
                Some("x"),
                "%FILTER_STATE% is no operator here",
            ),
            ("REQ", None, "%REQ% needs a header: %REQ(NAME)%"),
            ("REQ", Some("a b"), "\"a b\" is no name of a header"),
            (
                "REQ",
                Some("x?Cookie"),
                "the header Cookie holds a secret, and is not logged",
            ),
            ("PROTOCOL", Some("x"), "%PROTOCOL% takes no argument"),
            (
                "GRPC_STATUS",
                Some("x"),
                "%GRPC_STATUS(..)% is CAMEL_STRING, SNAKE_STRING or NUMBER",
            ),
            (
                "START_TIME",
                Some("%j"),
                "%START_TIME(..)% does not know %j: it knows %Y %m %d %H %M %S %F %T %s %z %Z %f and %1f to %9f",
            ),
        ] {
            assert_eq!(Operator::parse(name, argument).unwrap_err(), expected);
        }
    }
}
