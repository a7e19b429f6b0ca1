//! The records of one request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};

use super::auditor::{Auditor, Matched};
use super::configured::JudgedBy;
use super::template::Readings;
use super::under_way::UnderWay;
use crate::audit::{Call, Event, Outcome, Pseudonym, Resource, with_request};
use crate::context::{Claims, Exchange};
use crate::guard::{Answer, Question};
use crate::log_limit::limited;
use crate::message::{EndKind, LocalReply, Report, Watch};
use crate::peer_text::PeerText;
use crate::policy::{Decision, DryRun, PolicyId};

/// Follows one request, and writes its records.
#[derive(Debug)]
pub(in crate::mesh) struct RequestAudit {
    auditor: Arc<Auditor>,
    judged_by: JudgedBy,
    /// `None` of a head that could not be read.
    method: Option<&'static str>,
    /// Its target, if that was looked up among the routes.
    target: Option<PathAndQuery>,
    /// The template by which a router in front of the guards has chosen.
    chosen: Option<Arc<str>>,
    /// The template of its route, where it is known.
    template: Option<Arc<str>>,
    id: Option<String>,
    patient: Option<Pseudonym>,
    mark: Mark,
    stage: Stage,
    _under_way: UnderWay,
}

/// What is to be recorded of a request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Nothing,
    /// One record, at its end.
    Bounded,
    /// One before the application is called, and one at its end.
    Strict,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It is being judged.
    Judged,
    /// Every step has let it pass. The number joins the records of one that is marked strict.
    Passed(Option<Call>),
}

impl RequestAudit {
    pub(in crate::mesh) fn begin(
        auditor: &Arc<Auditor>,
        judged_by: JudgedBy,
        head: &Parts,
        exchange: &Exchange,
    ) -> Box<Self> {
        let mut audit = Self::unread(auditor, judged_by);
        audit.method = Some(action(&head.method));
        audit.chosen = matched_path(head);
        audit.template.clone_from(&audit.chosen);
        let path = exchange.path().unwrap_or_else(|| head.uri.path());
        if path == head.uri.path() {
            audit.target = head.uri.path_and_query().cloned();
        }
        audit.mark(head, path);
        audit
    }

    /// Of a head that could not be read.
    pub(in crate::mesh) fn unread(auditor: &Arc<Auditor>, judged_by: JudgedBy) -> Box<Self> {
        Box::new(Self {
            auditor: Arc::clone(auditor),
            judged_by,
            method: None,
            target: None,
            chosen: None,
            template: None,
            id: None,
            patient: None,
            mark: match auditor.scope.all {
                true => Mark::Bounded,
                false => Mark::Nothing,
            },
            stage: Stage::Judged,
            _under_way: auditor.under_way.begin(),
        })
    }

    /// Looks whether the application has chosen the route of this path.
    fn mark(&mut self, head: &Parts, path: &str) {
        if self.auditor.scope.routes.is_empty() {
            return;
        }
        let path = Readings::new(path);
        let auditor = Arc::clone(&self.auditor);
        let Some(Matched {
            route,
            segments,
            is_strict,
        }) = auditor.matched(&head.method, &path)
        else {
            return;
        };
        self.mark = self.mark.max(match is_strict {
            true => Mark::Strict,
            false => Mark::Bounded,
        });
        if let Some(chosen) = &self.chosen
            && route.is_less_than(chosen)
        {
            // Parameters of one route say nothing about another.
            return;
        }
        self.template = Some(Arc::clone(route.template()));
        self.id = route.id(segments);
        self.patient = route.patient(head, segments);
    }

