//! Responses that a layer makes itself, as plain text or in gRPC's form.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{GrpcStatus, GuardBody, ResponseFlags, is_grpc};

/// A response that a layer makes itself, in Envoy's form: plain text, or gRPC's trailers-only form
/// for a gRPC request.
#[derive(Clone, Debug)]
#[must_use]
pub struct LocalReply {
    status: StatusCode,
    body: Bytes,
    details: Arc<str>,
    flags: ResponseFlags,
    // Boxed, so that a verdict that may hold a reply stays small.
    headers: Option<Box<HeaderMap>>,
    grpc_status: GrpcStatus,
}

impl LocalReply {
    /// A reply with a plain text body. `details` are Envoy's response code details; they stay
    /// inside the process.
    pub fn new(
        status: StatusCode,
        body: impl Into<Cow<'static, str>>,
        details: impl Into<Arc<str>>,
    ) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Self::from_bytes(status, body, details)
    }

    /// A reply with a body of any bytes. It is sent as `text/plain` unless its [headers](Self::headers)
    /// have another `content-type`.
    pub fn from_bytes(status: StatusCode, body: Bytes, details: impl Into<Arc<str>>) -> Self {
        Self {
            status,
            body,
            details: details.into(),
            flags: ResponseFlags::none(),
            headers: None,
            grpc_status: GrpcStatus::from_http(status),
        }
    }

    /// Sets the status that a gRPC caller gets, if it differs from [the one
    /// for](GrpcStatus::from_http) the HTTP status.
    pub fn grpc_status(mut self, status: GrpcStatus) -> Self {
        self.grpc_status = status;
        self
    }

    /// Sets response flags.
    pub fn flags(mut self, flags: ResponseFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Sets a header, such as `www-authenticate`.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Adds headers. The reply's own `content-length` stays; with a gRPC caller, so do
    /// `content-type`, `grpc-status` and `grpc-message`.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.get_or_insert_default().extend(headers);
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text of the body; empty if the body is not UTF-8.
    #[must_use]
    pub fn body(&self) -> &str {
        str::from_utf8(&self.body).unwrap_or_default()
    }

    /// Envoy's response code details.
    #[must_use]
    pub fn details(&self) -> &Arc<str> {
        &self.details
    }

    /// The response flags.
    #[must_use]
    pub fn response_flags(&self) -> ResponseFlags {
        self.flags
    }

    /// The response to a request with this method and these headers.
    ///
    /// A gRPC caller gets `200`, with `grpc-status` and a percent-encoded `grpc-message` in the
    /// headers (no message if the body is empty). HEAD gets the headers of the text without the
    /// text, as in Envoy's local replies. Any flags are in the response's extensions as
    /// [`ResponseFlags`].
    #[must_use]
    pub fn into_response<B>(self, method: &Method, headers: &HeaderMap) -> Response<GuardBody<B>> {
        self.into_response_as(is_grpc(headers), method)
    }

    /// As [`into_response`](Self::into_response), for a request that is gone. The caller has kept
    /// what decides the form.
    #[must_use]
    pub fn into_response_as<B>(self, is_grpc: bool, method: &Method) -> Response<GuardBody<B>> {
        let mut response = if is_grpc {
            grpc_response(self.grpc_status, self.body())
        } else {
            text_response(self.status, self.body, method)
        };
        if !self.flags.is_empty() {
            response.extensions_mut().insert(self.flags);
        }
        if let Some(headers) = self.headers {
            put(*headers, is_grpc, response.headers_mut());
        }
        response
    }
}

