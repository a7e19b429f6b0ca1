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
    body: Cow<'static, str>,
    details: Arc<str>,
    flags: ResponseFlags,
    // Boxed, so that a verdict that may hold a reply stays small.
    more: Option<Box<More>>,
    grpc_status: GrpcStatus,
}

/// What few replies have.
#[derive(Clone, Debug, Default)]
struct More {
    headers: HeaderMap,
    /// The body as bytes that may not be text.
    bytes: Option<Bytes>,
}

impl LocalReply {
    /// A reply with a plain text body. `details` are Envoy's response code details; they stay
    /// inside the process.
    pub fn new(
        status: StatusCode,
        body: impl Into<Cow<'static, str>>,
        details: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            status,
            body: body.into(),
            details: details.into(),
            flags: ResponseFlags::none(),
            more: None,
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

    /// Sets a header, such as `www-authenticate`. It replaces one of the same name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more().headers.insert(name, value);
        self
    }

    /// Sets these headers. They replace those of the same names; a name may have several values. A
    /// `content-type` replaces `text/plain`, but not the type of a gRPC response.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        let own = &mut self.more().headers;
        for name in headers.keys() {
            own.remove(name);
        }
        own.extend(headers);
        self
    }

    /// Sets a body of bytes, in place of the text that [`new`](Self::new) was given. A gRPC caller
    /// gets the text.
    pub fn bytes(mut self, bytes: Bytes) -> Self {
        self.more().bytes = Some(bytes);
        self
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text of the body.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
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
        let more = self.more.unwrap_or_default();
        let mut response = if is_grpc {
            grpc_response(self.grpc_status, &self.body)
        } else {
            let body = more.bytes.unwrap_or_else(|| bytes_of(self.body));
            body_response(self.status, body, method)
        };
        if !self.flags.is_empty() {
            response.extensions_mut().insert(self.flags);
        }
        let mut headers = more.headers;
        if is_grpc {
            headers.remove(header::CONTENT_TYPE);
        }
        for name in headers.keys() {
            response.headers_mut().remove(name);
        }
        response.headers_mut().extend(headers);
        response
    }
}

fn bytes_of(text: Cow<'static, str>) -> Bytes {
    match text {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    }
}

fn body_response<B>(
    status: StatusCode,
    body: Bytes,
    method: &Method,
) -> Response<GuardBody<B>> {
    let is_bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = body.len();
    let shown = if method == Method::HEAD || is_bodiless {
        Bytes::new()
    } else {
        body
    };
    let mut response = Response::new(GuardBody::local(shown));
    *response.status_mut() = status;
    if is_bodiless {
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
