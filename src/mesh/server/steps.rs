//! The order in which inbound requests are judged, written once.

use std::sync::Arc;
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
use std::time::Duration;
use std::time::{Instant, SystemTime};

#[cfg(any(feature = "external", feature = "rate-limit-service"))]
use http::HeaderMap;
use http::request::Parts;

#[cfg(feature = "external")]
use super::custom::Asked;
use super::inbound::Inbound;
use super::record::Record;
use crate::concurrency::{Limiter, Permit, overflow};
use crate::context::Exchange;
use crate::guard::{self, Answer, Question, Verdict};
use crate::jwt::Patience;
use crate::mesh::config::live::CompiledInbound;
use crate::message::{LocalReply, OnEnd as _};
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
use crate::message::{grpc_timeout, is_grpc};
use crate::policy::CustomMatch;
#[cfg(feature = "rate-limit")]
use crate::policy::limit::Stage;
#[cfg(feature = "rate-limit-service")]
use crate::rate_limit::Counting;
use crate::rbac::PolicyCheck;
use crate::refusal_log;

/// The steps of every inbound request, first to last. The first step that refuses answers in the
/// application's place. A step that asks a question makes the request wait, and the steps behind it
/// run once the answer is there.
///
/// The guards of the application follow ([`MeshBuilder::guard`](crate::MeshBuilder::guard)), in the
/// order in which the builder got them; then the application is called. A new guard of this crate
/// adds one line here, and the function that the line names; what the function needs is in
/// [`Inbound`], or in [`CompiledInbound`] if a reload replaces it.
const STEPS: [Step; 8] = [
    gate,
    concurrency,
    // Limits by what the request itself says refuse cheaply.
    early_limits,
    // A sidecar asks external providers before it looks at tokens.
    custom_policies,
    tokens,
    // Providers in the process are asked about verified claims.
    custom_policies_with_claims,
    policies,
    // Limits by the caller and its claims.
    late_limits,
];

type Step = fn(&mut Judged<'_>) -> Result<(), Halt>;

/// Why a request does not go on to the next step.
pub(super) enum Halt {
    Refuse(LocalReply),
    Ask(Question),
}

impl From<LocalReply> for Halt {
    fn from(reply: LocalReply) -> Self {
        Self::Refuse(reply)
    }
}

/// The gate has judged the request before its record began, and the word of a trusted proxy about
/// its caller was read before that. This answers a request that was refused then.
fn gate(judged: &mut Judged<'_>) -> Result<(), Halt> {
    match judged.way.refusal.take() {
        None => Ok(()),
        Some(reply) => Err(reply.into()),
    }
}

/// Takes a place within the concurrency limit, which the request holds until it has ended. This
/// comes before what costs work or waits for others, so that the limit bounds that, too. An adaptive
/// limit learns only from the time after the last step, in which the application has the request.
#[inline]
fn concurrency(judged: &mut Judged<'_>) -> Result<(), Halt> {
    match &judged.inbound.concurrency {
        None => Ok(()),
        Some(limiter) => judged.take_place(limiter),
    }
}

#[inline]
fn custom_policies(judged: &mut Judged<'_>) -> Result<(), Halt> {
    match judged.config.asks_providers {
        false => Ok(()),
        true => judged.custom_policies(),
    }
}

#[inline]
fn custom_policies_with_claims(judged: &mut Judged<'_>) -> Result<(), Halt> {
    match judged.config.asks_providers {
        false => Ok(()),
        true => judged.custom_policies_with_claims(),
    }
}

fn tokens(judged: &mut Judged<'_>) -> Result<(), Halt> {
    let (path, now) = (judged.way.path.as_deref(), judged.way.now);
    let patience = match judged.way.has_waited_for_keys {
        true => Patience::None,
        false => Patience::MayWait,
    };
    let authenticator = judged.config.authenticator(judged.exchange);
    let (terms, head) = (&judged.inbound.tokens, &mut *judged.head);
    let verdict =
        authenticator.authenticate_shown(terms, path, head, judged.exchange, now, patience);
    let Err(denied) = verdict else {
        return Ok(());
    };
    let Some(wait) = denied.wait else {
        return Err(denied.reply.into());
    };
    // This step runs again once the keys are there, or are not.
    judged.way.next -= 1;
    judged.way.has_waited_for_keys = true;
    Err(Halt::Ask(Question::new(async {
        wait.end().await;
        Answer::Pass
    })))
}

fn policies(judged: &mut Judged<'_>) -> Result<(), Halt> {
    let (engine, path) = (&judged.config.engine, judged.way.path.as_deref());
    let rbac = &judged.inbound.rbac;
    rbac.finish(engine, judged.head, path, judged.exchange)?;
    Ok(())
}

#[inline]
fn early_limits(judged: &mut Judged<'_>) -> Result<(), Halt> {
    #[cfg(feature = "rate-limit")]
    judged.limits(Stage::Early)?;
    let _ = judged;
    Ok(())
}

#[inline]
fn late_limits(judged: &mut Judged<'_>) -> Result<(), Halt> {
    #[cfg(feature = "rate-limit")]
    judged.limits(Stage::Late)?;
    let _ = judged;
    Ok(())
}

/// How far a request has come, and what steps left for those behind them.
#[derive(Debug)]
pub(super) struct Way {
    /// The index of the first step that has not run, counted through [`STEPS`] and then the guards
    /// of the application.
    next: usize,
    /// The refusal of the gate.
    refusal: Option<LocalReply>,
    now: SystemTime,
    has_waited_for_keys: bool,
    /// The path to judge, where it differs from the request's.
    path: Option<String>,
    /// The place that a step has taken within the concurrency limit, on its way to the record.
    permit: Option<Permit>,
    /// The CUSTOM policies whose providers were not asked yet.
    customs: Option<Vec<CustomMatch>>,
    /// When the request came.
    pub(super) started: Option<Instant>,
}

impl Way {
    /// `admitted` is what the gate said: the path to judge, or its refusal.
    pub(super) fn new(admitted: Result<Option<String>, LocalReply>, now: SystemTime) -> Self {
        let (path, refusal) = match admitted {
            Ok(path) => (path, None),
            Err(refusal) => (None, Some(refusal)),
        };
        Self {
            next: 0,
            refusal,
            now,
            has_waited_for_keys: false,
            path,
            permit: None,
            customs: None,
            started: None,
        }
    }
}

/// A request while one generation of configuration judges it.
pub(super) struct Judged<'a> {
    pub(super) inbound: &'a Inbound,
    pub(super) config: &'a CompiledInbound,
    pub(super) head: &'a mut Parts,
    pub(super) exchange: &'a Exchange,
    pub(super) way: &'a mut Way,
}

