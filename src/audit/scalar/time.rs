//! Times of a record: UTC, RFC 3339, microseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time in whole microseconds since 1970; times before that are 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(u64);

impl Timestamp {
    /// The end of the year 9999.
    pub(crate) const LAST: Self = Self(LAST);

    pub(crate) fn micros(self) -> u64 {
        self.0
    }

    pub(crate) fn from_micros(micros: u64) -> Self {
        Self(micros.min(LAST))
    }

    pub(crate) fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).map_or(LAST, |micros| micros.min(LAST)))
    }
}

/// `2026-01-02T03:04:05.000006Z`
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

/// Reads a time in the form that records have, with a fraction of a second or without one, as
/// `2026-01-02T03:04:05Z`; or a date, as `2026-01-02`, which is its beginning. Both are UTC.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_mesh::audit::parse_time;
///
/// let day = Duration::from_secs(24 * 60 * 60);
/// assert_eq!(parse_time("1970-01-02"), Some(UNIX_EPOCH + day));
/// assert_eq!(parse_time("1970-01-02T00:00:00Z"), Some(UNIX_EPOCH + day));
/// assert_eq!(parse_time("yesterday"), None);
/// ```
#[must_use]
pub fn parse_time(text: &str) -> Option<SystemTime> {
    let time = match text.len() {
        10 => parse_timestamp(&format!("{text}T00:00:00Z")),
        _ => parse_timestamp(text),
    };
    time.map(Timestamp::to_system)
}

/// Reads the form that is written; also one without a fraction, or with one of 1 to 6 digits.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let is_valid = (1..=6).contains(&digits)
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_valid {
        return None;
    }
    let micros = fraction.parse::<u64>().ok()? * 10_u64.pow(6 - digits);
    let days = days(year, month, day);
    // The day is one of the month.
    if self::date(days) != (year, month, day) {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// The date of a day since 1970, in the proleptic Gregorian calendar: Howard Hinnant's
/// `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// The other way round: his `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let shifted_month = (month + 9) % 12;
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + of_era).saturating_sub(719_468)
}

/// The end of the year 9999.
const LAST: u64 = 253_402_300_799_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_767_323_045, "2026-01-02T03:04:05.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000000Z"),
        ] {
            let time = Timestamp::from_micros(seconds * 1_000_000);
            assert_eq!(time.to_string(), text);
            assert_eq!(parse_timestamp(text), Some(time));
        }
        let later = UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        assert_eq!(Timestamp::from(later).micros(), LAST);
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::from(before).micros(), 0);
    }

    #[test]
    fn every_day_of_two_centuries_comes_back() {
        for day in 0..73_000 {
            let time = Timestamp::from_micros(day * 86_400_000_000 + 1);
            assert_eq!(parse_timestamp(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn a_date_is_its_beginning() {
        assert_eq!(parse_time("2000-02-29"), parse_time("2000-02-29T00:00:00Z"));
        for text in ["2026-02-29", "2026-2-1", "2026-01-02T", "02.01.2026", ""] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(
            parse_timestamp("2026-01-02T03:04:05Z"),
            parse_timestamp("2026-01-02T03:04:05.000000Z")
        );
        for text in [
            "",
            "Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.0000001Z",
            "2026-01-02T03:04:05+01:00",
            "+026-01-02T03:04:05Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
