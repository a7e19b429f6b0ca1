use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::RequestAttributes;
use super::target;
use crate::context::Exchange;
use crate::istio::Action;
use crate::log_limit::limited;
use crate::message::{LocalReply, ResponseFlags};
use crate::policy::{Attributes, Decision, Engine};

/// The guard's steps: normalize the target, then ask the engine. The layer of this room and the composed mesh both run them.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    records_allows: bool,
}

impl Guard {
    /// A guard that leaves a record of refusals, audit marks and dry runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a plain allow leaves its [`Decision`] in the exchange too. It costs an allocation per request.
    #[must_use]
    pub fn record_allows(mut self, records: bool) -> Self {
        self.records_allows = records;
        self
    }

    /// The external providers that policies want asked, while nobody can ask them: their requests are refused. Worth a word at load.
    #[must_use]
    pub fn unasked_providers(engine: &Engine) -> BTreeSet<&str> {
        let chains = &engine.program().http;
        std::iter::once(&chains.default)
            .chain(chains.by_port.values())
            .flat_map(|chain| &chain.custom)
            .filter(|filter| filter.usable.is_some())
            .map(|filter| filter.provider.as_str())
            .collect()
    }

    /// Says at load what [`unasked_providers`](Self::unasked_providers) finds.
    pub(crate) fn warn_of_unasked_providers(engine: &Engine) {
        for provider in Self::unasked_providers(engine) {
            tracing::warn!(
                provider,
                "external authorization is not supported yet: requests for it are refused"
            );
        }
    }

    /// Normalizes the request's target in place, as the engine's configuration says, so that the router behind sees what policy judges.
    ///
    /// Only in front of every router: one that has already chosen by the raw path would not choose again.
    ///
    /// # Errors
    ///
    /// The 400 that Envoy answers to a target it cannot normalize, and its 403 to CONNECT.
    pub fn normalize(&self, engine: &Engine, head: &mut Parts) -> Result<(), LocalReply> {
        match target::normalized(head, &head.uri, engine.path_normalization())? {
            None => Ok(()),
            Some(normalized) => target::rewrite(&mut head.uri, &normalized),
        }
    }

    /// Refuses what a CUSTOM policy sends to an external provider, as none can be asked. A sidecar asks it before it looks at tokens, so
    /// this goes before the jwt guard.
    ///
    /// # Errors
    ///
    /// Envoy's 403 for a provider that cannot be reached.
    pub fn check_custom(
        &self,
        engine: &Engine,
        head: &Parts,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let Some(port) = exchange.peer().map(|peer| peer.local_addr().port()) else {
            return Ok(());
        };
        if engine.program().http.get(port).custom.is_empty() {
            return Ok(());
        }
        let attributes = RequestAttributes::new(head, exchange);
        let verdict =
            attributes.map_or(Ok(()), |request| refuse_custom(engine, &request, exchange));
        verdict.inspect_err(|reply| exchange.set_details(Arc::clone(reply.details())))
    }

    /// Asks the engine about a request whose target is normalized and whose token is verified.
    ///
    /// Refusals, audit marks and dry runs leave their [`Decision`] in the exchange, plain allows only when [asked
    /// to](Self::record_allows).
    ///
    /// # Errors
    ///
    /// The reply to give instead of calling the application: Envoy's 403.
    pub fn check(
        &self,
        engine: &Engine,
        head: &Parts,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        self.ask(engine, RequestAttributes::new(head, exchange), exchange)
    }

    /// The steps for a layer that may stand inside a router: the target as it was sent is judged (rule B-31), and refused when a router
    /// may have seen other segments (rule B-30).
    pub(crate) fn check_behind_router(
        &self,
        engine: &Engine,
        head: &Parts,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let sent = exchange.target().unwrap_or(&head.uri);
        let raw = target::target_text(sent);
        let normalized = target::normalized(head, sent, engine.path_normalization())?;
        if let Some(normalized) = &normalized {
            target::refuse_other_segments(raw, normalized)?;
        }
        // The query is the request's own: a guard before this one may have taken a token out of it.
        let path = normalized.as_deref().unwrap_or(raw);
        let path = path.split('?').next().unwrap_or_default();
        let path = match head.uri.query() {
            None => Cow::Borrowed(path),
            Some(query) => Cow::Owned(format!("{path}?{query}")),
        };
        let attributes = RequestAttributes::with_path(head, &path, exchange);
        if let Some(request) = &attributes {
            refuse_custom(engine, request, exchange)
                .inspect_err(|reply| exchange.set_details(Arc::clone(reply.details())))?;
        }
        self.ask(engine, attributes, exchange)
    }

    fn ask(
        &self,
        engine: &Engine,
        attributes: Option<RequestAttributes<'_>>,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let verdict = match &attributes {
            Some(attributes) => self.decide(engine, attributes, exchange),
            None => {
                limited!(
                    ERROR,
                    "a request without a peer reached the policy guard: serve it with the mesh's listener, or put a Peer into its extensions"
                );
                Err(denied("rbac_access_denied_no_peer"))
            }
        };
        verdict.inspect_err(|reply| exchange.set_details(Arc::clone(reply.details())))
    }

    fn decide(
        &self,
        engine: &Engine,
        attributes: &dyn Attributes,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let decision = engine.decide(attributes);
        if !decision.allowed {
            let reply = denied(decision.details());
            exchange.set_decision(decision);
            return Err(reply);
        }
        if self.records_allows || decision.marks.is_some() {
            exchange.set_decision(decision);
        }
        Ok(())
    }
}

/// A request that an external provider would have to be asked about: nobody can be, so it is refused as by Envoy when the provider
/// cannot be reached.
fn refuse_custom(
    engine: &Engine,
    attributes: &dyn Attributes,
    exchange: &Exchange,
) -> Result<(), LocalReply> {
    let Some(custom) = engine.custom(attributes).into_iter().next() else {
        return Ok(());
    };
    let details = format!(
        "ext_authz_error{{provider[{}]_cannot_be_asked}}",
        custom.provider
    );
    exchange.set_decision(Decision::new(
        false,
        Some(Action::Custom),
        Some(custom.policy),
    ));
    Err(LocalReply::new(StatusCode::FORBIDDEN, "", details)
        .flags(ResponseFlags::UNAUTHORIZED_EXTERNAL))
}

fn denied(details: impl Into<Arc<str>>) -> LocalReply {
    LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", details)
}
