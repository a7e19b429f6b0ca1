//! What SPIFFE demands of a JWT-SVID beyond what every token must have (rule J-20).

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::registered::Registered;
use crate::identity::{SpiffeId, TrustDomain};
use crate::jwt::Refusal;

/// JWT-SVID §2: the algorithm is RSA's or that of a NIST curve, and there is no member but `alg`,
/// `kid` and `typ`.
pub(super) fn check_header(
    algorithm: Algorithm,
    members: &Map<String, Value>,
) -> Result<(), Refusal> {
    if algorithm == Algorithm::EdDSA {
        return Err(Refusal::Algorithm);
    }
    for (name, value) in members {
        match name.as_str() {
            "alg" | "kid" => {}
            "typ" if value == "JWT" || value == "JOSE" => {}
            "typ" => return Err(Refusal::Header("typ")),
            _ => return Err(Refusal::HeaderOfSvid),
        }
    }
    Ok(())
}

/// JWT-SVID §3: `sub` is the id of a workload of the trust domain, and `aud` and `exp` are there.
/// What they say is checked as for every token.
pub(super) fn check_claims(
    claims: &Registered<'_>,
    domain: &TrustDomain,
) -> Result<SpiffeId, Refusal> {
    let subject = claims.subject.ok_or(Refusal::Missing("sub"))?;
    // The token of another domain or of a user may be good by another rule.
    let id = SpiffeId::new(subject).map_err(|_| Refusal::Issuer)?;
    if id.trust_domain() != domain {
        return Err(Refusal::Issuer);
    }
    if claims.audience.is_none() {
        return Err(Refusal::Missing("aud"));
    }
    if claims.expiry.is_none() {
        return Err(Refusal::Missing("exp"));
    }
    Ok(id)
}
