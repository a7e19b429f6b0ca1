//! `retryOn`: which outcomes of a try are tried again.

use std::fmt;
use std::str::FromStr;

use crate::routing::balance::outcome::{Head, TryOutcome};

use super::status_name::has_name;

/// A condition of `retryOn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// `5xx`: a 5xx, or no answer.
    Http5xx,
    /// `gateway-error`: 502, 503 or 504, or no answer.
    GatewayError,
    /// `reset`: no answer.
    Reset,
    /// `reset-before-request`: no answer, and no byte of the request was written.
    ResetBeforeRequest,
    /// `connect-failure`: there was no connection.
    ConnectFailure,
    /// `refused-stream`: the server refused the stream.
    RefusedStream,
    /// `retriable-4xx`: 409.
    Retriable4xx,
    /// `retriable-status-codes`: a listed code.
    RetriableStatusCodes,
    /// `retriable-headers`: a listed header.
    RetriableHeaders,
    /// `envoy-ratelimited`: the header `x-envoy-ratelimited`.
    EnvoyRateLimited,
    /// `http3-post-connect-failure`: has no effect here.
    Http3PostConnectFailure,
    /// `cancelled`: `grpc-status` 1 in the head.
    Cancelled,
    /// `deadline-exceeded`: 4.
    DeadlineExceeded,
    /// `resource-exhausted`: 8.
    ResourceExhausted,
    /// `internal`: 13.
    Internal,
    /// `unavailable`: 14.
    Unavailable,
}

/// The conditions of a route, and the status codes among them.
///
/// ```
/// use tower_mesh::routing::balance::{Head, RetryOn, TryOutcome};
///
/// let retry_on: RetryOn = "connect-failure,503".parse()?;
/// assert!(retry_on.matches(TryOutcome::ConnectFailure));
/// assert!(retry_on.matches(TryOutcome::Head(Head::new(503))));
/// assert!(!retry_on.matches(TryOutcome::Head(Head::new(500))));
/// # Ok::<_, tower_mesh::routing::balance::RetryOnError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// A bit for each.
    conditions: u32,
    status_codes: Box<[u16]>,
}

/// A word of `retryOn` that is neither a condition nor a status code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOnError {
    word: Box<str>,
}

impl RetryOn {
    /// These conditions. [`Condition::RetriableStatusCodes`] goes with the codes.
    #[must_use]
    pub fn new(
        conditions: impl IntoIterator<Item = Condition>,
        status_codes: impl IntoIterator<Item = u16>,
    ) -> Self {
        let conditions = conditions.into_iter();
        Self {
            conditions: conditions.fold(0, |bits, condition| bits | condition.bit()),
            status_codes: status_codes.into_iter().collect(),
        }
    }

    /// Whether the conditions have this one.
    #[must_use]
    pub fn has(&self, condition: Condition) -> bool {
        self.conditions & condition.bit() != 0
    }

    /// The status codes that are retried.
    #[must_use]
    pub fn status_codes(&self) -> &[u16] {
        &self.status_codes
    }

    /// Whether a try that ended like this should be followed by another, as in Envoy's
    /// `RetryStateImpl`.
    ///
    /// Conditions decide, not methods: a POST is like a GET. What was cut short by the time of all
    /// tries, or by a limit of our own, is never retried.
    #[must_use]
    pub fn matches(&self, outcome: TryOutcome) -> bool {
        use Condition::{
            ConnectFailure, GatewayError, Http5xx, RefusedStream, Reset, ResetBeforeRequest,
        };
        let is_started = match outcome {
            TryOutcome::Head(head) => return self.matches_head(head),
            TryOutcome::Overflow | TryOutcome::Timeout => return false,
            TryOutcome::ConnectFailure => false,
            TryOutcome::Reset { is_request_started } => is_request_started,
            // The time of a try begins when its request has been written.
            TryOutcome::RefusedStream | TryOutcome::PerTryTimeout => true,
        };
        [Http5xx, GatewayError, Reset]
            .into_iter()
            .any(|condition| self.has(condition))
            || (self.has(ResetBeforeRequest) && !is_started)
            || (self.has(ConnectFailure) && outcome == TryOutcome::ConnectFailure)
            || (self.has(RefusedStream) && outcome == TryOutcome::RefusedStream)
    }

