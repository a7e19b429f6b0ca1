//! axum extractors for the facts of a request.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::{Claims, Exchange, Peer, TraceContext};

/// A fact that a handler asks for and that the request does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingFact {
    /// No verified token: the caller must send one.
    Claims,
    /// No peer: the service is not behind an acceptor of this crate.
    Peer,
    /// No trace: the service is not behind a propagation layer.
    TraceContext,
}

impl IntoResponse for MissingFact {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Claims => StatusCode::UNAUTHORIZED,
            Self::Peer | Self::TraceContext => StatusCode::INTERNAL_SERVER_ERROR,
        };
        status.into_response()
    }
}

macro_rules! extract {
    ($fact:ident, $get:ident, $missing:expr) => {
        impl<S: Sync> FromRequestParts<S> for $fact {
            type Rejection = MissingFact;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingFact> {
                let exchange = parts.extensions.get::<Exchange>();
                exchange.and_then(Exchange::$get).cloned().ok_or($missing)
            }
        }

        impl<S: Sync> OptionalFromRequestParts<S> for $fact {
            type Rejection = std::convert::Infallible;

            async fn from_request_parts(
                parts: &mut Parts,
                _: &S,
            ) -> Result<Option<Self>, Self::Rejection> {
                Ok(parts
                    .extensions
                    .get::<Exchange>()
                    .and_then(Exchange::$get)
                    .cloned())
            }
        }
    };
}

extract!(Peer, peer, MissingFact::Peer);
extract!(Claims, claims, MissingFact::Claims);
extract!(TraceContext, trace, MissingFact::TraceContext);
