use std::fmt;
use std::sync::Arc;

use http::Extensions;
use http::request::Parts;
use tower_layer::Layer;

use super::PolicyCheck;
use crate::access;
use crate::context::Exchange;
use crate::guard::{self, Guard, Guarded, Verdict};
use crate::live::Live;
use crate::log_limit::limited;
use crate::message::LocalReply;
use crate::policy::Engine;

/// The response future of [`Rbac`].
pub type ResponseFuture<S, ReqBody, ResBody> = guard::ResponseFuture<S, ReqBody, ResBody>;

/// Asks the policy engine before it calls the inner service, and answers in its place when the engine refuses.
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

/// Where the engine for a request comes from.
#[derive(Clone)]
enum Source {
    Live(Live<Engine>),
    Followed(Arc<Follow>),
}

/// Gives the engine of the generation that a request is judged by, or the reply to a request that
/// came by a wrong way.
pub(crate) type Follow =
    dyn Fn(&mut Extensions, &Exchange) -> Result<Engine, LocalReply> + Send + Sync;

impl RbacLayer {
    /// A layer that asks this engine, whatever generation of it is current when a request comes.
    #[must_use]
    pub fn new(engine: Live<Engine>) -> Self {
        PolicyCheck::warn_of_unasked_providers(&engine.load());
        Self::by(Source::Live(engine))
    }

    /// A layer that asks for the engine of each request.
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

    /// Whether a plain allow leaves its decision in the exchange too; see [`PolicyCheck::record_allows`].
    #[must_use]
    pub fn record_allows(mut self, records: bool) -> Self {
        self.0.check = self.0.check.record_allows(records);
        self
    }

    /// Lets the layer rewrite requests to their normalized form, target and host, as the sidecar does: for a layer that stands in front of
    /// every router. Without it, a target whose segments would change is answered with 400, and so is a request of two hosts.
    #[must_use]
    pub fn in_front_of_router(mut self) -> Self {
        self.0.rewrites = true;
        self
    }
}

/// Says so where policies are asked before any token guard, although token rules apply: a DENY of
/// some users does not hold then.
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
            "policies are asked before any token guard, and token rules apply: no policy sees a user, and a DENY of users does not hold; put the JwtLayer outside of the RbacLayer"
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
            access::keep_judge(head, engine);
        }
        checked.into()
    }
}
