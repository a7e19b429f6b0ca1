//! The operators without an argument, and a duration between two times.

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
    DownstreamPeerDnsSan,
    DownstreamTlsVersion,
    DownstreamTlsCipher,
    DownstreamPeerSubject,
    DownstreamPeerFingerprint,
    DownstreamLocalUriSan,
    UpstreamPeerUriSan,
    UpstreamPeerDnsSan,
    UpstreamPeerSubject,
    UpstreamLocalUriSan,
    UpstreamTlsVersion,
    UpstreamTlsCipher,
    UpstreamProtocol,
    UpstreamRequestAttemptCount,
    RequestDuration,
    TraceId,
    SpanId,
    /// The request id.
    StreamId,
    AccessLogType,
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

/// Envoy's `COMMON_DURATION(START:END:PRECISION)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommonDuration {
    pub(super) start: TimePoint,
    pub(super) end: TimePoint,
    /// How many nanoseconds are counted as one.
    pub(super) unit: u128,
}

/// A time in an exchange. Envoy knows more, of connections and of what it sends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimePoint {
    /// The head of the request has come.
    DownstreamRxBegin,
    /// The body of the request was read whole.
    DownstreamRxEnd,
    /// The head of the response of the application, or of the server that was called.
    UpstreamRxBegin,
    UpstreamRxEnd,
    /// The head of the response, also one that a guard has made.
    DownstreamTxBegin,
    DownstreamTxEnd,
}

impl CommonDuration {
    pub(super) fn parse(argument: &str) -> Result<Self, String> {
        let mut parts = argument.split(':');
        let [start, end, unit, none] = [(); 4].map(|()| parts.next());
        let point = |name: Option<&str>| {
            Some(match name? {
                "DS_RX_BEG" => TimePoint::DownstreamRxBegin,
                "DS_RX_END" => TimePoint::DownstreamRxEnd,
                "US_RX_BEG" => TimePoint::UpstreamRxBegin,
                "US_RX_END" => TimePoint::UpstreamRxEnd,
                "DS_TX_BEG" => TimePoint::DownstreamTxBegin,
                "DS_TX_END" => TimePoint::DownstreamTxEnd,
                _ => return None,
            })
        };
        let unit = unit.and_then(|unit| match unit {
            "ms" => Some(1_000_000),
            "us" => Some(1_000),
            "ns" => Some(1),
            _ => None,
        });
        match (point(start), point(end), unit, none) {
            (Some(start), Some(end), Some(unit), None) => Ok(Self { start, end, unit }),
            _ => Err(COMMON_DURATION.to_owned()),
        }
    }
}

const COMMON_DURATION: &str = "%COMMON_DURATION(START:END:PRECISION)% knows the times DS_RX_BEG, \
                               DS_RX_END, US_RX_BEG, US_RX_END, DS_TX_BEG and DS_TX_END, and the \
                               precisions ms, us and ns";
