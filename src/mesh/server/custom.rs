//! Asks the providers of CUSTOM policies.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;

use crate::context::Exchange;
use crate::external::{AuthorizationRequest, BodyBound, Changes, Outcome, Provider, Stage, apply};
use crate::guard::judged_target;
use crate::guard::{Answer, BodyPrefix, Question, Verdict};
use crate::istio::Action;
use crate::mesh::config::live::CompiledInbound;
use crate::message::{LocalReply, grpc_timeout, is_grpc};
use crate::policy::{CustomMatch, Decision};
use crate::rbac::PolicyCheck;

/// A request that a CUSTOM policy matches, as its guards see it.
pub(super) struct Asked<'a> {
    pub(super) config: &'a CompiledInbound,
    pub(super) head: &'a Parts,
    /// The path to judge, where it differs from the request's.
    pub(super) path: Option<&'a str>,
    pub(super) exchange: &'a Exchange,
}

impl Asked<'_> {
    /// The first of the two steps, before tokens are verified: takes a provider of this step out of
    /// `customs` and asks it. `Pass` if there is none; then the others are for the second step.
    pub(super) fn before_tokens(&self, customs: &mut Vec<CustomMatch>) -> Verdict {
        let providers = &self.config.providers;
        let index = customs.iter().position(|custom| {
            let provider = providers.get(&custom.provider);
            provider.is_none_or(|provider| provider.stage() == Stage::BeforeTokens)
        });
        match index {
            None => Verdict::Pass,
            Some(index) => self.ask_about(customs.remove(index)),
        }
    }

    /// The second step, once tokens are verified: takes the first provider and asks it.
    pub(super) fn after_tokens(&self, customs: &mut Vec<CustomMatch>) -> Verdict {
        match customs.is_empty() {
            true => Verdict::Pass,
            false => self.ask_about(customs.remove(0)),
        }
    }

    fn ask_about(&self, custom: CustomMatch) -> Verdict {
        match self.config.providers.get(&custom.provider) {
            Some(provider) => self.ask(provider, custom),
            None => Verdict::Refuse(self.refuse(custom)),
        }
    }

    fn refuse(&self, custom: CustomMatch) -> LocalReply {
        let reply = PolicyCheck::refuse_custom(custom, self.exchange);
        self.exchange.set_details(Arc::clone(reply.details()));
        reply
    }

    fn ask(&self, provider: &Arc<Provider>, custom: CustomMatch) -> Verdict {
        let target: Cow<'_, str> = judged_target(self.path, &self.head.uri);
        let request = AuthorizationRequest::from_exchange(self.head, &target, self.exchange);
        let Some(mut request) = request else {
            return Verdict::Refuse(self.refuse(custom));
        };
        if is_grpc(&self.head.headers)
            && let Some(timeout) = grpc_timeout(&self.head.headers)
        {
            request = request.with_deadline(timeout);
        }
        let written = Arc::clone(self.config.authenticator(self.exchange).outputs());
        let pending = Pending {
            provider: Arc::clone(provider),
            custom,
            written,
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
        Verdict::Ask(Question::of_body(bound.max_bytes, move |body| {
            pending.answer_with_body(request, body, bound)
        }))
    }
}

/// A question to a provider.
struct Pending {
    provider: Arc<Provider>,
    custom: CustomMatch,
    /// The headers that the token guard sets.
    written: Arc<[HeaderName]>,
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

    async fn answer(self, request: AuthorizationRequest) -> Answer {
        match self.provider.ask(request, &self.written).await {
            Outcome::FailedOpen => Answer::Pass,
            Outcome::Allowed(changes) if changes.is_empty() => Answer::Pass,
            Outcome::Allowed(changes) => {
                Answer::change(move |head, exchange| self.change(&changes, head, exchange))
            }
            Outcome::Refused(reply) => refused(reply, Some(self.custom)),
        }
    }

    /// Changes the request as its provider wants, and keeps the rest for the response and for the
    /// guards behind.
    fn change(
        self,
        changes: &Changes,
        head: &mut Parts,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        if let Err(error) = apply(changes, head) {
            return match self.provider.failed(&error) {
                Outcome::Refused(reply) => Err(settled(reply, Some(self.custom), exchange)),
                Outcome::Allowed(_) | Outcome::FailedOpen => Ok(()),
            };
        }
        for (name, value) in changes.response_headers() {
            exchange.append_response_header(name.clone(), value.clone());
        }
        if !changes.facts().is_empty() {
            exchange.set_metadata(METADATA, changes.facts().clone());
        }
        Ok(())
    }
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
