//! What all clones of the inbound layer share.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{Method, Request, StatusCode};

use super::app_guards::AppGuards;
use super::connection::quiet_streams::QuietStreams;
use super::trusted_proxies::TrustedProxies;
use crate::access_log::Line;
use crate::concurrency::Limiter;
use crate::context::{Exchange, Peer, Telling};
use crate::gate::{Gate, Refusals};
use crate::identity::SpiffeId;
use crate::jwt::Terms;
use crate::live::Live;
#[cfg(feature = "audit")]
use crate::live::Loaded;
#[cfg(feature = "audit")]
use crate::mesh::audit::{Auditor, JudgedBy, RequestAudit};
use crate::mesh::config::live::CompiledInbound;
use crate::mesh::telemetry::Reports;
use crate::mesh::watches::Observers;
use crate::message::{
    ByteCount, Direction, LocalReply, Record, Report, ResponseFlags, Watch, contained,
};
use crate::metrics::{ServerMetrics, ServerRecord};
use crate::propagation::Propagation;
#[cfg(feature = "rate-limit-service")]
use crate::rate_limit::CountingService;
use crate::rbac::PolicyCheck;

/// What every inbound request passes, shared by all services of a
/// [`ServerLayer`](super::ServerLayer).
pub(in crate::mesh) struct Inbound {
    pub(in crate::mesh) config: Live<CompiledInbound>,
    /// Paths are normalized as the configuration says.
    pub(in crate::mesh) gate: Gate,
    pub(in crate::mesh) edge_gate: Gate,
    pub(in crate::mesh) refusals: Arc<Refusals>,
    /// Our own id.
    pub(in crate::mesh) id: SpiffeId,
    pub(in crate::mesh) propagation: Propagation,
    /// Traces at an edge, also of a mesh without identities.
    pub(in crate::mesh) edge_propagation: Propagation,
    pub(in crate::mesh) metrics: ServerMetrics,
    /// How the guard treats end-user tokens.
    pub(in crate::mesh) tokens: Terms,
    pub(in crate::mesh) rbac: PolicyCheck,
    /// Calls the services that count for limits.
    #[cfg(feature = "rate-limit-service")]
    pub(in crate::mesh) counting: Arc<dyn CountingService>,
    pub(in crate::mesh) guards: AppGuards,
    /// `None` if any number of requests may be under way.
    pub(in crate::mesh) concurrency: Option<Arc<Limiter>>,
    pub(in crate::mesh) quiet: QuietStreams,
    /// `None` if nothing is special.
    pub(in crate::mesh) telling: Option<Arc<Telling>>,
    /// Access logs, and labels with an expression.
    pub(in crate::mesh) reports: Live<Reports>,
    pub(in crate::mesh) observers: Observers,
    pub(in crate::mesh) trusted_proxies: Arc<TrustedProxies>,
    /// `None` without an audit trail.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) auditor: Option<Arc<Auditor>>,
}

impl Inbound {
    /// Who writes records, and what they say of this generation of the configuration.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) fn audit(
        &self,
        config: &Loaded<CompiledInbound>,
    ) -> Option<(&Arc<Auditor>, JudgedBy)> {
        let judged_by = JudgedBy {
            generation: config.generation(),
            config: config.audited.clone()?,
        };
        Some((self.auditor.as_ref()?, judged_by))
    }

    /// Counts and logs a request whose head hyper has refused with this status, so that nothing is
    /// known of it.
    pub(in crate::mesh) fn refused_head(&self, peer: &Peer, status: StatusCode) {
        let now = Instant::now();
        let (mut head, ()) = Request::new(()).into_parts();
        let exchange = Exchange::from_peer(&mut head.extensions, peer);
        let mut log = self
            .reports
            .load()
            .server
            .access_logs
            .open(&head, SystemTime::now);
        if let Some(line) = &mut log {
            line.head_was_unreadable();
        }
        let watch = RefusedHead {
            metrics: self
                .metrics
                .begin(&mut head, Some(peer), ByteCount::default(), now),
            log,
            #[cfg(feature = "audit")]
            audit: self
                .audit(&self.config.load())
                .map(|(auditor, judged_by)| RequestAudit::unread(auditor, judged_by)),
        };
        let (direction, count) = (Direction::Inbound, ByteCount::default());
        let mut record = Record::new(direction, &head, Some(exchange), count, now, watch);
        let reply = LocalReply::new(status, "", "http1.codec_error")
            .flags(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        record.refused(&reply);
        drop(record.answer(reply.into_response_as::<String>(false, &Method::GET)));
    }
}

/// What learns of a head that could not be read: nobody whom it would mislead.
struct RefusedHead {
    metrics: ServerRecord,
    log: Option<Box<Line>>,
    #[cfg(feature = "audit")]
    audit: Option<Box<RequestAudit>>,
}

impl Watch for RefusedHead {
    fn ended(&mut self, report: &Report<'_>) {
        contained(|| self.metrics.ended(report));
        if let Some(log) = &mut self.log {
            contained(|| log.ended(report));
        }
        #[cfg(feature = "audit")]
        if let Some(audit) = &mut self.audit {
            contained(|| audit.ended(report));
        }
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").finish_non_exhaustive()
    }
}