impl Judged<'_> {
    /// Runs the steps that have not run. After `Ok` the application is called at once. A refusal is
    /// logged.
    pub(super) fn run(mut self, record: &mut Record) -> Result<(), Halt> {
        let mut run = self.crate_steps();
        if let Some(permit) = self.way.permit.take()
            && let Some(watches) = record.watch()
        {
            watches.permit = Some(permit);
        }
        if run.is_ok() && !self.inbound.guards.is_empty() {
            run = record.within(|| self.application_guards());
        }
        #[cfg(feature = "audit")]
        if run.is_ok()
            && self.inbound.auditor.is_some()
            && let Some(question) = self.record_first(record)
        {
            run = Err(Halt::Ask(question));
        }
        if run.is_ok()
            && self.inbound.concurrency.is_some()
            && let Some(watches) = record.watch()
            && let Some(permit) = &mut watches.permit
        {
            permit.called();
        }
        if let Err(Halt::Refuse(reply)) = &run {
            self.refused(reply);
        }
        run
    }

    /// What the request waits for if the audit trail must have a record of it before the application
    /// is called.
    #[cfg(feature = "audit")]
    fn record_first(&mut self, record: &mut Record) -> Option<Question> {
        let audit = record.watch()?.audit.as_mut()?;
        audit.pass(self.head, self.exchange)
    }

    fn crate_steps(&mut self) -> Result<(), Halt> {
        if self.way.next > 0 {
            return self.later_steps();
        }
        // The compiler unrolls this loop, as it starts at a known step: a request that asks no
        // question makes no call through a function pointer.
        for (step, next) in STEPS.iter().zip(1..) {
            self.way.next = next;
            step(self)?;
        }
        Ok(())
    }

    /// The steps behind the one that asked.
    #[cold]
    fn later_steps(&mut self) -> Result<(), Halt> {
        while let Some(step) = STEPS.get(self.way.next) {
            self.way.next += 1;
            step(self)?;
        }
        Ok(())
    }

    /// Runs the guards of the application within the request's trace, so that their own calls
    /// belong to it.
    fn application_guards(&mut self) -> Result<(), Halt> {
        while let Some(guard) = self.inbound.guards.get(self.way.next - STEPS.len()) {
            self.way.next += 1;
            halt(guard::judge(guard, self.head, self.exchange))?;
        }
        Ok(())
    }

    /// Runs the limits of a stage. A request of a workload without such limits pays one comparison.
    #[cfg(feature = "rate-limit")]
    #[inline]
    fn limits(&mut self, stage: Stage) -> Result<(), Halt> {
        match self.config.limits.of(stage).is_empty() {
            true => Ok(()),
            false => self.apply_limits(stage),
        }
    }

    #[cfg(feature = "rate-limit")]
    #[inline(never)]
    fn apply_limits(&mut self, stage: Stage) -> Result<(), Halt> {
        let limits = &self.config.limits;
        let path = self.way.path.as_deref();
        limits.judge(stage, self.head, path, self.exchange)?;
        #[cfg(feature = "rate-limit-service")]
        {
            let headers = &self.head.headers;
            let started = self.way.started;
            let exchange = self.exchange;
            let deadline = || time_left(headers, exchange, started);
            let counting = Counting {
                service: &self.inbound.counting,
                written: self.config.authenticator(self.exchange).outputs(),
            };
            let question = limits.ask(stage, self.head, path, self.exchange, counting, deadline);
            if let Some(question) = question {
                return Err(Halt::Ask(question));
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn take_place(&mut self, limiter: &Arc<Limiter>) -> Result<(), Halt> {
        let sent = self.head.uri.path();
        let path = self.way.path.as_deref().unwrap_or(sent);
        if !limiter.exempts(path) {
            self.way.permit = Some(limiter.admit().ok_or_else(overflow)?);
        }
        Ok(())
    }

    #[inline(never)]
    fn custom_policies(&mut self) -> Result<(), Halt> {
        let (engine, path) = (&self.config.engine, self.way.path.as_deref());
        let customs = match self.way.customs.take() {
            None => PolicyCheck::custom_matches(engine, self.head, path, self.exchange)?,
            // A provider was asked, and another one may be next.
            Some(left) => left,
        };
        match customs.is_empty() {
            true => Ok(()),
            false => self.ask_provider(customs),
        }
    }

    #[inline(never)]
    fn custom_policies_with_claims(&mut self) -> Result<(), Halt> {
        match self.way.customs.take() {
            None => Ok(()),
            Some(customs) => self.ask_provider_with_claims(customs),
        }
    }

    /// Asks the first of these providers that is asked before tokens are verified. This step runs
    /// again once it has answered.
    #[cfg(feature = "external")]
    #[cold]
    fn ask_provider(&mut self, mut customs: Vec<CustomMatch>) -> Result<(), Halt> {
        let asked = self.asked().before_tokens(&mut customs);
        let is_asking = matches!(asked, Verdict::Ask(_));
        if is_asking {
            self.way.next -= 1;
        }
        if is_asking || !customs.is_empty() {
            self.way.customs = Some(customs);
        }
        halt(asked)
    }

    #[cfg(feature = "external")]
    #[cold]
    fn ask_provider_with_claims(&mut self, mut customs: Vec<CustomMatch>) -> Result<(), Halt> {
        let asked = self.asked().after_tokens(&mut customs);
        if !customs.is_empty() {
            self.way.next -= 1;
            self.way.customs = Some(customs);
        }
        halt(asked)
    }

    #[cfg(feature = "external")]
    fn asked(&mut self) -> Asked<'_> {
        Asked {
            config: self.config,
            time_left: time_left(&self.head.headers, self.exchange, self.way.started),
            head: self.head,
            path: self.way.path.as_deref(),
            exchange: self.exchange,
        }
    }

    /// Without the feature `external` no provider can be asked.
    #[cfg(not(feature = "external"))]
    #[cold]
    fn ask_provider(&mut self, customs: Vec<CustomMatch>) -> Result<(), Halt> {
        let Some(custom) = customs.into_iter().next() else {
            return Ok(());
        };
        let reply = PolicyCheck::refuse_custom(custom, self.exchange);
        self.exchange.set_details(Arc::clone(reply.details()));
        Err(reply.into())
    }

    #[cfg(not(feature = "external"))]
    fn ask_provider_with_claims(&mut self, customs: Vec<CustomMatch>) -> Result<(), Halt> {
        self.ask_provider(customs)
    }

    pub(super) fn refused(&self, reply: &LocalReply) {
        refusal_log::refused(self.head, self.exchange, reply, Some(&self.config.engine));
    }
}

fn halt(verdict: Verdict) -> Result<(), Halt> {
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::Refuse(reply) => Err(Halt::Refuse(reply)),
        Verdict::Ask(question) => Err(Halt::Ask(question)),
    }
}

