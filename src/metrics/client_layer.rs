use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Method, Request, Response, StatusCode, response};
use http_body::Body;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::client::{ClientMetrics, ClientRecord};
use crate::context::Peer;
use crate::message::{CountingBody, End, EosBody, OnEnd, ResponseFlags};

/// Counts the calls that go out through a client: see [`ClientMetrics`].
///
/// A call is counted once, when its response body has ended or was dropped. A call that fails without a response counts as Envoy would
/// have answered it, with 503 and the flag `UC`: what failed cannot be told from an error of any type, so the composed mesh says it
/// better.
///
/// Who answers is the [`Peer`] in the response's extensions, where hyper's clients put what their connector knows.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_mesh::Workload;
/// use tower_mesh::message::CountingBody;
/// use tower_mesh::metrics::{ClientMetricsLayer, Registry};
///
/// let registry = Registry::new();
/// let metrics = registry.client(&Workload::new("default", "patients"));
/// let client = ServiceBuilder::new()
///     .layer(ClientMetricsLayer::new(metrics))
///     .service(service_fn(async |_: http::Request<CountingBody<String>>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// # drop(client);
/// ```
#[derive(Clone, Debug)]
pub struct ClientMetricsLayer {
    metrics: ClientMetrics,
}

impl ClientMetricsLayer {
    /// Counts into these metrics.
    #[must_use]
    pub const fn new(metrics: ClientMetrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for ClientMetricsLayer {
    type Service = ClientMetricsService<S>;

    fn layer(&self, inner: S) -> ClientMetricsService<S> {
        ClientMetricsService {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// The service that [`ClientMetricsLayer`] makes.
#[derive(Clone, Debug)]
pub struct ClientMetricsService<S> {
    inner: S,
    metrics: ClientMetrics,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ClientMetricsService<S>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<EosBody<ResBody, ClientEnd>>;
    type Error = S::Error;
    type Future = ClientResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let now = Instant::now();
        let (mut head, body) = request.into_parts();
        let (body, sent) = CountingBody::under(&head.headers, body);
        let record = self.metrics.begin(&mut head, sent, now);
        ClientResponseFuture {
            method: head.method.clone(),
            inner: self.inner.call(Request::from_parts(head, body)),
            end: ClientEnd(Some((self.metrics.clone(), record))),
        }
    }
}

/// The future of [`ClientMetricsService`].
#[pin_project]
#[derive(Debug)]
pub struct ClientResponseFuture<F> {
    #[pin]
    inner: F,
    method: Method,
    end: ClientEnd,
}

impl<F, ResBody, E> Future for ClientResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Body,
{
    type Output = Result<Response<EosBody<ResBody, ClientEnd>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let mut end = std::mem::take(this.end);
        Poll::Ready(match answer {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                end.answer(&mut head);
                let body = EosBody::new(body, head.status, &head.headers, this.method, end);
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                end.fail();
                Err(error)
            }
        })
    }
}

/// What the response body of [`ClientMetricsService`] tells its end to. Dropped untold, it counts a cancelled exchange.
#[derive(Debug, Default)]
pub struct ClientEnd(Option<(ClientMetrics, ClientRecord)>);

impl ClientEnd {
    fn answer(&mut self, response: &mut response::Parts) {
        if let Some((metrics, record)) = &mut self.0 {
            let peer = response.extensions.get::<Peer>().cloned();
            metrics.answer(record, response, peer.as_ref());
        }
    }

    fn fail(mut self) {
        if let Some((_, record)) = &mut self.0 {
            let flags = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
            record.fail(StatusCode::SERVICE_UNAVAILABLE, flags);
        }
        self.tell(End::failed());
    }

    fn tell(&mut self, end: End) {
        if let Some((metrics, record)) = self.0.take() {
            metrics.finish(record, end, Instant::now());
        }
    }
}

impl OnEnd for ClientEnd {
    fn on_messages(&mut self, messages: u64) {
        if let Some((metrics, record)) = &mut self.0 {
            metrics.progress(record, messages, Instant::now());
        }
    }

    fn on_end(mut self, end: End) {
        self.tell(end);
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.tell(End::cancelled());
    }
}
