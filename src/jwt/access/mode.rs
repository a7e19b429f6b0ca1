//! What becomes of requests without a good token.

/// What becomes of requests without a good token.
///
/// A good token has the same effects in every mode. A CORS preflight needs no token in any mode, as
/// in Istio.
///
/// A legacy Policy demands tokens by itself, in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenMode {
    /// A request needs a good token: without one it is refused with 401. Where no token rule
    /// applies, no token can be good, and every request is refused.
    ///
    /// This is Envoy's `jwt_authn` without `allow_missing`. Claims that a token guard further out
    /// has left count as a good token.
    Required,
    /// A request without a token passes, and a bad token is refused. This is Istio's
    /// RequestAuthentication, and Envoy's `allow_missing`.
    #[default]
    Optional,
    /// A request with a bad token passes as one without a token, to try rules out before they
    /// refuse anything. This is Envoy's `allow_missing_or_failed`.
    ///
    /// Nothing of the bad token counts: it leaves no claims and no output headers, so policy sees
    /// no request principal. It is taken out of the request as a good one would be: the application
    /// sees it, unverified, only if the rule has `forwardOriginalToken` or looks in a cookie. Each
    /// such request is counted by reason, and ten a second are logged.
    ///
    /// **Policies that deny some users do not hold for a user who sends a broken token.** The log
    /// warns of this mode at the start.
    ReportOnly,
}

impl TokenMode {
    /// The mode as the value of a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::ReportOnly => "report_only",
        }
    }
}
