//! The policy guard as a tower layer.

use std::fmt;
use std::sync::Arc;

use http::Extensions;
use http::request::Parts;
use tower_layer::Layer;

use super::PolicyCheck;
use crate::context::Exchange;
use crate::guard::{self, Guard, Guarded, Verdict};
use crate::live::Live;
use crate::log_limit::limited;
use crate::message::LocalReply;
use crate::policy::Engine;
use crate::refusal_log;

/// The response future of [`Rbac`].
pub type ResponseFuture<S, ReqBody, ResBody> = guard::ResponseFuture<S, ReqBody, ResBody>;

/// Asks the policy engine before it calls the inner service, and answers in its place if the engine
/// refuses.
///
/// Requests without a [`Peer`](crate::context::Peer) are refused.
pub type Rbac<S> = Guarded<S, RbacGuard>;

/// Applies [`Rbac`].
#[derive(Clone, Debug)]
pub struct RbacLayer(RbacGuard);

/// The guard of an [`RbacLayer`].
#[derive(Clone, Debug)]
pub struct RbacGuard {
    engine: Source,
    check: PolicyCheck,
    rewrites: bool,
}

/// The source of the engine for a request.
#[derive(Clone)]
enum Source {
    Live(Live<Engine>),
    Followed(Arc<Follow>),
}

/// Returns the engine of the generation that judges the request, or a reply if the request took a
/// wrong way here.
pub(crate) type Follow =
    dyn Fn(&mut Extensions, &Exchange) -> Result<Engine, LocalReply> + Send + Sync;

impl RbacLayer {
    /// A layer that asks this engine, in the generation that is current when a request arrives.
    #[must_use]
    pub fn new(engine: Live<Engine>) -> Self {
        PolicyCheck::warn_of_unasked_providers(&engine.load(), |_| false);
        Self::by(Source::Live(engine))
    }

    /// A layer that gets the engine for each request from `follow`.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the guards of a mesh")
    )]
    pub(crate) fn following(follow: Arc<Follow>) -> Self {
        Self::by(Source::Followed(follow))
    }

    fn by(engine: Source) -> Self {
        Self(RbacGuard {
            engine,
            check: PolicyCheck::new(),
            rewrites: false,
        })
    }

    /// Sets whether a plain allow also stores its decision in the exchange; see
    /// [`PolicyCheck::record_allows`].
    #[must_use]
    pub fn record_allows(mut self, records: bool) -> Self {
        self.0.check = self.0.check.record_allows(records);
        self
    }

    /// Lets the layer rewrite the target and host of requests to their normalized form, as the
    /// sidecar does. Use this only in front of every router. Without it, a request whose path
    /// segments would change, or that names two hosts, is answered with 400.
    #[must_use]
    pub fn in_front_of_router(mut self) -> Self {
        self.0.rewrites = true;
        self
    }
}

/// Logs a warning if token rules apply but policies are asked before any token guard: a DENY for
/// certain users would not apply then.
fn warn_of_unseen_tokens(engine: &Engine, exchange: &Exchange) {
    let Some(peer) = exchange.peer() else {
        return;
    };
    let said = engine.authentication(peer.local_addr().port());
    let origins = said.legacy.as_ref().map(|legacy| &legacy.origins);
    let has_rules = !said.rules.is_empty() || origins.is_some_and(|origins| !origins.is_empty());
    if has_rules && !exchange.verifies_tokens() && exchange.claims().is_none() {
        limited!(
            target: "tower_mesh::access",
            WARN,
            "policies are asked before any token guard, and token rules apply: no policy sees \
             a user, and a DENY of users does not hold; put the JwtLayer outside of the RbacLayer"
        );
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(live) => f.debug_tuple("Live").field(live).finish(),
            Self::Followed(_) => f.write_str("Followed"),
        }
    }
}

impl<S> Layer<S> for RbacLayer {
    type Service = Rbac<S>;

    fn layer(&self, inner: S) -> Rbac<S> {
        Guarded::new(inner, self.0.clone())
    }
}

impl Guard for RbacGuard {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        match &self.engine {
            Source::Live(live) => {
                let engine = live.load();
                warn_of_unseen_tokens(&engine, exchange);
                self.judge_by(&engine, head, exchange)
            }
            Source::Followed(follow) => match follow(&mut head.extensions, exchange) {
                Ok(engine) => self.judge_by(&engine, head, exchange),
                Err(reply) => Verdict::Refuse(reply),
            },
        }
    }
}

impl RbacGuard {
    fn judge_by(&self, engine: &Engine, head: &mut Parts, exchange: &Exchange) -> Verdict {
        let checked = self.check.judge(engine, head, exchange, self.rewrites);
        if checked.is_err() {
            refusal_log::keep_judge(head, engine);
        }
        checked.into()
    }
}
