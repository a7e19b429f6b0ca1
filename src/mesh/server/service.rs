//! The inbound stack as a tower layer and service.

use std::any::Any;
use std::error::Error;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::app_server_body;
use super::future::{Asking, ResponseBody, ResponseFuture, call};
use super::header_trust::HeaderTrust;
use super::inbound::Inbound;
use super::record::Record;
use super::steps::Way;
use super::waiting::{self, Outcome};
use crate::context::{Exchange, Peer};
use crate::gate::{self, Arrival, strip};
use crate::live::Loaded;
#[cfg(feature = "audit")]
use crate::mesh::audit::RequestAudit;
use crate::mesh::config::live::CompiledInbound;
use crate::mesh::telemetry::ServiceTime;
use crate::mesh::watches::{OnConnection, Watches};
use crate::message::{ByteCount, CountingBody, Direction, LocalReply, ResponseFlags};

/// The whole inbound stack as one layer: [`Mesh::server`](crate::Mesh::server).
#[derive(Clone, Debug)]
pub struct ServerLayer {
    inbound: Arc<Inbound>,
    trust: HeaderTrust,
}

impl ServerLayer {
    pub(in crate::mesh) fn new(inbound: Inbound) -> Self {
        Self {
            inbound: Arc::new(inbound),
            trust: HeaderTrust::default(),
        }
    }

    pub(in crate::mesh) fn inbound(&self) -> &Arc<Inbound> {
        &self.inbound
    }

    /// The same stack for a listener that believes these headers.
    pub(in crate::mesh) fn trusting(&self, trust: HeaderTrust) -> Self {
        Self {
            inbound: Arc::clone(&self.inbound),
            trust,
        }
    }

    /// Guards a finished service in front of every router, where requests may be rewritten.
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
            inbound: Arc::clone(&self.inbound),
            trust: self.trust,
            in_front: false,
        }
    }
}

/// A service behind the whole inbound stack.
#[derive(Clone, Debug)]
pub struct Server<S> {
    inner: S,
    inbound: Arc<Inbound>,
    trust: HeaderTrust,
    /// Whether no router has chosen a route yet, so that requests may be rewritten.
    in_front: bool,
}

impl<S> Server<S> {
    /// The service for one connection: every request on it comes from this peer.
    pub fn of(self, peer: Peer) -> ConnectionServer<S> {
        ConnectionServer {
            inner: self,
            peer,
            wants_host: false,
        }
    }

    /// As [`of`](Self::of), for a connection that we serve: a request that names no host is refused
    /// (rule B-03).
    pub(in crate::mesh) fn on_connection(self, peer: Peer) -> ConnectionServer<S> {
        ConnectionServer {
            wants_host: true,
            ..self.of(peer)
        }
    }

    pub(in crate::mesh) fn inbound(&self) -> Arc<Inbound> {
        Arc::clone(&self.inbound)
    }

    fn answer<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        wants_host: bool,
        exchange: impl FnOnce(&mut Extensions) -> Exchange,
    ) -> ResponseFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>> + Clone,
        ReqBody: Body + 'static,
        ResBody: Body<Data = Bytes>,
    {
        let (mut head, mut body) = request.into_parts();
        let exchange = exchange(&mut head.extensions);
        if let Some(telling) = &self.inbound.telling {
            exchange.set_telling(telling);
        }
        if let Some(peer) = exchange.peer() {
            app_server_body::bound(&self.inbound.quiet, &head, peer, &mut body);
        }
        let arrival = Arrival {
            in_front: self.in_front,
            wants_host,
            keeps_client_cert: false,
        };
        let (inbound, trust, now) = (&self.inbound, self.trust, SystemTime::now());
        let config = inbound.config.load();
        let admitted = inbound.admit(&config, trust, &mut head, &exchange, arrival);
        let (mut body, received) = CountingBody::under(&head.headers, body);
        let written = config.authenticator(&exchange).outputs();
        body.sift_trailers(strip::from_trailers, written);
        body.judge_errors(of_error::<ReqBody>);
        let is_grpc = body.is_grpc();
        if is_grpc {
            gate::note_grpc_deadline(&head.headers, &exchange);
        }
        let mut record = inbound.open(&config, trust, &mut head, &exchange, received, now);
        let way = Way::new(admitted, now);
        match waiting::judge(inbound, config, way, &mut head, &exchange, &mut record) {
            Outcome::Pass => {
                let request = Request::from_parts(head, body);
                let called = call(&mut record, || self.inner.call(request));
                ResponseFuture::called(called, record, is_grpc)
            }
            Outcome::Refuse(reply) => ResponseFuture::local(reply, record, is_grpc),
            Outcome::Wait(waiting) => {
                let clone = self.inner.clone();
                let asking = Asking {
                    waiting,
                    inbound: Arc::clone(&self.inbound),
                    exchange,
                    head,
                    body,
                    // INVARIANT: `poll_ready` made this service ready; its clone may not be.
                    service: mem::replace(&mut self.inner, clone),
                };
                ResponseFuture::asking(asking, record, is_grpc)
            }
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Server<S>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>> + Clone,
    ReqBody: Body + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        self.answer(request, false, Exchange::from_extensions)
    }
}

