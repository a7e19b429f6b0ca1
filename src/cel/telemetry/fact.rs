use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// What is known of an exchange that has ended.
pub trait Facts {
    /// A fact; `None` if the exchange does not have it, which is an error where it is read.
    fn fact(&self, fact: &Fact) -> Option<FactValue<'_>>;
}

/// Something that an expression of a Telemetry resource can read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fact {
    /// `request.path`, with the query; text.
    RequestPath,
    /// `request.url_path`, without it; text.
    RequestUrlPath,
    /// `request.query`; text.
    RequestQuery,
    /// `request.host`; text.
    RequestHost,
    /// `request.scheme`; text.
    RequestScheme,
    /// `request.method`; text.
    RequestMethod,
    /// `request.protocol`, such as `HTTP/1.1`; text.
    RequestProtocol,
    /// `request.id`; text.
    RequestId,
    /// `request.time`, when the request came.
    RequestTime,
    /// `request.duration`, from then to the end of the response.
    RequestDuration,
    /// `request.size`: bytes of the body.
    RequestSize,
    /// `request.total_size`: bytes of head and body.
    RequestTotalSize,
    /// `request.headers`, by the name in lower case, and `request.useragent`, `request.referer`;
    /// text.
    RequestHeader(Box<str>),
    /// `response.code`; a number, 0 without a response.
    ResponseCode,
    /// `response.code_details`; text.
    ResponseCodeDetails,
    /// `response.flags`: Envoy's bits; a number.
    ResponseFlags,
    /// `response.grpc_status`; a number.
    ResponseGrpcStatus,
    /// `response.size`: bytes of the body.
    ResponseSize,
    /// `response.total_size`: bytes of head and body.
    ResponseTotalSize,
    /// `response.headers`, by the name in lower case; text.
    ResponseHeader(Box<str>),
    /// `response.trailers['grpc-status']`; text.
    ResponseTrailerGrpcStatus,
    /// `source.address`, with the port; text.
    SourceAddress,
    /// `source.port`; a number.
    SourcePort,
    /// `destination.address`, with the port; text.
    DestinationAddress,
    /// `destination.port`; a number.
    DestinationPort,
    /// `connection.mtls`; a condition.
    ConnectionMtls,
    /// `connection.requested_server_name`; text.
    ConnectionServerName,
    /// `connection.tls_version`; text.
    ConnectionTlsVersion,
    /// `connection.uri_san_peer_certificate`; text.
    PeerUriSan,
    /// `connection.uri_san_local_certificate`; text.
    LocalUriSan,
    /// `connection.termination_details`; text.
    TerminationDetails,
    /// `upstream.address`, with the port; text.
    UpstreamAddress,
    /// `upstream.port`; a number.
    UpstreamPort,
    /// `upstream.transport_failure_reason`; text.
    UpstreamFailure,
    /// `upstream.request_attempt_count`, 0 where nothing was sent; a number.
    UpstreamAttempts,
    /// `xds.cluster_name`; text.
    ClusterName,
    /// `xds.route_name`; text.
    RouteName,
    /// `xds.node.id`, the name of this process; text.
    NodeId,
    /// `filter_state.downstream_peer`: who called.
    DownstreamPeer(PeerField),
    /// `filter_state.upstream_peer`: who was called.
    UpstreamPeer(PeerField),
}

/// A field of a peer's metadata; text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerField {
    /// The metadata themselves, for `has`; a condition that is true.
    Any,
    /// `namespace`.
    Namespace,
    /// `cluster`.
    Cluster,
    /// `service`: the canonical service.
    Service,
    /// `revision`: its canonical revision.
    Revision,
    /// `app`.
    App,
    /// `version`.
    Version,
    /// `workload`.
    Workload,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FactValue<'a> {
    /// A condition.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// A length of time.
    Duration(Duration),
    /// A point in time.
    Time(SystemTime),
}

impl<'a> From<&'a str> for FactValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for FactValue<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for FactValue<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for FactValue<'_> {
    fn from(condition: bool) -> Self {
        Self::Bool(condition)
    }
}
