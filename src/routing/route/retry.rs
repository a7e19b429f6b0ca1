//! When a call is tried again.

use std::time::Duration;

/// The retry policy of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a call is tried again, beside the first try.
    pub retries: u32,
    /// On which outcomes.
    pub conditions: Conditions,
    /// The conditions as Istio writes them for Envoy.
    pub retry_on: String,
    /// The codes of [`Condition::RetriableStatusCodes`].
    pub status_codes: Vec<u16>,
    /// The time for each try; `None`: no limit.
    pub per_try_timeout: Option<Duration>,
    /// Whether an endpoint that was tried is passed over, up to five times.
    pub avoid_previous_hosts: bool,
    /// Whether priorities that were tried are passed over.
    pub avoid_previous_priorities: bool,
    /// The base of the back-off; `None`: 25 ms.
    pub backoff: Option<Duration>,
}

impl RetryPolicy {
    /// Istio's policy where nothing else is written: two retries.
    #[must_use]
    pub fn standard() -> Self {
        let retry_on = Self::BUILT_IN.to_owned();
        Self {
            retries: 2,
            conditions: Conditions::parse(&retry_on),
            retry_on,
            status_codes: Vec::new(),
            per_try_timeout: None,
            avoid_previous_hosts: true,
            avoid_previous_priorities: false,
            backoff: None,
        }
    }

    /// The conditions that count where none are written.
    pub const BUILT_IN: &'static str =
        "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

    /// Replaces the conditions. Numbers are status codes.
    pub fn set_conditions<'t>(&mut self, tokens: impl IntoIterator<Item = &'t str>) {
        let mut words: Vec<&str> = Vec::new();
        self.status_codes.clear();
        for token in tokens {
            match token.parse() {
                Ok(code) => self.status_codes.push(code),
                Err(_) => words.push(token),
            }
        }
        let codes = Condition::RetriableStatusCodes.as_str();
        self.retry_on = words.join(",");
        if !self.status_codes.is_empty() && !words.contains(&codes) {
            self.retry_on.push(',');
            self.retry_on.push_str(codes);
        }
        self.conditions = Conditions::parse(&self.retry_on);
    }
}

/// A set of [`Condition`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions(u32);

impl Conditions {
    /// The conditions of a list with commas; words that are none are passed over, as by Envoy.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let known = Condition::ALL.iter();
        let bits = list.split(',').filter_map(|word| {
            let mut known = known.clone();
            let condition = known.find(|condition| condition.as_str() == word)?;
            Some(condition.bit())
        });
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, condition: Condition) -> bool {
        self.0 & condition.bit() != 0
    }
}

macro_rules! conditions {
    ($($(#[$doc:meta])* $Name:ident = $text:literal,)+) => {
        /// An outcome of a try after which there may be another.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Condition {
            $($(#[$doc])* $Name,)+
        }

        impl Condition {
            const ALL: &[Self] = &[$(Self::$Name),+];

            /// As `retryOn` names it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Name => $text,)+
                }
            }

            fn bit(self) -> u32 {
                1 << (self as u32)
            }
        }
    };
}

conditions! {
    /// Any answer of 500 or more, and no answer.
    FiveXx = "5xx",
    /// 502, 503, 504, and no answer.
    GatewayError = "gateway-error",
    /// No answer's head came.
    Reset = "reset",
    /// No answer's head came, and nothing of the request was sent.
    ResetBeforeRequest = "reset-before-request",
    /// No connection came about.
    ConnectFailure = "connect-failure",
    /// The peer refused the stream.
    RefusedStream = "refused-stream",
    /// 409.
    Retriable4xx = "retriable-4xx",
    /// One of the policy's codes.
    RetriableStatusCodes = "retriable-status-codes",
    /// One of the policy's headers.
    RetriableHeaders = "retriable-headers",
    /// The answer has `x-envoy-ratelimited`.
    EnvoyRatelimited = "envoy-ratelimited",
    /// No connection over HTTP/3 came about.
    Http3PostConnectFailure = "http3-post-connect-failure",
    /// The answer's head has the status 1 of gRPC.
    Cancelled = "cancelled",
    /// The answer's head has the status 4 of gRPC.
    DeadlineExceeded = "deadline-exceeded",
    /// The answer's head has the status 13 of gRPC.
    Internal = "internal",
    /// The answer's head has the status 8 of gRPC.
    ResourceExhausted = "resource-exhausted",
    /// The answer's head has the status 14 of gRPC.
    Unavailable = "unavailable",
}
