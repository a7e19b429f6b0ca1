//! Counts what is read from a request's body.

use std::fmt;
#[cfg(all(feature = "server", feature = "client"))]
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Buf;
#[cfg(all(feature = "server", feature = "client"))]
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use self::read_ahead::ReadAhead;
use super::grpc_messages::GrpcMessages;
use super::{ResponseFlags, is_grpc};

#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only the mesh reads ahead")
)]
mod read_ahead;

/// A request body that counts the bytes and the gRPC messages that are read from it.
///
/// What the service never reads is not counted.
#[pin_project]
pub struct CountingBody<B: Body> {
    #[pin]
    inner: Inner<B>,
    tally: Tally,
    /// What was read before the service got the body.
    ahead: Option<Box<ReadAhead<B::Data>>>,
    /// What an error of the body means for the exchange.
    judge: fn(&B::Error) -> ResponseFlags,
}

/// The body itself.
#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(dead_code, reason = "only the mesh reads ahead")
)]
#[pin_project(project = InnerProj)]
enum Inner<B> {
    Held(#[pin] B),
    /// Where a guard reads the beginning, before the service gets the body: then it must not move.
    Moved(Pin<Box<B>>),
    Gone,
}

/// What is done with each frame as it comes.
#[derive(Debug)]
struct Tally {
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
    /// The flags of the error that has ended the body.
    flags: AtomicU32,
    /// Whether anybody asks when the body has ended.
    is_timed: AtomicBool,
    ended: OnceLock<Instant>,
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
        body.tally.messages = is_grpc(headers).then(GrpcMessages::default);
        (body, count)
    }

    /// As [`wrap`](Self::wrap), for a body that is not gRPC.
    pub fn new(inner: B) -> (Self, ByteCount) {
        let count = match inner.is_end_stream() {
            true => ByteCount::default(),
            false => ByteCount(Count::Shared(Arc::default())),
        };
        let body = Self {
            inner: Inner::Held(inner),
            tally: Tally {
                count: count.clone(),
                messages: None,
                sieve: None,
            },
            ahead: None,
            judge: |_| ResponseFlags::none(),
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
            self.tally.sieve = Some(Sieve { remove, names });
        }
    }

    /// Lets `judge` say which response flags an error of the body means.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn judge_errors(&mut self, judge: fn(&B::Error) -> ResponseFlags) {
        self.judge = judge;
    }

    /// Reads the beginning of the body for a guard, until the body ends or more than `max_bytes`
    /// have come. The service still gets the whole body.
    ///
    /// `None` if the body breaks off, or is made of pieces that cannot be read twice.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn poll_read_ahead(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
    ) -> Poll<Option<(Bytes, bool)>>
    where
        B: 'static,
    {
        loop {
            let read = self.ahead.get_or_insert_default();
            let bytes = read.left();
            let is_whole = read.has_ended() || self.inner.is_end_stream();
            if bytes > max_bytes || is_whole {
                let beginning = read.beginning(max_bytes);
                let is_whole = is_whole && bytes <= max_bytes;
                return Poll::Ready(beginning.map(|beginning| (beginning, is_whole)));
            }
            let polled = ready!(self.inner.poll_in_place(cx));
            let is_kept = match self.tally.see(polled) {
                Some(Ok(frame)) => {
                    if self.inner.is_end_stream() {
                        self.tally.count.ended();
                    }
                    read.push(Some(frame))
                }
                Some(Err(error)) => {
                    self.tally.count.failed((self.judge)(&error));
                    false
                }
                None => {
                    self.tally.count.ended();
                    read.push(None)
                }
            };
            if !is_kept {
                return Poll::Ready(None);
            }
        }
    }

    /// Whether this is the body of a gRPC request.
    pub const fn is_grpc(&self) -> bool {
        self.tally.messages.is_some()
    }
}

impl Tally {
    /// Counts a frame, and takes from trailers what the service must not see.
    fn see<D: Buf, E>(&mut self, polled: Polled<D, E>) -> Polled<D, E> {
        if let Some(Ok(frame)) = &polled
            && let (Some(data), Count::Shared(counts)) = (frame.data_ref(), &self.count.0)
        {
            let bytes = data.remaining() as u64;
            counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            if let Some(messages) = &mut self.messages {
                messages.see(data);
                counts.messages.store(messages.count(), Ordering::Relaxed);
            }
        }
        match (polled, &self.sieve) {
            (Some(Ok(frame)), Some(sieve)) => sieve.sift(frame).map(Ok),
            (polled, _) => polled,
        }
    }
}

