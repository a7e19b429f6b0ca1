//! The end user's verified claims.

use std::sync::Arc;

use serde_json::{Map, Value};

/// The claims of a verified end-user token. Cheap to clone.
#[derive(Clone)]
pub struct Claims(Arc<Facts>);

struct Facts {
    payload: Map<String, Value>,
    principal: Option<Box<str>>,
}

impl Claims {
    /// Claims that a guard has verified or that a test makes up, in the form that policy sees:
    /// space-delimited claims are already split.
    #[must_use]
    pub fn new(payload: Map<String, Value>) -> Self {
        let text = |claim: &str| payload.get(claim).and_then(Value::as_str);
        let principal = match (text("iss"), text("sub")) {
            (Some(issuer), Some(subject)) => Some(format!("{issuer}/{subject}").into()),
            _ => None,
        };
        Self(Arc::new(Facts { payload, principal }))
    }

    /// The request principal, `iss/sub`; `None` if either is missing.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.0.principal.as_deref()
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.get("iss")?.as_str()
    }

    /// The subject: the end user's identifier.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.get("sub")?.as_str()
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
