//! The observers of inbound requests and outbound calls: span, metrics, access log, the
//! application's functions.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, Version, request, response};

use crate::access_log::Line;
use crate::concurrency::Permit;
use crate::context::{Peer, UnderWay};
#[cfg(feature = "audit")]
use crate::mesh::audit::RequestAudit;
use crate::mesh::telemetry::ServiceTime;
#[cfg(feature = "cel")]
use crate::mesh::telemetry::{Measuring, Tags};
use crate::message::{Report, Watch, contained};

/// Everything that observes one request or call of the mesh.
///
/// At the end the application's observers run last, so that span, metrics and
/// line are complete.
#[derive(Debug)]
pub(in crate::mesh) struct Watches<S, M> {
    pub(in crate::mesh) span: S,
    pub(in crate::mesh) metrics: M,
    /// The line in the access logs, if there are any.
    pub(in crate::mesh) log: Option<Box<Line>>,
    /// The labels of metrics that have an expression, if there are any.
    #[cfg(feature = "cel")]
    pub(in crate::mesh) tags: Option<Arc<Tags>>,
    /// The records in the audit trail, if the mesh has one.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) audit: Option<Box<RequestAudit>>,
    pub(in crate::mesh) observers: Observers,
    /// Set for inbound requests, which are under way on their connection.
    pub(in crate::mesh) under_way: Option<OnConnection>,
    /// The place of an inbound request within the concurrency limit.
    pub(in crate::mesh) permit: Option<Permit>,
    /// Set for inbound requests of callers that belong to the mesh.
    pub(in crate::mesh) service_time: Option<ServiceTime>,
}

/// The metrics of one exchange.
#[cfg(feature = "cel")]
pub(in crate::mesh) trait Metrics: Measuring {}
#[cfg(feature = "cel")]
impl<M: Measuring> Metrics for M {}

/// The metrics of one exchange.
#[cfg(not(feature = "cel"))]
pub(in crate::mesh) trait Metrics: Watch {}
#[cfg(not(feature = "cel"))]
impl<M: Watch> Metrics for M {}

#[cfg(feature = "cel")]
impl<S, M: Metrics> Watches<S, M> {
    /// Lets expressions read the facts that are known now.
    fn evaluate(&mut self, report: &Report<'_>) {
        let Some(line) = self.log.as_mut().filter(|line| line.is_read()) else {
            return;
        };
        line.measured(self.metrics.measured(report));
        if let Some(tags) = &self.tags {
            self.metrics.tag(tags.values(line.facts(report)));
        }
    }
}

impl<S: Watch, M: Metrics> Watch for Watches<S, M> {
    fn within<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        self.span.within(poll)
    }

    fn dropping(&mut self, drop: impl FnOnce()) {
        self.span.dropping(drop);
    }

    fn answered(&mut self, head: &mut response::Parts) {
        if let Some(permit) = &mut self.permit {
            permit.answered(head.status, &head.headers);
        }
        if let Some(under_way) = &mut self.under_way {
            under_way.answered(head.status, &mut self.permit);
        }
        if let Some(log) = &mut self.log {
            log.answered(head);
        }
        if let Some(service_time) = &self.service_time {
            service_time.answered(head);
        }
        self.metrics.answered(head);
        self.span.answered(head);
    }

    fn progress(&mut self, messages: u64) {
        self.metrics.progress(messages);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.span.trailers(trailers);
        if let Some(log) = &mut self.log {
            log.trailers(trailers);
        }
    }

    fn ended(&mut self, report: &Report<'_>) {
        contained(|| self.span.ended(report));
        #[cfg(feature = "cel")]
        contained(|| self.evaluate(report));
        contained(|| self.metrics.ended(report));
        if let Some(log) = &mut self.log {
            contained(|| log.ended(report));
        }
        #[cfg(feature = "audit")]
        if let Some(audit) = &mut self.audit {
            contained(|| audit.ended(report));
        }
        self.observers.ended(report);
        self.under_way = None;
        self.permit = None;
    }
}

/// The functions of the application that run at the end of each request, or of each call, in this
/// order.
#[derive(Clone, Default)]
pub(in crate::mesh) struct Observers(Option<Arc<Vec<Observer>>>);

type Observer = Arc<dyn Fn(&Report<'_>) + Send + Sync>;

impl Observers {
    pub(in crate::mesh) fn add(&mut self, observer: impl Fn(&Report<'_>) + Send + Sync + 'static) {
        let observers = self.0.get_or_insert_default();
        Arc::make_mut(observers).push(Arc::new(observer));
    }

    pub(in crate::mesh) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Watch for Observers {
    fn ended(&mut self, report: &Report<'_>) {
        for observer in self.0.iter().flat_map(|observers| observers.iter()) {
            contained(|| observer(report));
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |observers| observers.len());
        f.debug_tuple("Observers").field(&count).finish()
    }
}

/// Counts a request as under way on its connection.
#[derive(Debug)]
pub(in crate::mesh) struct OnConnection {
    under_way: UnderWay,
    may_upgrade: bool,
}

impl OnConnection {
    pub(in crate::mesh) fn begin(peer: &Peer, head: &request::Parts) -> Self {
        Self {
            under_way: peer.begin_request(),
            may_upgrade: head.version < Version::HTTP_2,
        }
    }

    fn answered(&mut self, status: StatusCode, permit: &mut Option<Permit>) {
        // RFC 9110 §7.8; CONNECT is refused. HTTP/2 has neither (RFC 9113 §8.6), whatever status an
        // application answers with.
        if self.may_upgrade && status == StatusCode::SWITCHING_PROTOCOLS {
            self.under_way.upgraded();
            if let Some(permit) = permit.take() {
                self.under_way.peer().at_close(move |_| drop(permit));
            }
        }
    }
}
