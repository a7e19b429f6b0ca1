//! Times in errors, `2026-11-28 at 10:00:00 UTC`, with their distance from now, and times in log
//! lines.

use std::fmt;
use std::time::{Duration, SystemTime};

use x509_parser::time::ASN1Time;

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

/// `2026-12-01` and `10:00:00`. Moments before 1970 are its first, those after 9999 its last.
fn date_and_time(moment: SystemTime) -> (String, String) {
    let moment = moment.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST);
    let moment = ASN1Time::new(moment.into()).to_datetime();
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second) = moment.to_hms();
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{hour:02}:{minute:02}:{second:02}"),
    )
}

/// The last second of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);
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
