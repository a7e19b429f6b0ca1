//! Asks the providers of CUSTOM policies.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderName;
use http::request::Parts;

use crate::context::Exchange;
use crate::external::{
    AuthorizationRequest, Beforehand, BodyBound, Changes, Outcome, Provider, Stage, Ticket, apply,
};
use crate::guard::{Answer, BodyPrefix, Question, RequestAttributes, Verdict, judged_target};
use crate::istio::Action;
use crate::mesh::config::live::CompiledInbound;
use crate::message::LocalReply;
use crate::policy::{CustomMatch, Decision};
use crate::rbac::{PolicyCheck, other_hosts};

/// A request that a CUSTOM policy matches, as its guards see it.
pub(super) struct Asked<'a> {
    pub(super) config: &'a CompiledInbound,
    pub(super) head: &'a mut Parts,
    /// The path to judge, where it differs from the request's.
    pub(super) path: Option<&'a str>,
    pub(super) exchange: &'a Exchange,
    /// How long the caller still waits, if it says so.
    pub(super) time_left: Option<Duration>,
}

impl Asked<'_> {
    /// The first of the two steps, before tokens are verified: takes providers of this step out of
    /// `customs`, up to the first that must be asked or that refuses. `Pass` if there are no more;
    /// then the others are for the second step.
    pub(super) fn before_tokens(&mut self, customs: &mut Vec<CustomMatch>) -> Verdict {
        let config = self.config;
        let providers = &config.providers;
        let is_of_this_step = |custom: &CustomMatch| {
            let provider = providers.get(&custom.provider);
            provider.is_none_or(|provider| provider.stage() == Stage::BeforeTokens)
        };
        while let Some(index) = customs.iter().position(is_of_this_step) {
            match self.ask_about(customs.remove(index)) {
                Verdict::Pass => {}
                other => return other,
            }
        }
        Verdict::Pass
    }

    /// The second step, once tokens are verified: as the first, with all that are left.
    pub(super) fn after_tokens(&mut self, customs: &mut Vec<CustomMatch>) -> Verdict {
        while !customs.is_empty() {
            match self.ask_about(customs.remove(0)) {
                Verdict::Pass => {}
                other => return other,
            }
        }
        Verdict::Pass
    }

    fn ask_about(&mut self, custom: CustomMatch) -> Verdict {
        let config = self.config;
        match config.providers.get(&custom.provider) {
            Some(provider) => self.ask(provider, custom),
            None => Verdict::Refuse(self.refuse(custom)),
        }
    }

    fn refuse(&self, custom: CustomMatch) -> LocalReply {
        let reply = PolicyCheck::refuse_custom(custom, self.exchange);
        self.exchange.set_details(Arc::clone(reply.details()));
        reply
    }

    fn ask(&mut self, provider: &Arc<Provider>, custom: CustomMatch) -> Verdict {
        let target: Cow<'_, str> = judged_target(self.path, &self.head.uri);
        let config = self.config;
        let written = config.authenticator(self.exchange).outputs();
        let Some(attributes) = RequestAttributes::with_path(self.head, &target, self.exchange)
        else {
            return Verdict::Refuse(self.refuse(custom));
        };
        let beforehand = match provider.beforehand(self.head, &attributes, written) {
            Beforehand::Decided(Outcome::Allowed(_)) if provider.is_rule() => {
                self.of_other_hosts(provider, attributes)
            }
            other => other,
        };
        let ticket = match beforehand {
            Beforehand::Ask(ticket) => ticket,
            Beforehand::Decided(outcome) => {
                return self.decided(provider, custom, outcome).into();
            }
        };
        let request = AuthorizationRequest::from_exchange(self.head, &target, self.exchange);
        let Some(request) = request else {
            return Verdict::Refuse(self.refuse(custom));
        };
        let now = Instant::now();
        let body_until = now + provider.patience(self.time_left);
        let pending = Pending {
            provider: Arc::clone(provider),
            custom,
            written: Arc::clone(written),
            ticket,
            // A deadline that no clock can reach is none.
            until: self.time_left.and_then(|left| now.checked_add(left)),
        };
        let Some(bound) = provider.wants_body() else {
            return Verdict::Ask(Question::new(pending.answer(request)));
        };
        let length = request.content_length();
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if !bound.allow_partial && length.is_some_and(|length| length > bound.max_bytes) {
            let reply = Provider::body_too_large();
            self.exchange.set_details(Arc::clone(reply.details()));
            return Verdict::Refuse(reply);
        }
        let ask = move |body| pending.answer_with_body(request, body, bound);
        Verdict::Ask(Question::of_body(bound.max_bytes, ask).body_until(body_until))
    }

    /// The decision of a rule that allows the request, about the other forms of its host, too (rule
    /// B-05).
    fn of_other_hosts(&self, rule: &Provider, request: RequestAttributes<'_>) -> Beforehand {
        for host in other_hosts(&request, self.exchange) {
            match rule.beforehand(self.head, &request.to_host(&host), &[]) {
                Beforehand::Decided(Outcome::Allowed(_)) => {}
                other => return other,
            }
        }
        Beforehand::Decided(Outcome::Allowed(Changes::new()))
    }

    /// What follows from a decision without a question.
    fn decided(
        &mut self,
        provider: &Provider,
        custom: CustomMatch,
        outcome: Outcome,
    ) -> Result<(), LocalReply> {
        match outcome {
            Outcome::FailedOpen => Ok(()),
            Outcome::Allowed(changes) if changes.is_empty() => Ok(()),
            Outcome::Allowed(changes) => {
                change(provider, custom, &changes, self.head, self.exchange)
            }
            Outcome::Refused(reply) => Err(settled(reply, Some(custom), self.exchange)),
        }
    }
}

