//! The body of a request on its way to the application: its trailers say nothing of who asks, as no guard has judged them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_mesh::Mesh;
use tower_mesh::mesh::RequestBody;

use super::guarded;

/// A request body whose trailers are sifted.
#[pin_project]
pub(crate) struct Sifted {
    #[pin]
    inner: RequestBody,
    mesh: Mesh,
    port: u16,
    /// The names in the head of the request, which trailers may not contradict.
    judged: Vec<HeaderName>,
}

impl Sifted {
    pub(crate) fn new(inner: RequestBody, mesh: Mesh, port: u16, head: &HeaderMap) -> Self {
        // Most requests have no trailers, and nearly none of those that have none announce any.
        let judged = match inner.is_end_stream() {
            true => Vec::new(),
            false => head.keys().cloned().collect(),
        };
        Self {
            inner,
            mesh,
            port,
            judged,
        }
    }
}

impl Body for Sifted {
    type Data = Bytes;
    type Error = <RequestBody as Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let Some(frame) = ready!(this.inner.poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let mut trailers = match frame.map(Frame::into_trailers) {
            Ok(Ok(trailers)) => trailers,
            Ok(Err(data)) => return Poll::Ready(Some(Ok(data))),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let guarded = guarded::names(this.mesh, *this.port);
        let is_taken = |name: &HeaderName| {
            let name = folded(name.as_str());
            says_who(&name)
                || guarded.iter().any(|guarded| folded(guarded) == name)
                || this
                    .judged
                    .iter()
                    .any(|judged| folded(judged.as_str()) == name)
        };
        let taken: Vec<_> = trailers
            .keys()
            .filter(|name| is_taken(name))
            .cloned()
            .collect();
        for name in taken {
            trailers.remove(name);
        }
        let left = (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)));
        Poll::Ready(left)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Some servers take `_` for `-`, and none looks at case.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Whether a field tells of the caller, the route, the framing or the trace (RFC 9110 §6.5.1), and so belongs into the head.
fn says_who(name: &str) -> bool {
    const PREFIXES: [&str; 13] = [
        "accept",
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "x-auth",
        "x-b3-",
        "x-envoy-",
        "x-ext-authz-",
        "x-forwarded-",
        "x-istio-",
        "x-original-",
    ];
    const NAMES: [&str; 25] = [
        "authorization",
        "b3",
        "baggage",
        "cache-control",
        "connection",
        "cookie",
        "expect",
        "forwarded",
        "grpc-timeout",
        "host",
        "keep-alive",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "referer",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
        "x-request-id",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
