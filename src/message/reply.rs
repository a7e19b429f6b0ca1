use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{GrpcStatus, GuardBody, ResponseFlags, is_grpc};

/// A response that a layer makes itself, in Envoy's shape: a plain text, or gRPC's trailers-only form for a gRPC request.
#[derive(Clone, Debug)]
#[must_use]
pub struct LocalReply {
    status: StatusCode,
    body: Cow<'static, str>,
    details: Arc<str>,
    flags: ResponseFlags,
    header: Option<(HeaderName, HeaderValue)>,
}

impl LocalReply {
    /// A reply with a plain text body; `details` are Envoy's response code details and stay inside the process.
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
            header: None,
        }
    }

    /// Sets response flags.
    pub fn flags(mut self, flags: ResponseFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Adds a header, such as `www-authenticate`.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The HTTP status it stands for.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text of its body.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Envoy's response code details.
    #[must_use]
    pub fn details(&self) -> &Arc<str> {
        &self.details
    }

    /// Its response flags.
    #[must_use]
    pub fn response_flags(&self) -> ResponseFlags {
        self.flags
    }

    /// The response to a request with this method and these headers.
    ///
    /// gRPC gets `200`, `grpc-status` and a percent-encoded `grpc-message` in the headers; HEAD gets the headers of the text and no
    /// text (Envoy's local replies). The flags, if any, ride in the response's extensions as [`ResponseFlags`].
    pub fn into_response<B>(self, method: &Method, headers: &HeaderMap) -> Response<GuardBody<B>> {
        let mut response = if is_grpc(headers) {
            self.grpc_response()
        } else {
            self.text_response(method)
        };
        if !self.flags.is_empty() {
            response.extensions_mut().insert(self.flags);
        }
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn text_response<B>(&self, method: &Method) -> Response<GuardBody<B>> {
        let text = match &self.body {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::copy_from_slice(text.as_bytes()),
        };
        let length = text.len();
        let shown = if method == Method::HEAD {
            Bytes::new()
        } else {
            text
        };
        let mut response = Response::new(GuardBody::local(shown));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        if length > 0 {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, TEXT_PLAIN);
        }
        response
    }

    fn grpc_response<B>(&self) -> Response<GuardBody<B>> {
        let mut response = Response::new(GuardBody::local(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, APPLICATION_GRPC);
        headers.insert(
            GRPC_STATUS,
            GrpcStatus::from_http(self.status).code().into(),
        );
        if let Ok(message) = HeaderValue::from_str(&percent_encode(&self.body)) {
            headers.insert(GRPC_MESSAGE, message);
        }
        response
    }
}

/// gRPC's encoding of `grpc-message`: everything outside printable ASCII, and `%`, as `%XX`.
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
