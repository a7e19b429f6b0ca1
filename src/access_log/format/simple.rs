//! The operators without an argument.

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
    DownstreamPeerSubject,
    DownstreamPeerFingerprint,
    DownstreamLocalUriSan,
    UpstreamPeerUriSan,
    UpstreamPeerSubject,
    UpstreamLocalUriSan,
    UpstreamTlsVersion,
    UpstreamTlsCipher,
    UpstreamProtocol,
    UpstreamRequestAttemptCount,
    RequestDuration,
    TraceId,
    SpanId,
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
