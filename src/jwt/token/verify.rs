//! Verifies one token by one rule: no clock, no I/O.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::header::Header;
use super::jws::Jws;
use super::registered::Registered;
use super::svid;
use crate::identity::{SpiffeId, TrustDomain};
use crate::jwt::encoding::Reading;
use crate::jwt::{KeySet, Refusal};
use crate::policy::fold_audience;

/// How far clocks may be apart, in seconds.
const LEEWAY: f64 = 60.0;
/// From here on a double cannot count single seconds.
const TWO_TO_53: f64 = 9_007_199_254_740_992.0;

/// The claims that a rule demands.
#[derive(Clone, Debug)]
pub(crate) struct Demands {
    pub(crate) issuer: Issuer,
    /// Accepted audiences, folded; empty accepts any.
    pub(crate) audiences: Vec<Box<str>>,
}

/// The only accepted issuer.
#[derive(Clone, Debug)]
pub(crate) enum Issuer {
    /// Accepts any, and tokens without one.
    Any,
    Named(Box<str>),
    /// Accepts the JWT-SVIDs of a trust domain, which their `sub` names; `iss` does not count.
    TrustDomain(TrustDomain),
}

/// A token that passed, and how long it may be remembered.
#[derive(Debug)]
pub(crate) struct Passed<'t> {
    pub(crate) claims: Map<String, Value>,
    /// The workload that a JWT-SVID names.
    pub(crate) workload: Option<SpiffeId>,
    /// The payload segment, as sent.
    pub(crate) payload: &'t [u8],
    pub(crate) header: Arc<Header>,
    pub(crate) window: Window,
}

/// The time in which a token is valid, leeway included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    from: f64,
    until: f64,
}

impl Window {
    #[cfg(test)]
    pub(crate) fn new(from: f64, until: f64) -> Self {
        Self { from, until }
    }

    /// Whether the token is valid now.
    pub(crate) fn contains(self, now: f64) -> bool {
        self.from <= now && now <= self.until
    }
}

/// Verifies a token in Envoy's order: form, types, issuer, time, audience, signature. The keys are
/// read only when all else is good.
///
/// [`Reading::Strict`] checks the signature before any claim counts (J-30) and demands `exp`
/// (J-15).
pub(crate) fn verify<'t>(
    token: &'t [u8],
    demands: &Demands,
    known: Option<&Arc<Header>>,
    reading: Reading,
    now: f64,
    check_signature: impl FnOnce(&Jws<'_>, &Vec<u8>) -> Result<(), Refusal>,
) -> Result<Passed<'t>, Refusal> {
    let jws = Jws::parse(token, reading, known)?;
    let claims = jws.claims()?;
    let registered = Registered::read(&claims)?;
    jws.header.types?;
    let signature = jws.signature()?;
    let workload = demands.check_issuer(&registered, &jws.header)?;
    let window = if reading == Reading::Strict {
        check_signature(&jws, &signature)?;
        require_expiry(&registered)?;
        let window = check_time(&registered, now)?;
        demands.check_audience(&registered)?;
        // The end itself is too late.
        if now >= window.until {
            return Err(Refusal::Expired);
        }
        Window {
            until: window.until.next_down(),
            ..window
        }
    } else {
        if workload.is_some() {
            require_expiry(&registered)?;
        }
        let window = check_time(&registered, now)?;
        demands.check_audience(&registered)?;
        check_signature(&jws, &signature)?;
        window
    };
    Ok(Passed {
        claims,
        workload,
        payload: jws.payload,
        header: jws.header,
        window,
    })
}

/// Verifies the signature of a JWS in compact form (RFC 7515 §5.2) with a JWK set, and returns its
/// payload.
///
/// The payload is not examined: this is the signature step of a token check alone, by the letter of
/// the RFC. `crit`, `b64: false` and HMAC are refused.
///
/// # Errors
///
/// [`Refusal`] says which step failed.
///
/// # Example
///
/// ```
/// use tower_mesh::jwt::{KeySet, verify_jws};
///
/// // RFC 8037, appendix A.
/// let keys = KeySet::parse(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
/// let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
///            .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// assert_eq!(verify_jws(&keys, jws.as_bytes())?, b"Example of Ed25519 signing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_jws(keys: &KeySet, jws: &[u8]) -> Result<Vec<u8>, Refusal> {
    let jws = Jws::parse(jws, Reading::Strict, None)?;
    let signature = jws.signature()?;
    let (algorithm, id) = (jws.header.algorithm, jws.header.key_id());
    keys.verify(algorithm, id, Reading::Envoy, &jws.signed, &signature)?;
    jws.payload_bytes()
}

impl Demands {
    /// The workload, if the token is to be a JWT-SVID.
    fn check_issuer(
        &self,
        claims: &Registered<'_>,
        header: &Header,
    ) -> Result<Option<SpiffeId>, Refusal> {
        match &self.issuer {
            Issuer::Named(expected) if claims.issuer != Some(expected) => Err(Refusal::Issuer),
            Issuer::Any | Issuer::Named(_) => Ok(None),
            Issuer::TrustDomain(domain) => {
                let id = svid::check_claims(claims, domain)?;
                header.of_svid?;
                Ok(Some(id))
            }
        }
    }

    fn check_audience(&self, claims: &Registered<'_>) -> Result<(), Refusal> {
        let is_good = |audience: &Value| {
            let audience = audience.as_str().map(fold_audience);
            self.audiences
                .iter()
                .any(|good| audience == Some(good.as_ref()))
        };
        let passes = self.audiences.is_empty()
            || match claims.audience {
                Some(Value::Array(list)) => list.iter().any(is_good),
                Some(audience) => is_good(audience),
                None => false,
            };
        passes.then_some(()).ok_or(Refusal::Audience)
    }
}

/// `nbf` and `iat` may be a minute ahead at most (J-16), `exp` a minute past; without `exp`, or
/// with zero, the token never expires.
fn check_time(claims: &Registered<'_>, now: f64) -> Result<Window, Refusal> {
    // Envoy drops the fraction.
    let seconds = |claim: Option<f64>| claim.map(f64::trunc);
    let [not_before, issued_at] = [claims.not_before, claims.issued_at].map(seconds);
    let from = not_before.unwrap_or(0.0).max(issued_at.unwrap_or(0.0)) - LEEWAY;
    let until = match seconds(claims.expiry) {
        None | Some(0.0) => f64::INFINITY,
        Some(expiry) => expiry + LEEWAY,
    };
    if now < from {
        Err(Refusal::NotYetValid)
    } else if now > until {
        Err(Refusal::Expired)
    } else {
        Ok(Window { from, until })
    }
}

fn require_expiry(claims: &Registered<'_>) -> Result<(), Refusal> {
    match claims.expiry {
        None => Err(Refusal::Missing("exp")),
        Some(expiry) if expiry > TWO_TO_53 => Err(Refusal::NotPositive("exp")),
        // Zero means "never" to Envoy.
        Some(expiry) if expiry < 1.0 => Err(Refusal::Expired),
        Some(_) => Ok(()),
    }
}
