use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use pin_project::pin_project;
use tower_service::Service;

/// Says `connection: close` in HTTP/1 responses once a connection should end.
///
/// HTTP/1 has no other word for it. A server that closes an idle connection instead may close it upon a request that is on its way, which
/// then fails.
#[derive(Clone, Debug)]
pub(super) struct Farewell<S> {
    inner: S,
    ending: Arc<AtomicBool>,
}

impl<S> Farewell<S> {
    pub(super) fn new(inner: S, ending: Arc<AtomicBool>) -> Self {
        Self { inner, ending }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Farewell<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S::Future> {
        ResponseFuture {
            is_http1: request.version() < Version::HTTP_2,
            ending: Arc::clone(&self.ending),
            inner: self.inner.call(request),
        }
    }
}

/// The future of [`Farewell`].
#[pin_project]
pub(super) struct ResponseFuture<F> {
    #[pin]
    inner: F,
    is_http1: bool,
    ending: Arc<AtomicBool>,
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut result
            && *this.is_http1
            && this.ending.load(Ordering::Relaxed)
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(result)
    }
}
