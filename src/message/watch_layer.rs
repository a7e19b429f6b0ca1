//! Records each exchange of a service for a watch, as a tower layer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use pin_project::{pin_project, pinned_drop};
use tower_layer::Layer;
use tower_service::Service;

use super::record::Record;
use super::watch::Watch;
use super::{End, EosBody, OnEnd};

/// Begins a [`Watch`] for each request; a [`WatchLayer`] applies it.
pub trait Begin {
    /// Observes one request.
    type Watch: Watch;
    /// The body that the inner service gets.
    type Body<B: Body>: Body;

    /// Called when a request arrives or is sent. It may change the head and wrap the body, for
    /// example to count it.
    fn begin<B: Body>(&self, request: Request<B>) -> (Request<Self::Body<B>>, Record<Self::Watch>);
}

/// Watches each request of a service, from its head to the end of the response body.
#[derive(Clone, Debug, Default)]
pub struct WatchLayer<W> {
    watch: W,
}

impl<W> WatchLayer<W> {
    /// A layer that begins a watch for each request with `watch`.
    #[must_use]
    pub const fn new(watch: W) -> Self {
        Self { watch }
    }
}

impl<S, W: Clone> Layer<S> for WatchLayer<W> {
    type Service = Watched<S, W>;

    fn layer(&self, inner: S) -> Watched<S, W> {
        Watched {
            inner,
            watch: self.watch.clone(),
        }
    }
}

/// The service that [`WatchLayer`] makes.
#[derive(Clone, Debug)]
pub struct Watched<S, W> {
    inner: S,
    watch: W,
}

impl<S, W, ReqBody, ResBody> Service<Request<ReqBody>> for Watched<S, W>
where
    S: Service<Request<W::Body<ReqBody>>, Response = Response<ResBody>>,
    W: Begin,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<WatchedBody<ResBody, W::Watch>>;
    type Error = S::Error;
    type Future = WatchedFuture<S::Future, W::Watch>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (request, mut record) = self.watch.begin(request);
        let inner = record.within(|| self.inner.call(request));
        WatchedFuture {
            inner: Some(inner),
            record,
        }
    }
}

/// The body of a watched response. The exchange ends when the body ends.
pub type WatchedBody<B, W> = EosBody<B, Record<W>>;

/// The future of [`Watched`]. It passes its record on to the response body.
///
/// # Panics
///
/// When it is polled after it has ended.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WatchedFuture<F, W: Watch> {
    /// `None` once it has ended.
    #[pin]
    inner: Option<F>,
    record: Record<W>,
}

impl<F, W, B, E> Future for WatchedFuture<F, W>
where
    F: Future<Output = Result<Response<B>, E>>,
    W: Watch,
    B: Body,
{
    type Output = Result<Response<WatchedBody<B, W>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = &mut this.inner;
        let polled = this.record.within(|| {
            let polled = match inner.as_mut().as_pin_mut() {
                Some(inner) => inner.poll(cx),
                None => polled_too_late("WatchedFuture"),
            };
            if polled.is_ready() {
                inner.set(None);
            }
            polled
        });
        let Poll::Ready(answer) = polled else {
            this.record.waits();
            return Poll::Pending;
        };
        let mut record = std::mem::take(this.record);
        Poll::Ready(match answer {
            Ok(response) => Ok(record.answer(response)),
            Err(error) => {
                record.end(End::failed());
                Err(error)
            }
        })
    }
}

#[pinned_drop]
impl<F, W: Watch> PinnedDrop for WatchedFuture<F, W> {
    /// Drops the inner future in the context of its request.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.record.dropping(|| this.inner.set(None));
    }
}

/// Panics because a finished future was polled again. Returning `Pending` without a waker would
/// hang the caller forever.
#[expect(
    clippy::panic,
    reason = "a mistake of the caller's, as for every future"
)]
pub(crate) fn polled_too_late(future: &str) -> ! {
    panic!("`{future}` was polled after it had ended")
}
