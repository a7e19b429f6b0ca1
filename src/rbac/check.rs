//! The steps of the policy guard, each as a method.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use crate::context::Exchange;
use crate::gate;
use crate::guard::{RequestAttributes, judged_target};
use crate::istio::Action;
use crate::log_limit::limited;
use crate::matcher::authority;
use crate::message::{LocalReply, ResponseFlags};
use crate::policy::{CustomMatch, Decision, Engine};

/// The steps of the policy guard: normalize the request, then ask the engine. Both
/// [`RbacLayer`](super::RbacLayer) and the mesh run them.
#[derive(Clone, Debug, Default)]
pub struct PolicyCheck {
    records_allows: bool,
}

impl PolicyCheck {
    /// A guard that records refusals, audit marks and dry runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether a plain allow also stores its [`Decision`] in the exchange. This costs one
    /// allocation per request.
    #[must_use]
    pub fn record_allows(mut self, records: bool) -> Self {
        self.records_allows = records;
        self
    }

    /// The external providers that policies name. This guard cannot ask them, so it refuses requests
    /// that need them. Log them when you load policies.
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

    /// Logs what [`unasked_providers`](Self::unasked_providers) finds, without those that can be
    /// asked.
    pub(crate) fn warn_of_unasked_providers(engine: &Engine, is_asked: impl Fn(&str) -> bool) {
        let providers = Self::unasked_providers(engine);
        for provider in providers.into_iter().filter(|provider| !is_asked(provider)) {
            tracing::warn!(
                provider,
                "the provider cannot be asked here: requests for it are refused"
            );
        }
    }

    /// Rewrites the request to the form that policy judges, so that the router behind sees the
    /// same: the target is normalized as the engine's configuration demands, the request names one
    /// host, and the headers are as Envoy stores them.
    ///
    /// Use this only in front of every router, because a router that has already chosen by the raw
    /// path does not choose again. `x-forwarded-client-cert` from a peer over TLS stays for
    /// [`check`](Self::check). A caller of both methods must remove it after `check`, as the layers
    /// do.
    ///
    /// # Errors
    ///
    /// Envoy's 400 for a target that it cannot normalize, and for a request with an invalid host or
    /// several hosts; its 403 for CONNECT.
    pub fn normalize(&self, engine: &Engine, head: &mut Parts) -> Result<(), LocalReply> {
        let exchange = Exchange::from_extensions(&mut head.extensions);
        Self::rewrite(engine, head, &exchange)
    }

    fn rewrite(engine: &Engine, head: &mut Parts, exchange: &Exchange) -> Result<(), LocalReply> {
        gate::rewrite(engine.path_normalization(), head, exchange, false)?;
        gate::settle(head, exchange);
        Ok(())
    }

    /// Brings a request into the form that policy judges, and returns the path to judge if it
    /// differs from the request's. In front of every router it rewrites the request. Behind a
    /// router it changes only what no router can have read, and refuses the rest.
    ///
    /// Behind a router it judges the target as it was sent (rule B-31). It refuses the request if
    /// the router may have seen other segments (rule B-30) or another host.
    ///
    /// # Errors
    ///
    /// As [`normalize`](Self::normalize).
    pub(crate) fn admit(
        engine: &Engine,
        head: &mut Parts,
        exchange: &Exchange,
        in_front: bool,
    ) -> Result<Option<String>, LocalReply> {
        let judged = gate::admit(engine.path_normalization(), head, exchange, in_front)?;
        gate::settle(head, exchange);
        Ok(judged)
    }

    /// Runs all steps: admits a request, and asks the engine about it.
    pub(crate) fn judge(
        &self,
        engine: &Engine,
        head: &mut Parts,
        exchange: &Exchange,
        in_front: bool,
    ) -> Result<(), LocalReply> {
        let path = Self::admit(engine, head, exchange, in_front)?;
        Self::check_custom_at(engine, head, path.as_deref(), exchange)?;
        self.finish(engine, head, path.as_deref(), exchange)
    }

    /// The last step: asks the engine, then removes the headers that only policy may see.
    pub(crate) fn finish(
        &self,
        engine: &Engine,
        head: &mut Parts,
        path: Option<&str>,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        self.check_at(engine, head, path, exchange)?;
        gate::take_off_hearsay(&mut head.headers, exchange);
        Ok(())
    }

