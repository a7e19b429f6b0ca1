use std::fmt;

use serde::Serialize;

use crate::istio::ExtensionProvider;
use crate::policy::{PolicyId, ProviderAnswer};

/// An external provider that is asked about a request, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProviderReport {
    /// The provider's name.
    pub provider: String,
    /// The CUSTOM rule that asks it.
    pub policy: String,
    /// `allow`, `deny` or `error`; `None` where the answer is not known. It is `unasked` of a
    /// provider over HTTP and a raw TCP connection, which is refused because nothing can ask it.
    pub answer: Option<&'static str>,
    /// The status with which it refuses the request; `None` when it does not. A raw TCP connection
    /// is closed instead.
    pub refusal: Option<u16>,
}

impl ProviderReport {
    pub(in crate::policy) fn new(
        name: &str,
        policy: &PolicyId,
        answer: Option<ProviderAnswer>,
        provider: Option<&ExtensionProvider>,
    ) -> Self {
        let refusal = answer
            .zip(provider)
            .and_then(|(answer, provider)| answer.refusal(provider));
        Self {
            provider: name.to_owned(),
            policy: policy.to_string(),
            answer: answer.map(ProviderAnswer::as_str),
            refusal,
        }
    }

    pub(in crate::policy) fn unasked(name: &str, policy: &PolicyId) -> Self {
        Self {
            provider: name.to_owned(),
            policy: policy.to_string(),
            answer: Some(UNASKED),
            refusal: None,
        }
    }
}

const UNASKED: &str = "unasked";

impl fmt::Display for ProviderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            provider,
            policy,
            answer,
            refusal,
        } = self;
        write!(f, "{policy} asks provider `{provider}`: ")?;
        match (answer, refusal) {
            (None, _) => f.write_str("its answer decides"),
            (Some(UNASKED), _) => f.write_str(
                "it speaks HTTP, so it cannot be asked about a connection without HTTP, which is \
                 refused",
            ),
            (Some("error"), Some(status)) => {
                write!(f, "it cannot be asked, which refuses with {status}")
            }
            (Some("error"), None) => f.write_str("it cannot be asked, and failOpen lets it pass"),
            (Some(_), Some(status)) => write!(f, "it denies with {status}"),
            (Some(_), None) => f.write_str("it allows"),
        }
    }
}
