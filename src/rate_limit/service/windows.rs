//! `x-ratelimit-*`, from the statuses of an answer.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};

use super::messages::DescriptorStatus;

/// The headers by which a response shows what the service has left, as Envoy's `ratelimit` with
/// `DRAFT_VERSION_03`. The first number, what remains and the time until more comes are those of
/// the status with the least left; the windows are those of all. Without a status that names its
/// limit there are no headers.
pub(super) fn headers(statuses: &[DescriptorStatus]) -> Vec<(HeaderName, HeaderValue)> {
    let named = || {
        let statuses = statuses.iter();
        statuses.filter_map(|status| Some((status, status.current_limit.as_ref()?)))
    };
    let least = named().min_by_key(|(status, _)| status.limit_remaining);
    let Some((least, limit)) = least else {
        return Vec::new();
    };
    let mut shown = limit.requests_per_unit.to_string();
    for (_, limit) in named() {
        let Some(window) = limit.window() else {
            continue;
        };
        // A text takes everything.
        let _ = write!(
            shown,
            ", {};w={}",
            limit.requests_per_unit,
            window.as_secs()
        );
        if !limit.name.is_empty() && limit.name.bytes().all(is_plain) {
            let _ = write!(shown, ";name=\"{}\"", limit.name);
        }
    }
    let reset = least.duration_until_reset.as_ref();
    let reset = reset.map_or(0, |reset| reset.seconds.max(0));
    let Ok(shown) = HeaderValue::try_from(shown) else {
        return Vec::new();
    };
    vec![
        (LIMIT, shown),
        (REMAINING, least.limit_remaining.into()),
        (RESET, reset.into()),
    ]
}

/// Whether a name can hold this byte between quotation marks.
fn is_plain(byte: u8) -> bool {
    (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\'
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

#[cfg(test)]
mod tests {
    use super::super::messages::{ProtoDuration, RateLimit};
    use super::*;

    fn status(requests: u32, unit: i32, name: &str, left: u32, reset: i64) -> DescriptorStatus {
        DescriptorStatus {
            code: 1,
            current_limit: Some(RateLimit {
                requests_per_unit: requests,
                unit,
                name: name.to_owned(),
            }),
            limit_remaining: left,
            duration_until_reset: Some(ProtoDuration {
                seconds: reset,
                nanos: 0,
            }),
        }
    }

    fn shown(statuses: &[DescriptorStatus]) -> Vec<String> {
        let headers = headers(statuses).into_iter();
        headers
            .map(|(_, value)| value.to_str().unwrap().to_owned())
            .collect()
    }

    /// What a real Envoy showed for these statuses.
    #[test]
    fn windows_are_those_of_envoy() {
        let statuses = [status(10, 1, "", 4, 1), status(1000, 3, "perh", 2, 7)];
        let expected = ["1000, 10;w=1, 1000;w=3600;name=\"perh\"", "2", "7"];
        assert_eq!(shown(&statuses), expected);
        for (unit, window) in [
            (2, 60),
            (4, 86_400),
            (5, 2_592_000),
            (6, 31_536_000),
            (7, 604_800),
        ] {
            assert_eq!(
                shown(&[status(5, unit, "", 3, 2)])[0],
                format!("5, 5;w={window}")
            );
        }
    }

    #[test]
    fn statuses_without_a_limit_show_nothing() {
        let without = DescriptorStatus::default();
        assert!(shown(&[]).is_empty());
        assert!(shown(std::slice::from_ref(&without)).is_empty());
        assert_eq!(shown(&[without, status(5, 0, "", 3, 2)]), ["5", "3", "2"]);
    }

    #[test]
    fn a_lying_service_makes_no_odd_headers() {
        for name in ["a\"b", "a\\b", "a\r\nx: y", "é"] {
            assert_eq!(
                shown(&[status(5, 1, name, 3, -2)]),
                ["5, 5;w=1", "3", "0"],
                "{name:?}"
            );
        }
        let no_reset = DescriptorStatus {
            duration_until_reset: None,
            ..status(5, 1, "", 3, 2)
        };
        assert_eq!(shown(&[no_reset])[2], "0");
    }
}
