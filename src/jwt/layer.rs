//! The token guard as a tower layer.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use http::{Extensions, StatusCode};
use tower_layer::Layer;

use super::Authenticator;
use super::access::{ExcludedPath, Terms, TokenMode};
use super::authenticator::{Denied, Patience};
use crate::context::Exchange;
use crate::guard::{self, Answer, Guard, Guarded, Question, Verdict};
use crate::live::Live;
use crate::log_limit::limited;
use crate::message::LocalReply;
use crate::policy::PerPort;

/// The response future of [`Jwt`].
pub type ResponseFuture<S, ReqBody, ResBody> = guard::ResponseFuture<S, ReqBody, ResBody>;

/// Verifies end-user tokens before it calls the inner service, and answers in its place when one is
/// bad.
///
/// The claims of a good token are in the request's [`Exchange`], for the layers and handlers
/// inside. Trigger rules of a legacy Policy are asked about the whole path as it was sent, whatever
/// nested routers have left of it, and about each form that normalization may give it.
///
/// A request whose token names a key that is not there waits for the fetch that this causes, as
/// [`Fetcher::run`](super::Fetcher::run) tells.
pub type Jwt<S> = Guarded<S, JwtGuard>;

/// Applies [`Jwt`].
#[derive(Clone, Debug)]
pub struct JwtLayer(JwtGuard);

/// The guard of a [`JwtLayer`].
#[derive(Clone, Debug)]
pub struct JwtGuard {
    rules: Rules,
    terms: Terms,
}

/// Where the rules for a request come from.
#[derive(Clone)]
enum Rules {
    /// The same for every port.
    Same(Live<Authenticator>),
    Followed(Arc<Follow>),
}

/// Gives the rules of the generation that a request is judged by.
pub(crate) type Follow = dyn Fn(&mut Extensions) -> Arc<PerPort<Authenticator>> + Send + Sync;

impl JwtLayer {
    /// A layer that judges tokens by these rules, by whatever generation of them is current when a
    /// request comes.
    #[must_use]
    pub fn new(authenticator: Live<Authenticator>) -> Self {
        Self(JwtGuard {
            rules: Rules::Same(authenticator),
            terms: Terms::default(),
        })
    }

    /// A layer that asks for the rules of each request, and judges by those of the port that it
    /// came in by.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the guards of a mesh")
    )]
    pub(crate) fn following(follow: Arc<Follow>, terms: Terms) -> Self {
        Self(JwtGuard {
            rules: Rules::Followed(follow),
            terms,
        })
    }

    /// Goes by the letter of the RFCs where Istio is lenient:
    ///
    /// - base64url without padding, white space and stray bits, exactly two dots;
    /// - `exp` must be there and lie below 2^53;
    /// - every token of a request must be good by some rule, and all must name one principal: also with a single rule, and also the second
    ///   parameter or cookie of one name, which Istio does not look at;
    /// - a second line of a header that is no list, such as `authorization`, is refused, whatever it holds;
    /// - the scheme `Bearer` is compared without case, comes first, and needs a token after it;
    /// - the signature is checked before time and audience;
    /// - a token that names a key is verified by a key of that name, even where there is only one, without a name.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.0.terms.read_strictly();
        self
    }

    /// Sets what becomes of requests without a good token; [`TokenMode::Optional`] by default. Logs
    /// a warning for [`TokenMode::ReportOnly`].
    #[must_use]
    pub fn mode(mut self, mode: TokenMode) -> Self {
        if mode == TokenMode::ReportOnly {
            tracing::warn!(
                target: "tower_mesh::jwt",
                "bad end-user tokens are not refused: requests with one pass as requests without a token (`ReportOnly`)"
            );
        }
        self.0.terms.mode = mode;
        self
    }

    /// Neither demands nor reads tokens at this path. A token stays in the request there,
    /// unverified; headers that only the guard may set are removed as everywhere. Policies see no
    /// request principal there, so rules that deny some users do not hold.
    ///
    /// A legacy Policy lists such paths itself (`excludedPaths`), and reads and demands tokens at
    /// all others.
    #[must_use]
    pub fn exclude(mut self, path: ExcludedPath) -> Self {
        self.0.terms.exclude(path);
        self
    }
}

impl<S> Layer<S> for JwtLayer {
    type Service = Jwt<S>;

    fn layer(&self, inner: S) -> Jwt<S> {
        Guarded::new(inner, self.0.clone())
    }
}

impl Guard for JwtGuard {
    fn judge(&self, head: &mut Parts, exchange: &Exchange) -> Verdict {
        match &self.rules {
            Rules::Same(live) => {
                let rules = live.load();
                match self.judge_by(&rules, head, exchange) {
                    Ok(()) => Verdict::Pass,
                    Err(denied) => {
                        self.refuse_or_wait(denied, rules.into_snapshot(), |rules| rules)
                    }
                }
            }
            Rules::Followed(follow) => {
                let rules = follow(&mut head.extensions);
                let port = exchange.peer().map(|peer| peer.local_addr().port());
                if port.is_none() && !rules.by_port.is_empty() {
                    return Verdict::Refuse(refuse_without_port());
                }
                let port = port.unwrap_or_default();
                match self.judge_by(rules.get(port), head, exchange) {
                    Ok(()) => Verdict::Pass,
                    Err(denied) => self.refuse_or_wait(denied, rules, move |rules| rules.get(port)),
                }
            }
        }
    }
}

impl JwtGuard {
    fn judge_by(
        &self,
        authenticator: &Authenticator,
        head: &mut Parts,
        exchange: &Exchange,
    ) -> Result<(), Denied> {
        let now = SystemTime::now();
        authenticator.judge(&self.terms, head, exchange, now, Patience::MayWait)
    }

    /// Refuses the request, or lets it wait for keys and judges it again, by the same rules.
    fn refuse_or_wait<R: Send + 'static>(
        &self,
        denied: Denied,
        rules: R,
        authenticator: impl Fn(&R) -> &Authenticator + Send + 'static,
    ) -> Verdict {
        let Some(wait) = denied.wait else {
            return Verdict::Refuse(denied.reply);
        };
        let terms = self.terms.clone();
        Verdict::Ask(Question::new(async move {
            wait.end().await;
            Answer::change(move |head, exchange| {
                let now = SystemTime::now();
                let authenticator = authenticator(&rules);
                Ok(authenticator.judge(&terms, head, exchange, now, Patience::None)?)
            })
        }))
    }
}

/// Nobody can tell which port's rules are those of the request: by another port's a token might
/// pass that its own port does not take.
fn refuse_without_port() -> LocalReply {
    limited!(
        target: "tower_mesh::access",
        ERROR,
        "a request without a peer reached the token guard, and ports have rules of their own: put the PeerLayer outside of the JwtLayer"
    );
    LocalReply::new(StatusCode::FORBIDDEN, "", "jwt_authn_access_denied_no_peer")
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(live) => f.debug_tuple("Same").field(live).finish(),
            Self::Followed(_) => f.write_str("Followed"),
        }
    }
}