    /// Every step has let the request pass, and the application is called next, once the question is
    /// answered, if there is one. Only the first call counts.
    pub(in crate::mesh) fn pass(&mut self, head: &Parts, exchange: &Exchange) -> Option<Question> {
        if let Stage::Passed(_) = self.stage {
            return None;
        }
        if self.mark < Mark::Strict && self.target.as_ref() != head.uri.path_and_query() {
            // A guard has given it another path, or a router has left a part of it.
            self.mark(head, head.uri.path());
        }
        let decision = exchange.decision();
        let is_audited = decision
            .and_then(|decision| decision.marks.as_ref())
            .is_some_and(|marks| !marks.audit.is_empty());
        if is_audited {
            self.mark = self
                .mark
                .max(match self.auditor.scope.strict_audit_policies {
                    true => Mark::Strict,
                    false => Mark::Bounded,
                });
        }
        let glass = decision
            .and_then(|decision| self.judged_by.config.break_glass(decision))
            .cloned();
        if glass.is_some() {
            self.mark = Mark::Strict;
        }
        if self.mark < Mark::Strict {
            self.stage = Stage::Passed(None);
            return None;
        }
        let call = Call::next();
        self.stage = Stage::Passed(Some(call));
        let audit = &self.auditor.audit;
        let alarm = glass.map(|policy| {
            self.alert(&policy, exchange);
            audit.submit_durable(
                self.event(Event::break_glass(), exchange)
                    .outcome(Outcome::Allow),
            )
        });
        let intent = self
            .event(Event::intent(call), exchange)
            .outcome(Outcome::Allow);
        let intent = audit.submit_durable(intent);
        Some(Question::new(async move {
            let alarm = async {
                match alarm {
                    Some(alarm) => alarm.await.map(drop),
                    None => Ok(()),
                }
            };
            // Both have the same time, which begins when they are polled.
            match tokio::join!(alarm, intent) {
                (Ok(()), Ok(_)) => Answer::Pass,
                _ => Answer::Refuse(unavailable()),
            }
        }))
    }

    fn alert(&self, policy: &PolicyId, exchange: &Exchange) {
        self.auditor.break_glass.fetch_add(1, Ordering::Relaxed);
        let caller = exchange.caller().and_then(|caller| caller.certificate());
        let peer = caller.and_then(|certificate| certificate.spiffe_id.as_ref());
        let user = exchange.claims().and_then(Claims::principal);
        limited!(
            target: "tower_mesh::audit",
            WARN,
            policy = %policy,
            peer = peer.map(tracing::field::display),
            user = user.map(|user| tracing::field::display(PeerText(user))),
            action = self.method,
            route = self.template.as_deref(),
            trace_id = exchange.trace().map(|trace| tracing::field::display(trace.trace_id)),
            "break glass: a policy for emergencies allowed a request"
        );
    }

    /// Adds what all records of the request say.
    fn event(&self, event: Event, exchange: &Exchange) -> Event {
        let mut event = with_request(event, exchange);
        let route = self.template.as_ref().or_else(|| exchange.route());
        let mut resource = route.map_or_else(Resource::default, |template| {
            Resource::route(Arc::clone(template))
        });
        if let Some(id) = &self.id {
            resource = resource.id(id.clone());
        }
        event = self.auditor.called(event, resource);
        if let Some(action) = self.method {
            event = event.action(action);
        }
        if let Some(patient) = &self.patient {
            event = event.patient(patient.clone());
        }
        if let Some(purpose) = self.purpose(exchange) {
            event = event.purpose(purpose.to_owned());
        }
        if let Some(decision) = exchange.decision() {
            if let Some(policy) = policy(decision) {
                event = event.policy(policy);
            }
            if let Some(run) = dry_run(decision) {
                event = event.dry_run(run);
            }
        }
        let JudgedBy { generation, config } = &self.judged_by;
        event.configuration(*generation, Arc::clone(&config.hash))
    }

