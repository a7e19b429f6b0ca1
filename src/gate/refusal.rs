//! The reasons for which the gate refuses requests.

use std::fmt;

use http::header::{self, HeaderValue};
use http::{StatusCode, Version};

use super::Profile;
use crate::matcher::path::PathRefusal;
use crate::message::LocalReply;

/// Why the gate refuses a request. The set is closed, so that a count of each reason stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The method has lower-case letters (rule B-01).
    Method,
    /// It has several `Host` lines (rule B-02).
    SeveralHosts,
    /// It names no host (rule B-03).
    NoHost,
    /// It is HTTP/1.0 or older (rule B-03).
    Http10,
    /// The target and `Host` name different hosts (rule B-04).
    OtherHost,
    /// The host is not valid (rule B-05).
    Host,
    /// The path is empty or does not begin with `/` (rule B-06).
    NotAbsolute,
    /// The method is CONNECT (rule B-06).
    Connect,
    /// The target has a fragment (rule B-07).
    Fragment,
    /// The path has `%00`, or a `%` without two hex digits (rule B-08).
    Escape,
    /// The path has a `\` (rule B-09).
    Backslash,
    /// The path has `%2f` or `%5c` (rule B-09).
    EscapedSlash,
    /// The path has a segment such as `..;` (rule B-10).
    DotParameter,
    /// The target has a byte that no target may have (rule B-11).
    IllegalByte,
    /// `transfer-encoding` is not `chunked` (rule B-13).
    TransferEncoding,
    /// `connection` names a header that must stay, or too many (rule H-17).
    ConnectionHeader,
    /// `x-forwarded-client-cert` cannot be read, so that nothing can be appended (rule H-03).
    ClientCertHeader,
    /// It has more than 100 headers (rule B-15).
    TooManyHeaders,
    /// Its headers have more than 60 KiB (rule B-15).
    HeadersTooLarge,
    /// Its target has more than 8 KiB (rule B-15).
    TargetTooLong,
    /// A router may have read other path segments than the gate (rule B-30).
    OtherSegments,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 21] = [
        Self::Method,
        Self::SeveralHosts,
        Self::NoHost,
        Self::Http10,
        Self::OtherHost,
        Self::Host,
        Self::NotAbsolute,
        Self::Connect,
        Self::Fragment,
        Self::Escape,
        Self::Backslash,
        Self::EscapedSlash,
        Self::DotParameter,
        Self::IllegalByte,
        Self::TransferEncoding,
        Self::ConnectionHeader,
        Self::ClientCertHeader,
        Self::TooManyHeaders,
        Self::HeadersTooLarge,
        Self::TargetTooLong,
        Self::OtherSegments,
    ];

    /// The reason as the value of a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::SeveralHosts => "several_hosts",
            Self::NoHost => "no_host",
            Self::Http10 => "http_1_0",
            Self::OtherHost => "other_host",
            Self::Host => "host",
            Self::NotAbsolute => "not_absolute",
            Self::Connect => "connect",
            Self::Fragment => "fragment",
            Self::Escape => "escape",
            Self::Backslash => "backslash",
            Self::EscapedSlash => "escaped_slash",
            Self::DotParameter => "dot_parameter",
            Self::IllegalByte => "illegal_byte",
            Self::TransferEncoding => "transfer_encoding",
            Self::ConnectionHeader => "connection_header",
            Self::ClientCertHeader => "client_cert_header",
            Self::TooManyHeaders => "too_many_headers",
            Self::HeadersTooLarge => "headers_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::OtherSegments => "other_segments",
        }
    }

    /// The status of the answer: 431 for too many or too large headers, 414 for a long target,
    /// Envoy's 403 for CONNECT, and 400 for everything else. Where [`Profile::Istio`] refuses
    /// HTTP/1.0, the answer is Envoy's 426.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooManyHeaders | Self::HeadersTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Connect => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer. A connection of HTTP/1 ends with it, as with Envoy's: who reads a request in two
    /// ways may find two ends of it, and so two beginnings of the next one.
    pub(crate) fn reply(self, profile: Profile, version: Version) -> LocalReply {
        let status = match (self, profile) {
            (Self::Http10, Profile::Istio) => StatusCode::UPGRADE_REQUIRED,
            _ => self.status(),
        };
        let reply = LocalReply::new(status, "", self.details());
        match version < Version::HTTP_2 {
            true => reply.header(header::CONNECTION, HeaderValue::from_static("close")),
            false => reply,
        }
    }

    /// The response code details: Envoy's, or of the same form where Envoy has none.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::Method
            | Self::SeveralHosts
            | Self::OtherHost
            | Self::Host
            | Self::IllegalByte => "http1.codec_error",
            Self::NoHost => "missing_host_header",
            Self::Http10 => "low_version",
            Self::Connect => "upgrade_failed",
            Self::NotAbsolute
            | Self::Fragment
            | Self::Escape
            | Self::Backslash
            | Self::EscapedSlash
            | Self::DotParameter
            | Self::OtherSegments => "path_normalization_failed",
            Self::TransferEncoding => "http1.invalid_transfer_encoding",
            Self::ConnectionHeader => "http1.connection_header_rejected",
            Self::ClientCertHeader => "forwarded_client_cert_rejected",
            Self::TooManyHeaders => "http1.too_many_headers",
            Self::HeadersTooLarge => "http1.headers_too_large",
            Self::TargetTooLong => "http1.target_too_long",
        }
    }
}

