//! Starts a call: picks its upstream, and records its span, metrics and log lines until the
//! response arrives.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, Version};
use http_body::Body;
use pin_project::pin_project;

use super::attempts::{Attempts, Route};
use super::body::streamed::BoxError;
use super::deadline::{self, TimeLeft};
use super::error::ClientError;
use super::head_timeout::{Bound, HeadTimeout};
use super::pool::compiled_outbound::{CompiledOutbound, Reach};
use super::pool::connection::dial::Dialer;
use super::record::Record;
use super::response_body::ResponseBody;
use super::tcp_bounds::Bounds;
use crate::context;
use crate::identity::TrustDomain;
use crate::live::Live;
use crate::mesh::telemetry::Reports;
use crate::mesh::watches::{Observers, Watches};
use crate::message::{CallProgress, CountingBody, Direction, OnEnd as _};
use crate::metrics::ClientMetrics;
use crate::propagation::Propagation;

/// What all calls of a client share.
pub(in crate::mesh) struct Outbound {
    /// Our own.
    pub(in crate::mesh) trust_domain: TrustDomain,
    pub(in crate::mesh) propagation: Propagation,
    pub(in crate::mesh) metrics: ClientMetrics,
    /// Access logs, and labels with an expression.
    pub(in crate::mesh) reports: Live<Reports>,
    pub(in crate::mesh) observers: Observers,
    pub(in crate::mesh) upstreams: Live<CompiledOutbound>,
    pub(in crate::mesh) dialer: Arc<Dialer>,
    /// The longest wait for the head of a response.
    pub(in crate::mesh) response_timeout: Option<Duration>,
    /// Whether calls end before their request's own caller stops waiting.
    pub(in crate::mesh) inherits_deadlines: bool,
    /// How long connections without HTTP may be idle, and last.
    pub(in crate::mesh) tcp_bounds: Bounds,
}

impl Outbound {
    /// Starts a call: begins its span and metrics, then sends it to the upstream of its host.
    pub(super) fn call<B>(&self, request: Request<B>, bound: Bound) -> ResponseFuture
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let now = Instant::now();
        let (mut head, body) = request.into_parts();
        let (body, sent) = CountingBody::under(&head.headers, body);
        let exchange = context::current();
        let upstreams = self.upstreams.load();
        let reach = upstreams.find(&head.uri);
        let is_bounded = self.inherits_deadlines && bound.inherits_deadline();
        let left = match is_bounded {
            true => TimeLeft::of_request(exchange.as_ref()),
            false => None,
        };
        let timeout =
            HeadTimeout::of_call(bound, self.response_timeout, &head.headers, &body, &sent);
        let timeout = timeout.within(left, body.is_grpc());
        if is_bounded {
            let is_in_mesh = matches!(reach, Some(Reach::Mesh(_)));
            deadline::tell(
                &mut head.headers,
                bound.exactly(),
                left,
                body.is_grpc(),
                is_in_mesh,
            );
        }
        let is_trusted = || reach.is_some_and(|reach| reach.is_of(|domain| self.trusts(domain)));
        let cluster = reach.map(|reach| reach.cluster(&head.uri));
        let span = self.propagation.begin_call_to(
            cluster.as_ref().map(|cluster| &*cluster.destination),
            is_trusted,
            &mut head,
            exchange.as_ref(),
            SystemTime::now,
        );
        let mut measured = match reach {
            Some(Reach::External(_)) => self.metrics.begin_outside(&mut head, sent.clone(), now),
            Some(Reach::Mesh(_)) => self.metrics.begin(&mut head, sent.clone(), now),
            None => self.metrics.begin_refused(&mut head, sent.clone(), now),
        };
        measured.traced(span.trace());
        let reports = self.reports.load();
        let mut log = reports.client.access_logs.open(&head, SystemTime::now);
        if log.is_some() || span.has_texts() {
            sent.time_end();
        }
        let progress = Arc::<CallProgress>::default();
        if let Some(line) = &mut log {
            if let Some(reach) = reach {
                line.calls(reach.logged(&head.uri));
            }
            if let Some(trace) = span.trace() {
                line.traces(trace);
            }
        }
        let watches = Watches {
            permit: None,
            service_time: None,
            log,
            #[cfg(feature = "cel")]
            tags: reports.client.tags.clone(),
            span,
            metrics: measured,
            #[cfg(feature = "audit")]
            audit: None,
            observers: self.observers.clone(),
            under_way: None,
        };
        let mut record = Record::new(Direction::Outbound, &head, exchange, sent, now, watches)
            .following(Arc::clone(&progress));
        if !self.observers.is_empty() {
            record = record.with_target(&head);
        }
        if let Some(mistake) = mistake(&head) {
            return ResponseFuture::refused(mistake, record);
        }
        let Some(cluster) = cluster else {
            let unknown = upstreams.unknown(&head.uri);
            return ResponseFuture::refused(ClientError::unknown_host(unknown), record);
        };
        if left.is_some_and(TimeLeft::is_over) {
            let error = ClientError::out_of_time(head.uri.authority(), body.is_grpc());
            return ResponseFuture::refused(error, record);
        }
        let tries = record.watch().and_then(|watch| {
            let destination = &cluster.destination;
            watch.span.tries(&self.propagation, destination)
        });
        let route = Route {
            dialer: Arc::clone(&self.dialer),
            cluster,
            tries,
            progress,
            is_http2: head.version == Version::HTTP_2
                || (body.is_grpc() && bound.reads_content_type()),
        };
        let attempts = Attempts::new(route, Request::from_parts(head, body), timeout);
        ResponseFuture {
            attempts: Some(attempts),
            refused: None,
            record,
        }
    }
}

