//! Counts what is read from a request's body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{HeaderMap, HeaderName, Request};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::grpc_messages::GrpcMessages;
use super::is_grpc;

/// A request body that counts the bytes and the gRPC messages that are read from it.
///
/// What the service never reads is not counted.
#[pin_project]
#[derive(Debug)]
pub struct CountingBody<B> {
    #[pin]
    inner: B,
    count: ByteCount,
    /// `Some` only for a gRPC body.
    messages: Option<GrpcMessages>,
    sieve: Option<Sieve>,
}

/// What is removed from the trailers of a body.
#[derive(Clone, Debug)]
struct Sieve {
    remove: fn(&mut HeaderMap, &[HeaderName]),
    names: Arc<[HeaderName]>,
}

/// The count of a [`CountingBody`]. Clones are cheap and read the same count.
#[derive(Clone, Debug, Default)]
pub struct ByteCount(Count);

#[derive(Clone, Debug)]
enum Count {
    Shared(Arc<Counts>),
    Announced(u64),
}

impl Default for Count {
    fn default() -> Self {
        Self::Announced(0)
    }
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl<B: Body> CountingBody<B> {
    /// Wraps the body of a request so that it counts bytes, and messages if the request is gRPC.
    /// Returns the handle that reads the count.
    ///
    /// Allocates the shared count, except for a body that has already ended, as in most GET
    /// requests.
    pub fn wrap(request: Request<B>) -> (Request<Self>, ByteCount) {
        let (head, body) = request.into_parts();
        let (body, count) = Self::under(&head.headers, body);
        (Request::from_parts(head, body), count)
    }

    /// As [`wrap`](Self::wrap), for a body whose request has these headers.
    pub fn under(headers: &HeaderMap, inner: B) -> (Self, ByteCount) {
        let (mut body, count) = Self::new(inner);
        body.messages = is_grpc(headers).then(GrpcMessages::default);
        (body, count)
    }

    /// As [`wrap`](Self::wrap), for a body that is not gRPC.
    pub fn new(inner: B) -> (Self, ByteCount) {
        let count = match inner.is_end_stream() {
            true => ByteCount::default(),
            false => ByteCount(Count::Shared(Arc::default())),
        };
        let body = Self {
            inner,
            count: count.clone(),
            messages: None,
            sieve: None,
        };
        (body, count)
    }

    /// Lets `remove` take from the trailers what the service must not see; it gets the names, too.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn sift_trailers(
        &mut self,
        remove: fn(&mut HeaderMap, &[HeaderName]),
        names: &Arc<[HeaderName]>,
    ) {
        if !self.inner.is_end_stream() {
            let names = Arc::clone(names);
            self.sieve = Some(Sieve { remove, names });
        }
    }

    /// Whether this is the body of a gRPC request.
    pub const fn is_grpc(&self) -> bool {
        self.messages.is_some()
    }
}

impl Sieve {
    /// The frame without what is removed; `None` for trailers of which nothing is left.
    fn sift<D>(&self, frame: Frame<D>) -> Option<Frame<D>> {
        let mut trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(data) => return Some(data),
        };
        (self.remove)(&mut trailers, &self.names);
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }
}

impl ByteCount {
    /// The number of bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            Count::Shared(counts) => counts.bytes.load(Ordering::Relaxed),
            Count::Announced(bytes) => *bytes,
        }
    }

    /// The number of gRPC messages that have begun so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        match &self.0 {
            Count::Shared(counts) => counts.messages.load(Ordering::Relaxed),
            Count::Announced(_) => 0,
        }
    }

    /// A fixed count: the exact size that a body announces, or 0 if it announces none.
    #[must_use]
    pub fn announced(body: &impl Body) -> Self {
        let length = body.size_hint().exact();
        Self(Count::Announced(length.unwrap_or_default()))
    }
}

impl<B: Body> Body for CountingBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let polled = ready!(this.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let (Some(data), Count::Shared(counts)) = (frame.data_ref(), &this.count.0)
        {
            let bytes = data.remaining() as u64;
            counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            if let Some(messages) = this.messages {
                messages.see(data);
                counts.messages.store(messages.count(), Ordering::Relaxed);
            }
        }
        Poll::Ready(match (polled, this.sieve) {
            (Some(Ok(frame)), Some(sieve)) => sieve.sift(frame).map(Ok),
            (polled, _) => polled,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};

    use super::*;

    const TWO_MESSAGES: &[u8] = &[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_body_is_counted_as_it_is_read() {
        for (content_type, messages) in [("application/grpc", 2), ("text/plain", 0)] {
            let request = Request::post("/")
                .header("content-type", content_type)
                .body(Full::<Bytes>::from(TWO_MESSAGES))
                .unwrap();
            let (request, count) = CountingBody::wrap(request);
            assert_eq!((count.bytes(), count.messages()), (0, 0));
            request.into_body().frame().await;
            assert_eq!((count.bytes(), count.messages()), (11, messages));
            assert_eq!(count.clone().bytes(), 11);
        }
    }

    #[test]
    fn an_empty_body_shares_no_count() {
        let (body, count) = CountingBody::new(Empty::<Bytes>::new());
        assert!(body.is_end_stream());
        assert!(matches!(count.0, Count::Announced(0)));
        assert_eq!(count.bytes(), 0);
    }

    #[test]
    fn it_may_cross_threads() {
        fn check<T: Send + Sync + std::fmt::Debug>() {}
        check::<CountingBody<Full<Bytes>>>();
    }
}
