//! gRPC status codes, and how to recognise gRPC messages by their headers.

#[cfg(all(feature = "server", feature = "client"))]
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrpcStatus(u32);

impl GrpcStatus {
    /// A quota is used up.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// The server broke its contract; for example, a handler panicked.
    pub const INTERNAL: Self = Self(13);
    /// The service cannot be reached at present.
    pub const UNAVAILABLE: Self = Self(14);

    /// The status with this code.
    #[must_use]
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// The numeric code.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// The name that gRPC gives it, such as `NOT_FOUND`; `None` if gRPC does not define the code.
    #[cfg(any(feature = "metrics", feature = "propagation"))]
    pub(crate) fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        let index = usize::try_from(self.0).ok()?;
        NAMES.get(index).copied()
    }

    /// The gRPC status for an HTTP status, from the table that gRPC gives to clients and that Envoy
    /// uses in its local replies.
    #[must_use]
    pub fn from_http(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        })
    }

    /// The status in these headers or trailers; `None` if there is none or if it is not a decimal
    /// number.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Self::from_value(headers.get(GRPC_STATUS)?)
    }

    /// The status in the value of a `grpc-status` header.
    pub(super) fn from_value(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse().ok().map(Self)
    }
}

/// Whether a request or reply with these headers is gRPC: its content type is `application/grpc` or
/// `application/grpc+…`. As in Envoy, the comparison is case-sensitive, and `grpc-web` does not
/// count.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(is_grpc_content_type)
}

/// As [`is_grpc`], from the value of the content type.
pub(super) fn is_grpc_content_type(content_type: &HeaderValue) -> bool {
    match content_type.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || rest.starts_with(b"+"),
        None => false,
    }
}

/// How long a gRPC caller waits, as its header `grpc-timeout` says: up to eight digits and a unit.
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = said.split_at_checked(said.len().checked_sub(1)?)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits
        .parse()
        .ok()
        .filter(|_| is_number && digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpc; charset=utf-8", false),
            ("application/GRPC", false),
            ("application/json", false),
        ] {
            let headers = with("content-type", content_type);
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_status_is_a_decimal_number() {
        for (text, expected) in [
            ("0", Some(0)),
            ("16", Some(16)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("+7", None),
            ("-1", None),
            ("", None),
            ("OK", None),
        ] {
            let status = GrpcStatus::from_headers(&with("grpc-status", text));
            assert_eq!(status.map(GrpcStatus::code), expected, "{text}");
        }
        assert_eq!(GrpcStatus::from_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn an_http_status_stands_for_a_grpc_one() {
        for (http, grpc) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
            (502, 14),
            (503, 14),
            (504, 14),
            (418, 2),
        ] {
            let status = StatusCode::from_u16(http).unwrap();
            assert_eq!(GrpcStatus::from_http(status).code(), grpc, "{http}");
        }
    }

    #[cfg(all(feature = "server", feature = "client"))]
    #[test]
    fn reads_the_deadline_of_a_grpc_call() {
        for (said, seconds) in [
            ("2H", Some(7200.0)),
            ("3M", Some(180.0)),
            ("99999999S", Some(99_999_999.0)),
            ("1500m", Some(1.5)),
            ("500000u", Some(0.5)),
            ("250000000n", None),
            ("25000000n", Some(0.025)),
            ("0S", Some(0.0)),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("+5S", None),
            ("5 S", None),
        ] {
            let headers = [("grpc-timeout".parse().unwrap(), said.parse().unwrap())];
            let found = grpc_timeout(&headers.into_iter().collect());
            assert_eq!(found.map(|time| time.as_secs_f64()), seconds, "{said:?}");
        }
    }
}
