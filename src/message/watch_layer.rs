use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project::{pin_project, pinned_drop};
use tower_layer::Layer;
use tower_service::Service;

use super::record::Record;
use super::watch::Watch;
use super::{End, EosBody, OnEnd};

/// What begins a [`Watch`] for each request; a [`WatchLayer`] applies it.
pub trait Begin {
    /// What watches one request.
    type Watch: Watch;
    /// The body of the request, as the service inside gets it.
    type Body<B: Body>: Body;

    /// A request comes in or goes out. Its head may still be changed, and its body counted.
    fn begin<B: Body>(&self, request: Request<B>) -> (Request<Self::Body<B>>, Record<Self::Watch>);
}

/// Watches each request of a service, from its head to the end of the body of its response.
#[derive(Clone, Debug, Default)]
pub struct WatchLayer<W> {
    watch: W,
}

impl<W> WatchLayer<W> {
    /// A layer whose requests are watched by what this begins.
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

/// The body of a watched response; its end is the end of the exchange.
pub type WatchedBody<B, W> = EosBody<B, Record<W>>;

/// The future of [`Watched`]. The body of the response takes its record over.
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
        let answer = ready!(this.record.within(|| {
            let polled = match inner.as_mut().as_pin_mut() {
                Some(inner) => inner.poll(cx),
                None => polled_too_late("WatchedFuture"),
            };
            if polled.is_ready() {
                inner.set(None);
            }
            polled
        }));
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
    /// What a service leaves behind is dropped as the request that it belongs to.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.record.dropping(|| this.inner.set(None));
    }
}

/// A future that has given its output was polled again: `Pending` without a waker would hang its
/// caller for ever.
#[expect(
    clippy::panic,
    reason = "a mistake of the caller's, as for every future"
)]
pub(crate) fn polled_too_late(future: &str) -> ! {
    panic!("`{future}` was polled after it had ended")
}