    fn matches_head(&self, head: Head) -> bool {
        // An answer of a rate limit is only retried where that is asked for.
        if head.is_rate_limited {
            return self.has(Condition::EnvoyRateLimited);
        }
        let of_grpc = head.grpc_status.and_then(Condition::for_grpc_status);
        (self.has(Condition::Http5xx) && (500..600).contains(&head.status))
            || (self.has(Condition::GatewayError) && (502..=504).contains(&head.status))
            || (self.has(Condition::Retriable4xx) && head.status == 409)
            || (self.has(Condition::RetriableStatusCodes)
                && self.status_codes.contains(&head.status))
            || (self.has(Condition::RetriableHeaders) && head.has_retriable_header)
            || of_grpc.is_some_and(|condition| self.has(condition))
    }
}

/// Istio's conditions where a route says nothing: `connect-failure`, `refused-stream`,
/// `unavailable`, `cancelled`, and `retriable-status-codes` without codes.
impl Default for RetryOn {
    fn default() -> Self {
        let conditions = [
            Condition::ConnectFailure,
            Condition::RefusedStream,
            Condition::Unavailable,
            Condition::Cancelled,
            Condition::RetriableStatusCodes,
        ];
        Self::new(conditions, [])
    }
}

/// Reads a VirtualService's `retryOn`: words and status codes between commas, without blanks.
///
/// A code adds `retriable-status-codes`. It is one that Go's `net/http` has a name for: 499 is
/// refused, as by Istio. Text without any word has Istio's [default](RetryOn::default) conditions.
impl FromStr for RetryOn {
    type Err = RetryOnError;

    fn from_str(text: &str) -> Result<Self, RetryOnError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (mut conditions, mut codes) = (Vec::new(), Vec::new());
        for word in text.split(',') {
            if let Some(condition) = Condition::from_word(word) {
                conditions.push(condition);
            } else if let Some(code) = word.parse().ok().filter(|code| has_name(*code)) {
                conditions.push(Condition::RetriableStatusCodes);
                codes.push(code);
            } else {
                return Err(RetryOnError { word: word.into() });
            }
        }
        Ok(Self::new(conditions, codes))
    }
}

impl Condition {
    /// The condition of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mut names = NAMES.iter();
        names
            .find(|(name, _)| *name == word)
            .map(|(_, condition)| *condition)
    }

    fn for_grpc_status(status: u32) -> Option<Self> {
        match status {
            1 => Some(Self::Cancelled),
            4 => Some(Self::DeadlineExceeded),
            8 => Some(Self::ResourceExhausted),
            13 => Some(Self::Internal),
            14 => Some(Self::Unavailable),
            _ => None,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for RetryOnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "retries.retryOn: `{}` is neither a condition nor a known status code; ",
            self.word.escape_debug()
        )?;
        f.write_str("write conditions and codes with commas between them and no blanks")
    }
}

impl std::error::Error for RetryOnError {}

const NAMES: [(&str, Condition); 16] = [
    ("5xx", Condition::Http5xx),
    ("gateway-error", Condition::GatewayError),
    ("reset", Condition::Reset),
    ("reset-before-request", Condition::ResetBeforeRequest),
    ("connect-failure", Condition::ConnectFailure),
    ("refused-stream", Condition::RefusedStream),
    ("retriable-4xx", Condition::Retriable4xx),
    ("retriable-status-codes", Condition::RetriableStatusCodes),
    ("retriable-headers", Condition::RetriableHeaders),
    ("envoy-ratelimited", Condition::EnvoyRateLimited),
    (
        "http3-post-connect-failure",
        Condition::Http3PostConnectFailure,
    ),
    ("cancelled", Condition::Cancelled),
    ("deadline-exceeded", Condition::DeadlineExceeded),
    ("resource-exhausted", Condition::ResourceExhausted),
    ("internal", Condition::Internal),
    ("unavailable", Condition::Unavailable),
];

#[cfg(test)]
mod tests;
