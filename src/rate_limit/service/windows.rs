//! What the statuses of an answer say for `x-ratelimit-*`.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderValue;

use super::messages::DescriptorStatus;
use crate::rate_limit::bucket::Level;

/// What a service has left.
#[derive(Debug, PartialEq)]
pub(in crate::rate_limit) struct Windows {
    /// That of the status with the least left.
    pub(in crate::rate_limit) level: Level,
    /// The limit of that status, and the windows of all.
    pub(in crate::rate_limit) limit: HeaderValue,
}

/// What a response shows of an answer, as Envoy's `ratelimit` with `DRAFT_VERSION_03`: what is left
/// is that of the status with the least left; the windows are those of the first 32 statuses that
/// have one. A name of more than 64 bytes is left out. `None` without a status that names its limit.
pub(super) fn windows(statuses: &[DescriptorStatus]) -> Option<Windows> {
    let named = || {
        let statuses = statuses.iter();
        statuses.filter_map(|status| Some((status, status.current_limit.as_ref()?)))
    };
    let (least, limit) = named().min_by_key(|(status, _)| status.limit_remaining)?;
    let mut shown = limit.requests_per_unit.to_string();
    let windows = named().filter_map(|(_, limit)| Some((limit, limit.window()?)));
    for (limit, window) in windows.take(MOST_WINDOWS) {
        // A text takes everything.
        let _ = write!(
            shown,
            ", {};w={}",
            limit.requests_per_unit,
            window.as_secs()
        );
        if (1..=LONGEST_NAME).contains(&limit.name.len()) && limit.name.bytes().all(is_plain) {
            let _ = write!(shown, ";name=\"{}\"", limit.name);
        }
    }
    let reset = least.duration_until_reset.as_ref();
    let reset = reset.and_then(|reset| u64::try_from(reset.seconds).ok());
    Some(Windows {
        level: Level {
            max_tokens: limit.requests_per_unit,
            left: least.limit_remaining,
            next_token: Duration::from_secs(reset.unwrap_or(0)),
        },
        limit: HeaderValue::try_from(shown).ok()?,
    })
}

/// Whether a name can hold this byte between quotation marks.
fn is_plain(byte: u8) -> bool {
    (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\'
}

const MOST_WINDOWS: usize = 32;
const LONGEST_NAME: usize = 64;

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
        let windows = windows(statuses).into_iter();
        let shown = windows.flat_map(|windows| {
            let limit = windows.limit.to_str().unwrap().to_owned();
            let (left, reset) = (windows.level.left, windows.level.next_token.as_secs());
            [limit, left.to_string(), reset.to_string()]
        });
        shown.collect()
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
    #[test]
    fn a_service_with_much_to_say_makes_no_long_headers() {
        let most = "n".repeat(64);
        let mut statuses = vec![status(u32::MAX, 6, &most, 9, 2); 40];
        // What is left is shown also where its window is not.
        statuses.push(status(7, 1, "last", 1, 3));
        let shown_of_many = shown(&statuses);
        let windows: Vec<_> = shown_of_many[0].split(", ").collect();
        let window = format!("4294967295;w=31536000;name=\"{most}\"");
        assert_eq!(windows[0], "7");
        assert_eq!(windows[1..], vec![window.as_str(); 32]);
        assert_eq!(shown_of_many[1..], ["1", "3"]);
        let longer = format!("{most}n");
        assert_eq!(shown(&[status(5, 1, &longer, 3, 2)])[0], "5, 5;w=1");
    }
}
