//! What good tokens of a request leave in it.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::refusal::Refusal;
use super::weight::{self, Weigh};
use crate::context::{Claims, Exchange};

/// What a good token leaves in the request. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    /// `None` when the rule fills none.
    pub(crate) headers: Option<Arc<[(HeaderName, HeaderValue)]>>,
}

impl Verified {
    /// Tells the application and policy of the token, both: it is the one decision about whose request this is.
    pub(crate) fn publish(self, head: &mut Parts, exchange: &Exchange) -> Claims {
        if let Some(headers) = self.headers {
            for (name, value) in headers.iter() {
                head.headers.insert(name.clone(), value.clone());
            }
            exchange.set_outputs(headers);
        }
        exchange.set_claims(self.claims.clone());
        self.claims
    }

    /// Whether these claims are of the same principal; a token that names none is nobody's.
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
        own + weight::bytes(principal) + self.claims.payload().weight() + headers
    }
}

/// The token that was found good last: it stands until another one does.
#[derive(Default)]
pub(crate) struct LastGood {
    verified: Option<Verified>,
    /// The token itself, as long as another rule may find it.
    token: Vec<u8>,
}

impl LastGood {
    /// Lets another token stand; where it is the same one, found by another rule, the headers of both rules are its own.
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

    pub(crate) fn into_verified(self) -> Option<Verified> {
        self.verified
    }
}

/// A guard further out may have found a token, whose claims are what policy sees: headers of another user must not stand beside them.
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