/// Adds a reply's own headers, but not those that say how the reply is framed.
fn put(added: HeaderMap, is_grpc: bool, headers: &mut HeaderMap) {
    let mut current = None;
    for (name, value) in added {
        let is_new = name.is_some();
        current = name.or(current);
        let Some(name) = &current else { continue };
        let frames = is_grpc
            && (*name == header::CONTENT_TYPE || *name == GRPC_STATUS || *name == GRPC_MESSAGE);
        if frames || *name == header::CONTENT_LENGTH {
            continue;
        }
        if is_new {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
}

fn text_response<B>(status: StatusCode, text: Bytes, method: &Method) -> Response<GuardBody<B>> {
    let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = text.len();
    let shown = if method == Method::HEAD || has_no_body {
        Bytes::new()
    } else {
        text
    };
    let mut response = Response::new(GuardBody::local(shown));
    *response.status_mut() = status;
    if has_no_body {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    if length > 0 {
        headers.insert(header::CONTENT_TYPE, TEXT_PLAIN);
    }
    response
}

/// The trailers-only form. All is in the head, because a client that sees no message reads the
/// status there.
fn grpc_response<B>(status: GrpcStatus, text: &str) -> Response<GuardBody<B>> {
    let mut response = Response::new(GuardBody::local(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, APPLICATION_GRPC);
    headers.insert(GRPC_STATUS, status.code().into());
    if !text.is_empty()
        && let Ok(message) = HeaderValue::from_str(&percent_encode(text))
    {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// gRPC's encoding of `grpc-message`: bytes outside printable ASCII, and `%`, become `%XX`.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            0x20..=0x7e if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

const TEXT_PLAIN: HeaderValue = HeaderValue::from_static("text/plain");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use http_body::Body;
    use http_body_util::{BodyExt, Empty};

    use super::*;

    type Reply = Response<GuardBody<Empty<Bytes>>>;

    fn denied() -> LocalReply {
        LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", "details")
    }

    fn grpc() -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, APPLICATION_GRPC)])
    }

    fn value<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers().get(name)?.to_str().ok()
    }

    async fn text(reply: Reply) -> Bytes {
        reply.into_body().collect().await.unwrap().to_bytes()
    }

    /// Envoy's text of an RBAC refusal.
    #[tokio::test]
    async fn http_gets_the_status_and_a_plain_text() {
        let reply: Reply = denied().into_response(&Method::GET, &HeaderMap::new());
        assert_eq!(reply.status(), StatusCode::FORBIDDEN);
        assert_eq!(value(&reply, "content-type"), Some("text/plain"));
        assert_eq!(value(&reply, "content-length"), Some("19"));
        assert!(!reply.body().is_end_stream());
        assert_eq!(reply.body().size_hint().exact(), Some(19));
        assert_eq!(text(reply).await, "RBAC: access denied");
    }

    #[tokio::test]
    async fn head_gets_the_same_head_and_no_text() {
        let reply: Reply = denied().into_response(&Method::HEAD, &HeaderMap::new());
        assert_eq!(reply.status(), StatusCode::FORBIDDEN);
        assert_eq!(value(&reply, "content-length"), Some("19"));
        assert!(reply.body().is_end_stream());
        assert_eq!(text(reply).await, "");
    }

    #[tokio::test]
    async fn grpc_gets_its_status_in_the_head_of_a_200() {
        for (status, code) in [
            (StatusCode::FORBIDDEN, "7"),
            (StatusCode::UNAUTHORIZED, "16"),
            (StatusCode::SERVICE_UNAVAILABLE, "14"),
        ] {
            let reply: Reply = LocalReply::new(status, "no: 100% of \u{e9}\n", "details")
                .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
                .into_response(&Method::POST, &grpc());
            assert_eq!(reply.status(), StatusCode::OK);
            assert_eq!(value(&reply, "content-type"), Some("application/grpc"));
            assert_eq!(value(&reply, "grpc-status"), Some(code));
            assert_eq!(
                value(&reply, "grpc-message"),
                Some("no: 100%25 of %C3%A9%0A")
            );
            assert_eq!(value(&reply, "www-authenticate"), Some("Bearer"));
            assert_eq!(value(&reply, "content-length"), None);
            assert!(reply.body().is_end_stream());
        }
    }

    #[tokio::test]
    async fn an_empty_text_is_no_message_and_has_no_type() {
        let empty = || LocalReply::new(StatusCode::FORBIDDEN, "", "details");
        let reply: Reply = empty().into_response(&Method::POST, &grpc());
        assert_eq!(value(&reply, "grpc-status"), Some("7"));
        assert_eq!(value(&reply, "grpc-message"), None);
        let reply: Reply = empty().into_response(&Method::GET, &HeaderMap::new());
        assert_eq!(value(&reply, "content-length"), Some("0"));
        assert_eq!(value(&reply, "content-type"), None);
        assert!(reply.body().is_end_stream());
    }

    #[test]
    fn flags_ride_in_the_extensions_and_details_stay_inside() {
        let flags = ResponseFlags::RATE_LIMITED;
        let reply: Reply = denied()
            .flags(flags)
            .into_response(&Method::GET, &HeaderMap::new());
        assert_eq!(reply.extensions().get::<ResponseFlags>(), Some(&flags));
        let reply: Reply = denied().into_response(&Method::GET, &HeaderMap::new());
        assert!(reply.extensions().is_empty());
        assert!(!format!("{:?}", reply.headers()).contains("details"));
    }
}
