use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Method, Request, Response, response};
use http_body::Body;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::server::{ServerMetrics, ServerRecord};
use crate::context::Exchange;
use crate::message::{CountingBody, End, EosBody, OnEnd};

/// Counts the calls that come in to a service: see [`ServerMetrics`].
///
/// A request is counted once, when its response body has ended; one whose future or body is dropped before, with the flag `DC` and, if
/// there was no response head, the code `0`.
///
/// Who calls is the [`Peer`](crate::context::Peer) in the request's extensions. Put the layer outside of whatever may refuse, so that
/// refusals are counted.
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
/// use tower_mesh::Workload;
/// use tower_mesh::metrics::{MetricsLayer, Registry};
///
/// let registry = Registry::new();
/// let metrics = registry.server(&Workload::new("default", "patients").service("patients", 8443));
/// let app: Router = Router::new()
///     .route("/patients", get(|| async { "none" }))
///     .layer(MetricsLayer::new(metrics));
/// ```
#[derive(Clone, Debug)]
pub struct MetricsLayer {
    metrics: ServerMetrics,
}

impl MetricsLayer {
    /// Counts into these metrics.
    #[must_use]
    pub const fn new(metrics: ServerMetrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// The service that [`MetricsLayer`] makes.
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    inner: S,
    metrics: ServerMetrics,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Metrics<S>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<EosBody<ResBody, ServerEnd>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let now = Instant::now();
        let (mut head, body) = request.into_parts();
        let (body, received) = CountingBody::under(&head.headers, body);
        let exchange = Exchange::from_request(&mut head);
        let record = self
            .metrics
            .begin(&mut head, exchange.peer(), received, now);
        ResponseFuture {
            method: head.method.clone(),
            inner: self.inner.call(Request::from_parts(head, body)),
            end: ServerEnd(Some((self.metrics.clone(), record))),
        }
    }
}

/// The future of [`Metrics`].
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    method: Method,
    end: ServerEnd,
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Body,
{
    type Output = Result<Response<EosBody<ResBody, ServerEnd>>, E>;

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
                end.on_end(End::failed());
                Err(error)
            }
        })
    }
}

/// What the response body of [`Metrics`] tells its end to. Dropped untold, it counts a cancelled exchange.
#[derive(Debug, Default)]
pub struct ServerEnd(Option<(ServerMetrics, ServerRecord)>);

impl ServerEnd {
    fn answer(&mut self, response: &mut response::Parts) {
        if let Some((metrics, record)) = &mut self.0 {
            metrics.answer(record, response);
        }
    }

    fn tell(&mut self, end: End) {
        if let Some((metrics, record)) = self.0.take() {
            metrics.finish(record, end, Instant::now());
        }
    }
}

impl OnEnd for ServerEnd {
    fn on_messages(&mut self, messages: u64) {
        if let Some((metrics, record)) = &mut self.0 {
            metrics.progress(record, messages, Instant::now());
        }
    }

    fn on_end(mut self, end: End) {
        self.tell(end);
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.tell(End::cancelled());
    }
}

#[cfg(test)]
mod tests;
