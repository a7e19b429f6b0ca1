//! axum extractors for the facts of a request.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, StatusCode};

use super::{Claims, Exchange, ForwardedPeer, Peer, TraceContext};
use crate::log_limit::limited;

errors! {
    /// A fact that a handler asks for and that the request does not have.
    ///
    /// As a response, its body names the missing fact. If the caller must send a token, the status
    /// is 401 with a challenge. If the token lacks what the handler needs, the status is 403 with a
    /// challenge. If the application is set up so that no request can have the fact,
    /// the status is 500, and the same sentence is logged at ERROR, target `tower_mesh::access`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum MissingFact {
        /// The request has no verified token; the caller must send one.
        Claims = "this needs a verified end-user token, and the request has none",
        /// The token is good, but its claims are not those of the type that a
        /// [`ClaimsAs`](super::ClaimsAs) names.
        ClaimsOfType = "the verified token does not have the claims that this needs",
        /// No token can be verified: no token guard has seen the request, or no token rules apply
        /// to it.
        TokenGuard = "the handler asks for Claims, and no token is verified here: \
            serve it by Mesh::serve, or wrap it in a JwtLayer, \
            with a RequestAuthentication that applies to it",
        /// The peer is unknown: the service is neither behind an acceptor of this crate nor behind
        /// a [`PeerLayer`](super::PeerLayer).
        Peer = "the handler asks for a Peer, and none is known: \
            serve it by Mesh::serve, or wrap it in a PeerLayer",
        /// The request has no trace: the service is not behind a propagation layer.
        TraceContext = "the handler asks for a TraceContext, and the request has none: \
            serve it by Mesh::serve, or wrap it in a PropagationLayer",
    }
}

impl IntoResponse for MissingFact {
    fn into_response(self) -> Response {
        // These sentences hold nothing from the request or the configuration, so any caller may
        // read them.
        let body = self.to_string();
        let challenged = match self {
            // RFC 6750 §3: a challenge needs a parameter besides the scheme. There is no error
            // code, because no token was sent.
            Self::Claims => Some((StatusCode::UNAUTHORIZED, "Bearer realm=\"tower-mesh\"")),
            // RFC 6750 §3.1: the token is not invalid, and a client that fetches the same one again
            // gets no further. It needs one that says more, as claims come by scopes (OpenID
            // Connect Core §5.4).
            Self::ClaimsOfType => Some((
                StatusCode::FORBIDDEN,
                "Bearer realm=\"tower-mesh\", error=\"insufficient_scope\"",
            )),
            _ => None,
        };
        if let Some((status, challenge)) = challenged {
            let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
            return (status, challenge, body).into_response();
        }
        limited!(target: "tower_mesh::access", ERROR, "{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
    }
}

/// Makes a fact an axum extractor, required or optional.
///
/// `extract!(Claims, claims, without_claims)` implements both extractors for `Claims`. The function
/// `claims` finds the fact in the request's extensions. If it finds none, a handler that takes
/// `Claims` gets the error that `without_claims` returns, and a handler that takes
/// `Option<Claims>` gets `None`.
macro_rules! extract {
    ($fact:ident, $find:expr, $missing:expr) => {
        impl<S: Sync> FromRequestParts<S> for $fact {
            type Rejection = MissingFact;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingFact> {
                let found: Option<&Self> = $find(&parts.extensions);
                found.cloned().ok_or_else(|| $missing(&parts.extensions))
            }
        }

        impl<S: Sync> OptionalFromRequestParts<S> for $fact {
            type Rejection = std::convert::Infallible;

            async fn from_request_parts(
                parts: &mut Parts,
                _: &S,
            ) -> Result<Option<Self>, Self::Rejection> {
                let found: Option<&Self> = $find(&parts.extensions);
                Ok(found.cloned())
            }
        }
    };
}

extract!(Peer, Exchange::find_peer, |_| MissingFact::Peer);
extract!(Claims, claims, without_claims);
extract!(TraceContext, trace, |_| MissingFact::TraceContext);

/// Optional alone: most requests come from no trusted proxy.
impl<S: Sync> OptionalFromRequestParts<S> for ForwardedPeer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        let exchange = parts.extensions.get::<Exchange>();
        Ok(exchange.and_then(Exchange::forwarded_peer).cloned())
    }
}

pub(super) fn claims(extensions: &Extensions) -> Option<&Claims> {
    extensions.get::<Exchange>()?.claims()
}

fn trace(extensions: &Extensions) -> Option<&TraceContext> {
    extensions.get::<Exchange>()?.trace()
}

/// Whether the caller failed to send a token, or no guard verifies one.
pub(super) fn without_claims(extensions: &Extensions) -> MissingFact {
    let exchange = extensions.get::<Exchange>();
    if exchange.is_some_and(Exchange::verifies_tokens) {
        MissingFact::Claims
    } else {
        MissingFact::TokenGuard
    }
}