impl Inbound {
    /// Finds the caller for whom a trusted proxy speaks, lets the gate judge the request before
    /// anything else reads it, and keeps the target as it was sent.
    fn admit(
        &self,
        config: &CompiledInbound,
        trust: HeaderTrust,
        head: &mut Parts,
        exchange: &Exchange,
        arrival: Arrival,
    ) -> Result<Option<String>, LocalReply> {
        // The gate removes headers, so this reads them first. The gate's own refusal comes first.
        let introduced = self.trusted_proxies.introduce(&head.headers, exchange);
        let authenticator = config.authenticator(exchange);
        authenticator.show(head, exchange);
        trust.announce(exchange);
        let gate = trust.edge.map_or(self.gate, |_| self.edge_gate);
        let gate = gate.normalization(config.engine.path_normalization());
        let judged = gate::judge_and_settle(gate, head, exchange, arrival);
        // Also for a request that is refused: its log line and span name the client.
        let settled = trust.settle(&self.id, head, exchange);
        let judged = judged.and_then(|path| settled.map(|()| path));
        // Before the trace takes headers along to calls.
        authenticator.take_off_outputs(&mut head.headers, exchange);
        let path = judged.map_err(|refusal| {
            self.refusals.add(refusal);
            refusal.reply(gate.profile(), head.version)
        })?;
        introduced.map(|()| path)
    }

    /// Begins the record of a request. This comes before the steps, so that one that panics does
    /// not lose the record.
    fn open(
        &self,
        config: &Loaded<CompiledInbound>,
        trust: HeaderTrust,
        head: &mut Parts,
        exchange: &Exchange,
        received: ByteCount,
        now: SystemTime,
    ) -> Record {
        #[cfg(not(feature = "audit"))]
        let _ = config;
        let started = Instant::now();
        let propagation = match trust.edge {
            Some(_) => &self.edge_propagation,
            None => &self.propagation,
        };
        let span = propagation.begin(head, exchange, || now);
        let peer = exchange.peer();
        let reports = self.reports.load();
        let log = reports.server.access_logs.open(head, || now);
        if log.is_some() || span.has_texts() {
            received.time_end();
        }
        let watches = Watches {
            span,
            log,
            #[cfg(feature = "cel")]
            tags: reports.server.tags.clone(),
            metrics: self.metrics.begin(head, peer, received.clone(), started),
            #[cfg(feature = "audit")]
            audit: self.audit(config).map(|(auditor, judged_by)| {
                RequestAudit::begin(auditor, judged_by, head, exchange)
            }),
            observers: self.observers.clone(),
            under_way: peer.map(|peer| OnConnection::begin(peer, head)),
            permit: None,
            service_time: ServiceTime::new(exchange, started),
        };
        let kept = Some(exchange.clone());
        let record = Record::new(Direction::Inbound, head, kept, received, started, watches);
        match self.observers.is_empty() {
            true => record,
            false => record.with_target(head),
        }
    }
}

/// What it means that the body of a request breaks off.
fn of_error<B: Body + 'static>(error: &B::Error) -> ResponseFlags {
    let error: &dyn Any = error;
    let Some(error) = error.downcast_ref::<BoxError>() else {
        return ResponseFlags::none();
    };
    let (mut next, mut flags): (Option<&dyn Error>, _) = (Some(&**error), ResponseFlags::none());
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::TimedOut => ResponseFlags::STREAM_IDLE_TIMEOUT,
                // How hyper tells of chunks that are none.
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR
                }
                _ => ResponseFlags::DOWNSTREAM_DISCONNECT,
            };
        } else if let Some(error) = error.downcast_ref::<h2::Error>() {
            return match (error.is_reset(), error.is_remote(), error.is_io()) {
                (true, true, _) => ResponseFlags::DOWNSTREAM_RESET,
                (_, _, true) | (false, true, _) => ResponseFlags::DOWNSTREAM_DISCONNECT,
                _ => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
            };
        } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
            flags = match error.is_incomplete_message() || error.is_closed() {
                true => ResponseFlags::DOWNSTREAM_DISCONNECT,
                false => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
            };
        }
        next = error.source();
    }
    flags
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The guarded service of one connection: it gives each request the connection's peer.
#[derive(Clone, Debug)]
pub struct ConnectionServer<S> {
    inner: Server<S>,
    peer: Peer,
    wants_host: bool,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ConnectionServer<S>
where
    S: Service<Request<CountingBody<ReqBody>>, Response = Response<ResBody>> + Clone,
    ReqBody: Body + 'static,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Self {
            inner,
            peer,
            wants_host,
        } = self;
        // Put straight into the exchange: the extensions would box it once more.
        inner.answer(request, *wants_host, |extensions| {
            Exchange::from_peer(extensions, peer)
        })
    }
}