impl Outbound {
    /// Whether a call to this trust domain may carry what its request has brought of the user.
    fn trusts(&self, domain: &TrustDomain) -> bool {
        *domain == self.trust_domain || self.propagation.forwards_to(domain)
    }
}

/// Why a request with this head cannot be sent; `None` if it can.
fn mistake(head: &Parts) -> Option<ClientError> {
    if head.uri.scheme().is_none() && head.method != Method::CONNECT {
        return Some(ClientError::no_scheme(Some(&head.uri)));
    }
    match head.version {
        Version::HTTP_10 if head.method == Method::CONNECT => {
            Some(ClientError::malformed("CONNECT is not of HTTP/1.0"))
        }
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => None,
        _ => Some(ClientError::malformed(
            "a call is made over HTTP/1 or HTTP/2",
        )),
    }
}

/// The future of a call.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    #[pin]
    attempts: Option<Attempts>,
    /// Why the call has no attempts.
    refused: Option<ClientError>,
    record: Record,
}

impl ResponseFuture {
    fn refused(error: ClientError, record: Record) -> Self {
        Self {
            attempts: None,
            refused: Some(error),
            record,
        }
    }

    /// A call whose description is invalid; there is nothing to record.
    pub(super) fn mistaken(error: ClientError) -> Self {
        Self::refused(error, Record::default())
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = match this.attempts.as_mut().as_pin_mut() {
            Some(attempts) => ready!(this.record.within(|| attempts.poll(cx))),
            None => Err(this.refused.take().unwrap_or_else(ClientError::ended)),
        };
        this.attempts.set(None);
        Poll::Ready(match result {
            Ok(answer) => Ok(ResponseBody::wrap(answer, mem::take(this.record))),
            Err(error) => {
                let watch = this.record.watch();
                if watch.is_some_and(|it| it.log.is_some() || it.span.has_texts())
                    && let Some(progress) = this.record.progress()
                {
                    progress.fails(error.logged());
                }
                this.record.failed(error.status(), error.flags());
                Err(error)
            }
        })
    }
}