/// How long the caller still waits, if it says so: a gRPC caller, whoever it is, and a peer of the
/// mesh by Envoy's header.
#[cfg(any(feature = "external", feature = "rate-limit-service"))]
fn time_left(
    headers: &HeaderMap,
    exchange: &Exchange,
    started: Option<Instant>,
) -> Option<Duration> {
    let of_grpc = grpc_timeout(headers).filter(|_| is_grpc(headers));
    let of_grpc = of_grpc.and_then(|timeout| Some(timeout.saturating_sub(started?.elapsed())));
    let now = tokio::time::Instant::now().into_std();
    let deadline = exchange.deadline();
    let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
    of_grpc.into_iter().chain(left).min()
}

#[cfg(all(test, feature = "external", feature = "rate-limit-service"))]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    /// A guard that asks a service waits no longer than the request's caller, however it tells.
    #[tokio::test(start_paused = true)]
    async fn a_question_has_the_time_that_the_caller_still_waits() {
        let (now, second) = (tokio::time::Instant::now(), Duration::from_secs(1));
        let (none, in_two) = (Exchange::default(), Exchange::default());
        in_two.set_deadline((now + second * 2).into_std());
        let grpc = [("content-type", "application/grpc"), ("grpc-timeout", "1H")];
        let grpc = grpc.map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let (plain, grpc) = (HeaderMap::new(), grpc.into_iter().collect::<HeaderMap>());
        tokio::time::advance(second).await;
        let started = Some(Instant::now());
        assert_eq!(time_left(&plain, &none, started), None);
        assert_eq!(time_left(&plain, &in_two, started), Some(second));
        assert_eq!(time_left(&grpc, &in_two, started), Some(second));
        let hour = time_left(&grpc, &none, started).unwrap();
        assert!(hour > second * 3500, "{hour:?}");
    }
}
