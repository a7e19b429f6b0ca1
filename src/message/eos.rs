//! Reports the end of a response body exactly once ("end of stream").

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};

use super::contained::contained;
use super::grpc::{GRPC_STATUS, is_grpc_content_type};
use super::grpc_messages::GrpcMessages;
use super::{GrpcStatus, ResponseFlags};

/// Receives the end of a body.
///
/// This is a trait and not a closure so that bodies, and the futures that make them, have types
/// with names.
pub trait OnEnd {
    /// Runs one poll of the body. An implementation can enter the request's context around it.
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// Runs the drop of the body, as [`within`](Self::within) runs a poll.
    fn dropping(&mut self, drop: impl FnOnce()) {
        drop();
    }

    /// Called after each data frame of a gRPC body with the number of messages that have begun so
    /// far. Streams may live long, so an implementation can report before the end.
    fn on_messages(&mut self, messages: u64) {
        let _ = messages;
    }

    /// Called with the trailers of the body, if it has any, right before its end.
    fn on_trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// Called exactly once, often from a `Drop`, so it must neither panic nor block.
    fn on_end(&mut self, end: End);
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// Whether the body was complete.
    pub kind: EndKind,
    /// The number of data bytes seen, without trailers.
    pub bytes: u64,
    /// The number of messages that have begun; 0 unless the body is gRPC.
    pub messages: u64,
    /// The gRPC status from the trailers or, without them, from the response head. A gRPC call that
    /// failed without a response has the one that Envoy would have answered with.
    pub grpc_status: Option<GrpcStatus>,
}

impl End {
    /// The end of an exchange that was dropped before its response.
    #[must_use]
    pub const fn cancelled() -> Self {
        Self::without_body(EndKind::Cancelled)
    }

    /// The end of an exchange whose service returned an error.
    #[must_use]
    pub const fn failed() -> Self {
        Self::without_body(EndKind::Failed)
    }

    /// The response flags of an exchange with this end; `known` flags were set before. A cancelled
    /// exchange adds `DC`. A failed exchange gets `UC` unless another flag already gives the
    /// reason.
    #[must_use]
    pub const fn flags(&self, known: ResponseFlags) -> ResponseFlags {
        match self.kind {
            EndKind::Cancelled => known.union(ResponseFlags::DOWNSTREAM_DISCONNECT),
            EndKind::Failed if known.is_empty() => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            EndKind::Complete | EndKind::Failed => known,
        }
    }

    const fn without_body(kind: EndKind) -> Self {
        Self {
            kind,
            bytes: 0,
            messages: 0,
            grpc_status: None,
        }
    }
}

/// How a body can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndKind {
    /// The body was complete.
    Complete,
    /// The body yielded an error, or ended with fewer bytes than were announced.
    Failed,
    /// The body was dropped before its end.
    Cancelled,
}

/// A body that reports its end exactly once, however it ends.
///
/// It reports at the first of these events: the body is empty from the start; trailers arrive; a
/// frame arrives after which the body reports its end; an error; the final `None`; the drop.
///
/// A drop counts as complete, and not as cancelled, in two cases: the response cannot have a body
/// (an answer to HEAD, a 204 or a 304), or all bytes of its `content-length` have been seen. In the
/// second case hyper's HTTP/1 never polls for the final `None`. A body that ends with fewer bytes than
/// its `content-length` counts as failed.
///
/// `is_end_stream` stays `false` until the report, so that a server polls the body to its end.
/// `size_hint` is that of the inner body. An inner body that ends is dropped within its last poll,
/// before the report.
///
/// ```
/// use std::cell::Cell;
///
/// use http::{Method, Response};
/// use http_body_util::Full;
/// use tower_mesh::message::{End, EndKind, EosBody, OnEnd};
///
/// struct Tell<'a>(&'a Cell<Option<EndKind>>);
///
/// impl OnEnd for Tell<'_> {
///     fn on_end(&mut self, end: End) {
///         self.0.set(Some(end.kind));
///     }
/// }
///
/// let told = Cell::new(None);
/// let response = Response::new(Full::<bytes::Bytes>::from("never read"));
/// drop(EosBody::wrap(response, &Method::GET, Tell(&told)));
/// assert_eq!(told.get(), Some(EndKind::Cancelled));
/// ```
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct EosBody<B, F: OnEnd> {
    /// `None` once it has ended or has been dropped.
    #[pin]
    inner: Option<B>,
    tally: Tally<F>,
}

/// The counters, separate from the body so that both can be borrowed at once.
#[derive(Debug)]
struct Tally<F> {
    on_end: F,
    is_told: bool,
    bytes: u64,
    /// The number of bytes that make the body complete even without a final poll; `Some(0)` if the
    /// response cannot have a body.
    whole: Option<u64>,
    /// `Some` only for a gRPC body.
    messages: Option<GrpcMessages>,
    grpc_status: Option<GrpcStatus>,
    /// Set during a poll of the body. A drop can thus distinguish a body that panicked from a body
    /// that was cancelled.
    is_polling: bool,
}

impl<B: Body, F: OnEnd> EosBody<B, F> {
    /// Watches the body of a response to a request with this method.
    pub fn wrap(response: Response<B>, method: &Method, on_end: F) -> Response<Self> {
        let (head, body) = response.into_parts();
        let body = Self::new(body, head.status, &head.headers, method, on_end);
        Response::from_parts(head, body)
    }

