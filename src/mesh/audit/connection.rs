//! The records of one connection that carries no HTTP.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::auditor::Auditor;
use super::configured::JudgedBy;
use super::request::{dry_run, policy};
use super::under_way::UnderWay;
use crate::audit::{Call, Event, Outcome, Resource, Text, with_request};
use crate::context::Exchange;
use crate::log_limit::limited;
use crate::policy::{Decision, PolicyId};

/// Follows one connection that carries no HTTP, and writes its records.
///
/// A connection that is refused has one. One that rules for audit match, or that a policy for
/// emergencies allows, has an intent before its handler gets it and a completion at its end: it may
/// last for days.
#[derive(Debug)]
pub(in crate::mesh) struct ConnectionAudit {
    auditor: Arc<Auditor>,
    exchange: Exchange,
    /// Set once it has an intent.
    admitted: OnceLock<Admitted>,
    /// Set once a policy for emergencies has allowed it.
    break_glass: OnceLock<()>,
    /// The configuration that has refused it.
    refused_by: OnceLock<JudgedBy>,
    _under_way: UnderWay,
}

/// The decision by which a connection has records.
#[derive(Debug)]
struct Admitted {
    call: Call,
    reasons: Reasons,
}

#[derive(Debug)]
struct Reasons {
    policy: Option<Text>,
    dry_run: Option<Text>,
    by: JudgedBy,
}

/// Resolves to whether what must be durable before the handler runs is.
pub(in crate::mesh) type RecordedFirst = Pin<Box<dyn Future<Output = bool> + Send>>;

impl ConnectionAudit {
    pub(in crate::mesh) fn begin(auditor: &Arc<Auditor>, exchange: &Exchange) -> Self {
        Self {
            auditor: Arc::clone(auditor),
            exchange: exchange.clone(),
            admitted: OnceLock::new(),
            break_glass: OnceLock::new(),
            refused_by: OnceLock::new(),
            _under_way: auditor.under_way.begin(),
        }
    }

    /// Policy lets the connection in or, where a new configuration has judged it again, lets it
    /// stay. Writes what is to be written of it now; one that comes in must then wait for what this
    /// returns.
    pub(in crate::mesh) fn allowed(
        &self,
        decision: &Decision,
        by: JudgedBy,
    ) -> Option<RecordedFirst> {
        let glass = by.config.break_glass(decision);
        let is_first_glass = glass.is_some() && self.break_glass.set(()).is_ok();
        let marks = decision.marks.as_ref();
        let is_audited = marks.is_some_and(|marks| !marks.audit.is_empty());
        let is_first = self.admitted.get().is_none() && (is_audited || glass.is_some());
        if !(is_first || is_first_glass) {
            return None;
        }
        if let Some(policy) = glass.filter(|_| is_first_glass) {
            self.alert(policy);
        }
        let reasons = Reasons {
            policy: policy(decision).map(Text::from),
            dry_run: dry_run(decision).map(Text::from),
            by,
        };
        let audit = &self.auditor.audit;
        let event = |event| self.event(event, &reasons).outcome(Outcome::Allow);
        let alarm = is_first_glass.then(|| audit.submit_durable(event(Event::break_glass())));
        if !is_first {
            return alarm
                .map(|alarm| -> RecordedFirst { Box::pin(async move { alarm.await.is_ok() }) });
        }
        let call = Call::next();
        let intent = event(Event::intent(call));
        let waits = alarm.is_some() || self.auditor.scope.strict_audit_policies;
        let first = if waits {
            let intent = audit.submit_durable(intent);
            Some(Box::pin(async move {
                let alarm = async {
                    match alarm {
                        Some(alarm) => alarm.await.is_ok(),
                        None => true,
                    }
                };
                let (alarm, intent) = tokio::join!(alarm, intent);
                alarm && intent.is_ok()
            }) as RecordedFirst)
        } else {
            audit.submit(intent);
            None
        };
        let _ = self.admitted.set(Admitted { call, reasons });
        first
    }

    /// This configuration has refused the connection.
    pub(in crate::mesh) fn refused(&self, by: JudgedBy) {
        let _ = self.refused_by.set(by);
    }

    /// Writes the end of the connection, if that is to be recorded.
    pub(in crate::mesh) fn ended(&self, outcome: Outcome, reason: Option<Text>) {
        let admitted = self.admitted.get();
        let event = match admitted {
            Some(admitted) => Event::completion(admitted.call),
            None if outcome == Outcome::Deny => Event::access(),
            None => return,
        };
        let mut event = match (self.refused_by.get(), admitted) {
            (Some(by), _) => self.event(
                event,
                &Reasons {
                    policy: reason.as_ref().and_then(refusing_rule),
                    dry_run: None,
                    by: by.clone(),
                },
            ),
            (None, Some(admitted)) => self.event(event, &admitted.reasons),
            (None, None) => self.connection(event),
        };
        if let Some(reason) = reason {
            event = event.reason(reason);
        }
        self.auditor.audit.submit(event.outcome(outcome));
    }

    fn event(&self, event: Event, reasons: &Reasons) -> Event {
        let Reasons {
            policy,
            dry_run,
            by,
        } = reasons;
        let mut event = self
            .connection(event)
            .configuration(by.generation, Arc::clone(&by.config.hash));
        if let Some(policy) = policy {
            event = event.policy(policy.clone());
        }
        if let Some(run) = dry_run {
            event = event.dry_run(run.clone());
        }
        event
    }

    fn connection(&self, event: Event) -> Event {
        let event = with_request(event, &self.exchange).action("TCP");
        self.auditor.called(event, Resource::default())
    }

    fn alert(&self, policy: &PolicyId) {
        self.auditor.break_glass.fetch_add(1, Ordering::Relaxed);
        let caller = self.exchange.caller();
        let certificate = caller.and_then(|caller| caller.certificate());
        let peer = certificate.and_then(|certificate| certificate.spiffe_id.as_ref());
        limited!(
            target: "tower_mesh::audit",
            WARN,
            policy = %policy,
            peer = peer.map(tracing::field::display),
            action = "TCP",
            "break glass: a policy for emergencies allows a connection"
        );
    }
}

/// The rule that refused, as Envoy's details name it.
fn refusing_rule(details: &Text) -> Option<Text> {
    let rule = details.as_str().strip_prefix(MATCHED)?.strip_suffix(']')?;
    (rule != "none").then(|| rule.to_owned().into())
}

/// How Envoy tells of the rule that refused.
const MATCHED: &str = "rbac_access_denied_matched_policy[";
