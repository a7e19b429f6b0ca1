//! The end user's verified claims.

use std::sync::Arc;

use serde_json::{Map, Value};

/// The claims of a verified end-user token. Cheap to clone.
#[derive(Clone)]
pub struct Claims(Arc<Facts>);

struct Facts {
    payload: Map<String, Value>,
    principal: Option<Principal>,
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
        Self(Arc::new(Facts { payload, principal }))
    }

    /// The request principal, `iss/sub`; `None` if either is missing.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        let principal = self.0.principal.as_ref()?;
        Some(&principal.text)
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        match &self.0.principal {
            Some(principal) => principal.text.get(..principal.issuer),
            None => self.get("iss")?.as_str(),
        }
    }

    /// The subject: the end user's identifier.
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
}

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
