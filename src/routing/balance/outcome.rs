//! How a try ended, for whoever learns from it: retries and outlier detection.

use std::time::Duration;

/// How one try of a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TryOutcome {
    /// The response head came. What follows it does not count.
    Head(Head),
    /// There was no connection: refused, or the TCP or TLS handshake failed or took too long.
    ConnectFailure,
    /// The server refused the stream (HTTP/2 `REFUSED_STREAM`): it has processed nothing.
    RefusedStream,
    /// The connection or stream ended before the head.
    Reset {
        /// Whether a byte of the request had been written.
        is_request_started: bool,
    },
    /// The head did not come within the time of one try.
    PerTryTimeout,
    /// The head did not come within the time of all tries.
    Timeout,
    /// A limit of our own was reached; nothing was sent.
    Overflow,
}

/// A response head, as far as it counts here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// `grpc-status`, if it is in the head: a response of trailers only.
    pub grpc_status: Option<u32>,
    /// It has the header `x-envoy-ratelimited`.
    pub is_rate_limited: bool,
    /// It has one of the headers that the route retries on.
    pub has_retriable_header: bool,
    /// When the server wants to be asked again.
    pub pushback: Option<Pushback>,
}

/// What a server says about retries. Envoy does not look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pushback {
    /// Not before this time has passed.
    After(Duration),
    /// Not at all.
    Stop,
}

impl Head {
    /// A head with this status code, and nothing else that counts.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A gRPC response of trailers only.
    #[must_use]
    pub fn grpc(status: u32) -> Self {
        Self {
            grpc_status: Some(status),
            ..Self::new(200)
        }
    }
}

impl Pushback {
    /// Reads `grpc-retry-pushback-ms`. What is negative or no number means not to retry, as gRPC's
    /// proposal A6 says.
    #[must_use]
    pub fn from_grpc(value: &str) -> Self {
        let millis = value.parse::<u32>().map(u64::from);
        millis.map_or(Self::Stop, |millis| {
            Self::After(Duration::from_millis(millis))
        })
    }

    /// Reads `retry-after` of a 429 or 503, as seconds. A date, which needs a clock that is right, is
    /// not read.
    #[must_use]
    pub fn from_retry_after(value: &str) -> Option<Self> {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = value.parse().unwrap_or(u64::MAX);
        is_number.then(|| Self::After(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushback_is_read() {
        let after = |millis| Pushback::After(Duration::from_millis(millis));
        for (value, pushback) in [("0", after(0)), ("1500", after(1500))] {
            assert_eq!(Pushback::from_grpc(value), pushback);
        }
        for value in ["-1", "", "1.5", "soon", "4294967296"] {
            assert_eq!(Pushback::from_grpc(value), Pushback::Stop, "{value}");
        }
        assert_eq!(Pushback::from_retry_after("120"), Some(after(120_000)));
        let longest = Pushback::After(Duration::from_secs(u64::MAX));
        assert_eq!(
            Pushback::from_retry_after("99999999999999999999"),
            Some(longest)
        );
        for value in ["", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(Pushback::from_retry_after(value), None, "{value}");
        }
    }
}
