//! The time that a request's own caller still waits, which bounds the calls made for the request.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::context::Exchange;
use crate::message::grpc_timeout;

/// What is left for a call of a request's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLeft {
    pub(super) ends: Instant,
    pub(super) left: Duration,
}

impl TimeLeft {
    /// The time of the request that is current here; `None` if its caller waits without a bound.
    pub(super) fn of_request(exchange: Option<&Exchange>) -> Option<Self> {
        let deadline = Instant::from_std(exchange?.deadline()?);
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.saturating_sub(FOR_THE_ANSWER);
        Some(Self {
            ends: deadline.checked_sub(FOR_THE_ANSWER).unwrap_or(deadline),
            left,
        })
    }

    pub(super) fn is_over(self) -> bool {
        self.left.is_zero()
    }
}

/// Tells the server how long this call waits, where that is bounded by the call itself (`own`) or by
/// its request. The usual bound of all calls is not told: it starts anew while a body moves.
pub(super) fn tell(
    headers: &mut HeaderMap,
    own: Option<Duration>,
    left: Option<TimeLeft>,
    is_grpc: bool,
    is_in_mesh: bool,
) {
    let left = left.map(|left| left.left);
    let Some(time) = own.into_iter().chain(left).min() else {
        return;
    };
    if is_grpc {
        if grpc_timeout(headers).is_none_or(|own| own > time) {
            headers.insert(GRPC_TIMEOUT, of_grpc(time));
        }
    } else if is_in_mesh && let Ok(milliseconds) = u64::try_from(time.as_millis()) {
        // Envoy takes 0 for no bound.
        headers.insert(EXPECTED, HeaderValue::from(milliseconds.max(1)));
    }
}

/// What the headers of a call tell its server of the time, to tell it anew when the call is sent
/// again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    ends: Instant,
    is_grpc: bool,
}

impl Told {
    /// Reads the headers of a call that is sent now.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let of_grpc = grpc_timeout(headers);
        let expected = || {
            let text = headers.get(EXPECTED)?.to_str().ok()?;
            text.parse().ok().map(Duration::from_millis)
        };
        Some(Self {
            is_grpc: of_grpc.is_some(),
            ends: Instant::now().checked_add(of_grpc.or_else(expected)?)?,
        })
    }

    /// Writes what is left of it.
    pub(super) fn again(self, headers: &mut HeaderMap) {
        let left = self.ends.saturating_duration_since(Instant::now());
        if self.is_grpc {
            headers.insert(GRPC_TIMEOUT, of_grpc(left));
        } else if let Ok(milliseconds) = u64::try_from(left.as_millis()) {
            // Envoy takes 0 for no bound.
            headers.insert(EXPECTED, HeaderValue::from(milliseconds.max(1)));
        }
    }
}

/// Up to eight digits and a unit, in the finest unit that has room, rounded down.
fn of_grpc(time: Duration) -> HeaderValue {
    let units = [
        (time.as_micros(), 'u'),
        (time.as_millis(), 'm'),
        (u128::from(time.as_secs()), 'S'),
        (u128::from(time.as_secs() / 3600).min(MOST), 'H'),
    ];
    let mut text = String::new();
    if let Some((count, unit)) = units.into_iter().find(|(count, _)| *count <= MOST) {
        let _ = write!(text, "{count}{unit}");
    }
    // INVARIANT: digits and a letter are a header value.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .unwrap_or(HeaderValue::from_static("0n"))
}

/// What the request itself needs to answer after the call.
const FOR_THE_ANSWER: Duration = Duration::from_millis(5);
/// The largest number of eight digits.
const MOST: u128 = 99_999_999;
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const EXPECTED: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_the_finest_unit_that_has_room() {
        for (time, text) in [
            (Duration::from_nanos(1_999), "1u"),
            (Duration::from_millis(1_995), "1995000u"),
            (Duration::from_micros(99_999_999), "99999999u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "27777H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(of_grpc(time), text);
            let headers = [(GRPC_TIMEOUT, of_grpc(time))].into_iter().collect();
            assert!(grpc_timeout(&headers).unwrap() <= time, "{text}");
        }
    }

    /// What a call tells its server is what is left when it is sent.
    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_sent_again_tells_the_time_that_is_left() {
        for (name, value, after, expected) in [
            (GRPC_TIMEOUT, "5S", 2_000, "3000000u"),
            (GRPC_TIMEOUT, "5S", 9_000, "0u"),
            (EXPECTED, "5000", 2_000, "3000"),
            (EXPECTED, "5000", 9_000, "1"),
        ] {
            let value = HeaderValue::from_static(value);
            let mut headers: HeaderMap = [(name.clone(), value)].into_iter().collect();
            let told = Told::read(&headers).unwrap();
            tokio::time::advance(Duration::from_millis(after)).await;
            told.again(&mut headers);
            assert_eq!(headers[&name], expected, "{name} after {after}");
        }
        assert!(Told::read(&HeaderMap::new()).is_none());
    }
}
