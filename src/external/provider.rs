//! A provider by name, and what follows from its answers and from its errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::authorizer::{BoxedAnswer, DynAuthorizer};
use super::cache::{Decisions, Known, LookUp, Settled, Ticket};
use super::mutations::check;
use super::{
    Authorization, AuthorizationRequest, AuthorizerError, AuthorizerOptions, BodyBound, Changes,
    Denial, Stage,
};
#[cfg(feature = "cel")]
use crate::cel::Expression;
use crate::log_limit::limited;
use crate::message::{LocalReply, ResponseFlags};
use crate::policy::Attributes;

/// A provider that CUSTOM policies name.
#[derive(Clone)]
pub(crate) struct Provider {
    name: Arc<str>,
    decides: Decides,
    options: AuthorizerOptions,
    counts: Arc<Counts>,
    cache: Option<Arc<Decisions>>,
}

/// What decides about the requests of a provider.
#[derive(Clone, Debug)]
enum Decides {
    Authorizer(Arc<dyn DynAuthorizer>),
    /// A rule that allows the requests for which it holds. It is asked nothing: it decides at once.
    #[cfg(feature = "cel")]
    Rule(Expression),
}

/// What is known of a request without a question.
pub(crate) enum Beforehand {
    Decided(Outcome),
    /// The provider must be asked. The ticket takes its answer to the cache.
    Ask(Option<Box<Ticket>>),
}

/// What follows for a request that a provider was asked about.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It goes on with these changes, which are [checked](check).
    Allowed(Changes),
    /// It goes on, although there is no answer.
    FailedOpen,
    /// It is refused.
    Refused(LocalReply),
}

