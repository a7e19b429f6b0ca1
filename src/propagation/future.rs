use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, Response};
use http_body::Body;
use pin_project::{pin_project, pinned_drop};

use super::body::ResponseBody;
use super::side::{Record, Span};
use crate::message::End;

/// The future of the layers: it polls the service inside as the current request, and hands the span
/// to the body of the response.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct ResponseFuture<F, T: Span> {
    /// `None` once it has answered.
    #[pin]
    inner: Option<F>,
    record: Record<T>,
    method: Method,
}

impl<F, T: Span> ResponseFuture<F, T> {
    pub(super) fn new(inner: F, record: Record<T>, method: Method) -> Self {
        Self {
            inner: Some(inner),
            record,
            method,
        }
    }
}

impl<F, B, E, T> Future for ResponseFuture<F, T>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    T: Span,
{
    type Output = Result<Response<ResponseBody<B, T>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = {
            let _entered = this.record.task().enter();
            let Some(inner) = this.inner.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            let polled = ready!(inner.poll(cx));
            this.inner.set(None);
            polled
        };
        let record = std::mem::take(this.record);
        Poll::Ready(match polled {
            Ok(response) => Ok(ResponseBody::wrap(response, this.method, record)),
            Err(error) => {
                record.end(&End::failed());
                Err(error)
            }
        })
    }
}

#[pinned_drop]
impl<F, T: Span> PinnedDrop for ResponseFuture<F, T> {
    /// Drops what a handler leaves behind as the request it belongs to, then the span, which ends.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = this.record.task().enter_drop();
        this.inner.set(None);
    }
}
