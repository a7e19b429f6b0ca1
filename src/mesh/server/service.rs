use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{Extensions, Request, Response, StatusCode, Version};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::connection::quiet_streams::QuietStreams;
use super::future::{ResponseBody, ResponseFuture, panic_reply};
use super::one_hop;
use super::own_body;
use super::record::{Observer, Record};
use crate::access;
use crate::context::{Exchange, Peer};
use crate::jwt::Authenticator;
use crate::live::Live;
use crate::mesh::config::live::Config;
use crate::message::{ByteCount, CountingBody, LocalReply};
use crate::metrics::ServerMetrics;
use crate::policy::Engine;
use crate::propagation::Propagation;
use crate::rbac::PolicyCheck;

/// The whole inbound stack as one layer: [`Mesh::server`](crate::Mesh::server).
#[derive(Clone, Debug)]
pub struct ServerLayer(Arc<Inbound>);

/// What every inbound request goes through.
pub(in crate::mesh) struct Inbound {
    pub(in crate::mesh) config: Live<Config>,
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) metrics: ServerMetrics,
    pub(in crate::mesh) rbac: PolicyCheck,
    pub(in crate::mesh) quiet: QuietStreams,
    pub(in crate::mesh) observer: Option<Observer>,
}

impl ServerLayer {
    pub(in crate::mesh) fn new(inbound: Inbound) -> Self {
        Self(Arc::new(inbound))
    }

    /// Guards a finished service, in front of every router.
    pub(in crate::mesh) fn protect<S>(&self, inner: S) -> Server<S> {
        Server {
            in_front: true,
            ..self.layer(inner)
        }
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, inner: S) -> Server<S> {
        Server {
            inner,
            inbound: Arc::clone(&self.0),
            in_front: false,
        }
    }
}

/// A service behind the whole inbound stack.
#[derive(Clone, Debug)]
pub struct Server<S> {
    inner: S,
    inbound: Arc<Inbound>,
    /// No router has chosen yet, so that requests may be rewritten.
    in_front: bool,
}

/// Where a request is met.
#[derive(Clone, Copy, Debug)]
struct Standing {
    in_front: bool,
    wants_host: bool,
}

impl<S> Server<S> {
    /// The service as one connection sees it: every request on it comes from this peer.
    pub fn of(self, peer: Peer) -> ConnectionServer<S> {
        ConnectionServer {
            inner: self,
            peer,
            wants_host: false,
        }
    }

    /// As [`of`](Self::of), for a connection that we serve: a request on it that names no host is refused (rule B-03).
    pub(in crate::mesh) fn on_connection(self, peer: Peer) -> ConnectionServer<S> {
        ConnectionServer {
            wants_host: true,
            ..self.of(peer)
        }
    }

    fn answer<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        wants_host: bool,
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
        let standing = Standing {
            in_front: self.in_front,
            wants_host,
        };
        let hop = one_hop::take_off_named(&mut head.headers);
        let (body, received) = CountingBody::under(&head.headers, body);
        let is_grpc = body.is_grpc();
        let (mut record, verdict) =
            self.inbound
                .open(&mut head, &exchange, received, hop.map(|()| standing));
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
        self.answer(request, false, Exchange::of)
    }
}

impl Inbound {
    /// Begins the records of a request and asks the guards: everything before the application.
    fn open(
        &self,
        head: &mut Parts,
        exchange: &Exchange,
        received: ByteCount,
        standing: Result<Standing, LocalReply>,
    ) -> (Record, Result<(), LocalReply>) {
        let (started, now) = (Instant::now(), SystemTime::now());
        let config = self.config.load();
        let port = exchange.peer().map_or(0, |peer| peer.local_addr().port());
        let authenticator = config.authenticators.get(port);
        // What is kept of the target is shown to spans and observers (security rule J-25).
        let sent = Exchange::sent_uri(head);
        let shown = authenticator.without_tokens(sent);
        exchange.set_target(shown.unwrap_or_else(|| sent.clone()));
        authenticator.hide(head, exchange);
        let span = self.propagation.begin(head, exchange, || now);
        let measured = self.metrics.begin(head, exchange.peer(), received, started);
        let observer = self.observer.clone();
        let observer = observer.map(|observer| (observer, exchange.clone()));
        let (method, metrics) = (head.method.clone(), self.metrics.clone());
        let under_way = exchange.peer().map(Peer::begin_request);
        let under_way = (under_way, head.version < Version::HTTP_2);
        // Before the guards are asked: one that panics must not take the record along.
        let record = Record::new(
            method, span, metrics, measured, observer, started, under_way,
        );
        let verdict = standing.and_then(|standing| {
            self.judge(&config.engine, authenticator, head, exchange, now, standing)
        });
        if let Err(reply) = &verdict {
            access::refused(head, exchange, reply, Some(&config.engine));
        }
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
        standing: Standing,
    ) -> Result<(), LocalReply> {
        if standing.wants_host {
            refuse_nameless(head)?;
        }
        let path = PolicyCheck::admit(engine, head, exchange, standing.in_front)?;
        let path = path.as_deref();
        PolicyCheck::check_custom_at(engine, head, path, exchange)?;
        authenticator.authenticate_normalized(path, head, exchange, now)?;
        self.rbac.finish(engine, head, path, exchange)
    }
}

/// Envoy's 400 to a request that names no host.
fn refuse_nameless(head: &Parts) -> Result<(), LocalReply> {
    if head.uri.authority().is_some() || head.headers.contains_key(HOST) {
        return Ok(());
    }
    let details = "missing_host_header";
    Err(LocalReply::new(StatusCode::BAD_REQUEST, "", details))
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
    wants_host: bool,
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
        let Self {
            inner,
            peer,
            wants_host,
        } = self;
        // Straight into the exchange: the extensions would box it once more.
        inner.answer(request, *wants_host, |extensions| {
            Exchange::from_peer(extensions, peer)
        })
    }
}