impl Refusal {
    /// The rule that the request breaks, such as `B-08`, as the page `gate` of the guide lists it.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Method => "B-01",
            Self::SeveralHosts => "B-02",
            Self::NoHost | Self::Http10 => "B-03",
            Self::OtherHost => "B-04",
            Self::Host => "B-05",
            Self::NotAbsolute | Self::Connect => "B-06",
            Self::Fragment => "B-07",
            Self::Escape => "B-08",
            Self::Backslash | Self::EscapedSlash => "B-09",
            Self::DotParameter => "B-10",
            Self::IllegalByte => "B-11",
            Self::TransferEncoding => "B-13",
            Self::ConnectionHeader => "H-17",
            Self::ClientCertHeader => "H-03",
            Self::TooManyHeaders | Self::HeadersTooLarge | Self::TargetTooLong => "B-15",
            Self::OtherSegments => "B-30",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "the method has lower-case letters",
            Self::SeveralHosts => "the request has several host headers",
            Self::NoHost => "the request names no host",
            Self::Http10 => "the request is HTTP/1.0 or older",
            Self::OtherHost => "the target and the host header name different hosts",
            Self::Host => "the host is not valid",
            Self::NotAbsolute => "the path does not begin with '/'",
            Self::Connect => "the method is CONNECT",
            Self::Fragment => "the target has a fragment",
            Self::Escape => "the path has %00, or a '%' without two hex digits",
            Self::Backslash => "the path has a backslash",
            Self::EscapedSlash => "the path has an escaped slash",
            Self::DotParameter => "the path has a dot segment with a parameter",
            Self::IllegalByte => "the target has a byte that no target may have",
            Self::TransferEncoding => "the transfer encoding is not chunked",
            Self::ConnectionHeader => "the connection header names what must stay, or too many",
            Self::ClientCertHeader => "x-forwarded-client-cert cannot be read",
            Self::TooManyHeaders => "the request has too many headers",
            Self::HeadersTooLarge => "the headers are too large",
            Self::TargetTooLong => "the target is too long",
            Self::OtherSegments => "a router may have read other path segments",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<PathRefusal> for Refusal {
    fn from(refusal: PathRefusal) -> Self {
        match refusal {
            PathRefusal::Fragment => Self::Fragment,
            PathRefusal::IllegalByte => Self::IllegalByte,
            PathRefusal::NulByte => Self::Escape,
            PathRefusal::NotAbsolute => Self::NotAbsolute,
            PathRefusal::Authority => Self::Host,
        }
    }
}

impl From<Refusal> for LocalReply {
    fn from(refusal: Refusal) -> Self {
        refusal.reply(Profile::Strict, Version::HTTP_11)
    }
}
