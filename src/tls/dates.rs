//! Times in errors, `2026-11-28 at 10:00:00 UTC`, with their distance from now, and times in log
//! lines.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A moment, for errors.
pub(super) struct On(pub(super) SystemTime);

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = date_and_time(self.0);
        write!(f, "{date} at {time} UTC")
    }
}

/// A moment in RFC 3339, in UTC and whole seconds: `2026-12-01T10:00:00Z`.
#[cfg(any(test, all(feature = "server", feature = "client")))]
pub(crate) struct Rfc3339(pub(crate) SystemTime);

#[cfg(any(test, all(feature = "server", feature = "client")))]
impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = date_and_time(self.0);
        write!(f, "{date}T{time}Z")
    }
}

/// A moment that has passed, for errors, and how long ago it was.
pub(super) struct Ago {
    pub(super) end: SystemTime,
    pub(super) now: SystemTime,
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let long = Long(self.now.duration_since(self.end).unwrap_or_default());
        write!(f, "{}, {long} ago by our clock", On(self.end))
    }
}

/// A length of time in whole units, exact enough to show a clock's skew.
pub(super) struct Long(pub(super) Duration);

impl fmt::Display for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, name) = match seconds {
            DAY.. => (DAY, "day"),
            TWO_HOURS.. => (HOUR, "hour"),
            TWO_MINUTES.. => (60, "minute"),
            _ => (1, "second"),
        };
        let count = seconds / unit;
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} {name}{plural}")
    }
}

/// `2026-12-01` and `10:00:00`. Moments before 1970 are its first.
fn date_and_time(moment: SystemTime) -> (String, String) {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / HOUR, seconds % HOUR / 60, seconds % 60);
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{hour:02}:{minute:02}:{second:02}"),
    )
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last one, in eras of 400 years, after which all repeats.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let (month, next) = match from_march {
        0..=9 => (from_march + 3, 0),
        _ => (from_march - 9, 1),
    };
    (year_of_era + era * 400 + next, month, day)
}

const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;
const TWO_HOURS: u64 = 2 * HOUR;
const TWO_MINUTES: u64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 at 00:00:00 UTC"),
            (951_782_399, "2000-02-28 at 23:59:59 UTC"),
            (951_782_400, "2000-02-29 at 00:00:00 UTC"),
            (1_795_860_000, "2026-11-28 at 10:00:00 UTC"),
            (4_107_542_400, "2100-03-01 at 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 at 23:59:59 UTC"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(On(time).to_string(), text);
            let short = text.replace(" at ", "T").replace(" UTC", "Z");
            assert_eq!(Rfc3339(time).to_string(), short);
        }
    }

    #[test]
    fn a_length_is_told_in_whole_units() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_199, "119 minutes"),
            (7_200, "2 hours"),
            (86_400, "1 day"),
            (30 * 86_400, "30 days"),
        ] {
            assert_eq!(Long(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
