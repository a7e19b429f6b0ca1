//! Times of day in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::write_number;

/// How `%START_TIME(..)%` writes a time: a part of `strftime`, and Envoy's fractions of a second.
#[derive(Clone, Debug)]
pub(super) struct TimeFormat(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Literal(char),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// So many digits of the fraction of a second.
    Fraction(u32),
    /// Seconds since 1970.
    Epoch,
    Offset,
    Zone,
}

impl TimeFormat {
    /// Reads such a format.
    ///
    /// # Errors
    /// The first specifier that it does not know.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                pieces.push(Piece::Literal(character));
                continue;
            }
            match rest.next() {
                Some('%') => pieces.push(Piece::Literal('%')),
                Some('Y') => pieces.push(Piece::Year),
                Some('m') => pieces.push(Piece::Month),
                Some('d') => pieces.push(Piece::Day),
                Some('H') => pieces.push(Piece::Hour),
                Some('M') => pieces.push(Piece::Minute),
                Some('S') => pieces.push(Piece::Second),
                Some('F') => pieces.extend([
                    Piece::Year,
                    Piece::Literal('-'),
                    Piece::Month,
                    Piece::Literal('-'),
                    Piece::Day,
                ]),
                Some('T') => pieces.extend([
                    Piece::Hour,
                    Piece::Literal(':'),
                    Piece::Minute,
                    Piece::Literal(':'),
                    Piece::Second,
                ]),
                Some('s') => pieces.push(Piece::Epoch),
                Some('z') => pieces.push(Piece::Offset),
                Some('Z') => pieces.push(Piece::Zone),
                Some('f') => pieces.push(Piece::Fraction(9)),
                Some(digits @ '1'..='9') if rest.as_str().starts_with('f') => {
                    rest.next();
                    pieces.push(Piece::Fraction(digits.to_digit(10).unwrap_or(9)));
                }
                Some(other) => return Err(format!("%{other}")),
                None => return Err("%".to_owned()),
            }
        }
        Ok(Self(pieces))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, at: SystemTime) {
        let moment = Moment::of(at);
        for piece in &self.0 {
            match piece {
                Piece::Literal(character) => {
                    let mut buffer = [0; 4];
                    out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                Piece::Year => padded(out, moment.year, 4),
                Piece::Month => padded(out, moment.month, 2),
                Piece::Day => padded(out, moment.day, 2),
                Piece::Hour => padded(out, moment.hour, 2),
                Piece::Minute => padded(out, moment.minute, 2),
                Piece::Second => padded(out, moment.second, 2),
                Piece::Fraction(digits) => {
                    let shown = u64::from(moment.nanos) / 10_u64.pow(9_u32.saturating_sub(*digits));
                    padded(out, shown, *digits as usize);
                }
                Piece::Epoch => write_number(out, moment.epoch),
                Piece::Offset => out.extend_from_slice(b"+0000"),
                Piece::Zone => out.extend_from_slice(b"UTC"),
            }
        }
    }
}

/// Writes `2026-11-23T18:11:28.767Z`.
pub(super) fn write(out: &mut Vec<u8>, at: SystemTime) {
    let moment = Moment::of(at);
    for (number, digits, after) in [
        (moment.year, 4, b'-'),
        (moment.month, 2, b'-'),
        (moment.day, 2, b'T'),
        (moment.hour, 2, b':'),
        (moment.minute, 2, b':'),
        (moment.second, 2, b'.'),
        (u64::from(moment.nanos) / 1_000_000, 3, b'Z'),
    ] {
        padded(out, number, digits);
        out.push(after);
    }
}

/// A time in the calendar. One before 1970 counts as the beginning of 1970.
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    nanos: u32,
    epoch: u64,
}

impl Moment {
    fn of(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = since.as_secs();
        let (days, seconds) = (epoch / 86_400, epoch % 86_400);
        // Years that begin in March, in eras of 400 years: so a leap day is the last of its year.
        let days = days.saturating_add(719_468);
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: year + era * 400 + u64::from(month <= 2),
            month,
            day: day - (153 * from_march + 2) / 5 + 1,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            nanos: since.subsec_nanos(),
            epoch,
        }
    }
}

/// A number with zeros in front of it.
fn padded(out: &mut Vec<u8>, number: u64, digits: usize) {
    let mut place = 10_u64.pow(u32::try_from(digits.saturating_sub(1)).unwrap_or(0));
    while place > 1 && number < place {
        out.push(b'0');
        place /= 10;
    }
    write_number(out, number);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000Z"),
            (951_868_799, 999_999_999, "2000-02-29T23:59:59.999Z"),
            (1_795_457_488, 767_000_000, "2026-11-23T18:11:28.767Z"),
            (4_107_542_399, 1_000_000, "2100-02-28T23:59:59.001Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            write(&mut out, at(seconds, nanos));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        write(&mut out, UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_format_of_its_own_has_a_part_of_strftime() {
        for (format, expected) in [
            ("%Y/%m/%dT%H:%M:%S%z %Z", "2026/11/23T18:11:28+0000 UTC"),
            ("%F %T.%3f", "2026-11-23 18:11:28.767"),
            ("%s.%6f", "1795457488.767001"),
            ("%f%%é", "767001002%é"),
        ] {
            let mut out = Vec::new();
            let format = TimeFormat::parse(format).unwrap();
            format.write(&mut out, at(1_795_457_488, 767_001_002));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        for (format, wrong) in [("%Y %j", "%j"), ("%", "%"), ("%3x", "%3")] {
            assert_eq!(TimeFormat::parse(format).unwrap_err(), wrong);
        }
    }
}
