//! axum extractors for the facts of a request.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, StatusCode};

use super::{Claims, Exchange, Peer, TraceContext};
use crate::log_limit::limited;

errors! {
    /// A fact that a handler asks for and that the request does not have.
    ///
    /// As a response it says so in its body. Where the caller has to send a token it is 401 with a
    /// challenge; where the application is put together so that no request can have the fact it is
    /// 500, and an event at ERROR, target `tower_mesh::access`, says the same.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum MissingFact {
        /// No verified token: the caller must send one.
        Claims = "this needs a verified end-user token, and the request has none",
        /// No verified token, and none would be verified: no guard for tokens has looked at the
        /// request, or no rules for tokens apply to it.
        TokenGuard = "the handler asks for Claims, and no token is verified here: \
            serve it by Mesh::serve, or wrap it in a JwtLayer, with a RequestAuthentication that applies to it",
        /// No peer: the service is not behind an acceptor of this crate, nor behind a
        /// [`PeerLayer`](super::PeerLayer).
        Peer = "the handler asks for a Peer, and none is known: \
            serve it by Mesh::serve, or wrap it in a PeerLayer",
        /// No trace: the service is not behind a propagation layer.
        TraceContext = "the handler asks for a TraceContext, and the request has none: \
            serve it by Mesh::serve, or wrap it in a PropagationLayer",
    }
}

impl IntoResponse for MissingFact {
    fn into_response(self) -> Response {
        // The sentences are ours, with nothing of the request or the configuration in them, so that
        // any caller may read them.
        let body = self.to_string();
        if self == Self::Claims {
            // RFC 6750 §3: the scheme alone is no challenge; and without an error code, as no token
            // was sent.
            let challenge = HeaderValue::from_static("Bearer realm=\"tower-mesh\"");
            let challenge = [(WWW_AUTHENTICATE, challenge)];
            return (StatusCode::UNAUTHORIZED, challenge, body).into_response();
        }
        limited!(target: "tower_mesh::access", ERROR, "{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
    }
}

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

fn claims(extensions: &Extensions) -> Option<&Claims> {
    extensions.get::<Exchange>()?.claims()
}

fn trace(extensions: &Extensions) -> Option<&TraceContext> {
    extensions.get::<Exchange>()?.trace()
}

/// Whether it is the caller's to send a token, or ours to verify one.
fn without_claims(extensions: &Extensions) -> MissingFact {
    let exchange = extensions.get::<Exchange>();
    if exchange.is_some_and(Exchange::verifies_tokens) {
        MissingFact::Claims
    } else {
        MissingFact::TokenGuard
    }
}