    /// Refuses a request that a CUSTOM policy sends to an external provider, because this guard has
    /// no client that could ask it; a [`Mesh`](crate::Mesh) with the feature `external` asks. A
    /// sidecar asks the provider before it reads tokens, so call this before the JWT guard.
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
        Self::check_custom_at(engine, head, None, exchange)
    }

    /// As [`check_custom`](Self::check_custom), with a path that may differ from the request's.
    pub(crate) fn check_custom_at(
        engine: &Engine,
        head: &Parts,
        path: Option<&str>,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let customs = Self::custom_matches(engine, head, path, exchange);
        let Some(custom) = customs.into_iter().next() else {
            return Ok(());
        };
        let reply = Self::refuse_custom(custom, exchange);
        exchange.set_details(Arc::clone(reply.details()));
        Err(reply)
    }

    /// The CUSTOM policies that want providers to be asked about the request, one for each
    /// provider, in byte order of the providers.
    pub(crate) fn custom_matches(
        engine: &Engine,
        head: &Parts,
        path: Option<&str>,
        exchange: &Exchange,
    ) -> Vec<CustomMatch> {
        let port = exchange.peer().map(|peer| peer.local_addr().port());
        let asks = |port: u16| !engine.program().http.get(port).custom.is_empty();
        if !port.is_some_and(asks) {
            return Vec::new();
        }
        let target = judged_target(path, &head.uri);
        let Some(request) = RequestAttributes::with_path(head, &target, exchange) else {
            return Vec::new();
        };
        let mut customs = engine.custom(&request);
        for host in other_hosts(&request, exchange) {
            for more in engine.custom(&request.to_host(&host)) {
                if customs.iter().all(|known| known.provider != more.provider) {
                    customs.push(more);
                }
            }
        }
        customs.sort_by(|one, other| one.provider.cmp(&other.provider));
        customs
    }

    /// Refuses a request that needs an external provider, as Envoy does when the provider cannot be
    /// reached.
    pub(crate) fn refuse_custom(custom: CustomMatch, exchange: &Exchange) -> LocalReply {
        let provider = custom.provider;
        let details = format!("ext_authz_error{{provider[{provider}]_cannot_be_asked}}");
        let decision = Decision::new(false, Some(Action::Custom), Some(custom.policy));
        exchange.set_decision(decision);
        LocalReply::new(StatusCode::FORBIDDEN, "", details)
            .flags(ResponseFlags::UNAUTHORIZED_EXTERNAL)
    }

    /// Asks the engine about a request whose target is normalized and whose token is verified.
    ///
    /// Refusals, audit marks and dry runs store their [`Decision`] in the exchange; plain allows do
    /// so only when [configured](Self::record_allows).
    ///
    /// # Errors
    ///
    /// The reply to send instead of calling the application: Envoy's 403.
    pub fn check(
        &self,
        engine: &Engine,
        head: &Parts,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        self.check_at(engine, head, None, exchange)
    }

    /// As [`check`](Self::check), with a path that may differ from the request's.
    fn check_at(
        &self,
        engine: &Engine,
        head: &Parts,
        path: Option<&str>,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        // The query is the request's own, because an earlier guard may have removed a token from
        // it.
        let target = judged_target(path, &head.uri);
        let verdict = match RequestAttributes::with_path(head, &target, exchange) {
            Some(request) => {
                warn_without_port(exchange);
                self.decide(engine, &request, exchange)
            }
            None => {
                limited!(
                    ERROR,
                    "a request without a peer reached the policy guard: \
                     serve it with the mesh's listener, or put a Peer into its extensions"
                );
                Err(denied("rbac_access_denied_no_peer"))
            }
        };
        verdict.inspect_err(|reply| exchange.set_details(Arc::clone(reply.details())))
    }

    fn decide(
        &self,
        engine: &Engine,
        request: &RequestAttributes<'_>,
        exchange: &Exchange,
    ) -> Result<(), LocalReply> {
        let mut decision = engine.decide(request);
        for host in other_hosts(request, exchange) {
            let other = engine.decide(&request.to_host(&host));
            if other.weight() > decision.weight() {
                decision = other;
            }
        }
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

/// The other forms of the request's host that policy judges, where the gate asks for it (rule B-05).
pub(crate) fn other_hosts<'a>(
    request: &RequestAttributes<'a>,
    exchange: &Exchange,
) -> impl Iterator<Item = Cow<'a, str>> {
    let host = request.host().filter(|_| exchange.judges_bare_host());
    host.into_iter().flat_map(authority::other_forms)
}

/// No listener has port 0, so a DENY for one port would silently not apply.
fn warn_without_port(exchange: &Exchange) {
    let port = exchange.peer().map(|peer| peer.local_addr().port());
    if port == Some(0) {
        limited!(
            WARN,
            "a peer that was made by hand has the local port 0: \
             policies of single ports do not apply to its requests"
        );
    }
}

fn denied(details: impl Into<Arc<str>>) -> LocalReply {
    LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", details)
}
