//! Where an endpoint or a caller is.

use std::fmt;

/// A region, a zone in it and a part of that. A part that is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Such as `us-east1`.
    pub region: Box<str>,
    /// Such as `us-east1-b`.
    pub zone: Box<str>,
    /// Such as a rack.
    pub sub_zone: Box<str>,
}

impl Locality {
    /// Reads `region/zone/subzone`. What follows a third `/` is left out, as by Istio.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or_default().into();
        Self {
            region: next(),
            zone: next(),
            sub_zone: next(),
        }
    }

    /// Whether a pattern covers it: `us/a/*`, where `*` is any part, and parts that are left out
    /// are too. `us/a` is `us/a/*`.
    #[must_use]
    pub fn is_in(&self, pattern: &str) -> bool {
        let pattern = Self::from_text(pattern);
        let fits = |pattern: &str, part: &str, may_be_empty: bool| {
            pattern == "*" || (may_be_empty && pattern.is_empty()) || pattern == part
        };
        fits(&pattern.region, &self.region, false)
            && fits(&pattern.zone, &self.zone, true)
            && fits(&pattern.sub_zone, &self.sub_zone, true)
    }

    /// How far an endpoint there is from here: 0 in the same part of a zone, 1 in the same zone, 2
    /// in the same region, 3 elsewhere.
    #[must_use]
    pub fn distance(&self, endpoint: &Self) -> u32 {
        if self.region != endpoint.region {
            3
        } else if self.zone != endpoint.zone {
            2
        } else {
            u32::from(self.sub_zone != endpoint.sub_zone)
        }
    }
}

/// `region/zone/subzone`, up to the last part that is known.
impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if !self.zone.is_empty() || !self.sub_zone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.sub_zone.is_empty() {
            write!(f, "/{}", self.sub_zone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written() {
        for text in ["", "us", "us/a", "us/a/1", "us//1"] {
            assert_eq!(Locality::from_text(text).to_string(), text);
        }
        assert_eq!(
            Locality::from_text("us/a/1/x"),
            Locality::from_text("us/a/1")
        );
    }

    #[test]
    fn patterns_cover_parts() {
        let here = Locality::from_text("us/a/1");
        for pattern in [
            "*", "us", "us/*", "us/a", "us/a/*", "us/a/1", "us/*/1", "*/a",
        ] {
            assert!(here.is_in(pattern), "{pattern}");
        }
        for pattern in ["", "eu", "us/b", "us/a/2", "u", "us/*/2", "*/b"] {
            assert!(!here.is_in(pattern), "{pattern}");
        }
        assert!(!Locality::from_text("us/a").is_in("us/a/1"));
    }

    #[test]
    fn distance_counts_from_the_region_down() {
        let here = Locality::from_text("us/a/1");
        for (there, distance) in [
            ("us/a/1", 0),
            ("us/a/2", 1),
            ("us/a", 1),
            ("us/b/1", 2),
            ("eu/a/1", 3),
            ("", 3),
        ] {
            assert_eq!(
                here.distance(&Locality::from_text(there)),
                distance,
                "{there}"
            );
        }
    }
}
