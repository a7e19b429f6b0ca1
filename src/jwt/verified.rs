//! The result of verifying a token, and how it gets into the request.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::refusal::Refusal;
use crate::bounded_cache::weight::{self, Weigh};
use crate::context::{Claims, Exchange};

/// The claims and headers of a good token. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    /// `None` when the rule sets no headers.
    pub(crate) headers: Option<Arc<[(HeaderName, HeaderValue)]>>,
}

impl Verified {
    /// Gives policy the claims and the application the headers of the same token, and returns the
    /// claims.
    pub(crate) fn publish(self, head: &mut Parts, exchange: &Exchange) -> Claims {
        let claims = self.claims.clone();
        self.leave(head, exchange);
        claims
    }

    /// Gives policy the claims and the application the headers of the same token.
    pub(crate) fn leave(self, head: &mut Parts, exchange: &Exchange) {
        if let Some(headers) = self.headers {
            for (name, value) in headers.iter() {
                head.headers.insert(name.clone(), value.clone());
            }
            exchange.set_outputs(headers);
        }
        exchange.set_claims(self.claims);
    }

    /// Whether the token and these claims name the same principal; `false` if the token names none.
    pub(crate) fn is_of_principal(&self, other: &Claims) -> bool {
        let [own, other] =
            [&self.claims, other].map(|claims| claims.issuer().zip(claims.subject()));
        own.is_some() && own == other
    }
}

impl Weigh for Verified {
    fn weight(&self) -> usize {
        let principal = self.claims.principal().map_or(0, str::len);
        let own = size_of::<Claims>() + 10 * size_of::<usize>() + weight::CHUNK;
        let headers = self.headers.as_ref().map_or(0, |headers| headers.weight());
        let judged = match self.claims.workload() {
            Some(_) => self.claims.judged().weight(),
            None => 0,
        };
        own + weight::bytes(principal) + self.claims.payload().weight() + judged + headers
    }
}

/// The token that was found good last.
#[derive(Default)]
pub(crate) struct LastGood {
    verified: Option<Verified>,
    /// The text of the token, as long as another rule may find it again.
    token: Vec<u8>,
}

impl LastGood {
    /// Replaces the last good token. If another rule has found the same token again, the headers of
    /// both rules are set.
    pub(crate) fn replace(&mut self, mut verified: Verified, token: &[u8], is_final: bool) {
        if let Some(before) = self.verified.take()
            && self.token == token
        {
            let headers = [before.headers, verified.headers].into_iter().flatten();
            let all: Vec<_> = headers.flat_map(|headers| headers.to_vec()).collect();
            verified.headers = (!all.is_empty()).then(|| all.into());
        }
        self.verified = Some(verified);
        self.token = if is_final { Vec::new() } else { token.to_vec() };
    }

    pub(crate) fn is_none(&self) -> bool {
        self.verified.is_none()
    }

    pub(crate) fn into_verified(self) -> Option<Verified> {
        self.verified
    }
}

/// Refuses a token of another principal than an outer guard has found: policy would see the claims
/// of one user and the application the headers of another.
pub(crate) fn check_principal(
    last_good: Option<Verified>,
    exchange: &Exchange,
) -> Result<Option<Verified>, Refusal> {
    match (&last_good, exchange.claims()) {
        (Some(verified), Some(known))
            if verified.claims.payload() != known.payload() && !verified.is_of_principal(known) =>
        {
            Err(Refusal::Ambiguous)
        }
        _ => Ok(last_good),
    }
}
