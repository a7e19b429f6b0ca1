//! A call of the table.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Version};
use http_body_util::Full;

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) version: Version,
    pub(super) method: &'static str,
    pub(super) host: &'static str,
    pub(super) target: String,
    /// Headers of the request for which the call is made. An application with a sidecar copies
    /// them; without any, the call is made for no request.
    pub(super) context: Vec<(&'static str, String)>,
    /// Headers of the call itself.
    pub(super) headers: Vec<(&'static str, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
    /// Whether it is given only [`SHORT`](super::party::SHORT).
    pub(super) is_short: bool,
}

/// What the caller does once it has sent its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Reads,
    /// It gives up once the server has the request.
    Leaves,
    /// It gives up once the response has begun.
    LeavesLater,
}

impl Call {
    pub(super) fn get(name: &'static str, target: &str) -> Self {
        Self {
            name,
            version: Version::HTTP_11,
            method: "GET",
            host: "app.foo.svc.cluster.local",
            target: target.to_owned(),
            context: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            end: End::Reads,
            is_short: false,
        }
    }

    pub(super) fn grpc(name: &'static str, method: &str) -> Self {
        let mut call = Self::get(name, &format!("/pkg.Svc/{method}")).http2();
        call.method = "POST";
        call.body = vec![0; 5];
        call.with("content-type", "application/grpc")
            .with("te", "trailers")
    }

    /// At the host of this name in the mesh.
    pub(super) fn at(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    pub(super) fn with(self, name: &'static str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    pub(super) fn bytes(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.push((name, value.to_vec()));
        self
    }

    /// Made for a request that has brought this header.
    pub(super) fn within(mut self, name: &'static str, value: &str) -> Self {
        self.context.push((name, value.to_owned()));
        self
    }

    pub(super) fn http2(mut self) -> Self {
        self.version = Version::HTTP_2;
        self
    }

    pub(super) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub(super) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(super) fn post(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.method = "POST";
        self.body = body.into();
        self
    }

    pub(super) fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    pub(super) fn short(mut self) -> Self {
        self.is_short = true;
        self
    }

    pub(super) fn is_grpc(&self) -> bool {
        let is_it = |(name, value): &(&str, Vec<u8>)| {
            *name == "content-type" && value == b"application/grpc"
        };
        self.headers.iter().any(is_it)
    }

    /// Whether the caller has sent this text itself, so that it was not made.
    pub(super) fn has_sent(&self, text: &str) -> bool {
        let mut own = self.headers.iter();
        let own = own.any(|(_, value)| String::from_utf8_lossy(value).contains(text));
        own || self.context.iter().any(|(_, value)| value.contains(text))
    }

    /// Its request, with a whole URI.
    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .version(self.version)
            .method(self.method)
            .uri(format!("http://{}{}", self.host, self.target))
            .header("x-case", self.name);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            request = request.header(HeaderName::from_static(name), value);
        }
        request.body(Full::new(self.body.clone().into())).unwrap()
    }
}
