use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ResponseBody;
use super::config::Propagation;
use super::future::ResponseFuture;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::side::{Record, Side};

impl Propagation {
    /// The layer of a server: it opens a server span for each request.
    #[must_use]
    pub fn server_layer(&self) -> PropagationLayer {
        PropagationLayer::new(self.clone())
    }

    /// The layer of a client: it opens a client span for each call.
    #[must_use]
    pub fn client_layer(&self) -> ClientPropagationLayer {
        ClientPropagationLayer::new(self.clone())
    }
}

/// Opens a span for each request on one [`Side`].
#[derive(Clone, Debug, Default)]
pub struct SpanLayer<D> {
    propagation: Propagation,
    side: PhantomData<D>,
}

/// Opens a server span for each request; see [`Propagation::server_layer`].
pub type PropagationLayer = SpanLayer<Inbound>;

/// Opens a client span for each call; see [`Propagation::client_layer`].
pub type ClientPropagationLayer = SpanLayer<Outbound>;

impl<D> SpanLayer<D> {
    /// A layer that opens spans as this configuration says.
    #[must_use]
    pub const fn new(propagation: Propagation) -> Self {
        Self {
            propagation,
            side: PhantomData,
        }
    }
}

/// The service of a [`SpanLayer`].
#[derive(Clone, Debug)]
pub struct Spanned<S, D> {
    inner: S,
    propagation: Propagation,
    side: PhantomData<D>,
}

/// The service of [`PropagationLayer`].
pub type ServerPropagation<S> = Spanned<S, Inbound>;

/// The service of [`ClientPropagationLayer`].
pub type ClientPropagation<S> = Spanned<S, Outbound>;

impl<S, D> Layer<S> for SpanLayer<D> {
    type Service = Spanned<S, D>;

    fn layer(&self, inner: S) -> Spanned<S, D> {
        Spanned {
            inner,
            propagation: self.propagation.clone(),
            side: PhantomData,
        }
    }
}

impl<S, D, ReqBody, ResBody> Service<Request<ReqBody>> for Spanned<S, D>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    D: Side,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody, D::Span>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, D::Span>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let span = D::begin(&self.propagation, &mut head);
        let announced = body.size_hint().exact().unwrap_or_default();
        let mut record = Record::begin(span, announced);
        let method = head.method.clone();
        let inner = {
            let _entered = record.task().enter();
            self.inner.call(Request::from_parts(head, body))
        };
        ResponseFuture::new(inner, record, method)
    }
}
