use std::fmt;
use std::str::FromStr;

use crate::istio::{ExtensionProvider, ProviderKind};

/// What an external provider says to a request, where tests and tools take its place.
///
/// As text it is `allow`, `deny`, `error`, or the status of a denial: `401`.
///
/// ```
/// use tower_mesh::policy::ProviderAnswer;
///
/// assert_eq!("deny".parse(), Ok(ProviderAnswer::deny()));
/// assert_eq!("401".parse(), Ok(ProviderAnswer::Deny { status: 401 }));
/// assert!("yes".parse::<ProviderAnswer>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderAnswer {
    /// The request may go on; tokens, DENY and ALLOW are asked next.
    Allow,
    /// The request is refused with this status.
    Deny {
        /// The status of the response. A gRPC provider may choose any, 200 too; the request is
        /// refused all the same.
        status: u16,
    },
    /// The provider cannot be reached, is too slow, or answers what makes no sense: the request is
    /// refused with `statusOnError` (403 unless written), or goes on with `failOpen`.
    Error,
}

impl ProviderAnswer {
    /// A denial with 403.
    #[must_use]
    pub const fn deny() -> Self {
        Self::Deny {
            status: DEFAULT_STATUS,
        }
    }

    /// `allow`, `deny` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny { .. } => "deny",
            Self::Error => "error",
        }
    }

    /// The status with which a request is refused that this provider answers so; `None`: it goes
    /// on.
    #[must_use]
    pub fn refusal(self, provider: &ExtensionProvider) -> Option<u16> {
        match self {
            Self::Allow => None,
            Self::Deny { status } => Some(status),
            Self::Error => match &provider.kind {
                ProviderKind::ExtAuthzGrpc {
                    fail_open,
                    status_on_error,
                    ..
                }
                | ProviderKind::ExtAuthzHttp {
                    fail_open,
                    status_on_error,
                    ..
                } => (!fail_open).then_some(status_on_error.unwrap_or(DEFAULT_STATUS)),
                ProviderKind::Expression(_)
                | ProviderKind::Application
                | ProviderKind::Telemetry(_)
                | ProviderKind::Other => Some(DEFAULT_STATUS),
            },
        }
    }
}

/// Envoy's for a denial without a status, and for a provider that cannot be asked.
const DEFAULT_STATUS: u16 = 403;

impl fmt::Display for ProviderAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deny { status } if *status != DEFAULT_STATUS => status.fmt(f),
            other => f.write_str(other.as_str()),
        }
    }
}

impl FromStr for ProviderAnswer {
    type Err = String;

    /// Reads an answer; the error says what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::deny()),
            "error" => Ok(Self::Error),
            _ => {
                let status = text.parse().ok();
                // A provider allows by 200, and by no other status.
                let status = status.filter(|status| (201..600).contains(status));
                let status = status.ok_or_else(|| {
                    format!(
                        "`{text}` is no answer of a provider; write allow, deny, error, or the \
                         status of a denial, as in 401"
                    )
                })?;
                Ok(Self::Deny { status })
            }
        }
    }
}
