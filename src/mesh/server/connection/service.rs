//! The service of one connection: counts its requests, and announces the end of the connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use pin_project::pin_project;
use tower_service::Service;

use super::quiet_streams::QuietStreams;
use super::served_body::ServedBody;
use super::state::ConnectionState;
use super::stream_timeout::{Turn, turn};

/// The service of one connection as hyper calls it. It counts the requests under way, and adds
/// `connection: close` to HTTP/1 responses once the connection is ending, except to the response
/// that upgrades the connection.
///
/// HTTP/1 has no other way to announce the end. A server that closes an idle connection instead may
/// close it while a request is on its way, and that request fails.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct ConnectionService<S> {
    inner: S,
    state: Arc<ConnectionState>,
    quiet: QuietStreams,
    body_idle: Duration,
}

impl<S> ConnectionService<S> {
    pub(in crate::mesh) fn new(
        inner: S,
        state: Arc<ConnectionState>,
        quiet: QuietStreams,
        body_idle: Duration,
    ) -> Self {
        Self {
            inner,
            state,
            quiet,
            body_idle,
        }
    }
}

impl<S, ResBody> hyper::service::Service<Request<Incoming>> for ConnectionService<S>
where
    S: Service<Request<ServedBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ConnectionBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S>;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture<S> {
        let under_way = UnderWay::new(&self.state);
        let is_http1 = request.version() < Version::HTTP_2;
        let is_connect = request.method() == Method::CONNECT;
        if is_http1 && request.extensions().get::<OnUpgrade>().is_some() {
            self.state.ask_for_upgrade();
        }
        let (head, body) = request.into_parts();
        let body = self
            .quiet
            .bound(&head, body, &self.state.peer, self.body_idle);
        let request = Request::from_parts(head, body);
        ResponseFuture {
            is_http1,
            is_connect,
            step: Step::Ready(self.inner.clone(), Some(request)),
            under_way: Some(under_way),
        }
    }
}

/// Counts a request as under way until dropped.
#[derive(Debug)]
struct UnderWay(Arc<ConnectionState>);

impl UnderWay {
    fn new(state: &Arc<ConnectionState>) -> Self {
        state.begin();
        Self(Arc::clone(state))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The future of [`ConnectionService`].
#[pin_project]
pub(in crate::mesh) struct ResponseFuture<S: Service<Request<ServedBody>>> {
    #[pin]
    step: Step<S, S::Future>,
    is_http1: bool,
    is_connect: bool,
    under_way: Option<UnderWay>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "each request takes both steps in the same place; a box would cost it an allocation"
)]
#[pin_project(project = StepProjection)]
enum Step<S, F> {
    /// The service may have to get ready for the request.
    Ready(S, Option<Request<ServedBody>>),
    Called(#[pin] F),
}

impl<S, ResBody> Future for ResponseFuture<S>
where
    S: Service<Request<ServedBody>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ConnectionBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut response = loop {
            let called = match this.step.as_mut().project() {
                StepProjection::Called(called) => break ready!(called.poll(cx))?,
                StepProjection::Ready(service, request) => {
                    ready!(service.poll_ready(cx))?;
                    match request.take() {
                        Some(request) => service.call(request),
                        None => return Poll::Pending,
                    }
                }
            };
            this.step.set(Step::Called(called));
        };
        let under_way = this.under_way.take();
        if let Some(UnderWay(state)) = &under_way
            && *this.is_http1
        {
            // RFC 9110 §7.8 and §9.3.6.
            let status = response.status();
            let tunnels = *this.is_connect && status.is_success();
            if status == StatusCode::SWITCHING_PROTOCOLS || tunnels {
                state.upgrade();
            } else if state.is_ending() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
        }
        Poll::Ready(Ok(response.map(|inner| ConnectionBody {
            inner,
            under_way,
            rest: Bytes::new(),
            most: (!*this.is_http1).then_some(PIECE),
        })))
    }
}

/// The body of a response. Its request counts as under way until the body is dropped.
///
/// On HTTP/2 it splits long frames, so that the stream timeout can tell a client that reads slowly
/// from one that reads nothing. When the last frame is long, it holds back one byte until the
/// client has taken the rest: hyper does not ask a body that has ended, and so the timeout would
/// not run.
#[pin_project]
pub(in crate::mesh) struct ConnectionBody<B> {
    // Dropped before a body that has not ended: what its drop triggers must find the request gone.
    under_way: Option<UnderWay>,
    #[pin]
    inner: B,
    rest: Bytes,
    most: Option<usize>,
}

impl<B: Body<Data = Bytes>> Body for ConnectionBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if this.rest.is_empty() {
            let polled = this.inner.as_mut().poll_frame(cx);
            let Poll::Ready(Some(Ok(frame))) = polled else {
                turn(Turn::Ours);
                return polled;
            };
            // The stream timeout is for HTTP/2 alone.
            if this.most.is_none() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match frame.into_data() {
                Ok(data) => *this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        turn(Turn::Clients);
        let length = this.rest.len();
        let mut now = this.most.unwrap_or(length).min(length);
        if now == length && length > LONG && this.inner.is_end_stream() {
            now -= 1;
        }
        let piece = this.rest.split_to(now);
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

/// The longest frame: the initial window of HTTP/2.
const PIECE: usize = 64 * 1024;
/// A last frame up to this size may be left to hyper, however long the client takes.
const LONG: usize = 16 * 1024;
