use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::future::{ResponseBody, ResponseFuture, panic_reply};
use super::record::{Observer, Record};
use crate::context::{Exchange, Peer};
use crate::jwt::Authenticator;
use crate::live::Live;
use crate::mesh::cells::Config;
use crate::mesh::own_body;
use crate::mesh::quiet::QuietStreams;
use crate::message::{ByteCount, CountingBody, LocalReply};
use crate::metrics::ServerMetrics;
use crate::policy::Engine;
use crate::propagation::Propagation;
use crate::rbac::Guard;

/// The whole inbound stack as one layer: [`Mesh::server`](crate::Mesh::server).
#[derive(Clone, Debug)]
pub struct ServerLayer(Arc<Inbound>);

/// What every inbound request goes through.
pub(in crate::mesh) struct Inbound {
    pub(in crate::mesh) config: Live<Config>,
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) metrics: ServerMetrics,
    pub(in crate::mesh) rbac: Guard,
    pub(in crate::mesh) quiet: QuietStreams,
    pub(in crate::mesh) observer: Option<Observer>,
}

impl ServerLayer {
    pub(in crate::mesh) fn new(inbound: Inbound) -> Self {
        Self(Arc::new(inbound))
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, inner: S) -> Server<S> {
        Server {
            inner,
            inbound: Arc::clone(&self.0),
        }
    }
}

/// A service behind the whole inbound stack.
#[derive(Clone, Debug)]
pub struct Server<S> {
    inner: S,
    inbound: Arc<Inbound>,
}

impl<S> Server<S> {
    /// The service as one connection sees it: every request on it comes from this peer.
    pub fn of(self, peer: Peer) -> ConnectionServer<S> {
        ConnectionServer { inner: self, peer }
    }

    fn answer<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        exchange: impl FnOnce(&mut Extensions) -> Exchange,
    ) -> ResponseFuture<S::Future, ResBody>
    where
        S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
        ReqBody: Body + 'static,
        ResBody: Body<Data = Bytes>,
    {
        let (mut head, mut body) = request.into_parts();
        let exchange = exchange(&mut head.extensions);
        if let Some(peer) = exchange.peer() {
            own_body::bound(&self.inbound.quiet, &head, peer, &mut body);
        }
        let (body, received) = CountingBody::under(&head.headers, body);
        let is_grpc = body.is_grpc();
        let (mut record, verdict) = self.inbound.open(&mut head, &exchange, received);
        if let Err(reply) = verdict {
            return ResponseFuture::local(reply, record, is_grpc);
        }
        let request = Request::from_parts(head, body);
        let called = {
            let _entered = record.enter();
            catch_unwind(AssertUnwindSafe(|| self.inner.call(request)))
        };
        match called {
            Ok(future) => ResponseFuture::inner(future, record, is_grpc),
            Err(_) => ResponseFuture::local(panic_reply(), record, is_grpc),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Server<S>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        self.answer(request, Exchange::of)
    }
}

impl Inbound {
    /// Begins the records of a request and asks the guards: everything before the application.
    fn open(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        received: ByteCount,
    ) -> (Record, Result<(), LocalReply>) {
        let (started, now) = (Instant::now(), SystemTime::now());
        let config = self.config.load();
        let port = exchange.peer().map_or(0, |peer| peer.local_addr().port());
        let authenticator = config.authenticators.get(port);
        // What is kept of the target is shown to spans and observers (security rule J-25).
        let shown = authenticator.without_tokens(&head.uri);
        exchange.set_target(shown.unwrap_or_else(|| head.uri.clone()));
        authenticator.hide(head, exchange);
        let span = self.propagation.begin(head, exchange, || now);
        let measured = self.metrics.begin(head, exchange.peer(), received, started);
        let observer = self.observer.clone();
        let observer = observer.map(|observer| (observer, exchange.clone()));
        let (method, metrics) = (head.method.clone(), self.metrics.clone());
        let under_way = exchange.peer().map(Peer::begin_request);
        // Before the guards are asked: one that panics must not take the record along.
        let record = Record::new(
            method, span, metrics, measured, observer, started, under_way,
        );
        let verdict = self.judge(&config.engine, authenticator, head, exchange, now);
        (record, verdict)
    }

    /// The guards, on one generation of configuration.
    fn judge(
        &self,
        engine: &Engine,
        authenticator: &Authenticator,
        head: &mut Parts,
        exchange: &Exchange,
        now: SystemTime,
    ) -> Result<(), LocalReply> {
        self.rbac.normalize(engine, head)?;
        self.rbac.check_custom(engine, head, exchange)?;
        authenticator.authenticate(head, exchange, now)?;
        self.rbac.check(engine, head, exchange)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").finish_non_exhaustive()
    }
}

/// A guarded service of one connection: tells each request who its peer is.
#[derive(Clone, Debug)]
pub struct ConnectionServer<S> {
    inner: Server<S>,
    peer: Peer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ConnectionServer<S>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Self { inner, peer } = self;
        // Straight into the exchange: the extensions would box it once more.
        inner.answer(request, |extensions| Exchange::from_peer(extensions, peer))
    }
}