impl Provider {
    pub(crate) fn new(
        name: impl Into<Arc<str>>,
        authorizer: Arc<dyn DynAuthorizer>,
        options: AuthorizerOptions,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            name: name.into(),
            decides: Decides::Authorizer(authorizer),
            options,
            counts,
            cache: None,
        }
    }

    /// A provider that allows the requests for which a rule holds.
    #[cfg(feature = "cel")]
    pub(crate) fn rule(name: &str, rule: Expression, counts: Arc<Counts>) -> Self {
        Self {
            name: name.into(),
            decides: Decides::Rule(rule),
            options: AuthorizerOptions::new(),
            counts,
            cache: None,
        }
    }

    /// Keeps the decisions.
    pub(crate) fn cached(self, cache: Arc<Decisions>) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }

    /// The cache of the decisions.
    pub(crate) fn cache(&self) -> Option<&Arc<Decisions>> {
        self.cache.as_ref()
    }

    /// How often it was asked.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    pub(crate) fn stage(&self) -> Stage {
        match &self.decides {
            Decides::Authorizer(authorizer) => authorizer.stage(),
            #[cfg(feature = "cel")]
            Decides::Rule(_) => Stage::AfterTokens,
        }
    }

    pub(crate) fn wants_body(&self) -> Option<BodyBound> {
        match &self.decides {
            Decides::Authorizer(authorizer) => authorizer.wants_body(),
            #[cfg(feature = "cel")]
            Decides::Rule(_) => None,
        }
    }

    /// What is known of a request without a question: the decision of a rule, or one that the cache
    /// has kept. `written` is that of [`ask`](Self::ask).
    pub(crate) fn beforehand(
        &self,
        head: &Parts,
        request: &dyn Attributes,
        written: &[HeaderName],
    ) -> Beforehand {
        if let Some(outcome) = self.by_rule(request) {
            return Beforehand::Decided(outcome);
        }
        // The body is no part of what a decision is found by.
        let cache = self.cache.as_ref().filter(|_| self.wants_body().is_none());
        match cache.map(|cache| cache.look_up(head, request, self.stage())) {
            None => Beforehand::Ask(None),
            Some(LookUp::Ask(ticket)) => Beforehand::Ask(Some(ticket)),
            Some(LookUp::Known(known)) => Beforehand::Decided(self.known(known, written)),
        }
    }

    /// Whether it is a rule, which decides at once.
    pub(crate) fn is_rule(&self) -> bool {
        match &self.decides {
            Decides::Authorizer(_) => false,
            #[cfg(feature = "cel")]
            Decides::Rule(_) => true,
        }
    }

    #[cfg(feature = "cel")]
    fn by_rule(&self, request: &dyn Attributes) -> Option<Outcome> {
        let Decides::Rule(rule) = &self.decides else {
            return None;
        };
        let answer = rule.evaluate(request);
        let answer = answer.map_err(|error| AuthorizerError::new(error).never_passes());
        Some(match answer {
            Ok(true) => {
                self.counts.add(Kind::Allowed);
                Outcome::Allowed(Changes::new())
            }
            Ok(false) => {
                self.counts.add(Kind::Denied);
                Outcome::Refused(denied(&Denial::forbidden()))
            }
            Err(error) => self.failed(&error),
        })
    }

    #[cfg(not(feature = "cel"))]
    #[expect(clippy::unused_self, reason = "rules need the feature `cel`")]
    fn by_rule(&self, _: &dyn Attributes) -> Option<Outcome> {
        None
    }

    /// What follows from a decision of earlier. Headers that tokens set may be others by now.
    fn known(&self, known: Known, written: &[HeaderName]) -> Outcome {
        let Known::Decision(decision) = known else {
            return Outcome::Allowed(Changes::new());
        };
        match &*decision {
            Authorization::Denied(denial) => Outcome::Refused(denied(denial)),
            Authorization::Allowed(changes) => match check(changes, written) {
                Ok(()) => Outcome::Allowed(changes.clone()),
                Err(error) => self.failed(&error),
            },
        }
    }

    /// How long a question may take if the caller waits for this long.
    pub(crate) fn patience(&self, deadline: Option<Duration>) -> Duration {
        let timeout = self.options.question_timeout();
        deadline
            .map_or(timeout, |deadline| deadline.min(timeout))
            .min(FAR)
    }

    /// The reply to a request whose body is longer than the provider takes: Envoy's. The provider
    /// is not asked, and failing open does not apply.
    pub(crate) fn body_too_large() -> LocalReply {
        let (status, details) = (StatusCode::PAYLOAD_TOO_LARGE, "request_payload_too_large");
        LocalReply::new(status, "Payload Too Large", details)
    }

    /// Asks about a request. The question ends when the provider's timeout or the deadline of the
    /// request ends. `written` are the request headers that guards of this crate set from tokens; a
    /// provider may not change them. With a `ticket`, the cache keeps the answer, or replaces an
    /// error by a decision of earlier.
    pub(crate) async fn ask(
        &self,
        request: AuthorizationRequest,
        written: &[HeaderName],
        ticket: Option<Box<Ticket>>,
    ) -> Outcome {
        #[cfg_attr(
            not(feature = "cel"),
            allow(
                clippy::infallible_destructuring_match,
                reason = "there are no rules then"
            )
        )]
        let authorizer = match &self.decides {
            Decides::Authorizer(authorizer) => authorizer,
            // INVARIANT: what decides at once is never asked.
            #[cfg(feature = "cel")]
            Decides::Rule(_) => {
                return self.failed(&AuthorizerError::from_static("a rule is asked nothing"));
            }
        };
        let begun = Instant::now();
        let deadline = request.deadline();
        let mut ticket = ticket;
        if let Some(ticket) = &mut ticket
            && let Some(known) = ticket.wait(self.patience(deadline) / 2).await
        {
            return self.known(known, written);
        }
        // The wait for an equal question takes nothing off the provider's own time: else its answer
        // could come too late, and open a provider that is well.
        let left = deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
        let patience = self.patience(left);
        let asked_at = Instant::now();
        let asked = Contained::new(authorizer, request.with_deadline(patience));
        let answer = match timeout_at(asked_at + patience, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                let message = format!("it has not answered within {patience:?}");
                Err(AuthorizerError::new(message))
            }
        };
        // A caller must not get past the provider by a deadline that no answer can keep.
        let is_callers_fault = self.is_too_short(left, asked_at.elapsed());
        let answer = answer.map_err(|error| match is_callers_fault {
            true => error.never_passes(),
            false => error,
        });
        let answer = answer.and_then(|answer| match answer {
            Authorization::Allowed(changes) => {
                check(&changes, written).map(|()| Authorization::Allowed(changes))
            }
            denied @ Authorization::Denied(_) => Ok(denied),
        });
        let answer = match ticket {
            None => answer,
            Some(ticket) => match ticket.settle(answer) {
                Settled::Answer(answer) => answer,
                Settled::Stale(known) => return self.known(known, written),
            },
        };
        match answer {
            Ok(Authorization::Allowed(changes)) => {
                self.counts.add(Kind::Allowed);
                Outcome::Allowed(timed(changes, begun.elapsed()))
            }
            Ok(Authorization::Denied(denial)) => {
                self.counts.add(Kind::Denied);
                Outcome::Refused(denied(&denial))
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Whether an error after this time may be due to the caller's own deadline. A provider that
    /// knows the deadline may give up before it.
    fn is_too_short(&self, deadline: Option<Duration>, elapsed: Duration) -> bool {
        let shorter = deadline.filter(|deadline| *deadline < self.options.question_timeout());
        shorter.is_some_and(|deadline| deadline < HURRY || elapsed >= deadline / 2)
    }

    /// What follows from an error of the provider.
    pub(crate) fn failed(&self, error: &AuthorizerError) -> Outcome {
        let provider = &*self.name;
        if self.options.fails_open() && !error.fails_closed() {
            self.counts.add(Kind::FailedOpen);
            limited!(
                target: TARGET, WARN, provider, reason = %error,
                "a request passes without the answer of its provider, which fails open"
            );
            return Outcome::FailedOpen;
        }
        self.counts.add(Kind::Error);
        limited!(
            target: TARGET, WARN, provider, reason = %error,
            "a request is refused because its provider has not answered as it should"
        );
        Outcome::Refused(match error.given_reply() {
            Some(denial) => {
                let status = match error.has_status_on_error() {
                    true => self.options.error_status(),
                    false => denial.status(),
                };
                reply(status, denial, "ext_authz_error")
            }
            None => {
                let status = self.options.error_status();
                flagged(LocalReply::new(status, "", "ext_authz_error"))
            }
        })
    }
}

debug_fields!(Provider(provider) {
    name = provider.name,
    decides = provider.decides,
    options = provider.options,
    cache = provider.cache
});

/// Envoy adds how long the question took to the facts of an answer that has some.
fn timed(changes: Changes, elapsed: Duration) -> Changes {
    match changes.facts().is_empty() {
        true => changes,
        false => {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            changes.metadata("ext_authz_duration", json!(millis))
        }
    }
}

/// The reply to a caller whom a provider refuses.
fn denied(denial: &Denial) -> LocalReply {
    reply(denial.status(), denial, "ext_authz_denied")
}

fn reply(status: StatusCode, denial: &Denial, details: &'static str) -> LocalReply {
    let headers = denial.headers().iter().cloned();
    let headers: HeaderMap = headers.fold(HeaderMap::new(), |mut headers, (name, value)| {
        if !super::mutations::is_framing(name.as_str()) {
            headers.append(name, value);
        }
        headers
    });
    let reply = LocalReply::from_bytes(status, denial.body_bytes().clone(), details);
    flagged(reply.headers(headers))
}

fn flagged(reply: LocalReply) -> LocalReply {
    reply.flags(ResponseFlags::UNAUTHORIZED_EXTERNAL)
}

/// A question whose panic is an error of the provider.
struct Contained(Option<BoxedAnswer>);

impl Contained {
    fn new(authorizer: &Arc<dyn DynAuthorizer>, request: AuthorizationRequest) -> Self {
        let ask = || Arc::clone(authorizer).ask(request);
        Self(catch_unwind(AssertUnwindSafe(ask)).ok())
    }
}

impl Future for Contained {
    type Output = Result<Authorization, AuthorizerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.0 else {
            return Poll::Ready(Err(panicked()));
        };
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| {
            let left = self.0.take();
            // What panicked once may do so again.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
            Poll::Ready(Err(panicked()))
        })
    }
}

fn panicked() -> AuthorizerError {
    AuthorizerError::from_static("it panicked")
}

/// How often a provider was asked, by outcome. The counts of a name outlive its configuration.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; 4]);

/// The outcomes that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Allowed,
    Denied,
    Error,
    FailedOpen,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Allowed, Self::Denied, Self::Error, Self::FailedOpen];

    /// The value of the label `outcome`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
            Self::FailedOpen => "failed_open",
        }
    }

    fn of<T>(self, [allowed, denied, error, failed_open]: &[T; 4]) -> &T {
        match self {
            Self::Allowed => allowed,
            Self::Denied => denied,
            Self::Error => error,
            Self::FailedOpen => failed_open,
        }
    }
}

impl Counts {
    fn add(&self, kind: Kind) {
        kind.of(&self.0).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, kind: Kind) -> u64 {
        kind.of(&self.0).load(Ordering::Relaxed)
    }
}

/// A timeout of centuries is none. Clocks and gRPC cannot hold every duration.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

const TARGET: &str = "tower_mesh::external";

/// A provider may miss a deadline that is shorter than this, however well it is.
const HURRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
