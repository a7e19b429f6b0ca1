use http::{HeaderMap, StatusCode, header};

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrpcStatus(u32);

impl GrpcStatus {
    /// A code by its number.
    #[must_use]
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// The code that stands for an HTTP status, by gRPC's own table.
    #[must_use]
    pub fn from_http(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            200 => 0,
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        })
    }

    /// The status a reply carries in these headers or trailers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers
            .get("grpc-status")?
            .to_str()
            .ok()?
            .parse()
            .ok()
            .map(Self)
    }
}

/// Whether a request (or reply) with these headers is gRPC: content type `application/grpc` or `application/grpc+…`, case-sensitive and
/// without `grpc-web`, as Envoy decides.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    match content_type.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || rest.starts_with(b"+"),
        None => false,
    }
}
