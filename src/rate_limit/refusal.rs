//! The answer to a request over a limit.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::message::{GrpcStatus, LocalReply, ResponseFlags};
use crate::policy::limit::Spec;

/// The status of a refusal: the one that the limit names, or 429 if that is none or below 400, as in
/// Envoy.
pub(super) fn status(spec: &Spec) -> StatusCode {
    let status = StatusCode::from_u16(spec.status).ok();
    let status = status.filter(|status| *status >= StatusCode::BAD_REQUEST);
    status.unwrap_or(StatusCode::TOO_MANY_REQUESTS)
}

/// The status of a gRPC caller: UNAVAILABLE, as Envoy answers 429, unless the limit wants
/// RESOURCE_EXHAUSTED.
pub(super) fn grpc_status(spec: &Spec) -> GrpcStatus {
    match spec.as_resource_exhausted {
        true => GrpcStatus::RESOURCE_EXHAUSTED,
        false => GrpcStatus::from_http(status(spec)),
    }
}

/// The refusal of a local limit, as Envoy's `local_ratelimit`.
pub(super) fn local(spec: &Spec) -> LocalReply {
    LocalReply::new(status(spec), LOCAL, LOCAL)
        .flags(ResponseFlags::RATE_LIMITED)
        .grpc_status(grpc_status(spec))
}

/// Headers as configuration writes them. One that HTTP does not allow is left out.
pub(super) fn header_map(written: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers
}

const LOCAL: &str = "local_rate_limited";