/// A question to a provider.
struct Pending {
    provider: Arc<Provider>,
    custom: CustomMatch,
    /// The headers that the token guard sets.
    written: Arc<[HeaderName]>,
    /// Takes the answer to the cache.
    ticket: Option<Box<Ticket>>,
    /// When the caller gives up.
    until: Option<Instant>,
}

impl Pending {
    /// As Envoy, a question about a request without a body says nothing of one.
    async fn answer_with_body(
        self,
        request: AuthorizationRequest,
        body: BodyPrefix,
        bound: BodyBound,
    ) -> Answer {
        let request = match body.is_whole {
            true if body.bytes.is_empty() => request,
            true => request.with_body(body.bytes),
            false if bound.allow_partial => request.with_partial_body(body.bytes),
            false => return refused(Provider::body_too_large(), None),
        };
        self.answer(request).await
    }

    async fn answer(mut self, mut request: AuthorizationRequest) -> Answer {
        // The body, and whoever was asked before, have had their part of the time.
        if let Some(until) = self.until {
            request = request.with_deadline(until.saturating_duration_since(Instant::now()));
        }
        let ticket = self.ticket.take();
        let asked = self.provider.ask(request, &self.written, ticket);
        match asked.await {
            Outcome::FailedOpen => Answer::Pass,
            Outcome::Allowed(changes) if changes.is_empty() => Answer::Pass,
            Outcome::Allowed(changes) => Answer::change(move |head, exchange| {
                change(&self.provider, self.custom, &changes, head, exchange)
            }),
            Outcome::Refused(reply) => refused(reply, Some(self.custom)),
        }
    }
}

/// Changes the request as its provider wants, and keeps the rest for the response and for the
/// guards behind.
fn change(
    provider: &Provider,
    custom: CustomMatch,
    changes: &Changes,
    head: &mut Parts,
    exchange: &Exchange,
) -> Result<(), LocalReply> {
    if let Err(error) = apply(changes, head) {
        // The provider has allowed the request as it wants it, and not as it came.
        return match provider.failed(&error.never_passes()) {
            Outcome::Refused(reply) => Err(settled(reply, Some(custom), exchange)),
            Outcome::Allowed(_) | Outcome::FailedOpen => Ok(()),
        };
    }
    for (name, value, placement) in changes.response_headers() {
        exchange.place_response_header(name.clone(), value.clone(), *placement);
    }
    if !changes.facts().is_empty() {
        exchange.set_metadata(METADATA, changes.facts().clone());
    }
    Ok(())
}

fn refused(reply: LocalReply, custom: Option<CustomMatch>) -> Answer {
    Answer::change(move |_, exchange| Err(settled(reply, custom, exchange)))
}

/// Leaves in the exchange why the request is refused.
fn settled(reply: LocalReply, custom: Option<CustomMatch>, exchange: &Exchange) -> LocalReply {
    if let Some(custom) = custom {
        let decision = Decision::new(false, Some(Action::Custom), Some(custom.policy));
        exchange.set_decision(decision);
    }
    exchange.set_details(Arc::clone(reply.details()));
    reply
}

const METADATA: &str = "envoy.filters.http.ext_authz";
