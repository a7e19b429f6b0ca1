use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::PolicyCheck;
use crate::access;
use crate::context::Exchange;
use crate::live::Live;
use crate::log_limit::limited;
use crate::message::{GuardBody, GuardFuture, LocalReply};
use crate::policy::Engine;

/// The response future of [`Rbac`].
pub type ResponseFuture<F, B> = GuardFuture<F, B>;

/// Applies [`Rbac`].
#[derive(Clone, Debug)]
pub struct RbacLayer {
    rules: Rules,
    guard: PolicyCheck,
    rewrites: bool,
}

/// Where the engine for a request comes from.
#[derive(Clone)]
enum Rules {
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
        Self::by(Rules::Live(engine))
    }

    /// A layer that asks for the engine of each request.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the guards of a mesh")
    )]
    pub(crate) fn following(follow: Arc<Follow>) -> Self {
        Self::by(Rules::Followed(follow))
    }

    fn by(rules: Rules) -> Self {
        Self {
            rules,
            guard: PolicyCheck::new(),
            rewrites: false,
        }
    }

    /// Whether a plain allow leaves its decision in the exchange too; see [`PolicyCheck::record_allows`].
    #[must_use]
    pub fn record_allows(mut self, records: bool) -> Self {
        self.guard = self.guard.record_allows(records);
        self
    }

    /// Lets the layer rewrite requests to their normalized form, target and host, as the sidecar does: for a layer that stands in front of
    /// every router. Without it, a target whose segments would change is answered with 400, and so is a request of two hosts.
    #[must_use]
    pub fn in_front_of_router(mut self) -> Self {
        self.rewrites = true;
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

impl fmt::Debug for Rules {
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
        Rbac {
            inner,
            layer: self.clone(),
        }
    }
}

/// Asks the policy engine before it calls the inner service, and answers in its place when the engine refuses.
///
/// Needs to know the [`Peer`](crate::context::Peer): one that no acceptor or test told of is refused.
#[derive(Clone, Debug)]
pub struct Rbac<S> {
    inner: S,
    layer: RbacLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Rbac<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<GuardBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::of(&mut head.extensions);
        let (loaded, followed);
        let engine: Result<&Engine, LocalReply> = match &self.layer.rules {
            Rules::Live(live) => {
                loaded = live.load();
                warn_of_unseen_tokens(&loaded, &exchange);
                Ok(&loaded)
            }
            Rules::Followed(follow) => match follow(&mut head.extensions, &exchange) {
                Ok(engine) => {
                    followed = engine;
                    Ok(&followed)
                }
                Err(reply) => Err(reply),
            },
        };
        let (guard, in_front) = (&self.layer.guard, self.layer.rewrites);
        let asked = engine.as_ref().ok().copied();
        let verdict = engine.and_then(|engine| guard.judge(engine, &mut head, &exchange, in_front));
        match verdict {
            Ok(()) => GuardFuture::inner(self.inner.call(Request::from_parts(head, body))),
            Err(reply) => {
                exchange.set_details(reply.details().clone());
                access::refused(&head, &exchange, &reply, asked);
                GuardFuture::refused(reply, &head.method, &head.headers)
            }
        }
    }
}