/// What a body gives when it is polled.
type Polled<D, E> = Option<Result<Frame<D>, E>>;

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

    /// The flags of the error that has ended the body.
    pub(crate) fn flags(&self) -> ResponseFlags {
        match &self.0 {
            Count::Shared(counts) => ResponseFlags::from_bits(counts.flags.load(Ordering::Relaxed)),
            Count::Announced(_) => ResponseFlags::none(),
        }
    }

    /// Notes from now on when the body has ended.
    #[cfg_attr(
        not(feature = "access-log"),
        allow(dead_code, reason = "only lines of an access log tell it")
    )]
    pub(crate) fn time_end(&self) {
        if let Count::Shared(counts) = &self.0 {
            counts.is_timed.store(true, Ordering::Relaxed);
        }
    }

    /// From this time to the end of the body; `None` if that was not read, or is not noted.
    #[cfg_attr(
        not(feature = "access-log"),
        allow(dead_code, reason = "only lines of an access log tell it")
    )]
    pub(crate) fn took(&self, began: Instant) -> Option<Duration> {
        match &self.0 {
            Count::Shared(counts) => Some(counts.ended.get()?.saturating_duration_since(began)),
            Count::Announced(_) => Some(Duration::ZERO),
        }
    }

    fn ended(&self) {
        if let Count::Shared(counts) = &self.0
            && counts.is_timed.load(Ordering::Relaxed)
        {
            counts.ended.get_or_init(Instant::now);
        }
    }

    fn failed(&self, flags: ResponseFlags) {
        if let Count::Shared(counts) = &self.0 {
            counts.flags.fetch_or(flags.bits(), Ordering::Relaxed);
        }
    }

    /// A fixed count: the exact size that a body announces, or 0 if it announces none.
    #[must_use]
    pub fn announced(body: &impl Body) -> Self {
        let length = body.size_hint().exact();
        Self(Count::Announced(length.unwrap_or_default()))
    }
}

impl<B: Body> Inner<B> {
    /// Polls the body where it stays from now on.
    #[cfg(all(feature = "server", feature = "client"))]
    fn poll_in_place(&mut self, cx: &mut Context<'_>) -> Poll<Polled<B::Data, B::Error>> {
        *self = match mem::replace(self, Self::Gone) {
            Self::Held(body) => Self::Moved(Box::pin(body)),
            other => other,
        };
        match self {
            Self::Moved(body) => body.as_mut().poll_frame(cx),
            Self::Held(_) | Self::Gone => Poll::Ready(None),
        }
    }

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<B::Data, B::Error>> {
        match self.project() {
            InnerProj::Held(body) => body.poll_frame(cx),
            InnerProj::Moved(body) => body.as_mut().poll_frame(cx),
            InnerProj::Gone => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(body) => body.is_end_stream(),
            Self::Moved(body) => body.is_end_stream(),
            Self::Gone => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(body) => body.size_hint(),
            Self::Moved(body) => body.size_hint(),
            Self::Gone => SizeHint::with_exact(0),
        }
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
        if let Some(read) = this.ahead {
            if let Some(frame) = read.pop() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if read.has_ended() {
                return Poll::Ready(None);
            }
        }
        let mut inner = this.inner;
        let polled = ready!(inner.as_mut().poll_frame(cx));
        match &polled {
            Some(Err(error)) => this.tally.count.failed((this.judge)(error)),
            Some(Ok(_)) if !inner.is_end_stream() => {}
            Some(Ok(_)) | None => this.tally.count.ended(),
        }
        Poll::Ready(this.tally.see(polled))
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(read) if !read.is_empty() => false,
            Some(read) if read.has_ended() => true,
            _ => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let Some(read) = &self.ahead else {
            return self.inner.size_hint();
        };
        let (bytes, inner) = (read.left() as u64, self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(bytes));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(bytes));
        }
        hint
    }
}

impl<B: Body> fmt::Debug for CountingBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CountingBody");
        shown
            .field("count", &self.tally.count)
            .finish_non_exhaustive()
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
        fn check<T: Send + Sync + fmt::Debug>() {}
        check::<CountingBody<Full<Bytes>>>();
    }
}
