//! The claims as an axum extractor, in a type of the application's own.

use std::ops::Deref;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::extract::{MissingFact, claims, without_claims};
use crate::log_limit::limited;

/// The claims of a verified token, read into a type of the application's own by
/// [`Claims::read`](super::Claims::read).
///
/// A handler that takes it is called with a good token that has these claims only. Otherwise the
/// answer is that of [`MissingFact`]: 401 without a token, and 403 (`insufficient_scope`) if the
/// token is good and its claims are not those of the type. Neither answer nor log shows a claim;
/// the log, at WARN with target `tower_mesh::access`, names the type.
///
/// `Option<ClaimsAs<T>>` is `None` without a token. A token with other claims is refused there,
/// too.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_mesh::context::ClaimsAs;
///
/// #[derive(Deserialize)]
/// struct Clinician {
///     sub: String,
///     wards: Vec<u32>,
/// }
///
/// async fn admit(ClaimsAs(user): ClaimsAs<Clinician>) -> String {
///     format!("{} works on {} wards", user.sub, user.wards.len())
/// }
/// # let app: axum::Router = axum::Router::new().route("/admit", axum::routing::post(admit));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClaimsAs<T>(pub T);

// No claim, because it may hold personal data.
debug_fields!(ClaimsAs<T> {});

impl<T> Deref for ClaimsAs<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ClaimsAs<T> {
    type Rejection = MissingFact;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingFact> {
        let found = read(parts)?;
        found.ok_or_else(|| without_claims(&parts.extensions))
    }
}

impl<T: DeserializeOwned, S: Sync> OptionalFromRequestParts<S> for ClaimsAs<T> {
    type Rejection = MissingFact;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, MissingFact> {
        read(parts)
    }
}

/// `None` without a token.
fn read<T: DeserializeOwned>(parts: &Parts) -> Result<Option<ClaimsAs<T>>, MissingFact> {
    let Some(claims) = claims(&parts.extensions) else {
        return Ok(None);
    };
    match claims.read() {
        Ok(user) => Ok(Some(ClaimsAs(user))),
        Err(mismatch) => {
            limited!(target: "tower_mesh::access", WARN, "{mismatch}");
            Err(MissingFact::ClaimsOfType)
        }
    }
}