    /// Watches a body that is sent with this response head.
    pub fn new(
        inner: B,
        status: StatusCode,
        headers: &HeaderMap,
        method: &Method,
        on_end: F,
    ) -> Self {
        let may_have_body = method != Method::HEAD
            && status != StatusCode::NO_CONTENT
            && status != StatusCode::NOT_MODIFIED;
        let announced = Announced::in_head(headers);
        let whole = if may_have_body {
            announced.length.or_else(|| inner.size_hint().exact())
        } else {
            Some(0)
        };
        let mut tally = Tally {
            on_end,
            is_told: false,
            bytes: 0,
            whole,
            messages: announced.is_grpc.then(GrpcMessages::default),
            grpc_status: announced.grpc_status,
            is_polling: false,
        };
        if inner.is_end_stream() {
            tally.ended();
        }
        let inner = Some(inner);
        Self { inner, tally }
    }
}

impl<F: OnEnd> Tally<F> {
    fn tell(&mut self, kind: EndKind) {
        if !mem::replace(&mut self.is_told, true) {
            self.on_end.on_end(End {
                kind,
                bytes: self.bytes,
                messages: self.messages.map_or(0, |messages| messages.count()),
                grpc_status: self.grpc_status,
            });
        }
    }

    fn see<D: Buf>(&mut self, frame: &Frame<D>, is_last: bool) {
        if let Some(data) = frame.data_ref() {
            self.see_data(data);
        }
        let trailers = frame.trailers_ref();
        if let Some(status) = trailers.and_then(GrpcStatus::from_headers) {
            self.grpc_status = Some(status);
        }
        if let Some(trailers) = trailers.filter(|_| !self.is_told) {
            self.on_end.on_trailers(trailers);
        }
        if is_last || trailers.is_some() {
            self.ended();
        }
    }

    /// The body has ended by itself. With fewer bytes than were announced it was cut short: no server
    /// can send it as a whole response.
    fn ended(&mut self) {
        let is_short = self.whole.is_some_and(|whole| self.bytes < whole);
        self.tell(match is_short {
            true => EndKind::Failed,
            false => EndKind::Complete,
        });
    }

    fn see_data(&mut self, data: &impl Buf) {
        self.bytes = self.bytes.saturating_add(data.remaining() as u64);
        if let (Some(messages), false) = (&mut self.messages, self.is_told) {
            messages.see(data);
            self.on_end.on_messages(messages.count());
        }
    }

    fn dropped(&mut self) {
        let is_whole = self.whole.is_some_and(|whole| self.bytes >= whole);
        self.tell(if self.is_polling {
            EndKind::Failed
        } else if is_whole {
            EndKind::Complete
        } else {
            EndKind::Cancelled
        });
    }
}

impl<B: Body, F: OnEnd> Body for EosBody<B, F> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if self.is_end_stream() {
            // The end has been reported, and the inner body has ended too.
            return Poll::Ready(None);
        }
        let this = self.project();
        let (tally, mut inner) = (this.tally, this.inner);
        tally.is_polling = true;
        let polled = tally.on_end.within(|| poll_inner(&mut inner, cx));
        tally.is_polling = false;
        let polled = ready!(polled);
        match &polled {
            Some(Ok(frame)) => tally.see(frame, inner.is_none()),
            Some(Err(_)) => tally.tell(EndKind::Failed),
            None => tally.ended(),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.tally.is_told && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        inner.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Polls the body. A body that has ended is dropped at once, in the same scope of its request.
fn poll_inner<B: Body>(inner: &mut Pin<&mut Option<B>>, cx: &mut Context<'_>) -> Polled<B> {
    let Some(mut body) = inner.as_mut().as_pin_mut() else {
        return Poll::Ready(None);
    };
    let polled = ready!(body.as_mut().poll_frame(cx));
    let has_ended = match &polled {
        Some(Ok(_)) => body.is_end_stream(),
        Some(Err(_)) => false,
        None => true,
    };
    if has_ended {
        // Its last frame counts, whatever the drop does.
        contained(|| inner.set(None));
    }
    Poll::Ready(polled)
}

#[pinned_drop]
impl<B, F: OnEnd> PinnedDrop for EosBody<B, F> {
    /// Of a body that has not ended, reports the end first, then drops it in the context of its
    /// request.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.tally.dropped();
        if this.inner.is_some() {
            this.tally.on_end.dropping(|| this.inner.set(None));
        }
    }
}

/// What a response head says about its body. Heads have few headers, so one pass over them is
/// cheaper than several lookups.
#[derive(Default)]
struct Announced {
    length: Option<u64>,
    is_grpc: bool,
    grpc_status: Option<GrpcStatus>,
}

impl Announced {
    /// Of several headers with one name the first counts, as in a lookup.
    fn in_head(headers: &HeaderMap) -> Self {
        let (mut length, mut content_type, mut grpc_status) = (None, None, None);
        for (name, value) in headers {
            if name == header::CONTENT_LENGTH {
                length.get_or_insert(value);
            } else if name == header::CONTENT_TYPE {
                content_type.get_or_insert(value);
            } else if name == GRPC_STATUS {
                grpc_status.get_or_insert(value);
            }
        }
        Self {
            length: length.and_then(|value| value.to_str().ok()?.parse().ok()),
            is_grpc: content_type.is_some_and(is_grpc_content_type),
            grpc_status: grpc_status.and_then(GrpcStatus::from_value),
        }
    }
}

#[cfg(test)]
mod tests;