    fn purpose<'e>(&self, exchange: &'e Exchange) -> Option<&'e str> {
        let claim = self.auditor.scope.purpose.as_deref()?;
        exchange.claims()?.get(claim)?.as_str()
    }

    /// The last record of the request, and what became of it; `None` if it is not recorded.
    fn last(&self, report: &Report<'_>, details: Option<&str>) -> Option<(Event, Outcome)> {
        let was_stopped = matches!(details, Some("handler_panicked" | AUDIT_UNAVAILABLE));
        let by_end = || match (report.end.kind, report.status) {
            _ if was_stopped => Outcome::Error,
            (_, None) | (EndKind::Cancelled, _) => Outcome::Cancelled,
            // A guard of the application's own, behind those of the mesh.
            _ if details.is_some() => Outcome::Deny,
            (EndKind::Failed, _) => Outcome::Error,
            (EndKind::Complete, Some(status)) if status.is_server_error() => Outcome::Error,
            (EndKind::Complete, Some(_)) => Outcome::Allow,
        };
        match self.stage {
            // Every refusal is recorded.
            Stage::Judged if details.is_some() && !was_stopped => {
                Some((Event::access(), Outcome::Deny))
            }
            Stage::Judged if details.is_some() => Some((Event::access(), Outcome::Error)),
            Stage::Passed(Some(call)) => Some((Event::completion(call), by_end())),
            Stage::Passed(None) | Stage::Judged => {
                let outcome = match report.end.kind {
                    EndKind::Failed if report.status.is_none() => Outcome::Error,
                    _ => by_end(),
                };
                let is_recorded = self.mark > Mark::Nothing || outcome == Outcome::Deny;
                is_recorded.then(|| (Event::access(), outcome))
            }
        }
    }
}

impl Watch for RequestAudit {
    fn ended(&mut self, report: &Report<'_>) {
        let Some(exchange) = report.exchange else {
            return;
        };
        let details = exchange.details().map(|details| &**details);
        let Some((event, outcome)) = self.last(report, details) else {
            return;
        };
        let mut event = self.event(event, exchange).outcome(outcome);
        if let Some(status) = report.status {
            event = event.status(status.as_u16());
        }
        let code = report.end.grpc_status.map(|status| status.code());
        if let Some(code) = code.and_then(|code| u16::try_from(code).ok()) {
            event = event.grpc_status(code);
        }
        if let Some(details) = details {
            event = event.reason(details.to_owned());
        }
        // RFC 9110 §7.8: the access goes on for as long as the connection is open.
        let opens_tunnel = |status: StatusCode| {
            status == StatusCode::SWITCHING_PROTOCOLS
                || self.method == Some("CONNECT") && status.is_success()
        };
        let is_upgraded = report.status.is_some_and(opens_tunnel)
            && report.version < Version::HTTP_2
            && report.end.kind == EndKind::Complete;
        let peer = report.peer.filter(|_| is_upgraded);
        let Auditor {
            audit, under_way, ..
        } = &*self.auditor;
        match peer.filter(|_| outcome == Outcome::Allow) {
            Some(peer) => under_way.submit_at_close(audit, peer, event),
            None => audit.submit(event),
        }
    }
}

fn unavailable() -> LocalReply {
    LocalReply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "audit unavailable",
        AUDIT_UNAVAILABLE,
    )
}

/// The rule that decided, or the rules for audit that matched.
pub(super) fn policy(decision: &Decision) -> Option<String> {
    if let Some(policy) = &decision.policy {
        return Some(policy.to_string());
    }
    let audit = &decision.marks.as_ref()?.audit;
    let names: Vec<_> = audit.iter().map(PolicyId::as_str).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// What policies on trial would have decided.
pub(super) fn dry_run(decision: &Decision) -> Option<String> {
    let marks = decision.marks.as_ref()?;
    let runs = [&marks.dry_run_deny, &marks.dry_run_allow];
    let runs: Vec<&DryRun> = runs.into_iter().flatten().collect();
    let refusing = runs.iter().find(|run| !run.allowed);
    let run = refusing.or_else(|| runs.first())?;
    let word = if run.allowed { "allow" } else { "deny" };
    Some(match &run.policy {
        Some(policy) => format!("{word} {policy}"),
        None => word.to_owned(),
    })
}

/// The name of a method. A caller may send any word as one, so others are not repeated.
fn action(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

/// The template by which axum's router has chosen, for layers behind it.
#[cfg(feature = "axum")]
fn matched_path(head: &Parts) -> Option<Arc<str>> {
    let matched = head.extensions.get::<axum::extract::MatchedPath>()?;
    Some(matched.as_str().into())
}

#[cfg(not(feature = "axum"))]
fn matched_path(_: &Parts) -> Option<Arc<str>> {
    None
}

/// Envoy has no such details; the word is ours.
pub(in crate::mesh) const AUDIT_UNAVAILABLE: &str = "audit_unavailable";
