use std::task::{Context, Poll};
use std::time::SystemTime;

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ResponseBody;
use super::config::Propagation;
use super::future::{ResponseFuture, Side};
use crate::context::{self, Exchange};

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

/// Opens a server span for each request; see [`Propagation::server_layer`].
#[derive(Clone, Debug, Default)]
pub struct PropagationLayer(Propagation);

impl PropagationLayer {
    /// A layer that opens spans as this says.
    #[must_use]
    pub const fn new(propagation: Propagation) -> Self {
        Self(propagation)
    }
}

/// The service of [`PropagationLayer`].
#[derive(Clone, Debug)]
pub struct ServerPropagation<S> {
    inner: S,
    propagation: Propagation,
}

impl<S> Layer<S> for PropagationLayer {
    type Service = ServerPropagation<S>;

    fn layer(&self, inner: S) -> ServerPropagation<S> {
        ServerPropagation {
            inner,
            propagation: self.0.clone(),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ServerPropagation<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::of_request(&mut head);
        let mut span = self
            .propagation
            .begin(&mut head, &exchange, SystemTime::now);
        let (method, size) = (head.method.clone(), announced(&body));
        let inner = {
            let _entered = span.task().enter();
            self.inner.call(Request::from_parts(head, body))
        };
        ResponseFuture::new(inner, Side::Server(span), method, size)
    }
}

/// Opens a client span for each call; see [`Propagation::client_layer`].
#[derive(Clone, Debug, Default)]
pub struct ClientPropagationLayer(Propagation);

impl ClientPropagationLayer {
    /// A layer that opens spans as this says.
    #[must_use]
    pub const fn new(propagation: Propagation) -> Self {
        Self(propagation)
    }
}

/// The service of [`ClientPropagationLayer`].
#[derive(Clone, Debug)]
pub struct ClientPropagation<S> {
    inner: S,
    propagation: Propagation,
}

impl<S> Layer<S> for ClientPropagationLayer {
    type Service = ClientPropagation<S>;

    fn layer(&self, inner: S) -> ClientPropagation<S> {
        ClientPropagation {
            inner,
            propagation: self.0.clone(),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ClientPropagation<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = context::current();
        let mut span = self
            .propagation
            .begin_call(&mut head, exchange.as_ref(), SystemTime::now);
        let (method, size) = (head.method.clone(), announced(&body));
        let inner = {
            let _entered = span.task().enter();
            self.inner.call(Request::from_parts(head, body))
        };
        ResponseFuture::new(inner, Side::Client(span), method, size)
    }
}

/// How big a body says it is.
fn announced(body: &impl Body) -> u64 {
    body.size_hint().exact().unwrap_or_default()
}
