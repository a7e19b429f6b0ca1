//! The end user's verified claims.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::identity::SpiffeId;

/// The claims of a verified token: of an end user, or of a workload (a JWT-SVID). Cheap to clone.
#[derive(Clone)]
pub struct Claims(Arc<Facts>);

struct Facts {
    payload: Map<String, Value>,
    principal: Option<Principal>,
    /// The workload that a JWT-SVID names.
    workload: Option<Workload>,
}

struct Workload {
    id: SpiffeId,
    /// What policy sees in place of the payload.
    #[cfg(any(feature = "gate", feature = "jwt"))]
    judged: Map<String, Value>,
}

/// `iss/sub`, as every request of the user is judged by both.
struct Principal {
    text: Box<str>,
    /// How many bytes of the text are the issuer.
    issuer: usize,
}

impl Claims {
    /// Claims that a guard has verified or that a test makes up, in the form that policy sees:
    /// space-delimited claims are already split.
    #[must_use]
    pub fn new(payload: Map<String, Value>) -> Self {
        let text = |claim: &str| payload.get(claim).and_then(Value::as_str);
        let principal = match (text("iss"), text("sub")) {
            (Some(issuer), Some(subject)) => Some(Principal {
                text: [issuer, "/", subject].concat().into(),
                issuer: issuer.len(),
            }),
            _ => None,
        };
        Self(Arc::new(Facts {
            payload,
            principal,
            workload: None,
        }))
    }

    /// The claims of a verified JWT-SVID of this workload.
    ///
    /// The request principal is the workload's id. As policy cuts a principal at its last slash,
    /// it sees the two halves of the id as `iss` and `sub` (rule J-20).
    #[cfg(feature = "jwt")]
    pub(crate) fn of_workload(payload: Map<String, Value>, id: SpiffeId) -> Self {
        let mut judged = payload.clone();
        if let Some((issuer, subject)) = id.as_str().rsplit_once('/') {
            judged.insert("iss".into(), issuer.into());
            judged.insert("sub".into(), subject.into());
        }
        Self(Arc::new(Facts {
            payload,
            principal: None,
            workload: Some(Workload { id, judged }),
        }))
    }

    /// The workload that a JWT-SVID names; `None` for the token of an end user.
    #[must_use]
    pub fn workload(&self) -> Option<&SpiffeId> {
        let workload = self.0.workload.as_ref()?;
        Some(&workload.id)
    }

    /// The claims as policy sees them.
    #[cfg(any(feature = "gate", feature = "jwt"))]
    pub(crate) fn judged(&self) -> &Map<String, Value> {
        let workload = self.0.workload.as_ref();
        workload.map_or(&self.0.payload, |workload| &workload.judged)
    }

    /// A text claim as policy sees it.
    #[cfg(any(feature = "gate", feature = "jwt"))]
    pub(crate) fn judged_text(&self, claim: &str) -> Option<&str> {
        match (&self.0.workload, claim) {
            (None, "iss") => self.issuer(),
            (None, "sub") => self.subject(),
            _ => self.judged().get(claim)?.as_str(),
        }
    }

    /// The request principal: `iss/sub`, or `None` if either is missing. Of a workload it is the
    /// SPIFFE id.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        if let Some(id) = self.workload() {
            return Some(id.as_str());
        }
        let principal = self.0.principal.as_ref()?;
        Some(&principal.text)
    }

    /// The issuer. Of a workload it is the trust domain, `spiffe://DOMAIN`, whatever `iss` says.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        if let Some(id) = self.workload() {
            return id.as_str().strip_suffix(id.path());
        }
        match &self.0.principal {
            Some(principal) => principal.text.get(..principal.issuer),
            None => self.get("iss")?.as_str(),
        }
    }

    /// The subject: the end user's identifier, or the SPIFFE id of a workload.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match &self.0.principal {
            Some(principal) => principal.text.get(principal.issuer + 1..),
            None => self.get("sub")?.as_str(),
        }
    }

    /// One top-level claim.
    #[must_use]
    pub fn get(&self, claim: &str) -> Option<&Value> {
        self.0.payload.get(claim)
    }

    /// All claims.
    #[must_use]
    pub fn payload(&self) -> &Map<String, Value> {
        &self.0.payload
    }

    /// The claims in a type of the application's own.
    ///
    /// The type sees what policy sees: `scope`, `permission` and the claims that the rule calls
    /// space-delimited are lists of words. `aud` may be a text or a list of texts.
    ///
    /// # Errors
    ///
    /// When a claim is missing that the type needs, or has another form.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Deserialize;
    /// use serde_json::{Map, json};
    /// use tower_mesh::Claims;
    ///
    /// #[derive(Deserialize)]
    /// struct Clinician {
    ///     sub: String,
    ///     #[serde(default)]
    ///     wards: Vec<u32>,
    /// }
    ///
    /// let payload = Map::from_iter([("sub".into(), json!("alice")), ("wards".into(), json!([3]))]);
    /// let alice: Clinician = Claims::new(payload).read()?;
    /// assert_eq!((alice.sub.as_str(), alice.wards), ("alice", vec![3]));
    ///
    /// let nobody = Claims::new(Map::new());
    /// assert!(nobody.read::<Clinician>().is_err());
    /// # Ok::<(), tower_mesh::context::ClaimsMismatch>(())
    /// ```
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ClaimsMismatch> {
        // The cause is dropped: it would show the claim.
        T::deserialize(&self.0.payload).map_err(|_| ClaimsMismatch {
            wanted: std::any::type_name::<T>(),
        })
    }
}

/// The claims of a good token are not what a type needs. Names the type and nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimsMismatch {
    wanted: &'static str,
}

impl fmt::Display for ClaimsMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted;
        write!(f, "a verified token does not have the claims of a {wanted}")
    }
}

impl std::error::Error for ClaimsMismatch {}

// Only issuer and subject, because other claims may hold personal data.
debug_fields!(Claims(claims) { iss = claims.issuer(), sub = claims.subject() });

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn issuer_and_subject_are_those_of_the_payload() {
        for (payload, principal) in [
            (
                json!({"iss": "https://a/b", "sub": "c/d"}),
                Some("https://a/b/c/d"),
            ),
            (json!({"iss": "", "sub": ""}), Some("/")),
            (json!({"iss": "é", "sub": "ü"}), Some("é/ü")),
            (json!({"iss": "a"}), None),
            (json!({"sub": "a", "iss": 1}), None),
            (json!({}), None),
        ] {
            let claims = Claims::new(payload.as_object().cloned().unwrap_or_default());
            let text = |claim: &str| payload.get(claim).and_then(Value::as_str);
            assert_eq!(claims.principal(), principal, "{payload}");
            assert_eq!(claims.issuer(), text("iss"), "{payload}");
            assert_eq!(claims.subject(), text("sub"), "{payload}");
        }
    }
}
