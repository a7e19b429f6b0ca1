use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;
use tower_service::Service;

use super::served_body::ServedBody;
use super::stall::{Turn, turn};
use super::streams::Streams;
use crate::message::is_grpc;

/// The service of one connection as hyper calls it: counts what is under way on it, and says `connection: close` in HTTP/1 responses once the
/// connection should end.
///
/// HTTP/1 has no other word for it. A server that closes an idle connection instead may close it upon a request that is on its way, which
/// then fails.
#[derive(Clone, Debug)]
pub(super) struct Farewell<S> {
    inner: S,
    streams: Arc<Streams>,
    body_idle: Duration,
}

impl<S> Farewell<S> {
    pub(super) fn new(inner: S, streams: Arc<Streams>, body_idle: Duration) -> Self {
        Self {
            inner,
            streams,
            body_idle,
        }
    }
}

impl<S, ResBody> Service<Request<Incoming>> for Farewell<S>
where
    S: Service<Request<ServedBody>, Response = Response<ResBody>>,
{
    type Response = Response<FarewellBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> ResponseFuture<S::Future> {
        let under_way = UnderWay::new(&self.streams);
        let is_http1 = request.version() < Version::HTTP_2;
        let idle = (!is_grpc(request.headers())).then_some(self.body_idle);
        let request = request.map(|body| ServedBody::new(body, idle));
        ResponseFuture {
            is_http1,
            inner: self.inner.call(request),
            under_way: Some(under_way),
        }
    }
}

/// A request that has begun, until this is dropped.
#[derive(Debug)]
struct UnderWay(Arc<Streams>);

impl UnderWay {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.begin();
        Self(Arc::clone(streams))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The future of [`Farewell`].
#[pin_project]
pub(super) struct ResponseFuture<F> {
    #[pin]
    inner: F,
    is_http1: bool,
    under_way: Option<UnderWay>,
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<FarewellBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let under_way = this.under_way.take();
        let is_ending = under_way.as_ref().is_some_and(|open| open.0.is_ending());
        if *this.is_http1 && is_ending {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|inner| FarewellBody {
            inner,
            under_way,
            rest: Bytes::new(),
            most: (!*this.is_http1).then_some(PIECE),
        })))
    }
}

/// The body of a response: under way until it is dropped.
///
/// On HTTP/2 a long piece is handed over in short ones, so that a client that takes it slowly is told from one that takes nothing.
#[pin_project]
pub(super) struct FarewellBody<B> {
    // Dropped first: who is told of the inner body's end must find the request gone.
    under_way: Option<UnderWay>,
    #[pin]
    inner: B,
    rest: Bytes,
    most: Option<usize>,
}

impl<B: Body<Data = Bytes>> Body for FarewellBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let polled = this.inner.poll_frame(cx);
            let Poll::Ready(Some(Ok(frame))) = polled else {
                turn(Turn::Ours);
                return polled;
            };
            match frame.into_data() {
                Ok(data) => *this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        turn(Turn::Clients);
        let length = this.rest.len();
        let piece = this.rest.split_to(this.most.unwrap_or(length).min(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// HTTP/2's own window at the start.
const PIECE: usize = 64 * 1024;
