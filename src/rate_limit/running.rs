//! A limit that counts.

use std::sync::Arc;

use http::HeaderMap;

use super::actions::{Actions, LimitRequest};
use super::bucket::Tick;
use super::counts::{Counts, Outcome};
use super::local::{Judged, LocalLimit};
use super::refusal;
#[cfg(feature = "rate-limit-service")]
use super::service::ServiceCounter;
use crate::identity::Workload;
use crate::message::LocalReply;
use crate::policy::limit::{Limit, Local};

/// A limit with its buckets and counts.
#[derive(Debug)]
pub(crate) struct RunningLimit {
    limit: Limit,
    actions: Box<[Actions]>,
    local: Option<Arc<LocalLimit>>,
    #[cfg(feature = "rate-limit-service")]
    service: Option<Arc<ServiceCounter>>,
    reply: LocalReply,
    /// What a request over the limit brings along where the limit only reports.
    not_enforced_headers: HeaderMap,
    counts: Arc<Counts>,
}

impl RunningLimit {
    /// Makes a limit count. `before` is the limit of this name that it replaces: its counts go on,
    /// and so do its buckets unless they changed.
    pub(super) fn new(limit: &Limit, workload: &Workload, before: Option<&Self>) -> Self {
        let spec = &limit.spec;
        let descriptors = spec.descriptors.iter();
        let local = spec.local.as_ref();
        Self {
            limit: limit.clone(),
            actions: descriptors
                .map(|descriptor| Actions::new(descriptor, workload))
                .collect(),
            local: local.map(|local| {
                let kept = before.and_then(|before| before.buckets_of(local));
                kept.unwrap_or_else(|| Arc::new(LocalLimit::new(local)))
            }),
            #[cfg(feature = "rate-limit-service")]
            service: spec.service.as_ref().map(|service| {
                let kept = before.and_then(|before| before.service.clone());
                let kept = kept.filter(|kept| kept.is_of(service));
                kept.unwrap_or_else(|| Arc::new(ServiceCounter::new(service)))
            }),
            reply: refusal::local(spec).headers(refusal::header_map(&spec.response_headers)),
            not_enforced_headers: refusal::header_map(&spec.not_enforced_headers),
            counts: match before {
                Some(before) => Arc::clone(&before.counts),
                None => Arc::new(Counts::new(label(limit))),
            },
        }
    }

    /// The buckets, if they are those of this local limit.
    fn buckets_of(&self, local: &Local) -> Option<Arc<LocalLimit>> {
        let is_same = self.limit.spec.local.as_ref() == Some(local);
        self.local.clone().filter(|_| is_same)
    }

    pub(crate) fn limit(&self) -> &Limit {
        &self.limit
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The buckets of this process.
    pub(crate) fn local(&self) -> Option<&Arc<LocalLimit>> {
        self.local.as_ref()
    }

    /// What is kept of the service that counts.
    #[cfg(feature = "rate-limit-service")]
    pub(super) fn service(&self) -> Option<&Arc<ServiceCounter>> {
        self.service.as_ref()
    }

    /// What makes the descriptors of a request.
    #[cfg_attr(
        not(feature = "rate-limit-service"),
        allow(dead_code, reason = "for the limits of a service")
    )]
    pub(crate) fn actions(&self) -> &[Actions] {
        &self.actions
    }

    /// Whether both say the same, so that one needs nothing of the other.
    pub(super) fn says(&self, limit: &Limit) -> bool {
        self.is_named(limit) && self.limit.spec == limit.spec
    }

    pub(super) fn is_named(&self, limit: &Limit) -> bool {
        self.limit.name == limit.name && self.limit.namespace == limit.namespace
    }

    /// Whether it cannot be judged without the facts of the request.
    pub(super) fn reads_request(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Takes a token for a request on this connection, and counts what became of it. `None` if this
    /// process does not count it.
    pub(super) fn judge(
        &self,
        request: Option<LimitRequest<'_>>,
        connection: u64,
        now: Tick,
    ) -> Option<Judged> {
        let local = self.local.as_ref()?;
        let actions = request.iter().flat_map(|request| {
            let actions = self.actions.iter();
            actions.map(move |actions| (actions, *request))
        });
        let judged = local.judge(
            connection,
            actions,
            |(actions, request), sink| actions.write(request, sink),
            now,
            self.limit.spec.x_ratelimit_headers,
        );
        self.counts.add(match judged.is_refused {
            false => Outcome::Ok,
            true if self.limit.spec.report_only => Outcome::ReportOnly,
            true => Outcome::Limited,
        });
        if judged.is_overflow {
            self.counts.add_overflow();
        }
        Some(judged)
    }

    /// The refusal of a request; `None` if the limit only reports.
    pub(super) fn refusal(&self) -> Option<LocalReply> {
        (!self.limit.spec.report_only).then(|| self.reply.clone())
    }

    pub(super) fn not_enforced_headers(&self) -> &HeaderMap {
        &self.not_enforced_headers
    }
}

/// The value of the label `limit`.
fn label(limit: &Limit) -> Arc<str> {
    match limit.namespace.is_empty() {
        true => limit.name.as_str().into(),
        false => format!("{}/{}", limit.namespace, limit.name).into(),
    }
}
