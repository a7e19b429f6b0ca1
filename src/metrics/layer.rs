use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Method, Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::measure::Measure;
use super::server::ServerMetrics;
use crate::message::{CountingBody, End, EosBody, OnEnd};

/// Counts the calls that come in to a service, or those that go out through a client, by the
/// metrics that it is given: [`ServerMetrics`] or [`ClientMetrics`](super::ClientMetrics).
///
/// A call is counted once, when its response body has ended. One whose future or body is dropped
/// before that counts with the flag `DC` and, if there was no response head, the code `0`.
///
/// **On a server**, the caller is the [`Peer`](crate::context::Peer) in the request's extensions.
/// Put the layer outside of the layers that may refuse, so that refusals are counted.
///
/// **On a client**, the server is the [`Peer`](crate::context::Peer) in the response's extensions,
/// where hyper's clients put what their connector knows. A call that fails without a response
/// counts as Envoy would have answered it, with 503 and the flag `UC`. The layer takes errors of
/// any type and cannot see what failed; the mesh's own client can, and sets the flag that fits.
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
/// use tower::{ServiceBuilder, service_fn};
/// use tower_mesh::Workload;
/// use tower_mesh::message::CountingBody;
/// use tower_mesh::metrics::{MetricsLayer, Registry};
///
/// let registry = Registry::new();
/// let workload = Workload::new("default", "patients").service("patients", 8443);
/// let app: Router = Router::new()
///     .route("/patients", get(|| async { "none" }))
///     .layer(MetricsLayer::new(registry.server(&workload)));
///
/// let client = ServiceBuilder::new()
///     .layer(MetricsLayer::new(registry.client(&workload)))
///     .service(service_fn(async |_: http::Request<CountingBody<String>>| {
///         Ok::<_, std::io::Error>(http::Response::new(String::new()))
///     }));
/// # drop((app, client));
/// ```
#[derive(Clone, Debug)]
pub struct MetricsLayer<M = ServerMetrics> {
    metrics: M,
}

impl<M: Measure> MetricsLayer<M> {
    /// Counts into these metrics.
    #[must_use]
    pub const fn new(metrics: M) -> Self {
        Self { metrics }
    }
}

impl<S, M: Measure> Layer<S> for MetricsLayer<M> {
    type Service = Metrics<S, M>;

    fn layer(&self, inner: S) -> Metrics<S, M> {
        Metrics {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// The service that [`MetricsLayer`] makes.
#[derive(Clone, Debug)]
pub struct Metrics<S, M = ServerMetrics> {
    inner: S,
    metrics: M,
}

impl<S, M, ReqBody, ResBody> Service<Request<ReqBody>> for Metrics<S, M>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    M: Measure,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody, M>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let now = Instant::now();
        let (mut head, body) = request.into_parts();
        let (body, count) = CountingBody::under(&head.headers, body);
        let record = self.metrics.begin(&mut head, count, now);
        ResponseFuture {
            method: head.method.clone(),
            inner: self.inner.call(Request::from_parts(head, body)),
            record: OpenRecord(Some((self.metrics.clone(), record))),
        }
    }
}

/// The future of [`Metrics`].
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F, M: Measure = ServerMetrics> {
    #[pin]
    inner: F,
    method: Method,
    record: OpenRecord<M>,
}

impl<F, M, ResBody, E> Future for ResponseFuture<F, M>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    M: Measure,
    ResBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody, M>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let mut record = OpenRecord(this.record.0.take());
        Poll::Ready(match answer {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                if let Some((metrics, record)) = &mut record.0 {
                    metrics.answered(record, &mut head);
                }
                let body = EosBody::new(body, head.status, &head.headers, this.method, record);
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                record.finish(End::failed());
                Err(error)
            }
        })
    }
}

/// The response body of [`Metrics`]: the body inside, whose end is counted.
pub type ResponseBody<B, M = ServerMetrics> = EosBody<B, OpenRecord<M>>;

/// The record of a call that has not ended. Dropped, it counts a cancelled call.
#[derive(Debug)]
pub struct OpenRecord<M: Measure>(Option<(M, M::Record)>);

impl<M: Measure> OpenRecord<M> {
    fn finish(&mut self, end: End) {
        if let Some((metrics, record)) = self.0.take() {
            metrics.finish(record, end, Instant::now());
        }
    }
}

impl<M: Measure> OnEnd for OpenRecord<M> {
    fn on_messages(&mut self, messages: u64) {
        if let Some((metrics, record)) = &mut self.0 {
            metrics.progress(record, messages, Instant::now());
        }
    }

    fn on_end(mut self, end: End) {
        self.finish(end);
    }
}

impl<M: Measure> Drop for OpenRecord<M> {
    fn drop(&mut self) {
        self.finish(End::cancelled());
    }
}

#[cfg(test)]
mod tests;
